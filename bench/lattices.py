"""`make bench`: the loss of lattices other than CTC's, as a share of the plain lattice's speed.

Loss and gradient of float32 logits through the torch API, one thread. All rows have the same logits and targets, in
which no two neighbours are equal, since a lattice without blanks cannot repeat a token. Times are interleaved, see
harness.py. Before anything is timed, each loss is compared with the one in float64.

Writes bench/results/lattices.csv. Exits with status 1 if a row is below its required speed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from harness import Contender, Row, interleaved, milliseconds, parser, ratio, seconds, show, write_results
from shapes import LATTICES, LossCase, loss_case

import ctckit
import ctckit.torch
from ctckit import Lattice


class Kind(NamedTuple):
    """How to build a lattice from CTC's, and the share of the plain lattice's speed that it must reach."""

    build: Callable[[Lattice], Lattice]
    bar: float
    delay: float = 0.0  # added to each state's score by each token begun


KINDS = {
    "plain": Kind(lambda lattice: lattice, 1.0),
    "selfless": Kind(Lattice.selfless, 0.6),
    "no blank": Kind(Lattice.without_blank, 0.6),
    "entry costs": Kind(lambda lattice: lattice.with_costs(0.5), 0.7),
    "state scores": Kind(lambda lattice: lattice, 0.77, delay=0.01),
    "gaps": Kind(lambda lattice: lattice.minimal().with_gaps(np.arange(LATTICES.S + 1) % LATTICES.C), 0.77),
    "wildcards": Kind(lambda lattice: lattice.with_wildcards(LATTICES.C - 1), 0.77),
}
MOST_ERROR = 1e-5


def make_case() -> LossCase:
    """The shape's inputs, with a token that equals its left neighbour replaced by the next class."""
    case = loss_case(LATTICES)
    for s in range(1, LATTICES.S):
        same = case.targets[:, s] == case.targets[:, s - 1]
        case.targets[:, s] = torch.where(same, case.targets[:, s] % (LATTICES.C - 1) + 1, case.targets[:, s])
    return case.leaf(torch.float32)


class Given(NamedTuple):
    """What a loss takes besides the case."""

    lattices: Sequence[Lattice]
    state_scores: torch.Tensor | None


def given(kind: Kind, plain: Sequence[Lattice]) -> Given:
    lattices = [kind.build(lattice) for lattice in plain]
    if not kind.delay:
        return Given(lattices, None)
    begun = np.stack([np.maximum.accumulate(lattice.tokens) + 1 for lattice in lattices])
    return Given(lattices, torch.from_numpy(kind.delay * (begun - LATTICES.S / 2)))


def loss(case: LossCase, given: Given) -> torch.Tensor:
    return ctckit.torch.lattice_loss(
        case.logits, given.lattices, case.input_lengths, from_logits=True, state_scores=given.state_scores
    )


def check(name: str, case: LossCase, given: Given) -> None:
    """Ends the run if loss or gradient in float32 are too far from float64."""
    results = []
    for each in (case.leaf(torch.float64), case.leaf(torch.float32)):
        value = loss(each, given)
        value.backward()
        results.append((value.detach(), each.logits.grad))
    for exact, found in zip(*results, strict=True):
        error = float((found - exact).abs().max() / exact.abs().max())
        if not error <= MOST_ERROR:
            sys.exit(f"{name}: error {error:.1e}: wrong, so not timed")


def contender(case: LossCase, given: Given) -> Contender:
    def before() -> None:
        case.logits.grad = None

    return Contender(lambda: loss(case, given).backward(), before)


def main() -> None:
    arguments = parser(__doc__, 15).parse_args()
    torch.set_num_threads(1)
    case = make_case()
    plain = [ctckit.ctc_lattice(target.numpy()) for target in case.targets]
    losses = {name: given(kind, plain) for name, kind in KINDS.items()}
    for name in KINDS:
        check(name, case, losses[name])
    contenders = {name: contender(case, losses[name]) for name in KINDS}
    times = interleaved(contenders, arguments.rounds, timer=partial(seconds, calls=3))
    rows: list[Row] = [
        {
            **{letter: getattr(LATTICES, letter) for letter in "TCNS"},
            "lattice": name,
            "ms": f"{milliseconds(times[name]):.3g}",
            "speed, plain = 1": f"{ratio(times['plain'], times[name]):.2f}",
            "bar": kind.bar,
        }
        for name, kind in KINDS.items()
    ]
    show("loss and gradient of lattices, one thread", rows, left=("lattice",))
    write_results("lattices", rows, f"float32 logits, one thread; torch {torch.__version__}")
    slow = [name for name, kind in KINDS.items() if ratio(times["plain"], times[name]) < kind.bar]
    if slow:
        sys.exit(f"below the bar: {', '.join(slow)}")


if __name__ == "__main__":
    main()
