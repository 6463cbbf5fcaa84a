"""Between text and classes: how a vocabulary spells and reads a text, and when the words of a transcript are said.

Everything that turns text into tokens or tokens into text uses it, so that it is done in one way only: alignment,
explanations, diagnosis, the demo. May import align.py and what lies below it; no framework.
"""

from __future__ import annotations

from .reading import Errors, letter_errors, word_errors
from .transcript import Line, Transcript, Word
from .vocabulary import Convention, Speller, Vocabulary

__all__ = [
    "Convention",
    "Errors",
    "Line",
    "Speller",
    "Transcript",
    "Vocabulary",
    "Word",
    "letter_errors",
    "word_errors",
]
