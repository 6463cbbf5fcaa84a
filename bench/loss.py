"""`make bench`: our loss against torch's: speed, gradient error, peak memory.

The peer of every row is ``F.ctc_loss(x.log_softmax(-1), …).backward()`` at the same number of threads. It has no
bfloat16 on the CPU and gets ``x.float()`` instead. Times are interleaved, see harness.py. Errors are max|g - g64| /
max|g64| against torch in float64.

Writes bench/results/loss.csv, docs/images/bench.png and a table in both READMEs. Ends without timing anything if a
gradient is wrong.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from harness import (
    BEST,
    CORES,
    ROOT,
    Contender,
    Row,
    TableWords,
    cpu_name,
    extra_mib,
    interleaved,
    milliseconds,
    parser,
    print_extra_mib,
    publish,
    published,
    ratio,
    seconds,
    show,
    write_results,
)
from peers import torch_loss, torch_loss64
from rich.progress import Progress
from shapes import LOSS, LossCase, LossShape, loss_case

import ctckit.torch
from ctckit.kernels import native

matplotlib.use("agg")

Step = Callable[[LossCase], torch.Tensor]


def fused(case: LossCase) -> torch.Tensor:
    return ctckit.torch.ctc_loss(case.logits, *case.rest, from_logits=True)


def drop_in(case: LossCase) -> torch.Tensor:
    return ctckit.torch.ctc_loss(case.logits.log_softmax(-1), *case.rest)


class Variant(NamedTuple):
    """One way to compute the loss."""

    name: str
    step: Step
    dtype: torch.dtype = torch.float32
    threads: int = 1
    isa: str = BEST

    @property
    def peer(self) -> Variant:
        double = self.dtype == torch.float64
        dtype = torch.float64 if double else torch.float32
        return Variant("torch", torch_loss64 if double else torch_loss, dtype, self.threads)


def variants() -> list[Variant]:
    rows = [
        Variant("from_logits", fused),
        Variant("drop-in, log_softmax above", drop_in),
        Variant("float64", fused, torch.float64),
        Variant("bfloat16", fused, torch.bfloat16),
    ]
    rows += [Variant("from_logits", fused, isa=isa) for isa in native.instruction_sets()[:-1]]
    if CORES > 1:
        rows.append(Variant("from_logits", fused, threads=CORES))
    return rows


# --- what is computed -------------------------------------------------------------------------------------------------


class Result(NamedTuple):
    loss: float
    grad: torch.Tensor


def result(step: Step, case: LossCase) -> Result:
    """The loss and its gradient."""
    case.logits.grad = None
    loss = step(case)
    loss.backward()
    assert case.logits.grad is not None
    return Result(loss.item(), case.logits.grad)


def truth(case: LossCase) -> Result:
    """Loss and gradient in float64, for exactly the numbers of the case."""
    torch.set_num_threads(CORES)
    return result(torch_loss64, case.leaf(torch.float64))


def error(grad: torch.Tensor, exact: torch.Tensor) -> float:
    return float((grad - exact).abs().max() / exact.abs().max())


def use(variant: Variant) -> None:
    torch.set_num_threads(variant.threads)
    native.use_instruction_set(variant.isa)


# --- one shape --------------------------------------------------------------------------------------------------------


def contender(variant: Variant, case: LossCase) -> Contender:
    """A training step's forward and backward: each writes a new gradient, and the one before is freed."""

    def before() -> None:
        use(variant)
        case.logits.grad = None

    return Contender(lambda: variant.step(case).backward(), before)


def errors_of(shape: LossShape, variant: Variant, case: LossCase, exact: Result) -> tuple[float, float]:
    """The relative errors of gradient and loss. Ends the run if our gradient is wrong."""
    use(variant)
    found = result(variant.step, case)
    off = error(found.grad, exact.grad)
    if variant.name != "torch" and not off <= (2**-8 if variant.dtype == torch.bfloat16 else 1e-5):
        sys.exit(f"{shape}, {variant.name}: gradient error {off:.1e}: wrong, so not timed")
    return off, abs(found.loss - exact.loss) / exact.loss


def measure(shape: LossShape, rounds: int, tick: Callable[[], object]) -> list[Row]:
    rows = variants()
    given = loss_case(shape)
    cases = {dtype: given.leaf(dtype) for dtype in {row.dtype for row in rows}}
    exact = {dtype: truth(case) for dtype, case in cases.items()}
    # Each peer runs right before the rows that are compared with it: a change of threads slows the next call.
    order = [each for peer in dict.fromkeys(row.peer for row in rows) for each in (peer, *_compared_with(peer, rows))]
    errors = {each: errors_of(shape, each, cases[each.dtype], exact[each.dtype]) for each in order}
    # Three calls, and of a short step as many as take 10 ms: the first one after the peer's is often slow, since
    # torch's threads spin for a while after their work.
    timer = partial(seconds, calls=3, at_least=0.01, most_calls=25)
    times = interleaved({each: contender(each, cases[each.dtype]) for each in order}, rounds, timer=timer, tick=tick)
    return [
        {
            **shape._asdict() | {"peaky": int(shape.peaky)},
            "variant": row.name,
            "dtype": str(row.dtype).removeprefix("torch."),
            "threads": row.threads,
            "isa": row.isa,
            "torch_ms": round(milliseconds(times[row.peer]), 3),
            "ctckit_ms": round(milliseconds(times[row]), 3),
            "ratio": round(ratio(times[row.peer], times[row]), 2),
            "over_one_thread": round(ratio(times[rows[0]], times[row]), 2) if row.threads > 1 else "",
            "torch_grad_error": f"{errors[row.peer][0]:.1e}",
            "ctckit_grad_error": f"{errors[row][0]:.1e}",
            "torch_loss_error": f"{errors[row.peer][1]:.1e}",
            "ctckit_loss_error": f"{errors[row][1]:.1e}",
        }
        for row in rows
    ]


