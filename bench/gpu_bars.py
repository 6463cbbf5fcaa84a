"""The bars of `make gpu-report`: what the kernels should reach on an H100 or H200, and whether they do.

A bar is a number that must be reached, and an aim beyond it. Imports nothing: it reads the rows of tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

Rows = list[dict[str, str]]


class Bar(NamedTuple):
    """A measured number that should be at least, or at most, a bound."""

    what: str
    shape: str
    measured: str
    least: float | None = None
    most: float | None = None
    aim: float | None = None

    def row(self, dry: bool) -> dict[str, str]:
        bound = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return {
            "bar": self.what,
            "shape": self.shape,
            "measured": self.measured,
            "bound": bound,
            "aim": "-" if self.aim is None else f"{self.aim:g}",
            "met": "dry" if dry else self._met(),
        }

    def _met(self) -> str:
        """Whether a bound is reached; what was not measured has not reached it."""
        try:
            found = float(self.measured)
        except ValueError:
            return "not measured"
        reached = found >= self.least if self.least is not None else self.most is not None and found <= self.most
        if not reached:
            return "**not met**"
        if self.aim is None:
            return "met"
        return "met, and the aim" if (found >= self.aim if self.least is not None else found <= self.aim) else "met"


# (T, C, N, S) whose steps are long and where the most is expected.
LONG = {
    ("1500", "32", "64", "200"),
    ("1000", "32", "256", "100"),
    ("2000", "1024", "64", "300"),
    ("4000", "64", "8", "1200"),
}
LONG_FRAMES = 500
ALIGNMENTS = {("1500", "32", "200"): (15, 25), ("15000", "32", "2000"): (10, 20), ("60000", "64", "8000"): (8, 40)}
MOST_GRADIENT_ERROR = 1.5e-6
MOST_NANOSECONDS, AIM_NANOSECONDS = 200, 120


def of_steps(rows: Rows) -> Iterator[Bar]:
    """A public step against the faster of torch's two, its error, and its memory."""
    for row in rows:
        shape = tuple(row[name] for name in "TCNS")
        least, aim = (6, 10) if shape in LONG else (3, 5) if int(row["T"]) >= LONG_FRAMES else (1.2, 2)
        named = f"({','.join(shape)})"
        yield Bar("step: torch's best / ours", named, row.get("torch's best / ours", "-"), least=least, aim=aim)
        yield Bar("gradient error", named, row.get("ours error", "-"), most=MOST_GRADIENT_ERROR)
        yield Bar("memory / torch's", named, quotient(row, "ours MiB", "torch MiB"), most=1)


def of_sweep(rows: Rows) -> Iterator[Bar]:
    for row in rows:
        shape, measured = f"{row['pairs']} pairs", row.get("ns a frame", "-")
        yield Bar("sweep: ns a frame", shape, measured, most=MOST_NANOSECONDS, aim=AIM_NANOSECONDS)


def of_alignment(rows: Rows) -> Iterator[Bar]:
    """Against torchaudio on the card, and against our own alignment on the CPU."""
    for row in rows:
        shape = tuple(row[name] for name in "TCS")
        least, aim = ALIGNMENTS.get(shape, (1, 1))
        named = f"({','.join(shape)})"
        yield Bar("alignment: torchaudio / ours", named, row.get("torchaudio / ours", "-"), least=least, aim=aim)
        yield Bar("alignment: our CPU and the copy / ours", named, row.get("CPU / ours", "-"), least=1)


def of_tests(rows: Rows) -> Iterator[Bar]:
    if rows:
        yield Bar("tests that fail", "", str(sum(row["outcome"] == "failed" for row in rows)), most=0)


def quotient(row: dict[str, str], above: str, below: str) -> str:
    try:
        return f"{float(row[above]) / float(row[below]):.2f}"
    except (KeyError, ValueError, ZeroDivisionError):
        return "-"


def judged(tables: dict[str, Rows], *, dry: bool) -> Rows:
    """A row for each bar and shape. In a dry run nothing is judged."""
    bars = [
        *of_tests(tables.get("tests", [])),
        *of_steps(tables.get("steps", [])),
        *of_sweep(tables.get("sweep", [])),
        *of_alignment(tables.get("alignment", [])),
    ]
    return [bar.row(dry) for bar in bars]
