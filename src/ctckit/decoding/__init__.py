"""From scores to text: the best path, and a beam search with a language.

Start reading at ``decoder.py``. May import text/, loss.py, align.py and what is below them; no framework.
"""

from __future__ import annotations

from .decoder import Decoder
from .greedy import greedy_decode
from .hypothesis import Hypotheses, Hypothesis, TimedWord
from .second_pass import by_prefix, rescore
from .stream import Stream
from .tuning import Trial, Tuned, tune

__all__ = [
    "Decoder",
    "Hypotheses",
    "Hypothesis",
    "Stream",
    "TimedWord",
    "Trial",
    "Tuned",
    "by_prefix",
    "greedy_decode",
    "rescore",
    "tune",
]
