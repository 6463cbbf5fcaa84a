"""``ctckit demo``: a recogniser of real handwriting, trained with ctckit's loss while you watch.

It exists to show the loss doing its job from end to end, and what CTC does on the way. May import everything below
the command line; what needs an optional package is imported when `run` is called.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingExtraError

GOAL_CER = 0.02
GOAL_LINES = 0.90
HELD_OUT_SEED = 2006  # not `seed`: the held-out lines are the same in every run


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo.

    Attributes:
        cer: character error rate on the held-out lines, 0.02 is 2 %.
        line_accuracy: the share of held-out lines that were read without any error.
        seconds: wall time of the whole run.
        report: the report's path.
        loss_share: the loss's share of the time that training steps took; None when no step was made.
        torch_ratio: how many times as long torch's loss takes on the same batches; None when no step was made.
        interrupted: whether Ctrl-C ended the training early.
    """

    cer: float
    line_accuracy: float
    seconds: float
    report: Path
    loss_share: float | None
    torch_ratio: float | None
    interrupted: bool

    @property
    def goal_met(self) -> bool:
        """Whether at most 2 % of the characters, and at most 10 % of the lines, were misread."""
        return self.cer <= GOAL_CER and self.line_accuracy >= GOAL_LINES


def run(
    *, out: Path = Path("demo-report"), fast: bool = False, seed: int = 0, max_seconds: float | None = None
) -> DemoResult:
    """Trains the recogniser, with live progress, and writes ``index.html`` into the folder `out`.

    Args:
        out: folder of the report; it is made if need be.
        fast: a few seconds of training, to see that everything works; no goal is claimed.
        seed: of network, batches and gaps. The same seed gives the same result on the same machine.
        max_seconds: trains no longer than this; then the result may differ from run to run.

    Raises:
        MissingExtraError: when the packages of the extra ``demo`` are not installed.
    """
    start = time.perf_counter()
    for package in ("torch", "sklearn", "rich", "jinja2", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("The demo", "demo", package)

    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    report = Path(out) / "index.html"
    console.print(
        f"Trains a recogniser of handwritten digits in {'a few seconds' if fast else 'under two minutes'} and writes "
        f"{report}.\nCtrl-C ends the training early; the report is written all the same.\n"
    )
    with console.status("loading torch, and writing lines of digits"):
        import numpy as np

        from .data import load_digits, write_lines
        from .progress import Display, say_result, verdict
        from .report import write_report
        from .train import FAST, FULL, compare_losses, one_thread, train

        budget = FAST if fast else FULL
        scans = load_digits()
        held_out = write_lines(scans[1], budget.held_out_lines, np.random.default_rng(HELD_OUT_SEED))
    with one_thread():
        with Display(console, budget.steps, held_out, start) as display:
            record = train(scans[0], held_out, budget, seed, max_seconds, display.update)
        comparison = compare_losses(record.kept)
    result = DemoResult(
        cer=record.last.cer,
        line_accuracy=record.last.line_accuracy,
        seconds=time.perf_counter() - start,
        report=report,
        loss_share=record.loss_share if comparison else None,
        torch_ratio=comparison.ratio if comparison else None,
        interrupted=record.interrupted,
    )
    sentence = verdict(result, record, fast)
    with console.status("drawing the report"):
        write_report(result, sentence, record, comparison, held_out, scans, seed)
    say_result(console, result, sentence, record, comparison)
    return result
