"""Instructions of the sweep beside its nanoseconds: the stage "sweep" of `make gpu-report`.

The time of a frame is a slope: a loss and its gradient are profiled for two numbers of frames, and the difference of a
kernel's times is divided by that of the frames. "ns a frame" is of all kernels in sweep.py, so of both directions and
of both halves; each other module has a column of its own. Beside it are the instructions per frame, of the same kernels
as the card has compiled them, before the two directions meet and after.

Writes sweep.csv. With --dry kernels are compiled for an H100 and not launched, and times are made up. May import
gpu_stage.py, gpu.py, gpu_counts.py and what these may import.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import NamedTuple

import gpu
from gpu_stage import Device, Row, Stage, finish, kernels_of_ours, stage

SWEEP = "sweep"  # the module of the sweeps
FRAMES = 1000, 3000
DRY_FRAMES = 40, 80
CLASSES, SIZE = 32, 8


class Pairs(NamedTuple):
    pairs: int


def forget_compiled() -> None:
    """Then the next kernels that are compiled are those of one shape."""
    for name, module in kernels_of_ours().items():
        getattr(importlib.import_module(f"ctckit.kernels.triton.{module}"), name).device_caches.clear()


def slopes(times: list[dict[str, float]], frames: tuple[int, int]) -> dict[str, float]:
    """Nanoseconds per frame of each module, from its microseconds for two numbers of frames."""
    short, long = times
    apart = frames[1] - frames[0]
    return {name: round((long[name] - short.get(name, 0.0)) * 1e3 / apart, 1) for name in long}


def instructions() -> dict[str, int]:
    """Per frame, before the two directions meet and after, of the one shape that has been compiled."""
    import gpu_counts

    found = {"pairs a thread": 0}
    for name, count in gpu_counts.instructions().items():
        what, pairs = name.rsplit("_P", 1)
        found |= {what.replace("_", " "): count, "pairs a thread": int(pairs)}
    return found


def measured(pairs: int, device: Device) -> Row:
    forget_compiled()
    frames = DRY_FRAMES if device.dry else FRAMES
    cases = [gpu.Case(gpu.Shape(T, CLASSES, SIZE, pairs - 1), device.device) for T in frames]
    per_frame = slopes([device.launches(partial(gpu.kernels, case)).by_module() for case in cases], frames)
    return {"ns a frame": per_frame.pop(SWEEP), **instructions(), **{f"{name} ns": x for name, x in per_frame.items()}}


def main() -> None:
    run: Stage = stage(__doc__, "bench/gpu_sweep.py", rounds=1, interpreted=False)
    if run.device.dry:
        import gpu_counts

        gpu_counts.without_a_gpu()
    sizes = run.cases([Pairs(64), Pairs(128), Pairs(256)], [Pairs(32)])
    finish(run.fill(run.table("sweep"), sizes, lambda size: measured(size.pairs, run.device)))


if __name__ == "__main__":
    main()
