"""``ctckit demo-speech``: real recordings and drawn lines, aligned and read, on a page that plays each word.

May import everything below the command line; what needs an optional package is imported when `run` is called.
"""

from __future__ import annotations

import html
import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..catalogue import LANGUAGES, words
from ..drawing.text import shortened
from ..errors import MissingExtraError
from ..files import write_whole
from ..validate import check_language
from .recordings import PACKAGE, Recordings, find_recordings

if TYPE_CHECKING:
    from ..annotate.page import Shown
    from ..explanation.page import Block
    from ..recognisers import RecognisedLine, RecognisedPage, Recogniser

_NEEDED = ("hama", "soundfile", "soxr", "matplotlib")
_MARGIN = 12  # pixels above and below a line
_SHOWN = 34  # characters of a text in the table
_OF_LINES = ("onnxruntime", "rapidocr_onnxruntime", "PIL")


def run(*, out: Path = Path("demo-speech"), lang: str = "en") -> Path:
    """Aligns six sentences, reads drawn lines, prints a table, and writes ``index.html`` into the folder `out`.

    Args:
        out: folder of the page, and of the recordings, which are downloaded into it once; it must be there.
        lang: the language that the page opens in, "en" or "zh".

    Returns:
        The page.

    Raises:
        MissingExtraError: a package of the extra ``demo-speech`` is not installed.
        CTCError: the language is unknown, or there is no recording.
    """
    check_language(lang)
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("The demo of speech", "demo-speech", package)
    console = Console(highlight=False, soft_wrap=True)
    with console.status(f"looking for recordings, in {out} or in Debian's {PACKAGE}"):
        found = find_recordings(out)
    if found.missing:
        console.print(f"{found.missing}\nThe demo goes on with one recording of ctckit's tests.", markup=False)
    with console.status("listening"):
        heard = _heard(found)
    with console.status("reading lines"):
        lines, why = _lines()
    for reason in why:
        console.print(reason, markup=False)
    page = out / "index.html"
    write_whole(page, _page(found, heard, lines, lang).encode())
    console.print(_table([*heard, *lines]))
    console.print(f"\nwrote {page}: open it in a browser, and click on a word to hear it", markup=False)
    return page


def _heard(found: Recordings) -> list[Shown]:
    """The recordings, aligned with their texts."""
    from ..recognisers import hama

    recogniser = hama()
    return [_aligned(recogniser, path, text) for path, text in found.rows]


def _aligned(recogniser: Recogniser, path: Path, text: str) -> Shown:
    from ..annotate.page import Shown, read_clip
    from ..annotate.utterance import Options, align
    from ..recognisers import recognise

    seen, vocabulary = recognise(recogniser, path), recogniser.vocabulary()
    found = align(seen.log_probs, text, vocabulary, seen.frame_shift, Options(delay=seen.delay, stretch=seen.stretch))
    return Shown(found, seen.log_probs, vocabulary, read_clip(path), path.name)


def _lines() -> tuple[list[Shown], list[str]]:
    """The lines of a page, read; and sentences on what is missing."""
    missing = [package for package in _OF_LINES if importlib.util.find_spec(package) is None]
    if missing:
        return [], [f"Lines of print are left out: {missing[0]} is not installed (see docs/recognisers.md)."]
    from PIL import Image

    from ..recognisers import pp_ocr, recognise_page
    from .lines import draw_page

    drawn, recogniser = draw_page(), pp_ocr()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.png"
        Image.fromarray(drawn.pixels).save(file)
        page = recognise_page(recogniser, file)
        shown = [_read(page, line, text, recogniser) for line, text in zip(page.lines, drawn.texts, strict=True)]
    return shown, [] if drawn.complete else [
        "Chinese lines are left out: no font here has Chinese, such as Noto Sans CJK."
    ]


def _read(page: RecognisedPage, line: RecognisedLine, text: str, recogniser: Recogniser) -> Shown:
    """A line of the page as it is read, with the places of its characters; `text` is what it should be."""
    from ..annotate.decoded import Options, searched, timed
    from ..annotate.page import Shown
    from ..annotate.scans import at_ink
    from ..annotate.strips import Scan
    from ..decoding import Decoder

    options = Options(in_pixels=True)
    vocabulary = recogniser.vocabulary()
    best = searched(line.log_probs, Decoder(vocabulary), options)
    found = timed(best, len(line.log_probs), line.frame_shift, options)
    found = found._replace(lines=at_ink(found.lines, line._replace(begin=0)))
    place = line.place
    rows = slice(max(0, round(place.top) - _MARGIN), round(place.bottom) + _MARGIN)
    scan = page.pixels[rows, line.begin : line.begin + len(line.ink), 0].astype(np.float32) / 255
    return Shown(found, line.log_probs, vocabulary, Scan(scan), f"page.png, row {place.top:.0f}", text)


def _page(found: Recordings, heard: list[Shown], lines: list[Shown], lang: str) -> str:
    from ..annotate.page import about, addition, widgets
    from ..explanation.page import Code, Prose, Section, page

    def said(key: str) -> dict[str, str]:
        return {each: words("demo_speech", each)[key] for each in LANGUAGES}

    def prose(key: str) -> Prose:
        return Prose({each: f"<p>{html.escape(text)}</p>" for each, text in said(key).items()})

    blocks: list[Block] = [prose("lead"), Section(said("recordings")), about(heard), *widgets(heard)]
    if lines:
        blocks += [Section(said("lines")), prose("about_lines"), about(lines), *widgets(lines)]
    blocks += [Section(said("sources")), prose("of_recordings"), Code(found.licence, ""), prose("of_networks")]
    return page(said("title"), blocks, lang, addition=addition())


def _table(shown: list[Shown]) -> Table:
    """A row for each: its text, size, words, mean confidence, and how many tokens or characters are read otherwise."""
    from ..annotate.page import differences
    from ..annotate.recording import confidence, words_of

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("text")
    for name in ("seconds", "words", "confidence", "read otherwise"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in shown:
        lines = each.found.lines
        text = each.written or " ".join(line.text for line in lines)
        seconds = "" if each.written else f"{each.found.duration:.2f}"
        wrong, of = differences(each)
        sure = f"{confidence(lines):.2f}"
        table.add_row(escape(shortened(text, _SHOWN)), seconds, str(len(words_of(lines))), sure, f"{wrong} of {of}")
    return table
