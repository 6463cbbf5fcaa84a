"""Trains the recogniser with ctckit's loss, and keeps a record of how it went. Imports torch and ctckit.torch."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ctckit.torch import CTCLoss

from .data import Digits, Lines, training_batches
from .model import LineReader, frames, read_lines
from .reading import HeldOut

BATCH = 32  # lines
PEAK_RATE = 7e-3
KEPT_BATCHES = 24  # batches whose logits are kept, evenly over the run, to time the losses on
STEP_PARTS = ("data", "network, forward", "CTC loss", "network, backward", "optimizer")
ROUNDS = 9  # of the comparison of losses, on each kept batch

LossInput = tuple[Tensor, Tensor, Tensor, Tensor]  # logits (T, N, C), targets (N, S), frames (N,), target_lengths (N,)


@dataclass(frozen=True)
class Budget:
    """How long to train, and on how many held-out lines to test, how often."""

    steps: int
    held_out_lines: int
    tests: int


FULL = Budget(steps=600, held_out_lines=600, tests=12)
FAST = Budget(steps=150, held_out_lines=100, tests=3)


@dataclass(frozen=True)
class Test:
    """The held-out lines as read after `step` steps; `loss` is the mean since the last test."""

    step: int
    loss: float
    held_out: HeldOut


@dataclass
class Record:
    """How a training run went; it is complete whenever the run is stopped."""

    steps: int  # that were planned
    losses: list[float] = field(default_factory=list)  # one for each step that was made, nats per digit
    tests: list[Test] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by part
    kept: list[LossInput] = field(default_factory=list)
    interrupted: bool = False

    @property
    def last(self) -> HeldOut:
        """The held-out lines as the finished network reads them."""
        return self.tests[-1].held_out

    @property
    def loss_share(self) -> float:
        """The loss's share of the time that the training steps took."""
        return self.seconds["CTC loss"] / sum(self.seconds[part] for part in STEP_PARTS)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the time that the block takes to a part's seconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start


def train(
    digits: Digits,
    held_out: Lines,
    budget: Budget,
    seed: int,
    max_seconds: float | None,
    on_step: Callable[[Record], None],
) -> Record:
    """Trains a `LineReader` on lines of `digits`, and tests it on the `held_out` lines now and then and at the end.

    Ends after `budget.steps` steps, after `max_seconds`, or on Ctrl-C; calls `on_step` after each step.
    """
    record = Record(budget.steps)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random state alone
        torch.manual_seed(seed)
        model = LineReader()
        average = copy.deepcopy(model)
        loss = CTCLoss(from_logits=True)
        optimizer = torch.optim.AdamW(model.parameters())
        batches = training_batches(digits, BATCH, np.random.default_rng(seed))
        try:
            for step in range(budget.steps):
                done = step / budget.steps
                if max_seconds is not None:  # the learning rate comes down in time, however slow the machine
                    done = max(done, (time.perf_counter() - start) / max_seconds)
                if done >= 1:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = PEAK_RATE * _rate(done)
                with record.timed("data"):
                    lines = next(batches)
                train_step(model, loss, optimizer, lines, record, keep=step % -(-budget.steps // KEPT_BATCHES) == 0)
                with record.timed("optimizer"):
                    _follow(average, model, step)
                if (step + 1) % (budget.steps // budget.tests) == 0:
                    _test(average, held_out, record)
                on_step(record)
        except KeyboardInterrupt:
            record.interrupted = True
        if not record.tests or record.tests[-1].step < len(record.losses):
            _test(average, held_out, record)
    return record


def train_step(
    model: LineReader, loss: CTCLoss, optimizer: torch.optim.Optimizer, lines: Lines, record: Record, *, keep: bool
) -> None:
    """One step on one batch. The loss has its own forward and backward pass, to be timed by itself."""
    with record.timed("network, forward"):
        output = model(torch.from_numpy(lines.images))
    logits = output.detach().requires_grad_()
    batch = (
        logits,
        torch.from_numpy(lines.targets),
        torch.from_numpy(frames(lines.widths)),
        torch.from_numpy(lines.target_lengths),
    )
    with record.timed("CTC loss"):
        value = loss(*batch)
        value.backward()
    with record.timed("network, backward"):
        optimizer.zero_grad()
        output.backward(logits.grad)
    with record.timed("optimizer"):
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    record.losses.append(value.item())
    if keep:
        record.kept.append((logits.detach(), *batch[1:]))


@torch.no_grad()
def _follow(average: LineReader, model: LineReader, step: int) -> None:
    """Moves `average` towards `model`: a mean in which about the last fifth of the steps so far counts.

    It reads new handwriting better than the network of any one step. With it the learning rate can stay high, where a
    low one in the end would fit the training writers too closely.
    """
    pace = 5 / (5 + step)
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, pace)


def _test(model: LineReader, held_out: Lines, record: Record) -> None:
    with record.timed("reading held-out lines"):
        seen = read_lines(model, held_out)
    step = len(record.losses)
    since = record.losses[record.tests[-1].step if record.tests else 0 :]
    loss = statistics.fmean(since) if since else math.nan
    record.tests.append(Test(step, loss, seen))


def _rate(done: float) -> float:
    """The learning rate over its peak, when `done` (0 to 1) of the training is: up for a while, then down to half."""
    warm_up = 0.15
    if done < warm_up:
        return 0.04 + 0.96 * done / warm_up
    return 0.75 + 0.25 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread: a second saves a fifth of the time for a network this small, and costs tenfold on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Comparison:
    """Median milliseconds per batch, loss and gradient, of ctckit's loss and torch's on the same logits."""

    ours: float
    torchs: float

    @property
    def ratio(self) -> float:
        """How many times as long torch's loss takes."""
        return self.torchs / self.ours


def compare_losses(batches: list[LossInput]) -> Comparison | None:
    """Times both losses on the logits of a run's batches, taking turns, so that both meet the same noise."""
    if not batches:
        return None
    ours, torchs = CTCLoss(from_logits=True), nn.CTCLoss()
    contenders: dict[str, Callable[[LossInput], Tensor]] = {
        "ours": lambda batch: ours(*batch),
        "torchs": lambda batch: torchs(batch[0].log_softmax(-1), *batch[1:]),
    }
    medians: dict[str, list[float]] = {name: [] for name in contenders}
    for batch in batches:
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, loss in contenders.items():
                logits = batch[0].clone().requires_grad_()
                start = time.perf_counter()
                loss((logits, *batch[1:])).backward()  # type: ignore[no-untyped-call]
                times[name].append(1000 * (time.perf_counter() - start))
        for name in contenders:
            medians[name].append(statistics.median(times[name]))
    return Comparison(statistics.fmean(medians["ours"]), statistics.fmean(medians["torchs"]))
