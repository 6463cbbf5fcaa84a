"""From sound and images to scores: networks with CTC outputs, and what their frames and classes mean.

    recogniser.py    what a recogniser is
    pieces.py        long inputs in pieces that overlap
    media.py         sound and images from files
    spooled.py       sound from a pipe
    pages.py         the lines of a page
    reading.py       from a file to scores
    phones.py        phones of speech; needs only NumPy
    hugging_face.py  networks of transformers
    onnx_files.py    networks in ONNX files; PP-OCRv4's reader of lines
    named.py         those that the command line knows by name

A library: it knows of no command line. May import text/, files/, validate/, results.py and errors.py. Optional
packages are imported when they are used.
"""

from __future__ import annotations

from ..results import Place
from .hugging_face import transformers
from .media import Opened, Part
from .onnx_files import onnx, pp_ocr
from .phones import hama
from .reading import Recognised, RecognisedLine, RecognisedPage, recognise, recognise_page
from .recogniser import ImageInput, Recogniser, SoundInput

__all__ = [
    "ImageInput",
    "Opened",
    "Part",
    "Place",
    "Recognised",
    "RecognisedLine",
    "RecognisedPage",
    "Recogniser",
    "SoundInput",
    "hama",
    "onnx",
    "pp_ocr",
    "recognise",
    "recognise_page",
    "transformers",
]
