"""Notes on a language that doesn't make texts better, with the possible reasons.

May import decoder.py, text/ and what is below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ...catalogue import words
from ...lattice import STAR
from ...text.reading import Errors
from ..decoder import Decoder

_NAMED = 3  # words that a note names as examples
_MANY = 0.05  # unknown words are a possible reason if they are at least this share of the texts' words


def language_notes(
    decoder: Decoder, references: Sequence[str], without: Errors, with_language: Errors, unit: str, lang: str = "en"
) -> tuple[str, ...]:
    """Notes on a language that doesn't help; empty if it helps.

    Args:
        decoder: has the language.
        references: the right texts, as :meth:`ctckit.Vocabulary.comparable` writes them.
        without: the errors without the language.
        with_language: the errors with it, at its best weights.
        unit: what is counted: ``"words"`` or ``"letters"``.
        lang: ``"en"`` or ``"zh"``.
    """
    if with_language.total < without.total or not without.total + with_language.total:
        return ()
    said = words("decoding", lang)
    worse = "language-worse" if with_language.total > without.total else "language-no-better"
    notes = [said[f"{worse}/{unit}"].format(with_language=with_language.rate, without=without.rate)]
    spoken = Counter(word for text in references for word in text.split())
    for kind, unknown in _unknown(decoder, spoken).items():
        share = sum(spoken[word] for word in unknown) / max(1, sum(spoken.values()))
        if share >= _MANY:
            often = sorted(unknown, key=lambda word: (-spoken[word], word))[:_NAMED]
            notes.append(said[kind].format(share=share, words=", ".join(map(repr, often))))
    return tuple(notes)


def _unknown(decoder: Decoder, spoken: Iterable[str]) -> dict[str, set[str]]:
    """By kind: words that the labels can't spell, that the decoder doesn't know, and that the model lacks."""
    vocabulary, model = decoder.vocabulary, decoder.language_model
    kinds: dict[str, set[str]] = {"unspellable": set(), "no-known-word": set(), "not-in-model": set()}
    forms = {vocabulary.comparable(word): word for word in decoder.words}
    for word in spoken:
        if STAR in vocabulary.transcribe(word).tokens:
            kinds["unspellable"].add(word)
        elif forms and word not in forms:
            kinds["no-known-word"].add(word)
        elif forms and model is not None and not model.id(forms[word]):
            kinds["not-in-model"].add(word)
    return kinds
