"""`python bench/delay.py`: how near hama's words are to those of another aligner, pocketsphinx, on recorded speech.

hama's delay and stretch were chosen on six sentences of Debian's pocketsphinx-testdata. They are checked on recordings
that had no part in that: the package's five card phrases, and the prompts of a telephone exchange (Debian's
asterisk-core-sounds-en-wav, 8 kHz) whose text has at least five words, and no digits. Speech of espeak-ng, reading the
six sentences, is apart: the network hears it less well. Recordings are left out if pocketsphinx's dictionary lacks a
word, if either aligner can't align the text, or if `ctckit align` says that the text is not the recording's. First
words count for the ends only.

The same for pp-ocr on drawn lines, Latin and Chinese, in columns of the scaled image: how far the characters found are
from those drawn.

Needs apt-get, dpkg, the packages pocketsphinx and rapidocr-onnxruntime, and Debian's fonts-noto-cjk. Debian's packages
are kept in bench/out/speech. Writes bench/results/delay.csv.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import soundfile
from harness import ROOT, Row, show, write_results
from PIL import Image, ImageDraw, ImageFont

from ctckit import CTCError
from ctckit.annotate.delay import Floats, Heard, ends_of, hear, measure, offsets, starts_of
from ctckit.annotate.marks import Mark, Pocketsphinx, Unmarked
from ctckit.annotate.utterance import Options, align
from ctckit.recognisers import Recogniser, hama, pp_ocr, recognise

FOLDER = ROOT / "bench" / "out" / "speech"
TESTDATA = "usr/share/pocketsphinx/test/data"
PROMPTS = "usr/share/asterisk/sounds/en_US_f_Allison"
TEXTS = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
WORDS = 5  # the fewest of a prompt
HEIGHT, SIZE = 48, 30  # pixels, of a line and of its letters
CJK = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
LATIN = (
    "the quick brown fox jumps over a lazy dog",
    "Invoice 2026 total amount due within thirty days",
    "From fairest creatures we desire increase",
    "Hello world 2026 and many happy returns",
)
CHINESE = (
    "连接时序分类的对齐",
    "他在上海看到了一只猫",
    "识别图像中的文字",
    "我们明天早上八点出发",
)


class Spoken(NamedTuple):
    """A recording and its text."""

    path: Path
    text: str


# --- recordings and their texts ---------------------------------------------------------------------------------------


def unpacked(package: str) -> Path:
    """The folder of a Debian package's files."""
    folder = FOLDER / package
    if not folder.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=FOLDER, check=True, stderr=subprocess.DEVNULL)
        (archive,) = FOLDER.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive, folder], check=True)
    return folder


def transcribed(folder: Path, transcription: str) -> list[Spoken]:
    """Of a file with lines such as ``<s> ten of clubs </s> (001)``."""
    lines = re.findall(r"<s> (.+?) +</s> \((.+)\)", (folder / transcription).read_text())
    return [Spoken(folder / f"{name}.wav", text) for text, name in lines]


def sentences() -> list[Spoken]:
    """Of pocketsphinx-testdata: five of an audio book, and one from its own tests."""
    folder = unpacked("pocketsphinx-testdata") / TESTDATA
    forward = FOLDER / "goforward.wav"
    soundfile.write(forward, np.frombuffer((folder / "goforward.raw").read_bytes(), np.int16), 16000)
    return [Spoken(forward, "go forward ten meters"), *transcribed(folder / "librivox", "transcription")]


def cards() -> list[Spoken]:
    return transcribed(unpacked("pocketsphinx-testdata") / TESTDATA / "cards", "cards.transcription")


def prompts() -> Iterator[Spoken]:
    """Of a telephone exchange. The texts leave out what is not said in words, but have digits and keys."""
    sounds = unpacked("asterisk-core-sounds-en-wav") / PROMPTS
    texts = gzip.decompress((unpacked("asterisk-core-sounds-en") / TEXTS).read_bytes()).decode()
    for name, text in re.findall(r"(?m)^([^;:]+): *(.+)$", texts):
        path = sounds / f"{name}.wav"
        said = not re.search(r"[\d*#@(\[]", text) and len(re.findall(r"[\w']+", text)) >= WORDS
        if said and path.exists():
            yield Spoken(path, text)


def synthetic() -> Iterator[Spoken]:
    """The six sentences, read by espeak-ng."""
    for i, (_, text) in enumerate(sentences()):
        path = FOLDER / f"espeak-{i}.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-w", path, text], check=True)
        yield Spoken(path, text)


# --- lines and their characters ---------------------------------------------------------------------------------------


