"""Weights chosen on known texts: the rule, by counting; the notes on a language that does not help; the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import printed
from support.pictures import check_texts, texts

from ctckit import CTCError, Decoder, tune
from ctckit.decoding import Tuned
from ctckit.decoding.tuning import ALPHAS, BETAS
from ctckit.text import letter_errors, word_errors


def decoder(**options: Any) -> Decoder:
    return printed.with_language(2, **{"beam_width": 10, "exact_scores": False, **options})


def tuned(lines: list[printed.Line], **options: object) -> Tuned:
    given = options.pop("decoder", None) or decoder()
    return tune(given, [line.log_probs for line in lines], [line.text for line in lines], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["words", "letters"])
def test_errors_are_those_of_the_weights(unit: str) -> None:
    lines = printed.lines("develop")[:4]
    found = tuned(lines, unit=unit)
    assert {trial[:2] for trial in found.trials} >= {(alpha, beta) for alpha in ALPHAS for beta in BETAS}
    assert (found.decoder.alpha, found.decoder.beta) == found.chosen[:2]
    assert found.before[:2] == (0.5, 1.0)
    count = word_errors if unit == "words" else letter_errors
    assert found.without == printed.errors_of(Decoder(printed.LABELS, beam_width=10).decode, lines, count)
    for trial in (found.chosen, found.before, found.trials[7]):
        tried = decoder().with_weights(alpha=trial.alpha, beta=trial.beta)
        assert trial.errors == printed.errors_of(tried.decode, lines, count)


def test_own_weights_are_kept_where_no_others_are_better() -> None:
    lines = printed.lines("develop")[:3]
    best = min(tuned(lines).trials, key=lambda trial: trial.errors.total)
    own = decoder(alpha=best.alpha, beta=best.beta)
    assert tuned(lines, decoder=own).chosen[:2] == best[:2]


def test_wrong_weights_are_left() -> None:
    """A model with too large a weight, and a reward for words that makes too many of them."""
    lines = printed.lines("develop")[:8]
    for alpha, beta in ((3.0, -2.0), (0.0, 12.0)):
        found = tuned(lines, decoder=decoder(alpha=alpha, beta=beta))
        assert found.chosen.errors.total < found.before.errors.total / 2
        least = min(trial.errors.total for trial in found.trials)
        assert least <= found.chosen.errors.total <= least + 8  # one standard error, of eight lines


@pytest.mark.long
def test_chosen_weights_are_better_on_lines_kept_apart() -> None:
    """Chosen on lines of docstrings; lines of the Language Reference are kept apart."""
    kept_apart = [*printed.lines("test"), *printed.lines("develop")]
    own = printed.with_language()
    found = tuned(printed.lines("calibrate"), decoder=own)
    errors = printed.errors_of(found.decoder.decode, kept_apart)
    assert errors.total < printed.errors_of(own.decode, kept_apart).total


def test_a_language_that_makes_it_worse_says_why() -> None:
    """Texts whose words are not in the lexicon, so each is replaced by another word."""
    lines = printed.lines("develop")[:6]
    spoken = {word for line in lines for word in line.text.split()}
    few = [word for word in printed.lexicon() if word not in spoken][:300]
    sure = [line.log_probs * 3 for line in lines]
    given = Decoder(printed.LABELS, lexicon=few, beam_width=10)
    found = tune(given, sure, [line.text for line in lines])
    worse, unknown = found.notes
    rate, plain = found.chosen.errors.rate, found.without.rate
    assert rate > plain
    assert worse == f"the language makes it worse: {rate:.1%} of the words are wrong with it, {plain:.1%} without"
    assert unknown.startswith("100% of the texts' words are unknown, such as '")
    assert tuned(printed.lines("develop")[:6]).notes == ()


def test_what_labels_cannot_spell_is_said() -> None:
    log_probs = np.log(np.full((4, 3), 1 / 3))
    found = tune(Decoder(["<blank>", "|", "a"], lexicon=["a"]), log_probs, ["a 7 8 9"])
    assert found.notes[-1] == "the labels can't spell 75% of the texts' words, such as '7', '8', '9'"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_picture_has_all_rates_and_both_weights(lang: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    found = tuned(printed.lines("develop")[:3])
    picture = found.picture(lang)
    check_texts(picture)
    shown = texts(picture.svg())
    for trial in found.trials:
        if trial.alpha in ALPHAS and trial.beta in BETAS:
            assert f"{trial.errors.rate:.1%}" in shown
    assert any(f"{found.chosen.alpha:g}" in text and f"{found.chosen.beta:g}" in text for text in shown)
    assert any(f"{found.without.rate:.1%}" in text for text in shown)


def test_bad_calls() -> None:
    scores = np.log(np.full((4, 3), 1 / 3))
    given = Decoder(["<blank>", "|", "a"], lexicon=["a"])
    with pytest.raises(CTCError, match="decoder has no language model and no lexicon: there are no weights to choose"):
        tune(Decoder(["<blank>", "|", "a"]), scores, ["a"])
    with pytest.raises(CTCError, match=r"texts has 2 texts and log_probs has 1 sample: expected a text"):
        tune(given, scores, ["a", "a"])
    with pytest.raises(CTCError, match="texts is one string: expected a list of texts"):
        tune(given, scores, "a")
    with pytest.raises(CTCError, match="unit = 'word' is unknown: expected"):
        tune(given, scores, ["a"], unit="word")  # type: ignore[arg-type]
