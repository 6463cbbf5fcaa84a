"""`make bench`: our forced alignment against other packages': speed, memory, exactness.

Peers: ctc-segmentation, and torchaudio where it is installed and loads. Each aligns one utterance, log-probabilities in
float32 on one thread, from arrays to the first frame of each token. Times are interleaved, see harness.py. Starts and
scores are compared with the float64 sweep; a peer's starts may differ by one frame.

Writes bench/results/align.csv and a table in both READMEs. Ends without timing anything if ours is wrong.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np
from harness import (
    CORES,
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
from peers import Align, aligners
from shapes import ALIGN, AlignShape, Array, align_case

import ctckit

README_PEER = "ctc-segmentation"
SIZE = 16  # utterances of the batch that two threads share
timer = partial(seconds, at_least=0.05)


def ours(log_probs: Array, target: Array) -> Array:
    return ctckit.forced_align(log_probs, target)[0].starts


def check(case: tuple[Array, Array], peaky: bool) -> tuple[Array, float]:
    """Starts by the float64 sweep, and the score's relative error in float32.

    Ends the run if that error is too large or, where one path is clearly the best, a start differs.
    """
    log_probs, target = case
    exact = ctckit.forced_align(log_probs.astype(np.float64), target)[0]
    found = ctckit.forced_align(log_probs, target)[0]
    error = abs(found.score - exact.score) / abs(exact.score)
    if error > 1e-6 or (peaky and not np.array_equal(found.starts, exact.starts)):
        sys.exit(f"T, C = {log_probs.shape}: starts or score (error {error:.1e}) are wrong, so not timed")
    return exact.starts, error


def threads_ratio(shape: AlignShape, rounds: int) -> float:
    """How many times faster two threads align a batch than one."""
    log_probs, target = align_case(shape)
    batch, targets = np.repeat(log_probs[:, None], SIZE, axis=1), np.tile(target, (SIZE, 1))
    by_threads = {
        threads: Contender(lambda: ctckit.forced_align(batch, targets).score, partial(ctckit.set_num_threads, threads))
        for threads in (1, 2)
    }
    times = interleaved(by_threads, rounds, timer=timer)
    ctckit.set_num_threads(1)
    return ratio(times[1], times[2])


def measure(index: int, rounds: int, peers: dict[str, Align]) -> list[Row]:
    shape = ALIGN[index]
    case = align_case(shape)
    starts, error = check(case, shape.peaky)
    everyone = {"ctckit": ours, **peers}
    times = interleaved(
        {name: Contender(partial(align, *case)) for name, align in everyone.items()}, rounds, timer=timer
    )
    two_threads = round(threads_ratio(shape, rounds), 2) if CORES > 1 else ""
    rows: list[Row] = []
    for name, align in everyone.items():
        off = np.abs(align(*case) - starts)
        ms = milliseconds(times[name])
        is_ours = name == "ctckit"
        rows.append(
            {
                **shape._asdict() | {"peaky": int(shape.peaky)},
                "aligner": name,
                "ms": f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}",
                "times as long": "" if is_ours else f"{ratio(times[name], times['ctckit']):.3g}",
                "extra MiB": f"{extra_mib(__file__, '--memory-of', name, '--shape', str(index)):.1f}",
                "starts": f"{(off <= (0 if is_ours else 1)).mean():.2%}",
                "score error": f"{error:.0e}" if is_ours else "",
                "two threads": two_threads if is_ours else "",
            }
        )
    return rows


def publish_table(table: TableWords, rows: list[Row]) -> None:
    cells = []
    for mine in (row for row in rows if row["aligner"] == "ctckit"):
        shape = [mine[key] for key in AlignShape._fields]
        theirs = next(
            row for row in rows if row["aligner"] == README_PEER and [row[key] for key in AlignShape._fields] == shape
        )
        name = ", ".join(map(str, shape[:3])) + ("" if mine["peaky"] else " \\*")
        found = [row[key] for key in ("starts", "extra MiB") for row in (theirs, mine)]
        cells.append([name, theirs["ms"], mine["ms"], f"**{theirs['times as long']}**", *found])
    publish("align", table, cells)


def main() -> None:
    command = parser(__doc__, 5, " of each shape")
    command.add_argument("--memory-of", help=argparse.SUPPRESS)
    command.add_argument("--shape", type=int, help=argparse.SUPPRESS)
    arguments = command.parse_args()
    ctckit.set_num_threads(1)
    peers = aligners()
    if arguments.memory_of:
        align = {"ctckit": ours, **peers}[arguments.memory_of]
        align(*align_case(AlignShape(100, 8, 10)))
        case = align_case(ALIGN[arguments.shape])
        return print_extra_mib(lambda: align(*case))

    rows = [row for index in range(len(ALIGN)) for row in measure(index, arguments.rounds, peers)]
    show(f"forced alignment of one utterance, one thread; {cpu_name()}", rows, left=("aligner",))
    write_results("align", rows, "float32, one thread")
    if README_PEER in peers:
        for table in published("align"):
            publish_table(table, rows)
    if missing := {"ctc-segmentation", "torchaudio"} - set(peers):
        print(f"not installed, or can't be loaded: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