def drawn(texts: Sequence[str], fonts: Sequence[str], recogniser: Recogniser) -> list[Heard]:
    """Lines 48 pixels high, as the recogniser takes them, so that a pixel is a column."""
    found = []
    path = FOLDER / "line.png"
    for text in texts:
        for font in fonts:
            letters = ImageFont.truetype(font, SIZE)
            sheet = Image.new("L", (int(letters.getlength(text)) + 2 * SIZE, HEIGHT), 255)
            ImageDraw.Draw(sheet).text((SIZE, HEIGHT // 2), text, font=letters, fill=0, anchor="lm")
            sheet.save(path)
            marks = []
            for letter in re.finditer(r"\S", text):
                begin = SIZE + letters.getlength(text[: letter.start()])
                left, _, right, _ = letters.getbbox(letter[0])
                marks.append(Mark(letter[0], begin + left, begin + right))
            scores = recognise(recogniser, path)
            read = align(scores.log_probs, text, recogniser.vocabulary(), scores.frame_shift, Options(in_pixels=True))
            tokens = [token for word in read.lines[0].parts for token in word.parts]
            assert [token.text for token in tokens] == [mark.text for mark in marks]
            pieces = [token._replace(parts=(token._replace(parts=(token,)),)) for token in tokens]
            found.append(Heard(text, pieces, marks, read.duration))
    return found


def lines() -> list[Row]:
    """Of pp-ocr: chosen on two texts of each script, checked on others."""
    recogniser = pp_ocr()
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    latin = [str(fonts / f"{name}.ttf") for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")]
    rows = []
    for name, texts, more in (("lines (chosen on)", LATIN[:2], CHINESE[:2]), ("other lines", LATIN[2:], CHINESE[2:])):
        roman, han = drawn(texts, latin, recogniser), drawn(more, [CJK], recogniser)
        own = measure(roman + han, np.arange(49.0))
        print(f"{name}: measured here, a delay of {own.delay:g} columns and a stretch of {own.stretch:g}")
        options = ((0.0, 0.0), (recogniser.delay, 0.0), (recogniser.delay, recogniser.stretch))
        for script, found in (("Latin", roman), ("Chinese", han)):
            rows += rows_of(f"{name}, {script}", found, len(found), options)
    return rows


# --- what is measured -------------------------------------------------------------------------------------------------


def heard(recordings: Sequence[Spoken], recogniser: Recogniser, aligner: Pocketsphinx) -> list[Heard]:
    """The recordings that both aligners can align."""
    found = []
    text = FOLDER / "text.txt"
    for path, said in recordings:
        text.write_text(said)
        try:
            marks = aligner.marks(path, aligner.words(text))
            scores = recognise(recogniser, path)
            vocabulary = recogniser.vocabulary()
            found.append(hear(path.stem, scores.log_probs, vocabulary, scores.frame_shift, marks, False))
        except (Unmarked, CTCError) as error:
            print(f"{path.stem} is left out: {error}")
    return found


def row(
    name: str, of: Sequence[Heard], recordings: int, what: str, errors: Floats, delay: float, stretch: float
) -> Row:
    off = np.abs(errors)
    return {
        "of": name,
        "number": f"{len(of)} of {recordings}",
        "times": what,
        "delay": f"{delay:g}",
        "stretch": f"{stretch:g}",
        "words": len(errors),
        "signed median": f"{np.median(errors):.3f}",
        "median": f"{np.median(off):.3f}",
        "90%": f"{np.percentile(off, 90):.3f}",
        "worst": f"{off.max():.3f}",
    }


def rows_of(name: str, of: Sequence[Heard], recordings: int, options: Sequence[tuple[float, float]]) -> list[Row]:
    rows = []
    for delay, stretch in options:
        words = offsets(of, delay, stretch)
        for what, errors in (("starts", starts_of(words)), ("ends", ends_of(words))):
            rows.append(row(name, of, recordings, what, errors, delay, stretch))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    recogniser, aligner = hama(), Pocketsphinx()
    parts = {"six sentences (chosen on)": sentences(), "card phrases": cards(), "prompts": list(prompts())}
    if shutil.which("espeak-ng"):
        parts["espeak-ng"] = list(synthetic())
    rows: list[Row] = []
    for name, recordings in parts.items():
        found = heard(recordings, recogniser, aligner)
        own = measure(found)
        print(f"{name}: measured here, --delay {own.delay:g} --stretch {own.stretch:g}")
        options = ((0.0, 0.0), (recogniser.delay, 0.0), (recogniser.delay, recogniser.stretch))
        rows += rows_of(name, found, len(recordings), options)
    rows += lines()
    show("hama: seconds from pocketsphinx's words; pp-ocr: columns from what was drawn", rows, left=("of", "times"))
    write_results(
        "delay", rows, "hama: seconds from the words of pocketsphinx 5.1.1; pp-ocr: columns from what was drawn"
    )


if __name__ == "__main__":
    main()
