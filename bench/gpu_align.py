"""Forced alignment of one utterance on a GPU, against torchaudio's and our CPU's: the stage "alignment".

"ours" is ``ctckit.torch.forced_align`` of log-probabilities on the card, "torchaudio" its function of the same name,
and "CPU" the copy of the scores to the host, our alignment there with all threads, and the copy of the labels back.
All are called until they have returned and the device is idle; times are medians of the host's clock over rounds in
which each runs once, ratios medians over rounds. Our path must have the CPU's score. "taken" is where ours computed.

Writes alignment.csv. May import gpu_stage.py and what that may import; torchaudio if it is installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from gpu_stage import Card, Device, Row, Wrong, finish, stage
from torch import Tensor

# Rounding of float32 in the scores, relative. Both paths are best for scores that have been rounded differently.
SCORES_AGREE = 1e-5


class Shape(NamedTuple):
    T: int
    C: int
    S: int


SHAPES = [Shape(1500, 32, 200), Shape(15000, 32, 2000), Shape(60000, 64, 8000)]
DRY_SHAPES = [Shape(8, 5, 2)]


class Case:
    """One utterance of random logits, all frames and tokens used."""

    def __init__(self, shape: Shape, device: str) -> None:
        generator = torch.Generator().manual_seed(sum(shape))
        logits = torch.randn(1, shape.T, shape.C, generator=generator) * 2
        targets = torch.randint(1, shape.C, (1, shape.S), generator=generator)
        self.log_probs = logits.log_softmax(-1).to(device)
        self.targets = targets.to(device)


Aligner = Callable[[Case], tuple[Tensor, Tensor]]


def ours(case: Case) -> tuple[Tensor, Tensor]:
    import ctckit.torch  # which imports Triton, so only when it is known whether Triton compiles or interprets

    labels, scores = ctckit.torch.forced_align(case.log_probs, case.targets)
    return labels, scores


def on_the_cpu(case: Case) -> tuple[Tensor, Tensor]:
    import ctckit.torch

    labels, scores = ctckit.torch.forced_align(case.log_probs.cpu(), case.targets.cpu())
    return labels.to(case.log_probs.device), scores.to(case.log_probs.device)


def torchaudios(case: Case) -> tuple[Tensor, Tensor]:
    import torchaudio.functional

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it may be removed
        found: Any = torchaudio.functional.forced_align(case.log_probs, case.targets.int())
    return found


def check_score(case: Case) -> None:
    """Our path has the score of the CPU's.

    Raises:
        Wrong: it has not.
    """
    found, best = (float(aligner(case)[1].double().sum()) for aligner in (ours, on_the_cpu))
    if not abs(found - best) <= SCORES_AGREE * abs(best):
        raise Wrong(f"the path's score is {found}, and {best} on the CPU")


def taken(case: Case, device: Device) -> str:
    """Where our alignment is computed: on the GPU if it launches a kernel of ours."""
    return "GPU" if set(device.launches(partial(ours, case), rounds=1).of_ours()) - {"others"} else "CPU"


def seconds(step: Callable[[], object], device: Device) -> float:
    device.wait()
    begin = time.perf_counter()
    step()
    device.wait()
    return time.perf_counter() - begin


def measured(shape: Shape, device: Device, rounds: int) -> Row:
    case = Case(shape, device.device)
    check_score(case)
    aligners: dict[str, Aligner] = {"ours": ours, "CPU": on_the_cpu}
    if importlib.util.find_spec("torchaudio") is not None and isinstance(device, Card):
        aligners["torchaudio"] = torchaudios
    times: dict[str, list[float]] = {name: [] for name in aligners}
    for _ in range(rounds + 1):
        for name, aligner in aligners.items():
            times[name].append(seconds(partial(aligner, case), device))
    row: Row = {"taken": taken(case, device)}
    warm = {name: each[1:] for name, each in times.items()}
    row |= {f"{name} ms": round(statistics.median(each) * 1e3, 3) for name, each in warm.items()}
    for name in [name for name in aligners if name != "ours"]:
        row[f"{name} / ours"] = round(
            statistics.median(peer / own for peer, own in zip(warm[name], warm["ours"], strict=True)), 2
        )
    return row


def main() -> None:
    run = stage(__doc__, "bench/gpu_align.py", rounds=5)
    shapes = run.cases(SHAPES, DRY_SHAPES)
    finish(run.fill(run.table("alignment"), shapes, lambda shape: measured(shape, run.device, run.rounds)))


if __name__ == "__main__":
    main()
