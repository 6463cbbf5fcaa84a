"""pyctcdecode's language model: an n-gram model with its weights and its unigrams.

May import language/, files/, validate/, and of its package constants.py and kenlm.py.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import language
from ..errors import CTCError
from ..files import read_bytes, read_text, write_whole
from ..language.model import LN_10, SPECIAL_WORDS
from ..validate import check_flag, check_number
from .constants import DEFAULT_ALPHA, DEFAULT_BETA, DEFAULT_SCORE_LM_BOUNDARY, DEFAULT_UNK_LOGP_OFFSET
from .kenlm import Model

_MODEL_ENDINGS = (".arpa", ".bin", ".binary", ".ngram", ".gz")


class LanguageModel:
    """A language model and its weights, which may be changed at any time.

    Args:
        kenlm_model: a ``kenlm.Model``, which is read again from its file; a :class:`ctckit.LanguageModel`; or a path.
        unigrams: the known words. By default the model's words.
        alpha: the weight of ln P.
        beta: nats for each word.
        unk_score_offset: added to the log10 P of each unknown word, so it changes a score by alpha · ln 10 times this.
        score_boundary: whether the model scores the beginning and the end of a sentence.

    Attributes:
        model: the :class:`ctckit.LanguageModel`.

    Raises:
        CTCError: for anything malformed; the message says where.
    """

    JSON_ATTRS = ("alpha", "beta", "unk_score_offset", "score_boundary")
    _ATTRS_SERIALIZED_FILENAME = "attrs.json"
    _UNIGRAMS_SERIALIZED_FILENAME = "unigrams.txt"

    def __init__(
        self,
        kenlm_model: Any,
        unigrams: Iterable[str] | None = None,
        alpha: float = DEFAULT_ALPHA,
        beta: float = DEFAULT_BETA,
        unk_score_offset: float = DEFAULT_UNK_LOGP_OFFSET,
        score_boundary: bool = DEFAULT_SCORE_LM_BOUNDARY,
    ) -> None:
        self.model, self._path = _read(kenlm_model)
        if isinstance(unigrams, str) or not isinstance(unigrams or (), Iterable):
            raise CTCError(f"unigrams has type {type(unigrams).__name__}: expected a list of words")
        self.unigrams = tuple(dict.fromkeys(unigrams or ()))
        self.alpha: float = _checked("alpha", alpha)
        self.beta: float = _checked("beta", beta)
        self.unk_score_offset: float = _checked("unk_score_offset", unk_score_offset)
        self.score_boundary: bool = _checked("score_boundary", score_boundary)

    @property
    def order(self) -> int:
        """The order of the model's longest n-grams."""
        return self.model.order

    def reset_params(self, **params: Any) -> None:
        """Sets some of ``alpha``, ``beta``, ``unk_score_offset`` and ``score_boundary``; None leaves a value as it is.

        Raises:
            CTCError: a value is not a number, or not True or False.
        """
        for name, value in params.items():
            if name not in self.JSON_ATTRS:
                raise CTCError(f"{name} is not a parameter: expected one of {', '.join(self.JSON_ATTRS)}")
            if value is not None:
                setattr(self, name, _checked(name, value))

    @property
    def weights(self) -> tuple[float, float, float, bool]:
        """alpha, beta, unk_score_offset, score_boundary."""
        return self.alpha, self.beta, self.unk_score_offset, self.score_boundary

    @property
    def unknown_score(self) -> float:
        """Nats of an unknown word without context, not yet multiplied by alpha."""
        return self.model.step(self.model.begin(False), 0)[0] + LN_10 * self.unk_score_offset

    def worth(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(N,) nats of each text: alpha · ln 10 · (log10 P + the offset for each unknown word) + beta for each word."""
        scores = self.model.score_all(texts, self.score_boundary, self.score_boundary)
        words = [text.split() for text in texts]
        unknown = np.array([sum(word not in self._known for word in each) for each in words])
        count = np.array([len(each) for each in words])
        found: npt.NDArray[np.float64] = (
            self.alpha * (scores + LN_10 * self.unk_score_offset * unknown) + self.beta * count
        )
        return found

    @cached_property
    def _known(self) -> frozenset[str]:
        words = self.unigrams or self.model.vocabulary
        return frozenset(word for word, id in zip(words, self.model.ids(words).tolist(), strict=True) if id)

    def save_to_dir(self, filepath: str | Path, unigram_encoding: str | None = None) -> None:
        """Writes a folder: ``attrs.json``, ``unigrams.txt`` and the model's file.

        Raises:
            CTCError: a file can't be written there.
        """
        folder = Path(filepath)
        attributes = {name: getattr(self, name) for name in self.JSON_ATTRS}
        write_whole(folder / self._ATTRS_SERIALIZED_FILENAME, json.dumps(attributes).encode())
        known = self.unigrams or [word for word in self.model.vocabulary if word not in SPECIAL_WORDS]
        words = "".join(f"{word}\n" for word in sorted(known))
        write_whole(folder / self._UNIGRAMS_SERIALIZED_FILENAME, words.encode(unigram_encoding or "utf-8"))
        if self._path is None:
            self.model.save(folder / "model.arpa")
        elif self._path.parent.absolute() != folder.absolute():
            shutil.copy2(self._path, folder / self._path.name)

    @classmethod
    def load_from_dir(cls, filepath: str | Path, unigram_encoding: str | None = None) -> LanguageModel:
        """Reads a folder that :meth:`save_to_dir` or pyctcdecode wrote.

        Raises:
            CTCError: a file is missing, or can't be used; the message says why.
        """
        folder = Path(filepath)
        attributes = _read_attributes(folder / cls._ATTRS_SERIALIZED_FILENAME, cls.JSON_ATTRS)
        encoding, file = unigram_encoding or "utf-8", folder / cls._UNIGRAMS_SERIALIZED_FILENAME
        try:
            unigrams = read_bytes(file).decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise CTCError(
                f"{file} can't be read in the encoding {encoding!r}: {error}; pass unigram_encoding"
            ) from None
        models = [path for path in sorted(folder.iterdir()) if path.suffix in _MODEL_ENDINGS]
        if len(models) != 1:
            raise CTCError(f"{folder} has {len(models)} language models: expected one of {', '.join(_MODEL_ENDINGS)}")
        return cls(models[0], unigrams.splitlines(), **attributes)


def _checked(name: str, value: Any) -> Any:
    """A weight, checked."""
    if name == "score_boundary":
        return check_flag(name, value)
    return check_number(name, value, least=0 if name == "alpha" else -math.inf)


def _read_attributes(path: Path, expected: Sequence[str]) -> dict[str, Any]:
    """The weights of a folder, by name."""
    try:
        attributes = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise CTCError(f"{path} is not JSON: {error}") from None
    there = sorted(attributes) if isinstance(attributes, dict) else []
    if there != sorted(expected):
        raise CTCError(f"{path} has {', '.join(there) or 'none'}: expected {', '.join(expected)}")
    return dict(attributes)


def _read(given: Any) -> tuple[language.LanguageModel, Path | None]:
    """A model, and its file if it was read from one."""
    if isinstance(given, language.LanguageModel):
        return given, None
    if isinstance(given, Model):
        return given.model, Path(given.path.decode())
    path = getattr(given, "path", given)  # kenlm.Model has its path as bytes
    path = path.decode() if isinstance(path, bytes) else path
    if not isinstance(path, (str, Path)):
        raise CTCError(
            f"kenlm_model has type {type(given).__name__}: expected a path, a kenlm.Model or a ctckit.LanguageModel"
        )
    return language.LanguageModel.read(path), Path(path)
