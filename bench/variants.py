"""`make bench`: what variants of CTC cost, as multiples of the plain loss's step in the same run.

Loss and gradient of float32 logits through the torch API, one thread. The consistency of two views is compared with
the three passes of torch that recipes use: log_softmax of both views, and kl_div in both directions. Many heads in one
call are compared with a call for each. The risk of eight hypotheses is compared with rows that are repeated for each.
Times are interleaved, see harness.py; values are compared with those of float64, or of the other way, before anything
is timed.

Writes bench/results/variants.csv. Exits with status 1 if a row is above its bar.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from harness import Contender, Row, interleaved, milliseconds, parser, ratio, seconds, show, write_results
from shapes import LATTICES, LossShape, loss_case
from torch import Tensor

import ctckit
import ctckit.torch
from ctckit import Lattice, LatticeBuilder
from ctckit.torch import terms

SHORT, MANY_CLASSES = LossShape(50, 20, 4, 10), LossShape(150, 40, 32, 20)
VIEWS = LossShape(500, 500, 16, 60)
HEADS, HYPOTHESES = 4, 8
MOST_ERROR = 2e-5
Step = Callable[[Tensor], Tensor]  # from logits to a loss


class Case(NamedTuple):
    """A way to compute something, another one to compare it with, and the most that it may take of that one's time."""

    name: str
    shape: LossShape
    step: Step
    plain: Step
    bar: float | None
    same: bool = False  # whether both compute the same
    most_error: float = MOST_ERROR


