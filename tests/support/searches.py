"""Random problems for searches: scores, and graphs of every form, also graphs that no language gives.

The results of the searches are compared with the reference's. Other tests compare the reference with definitions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ctckit.kernels.search import native, reference
from ctckit.language import LanguageModel
from ctckit.language.trees import Sequences, tree_of
from ctckit.search_graph import BOUNDARY, Hotwords, Lexicon, SearchGraph, Symbols, Tree

from . import ngrams

Array = npt.NDArray[Any]
FORMS = ("plain", "words", "tokens", "pieces")


@dataclass(frozen=True)
class Case:
    """One search.

    Attributes:
        log_probs: (T, C) float64.
        graph: over its classes.
        beam_width: at least 1.
        recombine: as searches take it.
    """

    log_probs: Array
    graph: SearchGraph
    beam_width: int
    recombine: bool

    def reference(self, **options: Any) -> tuple[reference.Found, bool]:
        """What the reference finds, and whether the beams were decided by more than rounding.

        Words may cost the same, or their costs may be added in another order: then scores differ only by rounding.
        """
        margins, threshold = [np.inf], options.get("beam_threshold", np.inf)

        def watch(t: int, candidates: list[reference.Entry], beam: list[reference.Entry]) -> None:
            groups: dict[Any, list[float]] = {}  # of each group one is kept
            for i, entry in enumerate(candidates):
                key = (entry.prefix.tokens[-1:], entry.state[:3]) if self.recombine else i
                groups.setdefault(key, []).append(entry.score)
            ranked = [sorted(group, reverse=True) for group in groups.values()]
            margins.extend(group[0] - group[1] for group in ranked if len(group) > 1)
            best = sorted((group[0] for group in ranked), reverse=True)
            if len(best) > self.beam_width:
                margins.append(best[self.beam_width - 1] - best[self.beam_width])
            margins.extend(abs(best[0] - threshold - score) for score in best)

        found = reference.search(
            self.log_probs, self.graph, self.beam_width, recombine=self.recombine, watch=watch, **options
        )
        return found, min(margins) > 1e-11

    def native(self, **options: Any) -> native.Found:
        scores, lengths = self.log_probs[:, None], np.array([len(self.log_probs)])
        options = {"recombine": self.recombine, "nbest": 10**9} | options
        return native.search(scores, lengths, self.graph, self.beam_width, **options)[0]

    def stream(self, chunk: int, **options: Any) -> native.Search:
        """A search to which all frames have been fed."""
        search = native.Search(self.graph, self.beam_width, recombine=self.recombine, **options)
        for t in range(0, len(self.log_probs), chunk):
            search.feed(self.log_probs[t : t + chunk])
        return search


def as_data(texts: list[native.Text]) -> list[tuple[Any, ...]]:
    """All results for texts, in a form that can be compared bit for bit."""
    return [tuple(x.tolist() if isinstance(x, np.ndarray) else x for x in text) for text in texts]


def letters(classes: int) -> SearchGraph:
    """The simplest graph: the blank is class 0, the others are letters."""
    return SearchGraph(0, _letters(classes, 0, -1))


def draw(seed: int, form: str, *, most_frames: int = 40, most_classes: int = 99, most_width: int = 50) -> Case:
    """A random case.

    Args:
        seed: of the draw.
        form: ``plain``: only letters; ``words``: a token is a letter or the separator; ``tokens``: so are they,
            and the model is one of tokens; ``pieces``: tokens spell anything.
        most_frames: the most that it may have.
        most_classes: the most that it may have.
        most_width: the most of the beam's width.
    """
    rng = np.random.default_rng([seed, FORMS.index(form)])
    # The reference is slow, so only one of the sizes is large.
    classes = int(rng.integers(2, most_classes + 1)) if rng.random() < 0.3 else int(rng.integers(2, 9))
    width = int(rng.integers(1, most_width + 1)) if rng.random() < 0.3 else int(rng.integers(1, 9))
    size = max(2, int(2e4 / (classes * width)))
    frames = int(rng.integers(0, min(most_frames, size) + 1))
    graph = random_graph(rng, form, classes)
    recombine = bool(rng.random() < (0.2 if form == "plain" else 0.5))
    return Case(random_scores(rng, frames, classes), graph, width, recombine)


def random_scores(rng: np.random.Generator, frames: int, classes: int) -> Array:
    """Log-probabilities (T, C), of peaky frames or flat ones, some with -inf."""
    scores = rng.normal(size=(frames, classes)) * rng.choice([0.1, 1, 3, 10])
    if rng.random() < 0.3:
        scores[rng.random(scores.shape) < rng.choice([0.02, 0.4])] = -np.inf
    with np.errstate(invalid="ignore"):
        scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True) if scores.size else 0
    return np.where(np.isnan(scores), -np.inf, scores)


def random_graph(rng: np.random.Generator, form: str, classes: int) -> SearchGraph:
    blank = int(rng.integers(classes))
    if form == "plain":
        return SearchGraph(blank, _letters(classes, blank, -1), beta=float(rng.choice([0.0, 0.5])))
    separator = int(rng.choice([c for c in range(classes) if c != blank]))
    if form == "pieces":
        symbols = _pieces(rng, classes, blank)
    else:
        symbols = _letters(classes, blank, separator)
        if rng.random() < 0.2:
            separator = -1
    graph = SearchGraph(
        blank,
        replace(symbols, separator=separator if form != "pieces" else -1),
        alpha=float(rng.choice([0.0, 0.5, 1.3])),
        beta=float(rng.normal()),
        unknown_score=float(rng.choice([-np.inf, -10.0, -2.0, 0.5])),
        sentence_bounds=bool(rng.random() < 0.7),
    )
    most = int(symbols.symbols.max(initial=1))
    model = random_model(rng) if form == "tokens" or rng.random() < 0.7 else None
    lexicon = _lexicon(rng, most, 0 if model is None else len(model.vocabulary)) if rng.random() < 0.8 else None
    hotwords = _hotwords(rng, most) if rng.random() < 0.5 else None
    graph = replace(graph, lexicon=lexicon, hotwords=hotwords)
    if model is not None and form == "tokens":
        known = rng.integers(-1, len(model.vocabulary), classes).astype(np.int32)
        return replace(graph, model=model, level="token", model_tokens=known)
    return replace(graph, model=None if lexicon is None else model)


def random_model(rng: np.random.Generator) -> LanguageModel:
    """Of trigrams, with back-offs above and below 0."""
    words = ["<unk>", "<s>", "</s>", *"abcdef"]
    grams: list[list[tuple[str, ...]]] = [[(word,) for word in words]]
    for _ in range(2):
        longer = [(*gram, word) for gram in grams[-1] if gram[-1] != "</s>" for word in words if word != "<s>"]
        kept = rng.random(len(longer)) < 0.3
        grams.append([gram for gram, keep in zip(longer, kept, strict=True) if keep])
    scored = [{gram: (-rng.exponential(), rng.normal() / 2 if len(gram) < 3 else None) for gram in of} for of in grams]
    return LanguageModel.read(io.BytesIO(ngrams.arpa_text(scored).encode()))


def _letters(classes: int, blank: int, separator: int) -> Symbols:
    """Each class is a letter, except the blank, which spells nothing, and the separator."""
    spelled = [[] if c == blank else [BOUNDARY] if c == separator else [c + 1] for c in range(classes)]
    return _symbols(spelled, separator)


def _pieces(rng: np.random.Generator, classes: int, blank: int) -> Symbols:
    """Each class has some symbols, or none."""
    kinds = int(rng.choice([2, 4, 70]))
    late = rng.random() < 0.5  # boundaries also inside a piece
    spelled = []
    for c in range(classes):
        piece = rng.integers(1, kinds, int(rng.choice([0, 1, 2, 3, 4], p=[0.1, 0.4, 0.3, 0.1, 0.1])))
        if late:
            piece[rng.random(len(piece)) < 0.2] = BOUNDARY
        if rng.random() < 0.3:
            piece = np.insert(piece, 0, BOUNDARY)
        spelled.append([] if c == blank else piece.tolist())
    return _symbols(spelled, -1)


def _symbols(spelled: list[list[int]], separator: int) -> Symbols:
    offsets = np.cumsum([0, *map(len, spelled)]).astype(np.int32)
    return Symbols(offsets, np.array([x for each in spelled for x in each], np.int32), separator)


def _sequences(rng: np.random.Generator, count: int, least: int, most: int) -> Sequences:
    lengths = 1 + rng.geometric(0.5, count)
    return Sequences.made_of((i, rng.integers(least, most + 1, n).tolist()) for i, n in enumerate(lengths))


def _lexicon(rng: np.random.Generator, most: int, model_words: int) -> Lexicon:
    count = int(rng.choice([1, 5, 40]))
    sequences = _sequences(rng, count, 1, most)
    tree, ends = tree_of(sequences)
    numbers = rng.permutation(count).astype(np.int32)
    order = np.argsort(ends, kind="stable")
    offsets = np.searchsorted(ends[order], np.arange(len(tree.first))).astype(np.int32)
    known = rng.integers(-1, max(model_words, 1), count).astype(np.int32)
    lookahead = -rng.exponential(size=len(tree.first) - 1) * 3
    lookahead[0] = 0
    return Lexicon(tree, offsets, numbers[order], known, lookahead, closed=bool(rng.random() < 0.5))


def _hotwords(rng: np.random.Generator, most: int) -> Hotwords:
    """An automaton by its definition; its numbers need not make sense."""
    sequences = _sequences(rng, int(rng.choice([1, 6, 30])), 0, most)
    tree, _ = tree_of(sequences)
    texts = _spelled(tree)
    nodes = {text: node for node, text in enumerate(texts)}
    fail = [next((nodes[text[i:]] for i in range(1, len(text) + 1) if text[i:] in nodes), 0) for text in texts]
    size = len(texts)
    rewards = np.where(rng.random(size) < 0.4, rng.normal(size=size) * 2, 0.0)
    potentials = rng.normal(size=size)
    rewards[0] = potentials[0] = 0
    return Hotwords(tree, np.array(fail, np.int32), rewards, potentials, int(rng.integers(size)))


def _spelled(tree: Tree) -> list[tuple[int, ...]]:
    texts: list[tuple[int, ...]] = [()]
    for node in range(len(tree.first) - 1):
        texts += [(*texts[node], int(symbol)) for symbol in tree.symbols[tree.first[node] : tree.first[node + 1]]]
    return texts


def damaged(rng: np.random.Generator, graph: SearchGraph) -> SearchGraph:
    """A graph with some numbers of its arrays changed: it may be invalid."""

    def change(array: Array) -> Array:
        if not array.size or rng.random() < 0.7:
            return array
        made = array.copy()
        for place in rng.integers(0, array.size, int(rng.integers(1, 4))):
            near = made[place] + np.asarray(rng.choice([-1, 1]), made.dtype)
            far = rng.choice([0, 2**31 - 1, -(2**31)]) if array.dtype.kind == "i" else rng.choice([np.nan, np.inf, 1e9])
            made[place] = near if rng.random() < 0.7 else far
        return made if rng.random() < 0.8 else made[: rng.integers(0, made.size)]

    def changed(part: Any, *names: str) -> Any:
        return part if part is None else replace(part, **{name: change(getattr(part, name)) for name in names})

    lexicon = changed(graph.lexicon, "word_offsets", "words", "model_words", "lookahead")
    hotwords = changed(graph.hotwords, "fail", "rewards", "potentials")
    if lexicon is not None:
        lexicon = replace(lexicon, tree=changed(lexicon.tree, "first", "symbols"))
    if hotwords is not None:
        hotwords = replace(hotwords, tree=changed(hotwords.tree, "first", "symbols"))
    return replace(
        graph,
        symbols=changed(graph.symbols, "offsets", "symbols"),
        lexicon=lexicon,
        hotwords=hotwords,
        model_tokens=None if graph.model_tokens is None else change(graph.model_tokens),
        blank=int(rng.choice([graph.blank, graph.blank, graph.blank, -1, 1000])),
    )
