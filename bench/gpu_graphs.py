"""A step captured by a CUDA graph, and compiled by torch: the stage "graphs" of `make gpu-report`.

A step is the public loss of float32 logits and its gradient. "eager" is called as usual; "graph" is the same, captured
once and replayed, as ``torch.cuda.graph`` does; "compiled" is ``torch.compile(mode="reduce-overhead")``, which captures
it too. The replays must have the eager step's loss and gradient, bit for bit. "captured" says whether torch has made a
graph of the compiled step, which it does not do if it finds something that cannot be captured.

Writes graphs.csv. With --dry nothing is captured or compiled. May import gpu_stage.py, gpu.py and what these may
import.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import gpu
import torch
from gpu_stage import Device, Row, Wrong, finish, stage
from torch import Tensor

SHAPES = [gpu.Shape(50, 20, 4, 20), gpu.Shape(500, 32, 64, 100), gpu.Shape(1500, 32, 64, 200)]
DRY_SHAPES = [gpu.Shape(4, 5, 1, 2)]

Result = tuple[Tensor, Tensor]


def step_with(loss: Callable[..., Tensor], case: gpu.Case) -> Result:
    x = case.logits.detach().requires_grad_()
    found = loss(x, case.targets, case.frames, case.lengths, from_logits=True)
    found.backward()
    return found.detach(), x.grad


def eager(case: gpu.Case) -> Result:
    from ctckit.torch import ctc_loss  # which imports Triton, so only when it is known whether Triton interprets

    return step_with(ctc_loss, case)


def captured(case: gpu.Case) -> Callable[[], Result]:
    """The step as a graph; each call replays it into the same memory."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # torch asks for some steps on another stream before the capture
        for _ in range(3):
            eager(case)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = eager(case)

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def compiled(case: gpu.Case) -> Callable[[], Result]:
    """The step compiled by torch, after the calls in which it compiles and captures."""
    from ctckit.torch import ctc_loss

    loss = torch.compile(ctc_loss, mode="reduce-overhead", fullgraph=True)

    def step() -> Result:
        torch.compiler.cudagraph_mark_step_begin()
        return step_with(loss, case)

    for _ in range(3):
        step()
    return step


def graphs_skipped() -> int:
    """How often torch has left out a graph of compiled code."""
    from torch._dynamo.utils import counters

    return counters["inductor"]["cudagraph_skips"]


def measured(shape: gpu.Shape, device: Device, rounds: int) -> Row:
    case = gpu.Case(shape, device.device)
    expected = tuple(each.clone() for each in eager(case))
    steps: dict[str, Callable[[], Result]] = {"eager": lambda: eager(case)}
    skipped = graphs_skipped()
    for name, make in {} if device.dry else {"graph": captured, "compiled": compiled}.items():
        steps[name] = make(case)
        found = steps[name]()
        if not all(torch.equal(ours, true) for ours, true in zip(found, expected, strict=True)):
            raise Wrong(f"{name} has other bits than the eager step")
    row: Row = {"same bits": "yes", "captured": "no" if device.dry or graphs_skipped() > skipped else "yes"}
    for name, step in steps.items():
        row[f"{name} ms"] = round(statistics.median(device.milliseconds(step) for _ in range(rounds)), 4)
    return row


def main() -> None:
    run = stage(__doc__, "bench/gpu_graphs.py", rounds=20)
    shapes = run.cases(SHAPES, DRY_SHAPES)
    finish(run.fill(run.table("graphs"), shapes, lambda shape: measured(shape, run.device, run.rounds)))


if __name__ == "__main__":
    main()