def random_logits(shape: LossShape, *more: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(*more, shape.T, shape.N, shape.C, generator=generator)


def different_neighbours(shape: LossShape) -> Tensor:
    """Targets (N, S) in which no token equals the one before it, since a lattice without blanks cannot repeat one."""
    targets = loss_case(shape).targets.clone()
    for s in range(1, shape.S):
        same = targets[:, s] == targets[:, s - 1]
        targets[:, s] = torch.where(same, targets[:, s] % (shape.C - 1) + 1, targets[:, s])
    return targets


def cases() -> list[Case]:
    shape = LATTICES
    targets = different_neighbours(shape)
    frames, tokens = [shape.T] * shape.N, [shape.S] * shape.N
    scores = torch.linspace(-0.5, 0.5, shape.C)
    given = (targets, frames, tokens)

    def plain(logits: Tensor, **more: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(logits, *given, from_logits=True, **more)  # type: ignore[arg-type]

    def of(build: Callable[[Lattice], Lattice]) -> Step:
        builder = LatticeBuilder(build)

        def step(logits: Tensor, **more: Tensor) -> Tensor:
            return ctckit.torch.lattice_loss(logits, builder(targets), frames, from_logits=True, **more)  # type: ignore[arg-type]

        return step

    def with_delay(logits: Tensor) -> Tensor:
        return ctckit.torch.lattice_loss(logits, lattices, frames, from_logits=True, state_scores=delay)

    def entropy(logits: Tensor) -> Tensor:
        return terms.path_entropy(logits.detach(), *given, from_logits=True) + 0 * logits.sum()

    lattices = LatticeBuilder(lambda lattice: lattice)(targets)
    delay = torch.from_numpy(ctckit.delay_scores(lattices, 0.01))
    found = [
        Case("class scores", shape, partial(plain, class_scores=scores), plain, 1.05),
        Case("state scores: delay penalty", shape, with_delay, plain, 1.3),
        Case("selfless", shape, of(Lattice.selfless), plain, 1.2),
        Case("minimal", shape, of(Lattice.minimal), plain, 1.2),
        Case("no blank", shape, of(Lattice.without_blank), plain, None),
        *(
            Case(
                f"W-CTC, {ends}",
                shape,
                lambda logits, ends=ends: ctckit.torch.w_ctc_loss(logits, *given, from_logits=True, ends=ends),
                plain,
                2.5,
            )
            for ends in ("sum_prob", "max_prob", "soft")
        ),
        Case(
            "STC",
            shape,
            lambda logits: ctckit.torch.stc_loss(logits, *given, from_logits=True, star_prob=0.1),
            plain,
            2.5,
        ),
        Case("path entropy, the number", shape, entropy, plain, 2.0),
    ]
    return [*found, consistency(), *heads(), hypotheses()]


def consistency() -> Case:
    shape = VIEWS
    lengths = torch.arange(shape.N) * 10 + shape.T - 10 * (shape.N - 1)
    unused = torch.arange(shape.T)[:, None] >= lengths

    def ours(logits: Tensor) -> Tensor:
        return terms.consistency(*logits.unbind(), lengths, from_logits=True)

    def three_passes(logits: Tensor) -> Tensor:
        log_probs = logits.log_softmax(-1)
        target = log_probs.flip(0).detach()
        by_class = torch.nn.functional.kl_div(log_probs, target, reduction="none", log_target=True)
        return by_class.sum(-1).masked_fill(unused, 0).sum() / 2

    return Case("consistency", shape, ours, three_passes, 0.5, True)


def heads() -> list[Case]:
    def case(shape: LossShape, bar: float) -> Case:
        given = loss_case(shape)
        arguments = given.targets, given.input_lengths, given.target_lengths

        def at_once(logits: Tensor) -> Tensor:
            return ctckit.torch.ctc_loss(logits, *arguments, from_logits=True).sum()

        def one_by_one(logits: Tensor) -> Tensor:
            return torch.stack([ctckit.torch.ctc_loss(each, *arguments, from_logits=True) for each in logits]).sum()

        return Case(f"{HEADS} heads", shape, at_once, one_by_one, bar, True)

    return [case(SHORT, 0.9), case(MANY_CLASSES, 0.9), case(LATTICES, 1.0)]


def hypotheses() -> Case:
    shape = LossShape(300, 500, 4, 40)
    targets = loss_case(LossShape(300, 500, 4 * HYPOTHESES, 40)).targets
    index = torch.arange(shape.N).repeat_interleave(HYPOTHESES)
    frames, tokens = torch.full((shape.N,), shape.T), torch.full((len(index),), shape.S)
    errors = torch.arange(len(index)) % HYPOTHESES

    def ours(logits: Tensor) -> Tensor:
        losses = ctckit.torch.ctc_loss(logits, targets, frames, tokens, reduction="none", from_logits=True, index=index)
        return terms.expected_risk(losses, errors, index)

    def repeated(logits: Tensor) -> Tensor:
        rows = logits.index_select(1, index)
        losses = ctckit.torch.ctc_loss(rows, targets, frames[index], tokens, reduction="none", from_logits=True)
        return terms.expected_risk(losses, errors, index)

    # Shares are of losses of 1000 nats, which float32 rounds to 6e-5.
    return Case(f"risk of {HYPOTHESES} hypotheses", shape, ours, repeated, None, True, 5e-4)


def logits_of(case: Case, dtype: torch.dtype = torch.float32) -> Tensor:
    more = {"consistency": (2,), f"{HEADS} heads": (HEADS,)}.get(case.name, ())
    return random_logits(case.shape, *more).to(dtype).requires_grad_()


def check(case: Case) -> None:
    """Ends the run if loss or gradient in float32 are too far from float64's, or from the other way's."""
    results = []
    for step, dtype in ((case.step, torch.float32), (case.plain if case.same else case.step, torch.float64)):
        logits = logits_of(case, dtype)
        value = step(logits)
        value.backward()
        results.append((value.detach(), logits.grad))
    for found, exact in zip(*results, strict=True):
        error = float((found - exact).abs().max() / exact.abs().max().clamp(min=1e-30))
        if not error <= case.most_error:
            sys.exit(f"{case.name}: error {error:.1e}: wrong, so not timed")


def contender(case: Case, step: Step) -> Contender:
    logits = logits_of(case)

    def before() -> None:
        logits.grad = None

    return Contender(lambda: step(logits).backward(), before)


def main() -> None:
    arguments = parser(__doc__, 15).parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    slow = []
    for case in cases():
        check(case)
        both = {"plain": contender(case, case.plain), "variant": contender(case, case.step)}
        times = interleaved(both, arguments.rounds, timer=partial(seconds, calls=3))
        found = ratio(times["variant"], times["plain"])
        rows.append(
            {
                "variant": case.name,
                "T, C, N, S": str(case.shape),
                "ms": f"{milliseconds(times['variant']):.3g}",
                "compared with, ms": f"{milliseconds(times['plain']):.3g}",
                "ratio": f"{found:.2f}",
                "bar": "" if case.bar is None else case.bar,
            }
        )
        if case.bar is not None and found > case.bar:
            slow.append(case.name)
    show("variants: time, as a multiple of what they are compared with", rows, left=("variant",))
    write_results("variants", rows, f"float32 logits, one thread; torch {torch.__version__}")
    if slow:
        sys.exit(f"above the bar: {', '.join(slow)}")


if __name__ == "__main__":
    main()
