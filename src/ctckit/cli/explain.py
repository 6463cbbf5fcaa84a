"""``ctckit explain``."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CTCError
from ..language.hotwords import HOTWORD_WEIGHT
from .command import LabelFile, Logits, print_notes
from .language_options import Alpha, Beta, HotwordFile, HotwordWeight, LexiconFile, ModelFile, UnknownScore

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..annotate.decoded import Language
    from ..drawing.canvas import Picture as Drawn
    from ..explanation import Explanation, SearchExplanation


class Picture(str, Enum):
    """The pictures that an explanation can draw."""

    inputs = "inputs"
    rule1 = "rule1"
    rule2 = "rule2"
    rule3 = "rule3"
    paths = "paths"
    computation = "computation"
    occupancy = "occupancy"
    gradient = "gradient"
    alignment = "alignment"
    graph = "graph"
    tree = "tree"


def explain(
    word: Annotated[
        str | None, typer.Argument(help="A word, to see its paths and its loss, as a made-up recogniser gives it.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames for a word; by default two more than it needs.")] = None,
    log_probs: Annotated[
        Path | None, typer.Option(help="Scores (T, C): .npy, .npz, .csv, .pt, .pth or .safetensors.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The target: text if there are labels, else classes: 4,4,1.")
    ] = None,
    labels: LabelFile = None,
    blank: Annotated[
        int | None, typer.Option(help="The blank's class; found from the labels by default, else 0.")
    ] = None,
    from_logits: Logits = False,
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help="Instead of a target: how a text is searched for, in --log-probs or in an example of two frames.",
        ),
    ] = False,
    beam_width: Annotated[
        int | None,
        typer.Option("--beam", help="With --search: how many texts are kept from one frame to the next. Default 3."),
    ] = None,
    language_model: ModelFile = None,
    lexicon: LexiconFile = None,
    hotwords: HotwordFile = None,
    alpha: Alpha = 0.5,
    beta: Beta = 1.0,
    unknown_score: UnknownScore = None,
    hotword_weight: HotwordWeight = HOTWORD_WEIGHT,
    seed_page: Annotated[
        bool, typer.Option("--seed-page", help="The whole handbook page on CTCLoss, as HTML.")
    ] = False,
    picture: Annotated[
        Picture | None,
        typer.Option(help="Which picture to save as .svg, .png, .pdf or .html; without it, .html is the page."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A page (.html), or a picture; by default text is printed.")
    ] = None,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
) -> None:
    """Shows what the CTC loss does with an input, or how a text is searched for in it.

    In the terminal, as an interactive page, or as a picture. A search in --log-probs can use a language, as decode
    does: a language model, a lexicon, hotwords, and their weights.
    """
    from ..annotate.decoded import Language

    if sum((word is not None, log_probs is not None or search, seed_page)) != 1:
        raise CTCError("explain takes one of: a WORD, --log-probs with --target or --search, --search, or --seed-page")
    if target is not None and search:
        raise CTCError("--target and --search are both given: expected one of them")
    if beam_width is not None and not search:
        raise CTCError("--beam goes with --search")
    if log_probs is None and (target is not None or labels is not None or from_logits or blank is not None):
        raise CTCError("--target, --labels, --blank and --logits go with --log-probs, not with a WORD or --seed-page")
    language = Language(language_model, lexicon, hotwords, alpha, beta, unknown_score, hotword_weight)
    if language != Language() and (not search or labels is None):
        raise CTCError("--lm, --lexicon, --hotwords and their weights go with --search, --log-probs and --labels")
    if word is None and frames is not None:
        raise CTCError("--frames goes with a WORD")
    if picture is not None and (seed_page or out is None):
        raise CTCError("--picture goes with --out and the name of a picture: expected .svg, .png, .pdf or .html")
    if picture is not None and search != (picture is Picture.tree):
        raise CTCError(f"--picture {picture.value}: a search has one picture, tree, and nothing else has")
    if seed_page:
        return _write_seed_page(out or Path("ctc_loss.html"), lang)
    if search:
        width = 3 if beam_width is None else beam_width
        found = _search_file(log_probs, labels, blank, from_logits, language, width, lang)
        return _write(found, out, found.tree, is_page=picture is None)
    if word is not None:
        from ..explanation import explain_word

        explanation: Explanation = explain_word(word, frames, lang=lang)
    else:
        explanation = _explain_file(log_probs, target, labels, blank, from_logits, lang)
    _write(explanation, out, lambda: _draw(explanation, picture or Picture.computation), is_page=picture is None)


def _write(
    explanation: Explanation | SearchExplanation, out: Path | None, draw: Callable[[], Drawn], *, is_page: bool
) -> None:
    """Prints an explanation, or writes a picture of it, or its page if .html may be that."""
    if out is None:
        return print(explanation)
    if is_page and out.suffix.lower() in (".html", ".htm"):
        explanation.save(out)
    else:
        draw().save(out)
    print(f"wrote {out}")


def _write_seed_page(out: Path, lang: str) -> None:
    from ..explanation.seed_page import seed_page
    from ..files import write_whole

    if out.suffix.lower() not in (".html", ".htm"):
        raise CTCError(f"--out {out}: the seed page is HTML: expected a name that ends in .html")
    write_whole(out, seed_page(lang).encode())
    print(f"wrote {out}")


def _explain_file(
    log_probs: Path | None, target: str | None, labels: Path | None, blank: int | None, from_logits: bool, lang: str
) -> Explanation:
    """An explanation of scores in a file."""
    from ..annotate.recording import read_vocabulary
    from ..explanation import explain

    if target is None or log_probs is None:
        raise CTCError("--target is missing: expected text with --labels, or classes, such as --target 4,4,1")
    scores = _read_scores(log_probs, from_logits)
    if labels is not None:
        vocabulary = read_vocabulary(labels, blank, scores)
        explanation = explain(scores, target, labels=vocabulary, from_logits=from_logits, lang=lang)
        print_notes(vocabulary.notes + vocabulary.transcribe(target).notes)
        return explanation
    try:
        tokens = [int(token) for token in target.replace(",", " ").split()]
    except ValueError:
        raise CTCError(
            f"--target {target!r} is text, and there are no --labels to read it by: "
            "expected classes, such as 4,4,1, or a file of labels"
        ) from None
    return explain(scores, tokens, blank=0 if blank is None else blank, from_logits=from_logits, lang=lang)


def _search_file(
    log_probs: Path | None,
    labels: Path | None,
    blank: int | None,
    from_logits: bool,
    language: Language,
    beam_width: int,
    lang: str,
) -> SearchExplanation:
    """A search in a file's scores; without a file, in two frames."""
    from ..annotate.decoded import Decoders
    from ..annotate.recording import read_vocabulary
    from ..explanation import TWO_FRAMES, explain_search

    if log_probs is None:
        return explain_search(TWO_FRAMES, labels=["φ", "a"], beam_width=beam_width, lang=lang)
    scores = _read_scores(log_probs, from_logits)
    how: dict[str, Any] = {"beam_width": beam_width, "from_logits": from_logits, "lang": lang}
    if labels is None:
        return explain_search(scores, blank=0 if blank is None else blank, **how)
    vocabulary = read_vocabulary(labels, blank, scores)
    if not language.files:
        print_notes(vocabulary.notes)
        return explain_search(scores, labels=vocabulary, **how)
    decoders = Decoders(language)
    decoders.read()
    decoder = decoders.of(vocabulary)
    print_notes([*vocabulary.notes, *decoders.notes])
    return explain_search(scores, decoder, hotwords=decoders.hotwords, **how)


def _read_scores(log_probs: Path, from_logits: bool) -> npt.NDArray[np.floating]:
    """The scores of a file, unless it holds logits and they were not announced."""
    from ..annotate.recording import read_scores
    from ..diagnosis.kinds import kind_of

    scores = read_scores(log_probs)
    if not from_logits and kind_of(scores) == "logits":
        raise CTCError(f"{log_probs} holds scores that are not normalised, such as logits: pass from_logits=True")
    return scores


def _draw(explanation: Explanation, picture: Picture) -> Drawn:
    if picture.value.startswith("rule"):
        return explanation.rules()[int(picture.value[-1]) - 1]
    draw = {
        Picture.inputs: explanation.inputs,
        Picture.paths: explanation.example_paths,
        Picture.computation: explanation.computation,
        Picture.occupancy: explanation.occupancy,
        Picture.gradient: explanation.gradient,
        Picture.alignment: explanation.alignment,
        Picture.graph: explanation.graph,
    }
    drawn: Drawn = draw[picture]()
    return drawn