def _compared_with(peer: Variant, rows: list[Variant]) -> list[Variant]:
    return [row for row in rows if row.peer == peer]


SHOWN = (*LossShape._fields, "variant", "threads", "isa", "torch_ms", "ctckit_ms", "ratio", "ctckit_grad_error")
STEPS: dict[str, Step] = {"peer": torch_loss, "fused": fused}


def peak_memory(step: str, index: int) -> float:
    """MiB that one step takes beyond its input, gradient included, in its own process."""
    return round(extra_mib(__file__, "--memory-of", step, "--shape", str(index)), 1)


# --- results ----------------------------------------------------------------------------------------------------------


def main_path(row: Row) -> bool:
    """The rows that README shows: float32 logits on one thread with the best kernels."""
    return row["variant"] == "from_logits" and row["threads"] == 1 and row["isa"] == BEST


def chart(rows: list[Row], path: Path) -> None:
    """Speed relative to torch and errors, by shape, of the main path."""
    from matplotlib import pyplot as plt

    main = [row for row in rows if main_path(row)][::-1]
    names = [f"{r['T']}, {r['C']}, {r['N']}, {r['S']}" + (" (peaky)" if r["peaky"] else "") for r in main]
    ours, theirs, ink = "#0b7285", "#e8590c", "#343a40"
    figure, (speed, errors) = plt.subplots(1, 2, figsize=(10.5, 4.6), sharey=True, layout="constrained")
    bars = speed.barh(names, [float(str(r["ratio"])) for r in main], color=ours, height=0.62)
    speed.bar_label(bars, fmt="%.0f×", padding=3, color=ink)
    speed.margins(x=0.12)
    speed.set_title("times faster than torch, loss + backward", color=ink, fontsize=11)
    speed.set_ylabel("T, C, N, S", color=ink)
    for key, color, name in (("torch_grad_error", theirs, "torch"), ("ctckit_grad_error", ours, "ctckit")):
        errors.scatter([float(str(r[key])) for r in main], names, color=color, s=48, label=name, zorder=3)
    errors.set_xscale("log")
    errors.set_title("gradient error against float64", color=ink, fontsize=11)
    errors.grid(axis="x", color="#dee2e6")
    errors.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    for axes in (speed, errors):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=ink)
    figure.suptitle(f"float32, one thread ({BEST}), {cpu_name()}", color=ink, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    print(f"and {path.relative_to(ROOT)}")


def publish_table(table: TableWords, rows: list[Row]) -> None:
    cells = []
    for row in filter(main_path, rows):
        shape = f"{row['T']}, {row['C']}, {row['N']}, {row['S']}" + (" \\*" if row["peaky"] else "")
        times = [f"{float(str(row[key])):.3g}" for key in ("torch_ms", "ctckit_ms")]
        memory = [f"{float(str(row[key])):.1f}" for key in ("torch_mib", "ctckit_mib")]
        times_faster = f"**{float(str(row['ratio'])):.3g}**"
        cells.append([shape, *times, times_faster, row["torch_grad_error"], row["ctckit_grad_error"], *memory])
    publish("bench", table, cells, torch=torch.__version__.split("+")[0])


def main() -> None:
    command = parser(__doc__, 3, " of each shape")
    command.add_argument("--memory-of", choices=STEPS, help=argparse.SUPPRESS)
    command.add_argument("--shape", type=int, help=argparse.SUPPRESS)
    arguments = command.parse_args()
    if arguments.memory_of:
        torch.set_num_threads(1)
        step = STEPS[arguments.memory_of]
        result(step, loss_case(LossShape(8, 8, 2, 2)).leaf(torch.float32))
        case = loss_case(LOSS[arguments.shape]).leaf(torch.float32)
        return print_extra_mib(lambda: result(step, case))

    rows: list[Row] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("measuring", total=len(LOSS) * (arguments.rounds + 2))
        for index, shape in enumerate(LOSS):
            progress.update(task, description=f"T, C, N, S = {shape}")
            measured = measure(shape, arguments.rounds, lambda: progress.advance(task))
            for row in measured:  # memory is measured for the main path only
                row["torch_mib"] = peak_memory("peer", index) if main_path(row) else ""
                row["ctckit_mib"] = peak_memory("fused", index) if main_path(row) else ""
            progress.advance(task)
            rows += measured

    title = f"loss + backward; {cpu_name()}, {CORES} CPUs; torch {torch.__version__}"
    show(title, rows, left=("variant", "isa"), columns=SHOWN)
    write_results("loss", rows, f"torch {torch.__version__}; Python {platform.python_version()}")
    chart(rows, ROOT / "docs" / "images" / "bench.png")
    for table in published("loss"):
        publish_table(table, rows)


if __name__ == "__main__":
    main()
