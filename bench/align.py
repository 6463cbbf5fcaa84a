"""`make bench`: our forced alignment against peers', interleaved in one run: speed, memory, exactness.

Peers: ctc-segmentation, and torchaudio where it is installed and loads. Each aligns one utterance, log-probabilities
in float32 on one thread, from arrays to the first frame of each token. Inputs are peaky, as a trained recogniser's
outputs: a frame for each token, blanks between, all with noise; or unsure, nothing but noise. Times are medians over
rounds in which all run once, one after the other; a ratio is the median over rounds of the pair's ratio. Extra memory
is the peak of a fresh process beyond its input. Starts and scores are held against the float64 sweep; a peer's starts
may lie one frame off.

Writes bench/results/align.csv and the tables of both READMEs. Refuses to go on where ours is wrong.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from report import (
    BEST,
    CORES,
    ROOT,
    Row,
    cpu_name,
    extra_mib,
    print_extra_mib,
    put_between_marks,
    show,
    write_results,
)

import ctckit

Array = npt.NDArray[Any]
Align = Callable[[Array, Array], Array]  # log_probs (T, C) and target (S,) to the tokens' first frames (S,)


class Shape(NamedTuple):
    T: int
    C: int
    S: int
    peaky: bool = True


SHAPES = [Shape(1500, 32, 200), Shape(15000, 32, 2000), Shape(60000, 64, 8000), Shape(60000, 64, 8000, peaky=False)]
README_PEER = "ctc-segmentation"
SHAPE = Shape._fields
README = {
    "README.md": (
        "| T, C, S | ctc-segmentation ms | ctckit ms | times faster | starts found | ctckit | MiB | ctckit |",
        "One utterance of peaky log-probabilities, float32, one thread, {isa} on {cpu}; medians. Starts found: the "
        "share of tokens whose first frame is the exact best path's; of the peer, to within a frame. Memory: peak "
        "beyond the input. \\* unsure: nothing but noise.",
    ),
    "README.zh.md": (
        "| T, C, S | ctc-segmentation 毫秒 | ctckit 毫秒 | 快几倍 | 找到的起点 | ctckit | 内存 MiB | ctckit |",
        "一条语音，尖峰的对数概率，float32，单线程，{cpu} 上的 {isa}；取中位数。"
        "找到的起点：起始帧与精确最优路径相同的 token 所占的比例，对比方允许相差一帧。"
        "内存为输入之外的峰值。\\* 没有把握的输出：只有噪声。",
    ),
}


def make_case(shape: Shape) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    target = rng.integers(1, shape.C, shape.S)
    labels = np.zeros(shape.T, int)
    labels[np.sort(rng.choice(shape.T, shape.S, replace=False))] = target
    logits = rng.standard_normal((shape.T, shape.C), np.float32) * 2
    logits[np.arange(shape.T), labels] += 12 if shape.peaky else 0
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits, target


def ours(log_probs: Array, target: Array) -> Array:
    return ctckit.forced_align(log_probs, target)[0].starts


def segmentation(log_probs: Array, target: Array) -> Array:
    import ctc_segmentation

    config = ctc_segmentation.CtcSegmentationParameters(index_duration=1.0, blank=0)
    config.char_list = [str(c) for c in range(log_probs.shape[1])]
    table, _ = ctc_segmentation.prepare_token_list(config, [target])
    timings, _, _ = ctc_segmentation.ctc_segmentation(config, log_probs, table)
    return np.rint(timings[2 : 2 + len(target)]).astype(int)  # after its own mark and a blank


def torchaudio(log_probs: Array, target: Array) -> Array:
    import torch
    from torchaudio.functional import forced_align

    path, _ = forced_align(torch.from_numpy(log_probs)[None], torch.from_numpy(target)[None], blank=0)
    labels = path[0].numpy()
    return np.flatnonzero((labels != 0) & (np.diff(labels, prepend=0) != 0))


def peers() -> dict[str, Align]:
    found: dict[str, Align] = {}
    if importlib.util.find_spec("ctc_segmentation"):
        found["ctc-segmentation"] = segmentation
    try:
        import torchaudio.functional as _  # noqa: F401
    except (ImportError, OSError):  # not there, or built for another torch
        pass
    else:
        found["torchaudio"] = torchaudio
    return found


def seconds(align: Align, case: tuple[Array, Array]) -> float:
    """The median of some 50 ms of runs, or a single longer one."""
    times: list[float] = []
    while len(times) < 1 or sum(times) < 0.05:
        begin = time.perf_counter()
        align(*case)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def check(case: tuple[Array, Array], peaky: bool) -> tuple[Array, float]:
    """Starts in float64; ends the run if ours in float32 have another score or, where one path stands out, others."""
    log_probs, target = case
    exact = ctckit.forced_align(log_probs.astype(np.float64), target)[0]
    found = ctckit.forced_align(log_probs, target)[0]
    error = abs(found.score - exact.score) / abs(exact.score)
    if error > 1e-6 or (peaky and not np.array_equal(found.starts, exact.starts)):
        sys.exit(f"T, C = {log_probs.shape}: starts or score (error {error:.1e}) are wrong, so not timed")
    return exact.starts, error


def threads_ratio(shape: Shape, rounds: int, size: int = 16) -> float:
    """How much quicker two threads align a batch than one."""
    log_probs, target = make_case(shape)
    batch, targets = np.repeat(log_probs[:, None], size, axis=1), np.tile(target, (size, 1))
    ratios = []
    for _ in range(rounds + 1):
        times = []
        for threads in (1, 2):
            ctckit.set_num_threads(threads)
            times.append(seconds(lambda x, y: ctckit.forced_align(x, y).score, (batch, targets)))
        ratios.append(times[0] / times[1])
    ctckit.set_num_threads(1)
    return statistics.median(ratios[1:])


def measure(index: int, rounds: int, rivals: dict[str, Align]) -> list[Row]:
    shape = SHAPES[index]
    case = make_case(shape)
    starts, error = check(case, shape.peaky)
    everyone = {"ctckit": ours, **rivals}
    times: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(rounds + 1):
        for name, align in everyone.items():
            times[name].append(seconds(align, case))
    both = round(threads_ratio(shape, rounds), 2) if CORES > 1 else ""
    rows: list[Row] = []
    for name, align in everyone.items():
        off = np.abs(align(*case) - starts)
        milliseconds = statistics.median(times[name][1:]) * 1e3
        ratio = statistics.median(a / b for a, b in zip(times[name][1:], times["ctckit"][1:], strict=True))
        rows.append(
            {
                **shape._asdict() | {"peaky": int(shape.peaky)},
                "aligner": name,
                "ms": f"{milliseconds:.3g}" if milliseconds < 1000 else f"{milliseconds:.0f}",
                "times as long": "" if name == "ctckit" else f"{ratio:.3g}",
                "extra MiB": f"{extra_mib(__file__, '--memory-of', name, '--shape', str(index)):.1f}",
                "starts": f"{(off <= (0 if name == 'ctckit' else 1)).mean():.2%}",
                "score error": f"{error:.0e}" if name == "ctckit" else "",
                "two threads": both if name == "ctckit" else "",
            }
        )
    return rows


def write_readme_table(name: str, rows: list[Row]) -> None:
    heading, machine = README[name]
    lines = [heading, "| --- |" + " ---: |" * 7]
    for mine in (row for row in rows if row["aligner"] == "ctckit"):
        shape = [mine[key] for key in SHAPE]
        theirs = next(r for r in rows if r["aligner"] == README_PEER and [r[key] for key in SHAPE] == shape)
        named = ", ".join(map(str, shape[:3])) + ("" if mine["peaky"] else " \\*")
        cells = [named, theirs["ms"], mine["ms"], f"**{theirs['times as long']}**"]
        cells += [row[key] for key in ("starts", "extra MiB") for row in (theirs, mine)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    put_between_marks(ROOT / name, "align", [*lines, "", machine.format(isa=BEST, cpu=cpu_name())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each shape (default 5)")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    ctckit.set_num_threads(1)
    rivals = peers()
    if arguments.memory_of:
        align = {"ctckit": ours, **rivals}[arguments.memory_of]
        align(*make_case(Shape(100, 8, 10)))
        case = make_case(SHAPES[arguments.shape])
        return print_extra_mib(lambda: align(*case))

    rows = [row for index in range(len(SHAPES)) for row in measure(index, arguments.rounds, rivals)]
    show(f"forced alignment of one utterance, one thread; {cpu_name()}", rows, left=("aligner",))
    write_results("align", rows, "float32, one thread")
    if README_PEER in rivals:
        for name in README:
            write_readme_table(name, rows)
        print(f"and the tables of {' and '.join(README)}")
    if missing := {"ctc-segmentation", "torchaudio"} - set(rivals):
        print(f"not installed, or can't be loaded: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
