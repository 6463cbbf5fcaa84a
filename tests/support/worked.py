"""Three frames of a blank, a and b, and bigrams of a and b: small enough to be computed by hand."""

from __future__ import annotations

import io
import math

import numpy as np

from ctckit.language import LanguageModel

from . import ngrams

LOG_PROBS = np.log([[0.3, 0.4, 0.3], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])  # class 0 is the blank
PROBABILITIES = {"ab": 0.232, "a": 0.21, "b": 0.21, "ba": 0.144, "aa": 0.048, "bb": 0.048}
# P(a), P(b), P(</s>) after each of these.
FOLLOWING = {"<s>": (0.8, 0.1, 0.1), "a": (0.2, 0.7, 0.1), "b": (0.3, 0.4, 0.3)}
ALPHA, BETA = 0.5, 1.0
# ln of the probability + ALPHA * ln P of the model + BETA for each token: the best four.
SCORES = {"ab": -0.352914, "a": -1.823512, "b": -2.313927, "aba": -2.367425}


def bigrams() -> LanguageModel:
    single = {("<unk>",): (-99.0, None), ("<s>",): (-99.0, 0.0)}
    double = {}
    for before, row in FOLLOWING.items():
        for word, probability in zip(("a", "b", "</s>"), row, strict=True):
            single[word,] = (-1.0, 0.0)
            double[before, word] = (math.log10(probability), None)
    return LanguageModel.read(io.BytesIO(ngrams.arpa_text([single, double]).encode()))
