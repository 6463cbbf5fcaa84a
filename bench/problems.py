"""The inputs of decoders: scores and, with a language, the true texts; and measures of the texts that they find."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from emissions import MUCH, PLAIN, Array, Shape, log_probs, random_tokens
from kept import printed

import ctckit
from ctckit.text import Errors, word_errors

SEPARATOR = "|"  # in the labels, where there is a language; a space in texts
LETTERS = ["", SEPARATOR, *printed.LABELS[2:]]
ALPHA, BETA = 0.5, 1.0
UTTERANCES, FRAMES, SAID = 5, 1000, 180  # SAID: letters at least


class Language(NamedTuple):
    """A model, and a closed lexicon; each decoder reads them in its own way."""

    arpa: Path
    words: Sequence[str]
    alpha: float = ALPHA  # weight of ln P
    beta: float = BETA  # nats a word


class Problem:
    """Scores to be decoded, one by one.

    Attributes:
        name: of its rows.
        labels: of the classes, single letters; the blank, which is "", is class 0.
        language: if there is one.
        scores: log-probabilities (T, C) float32, each.
        said: the texts.
    """

    def __init__(
        self, name: str, labels: Sequence[str], scores: Sequence[Array], said: Sequence[str], language: Language | None
    ) -> None:
        self.name, self.labels, self.said, self.language = name, labels, said, language
        self.scores = [np.ascontiguousarray(each, np.float32) for each in scores]  # flashlight takes a pointer
        self._classes = {label: number for number, label in enumerate(labels)}

    def loss(self, texts: Sequence[str]) -> float:
        """-ln P of all texts, summed; of a text of words, the better of with and without a separator at its end."""
        return sum(self._loss(*each) for each in zip(self.scores, texts, strict=True))

    def _loss(self, scores: Array, text: str) -> float:
        tokens = [self._classes[letter] for letter in (text.replace(" ", SEPARATOR) if self.language else text)]
        spellings = [tokens, [*tokens, self._classes[SEPARATOR]]] if self.language else [tokens]
        losses = (ctckit.ctc_loss(scores, each, len(scores), len(each), reduction="none") for each in spellings)
        return min(float(loss) for loss in losses)

    def objective(self, texts: Sequence[str]) -> float | None:
        """The objective of decoders with a language, summed over the texts; None if words are not in the lexicon."""
        assert self.language is not None
        if not self._known.issuperset(word for text in texts for word in text.split()):
            return None
        worth = (
            self.language.alpha * self.model.score(text) + self.language.beta * len(text.split()) for text in texts
        )
        return sum(worth) - self.loss(texts)

    def word_error_rate(self, texts: Sequence[str]) -> float:
        return sum(map(word_errors, self.said, texts), Errors()).rate

    @cached_property
    def model(self) -> ctckit.LanguageModel:
        assert self.language is not None
        return ctckit.LanguageModel.read(self.language.arpa)

    @cached_property
    def _known(self) -> set[str]:
        assert self.language is not None
        return set(self.language.words)


def without_language(shape: Shape) -> Problem:
    labels = ["", *(chr(ord("一") + number) for number in range(1, shape.C))]
    tokens, scores = random_tokens(shape)
    return Problem(str(shape), labels, [scores], ["".join(labels[token] for token in tokens)], None)


def language_of_print(folder: Path) -> Language:
    """The language of the tests' lines of print; its file is written to a folder."""
    arpa = folder / "words.arpa"
    arpa.write_text(printed.arpa(), encoding="utf-8")
    return Language(arpa, printed.lexicon())


def with_language(folder: Path) -> Problem:
    """Utterances joined from lines that are not in the language's texts."""
    lines = iter(dict.fromkeys(line.text for line in printed.lines("test")))
    rng = np.random.default_rng(0)
    said, scores = [], []
    for _ in range(UTTERANCES):
        text = next(lines)
        while len(text) < SAID:
            text += f" {next(lines)}"
        said.append(text)
        tokens = [LETTERS.index(letter) for letter in f"{text} ".replace(" ", SEPARATOR)]
        scores.append(log_probs(tokens, FRAMES, len(LETTERS), rng, MUCH))
    language = language_of_print(folder)
    return Problem(f"words, T={FRAMES} C={len(LETTERS)}", LETTERS, scores, said, language)


def problems(folder: Path) -> list[Problem]:
    return [*map(without_language, PLAIN), with_language(folder)]
