"""The part of the package ``kenlm`` that code around pyctcdecode uses: a model from a file, which scores sentences.

May import language/.
"""

from __future__ import annotations

from pathlib import Path

from .. import language
from ..language.model import LN_10


class Model:
    """A language model like ``kenlm.Model``: its scores are log10 P, unlike elsewhere in ctckit.

    Attributes:
        path: the file's path, as bytes.
        order: the order of the longest n-grams.
        model: the :class:`ctckit.LanguageModel` that does the work.

    Raises:
        CTCError: the file can't be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(Path(path).absolute()).encode()
        self.model = language.LanguageModel.read(path)
        self.order = self.model.order

    def __contains__(self, word: str) -> bool:
        return bool(self.model.ids([word])[0])

    def score(self, sentence: str, bos: bool = True, eos: bool = True) -> float:
        """The log10 P of a sentence."""
        return self.model.score(sentence, bos, eos) / LN_10

    def perplexity(self, sentence: str) -> float:
        """The perplexity of a sentence; its end counts as a word."""
        return float(10.0 ** (-self.score(sentence) / (len(sentence.split()) + 1)))

    def __repr__(self) -> str:
        return f"<Model from {Path(self.path.decode()).name}>"
