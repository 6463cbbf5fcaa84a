"""The explanation of a search that users hold: its numbers, and each way to see them as a method.

May import everything else of the package but the seed page; what draws is imported when it is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ..decoding import Decoder
from ..errors import CTCError
from ..kernels import reference
from ..language.hotwords import Source
from ..problem import ctc_problem
from ..search_graph import SearchGraph, Symbols
from ..text import Vocabulary
from ..validate import check_beam_width, check_flag, check_language
from .arguments import check_possible, given, printable
from .as_page import AsPage
from .beam import Search

if TYPE_CHECKING:
    from ..drawing.canvas import Picture

TRIES = 1_000_000  # tokens on prefixes: some ten seconds
TWO_FRAMES = [[math.log(0.6), math.log(0.4)]] * 2
"""Log-probabilities of φ and a: the smallest case in which the best path's text is not the most probable one."""


class SearchExplanation(AsPage, Search):
    """One search for the text of some scores, to print, draw or walk through. Made by :func:`ctckit.explain_search`.

    Letters: T frames, C classes. Logarithms are natural; -inf is a probability of 0. With a language, the page holds
    pictures, which can't be changed: there is no model on it.

    Attributes:
        log_probs: float64 (T, C), normalised if logits were given.
        labels: (C,) the name of each class; the blank is φ.
        graph: which texts are possible, and what is added to their CTC scores.
        beam_width: how many prefixes are kept from one frame to the next.
        recombine: whether of prefixes that continue in the same way only the best is kept.
        lang: the language of pictures and texts.
        steps: the beam before the first frame, and after each: T + 1.
        found: the best texts, best first.
        best_path: what best path decoding reads.
    """

    _kind, _picture = "a search", "search.tree()"

    def __str__(self) -> str:
        """The search frame by frame, as `print` shows it."""
        from .views.beams import written_out

        return written_out(self)

    def __repr__(self) -> str:
        found = "nothing" if self.best is None else repr(self.text(self.best.text.tokens))
        return (
            f"SearchExplanation(T={self.frames}, C={len(self.labels)}, beam_width={self.beam_width}, found={found}, "
            f"best path={self.text(self.best_path.text.tokens)!r})"
        )

    def _page(self) -> str:
        from .page import search_page

        return search_page(self)

    def tree(self, first: int = 0) -> Picture:
        """The beam frame by frame, as a tree: which paths merge, what is dropped, and what best path decoding reads.

        Args:
            first: the frame to begin with, from 0. A picture has at most six frames and says which.

        Raises:
            CTCError: `first` is not a frame.
        """
        from .views.tree import tree

        return tree(self, first)


def explain_search(
    log_probs: npt.ArrayLike,
    decoder: Decoder | None = None,
    *,
    labels: Sequence[str] | Vocabulary | None = None,
    blank: int | Literal["auto"] = "auto",
    hotwords: Source | None = None,
    beam_width: int = 3,
    recombine: bool = False,
    from_logits: bool = False,
    lang: str = "en",
) -> SearchExplanation:
    """Opens up one search for a text: the beam frame by frame, which paths merge in it and which prefixes are dropped.

    It is the textbook's prefix search, which tries every token on every prefix. :class:`ctckit.Decoder` finds the same
    texts in less time.

    Args:
        log_probs: (T, C) natural-log probabilities of one sample; an array or a tensor.
        decoder: its labels, language and weights are used; its beam width and thresholds are not.
        labels: without a decoder: (C,) the name of each class, or a vocabulary; the blank is always shown as φ.
        blank: the blank's class; by default the one that labels and scores show, as for :class:`Vocabulary`, or 0
            without labels.
        hotwords: with a decoder: phrases that are worth more, as for :meth:`ctckit.Decoder.decode`.
        beam_width: how many prefixes are kept from one frame to the next.
        recombine: of prefixes that continue in the same way, only the best is kept. With a language, a decoder that
            is asked for one text does so.
        from_logits: `log_probs` holds raw scores.
        lang: "en" or "zh", of all pictures and texts.

    Raises:
        CTCError: for anything malformed, for NaN or +inf, for scores that are probabilities or negated
            log-probabilities, and for more than a million tries; the message says where.

    Source:
        Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs"
        (2014), algorithm 1; Graves et al. (ICML 2006), section 3.2, on best path decoding.

    Example:
        >>> from ctckit.explanation import TWO_FRAMES  # 0.6 for φ and 0.4 for a, twice
        >>> search = explain_search(TWO_FRAMES, labels=["φ", "a"])
        >>> search
        SearchExplanation(T=2, C=2, beam_width=3, found='a', best path='∅')
        >>> [(search.text(found.text.tokens), round(math.exp(found.ctc), 2)) for found in search.found]
        [('a', 0.64), ('∅', 0.36)]
    """
    check_language(lang)
    recombine = check_flag("recombine", recombine)
    beam_width = check_beam_width(beam_width)
    if decoder is not None:
        if not isinstance(decoder, Decoder):
            raise CTCError(f"decoder has type {type(decoder).__name__}: expected a Decoder; labels go to labels=")
        if labels is not None:
            raise CTCError("labels and decoder are both given: expected one of them, since a decoder has its labels")
        labels = decoder.vocabulary
    elif hotwords is not None:
        raise CTCError("hotwords are given without a decoder: expected one, such as Decoder(labels), which spells them")
    scores, names, number, _ = given(log_probs, labels, blank, from_logits=from_logits)
    if number is None:
        raise CTCError("blank = None: expected the blank's class; a search can't do without one")
    frames, classes = scores.shape
    if frames * classes * beam_width > TRIES:
        raise CTCError(
            f"log_probs has T={frames} frames and C={classes} classes, and beam_width = {beam_width}: expected at most "
            f"{TRIES:,} of T * C * beam_width, since every token is tried on every prefix; pass fewer frames, for "
            "instance log_probs[:50], or a narrower beam"
        )
    graph = _any_text(classes, number) if decoder is None else decoder.graph(hotwords)
    sample = reference.sample(ctc_problem(scores, [], frames, 0, number, from_logits=from_logits), 0)
    check_possible(sample.log_probs)
    shown = tuple(map(printable, names))
    return SearchExplanation.of(sample.log_probs, shown, graph, beam_width, recombine=recombine, lang=lang)


def _any_text(classes: int, blank: int) -> SearchGraph:
    """A graph in which any tokens are a text, and nothing counts but the CTC score."""
    return SearchGraph(blank, Symbols(np.zeros(classes + 1, np.int32), np.zeros(0, np.int32)))
