"""The real recogniser's kept outputs: running it again on newly drawn lines gives the same."""

import numpy as np
import pytest
from support import ppocr, printed
from support.installed import needs


@pytest.mark.long
@needs(*ppocr.PACKAGES)
def test_outputs_made_again_are_the_kept_ones() -> None:
    """Versions of Pillow and its font library draw a little differently, so some frames may differ."""
    recogniser, rng = ppocr.Recogniser(), np.random.default_rng(0)
    assert len(recogniser.labels) == 6625
    same = frames = 0
    for line in printed.lines("test"):
        again = recogniser.printed(line.text, line.noise, rng)
        frames += len(line.log_probs)
        if again.shape == line.log_probs.shape:
            likely = np.maximum(again, line.log_probs) > -5
            near = np.abs(again - line.log_probs) < printed.STEP / 2 + 0.02  # rounded; then normalised again
            same += int((near | ~likely).all(axis=1).sum())
    assert same / frames > 0.9
