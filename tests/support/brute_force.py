"""Scores every text that a few frames can have, by its definition: no prefix, no tree, no automaton.

Imports nothing of the package: the search and its graphs are compared with it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
from oracles import collapse

from . import ngrams

Words = tuple[str | None, ...]  # None: a word that is not in the lexicon
Text = tuple[tuple[int, ...], Words]

SPECIAL = "<breath>"
UNKNOWN_WORD = "<unk>"


class Bigrams:
    """A language model of random numbers, P(word | word before), with the methods that the search calls.

    Attributes:
        vocabulary: ``<unk>``, ``<s>``, ``</s>``, then the words.
        table: nats by word before, "" at the beginning without context, and word.
    """

    end = 2
    native = None

    def __init__(self, words: Sequence[str], seed: int) -> None:
        draw = random.Random(seed)
        self.vocabulary = [UNKNOWN_WORD, "<s>", "</s>", *words]
        self.table = {
            (a, b): math.log(draw.uniform(0.02, 0.9)) for a in ["", *self.vocabulary] for b in self.vocabulary
        }
        self.counts = (len(self.vocabulary), len(self.table))

    def arpa(self) -> str:
        """The same as an ARPA file."""
        pairs = {pair: score / math.log(10) for pair, score in self.table.items() if pair[1] != "<s>"}
        single = {(word,): (pairs.get(("", word), -99.0), 0.0) for word in self.vocabulary}
        double = {pair: (score, None) for pair, score in pairs.items() if pair[0] not in ("", "</s>")}
        return ngrams.arpa_text([single, double])

    def ids(self, words: Sequence[str]) -> npt.NDArray[np.int32]:
        return np.array([self.vocabulary.index(w) if w in self.vocabulary else 0 for w in words], np.int32)

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        return np.array([self.step("", word)[0] for word in words.tolist()])

    def begin(self, sentence: bool) -> str:
        return "<s>" if sentence else ""

    def step(self, state: str, word: int) -> tuple[float, str]:
        return self.table[state, self.vocabulary[word]], self.vocabulary[word]


@dataclass(frozen=True)
class Language:
    """All that decides which texts are possible, and their scores.

    Attributes:
        labels: class 0 is the blank.
        convention: as in a vocabulary.
        spellings: of each word, as letters; None without a lexicon.
        closed: other words are not possible.
        model: of words or tokens.
        by_token: the model's words are labels.
        hotwords: nats for each occurrence of a phrase.
    """

    labels: Sequence[str]
    convention: str
    spellings: Mapping[str, Sequence[str]] | None = None
    closed: bool = False
    model: Bigrams | None = None
    by_token: bool = False
    hotwords: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.7
    beta: float = 0.4
    unknown_score: float = -3.0
    sentence_bounds: bool = True

    def adds(self, token: int) -> str:
        """What a token adds to a text."""
        label = self.labels[token]
        if token == 0 or label == SPECIAL:
            return ""
        if self.convention == "wordpiece":
            return label[2:] if label.startswith("##") else f" {label}"
        return label.replace("▁", " ") if self.convention == "sentencepiece" else label

    def texts(self, log_probs: npt.NDArray[Any]) -> dict[Text, float]:
        """The score of every possible text, by its tokens and words."""
        found = {}
        for tokens, ctc in ctc_scores(log_probs).items():
            for words in self._readings(tokens):
                score = ctc + self.worth(tokens, words)
                if score > -math.inf:
                    found[tokens, words] = score
        return found

    def words(self) -> Mapping[str, Sequence[str]] | None:
        """The lexicon; if it is closed, with the words of hotwords whose spelling it does not have."""
        if self.spellings is None or not self.closed:
            return self.spellings
        there = {letters for ways in self.spellings.values() for letters in ways}
        parts = [word for phrase in self.hotwords for word in phrase.split()]
        return {**self.spellings, **{word: [word] for word in parts if word not in there}}

    def _spelled(self, tokens: Sequence[int]) -> list[str]:
        """The words as letters."""
        return "".join(map(self.adds, tokens)).split()

    def _readings(self, tokens: Sequence[int]) -> Iterator[Words]:
        """The ways to read tokens as words."""
        if self.closed and any(self.labels[token] == SPECIAL for token in tokens):
            return
        if self.closed and self.convention == "separator":
            said = [self.labels[token] for token in tokens]
            if said[:1] == [" "] or (" ", " ") in pairwise(said):
                return
        known = self.words() or {}
        ways: list[list[str | None]] = []
        for letters in self._spelled(tokens):
            words = [word for word, spellings in known.items() if letters in spellings]
            ways.append([*words] or ([] if self.closed else [None]))
        yield from product(*ways)

    def worth(self, tokens: Sequence[int], words: Words) -> float:
        """Nats in addition to the CTC score."""
        if self.by_token:
            said = [self.labels[token].replace(" ", "|") for token in tokens if self.adds(token)]
            language = self._probability([token if self._knows(token) else None for token in said])
        else:
            said = [word for word in words if word is not None]
            language = self._probability([word if word is not None and self._knows(word) else None for word in words])
            if self.model is None:
                lacking = 0 if self.spellings is None else words.count(None)
                language = lacking * self.unknown_score if lacking else 0.0
        units = len(said) if self.by_token else len(words)
        has_language = self.model is not None or self.spellings is not None
        return self.alpha * language + self.beta * units * has_language + self.rewards(tokens)

    def _knows(self, word: str) -> bool:
        return self.model is not None and word in self.model.vocabulary

    def _probability(self, words: Sequence[str | None]) -> float:
        """ln P of words, None for one that the model lacks."""
        if self.model is None:
            return 0.0
        total, before = 0.0, "<s>" if self.sentence_bounds else ""
        for word in words:
            total += self.unknown_score if word is None else self.model.table[before, word]
            before = UNKNOWN_WORD if word is None else word
        return total + (self.model.table[before, "</s>"] if self.sentence_bounds else 0.0)

    def rewards(self, tokens: Sequence[int]) -> float:
        """Of all occurrences of hotwords, overlapping ones too."""
        words = self._spelled(tokens)
        text = "".join(words) if self.convention == "plain" else f" {' '.join(words)} "
        return sum(w * sum(text.startswith(form, i) for i in range(len(text))) for form, w in self._forms().items())

    def _forms(self) -> dict[str, float]:
        """The spellings of hotwords, with their bounds, and their weights: the highest for each spelling."""
        known, forms = self.words() or {}, dict[str, float]()
        for phrase, weight in self.hotwords.items():
            for words in product(*(known.get(word, [word]) for word in phrase.split())):
                form = "".join(words) if self.convention == "plain" else f" {' '.join(words)} "
                forms[form] = max(weight, forms.get(form, weight))
        return forms


def ctc_scores(log_probs: npt.NDArray[Any], blank: int = 0) -> dict[tuple[int, ...], float]:
    """The log of the sum over all paths, for each sequence of tokens that has one."""
    frames, classes = log_probs.shape
    paths: dict[tuple[int, ...], list[float]] = {}
    for path in product(range(classes), repeat=frames):
        score = float(sum(log_probs[t, c] for t, c in enumerate(path)))
        if score > -math.inf:
            paths.setdefault(collapse(path, blank), []).append(score)
    return {tokens: max(s) + math.log(math.fsum(math.exp(x - max(s)) for x in s)) for tokens, s in paths.items()}
