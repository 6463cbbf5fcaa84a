"""The words of recordings with their times as somebody else has marked them, to compare a network's times with.

They come from a TextGrid, a CTM, or the package pocketsphinx, whose hidden Markov model aligns a recording with its
text. May import bare.py, files/, recognisers/ and text/; praatio and pocketsphinx are imported when they are needed.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CTCError, MissingExtraError
from ..files import check_file, read_text
from ..recognisers.media import read_sound
from ..text.marks import SPECIAL
from ..text.scripts import parse_transcript
from .bare import bare

FORMS = (".TextGrid", ".textgrid", ".ctm")
_SILENCES = ("sil", "sp", "spn", "pau")  # as aligners write them, besides <eps>, [noise] and nothing


class Mark(NamedTuple):
    """A word, with its beginning and its end in seconds."""

    text: str
    start: float
    end: float


class Unmarked(CTCError):
    """Pocketsphinx can't say when the words of a recording are said; other recordings are not affected."""


def read_marks(path: Path, name: str) -> list[Mark]:
    """The marked words of a recording, in their order; marks of silence and of noise are left out.

    Args:
        path: a .TextGrid, with one tier of words; or a .ctm, which may have other recordings, too.
        name: the recording's name in a .ctm: its file's, without the ending.

    Raises:
        CTCError: the file can't be read, has no words of this recording, or wrong times.
        MissingExtraError: praatio, which reads TextGrids, is not installed.
    """
    found = _textgrid(path) if path.suffix.lower() == ".textgrid" else _ctm(path, name)
    words = [mark for mark in found if _is_word(mark.text)]
    if not words:
        raise CTCError(f"{path} has no word of {name}: expected its words with their times")
    before = 0.0
    for mark in words:
        if not before <= mark.start < mark.end < math.inf:
            raise CTCError(
                f"{path}: {mark.text!r} is marked from {mark.start:g} to {mark.end:g} s, after a word from {before:g} "
                "s: expected words one after the other, each with a length"
            )
        before = mark.start
    return words


def _is_word(text: str) -> bool:
    return bool(bare(text)) and not SPECIAL.fullmatch(text) and text.casefold() not in _SILENCES


def _textgrid(path: Path) -> list[Mark]:
    """The intervals of the tier of words: the only one whose name ends with "word" or "words", or the only one."""
    if importlib.util.find_spec("praatio") is None:
        raise MissingExtraError("Reading .TextGrid files", "align", "praatio")
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier

    check_file(path)
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
    except Exception as error:  # praatio has no common class for what may be wrong with a file
        raise CTCError(f"{path} is not a readable TextGrid: {error or type(error).__name__}") from None
    tiers = [tier for tier in grid.tiers if isinstance(tier, IntervalTier)]
    named = [tier for tier in tiers if re.search(r"(?i)\bwords?$", tier.name)]
    chosen = named or tiers
    if len(chosen) != 1:
        names = ", ".join(repr(tier.name) for tier in tiers) or "none"
        raise CTCError(f"{path} has the tiers {names}: expected one whose name is or ends with 'words'")
    return [Mark(entry.label, float(entry.start), float(entry.end)) for entry in chosen[0].entries]


def _ctm(path: Path, name: str) -> list[Mark]:
    words = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            recording, _, start, duration, word = fields[:5]
            mark = Mark(word, float(start), float(start) + float(duration))
        except ValueError:
            raise CTCError(
                f"{path}: line {number} is {line!r}: expected recording, channel, start, duration and word"
            ) from None
        if recording == name:
            words.append(mark)
    return sorted(words, key=lambda mark: mark.start)


class Pocketsphinx:
    """Says when the words of English recordings are said.

    Raises:
        MissingExtraError: pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise MissingExtraError("Marking words", "pocketsphinx", "pocketsphinx") from None
        self._decoder = Decoder(lm=None, loglevel="FATAL")
        self._rate = int(self._decoder.config["samprate"])
        self._frame_shift = 1 / self._decoder.config["frate"]

    def words(self, text: Path) -> list[str]:
        """The words of a file of text, as pocketsphinx's dictionary has them.

        Raises:
            CTCError: the file can't be read.
            Unmarked: it has no words, or some that the dictionary lacks.
        """
        written = parse_transcript(read_text(text), str(text)).text
        spelled = written.translate({ord("’"): "'"} | dict.fromkeys(map(ord, "-–—"), " ")).casefold()
        words = [word for word in map(bare, spelled.split()) if word]
        if not words:
            raise Unmarked(f"{text} has no words")
        unknown = [word for word in dict.fromkeys(words) if self._decoder.lookup_word(word) is None]
        if unknown:
            raise Unmarked(f"pocketsphinx's dictionary lacks {', '.join(map(repr, unknown))}")
        return words

    def marks(self, sound: Path, words: Sequence[str]) -> list[Mark]:
        """Words, as :meth:`words` gives them, with their times.

        Raises:
            CTCError: the recording can't be read.
            Unmarked: it can't be aligned with these words.
        """
        samples = np.concatenate(list(read_sound(sound, self._rate)))
        pulses = (samples * 32767).clip(-32768, 32767).astype(np.int16)
        decoder = self._decoder
        decoder.set_align_text(" ".join(words))
        decoder.start_utt()
        decoder.process_raw(pulses.tobytes(), full_utt=True)
        decoder.end_utt()
        found = [mark for mark in map(self._mark, decoder.seg() or ()) if not SPECIAL.fullmatch(mark.text)]
        if [mark.text for mark in found] != list(words):
            raise Unmarked("pocketsphinx can't align it with its text")
        return found

    def _mark(self, segment: Any) -> Mark:
        """A segment, whose end is its last frame; a number at its word's end says how it is pronounced."""
        text = re.sub(r"\(\d+\)$", "", segment.word)
        return Mark(text, segment.start_frame * self._frame_shift, (segment.end_frame + 1) * self._frame_shift)
