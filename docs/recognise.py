"""Makes docs/recognised/: what recognisers make of the recording and the page that draw.py shows.

    python docs/recognise.py

Needs the extras hama and ocr, and Debian's fonts-noto-cjk, so its results are committed. The recording is from
pocketsphinx's test data (tests/data/README.md).
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ctckit.annotate.decoded import Decoders, Language
from ctckit.annotate.decoded import Options as Decoding
from ctckit.annotate.formats import encoded
from ctckit.annotate.scans import decode_page
from ctckit.annotate.utterance import Options as Aligning
from ctckit.annotate.utterance import align
from ctckit.files import write_whole
from ctckit.recognisers import hama, pp_ocr, recognise, recognise_page

OUT = Path(__file__).resolve().parent / "recognised"
RECORDING = OUT.parents[1] / "tests" / "data" / "goforward.flac"
FONT = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
PAGE = (
    "From the image of a page to words",
    "A page is cut into lines at rows without ink, and",
    "each line is read by a network with CTC outputs.",
    "一页图像先切成若干行，再逐行识别。",
    "二三得六，三三得九。",
)


def speech() -> bytes:
    """The words and phones of the recording."""
    recogniser = hama()
    heard = recognise(recogniser, RECORDING)
    options = Aligning(delay=heard.delay, stretch=heard.stretch)
    found = align(heard.log_probs, "Go forward\nten meters.", recogniser.vocabulary(), heard.frame_shift, options)
    return encoded(found.lines, OUT / "speech.csv", duration=found.duration)


def page() -> bytes:
    """The words of the page, which is drawn first."""
    sheet = Image.new("L", (860, 90 + 58 * len(PAGE)), 255)
    for i, line in enumerate(PAGE):
        size = 40 if i == 0 else 30
        ImageDraw.Draw(sheet).text((50, 40 + 58 * i), line, font=ImageFont.truetype(FONT, size), fill=20)
    sheet.rotate(math.degrees(0.004), Image.Resampling.BICUBIC, fillcolor=255).quantize(16).save(OUT / "page.png")
    recogniser = pp_ocr()
    lines = recognise_page(recogniser, OUT / "page.png")
    found = decode_page(lines, recogniser.vocabulary(), Decoders(Language()), Decoding())
    return encoded(found.lines, OUT / "page.csv", duration=found.duration, places=found.places)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    write_whole(OUT / "speech.csv", speech())
    write_whole(OUT / "page.csv", page())
