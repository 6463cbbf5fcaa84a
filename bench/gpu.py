"""Our Triton backend against torch's CUDA losses, interleaved in one run: the stage "steps" of `make gpu-report`.

A step is the loss of float32 logits and its gradient. "ours" is the public loss, ``ctckit.torch.ctc_loss(x, …,
from_logits=True).backward()``; "kernels" are what it calls, without autograd. The peers are torch's own kernels and
cuDNN's, both as ``F.ctc_loss(x.log_softmax(-1), …).backward()``. cuDNN takes blank 0, concatenated int32 targets on the
CPU and S < 256, so some shapes have no such peer; if a profile does not show cuDNN's kernel, there is no number. "best
path" is ours, and has no peer in torch. Times are medians of CUDA events over rounds in which each runs once; a ratio
is the median over rounds of the pair's ratio, and "torch's best / ours" is that of the faster of torch's two. Errors
are max|g - g64| / max|g64| against torch in float64 on the CPU. The bandwidth is the bytes that must be moved (the
logits twice, the gradient once) divided by our time, compared with that of a copy on the device.

Writes steps.csv, and kernels.csv with the microseconds of each of our kernels in a step of "ours". Only correct results
are timed, which have the same bits twice; a step of ours that waits for the device is an error, too. May import
gpu_stage.py and what that may import.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from gpu_stage import Device, Row, Stage, Wrong, finish, stage
from torch import Tensor

from ctckit.problem import Problem

MOST_ERROR = 1e-5
CUDNN_TOKENS = 255  # of the longest target that torch gives to cuDNN


class Shape(NamedTuple):
    T: int
    C: int
    N: int
    S: int


SHAPES = [
    Shape(50, 20, 4, 20),
    Shape(150, 40, 128, 20),
    Shape(500, 32, 64, 100),
    Shape(1500, 32, 64, 200),
    Shape(500, 500, 64, 60),
    Shape(400, 5000, 32, 60),
    Shape(1500, 128, 16, 400),
    Shape(100, 7000, 64, 20),
    Shape(2000, 1024, 64, 300),
    Shape(1000, 32, 256, 100),
    Shape(4000, 64, 8, 1200),
]
DRY_SHAPES = [Shape(4, 5, 1, 2)]


class Case:
    """One shape's inputs: logits randn·2, full lengths, as the CPU benchmark has them."""

    def __init__(self, shape: Shape, device: str = "cuda") -> None:
        generator = torch.Generator().manual_seed(sum(shape))
        self.shape = shape
        logits = torch.randn(shape.T, shape.N, shape.C, generator=generator) * 2
        targets = torch.randint(1, shape.C, (shape.N, shape.S), generator=generator)
        self.logits_cpu, self.targets_cpu = logits, targets
        self.frames_cpu = torch.full((shape.N,), shape.T)
        self.lengths_cpu = torch.full((shape.N,), shape.S)
        self.logits, self.targets = logits.to(device), targets.to(device)
        self.frames, self.lengths = self.frames_cpu.to(device), self.lengths_cpu.to(device)
        self.flat = targets.flatten().int()
        self.frames_int, self.lengths_int = self.frames_cpu.int(), self.lengths_cpu.int()

    def truth(self) -> Tensor:
        """The gradient in float64, of only a few samples where all would take too long: samples are independent."""
        few = max(1, min(self.shape.N, 50_000_000 // (self.shape.T * max(self.shape.C, 2 * self.shape.S))))
        x = self.logits_cpu[:, :few].double().requires_grad_()
        given = self.targets_cpu[:few], self.frames_cpu[:few], self.lengths_cpu[:few]
        F.ctc_loss(x.log_softmax(-1), *given, reduction="sum").backward()
        return x.grad


Step = Callable[[Case], Tensor]


def ours(case: Case) -> Tensor:
    import ctckit.torch

    x = case.logits.detach().requires_grad_()
    loss = ctckit.torch.ctc_loss(x, case.targets, case.frames, case.lengths, reduction="sum", from_logits=True)
    loss.backward()
    return x.grad


def problem_of(case: Case) -> Problem[Tensor]:
    from ctckit.kernels import triton

    lattices = triton.ctc_lattices(case.logits, case.targets, case.frames, case.lengths, 0)
    return Problem(case.logits, True, lattices)


def kernels(case: Case) -> Tensor:
    from ctckit.kernels import triton
    from ctckit.kernels.backend import Gradients

    grad = torch.empty_like(case.logits)
    triton.total(problem_of(case), gradients=Gradients(grad))
    return grad


def best_path(case: Case) -> Tensor:
    from ctckit.kernels import triton

    return triton.best_path(problem_of(case)).states


def torchs(case: Case) -> Tensor:
    x = case.logits.detach().requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):
        loss = F.ctc_loss(x.log_softmax(-1), case.targets, case.frames_cpu, case.lengths_cpu, reduction="sum")
        loss.backward()
    return x.grad


def cudnns(case: Case) -> Tensor:
    x = case.logits.detach().requires_grad_()
    loss = F.ctc_loss(x.log_softmax(-1), case.flat, case.frames_int, case.lengths_int, reduction="sum")
    loss.backward()
    return x.grad


def takes_cudnn(case: Case) -> bool:
    """Whether torch's call for cuDNN runs cuDNN, by a profile, since torch falls back silently."""
    if not torch.backends.cudnn.is_available() or case.shape.S > CUDNN_TOKENS:
        return False
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        cudnns(case)
    return any("cudnn_ctc_loss" in event.key for event in profile.key_averages())


OURS = {"ours": ours, "kernels": kernels}


def gradient_errors(case: Case, steps: dict[str, Step]) -> dict[str, float]:
    """Each one's error against float64.

    Raises:
        Wrong: ours is too large, or not the same twice.
    """
    truth = case.truth()
    errors = {}
    for name, step in steps.items():
        gradient = step(case)
        found = gradient[:, : truth.shape[1]].double().cpu()
        errors[name] = float((found - truth).abs().max() / truth.abs().max())
        if name in OURS and not errors[name] <= MOST_ERROR:  # nor if it is NaN
            raise Wrong(f"the gradient of {name!r} is off by {errors[name]:.1e}, more than {MOST_ERROR:.0e}")
        if name in OURS and not torch.equal(step(case), gradient):
            raise Wrong(f"two runs of {name!r} differ")
    return errors


def check_path(case: Case) -> None:
    """The best path of the first sample: its states are a path of the target.

    Raises:
        Wrong: they are not, or another run finds another path.
    """
    states = best_path(case)
    if not torch.equal(best_path(case), states):
        raise Wrong("two runs find different best paths")
    path = states[0].tolist()
    steps = np.diff(path)
    if path[0] > 1 or path[-1] < 2 * case.shape.S - 1 or steps.min() < 0 or steps.max() > 2:
        raise Wrong("the best path is not a path of its target")


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """For each peer, its time as a multiple of ours: the median over rounds."""
    peers = [name for name in ("torch", "cudnn") if name in times]
    own = times["ours"]
    found = {f"{name} / ours": [a / b for a, b in zip(times[name], own, strict=True)] for name in peers}
    best = [min(each) for each in zip(*(times[name] for name in peers), strict=True)]
    found["torch's best / ours"] = [a / b for a, b in zip(best, own, strict=True)]
    return {name: round(statistics.median(each), 2) for name, each in found.items()}


def times_of(steps: dict[str, Step], case: Case, device: Device, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each in each round. Rounds before these warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    warm_up = 0 if device.dry else 3
    for turn in range(rounds + warm_up):
        for name, step in steps.items():
            spent = device.milliseconds(partial(step, case))
            if turn >= warm_up:
                times[name].append(spent)
    return times


def measured(shape: Shape, run: Stage, bandwidth: float) -> Row:
    """The row of a shape, of correct results only."""
    device, case = run.device, Case(shape, run.device.device)
    steps: dict[str, Step] = {**OURS, "torch": torchs}
    if takes_cudnn(case):
        steps["cudnn"] = cudnns
    errors = gradient_errors(case, steps)
    check_path(case)
    for step in (*OURS.values(), best_path):
        device.check_silence(partial(step, case))
    steps["best path"] = best_path
    times = times_of(steps, case, device, run.rounds)
    row: Row = {"same bits": "yes", "waits": "no"}
    for name, step in steps.items():
        row[f"{name} ms"] = round(statistics.median(times[name]), 4)
        if name in errors:
            row[f"{name} error"] = f"{errors[name]:.1e}"
        row[f"{name} MiB"] = round(device.peak_mebibytes(partial(step, case)), 1)
    row.update(ratios(times))
    achieved = 3 * case.logits.nbytes / (statistics.median(times["ours"]) / 1e3)
    return row | {"GB/s": round(achieved / 1e9, 1), "of copy": round(achieved / bandwidth, 3)}


def kernel_times(shape: Shape, device: Device) -> Row:
    """Microseconds of each kernel of ours in a public step, and of all that torch adds."""
    launches = device.launches(partial(ours, Case(shape, device.device)))
    spent = launches.of_ours()
    times = {name: round(each, 1) for name, each in spent.items()}
    return {"launches": round(launches.number, 1), "sum": round(sum(spent.values()), 1), **times}


def main() -> None:
    run = stage(__doc__, "bench/gpu.py", rounds=20)
    bandwidth = run.device.copy_bandwidth()
    print(f"{run.device.name}; torch {torch.__version__}; a copy moves {bandwidth / 1e9:.0f} GB/s")
    shapes = run.cases(SHAPES, DRY_SHAPES)
    failed = run.fill(run.table("steps"), shapes, lambda shape: measured(shape, run, bandwidth))
    failed += run.fill(run.table("kernels"), shapes, lambda shape: kernel_times(shape, run.device))
    finish(failed)


if __name__ == "__main__":
    main()
