"""Reorders the texts that a search has found, with any other language model.

May import hypothesis.py, validate/ and what is below them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..validate import Fault, check_answer, check_integer, check_number
from .hypothesis import Hypotheses, Hypothesis

TextModel = Callable[[Sequence[str]], npt.ArrayLike]
Prefix = tuple[int, ...]


def rescore(
    hypotheses: Iterable[Hypotheses], model: TextModel, weight: float, *, alpha: float | None = None
) -> list[Hypotheses]:
    """Adds another language model's ln P to the scores of the texts that were found, and orders them by the sum.

    Only texts that the search returned can become the best: decode with `nbest` of 10 to 100.

    Args:
        hypotheses: those of each sample, from :meth:`Decoder.decode`.
        model: takes texts, and returns the ln P of each, in nats: shape (texts,), finite or -inf. It is called once,
            with the texts of all samples, without duplicates. :func:`by_prefix` makes such a function from a model of
            the next token.
        weight: the weight of its ln P, at least 0.
        alpha: a new weight for the language model of the search, such as 0 if `model` replaces it. By default the
            weight is not changed.

    Returns:
        The same texts of each sample, in their new order. ``second_pass_score`` is the weight times ln P, and is
        included in ``score``.

    Raises:
        CTCError: the model's answer has another shape or holds NaN or +inf, or a weight is not finite or below 0.

    Example:
        >>> from ctckit import Decoder
        >>> found = Decoder(["<blank>", "a", "b"]).decode(np.log([[0.1, 0.5, 0.4]]), nbest=2)
        >>> prefers_b = lambda texts: [0.0 if "b" in text else -1.0 for text in texts]
        >>> [text.text for text in rescore(found, prefers_b, 0.5)[0]]
        ['b', 'a']
    """
    weight = check_number("weight", weight, least=0)
    alpha = None if alpha is None else check_number("alpha", alpha, least=0)
    samples = list(hypotheses)
    texts = list(dict.fromkeys(text.text for sample in samples for text in sample))
    scores = dict(zip(texts, check_answer("model", model(texts), (len(texts),)).tolist(), strict=True)) if texts else {}
    return [_ordered(sample, scores, weight, alpha) for sample in samples]


def by_prefix(
    next_log_probs: Callable[[Sequence[Prefix]], npt.ArrayLike],
    encode: Callable[[str], Iterable[int]],
    *,
    end: int | None = None,
    batch: int = 256,
) -> TextModel:
    """Makes a model for :func:`rescore` from one that predicts the next token, such as a neural network.

    Args:
        next_log_probs: takes prefixes, tuples of the model's tokens in order of their lengths, the empty one first;
            returns the ln P of each token that may follow: shape (prefixes, V). A prefix that several texts share is
            passed only once.
        encode: returns a text's tokens, as the model numbers them.
        end: the token that ends a text; None: the end of a text is not scored.
        batch: how many prefixes are passed at once.

    Raises:
        CTCError: when the model is called: an answer has another shape, or holds NaN or +inf, or has no entry for a
            token.

    Example:
        >>> halves = lambda prefixes: np.full((len(prefixes), 3), np.log(0.5))  # whatever the prefix
        >>> model = by_prefix(halves, lambda text: [ord(letter) - 97 for letter in text], end=2)
        >>> model(["ab", "b"]).round(3).tolist()
        [-2.079, -1.386]
    """
    check_integer("batch", batch, 1)

    def model(texts: Sequence[str]) -> npt.NDArray[np.float64]:
        spelled = [(*encode(text), *(() if end is None else (end,))) for text in texts]
        wanted = sorted({tokens[: i + 1] for tokens in spelled for i in range(len(tokens))}, key=lambda p: (len(p), p))
        following = [(prefix, [p[-1] for p in ways]) for prefix, ways in groupby(wanted, key=lambda p: p[:-1])]
        found: dict[Prefix, float] = {}
        for start in range(0, len(following), batch):
            some = following[start : start + batch]
            answer = check_answer("model", next_log_probs([prefix for prefix, _ in some]), (len(some), None))
            for (prefix, tokens), row in zip(some, answer, strict=True):
                if not 0 <= min(tokens) <= max(tokens) < len(row):
                    wrong = next(token for token in tokens if not 0 <= token < len(row))
                    raise CTCError(Fault("token-beyond-model", "encode", (), wrong, len(row)))
                found |= {(*prefix, token): float(row[token]) for token in tokens}
        return np.array([math.fsum(found[tokens[: i + 1]] for i in range(len(tokens))) for tokens in spelled])

    return model


def _ordered(sample: Hypotheses, scores: dict[str, float], weight: float, alpha: float | None) -> Hypotheses:
    texts = [_rescored(text, weight * scores[text.text] if weight else 0.0, alpha) for text in sample]
    return Hypotheses(sorted(texts, key=lambda text: -text.score), sample.status, lambda: sample.notes)


def _rescored(text: Hypothesis, second: float, alpha: float | None) -> Hypothesis:
    language = text.language_score if alpha is None else alpha * text.language if text.language else 0.0
    score = text.ctc_score + language + text.word_score + text.hotword_score + second
    return replace(text, score=score, language_score=language, second_pass_score=second)
