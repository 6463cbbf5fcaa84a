"""`make bench`: the monitor's time, as a share of a training step.

Two kinds of steps: the demo's own network (convolutions, LSTM, loss, AdamW) on lines like the demo's; and little more
than the loss with many classes, where a monitor that reads all scores would be slow. Steps without and with the monitor
are interleaved, see harness.py. The monitor's time is that of its call and of its gradient hook inside the step; the
share is the median over rounds of that time over the time of the step without it. The difference of the two steps'
medians is printed too. It shows that no cost is hidden elsewhere, but on a busy machine it is mostly noise.

The monitor's time hardly depends on the shape: most of it is loading its code into a cold cache. Of a step of 10 ms
(the loss alone at T=1500, C=32, N=16) it is 4 %; for such short steps use its argument ``every``.

Writes bench/results/monitor.csv. Exits with status 1 if a share is over the limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from harness import Contender, Row, interleaved, milliseconds, parser, ratio, show, write_results
from torch import Tensor, nn

from ctckit.demo.data import SIZE
from ctckit.demo.model import CLASSES, STRIDE, LineReader
from ctckit.torch import CTCLoss, CTCMonitor

LIMIT = 0.02  # of a step
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # logits (T, N, C), targets (N, S), frames (N,), target_lengths (N,)
Step = Callable[["TimedMonitor | None"], None]


class TimedMonitor(CTCMonitor):
    """Adds up the seconds that it takes, in the call and in the hook of the backward pass."""

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
    """Little more than the loss: a small linear layer below it."""
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


def measure(name: str, step: Step, rounds: int) -> Row:
    monitor = TimedMonitor()
    own: list[float] = []

    def monitored() -> None:
        monitor.seconds = 0.0
        step(monitor)
        own.append(monitor.seconds)

    times = interleaved({"without": Contender(lambda: step(None)), "with": Contender(monitored)}, rounds)
    own = own[-rounds:]  # without the round that warms up
    return {
        "step": name,
        "step_ms": round(milliseconds(times["without"]), 3),
        "monitor_ms": round(milliseconds(own), 3),
        "share": round(ratio(own, times["without"]), 5),
        "difference": round(milliseconds(times["with"]) / milliseconds(times["without"]) - 1, 5),
        "rounds": rounds,
    }


def main() -> None:
    arguments = parser(__doc__, 100, ", pairs of steps").parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, make(), arguments.rounds) for name, make in STEPS.items()]
    show(f"The monitor's share of a training step (limit {LIMIT:.0%})", rows, left=("step",))
    write_results("monitor", rows, f"torch {torch.__version__}, one thread")
    over = [str(row["step"]) for row in rows if float(str(row["share"])) >= LIMIT]
    if over:
        raise SystemExit(f"over the limit: {'; '.join(over)}")


if __name__ == "__main__":
    main()
