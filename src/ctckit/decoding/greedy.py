"""Best path decoding: the most probable class of each frame.

May import all of its package but decoder.py, language/ and what is below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats
from ..language.spelling import Speller
from ..results import Status
from ..search_graph import SearchGraph, Symbols
from ..text import Vocabulary
from ..text.reading import collapse
from ..validate import check_blank
from .beams import Width
from .emissions import Emissions, read_emissions
from .hypothesis import Evidence, Hypotheses, Hypothesis, Searched
from .reader import Reader

# Readers by vocabulary. Making one takes longer than reading a text, so it is kept as long as the vocabulary is.
_readings: WeakKeyDictionary[Vocabulary, Searched] = WeakKeyDictionary()


def greedy_decode(
    log_probs: npt.ArrayLike,
    input_lengths: npt.ArrayLike | None = None,
    blank: int = 0,
    *,
    from_logits: bool = False,
    vocabulary: Vocabulary | Sequence[str] | None = None,
) -> list[Hypotheses]:
    """Takes the most probable class of each frame, merges repeats and drops blanks.

    This gives the text of the most probable path, which is not always the most probable text: many paths may spell
    another text. :class:`Decoder` adds them up.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample; or a list of arrays (T, C) of different lengths. Any dtype that
            the loss takes.
        input_lengths: (N,) frames of each sample; all T if not given. Later frames are never read.
        blank: the blank's class; ignored with a vocabulary, whose own blank is used.
        from_logits: whether ``log_probs`` holds raw scores.
        vocabulary: the classes' names: a :class:`Vocabulary`, which is faster if it is passed again, or a list of
            labels; without it, hypotheses have only tokens, and neither text nor words.

    Returns:
        One :class:`Hypotheses` for each sample, whether there is a batch axis or not. It has one hypothesis, or none if
        a used frame holds NaN or +inf, or only -inf. Its score is the path's. If classes have equal scores, the lowest
        class is taken.

    Raises:
        CTCError: for anything malformed; the message says where.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), section 3.2.

    Example:
        >>> log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])  # P("") = 0.36, and P("a") = 0.64
        >>> greedy_decode(log_probs, vocabulary=Vocabulary(["<blank>", "a"]))[0].text
        ''
    """
    vocabulary = vocabulary_of(vocabulary)
    batches = read_emissions(
        log_probs, input_lengths, from_logits, None if vocabulary is None else len(vocabulary.labels)
    )
    classes = batches[0].scores.shape[2]
    searched = reading(vocabulary, blank, classes)
    return [_read(emissions.sample(n), searched) for emissions in batches for n in range(len(emissions.frames))]


def reading(vocabulary: Vocabulary | None, blank: int, classes: int) -> Searched:
    """What reads a path: with a vocabulary its texts too, otherwise only tokens."""
    if vocabulary is None:
        symbols = Symbols(np.zeros(classes + 1, np.int32), np.empty(0, np.int32))
        return Searched(SearchGraph(check_blank(blank, classes), symbols), Reader(None, symbols), ())
    found = _readings.get(vocabulary)
    if found is None:
        symbols = Speller(vocabulary, by_token=False).symbols
        found = Searched(SearchGraph(vocabulary.blank, symbols), Reader(vocabulary, symbols), ())
        _readings[vocabulary] = found
    return found


def vocabulary_of(given: Vocabulary | Sequence[str] | None) -> Vocabulary | None:
    """A vocabulary; made from labels if these were passed."""
    return given if given is None or isinstance(given, Vocabulary) else Vocabulary(given)


def _read(emissions: Emissions, searched: Searched) -> Hypotheses:
    """Reads the best path of one sample."""
    rows = as_floats(emissions.scores[:, 0])
    path = rows.argmax(axis=1)
    best = rows[np.arange(len(rows)), path].astype(np.float64)  # NaN if the row has one
    norms = np.zeros(len(rows))
    if emissions.from_logits:
        with np.errstate(invalid="ignore"):
            norms = best + np.log(np.exp(rows - best[:, None]).sum(axis=1))
    return of_path(path, best, norms, Evidence(searched, Width(), lambda: emissions))


def of_path(
    path: npt.NDArray[np.integer[Any]],
    best: npt.NDArray[np.floating[Any]],
    norms: npt.NDArray[np.floating[Any]],
    evidence: Evidence,
) -> Hypotheses:
    """The hypothesis of a sample's best path.

    Args:
        path: (T,) the path's classes.
        best: (T,) their scores.
        norms: (T,) the logarithm of the sum of a frame's exponentiated scores; 0 if they are normalised.
        evidence: what the sample's hypotheses share.
    """
    if not (best < np.inf).all():
        return Hypotheses((), Status.NOT_FINITE, evidence.notes)
    if np.isneginf(best).any():
        return Hypotheses((), Status.IMPOSSIBLE, evidence.notes)
    score = float((best - norms).sum())
    runs = collapse(path, evidence.searched.graph.blank)
    tokens = np.array([run.token for run in runs], np.int32)
    frames = np.array([run.start for run in runs], np.int32)
    words = np.empty(0, np.int32)
    text = evidence.searched.reader.text(tokens, words)
    made = Hypothesis(text, tokens, frames, score, score, 0.0, 0.0, 0.0, 0, 0.0, words, evidence)
    return Hypotheses([made], Status.OK, evidence.notes)
