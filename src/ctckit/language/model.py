"""n-gram models: reads ARPA files, KenLM's files and our own, and scores texts, in the C++ extension.

Our own file has the same bytes as the model in memory, so it is mapped and not parsed. All scores are natural
logarithms, in nats, even if the file contains log10. May import files and native.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import native
from ..errors import CTCError
from ..files import GZIP, check_file, unpacked_pieces, unreadable, write_whole

State = tuple[int, ...]
"""What a model keeps of the words so far. If two states are equal, every continuation has the same score after both."""

LN_10 = math.log(10)  # nats in one unit of log10, which ARPA files use
SPECIAL_WORDS = ("<s>", "</s>", "<unk>")  # words of a model that are never words of a text

_PIECE = 1 << 20  # how many bytes of an ARPA file are read at a time
_PACKED = 1 << 16  # how many bytes of a compressed file, which may be a thousand times as long when it is unpacked
_WORDS = 1 << 32  # numbers of words are below this
_COMPRESSED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


class WordScore(NamedTuple):
    """A word of a scored text.

    Attributes:
        word: the word, or ``</s>`` for the end.
        score: ln P(word | the words before it), in nats.
        known: whether the model contains it.
    """

    word: str
    score: float
    known: bool


class LanguageModel:
    r"""An n-gram model of words, or of tokens, with back-off. It is read-only and thread-safe.

    A word is any string without spaces. Words that the model lacks are scored as ``<unk>``. If the file lacks
    ``<unk>``, its P is 10⁻¹⁰⁰, as in KenLM, and `notes` says so. Scores are the same as KenLM's, in nats. A model can
    be pickled: as the file's path if the file is mapped, else with the whole model.

    Attributes:
        order: the order of the longest n-grams: 3 for a trigram model.
        counts: the number of n-grams of each order.
        end: the number of ``</s>``.
        notes: sentences about what is unusual in the file.
        native: the extension's object.

    Example:
        >>> import math
        >>> from io import BytesIO
        >>> lm = LanguageModel.read(BytesIO(b'''\\data\\
        ... ngram 1=4
        ... ngram 2=1
        ...
        ... \\1-grams:
        ... -1 <unk>
        ... -99 <s> -0.5
        ... -0.5 </s>
        ... -0.5 yes
        ...
        ... \\2-grams:
        ... -0.25 <s> yes
        ...
        ... \\end\\
        ... '''))
        >>> lm.order, lm.counts
        (2, (4, 1))
        >>> round(lm.score("yes") / math.log(10), 6)  # -0.25 for "<s> yes", -0.5 for "</s>"
        -0.75
        >>> [(word, round(score, 3), known) for word, score, known in lm.words("yes no")]
        [('yes', -0.576, True), ('no', -2.303, False), ('</s>', -1.151, True)]
    """

    def __init__(self, model: Any, origin: str, mapped: Path | None, data: Any) -> None:
        self.native = model
        self.order = len(model.counts)
        self.counts: tuple[int, ...] = tuple(model.counts)
        self.end: int = model.end
        self.notes: tuple[str, ...] = ()
        if not model.has_unknown:
            self.notes = (f"{origin} lacks <unk>: unknown words have log10 P = -100, as in KenLM",)
        self._origin = origin
        self._mapped = mapped
        self._data = data
        self._vocabulary: tuple[str, ...] | None = None

    @classmethod
    def read(cls, source: str | Path | BinaryIO) -> LanguageModel:
        """Reads a model.

        Args:
            source: an ARPA file, which may be compressed by gzip; our own file, which :meth:`save` writes; or a binary
                file of KenLM. The form is found from the content. Our own file and KenLM's probing hash tables are
                mapped: they take no memory until they are used, and the file must not be changed meanwhile. KenLM's
                tries are read into memory. A file object, opened in binary mode, must be ARPA.

        Raises:
            CTCError: the file can't be read or is malformed; the message gives the line and what was expected there.
        """
        if not isinstance(source, (str, Path)):
            if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
                raise CTCError(
                    f"source has type {type(source).__name__}: expected a path, or a file opened in binary mode; bytes "
                    "are read through io.BytesIO"
                )
            return cls._read_arpa(source, "the model")
        path = Path(source)
        check_file(path)
        try:
            with path.open("rb") as file:
                first = file.read(64)
                file.seek(0)
                if native.is_ngram(first) or native.is_kenlm(first):
                    return cls._map(path)
                return cls._read_arpa(file, str(path))
        except OSError as error:
            raise unreadable(path, error) from None

    @classmethod
    def _read_arpa(cls, file: BinaryIO, name: str) -> LanguageModel:
        reader = native.ArpaReader()
        with _errors(f"{name}, "):
            for piece in _pieces(file, name):
                reader.feed(piece)
            return cls._of(reader.finish(), name)

    @classmethod
    def _of(cls, data: npt.NDArray[np.uint8], name: str) -> LanguageModel:
        return cls(native.NgramModel(data), name, None, data)

    @classmethod
    def _map(cls, path: Path) -> LanguageModel:
        try:
            with path.open("rb") as file:
                data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except OSError as error:
            raise unreadable(path, error) from None
        with _errors(f"{path} "):
            if native.is_ngram(data[:64].tobytes()):
                return cls(native.NgramModel(data), str(path), path, data)
            if native.is_kenlm_trie(data):
                return cls._of(native.read_kenlm_trie(data), str(path))
            return cls(native.KenlmModel(data), str(path), path, data)

    def __reduce__(self) -> tuple[Callable[..., LanguageModel], tuple[Any, ...]]:
        if self._mapped is not None:
            return LanguageModel.read, (os.path.abspath(self._mapped),)
        return LanguageModel._of, (self._data, self._origin)

    def __repr__(self) -> str:
        return f"LanguageModel({self._origin!r}, order={self.order}, counts={self.counts})"

    def save(self, path: str | Path) -> None:
        """Writes the model to a file, completely or not at all.

        Args:
            path: a name that ends in ``.ngram`` for our own form, which :meth:`read` maps; or in ``.arpa`` or
                ``.arpa.gz`` for ARPA, whose numbers have as few digits as are needed to read the same model back.

        Raises:
            CTCError: the name has another ending, the file can't be written, or the model is one of KenLM's hash
                tables, which can't be converted.
        """
        path = Path(path)
        name = path.name.lower()
        if not isinstance(self.native, native.NgramModel):
            raise CTCError(
                f"{self._origin} can't be written as another file: KenLM's hash tables have hashes in place of "
                "n-grams; convert the ARPA file that it was built from"
            )
        if name.endswith(".ngram"):
            write_whole(path, memoryview(self._data))
        elif name.endswith(".arpa"):
            write_whole(path, self._arpa())
        elif name.endswith(".arpa.gz"):
            write_whole(path, gzip.compress(self._arpa(), 6, mtime=0))
        else:
            raise CTCError(f"{path}: expected a name that ends in .ngram, .arpa or .arpa.gz")

    def _arpa(self) -> bytes:
        with _errors(f"{self._origin} "):
            text: bytes = self.native.to_arpa()
        return text

    @property
    def bound(self) -> float:
        """Nats: the highest ln P of any word in any state is at most this. It may be above 0, since back-offs may be.

        For KenLM's hash tables, the first call reads the whole file.
        """
        bound: float = self.native.bound
        return bound

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, by number; ``<unk>`` is the first. Empty if the file has none (KenLM's ``build_binary -v``)."""
        if self._vocabulary is None:
            self._vocabulary = tuple(self.native.vocabulary())
        return self._vocabulary

    def id(self, word: str) -> int:
        """The number of a word; 0, the number of ``<unk>``, if the model lacks it."""
        return int(self.ids([word])[0])

    def ids(self, words: Iterable[str]) -> npt.NDArray[np.int32]:
        """The numbers of words, 0 for those that the model lacks."""
        if isinstance(words, str):
            raise CTCError(f"words = {words[:40]!r}: expected a list of words; id() takes one")
        return self._ids([_encoded(word) for word in words])

    def _ids(self, words: list[bytes]) -> npt.NDArray[np.int32]:
        found: npt.NDArray[np.int32] = self.native.ids(words)
        return found

    def begin(self, sentence: bool = True) -> State:
        """The state at the start of a sentence, after ``<s>``; or, with ``sentence=False``, without any context."""
        state: State = self.native.begin(bool(sentence))
        return state

    def step(self, state: State, word: int) -> tuple[float, State]:
        """The ln P of a word, by number, in a state; and the state after it. Invalid numbers are taken as ``<unk>``."""
        found: tuple[float, State] = self.native.step(state, word if 0 <= word < _WORDS else 0)
        return found

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The ln P of words, by number, without context."""
        context = self.begin(False)
        return np.array([self.step(context, word)[0] for word in words.tolist()], np.float64)

    def score(self, text: str, bos: bool = True, eos: bool = True) -> float:
        """The ln P of a text, in nats: the sum over its words.

        Args:
            text: words with spaces between them, written as in the model, with its letter case and punctuation.
            bos: whether the text begins a sentence.
            eos: whether the text ends a sentence: then ln P(``</s>``) is added.
        """
        return float(self.score_all([text], bos, eos)[0])

    def score_all(self, texts: Sequence[str], bos: bool = True, eos: bool = True) -> npt.NDArray[np.float64]:
        """(N,) the :meth:`score` of each text. Other Python threads can run meanwhile."""
        scores, ends = self._score(texts, bos, eos)
        lengths = np.diff(ends, prepend=0)
        sums = np.zeros(len(ends))
        if len(scores):
            sums[lengths > 0] = np.add.reduceat(scores, (ends - lengths)[lengths > 0])
        return sums

    def words(self, text: str, bos: bool = True, eos: bool = True) -> list[WordScore]:
        """The score of each word of a text, in order, and with ``eos`` of ``</s>`` at the end."""
        scores, _ = self._score([text], bos, eos)
        words = _encoded(text).split()  # at ASCII white space only, as in ARPA files
        known = [bool(number) for number in self._ids(words)] + [True] * eos
        names = [word.decode("utf-8", "replace") for word in words] + ["</s>"] * eos
        return [WordScore(*each) for each in zip(names, scores.tolist(), known, strict=True)]

    def _score(
        self, texts: Iterable[str], bos: bool, eos: bool
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        if isinstance(texts, str):
            raise CTCError(f"texts = {texts[:40]!r}: expected a list of texts; score() takes one")
        scores, ends = self.native.score_texts([_encoded(text) for text in texts], bool(bos), bool(eos))
        return scores, ends


def _encoded(text: str) -> bytes:
    """Text in UTF-8. A lone surrogate is encoded like a letter; no model contains it."""
    if not isinstance(text, str):
        raise CTCError(f"{text!r} has type {type(text).__name__}: expected a string")
    return text.encode("utf-8", "surrogatepass")


@contextlib.contextmanager
def _errors(before: str) -> Iterator[None]:
    """Puts the file's name before the extension's error message."""
    try:
        yield
    except CTCError:
        raise
    except ValueError as error:
        raise CTCError(f"{before}{error}") from None


def _pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    """A file's bytes in pieces, unpacked if they are compressed by gzip."""
    first = file.read(_PACKED)
    if not first:
        raise CTCError(f"{name} is empty: expected an n-gram model; was it written, or copied, completely?")
    for magic, kind in _COMPRESSED.items():
        if first.startswith(magic):
            raise CTCError(f"{name} is compressed by {kind}: expected plain text, or gzip; unpack it first")
    if 4 * first[:64].count(0) > len(first[:64]):  # characters of two bytes or four
        raise CTCError(f"{name} is text in UTF-16 or UTF-32: expected UTF-8; write it again in that encoding")
    if not first.startswith(GZIP):
        return itertools.chain([first], iter(lambda: file.read(_PIECE), b""))
    return unpacked_pieces(itertools.chain([first], iter(lambda: file.read(_PACKED), b"")), name)
