"""The report: one HTML page that shows what the network learned and how CTC aligned it. Imports Jinja2 and matplotlib.

Everything is in the page itself, so that it can be mailed, archived by CI and opened without a network.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

import ctckit
from ctckit.annotate.picture import draw
from ctckit.annotate.strips import Scan
from ctckit.annotate.utterance import Options, align
from ctckit.files import write_whole
from ctckit.kernels import native
from ctckit.text import Vocabulary

from . import GOAL_CER, DemoResult, figures
from .data import Digits, Lines
from .model import STRIDE
from .reading import HeldOut
from .train import Comparison, Record

SAMPLES = 12  # lines shown of those read right or wrong as they come, and of those read wrong
ALIGNED = 4  # lines shown with each digit's position
CONFUSIONS = 8


def write_report(
    result: DemoResult,
    verdict: str,
    record: Record,
    comparison: Comparison | None,
    held_out: Lines,
    scans: tuple[Digits, Digits],
    seed: int,
) -> None:
    """Writes the page to `result.report`, atomically."""
    seen = record.last
    wrong = [n for n, right in enumerate(seen.right) if not right]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ctckit.demo", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        result=result,
        verdict=verdict,
        record=record,
        comparison=comparison,
        scans=[len(part.labels) for part in scans],
        curves=_curves(record),
        inside=[_inside(held_out, seen, n) for n in _telling(held_out, seen)],
        aligned=[_aligned(held_out, seen, n) for n in _middling(held_out)[:ALIGNED]],
        samples=[_sample(held_out, seen, n) for n in range(min(SAMPLES, len(held_out)))],
        wrong=[_sample(held_out, seen, n) for n in wrong[:SAMPLES]],
        wrong_count=len(wrong),
        confusions=_confusions(seen),
        parts=_parts(record),
        machine=_machine(seed),
    )
    result.report.parent.mkdir(parents=True, exist_ok=True)
    write_whole(result.report, page.encode())


def _curves(record: Record) -> dict[str, Any]:
    """The loss, each point the mean over a hundredth of the steps, and the held-out error rate."""
    losses = np.array(record.losses)
    pieces = np.array_split(np.arange(len(losses)), min(100, len(losses)) or 1) if len(losses) else []
    loss_ticks = [(0.01, "0.01"), (0.1, "0.1"), (1.0, "1"), (10.0, "10")]
    error_ticks = [(0.003, "0.3%"), (0.01, "1%"), (0.03, "3%"), (0.1, "10%"), (0.3, "30%"), (1.0, "100%")]
    steps = [test.step for test in record.tests]
    return {
        "loss": figures.log_chart(
            [float(piece[-1] + 1) for piece in pieces] or [0.0],
            [float(losses[piece].mean()) for piece in pieces] or [loss_ticks[-1][0]],
            loss_ticks,
            "Loss by training step",
            None,
        ),
        "errors": figures.log_chart(
            steps,
            [test.held_out.cer for test in record.tests],
            error_ticks,
            "Held-out error by training step",
            GOAL_CER,
        ),
    }


def _telling(held_out: Lines, seen: HeldOut) -> list[int]:
    """Up to two lines worth a closer look: one read right that has a digit twice in a row, and one read wrong."""

    def repeats(n: int) -> bool:
        truth = held_out.truth(n)
        return any(a == b for a, b in pairwise(truth))

    middling = _middling(held_out)
    right = [n for n in middling if seen.right[n]]
    wrong = [n for n in middling if not seen.right[n]]
    return [n for n in right if repeats(n)][:1] + wrong[:1]


def _middling(held_out: Lines) -> list[int]:
    """Lines that fit side by side."""
    return [n for n in range(len(held_out)) if held_out.target_lengths[n] in (5, 6)]


def _inside(held_out: Lines, seen: HeldOut, n: int) -> dict[str, Any]:
    """One line with its probabilities by frame, and its occupancy given what was written."""
    frames = int(seen.frames[n])
    log_probs = seen.log_probs[:frames, n]
    written = held_out.truth(n)
    gamma = ctckit.posteriors(log_probs, [digit + 1 for digit in written], frames, len(written))
    image = held_out.images[n, :, : held_out.widths[n]]
    return {
        **_sample(held_out, seen, n),
        "figure": figures.inside_a_line(image, log_probs, gamma.states, written, STRIDE),
        "probability": float(np.exp(gamma.score)),
    }


def _aligned(held_out: Lines, seen: HeldOut, n: int) -> dict[str, Any]:
    """One line with the position of each digit."""
    frames = int(seen.frames[n])
    written = "".join(map(str, held_out.truth(n)))
    digits = Vocabulary([figures.BLANK, *"0123456789"], 0)
    found = align(seen.log_probs[:frames, n], written, digits, 1.0, Options(extend=1))
    image = held_out.images[n, :, : held_out.widths[n]]
    paper = np.ones((len(image), STRIDE * frames))  # the last frame may reach a column past the image
    paper[:, : image.shape[1]] -= image
    svg = draw(found, strip=Scan(paper), width=330).svg(themed=True)
    # Metadata, ids and namespaces are not needed inside a page.
    svg = re.sub(r'<metadata>.*?</metadata>|(?<=<g) id="[^"]*"|\sxmlns(:\w+)?="[^"]*"', "", svg, flags=re.DOTALL)
    return {**_sample(held_out, seen, n), "figure": Markup(svg)}


def _sample(held_out: Lines, seen: HeldOut, n: int) -> dict[str, Any]:
    """One line: its image, and what was written and read, side by side."""
    return {
        "image": figures.handwriting(held_out.images[n, :, : held_out.widths[n]]),
        "width": int(held_out.widths[n]),
        "edits": seen.edits[n],
        "right": seen.right[n],
        "written": "".join(map(str, held_out.truth(n))),
        "read": "".join(map(str, seen.read(n))),
    }


def _confusions(seen: HeldOut) -> list[tuple[str, int]]:
    """The most frequent errors, in words, and how often each was made."""
    errors = Counter(edit for line in seen.edits for edit in line if edit[0] != edit[1])

    def words(written: int | None, read: int | None) -> str:
        if read is None:
            return f"{written} missed"
        return f"{read} read where there is none" if written is None else f"{written} read as {read}"

    return [(words(*edit), count) for edit, count in errors.most_common(CONFUSIONS)]


def _parts(record: Record) -> list[tuple[str, float, float]]:
    """Each part of the run: its name, seconds, and share of them all."""
    whole = sum(record.seconds.values())
    return [(part, seconds, seconds / whole) for part, seconds in record.seconds.items()]


def _machine(seed: int) -> dict[str, str]:
    return {
        "ctckit": f"{ctckit.__version__}, instruction set {native.instruction_set()}",
        "torch": version("torch"),
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "processors": f"{os.cpu_count()}, of which the demo uses one",
        "seed": str(seed),
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
