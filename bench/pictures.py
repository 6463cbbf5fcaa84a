"""`python bench/pictures.py`: how long an explanation of a long input, and each of its pictures, take to make.

T=1500 frames, C=32 classes, S=200 tokens, from logits to an SVG file; medians of three, after one to warm up.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ctckit.explanation import Explanation, explain


def median_seconds(action: Callable[[], object]) -> float:
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def main() -> None:
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(1500, 32)) * 2, rng.integers(1, 32, 200)

    def explained() -> Explanation:
        return explain(logits, target, from_logits=True)

    table = Table(title="T=1500, C=32, S=200")
    for column in ("made", "seconds", "with the explanation"):
        table.add_column(column, justify="left" if column == "made" else "right")
    e = explained()
    alone = median_seconds(explained)
    table.add_row("explanation", f"{alone:.2f}", "")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "x.svg"
        for name in ("inputs", "example_paths", "computation", "occupancy", "gradient", "alignment"):
            draw = getattr(e, name)
            seconds = median_seconds(lambda: draw().save(out))  # noqa: B023 - called before the next name
            table.add_row(name, f"{seconds:.2f}", f"{alone + seconds:.2f}")
        seconds = median_seconds(lambda: e.save(Path(folder) / "x.html"))
        table.add_row("page", f"{seconds:.2f}", f"{alone + seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
