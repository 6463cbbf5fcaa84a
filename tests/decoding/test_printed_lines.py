"""The kept outputs of a real recogniser: what they are, and that the language holds none of their lines."""

import numpy as np
import pytest
from support import printed

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
        said = line.text.split()
        assert words.issuperset(said) == (part != "unknown")
        assert not any(f" {' '.join(said[n : n + 6])} " in language for n in range(max(len(said) - 5, 1)))


def test_parts_have_no_line_in_common() -> None:
    texts = [text for part in PARTS for text in {line.text for line in printed.lines(part)}]
    assert len(texts) == len(set(texts)) == 58 + 59 + 160 + 20
