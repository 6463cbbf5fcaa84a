"""The kept outputs of a real recogniser: their form, and that the language's texts do not contain their lines."""

import numpy as np
import pytest
from oracles import collapse
from support import printed

from ctckit.text import Errors, word_errors

PARTS = {"test": 116, "develop": 59, "calibrate": 160, "unknown": 20}


@pytest.mark.parametrize("part", PARTS)
def test_lines_are_normalised_and_held_out(part: str) -> None:
    lines = printed.lines(part)
    assert len(lines) == PARTS[part]
    language = " \n ".join(["", *printed.sentences(), ""])
    words = set(printed.lexicon())
    for line in lines:
        assert line.log_probs.shape[1] == len(printed.LABELS)
        np.testing.assert_allclose(np.exp(line.log_probs).sum(axis=1), 1, atol=1e-5)
    for said in {line.text: line.text.split() for line in lines}.values():  # each once
        assert words.issuperset(said) == (part != "unknown")
        assert not any(f" {' '.join(said[n : n + 6])} " in language for n in range(max(len(said) - 5, 1)))


def test_parts_have_no_line_in_common() -> None:
    texts = [text for part in PARTS for text in {line.text for line in printed.lines(part)}]
    assert len(texts) == len(set(texts)) == 58 + 59 + 160 + 20


@pytest.mark.parametrize(("noise", "rate"), [(0.6, 232 / 825), (0.65, 364 / 825)])
def test_how_hard_they_are(noise: float, rate: float) -> None:
    """The words that are wrong in the texts of each frame's best class."""
    errors = Errors()
    for line in printed.lines("test", noise):
        said = collapse(line.log_probs.argmax(axis=1).tolist(), 0)
        errors += word_errors(line.text, "".join(printed.LABELS[token] for token in said))
    assert errors.rate == pytest.approx(rate)
