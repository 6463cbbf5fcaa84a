"""`make bench`: our loss against torch's, interleaved in one run: speed, gradient error, peak memory.

The peer of every row is ``F.ctc_loss(x.log_softmax(-1), …).backward()`` at the same number of threads; it knows no
bfloat16 on CPU, so there it gets ``x.float()``. Times are medians over rounds in which every variant and the peer run
once each, one after the other; a ratio is the median over rounds of the pair's ratio. Errors are max|g - g64| /
max|g64| against torch in float64. Peak extra memory is that of a fresh process, beyond the input.

Writes bench/results/loss.csv, docs/images/bench.png and the tables of both READMEs. Refuses
to time anything that is not correct first.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
import torch.nn.functional as F
from report import BEST, CORES, ROOT, cpu_name, extra_mib, print_extra_mib, put_between_marks, write_results
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import ctckit.torch
from ctckit.kernels import native

matplotlib.use("agg")

Step = Callable[["Case"], torch.Tensor]


class Shape(NamedTuple):
    T: int
    C: int
    N: int
    S: int
    peaky: bool = False

    def __str__(self) -> str:
        return f"{self.T}, {self.C}, {self.N}, {self.S}" + (" peaky" if self.peaky else "")


SHAPES = [
    Shape(50, 20, 1, 20),
    Shape(150, 40, 32, 20),
    Shape(500, 32, 16, 100),
    Shape(1500, 32, 16, 200),
    Shape(500, 500, 16, 60),
    Shape(400, 5000, 8, 60),
    Shape(1500, 128, 4, 400),
    Shape(100, 7000, 16, 20),
    Shape(500, 32, 8, 100, peaky=True),
    Shape(1500, 32, 8, 200, peaky=True),
    Shape(1500, 500, 4, 100, peaky=True),
]


@dataclass
class Case:
    logits: torch.Tensor
    targets: torch.Tensor
    input_lengths: torch.Tensor
    target_lengths: torch.Tensor

    @property
    def rest(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.targets, self.input_lengths, self.target_lengths

    def double(self) -> Case:
        return Case(self.logits.detach().double().requires_grad_(), *self.rest)

    def leaf(self, dtype: torch.dtype) -> Case:
        return Case(self.logits.to(dtype, copy=True).requires_grad_(), *self.rest)


def make_case(shape: Shape) -> Case:
    """Logits randn * 2; or, peaky, as a trained model gives them."""
    generator = torch.Generator().manual_seed(0)
    T, C, N, S, peaky = shape
    targets = torch.randint(1, C, (N, S), generator=generator)
    logits = peaky_logits(shape, targets, generator) if peaky else torch.randn(T, N, C, generator=generator) * 2
    return Case(logits, targets, torch.full((N,), T), torch.full((N,), S))


def peaky_logits(shape: Shape, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some 80 % blank frames, most of them over 0.95 sure, one spike a token, and 15 % hard frames."""
    T, C, N, S, _ = shape
    logits = torch.randn(T, N, C, generator=generator)
    sure = torch.full((T, N), 0)
    for n in range(N):
        spikes = (torch.randperm(T // 2, generator=generator)[:S].sort().values * 2).tolist()  # apart, for repeats
        sure[spikes, n] = targets[n]
    hard = torch.rand(T, N, generator=generator) < 0.15
    height = torch.log(torch.tensor(float(C))) + 4 + 3 * torch.rand(T, N, generator=generator)
    logits.scatter_add_(2, sure[..., None], torch.where(hard, height / 4, height)[..., None])
    return logits


def peer(case: Case) -> torch.Tensor:
    return F.ctc_loss(case.logits.float().log_softmax(-1), *case.rest)


def peer64(case: Case) -> torch.Tensor:
    return F.ctc_loss(case.logits.log_softmax(-1), *case.rest)


def fused(case: Case) -> torch.Tensor:
    return ctckit.torch.ctc_loss(case.logits, *case.rest, from_logits=True)


def drop_in(case: Case) -> torch.Tensor:
    return ctckit.torch.ctc_loss(case.logits.log_softmax(-1), *case.rest)


class Variant(NamedTuple):
    name: str
    step: Step
    dtype: torch.dtype
    threads: int
    isa: str


def variants() -> list[Variant]:
    rows = [
        Variant("from_logits", fused, torch.float32, 1, BEST),
        Variant("drop-in, log_softmax above", drop_in, torch.float32, 1, BEST),
        Variant("float64", fused, torch.float64, 1, BEST),
        Variant("bfloat16", fused, torch.bfloat16, 1, BEST),
    ]
    rows += [Variant("from_logits", fused, torch.float32, 1, isa) for isa in native.instruction_sets()[:-1]]
    if CORES > 1:
        rows.append(Variant("from_logits", fused, torch.float32, CORES, BEST))
    return rows


class Timed(NamedTuple):
    ms: float
    loss: float
    error: float


def run(step: Step, case: Case, threads: int, isa: str = BEST, exact: torch.Tensor | None = None) -> Timed:
    """Forward and backward, as a training step does it: a fresh gradient each time, given back at the next.

    A step is made three times, a short one for some 10 ms; its time is the median. The first one after the peer's
    is often slow: torch's threads go on spinning for a while after their work.
    """
    torch.set_num_threads(threads)
    native.use_instruction_set(isa)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 10 and len(times) < 25):
        case.logits.grad = None
        begin = time.perf_counter()
        loss = step(case)
        loss.backward()
        times.append((time.perf_counter() - begin) * 1e3)
    return Timed(statistics.median(times), loss.item(), 0.0 if exact is None else error(case.logits.grad, exact))


def error(grad: torch.Tensor | None, exact: torch.Tensor) -> float:
    assert grad is not None
    return float((grad - exact).abs().max() / exact.abs().max())


def truth(case: Case) -> tuple[float, torch.Tensor]:
    """Loss and gradient in float64, for the very numbers that the case holds."""
    double = case.double()
    loss = run(peer64, double, CORES).loss
    assert double.logits.grad is not None
    return loss, double.logits.grad


def peer_of(variant: Variant) -> tuple[str, Step, int]:
    return (
        ("float64", peer64, variant.threads) if variant.dtype == torch.float64 else ("float32", peer, variant.threads)
    )


def measure(shape: Shape, rounds: int, tick: Callable[[], None]) -> list[dict[str, object]]:
    case = make_case(shape)
    rows = variants()
    cases = {dtype: case.leaf(dtype) for dtype in {row.dtype for row in rows}}
    exact = {dtype: truth(rounded) for dtype, rounded in cases.items()}
    peers = {peer_of(row): cases[row.dtype if row.dtype == torch.float64 else torch.float32] for row in rows}

    ours: list[list[Timed]] = [[] for _ in rows]
    theirs: dict[tuple[str, Step, int], list[Timed]] = {key: [] for key in peers}
    for i in range(rounds + 1):  # the first round warms up, and is compared with float64
        # Each peer right before the rows that are held against it; a change of threads disturbs what comes next.
        for key, peer_case in peers.items():
            theirs[key].append(run(key[1], peer_case, key[2], exact=None if i else exact[peer_case.logits.dtype][1]))
            for row, timed in zip(rows, ours, strict=True):
                if peer_of(row) == key:
                    truth_grad = None if i else exact[row.dtype][1]
                    timed.append(run(row.step, cases[row.dtype], row.threads, row.isa, truth_grad))
        tick()

    table = []
    for row, timed in zip(rows, ours, strict=True):
        against, loss = theirs[peer_of(row)], exact[row.dtype][0]
        found = timed[0].error
        if not found <= (2**-8 if row.dtype == torch.bfloat16 else 1e-5):
            sys.exit(f"{shape}, {row.name}: gradient error {found:.1e}: wrong, so not timed")
        table.append(
            {
                "T": shape.T,
                "C": shape.C,
                "N": shape.N,
                "S": shape.S,
                "peaky": int(shape.peaky),
                "variant": row.name,
                "dtype": str(row.dtype).removeprefix("torch."),
                "threads": row.threads,
                "isa": row.isa,
                "torch_ms": round(statistics.median(t.ms for t in against[1:]), 3),
                "ctckit_ms": round(statistics.median(t.ms for t in timed[1:]), 3),
                "ratio": faster(against, timed),
                "over_one_thread": faster(ours[0], timed) if row.threads > 1 else "",
                "torch_grad_error": f"{against[0].error:.1e}",
                "ctckit_grad_error": f"{found:.1e}",
                "torch_loss_error": f"{abs(against[0].loss - loss) / loss:.1e}",
                "ctckit_loss_error": f"{abs(timed[0].loss - loss) / loss:.1e}",
            }
        )
    return table


def faster(slow: list[Timed], quick: list[Timed]) -> float:
    """How many times, by the median over rounds; the first round warms up."""
    return round(statistics.median(a.ms / b.ms for a, b in zip(slow[1:], quick[1:], strict=True)), 2)


STEPS: dict[str, Step] = {"peer": peer, "fused": fused}


def peak_memory(step: str, index: int) -> float:
    """MiB that one step takes beyond its input, gradient included, in a process of its own."""
    return extra_mib(__file__, "--memory-of", step, "--shape", str(index))


def show(rows: list[dict[str, object]], console: Console) -> None:
    table = Table(title=f"loss + backward; {cpu_name()}, {CORES} CPUs, best kernels {BEST}; torch {torch.__version__}")
    for name in ("T, C, N, S", "variant", "threads", "torch ms", "ctckit ms", "ratio", "error torch", "error ctckit"):
        table.add_column(name, justify="left" if name in ("T, C, N, S", "variant") else "right")
    table.add_column("loss error", justify="right")
    table.add_column("MiB torch", justify="right")
    table.add_column("MiB ctckit", justify="right")
    last = None
    for row in rows:
        shape = str(Shape(row["T"], row["C"], row["N"], row["S"], bool(row["peaky"])))  # type: ignore[arg-type]
        variant = str(row["variant"]) + ("" if row["isa"] == BEST else f", {row['isa']}")
        if row["over_one_thread"]:
            variant += f", {row['over_one_thread']} times one thread"
        numbers = [row[k] for k in ("threads", "torch_ms", "ctckit_ms", "ratio", "torch_grad_error")]
        numbers += [row["ctckit_grad_error"], row["ctckit_loss_error"], row["torch_mib"], row["ctckit_mib"]]
        table.add_row("" if shape == last else shape, variant, *map(str, numbers), end_section=False)
        last = shape
    console.print(table)


def chart(rows: list[dict[str, object]], path: Path) -> None:
    """How many times faster, and how far off, by shape: the fused float32 path on one thread."""
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


def main_path(row: dict[str, object]) -> bool:
    """The rows that README shows: float32 logits on one thread with the best kernels."""
    return row["variant"] == "from_logits" and row["threads"] == 1 and row["isa"] == BEST


HEADINGS = {
    "README.md": ("torch ms", "ctckit ms", "times faster", "gradient error torch", "ctckit", "MiB torch", "ctckit"),
    "README.zh.md": ("torch 毫秒", "ctckit 毫秒", "快几倍", "梯度误差 torch", "ctckit", "内存 MiB torch", "ctckit"),
}
MACHINE = {
    "README.md": "Loss + backward from float32 logits, one thread, {isa} on {cpu}, torch {torch}; medians. Memory: "
    "peak beyond the input, gradient included. \\* peaky, as a trained model's output is.",
    "README.zh.md": "从 float32 logits 计算损失并反向传播，单线程，{cpu} 上的 {isa}，torch {torch}；取中位数。"
    "内存为输入之外的峰值，含梯度。\\* 尖峰输入，如训练好的模型的输出。",
}


def write_readme_table(path: Path, rows: list[dict[str, object]]) -> None:
    """Puts the table between README's two markers."""
    lines = ["| T, C, N, S | " + " | ".join(HEADINGS[path.name]) + " |", "| --- |" + " ---: |" * 7]
    for row in filter(main_path, rows):
        shape = f"{row['T']}, {row['C']}, {row['N']}, {row['S']}" + (" \\*" if row["peaky"] else "")
        milliseconds = [f"{float(str(row[k])):.3g}" for k in ("torch_ms", "ctckit_ms")]
        errors = [str(row[k]) for k in ("torch_grad_error", "ctckit_grad_error")]
        memory = [f"{float(str(row[k])):.1f}" for k in ("torch_mib", "ctckit_mib")]
        cells = [shape, *milliseconds, f"**{float(str(row['ratio'])):.3g}**", *errors, *memory]
        lines.append("| " + " | ".join(cells) + " |")
    machine = MACHINE[path.name].format(isa=BEST, cpu=cpu_name(), torch=torch.__version__.split("+")[0])
    put_between_marks(path, "bench", [*lines, "", machine])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each shape (default 3)")
    parser.add_argument("--memory-of", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        step = STEPS[arguments.memory_of]
        run(step, make_case(Shape(8, 8, 2, 2)).leaf(torch.float32), 1)
        case = make_case(SHAPES[arguments.shape]).leaf(torch.float32)
        return print_extra_mib(lambda: run(step, case, 1))

    os.chdir(ROOT)
    rows: list[dict[str, object]] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("measuring", total=len(SHAPES) * (arguments.rounds + 2))
        for index, shape in enumerate(SHAPES):
            progress.update(task, description=f"T, C, N, S = {shape}")
            measured = measure(shape, arguments.rounds, lambda: progress.advance(task))
            for row in measured:
                # Memory is measured for the main path only; of the others nothing is claimed.
                row["torch_mib"] = round(peak_memory("peer", index), 1) if main_path(row) else ""
                row["ctckit_mib"] = round(peak_memory("fused", index), 1) if main_path(row) else ""
            progress.advance(task)
            rows += measured

    show(rows, Console(width=150))
    write_results("loss", rows, f"torch {torch.__version__}; Python {platform.python_version()}")
    chart(rows, ROOT / "docs" / "images" / "bench.png")
    for name in HEADINGS:
        write_readme_table(ROOT / name, rows)
    print(f"and docs/images/bench.png and the tables of {' and '.join(HEADINGS)}")


if __name__ == "__main__":
    main()
