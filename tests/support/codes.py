"""The codes of faults that only decoding has. tests/decoding raises each of them; tests/diagnosis all the others."""

from __future__ import annotations

DECODING = frozenset(
    {
        "chunk-shape",
        "classes-differ",
        "model-above-zero",
        "model-not-finite",
        "model-shape",
        "model-too-sure",
        "nbest-beyond-beam",
        "no-language",
        "no-scores-kept",
        "not-a-model",
        "not-hotwords",
        "not-words",
        "number-out-of-range",
        "one-frame-each",
        "one-text",
        "probabilities",
        "stream-finished",
        "texts-not-samples",
        "token-beyond-model",
        "word-too-precious",
    }
)
