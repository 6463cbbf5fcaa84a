"""The report's pictures, as inline SVG. Imports NumPy, markupsafe, lattice/ and text/.

SVG takes its colours from the page's style sheet, so that one picture serves light and dark; only what is made of
pixels (handwriting, occupancy) is a PNG inside it, transparent where there is nothing to see.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ..lattice import ctc_lattice
from ..text.reading import greedy
from .data import Floats

WIDTH = 420  # of every picture, in its own units; the page scales it
GUTTER = 34  # on the left, for labels
BLANK = "φ"
BLANK_INK = (128, 134, 145)
TOKEN_INK = (47, 125, 225)

Tick = tuple[float, str]


def log_chart(x: Sequence[float], y: Sequence[float], ticks: Sequence[Tick], name: str, goal: float | None) -> Markup:
    """A line through the points (x, y) over logarithmic `y`, between the first and the last of `ticks`."""
    height, bottom, right = 190, 160, WIDTH - 8
    low, high = np.log([ticks[0][0], ticks[-1][0]])

    def to_y(value: float) -> float:
        return 10 + (bottom - 10) * float((high - np.log(np.clip(value, ticks[0][0], ticks[-1][0]))) / (high - low))

    last = max(x[-1], 1)
    shapes = []
    for value, text in ticks:
        shapes.append(f'<path class="grid" d="M{GUTTER} {to_y(value):.1f}H{right}"/>')
        shapes.append(_text(GUTTER - 5, to_y(value) + 3.5, text, "end"))
    for share in (0, 0.5, 1):
        at = GUTTER + share * (right - GUTTER)
        shapes.append(_text(at, bottom + 14, f"{share * last:.0f}", "end" if share == 1 else "middle"))
    shapes.append(_text((GUTTER + right) / 2, height - 3, "training steps", "middle"))
    if goal is not None:
        shapes.append(f'<path class="goal" d="M{GUTTER} {to_y(goal):.1f}H{right}"/>')
    points = " ".join(f"{GUTTER + (right - GUTTER) * a / last:.1f},{to_y(b):.1f}" for a, b in zip(x, y, strict=True))
    shapes.append(f'<polyline class="curve" points="{points}"/>')
    return _svg(height, name, shapes)


def handwriting(image: Floats) -> Markup:
    """A line image (H, W) as a data URI: black ink on nothing."""
    pixels = np.zeros((*image.shape, 4), dtype=np.uint8)
    pixels[..., 3] = np.rint(255 * image)
    return _png(pixels)


def inside_a_line(
    image: Floats, log_probs: Floats, occupancy: npt.NDArray[np.floating], written: Sequence[int], stride: int
) -> Markup:
    """A line (H, W), the probabilities of its frames (T, C) below it, and the occupancy (T, K) of `written` below that.

    All three share the horizontal axis: a frame is `stride` image columns.
    """
    count = len(log_probs)
    frame = (WIDTH - GUTTER - 4) / count
    ink_height = frame / stride * image.shape[0]
    ink_width = frame / stride * image.shape[1]
    chart_top = ink_height + 30
    map_top = chart_top + 128
    row = 13
    lattice = ctc_lattice([digit + 1 for digit in written])
    labels = [BLANK if token < 0 else str(written[token]) for token in lattice.tokens.tolist()]

    shapes = [
        f'<image class="ink" x="{GUTTER}" y="4" width="{ink_width:.1f}" height="{ink_height:.1f}" '
        f'preserveAspectRatio="none" href="{handwriting(image)}"/>'
    ]
    for peak in _peaks(log_probs):
        at = GUTTER + (peak + 0.5) * frame
        shapes.append(f'<path class="guide" d="M{at:.1f} 4V{map_top + row * len(labels):.1f}"/>')
    shapes += _probabilities(np.exp(log_probs), frame, chart_top)
    map_box = f'x="{GUTTER}" y="{map_top:.1f}" width="{frame * count:.1f}" height="{row * len(labels)}"'
    shapes.append(f'<image {map_box} preserveAspectRatio="none" href="{_heat_map(occupancy, lattice.tokens < 0)}"/>')
    shapes.append(f'<rect class="frame" {map_box}/>')
    for k, text in enumerate(labels):
        kind = "state blank" if text == BLANK else "state token"
        shapes.append(_text(GUTTER - 8, map_top + row * (k + 0.5) + 3.5, text, "end", kind))
    name = f"Line {''.join(map(str, written))}: handwriting, probabilities by frame, occupancy"
    return _svg(map_top + row * len(labels) + 4, name, shapes)


def _probabilities(probs: Floats, frame: float, top: float) -> list[str]:
    """The chart of probabilities (T, C) by frame: the blank as a grey area, each likely digit as a line."""
    high = 96.0

    def points(label: int) -> str:
        return " ".join(
            f"{GUTTER + (t + 0.5) * frame:.1f},{top + high * (1 - p):.1f}" for t, p in enumerate(probs[:, label])
        )

    first, last = GUTTER + 0.5 * frame, GUTTER + (len(probs) - 0.5) * frame
    area = f"{first:.1f},{top + high} {points(0)} {last:.1f},{top + high}"
    right = GUTTER + frame * len(probs)
    shapes = [f'<path class="grid" d="M{GUTTER} {top:.1f}H{right:.1f}M{GUTTER} {top + high:.1f}H{right:.1f}"/>']
    shapes += [_text(GUTTER - 5, top + high * (1 - p) + 3.5, str(p), "end") for p in (0, 1)]
    shapes.append(f'<polygon class="blank-area" points="{area}"/>')
    likely = [label for label in range(1, probs.shape[1]) if probs[:, label].max() > 0.05]
    shapes += [f'<polyline class="token-line" points="{points(label)}"/>' for label in likely]
    for peak in _peaks(np.log(probs)):
        digit = str(int(probs[peak].argmax()) - 1)
        shapes.append(_text(GUTTER + (peak + 0.5) * frame, top - 5, digit, "middle", "state token"))
    return shapes


def _peaks(log_probs: Floats) -> list[int]:
    """For each digit that best-path reading finds, the frame that is surest of it."""
    return [max(range(run.start, run.end), key=lambda t: float(log_probs[t, run.token])) for run in greedy(log_probs)]


def _heat_map(occupancy: npt.NDArray[np.floating], is_blank: npt.NDArray[np.bool_]) -> str:
    """Occupancy (T, K) as a data URI: one pixel per cell, states downwards, blanks grey, tokens blue, 0 transparent."""
    cells = np.asarray(occupancy).T
    pixels = np.empty((*cells.shape, 4), dtype=np.uint8)
    pixels[is_blank, :, :3] = BLANK_INK
    pixels[~is_blank, :, :3] = TOKEN_INK
    pixels[..., 3] = np.rint(255 * cells.clip(0, 1))
    return _png(pixels)


def _png(pixels: npt.NDArray[np.uint8]) -> Markup:
    """Pixels (H, W, RGBA) as the data URI of a PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each row without a filter
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits per channel, RGBA
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return Markup("data:image/png;base64," + base64.b64encode(data).decode())


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _svg(height: float, name: str, shapes: Sequence[str]) -> Markup:
    body = "\n".join(shapes)
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{name}">\n{body}\n</svg>')
