"""`make bench`: how long an explanation of a long input takes, and each of its pictures.

From logits to an SVG file, or a page; medians of three calls after one to warm up.

Writes bench/results/pictures.csv.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import Contender, Row, interleaved, milliseconds, show, write_results
from shapes import PICTURES, align_case

from ctckit.explanation import Explanation, explain

NAMES = ("inputs", "example_paths", "computation", "occupancy", "gradient", "alignment")


def main() -> None:
    log_probs, target = align_case(PICTURES)

    def explained() -> Explanation:
        return explain(log_probs, target, from_logits=True)

    with tempfile.TemporaryDirectory() as folder:
        e, svg, page = explained(), Path(folder) / "x.svg", Path(folder) / "x.html"

        def draw(name: str) -> Callable[[], object]:
            return lambda: getattr(e, name)().save(svg)

        outputs = {"explanation": explained} | {name: draw(name) for name in NAMES} | {"page": lambda: e.save(page)}
        times = interleaved({name: Contender(output) for name, output in outputs.items()}, rounds=3)
    alone = milliseconds(times["explanation"]) / 1e3
    rows: list[Row] = []
    for name in outputs:
        taken = milliseconds(times[name]) / 1e3
        total = "" if name == "explanation" else f"{alone + taken:.2f}"
        rows.append({"output": name, "seconds": f"{taken:.2f}", "with the explanation": total})
    title = f"T, C, S = {PICTURES}"
    show(title, rows, left=("output",))
    write_results("pictures", rows, title)


if __name__ == "__main__":
    main()
