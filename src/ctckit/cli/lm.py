"""``ctckit lm``: describes a language model, writes it in another form, and scores texts."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CTCError
from .command import print_notes

if TYPE_CHECKING:
    from ..language import LanguageModel, WordScore

STDIN = Path("-")
SHOWN = 5  # how many unknown words are named


def lm(
    model: Annotated[
        Path, typer.Argument(help="ARPA (.arpa, .arpa.gz), .ngram, or a binary file of KenLM's; the content decides.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write it as .ngram, which opens in no time, or as .arpa or .arpa.gz."),
    ] = None,
    score: Annotated[
        Path | None, typer.Option(help="Score the lines of this text file; - for the standard input.")
    ] = None,
) -> None:
    """Describes an n-gram model; writes it in another form; scores texts.

    A text's score is ln P in nats, with the start and the end of a sentence.
    Exits with 2 for a file that can't be used.
    """
    from ..files import decoded, read_text
    from ..language import LanguageModel

    if out is not None and os.path.realpath(out) == os.path.realpath(model):
        raise CTCError(f"{out} is an input, and would be overwritten: choose another name")
    read = LanguageModel.read(model)
    texts = []
    if score == STDIN:
        texts = decoded(sys.stdin.buffer.read(), "the standard input").splitlines()
    elif score is not None:
        texts = read_text(score).splitlines()
    print_notes(read.notes)
    if out is not None:
        read.save(out)
    if score is None:
        words = read.native.num_words
        print(f"{read.order}-gram model of {words} words: " + ", ".join(map(_counted, read.counts, range(1, 99))))
    else:
        _print_scores(read, texts)
    if out is not None:
        print(f"wrote {out}", file=sys.stderr if score is not None else sys.stdout)


def _counted(count: int, order: int) -> str:
    return f"{count} {order}-gram{'s' * (count != 1)}"


def _print_scores(model: LanguageModel, texts: Sequence[str]) -> None:
    """Prints a line for each text, with its score, a tab and the text; then the total and the unknown words."""
    words: list[WordScore] = []
    for text in texts:
        found = model.words(text)
        print(f"{math.fsum(each.score for each in found):.4f}\t{text}")
        words += found
    total = math.fsum(word.score for word in words)
    print(f"{len(texts)} texts of {len(words) - len(texts)} words: {total:.4f} nats, {_perplexity(words)}")
    unknown = list(dict.fromkeys(word.word for word in words if not word.known))
    if unknown:
        count, named = sum(not word.known for word in words), ", ".join(map(repr, unknown[:SHOWN]))
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        print(f"unknown to the model: {count} of the words: {named}{more}")
        print(f"without them {_perplexity([word for word in words if word.known])}")


def _perplexity(words: Sequence[WordScore]) -> str:
    """The perplexity of words, where the end of each text counts as a word."""
    if not words:
        return "no perplexity"
    mean = -math.fsum(word.score for word in words) / len(words)
    return f"perplexity {math.exp(mean):.4g}" if mean < 700 else f"perplexity e^{mean:.4g}"
