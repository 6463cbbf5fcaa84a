"""What the monitor costs: its share of a training step, by interleaved medians.

Two steps: the demo's own network (convolutions, LSTM, loss, AdamW) on lines of its kind; and a step that is hardly more
than the loss, at many classes, where a monitor that read everything would show. Each round makes one step without the
monitor and one with it, in turns; the monitor's time is what its call and its gradient hook take inside that step, and
the share is the median over rounds of that time over the step's without it. The difference of the two steps' medians
is printed too: it shows that nothing is hidden elsewhere, but on a busy machine it is mostly noise.

The monitor's time is much the same whatever the shape: hardly more than that of finding its code in a cold cache. On
a step of 10 ms (the loss alone at T=1500, C=32, N=16) that is 4 %: for steps so short there is its argument `every`.

Writes bench/results/monitor.csv.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ctckit.demo.data import SIZE
from ctckit.demo.model import CLASSES, STRIDE, LineReader
from ctckit.torch import CTCLoss, CTCMonitor

RESULTS = Path(__file__).resolve().parent / "results" / "monitor.csv"
LIMIT = 0.02  # of a step
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # logits (T, N, C), targets (N, S), frames (N,), target_lengths (N,)
Step = Callable[["TimedMonitor | None"], None]


class TimedMonitor(CTCMonitor):
    """Adds up the seconds that it takes, in the call and in the backward pass's hook."""

    seconds = 0.0

    def __call__(self, *arguments: object, **options: object) -> dict[str, float]:
        start = time.perf_counter()
        stats = super().__call__(*arguments, **options)  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - start
        return stats

    def _add_norm(self, *arguments: object) -> None:
        start = time.perf_counter()
        super()._add_norm(*arguments)  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - start


def demo_step(size: int = 32, width: int = 72, digits: int = 6) -> Step:
    """A step of the demo: a small network on short lines."""
    torch.manual_seed(0)
    model, loss = LineReader(), CTCLoss(from_logits=True)
    optimizer = torch.optim.AdamW(model.parameters())
    images = torch.rand(size, SIZE, width)
    rest = (
        torch.randint(1, CLASSES, (size, digits)),
        torch.full((size,), width // STRIDE),
        torch.full((size,), digits),
    )

    def step(monitor: TimedMonitor | None) -> None:
        logits = model(images)
        value = loss(logits, *rest)
        if monitor is not None:
            monitor(logits, *rest, loss=value)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def head_step(frames: int, classes: int, size: int, tokens: int, features: int = 8) -> Step:
    """Hardly more than the loss: a thin linear layer below it."""
    torch.manual_seed(0)
    head, loss = nn.Linear(features, classes), CTCLoss(from_logits=True)
    inputs = torch.randn(frames, size, features)
    rest = (
        torch.randint(1, classes, (size, tokens)),
        torch.full((size,), frames),
        torch.full((size,), tokens),
    )

    def step(monitor: TimedMonitor | None) -> None:
        head.zero_grad()
        logits = head(inputs)
        value = loss(logits, *rest)
        if monitor is not None:
            monitor(logits, *rest, loss=value)
        value.backward()

    return step


STEPS: dict[str, Callable[[], Step]] = {
    "demo: conv + LSTM, T=36, C=11, N=32": demo_step,
    "loss only, T=1500, C=32, N=64": lambda: head_step(1500, 32, 64, 200),
    "loss only, T=500, C=500, N=64": lambda: head_step(500, 500, 64, 60),
    "loss only, T=400, C=5000, N=8": lambda: head_step(400, 5000, 8, 60),
}


def measure(name: str, step: Step, rounds: int) -> dict[str, object]:
    monitor = TimedMonitor()
    for _ in range(3):
        step(None)
        step(monitor)
    without, with_it, own = [], [], []
    for _ in range(rounds):
        start = time.perf_counter()
        step(None)
        middle = time.perf_counter()
        monitor.seconds = 0.0
        step(monitor)
        with_it.append(time.perf_counter() - middle)
        without.append(middle - start)
        own.append(monitor.seconds)
    share = statistics.median(mine / whole for mine, whole in zip(own, without, strict=True))
    plain = statistics.median(without)
    return {
        "step": name,
        "step_ms": round(1e3 * plain, 3),
        "monitor_ms": round(1e3 * statistics.median(own), 3),
        "share": round(share, 5),
        "difference": round(statistics.median(with_it) / plain - 1, 5),
        "rounds": rounds,
    }


def show(rows: list[dict[str, object]]) -> None:
    table = Table(title=f"The monitor's share of a training step (limit {LIMIT:.0%})")
    for column, justify in (("step", "left"), ("step ms", "right"), ("monitor ms", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("share", justify="right")
    table.add_column("difference of steps", justify="right")
    for row in rows:
        share, difference = float(str(row["share"])), float(str(row["difference"]))
        table.add_row(
            str(row["step"]), str(row["step_ms"]), str(row["monitor_ms"]), f"{share:.2%}", f"{difference:+.2%}"
        )
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="timed pairs of steps (default 100)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # two cores shared with others: a second thread waits more than it works
    rows = [measure(name, make(), arguments.rounds) for name, make in STEPS.items()]
    show(rows)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    over = [str(row["step"]) for row in rows if float(str(row["share"])) >= LIMIT]
    if over:
        raise SystemExit(f"over the limit: {'; '.join(over)}")


if __name__ == "__main__":
    main()
