"""n-gram models: reads ARPA files, KenLM's and our own, and scores texts; the C++ extension does the work.

Our own file is the model as it lies in memory: it is mapped, and opens in no time. All scores are nats, natural
logarithms, whatever a file holds. May import files and native.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import native
from ..errors import CTCError
from ..files import unreadable, write_whole

State = tuple[int, ...]
"""All that the words so far mean to a model: equal states go on alike."""

SPECIAL_WORDS = ("<s>", "</s>", "<unk>")  # those of a model that nobody says

_PIECE = 1 << 20  # bytes of an ARPA file that are read at a time
_PACKED = 1 << 16  # of a compressed one, which may be a thousand times longer
_WORDS = 1 << 32  # numbers of words are below
_GZIP = b"\x1f\x8b"
_COMPRESSED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


class WordScore(NamedTuple):
    """A word of a scored text.

    Attributes:
        word: the word, or ``</s>`` for the end.
        score: ln P(word | the words before it), in nats.
        known: whether the model has it.
    """

    word: str
    score: float
    known: bool


class LanguageModel:
    r"""An n-gram model of words, or of tokens, with back-off; read-only, and safe to use from many threads.

    A word is any string without spaces. Words that the model lacks count as ``<unk>``, whose P is 10⁻¹⁰⁰ if the file
    doesn't give it, as in KenLM; `notes` says so. Equal scores as KenLM's, in nats. Can be pickled: by the file's path
    if it is mapped from there, else with all that it holds.

    Attributes:
        order: the most words that are looked at: those before a word, and the word.
        counts: how many n-grams of each order its file holds.
        end: the number of ``</s>``.
        notes: what was noticed about the file; sentences.
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
                file of KenLM's. Told by the content. Our own and KenLM's probing hash tables are mapped: they take no
                memory until they are used, and must stay as they are. KenLM's tries are read into memory. An open
                binary file holds ARPA.

        Raises:
            CTCError: the file can't be read, or is not what it should be; says the line, and what was expected there.
        """
        if not isinstance(source, (str, Path)):
            if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
                raise CTCError(
                    f"source has type {type(source).__name__}: expected a path, or a file opened in binary mode; bytes "
                    "are read through io.BytesIO"
                )
            return cls._read_arpa(source, "the model")
        path = Path(source)
        if path.is_dir():
            raise CTCError(f"{path} is a folder: expected a file")
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
        """Writes the model, whole or not at all.

        Args:
            path: ``.ngram`` for our own file, which :meth:`read` maps; ``.arpa`` or ``.arpa.gz`` for ARPA, whose
                numbers get as few digits as give the same model back.

        Raises:
            CTCError: the ending is another, the file can't be written, or the model is one of KenLM's hash tables,
                which can't be made anything else.
        """
        path = Path(path)
        name = path.name.lower()
        if not isinstance(self.native, native.NgramModel):
            raise CTCError(
                f"{self._origin} can't be written as another file: KenLM's hash tables hold no n-grams that could be "
                "read; convert the ARPA file that it was built from"
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
        """Nats that no ln P exceeds, in whatever state. May lie above 0, since back-offs may.

        The first time, a file of KenLM's is read from end to end for this.
        """
        bound: float = self.native.bound
        return bound

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, by number; ``<unk>`` is the first.

        Raises:
            CTCError: it is a file of KenLM's that leaves the words out.
        """
        if self._vocabulary is None:
            self._vocabulary = tuple(self.native.vocabulary())
        if not self._vocabulary:
            raise CTCError(f"{self._origin} holds no words: build it again with KenLM's build_binary, without -v")
        return self._vocabulary

    def id(self, word: str) -> int:
        """The number of a word; 0, that of ``<unk>``, if the model lacks it."""
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
        """The state at the start of a sentence, behind ``<s>``; or without any context."""
        state: State = self.native.begin(bool(sentence))
        return state

    def step(self, state: State, word: int) -> tuple[float, State]:
        """The ln P of a word, by number, in a state; and the state behind it. Any other number counts as ``<unk>``."""
        found: tuple[float, State] = self.native.step(state, word if 0 <= word < _WORDS else 0)
        return found

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The ln P of words, by number, without context."""
        context = self.begin(False)
        return np.array([self.step(context, word)[0] for word in words.tolist()], np.float64)

    def score(self, text: str, bos: bool = True, eos: bool = True) -> float:
        """The ln P of a text, in nats: the sum over its words.

        Args:
            text: words with spaces between them, as the model has them: letter case and punctuation count.
            bos: whether it begins a sentence.
            eos: whether it ends one: ln P(``</s>``) is added.
        """
        return float(self.score_all([text], bos, eos)[0])

    def score_all(self, texts: Sequence[str], bos: bool = True, eos: bool = True) -> npt.NDArray[np.float64]:
        """(N,) the :meth:`score` of each text; other Python threads run meanwhile."""
        scores, ends = self._score(texts, bos, eos)
        lengths = np.diff(ends, prepend=0)
        sums = np.zeros(len(ends))
        if len(scores):
            sums[lengths > 0] = np.add.reduceat(scores, (ends - lengths)[lengths > 0])
        return sums

    def words(self, text: str, bos: bool = True, eos: bool = True) -> list[WordScore]:
        """The score of each word of a text, in its order; with ``eos``, of ``</s>`` at last."""
        scores, _ = self._score([text], bos, eos)
        words = _encoded(text).split()  # at ASCII white space, the only one that ARPA knows
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
    """In UTF-8; half a character counts as a letter that no model has."""
    if not isinstance(text, str):
        raise CTCError(f"{text!r} has type {type(text).__name__}: expected a string")
    return text.encode("utf-8", "surrogatepass")


@contextlib.contextmanager
def _errors(before: str) -> Iterator[None]:
    """What the extension finds wrong with a file, under the file's name."""
    try:
        yield
    except CTCError:
        raise
    except ValueError as error:
        raise CTCError(f"{before}{error}") from None


def _pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    """A file's bytes, unpacked if they are compressed by gzip."""
    first = file.read(_PACKED)
    if not first:
        raise CTCError(f"{name} is empty: expected an n-gram model; was it written, or copied, completely?")
    for magic, kind in _COMPRESSED.items():
        if first.startswith(magic):
            raise CTCError(f"{name} is compressed by {kind}: expected plain text, or gzip; unpack it first")
    if b"\\\0" in first[:64] or b"\0\\" in first[:64]:  # a backslash of more than one byte
        raise CTCError(f"{name} is text in UTF-16 or UTF-32: expected UTF-8; write it again in that encoding")
    if not first.startswith(_GZIP):
        return itertools.chain([first], iter(lambda: file.read(_PIECE), b""))
    return _unpacked(itertools.chain([first], iter(lambda: file.read(_PACKED), b"")), name)


def _unpacked(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The content of gzip's members, one behind the other."""
    unpack = zlib.decompressobj(31)
    try:
        for piece in pieces:
            while piece:
                yield unpack.decompress(piece)
                piece = unpack.unused_data.lstrip(b"\0")
                if piece:
                    unpack = zlib.decompressobj(31)
    except zlib.error as error:
        raise CTCError(f"{name} is damaged: gzip can't unpack it ({error})") from None
    if not unpack.eof:
        raise CTCError(f"{name} is damaged: its gzip data end early; was it written, or copied, completely?")
