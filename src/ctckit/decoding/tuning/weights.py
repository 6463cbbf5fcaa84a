"""Chooses a language's weights on samples with known texts, and tells whether the language helps at all.

May import decoder.py, the other modules of its package, text/ and what is below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ...drawing.canvas import Picture
from ...errors import CTCError
from ...language.hotwords import Source
from ...text.reading import Errors, letter_errors, word_errors
from ...validate import Fault, check_choice, check_language
from ..decoder import Decoder
from .notes import language_notes
from .picture import weights_picture

Unit = Literal["words", "letters"]

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
BETAS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
_STEPS = ((0.125, 0.5), (0.0625, 0.25))  # the steps of the local search in alpha and in beta
_WAY = 8  # the number of steps from the decoder's own weights to the best


class Trial(NamedTuple):
    """A pair of weights, and the errors that were made with it.

    Attributes:
        alpha: the weight of the language.
        beta: nats for each word.
        errors: the errors in all texts.
    """

    alpha: float
    beta: float
    errors: Errors


@dataclass(frozen=True)
class Tuned:
    """The result of :func:`tune`.

    Attributes:
        decoder: the given decoder, with the chosen weights.
        chosen: the weights, and their errors.
        before: the weights that the decoder had, and their errors.
        without: the errors of a search without language model, lexicon and hotwords.
        trials: all weights that were tried.
        unit: what is counted: words or letters.
        notes: possible reasons if the language doesn't help.
    """

    decoder: Decoder
    chosen: Trial
    before: Trial
    without: Errors
    trials: tuple[Trial, ...]
    unit: Unit
    notes: tuple[str, ...]

    def picture(self, lang: str = "en") -> Picture:
        """Draws how the errors depend on the weights: the grid as a table, with the old and the chosen weights marked.

        Args:
            lang: ``"en"`` or ``"zh"``.

        Raises:
            CTCError: `lang` is another language.
            MissingExtraError: matplotlib is missing, of the extra ``plot``.
        """
        check_language(lang)
        rates = {trial[:2]: trial.errors.rate for trial in self.trials}
        return weights_picture(
            rates, ALPHAS, BETAS, self.chosen[:2], self.before[:2], self.without.rate, self.unit, lang
        )


def tune(
    decoder: Decoder,
    log_probs: npt.ArrayLike,
    texts: Sequence[str],
    input_lengths: npt.ArrayLike | None = None,
    *,
    from_logits: bool = False,
    hotwords: Source | None = None,
    unit: Unit = "words",
) -> Tuned:
    """Chooses the alpha and beta that give the fewest errors in samples with known texts.

    First a grid is tried, then finer steps around its best weights. With few texts, weights may be the best by chance.
    So the decoder's own weights are moved towards the best only until the difference in errors is at most its standard
    error. Each trial decodes all samples. Report errors on other samples: the errors of the chosen weights on these
    samples are too low.

    Args:
        decoder: with a language model or a lexicon.
        log_probs: as for :meth:`ctckit.Decoder.decode`; `input_lengths`, `from_logits` and `hotwords` likewise.
        texts: what was said or written in each sample. They are compared as :meth:`ctckit.Vocabulary.comparable` writes
            them: case and silent punctuation are ignored.
        input_lengths: see `log_probs`.
        from_logits: see `log_probs`.
        hotwords: see `log_probs`.
        unit: what is counted: ``"words"`` or ``"letters"``. If the vocabulary has no separator, a text is one word.

    Raises:
        CTCError: the decoder has neither language model nor lexicon, there are not as many texts as samples, or
            something is malformed.

    Source:
        Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees" (1984), 3.4.3: the rule of one
        standard error.

    Example:
        >>> import numpy as np
        >>> decoder = Decoder(["<blank>", "|", "a", "b"], lexicon=["a", "ab", "abb"], beta=-6)
        >>> log_probs = np.log([[0.1, 0.1, 0.7, 0.1], [0.3, 0.2, 0.2, 0.3], [0.3, 0.1, 0.2, 0.4]])
        >>> found = tune(decoder, log_probs, ["ab"])
        >>> found.before.errors.total, found.chosen.errors.total
        (1, 0)
    """
    check_choice("unit", unit, ("words", "letters"))
    if not decoder.has_language:
        raise CTCError(Fault("no-language", "decoder", hint="language-or-lexicon"))
    comparable = decoder.vocabulary.comparable
    if isinstance(texts, str):
        raise CTCError(Fault("one-text", "texts"))
    references = [comparable(text) for text in texts]
    count = word_errors if unit == "words" else letter_errors

    def errors_of(tried: Decoder, phrases: Source | None) -> list[Errors]:
        found = tried.decode(log_probs, input_lengths, from_logits=from_logits, hotwords=phrases)
        if len(found) != len(references):
            raise CTCError(Fault("texts-not-samples", "texts", (), len(references), len(found)))
        return list(map(count, references, [comparable(sample.text) for sample in found]))

    without = sum(errors_of(Decoder(decoder.vocabulary, beam_width=decoder.beam_width), None), Errors())
    search = _Weights(decoder, lambda tried: errors_of(tried, hotwords))
    chosen = search.chosen()
    return Tuned(
        decoder.with_weights(alpha=chosen.alpha, beta=chosen.beta),
        chosen,
        search.own,
        without,
        search.trials,
        unit,
        language_notes(decoder, references, without, chosen.errors, unit),
    )


class _Weights:
    """A search for weights. Each pair is tried once.

    Attributes:
        own: the decoder's weights as they were.
    """

    def __init__(self, decoder: Decoder, errors_of: Callable[[Decoder], list[Errors]]) -> None:
        self._decoder = decoder
        self._errors_of = errors_of
        self._tried: dict[tuple[float, float], tuple[Trial, npt.NDArray[np.int64]]] = {}
        self.own = self._trial(decoder.alpha, decoder.beta)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials so far."""
        return tuple(trial for trial, _ in self._tried.values())

    def chosen(self) -> Trial:
        """The first weights, on the way from the decoder's own to the best, that are about as good as the best."""
        best = self._best()
        for step in range(_WAY):
            alpha, beta = (a + (b - a) * step / _WAY for a, b in zip(self.own[:2], best[:2], strict=True))
            trial = self._trial(round(alpha, 3), round(beta, 3))
            more = self._tried[trial[:2]][1] - self._tried[best[:2]][1]
            if more.sum() <= np.sqrt(len(more)) * more.std():
                return trial
        return best

    def _trial(self, alpha: float, beta: float) -> Trial:
        if (alpha, beta) not in self._tried:
            errors = self._errors_of(self._decoder.with_weights(alpha=alpha, beta=beta))
            counts = np.array([each.total for each in errors], np.int64)
            self._tried[alpha, beta] = Trial(alpha, beta, sum(errors, Errors())), counts
        return self._tried[alpha, beta][0]

    def _best(self) -> Trial:
        """The best of the grid and of finer steps around its best; of equal ones, the nearest to the decoder's own."""
        for weights in product(ALPHAS, BETAS):
            self._trial(*weights)
        for steps in _STEPS:
            for weights in _around(self._fewest(), *steps):
                self._trial(*weights)
        return self._fewest()

    def _fewest(self) -> Trial:
        def rank(trial: Trial) -> tuple[float, float]:
            moved = np.abs(np.subtract(trial[:2], self.own[:2])) / _STEPS[0]
            return trial.errors.total, float(moved.sum())

        return min(self.trials, key=rank)


def _around(trial: Trial, alpha_step: float, beta_step: float) -> Iterator[tuple[float, float]]:
    for i, j in product((-1, 0, 1), repeat=2):
        if trial.alpha + i * alpha_step >= 0:
            yield trial.alpha + i * alpha_step, trial.beta + j * beta_step
