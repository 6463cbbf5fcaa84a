"""`make gpu-counts`: the work of a step of the loss on the host, and of its sweep on the GPU, counted without a GPU.

A step is the loss and its gradient from float32 logits by the public function, with targets on the host. Kernels are
compiled for an H100 and never run: the launcher does nothing, and scores are in the CPU's memory. Prints a name and a
value on each line:

    launches     our kernels'
    operations   torch's, those that compute or copy
    allocations  of memory, also those by torch's operations
    frames       calls to Python functions
    host_us      microseconds of a step, the median
    instructions_before_P1, instructions_after_P1
                 in the sweep's loop, per frame before the two directions meet and after, with one pair of states per
                 thread; P2 with two pairs
    best_P1, best_P2
                 in the loop of the best path's sweep, per frame
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import torch
import triton.backends.nvidia
from torch.profiler import ProfilerActivity, profile
from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel
from triton.runtime.driver import driver

import ctckit.torch
from ctckit.kernels import triton as backend
from ctckit.kernels.triton import best, sweep, tuning
from ctckit.problem import Problem
from ctckit.torch import dispatch

FRAMES, CLASSES, SIZE, TOKENS = 500, 32, 64, 100
STEPS = 300
VIEWS = {"view", "_unsafe_view", "expand", "slice", "select", "unsqueeze", "squeeze", "transpose", "permute", "alias"}
VIEWS |= {"detach", "as_strided", "reshape", "flatten", "resolve_conj", "resolve_neg"}
MAY_BE_IDLE = {"to", "contiguous"}
DISASSEMBLER = Path(triton.backends.nvidia.__file__).with_name("bin") / "nvdisasm"

launched: Counter[str] = Counter()


class Launcher:
    """Counts the launches of a kernel, and does not launch it."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.name = metadata.name

    def __call__(self, *_: object) -> None:
        launched[self.name] += 1


class NoGPU:
    """A driver for a device that does not exist."""

    launcher_cls = Launcher
    utils = SimpleNamespace(
        get_device_properties=lambda device: {"max_shared_mem": 1 << 20},
        load_binary=lambda name, kernel, shared, device: (name, name, 0, 0, 1024),
        unload_module=lambda module: None,
    )

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def operations_of(step: Callable[[], None]) -> tuple[Counter[str], int]:
    """The number of torch's outermost operations that compute or copy, and of allocations."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    outer: Counter[str] = Counter()
    allocations = 0
    for event in profiled.events() or ():
        name = event.name.removeprefix("aten::")
        if name == event.name:
            continue
        allocations += name.startswith("empty") and name != "empty_like"  # which calls one of them
        parent = event.cpu_parent
        while parent is not None and not parent.name.startswith("aten::"):
            parent = parent.cpu_parent
        idle = name in MAY_BE_IDLE and not event.cpu_children
        outer[name] += parent is None and not idle and name not in VIEWS and not name.startswith("empty")
    return +outer, allocations


def loops_of(kernel: CompiledKernel) -> list[list[str]]:
    """The instructions in each loop of a compiled kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        listing = subprocess.run([DISASSEMBLER, "-c", file.name], capture_output=True, text=True, check=True).stdout
    places: dict[str, int] = {}
    found, code = [], list[str]()
    for line in listing.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            places[label[1]] = len(code)
        elif instruction := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            code.append(instruction[1])
            target = re.search(r"BRA.*`\((\.L_\w+)\)", instruction[1])
            if target and target[1] in places:
                found.append(code[places[target[1]] :])
    return found


def instructions() -> dict[str, int]:
    """Instructions per frame of the sweeps that have been compiled.

    Each iteration of the counted loop processes four frames. Samples whose labels' scores differ by many nats have a
    loop of their own, with arithmetic in float64; it is not counted.
    """
    found = {}
    for kernel in sweep._sweep_kernel.device_caches[0][0].values():
        names = sweep._sweep_kernel.arg_names
        fixed = {names[place]: value for (place,), value in kernel.src.constants.items()}
        when = "after" if fixed["SECOND"] else "before"
        plain = [loop for loop in loops_of(kernel) if not any("DFMA" in instruction for instruction in loop)]
        found[f"instructions_{when}_P{fixed['P']}"] = max(map(len, plain)) // 4
    return dict(sorted(found.items()))


def instructions_of_best_paths() -> dict[str, int]:
    """Instructions per frame of the best path's sweep, by the number of pairs per thread."""
    scores, frames = torch.randn(FRAMES, SIZE, CLASSES), torch.full((SIZE,), FRAMES)
    for tokens in (TOKENS, 2 * TOKENS):
        targets, lengths = torch.ones(SIZE, tokens, dtype=torch.int64), torch.full((SIZE,), tokens)
        backend.best_path(Problem(scores, True, backend.ctc_lattices(scores, targets, frames, lengths, 0)))
    found = {}
    for kernel in best._best_kernel.device_caches[0][0].values():
        names = best._best_kernel.arg_names
        fixed = {names[place]: value for (place,), value in kernel.src.constants.items()}
        found[f"best_P{fixed['EACH']}"] = max(map(len, loops_of(kernel))) // tuning.GROUP
    return dict(sorted(found.items()))


def without_a_gpu() -> None:
    """After this call, Triton compiles for an H100, launches nothing, and takes tensors on the CPU."""
    driver.set_active(NoGPU())
    dispatch.backend_of = lambda scores: "triton"


def step_of_the_loss(tokens: int = TOKENS) -> Callable[[], None]:
    logits = torch.randn(FRAMES, SIZE, CLASSES, requires_grad=True)
    targets = torch.randint(1, CLASSES, (SIZE, tokens))
    frames, lengths = torch.full((SIZE,), FRAMES), torch.full((SIZE,), tokens)

    def step() -> None:
        logits.grad = None
        ctckit.torch.ctc_loss(logits, targets, frames, lengths, from_logits=True).backward()

    return step


def python_frames(step: Callable[[], None]) -> int:
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    step()
    sys.setprofile(None)
    return count


def measure() -> dict[str, int]:
    from harness import Contender, seconds  # needs rich, which a machine with a GPU may not have

    without_a_gpu()
    step = step_of_the_loss()
    step()  # compiles
    launched.clear()
    step()
    launches = launched.total()
    operations, allocations = operations_of(step)
    print(*(f"{name} {count}" for name, count in operations.items()), sep=", ", file=sys.stderr)
    counts = {
        "launches": launches,
        "operations": operations.total(),
        "allocations": allocations,
        "frames": python_frames(step),
        "host_us": round(seconds(Contender(step), calls=STEPS) * 1e6),
    }
    step_of_the_loss(tokens=30)()
    return counts | instructions() | instructions_of_best_paths()


if __name__ == "__main__":
    for name, value in measure().items():
        print(name, value)
