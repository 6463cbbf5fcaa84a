"""The options of a language, for ``decode`` and ``explain --search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..language.graph import UNKNOWN_SCORE

ModelFile = Annotated[
    Path | None, typer.Option("--lm", help="An n-gram model of words or labels: .arpa, .arpa.gz, .ngram, KenLM's.")
]
LexiconFile = Annotated[
    Path | None,
    typer.Option(help="The allowed words: one per line, or a word and the labels that spell it, as in torchaudio."),
]
HotwordFile = Annotated[
    Path | None, typer.Option(help="Phrases to boost: one per line, or a phrase, a tab and its weight in nats.")
]
Alpha = Annotated[float, typer.Option(help="The weight of the language model.")]
Beta = Annotated[float, typer.Option(help="Nats for each word, with a language model or a lexicon.")]
UnknownScore = Annotated[
    float | None,
    typer.Option(
        help="Nats of a word that the lexicon or model lacks; -inf allows none. By default -inf with a lexicon, "
        f"else {UNKNOWN_SCORE:g}.",
    ),
]
HotwordWeight = Annotated[float, typer.Option(help="Nats of hotwords without a weight of their own.")]
