"""What pictures are made of: sheets to draw on by hand, figures, and files. Imports files/, later matplotlib.

matplotlib lays out text and writes SVG, PNG and PDF alike. Figures are made without pyplot, so nothing is ever shown
or kept in the caller's state.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CTCError, MissingExtraError
from ..files import write_whole
from .colors import GRID, INK, MUTED, PALETTE, PAPER, VARIABLES
from .text import CJK_FONTS, families, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LEAST = 0.7  # of a picture's size: smaller, its text can't be read, and a page scrolls instead


class Picture:
    """A finished picture: notebooks show it, and it can be saved as SVG, PNG, PDF or HTML.

    Attributes:
        name: what it shows, for those who can't see it.
        figure: the matplotlib figure, to be changed if you like.
    """

    def __init__(self, figure: Figure, name: str) -> None:
        self.figure = figure
        self.name = name

    def svg(self, *, themed: bool = False) -> str:
        """The picture as an ``<svg>`` element with real text.

        Args:
            themed: colours as CSS variables (``--ink``, ``--paper`` …) that a page sets for light and dark.
        """
        with _settings(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has its own fonts
            text = self._written("svg").decode()
        text = text[text.index("<svg") :]
        families = ", ".join(f"'{name}'" for name in ("DejaVu Sans", *CJK_FONTS)) + ", sans-serif"
        text = re.sub(r"(font: [^;\"]*?px )[^;\"]*", lambda found: found[1] + families, text)
        label = html.escape(self.name, quote=True)
        text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        if themed:
            for color, variable in VARIABLES.items():
                text = text.replace(color, f"var(--{variable}, {color})")
        return text

    def save(self, path: str | Path) -> None:
        """Writes the picture atomically, in the format of the name's suffix: .svg, .png, .pdf or .html.

        Raises:
            CTCError: another suffix, a missing folder, or a character that no installed font has (SVG and HTML leave
                fonts to the viewer).
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".svg":
            data = ('<?xml version="1.0" encoding="utf-8"?>\n' + self.svg()).encode()
        elif suffix in (".html", ".htm"):
            least = round(LEAST * 96 * self.figure.get_figwidth())
            page = {"title": html.escape(self.name), "palette": PALETTE, "least": least, "svg": self.svg(themed=True)}
            data = _HTML.format(**page).encode()
        elif suffix in (".png", ".pdf"):
            with _settings(), warnings.catch_warnings():
                warnings.filterwarnings("error", "Glyph .* missing")
                try:
                    data = self._written(suffix[1:])
                except UserWarning as missing:
                    raise CTCError(
                        f"{path}: no font here can draw this picture's text ({missing}); install one that has Chinese, "
                        "such as Noto Sans CJK, or save as .svg or .html, which leave fonts to the viewer"
                    ) from None
        else:
            raise CTCError(f"{path}: pictures are saved as .svg, .png, .pdf or .html; the name ends in {suffix!r}")
        write_whole(path, data)

    def _written(self, kind: str) -> bytes:
        memory = io.BytesIO()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
        dots = 160 if kind == "png" else 100  # of the heat maps in an SVG or PDF, which are pixels
        self.figure.savefig(memory, format=kind, metadata=undated, dpi=dots)
        return memory.getvalue()

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto;background:#fff">{self.svg()}</div>'


_HTML = """<!doctype html>
<html><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>
{palette}body {{ margin: 1rem; background: var(--paper); }}
main {{ overflow-x: auto; }}
svg {{ display: block; max-width: max(100%, {least}px); height: auto; }}
</style>
<body><main>{svg}</main></body></html>
"""


class Sheet:
    """An empty sheet to draw on by coordinates: points (1/72 inch) from the top left."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = new_figure(width, height)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, *, size: float = 12, color: str = INK, **how: Any) -> None:
        """Text, by default to the right of x and centred on y."""
        how = {"ha": "left", "va": "center", **how}
        self.axes.text(x, y, plain(text), fontsize=size, color=color, fontfamily=families(), **how)

    def line(self, xs: Sequence[float], ys: Sequence[float], *, color: str = INK, width: float = 1) -> None:
        """A line through points."""
        self.axes.plot(xs, ys, color=color, linewidth=width, solid_capstyle="round", solid_joinstyle="round")

    def dot(self, x: float, y: float, *, color: str, radius: float = 6) -> None:
        """A filled circle."""
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle((x, y), radius, facecolor=color, linewidth=0, zorder=4))

    def box(
        self, x: float, y: float, width: float, height: float, *, edge: str = GRID, fill: str = PAPER, line: float = 1
    ) -> None:
        """A rectangle, from its upper left corner; it covers lines that were drawn before."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor=edge, linewidth=line, zorder=3))

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], *, color: str = INK, width: float = 1.5
    ) -> None:
        """An arrow that ends right at `end`."""
        from matplotlib.patches import FancyArrowPatch

        style = "-|>,head_length=5,head_width=2.6"
        self.axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle=style, color=color, linewidth=width, shrinkA=0, shrinkB=0, zorder=3)
        )

    def curve(self, *points: tuple[float, float], color: str = INK, width: float = 1.2) -> None:
        """An arrow along a cubic Bézier curve: its start, two points that bend it, and its end."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Outline

        outline = Outline(points, [Outline.MOVETO, *[Outline.CURVE4] * 3])
        style = "-|>,head_length=4.5,head_width=2.2"
        self.axes.add_patch(FancyArrowPatch(path=outline, arrowstyle=style, color=color, linewidth=width, zorder=3))

    def brace(self, start: float, end: float, at: float, *, upright: bool, color: str) -> None:
        """A brace from `start` to `end` with its point at `at`: to the left if `upright`, else upwards."""
        size = 7.0
        middle = (start + end) / 2
        along = [start, start + 3, middle - 3, middle, middle + 3, end - 3, end]
        off = [at + size, at + size / 2, at + size / 2, at, at + size / 2, at + size / 2, at + size]
        self.line(off if upright else along, along if upright else off, color=color, width=1.3)

    def picture(self, name: str) -> Picture:
        """The finished sheet."""
        return Picture(self.figure, name)


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in points that pyplot does not know."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("A picture", "plot", error.name or "matplotlib") from None
    with _settings():
        return Figure(figsize=(width / 72, height / 72), facecolor=PAPER)


def themed_axes(axes: Any) -> None:
    """Gives axes a light frame and light ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.tick_params(color=GRID, labelcolor=MUTED, labelsize=9)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
        text.set_fontfamily(families())
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontfamily(families())


def shades(*stops: tuple[str, float]) -> Any:
    """A colour map from (colour, opacity) to the next: where it is transparent, the ground shows, light or dark."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    rgba = [to_rgba(color, opacity) for color, opacity in stops]
    places = [0, 1] if len(rgba) == 2 else [0, 0.5, 0.5, 1]  # of four, the middle two meet
    return LinearSegmentedColormap.from_list("", list(zip(places, rgba, strict=True)))


def settle(figure: Figure) -> None:
    """Lays a figure out once: done anew for each file, it would differ a little each time."""
    with _settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


@contextmanager
def _settings() -> Iterator[None]:
    """Real text in SVG, the same bytes every time, and fonts that have the characters."""
    import matplotlib

    how: Any = {"svg.fonttype": "none", "svg.hashsalt": "ctckit", "pdf.fonttype": 42, "font.family": families()}
    with matplotlib.rc_context(how):
        yield
