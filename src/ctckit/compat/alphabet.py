"""Labels by pyctcdecode's rules: which is the blank, which separates words, and how the unknown token is named.

May import text/ and what is below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import CTCError
from ..text import Vocabulary
from ..text.blank import check_labels
from ..text.transcript import WORD_START as BPE_TOKEN
from ..text.vocabulary import Convention

UNK_TOKEN = "⁇"
UNK_BPE_TOKEN = f"{BPE_TOKEN}{UNK_TOKEN}{BPE_TOKEN}"
SPECIAL_TOKEN_PTN = re.compile(r"^[<\[].+[>\]]$")
BLANK_TOKEN_PTN = re.compile(r"^[<\[]pad[>\]]$", flags=re.IGNORECASE)
UNK_TOKEN_PTN = re.compile(r"^[<\[]unk[>\]]$", flags=re.IGNORECASE)

_INNER = "##"


class Alphabet:
    """The labels of the classes, as pyctcdecode writes them: the blank is ``""``, and the word separator is a space.

    Args:
        labels: (C,), in this form.
        is_bpe: whether they are pieces of words, where ▁ marks the beginning of a word.

    Example:
        >>> Alphabet.build_alphabet(["<pad>", "<unk>", "|", "a"]).labels
        ['', '⁇', ' ', 'a']
        >>> Alphabet.build_alphabet(["[PAD]", "play", "##ing"]).labels
        ['', '▁play', 'ing']
    """

    def __init__(self, labels: Sequence[str], is_bpe: bool) -> None:
        self._labels, self._is_bpe = list(labels), bool(is_bpe)

    @classmethod
    def build_alphabet(cls, labels: Sequence[str]) -> Alphabet:
        """Makes an alphabet from the labels of a recogniser.

        The blank is the label ``""``, ``<pad>`` or ``[pad]``. If the labels contain none of them, it is ``_``; if they
        do not contain that either, the blank is added as the last class. The separator is the space, otherwise ``|``.

        Raises:
            CTCError: labels are not strings or not unique, or a piece of a word contains a space.
        """
        if isinstance(labels, Mapping) or not isinstance(labels, Iterable):
            raise CTCError(f"labels has type {type(labels).__name__}: expected a list of names, one for each class")
        labels = list(labels)
        check_labels(labels)
        is_bpe = any(label.startswith((_INNER, BPE_TOKEN)) for label in labels)
        if is_bpe and (spaced := [label for label in labels if " " in label]):
            raise CTCError(f"labels has {spaced[0]!r} among pieces of words: expected pieces without spaces")
        if any(label.startswith(_INNER) for label in labels):
            labels = [_with_mark(label) for label in labels]
        if not is_bpe:
            labels = _renamed(labels, "|", " ")
        labels = ["" if BLANK_TOKEN_PTN.match(label) else label for label in labels]
        if not is_bpe:
            labels = _renamed(labels, "_", "")
        if "" not in labels:
            labels.append("")
        unknown = UNK_BPE_TOKEN if is_bpe else UNK_TOKEN
        return cls([unknown if UNK_TOKEN_PTN.match(label) else label for label in labels], is_bpe)

    @property
    def is_bpe(self) -> bool:
        """Whether labels are pieces of words."""
        return self._is_bpe

    @property
    def labels(self) -> list[str]:
        """A copy of the labels."""
        return list(self._labels)

    @property
    def vocabulary(self) -> Vocabulary:
        """The labels as a vocabulary, for :class:`ctckit.Decoder`."""
        if "" not in self._labels:
            raise CTCError("labels has no '', the blank: expected it among them; see Alphabet.build_alphabet")
        separates = " " in self._labels
        convention: Convention = "sentencepiece" if self._is_bpe else "separator" if separates else "plain"
        return Vocabulary(self._labels, self._labels.index(""), convention=convention)

    def dumps(self) -> str:
        """The alphabet as JSON."""
        return json.dumps({"labels": self._labels, "is_bpe": self._is_bpe})

    @classmethod
    def loads(cls, s: str) -> Alphabet:
        """Reads an alphabet from JSON.

        Raises:
            CTCError: the string is not JSON, or has no alphabet.
        """
        try:
            read = json.loads(s)
            return cls(read["labels"], read["is_bpe"])
        except (ValueError, KeyError, TypeError):
            raise CTCError(f"{s[:60]!r} is not an alphabet: expected JSON with 'labels' and 'is_bpe'") from None


def _renamed(labels: list[str], name: str, new: str) -> list[str]:
    """The labels, with a new name for one of them, unless another label has that name."""
    return labels if new in labels else [new if label == name else label for label in labels]


def _with_mark(label: str) -> str:
    """Converts a WordPiece label, which marks pieces inside words, to the form that marks the beginnings of words."""
    if label.startswith(_INNER):
        return label.removeprefix(_INNER)
    unmarked = label in ("", BPE_TOKEN, UNK_BPE_TOKEN) or SPECIAL_TOKEN_PTN.match(label)
    return label if unmarked else BPE_TOKEN + label
