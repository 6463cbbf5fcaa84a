"""The page: computations to walk through and change, and prose, figures and code around them, as one HTML file.

Everything is in the file, so that it opens without a network, and its own policy lets no request out. The numbers on it
are computed by its script (computation.js), which reads the lattice's arcs from the page's data. May import numbers.py,
beam.py, wording.py and what lies below them; views/ when a search is drawn.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from ...catalogue import LANGUAGES, words
from ...drawing.colors import PALETTE
from ...drawing.text import shortened
from ...lattice import MOVES, Arc
from ...validate import check_language
from ..beam import Search
from ..numbers import Computation
from ..wording import Counted, answers, counted, legend, notes

# Each needs those before it.
SCRIPTS = (
    *("words.js", "frames.js", "scores.js"),
    *("computation.js", "scene.js", "drawing.js", "heatmap.js", "widget.js"),
    *("search.js", "tree.js", "search_widget.js"),
    "page.js",
)
ALL_CLASSES = 40  # up to this number all classes are on the page
LONG_TITLE = 60  # characters of a target in a heading
MOST_PICTURES = 8  # of a search with a language
LIKELIEST = 12  # of more classes, those shown besides the lattice's own; the rest share one column


@dataclass(frozen=True)
class Prose:
    """Prose as HTML (trusted), in each language."""

    html: dict[str, str]


@dataclass(frozen=True)
class Figure:
    """A picture as SVG and its caption as plain text, in each language; a wide one keeps its size and scrolls."""

    svg: dict[str, str]
    caption: dict[str, str]
    is_wide: bool = False


@dataclass(frozen=True)
class Code:
    """A piece of a program, and what it prints."""

    text: str
    output: str


@dataclass(frozen=True)
class Interactive:
    """A computation or a search to walk through and change, and its caption as plain text in each language."""

    shown: Computation | Search
    caption: dict[str, str]


Block = Prose | Figure | Code | Interactive


def page(title: dict[str, str], blocks: Sequence[Block], lang: str) -> str:
    """One whole HTML file.

    Args:
        title: plain text in each language; the tab's title and the heading.
        blocks: what follows, from top to bottom.
        lang: the language that the page opens in, "en" or "zh"; it can be switched there.

    Raises:
        CTCError: the language is unknown.

    Example:
        >>> text = page({"en": "A & B", "zh": "甲与乙"}, [Code("print(1)", "1")], "en")
        >>> "<title>A &amp; B</title>" in text, "<pre><code>print(1)</code></pre>" in text
        (True, True)
    """
    check_language(lang)
    parts = {
        "lang": lang,
        "title": _escaped(title[lang]),
        "style": PALETTE + _package_file("page.css"),
        "heading": _in_each_language("h1", {other: _escaped(title[other]) for other in LANGUAGES}),
        "blocks": "\n".join(_block(block, number) for number, block in enumerate(blocks)),
        "without_script": _in_each_language(
            "p", {other: words("page", other)["without_script"] for other in LANGUAGES}
        ),
        "words": _json({other: _words(other) for other in LANGUAGES}),
        "titles": _json({other: title[other] for other in LANGUAGES}),
        "script": "\n".join(map(_package_file, SCRIPTS)),
    }
    return re.sub(r"@@(\w+)@@", lambda marker: parts[marker[1]], _package_file("page.html"))


def explanation_page(computation: Computation) -> str:
    """One explanation as a page of its own.

    Example:
        >>> import ctckit
        >>> explanation = ctckit.explain([[-2.2892, -0.1069], [-1.6550, -0.2121]], [1])
        >>> "<title>1: loss 0.0196</title>" in explanation_page(explanation)
        True
    """
    target = shortened(computation.text(computation.target), LONG_TITLE)
    loss = "∞" if math.isinf(computation.loss) else f"{computation.loss:.4f}"

    def said(key: str) -> dict[str, str]:
        return {lang: words("page", lang)[key].format(target=target, loss=loss) for lang in LANGUAGES}

    nothing = "title_of_nothing" if computation.is_ctc else "title_of_lattice"
    lead = said("lead" if computation.is_ctc else "lead_lattice")
    return page(said("title" if target else nothing), [Interactive(computation, lead)], computation.lang)


def search_page(search: Search) -> str:
    """One search as a page of its own: to change, or with a language as pictures, since no model is on a page.

    Example:
        >>> from ctckit.explanation import TWO_FRAMES, explain_search
        >>> "<title>The search finds: a</title>" in search_page(explain_search(TWO_FRAMES, labels=["φ", "a"]))
        True
    """
    text = "–" if search.best is None else shortened(search.text(search.best.text.tokens), LONG_TITLE)
    title = {lang: words("page", lang)["search_title"].format(text=text) for lang in LANGUAGES}
    if search.only_ctc:
        lead = {lang: words("page", lang)["search_lead"] for lang in LANGUAGES}
        return page(title, [Interactive(search, lead)], search.lang)
    return page(title, _pictures(search), search.lang)


def _pictures(search: Search) -> list[Block]:
    """What was found, and the tree in as many pictures as it takes."""
    from ..views.tree import MOST_FRAMES, tree

    blocks: list[Block] = [Prose({lang: _about_pictures(search.in_language(lang)) for lang in LANGUAGES})]
    starts = range(0, search.frames, MOST_FRAMES)
    for first in starts[:MOST_PICTURES]:
        frames = {"first": first + 1, "last": min(search.frames, first + MOST_FRAMES), "frames": search.frames}
        caption = {lang: words("page", lang)["search_pictures"].format(**frames) for lang in LANGUAGES}
        drawn = {lang: tree(search.in_language(lang), first, alone=False).svg(themed=True) for lang in LANGUAGES}
        blocks.append(Figure(drawn, caption, is_wide=True))
    if starts[MOST_PICTURES:]:
        more = Counted(search.frames - starts[MOST_PICTURES])
        told = {lang: words("page", lang)["search_more"].format(n=more) for lang in LANGUAGES}
        blocks.append(Prose({lang: f"<p>{told[lang]}</p>" for lang in LANGUAGES}))
    return blocks


def _about_pictures(search: Search) -> str:
    """What is written above the pictures of a search, as HTML."""
    say = words("page", search.lang)
    space = {"en": " ", "zh": ""}[search.lang]  # between sentences
    lead = space.join((say["search_lead"], say["search_language"]))
    shown = {kind: _escaped(text) for kind, text in {"lead": lead, **answers(search)}.items()}
    shown["legend"] = "".join(f'<span class="{kind}">{_escaped(text)}</span>' for kind, text in legend(search).items())
    shown["hint"] = _escaped(space.join(notes(search)))
    return "\n".join(f'<p class="{kind}">{line}</p>' for kind, line in shown.items())


def _words(lang: str) -> dict[str, str]:
    """What the script says: the page's own words, and those of searches, which pictures say too."""
    shared = {key: text for key, text in words("explanation", lang).items() if key.startswith("search.")}
    return {**words("page", lang), **shared}


def _block(block: Block, number: int) -> str:
    """One block as HTML."""
    if isinstance(block, Prose):
        return _in_each_language("div", block.html, "prose")
    if isinstance(block, Code):
        output = f'<pre class="output">{_escaped(block.output)}</pre>' if block.output else ""
        return f'<div class="program"><pre><code>{_escaped(block.text)}</code></pre>{output}</div>'
    caption = {lang: _escaped(block.caption[lang]) for lang in LANGUAGES}
    if isinstance(block, Figure):
        drawn = {lang: _with_own_ids(block.svg[lang], f"block{number}-{lang}-") for lang in LANGUAGES}
        return (
            f"<figure>{_in_each_language('div', drawn, 'drawing wide' if block.is_wide else 'drawing')}\n"
            f"{_in_each_language('figcaption', caption)}</figure>"
        )
    if isinstance(block.shown, Search):
        kind, data = "widget search", _search_data(block.shown)
    else:
        kind, data = "widget", _data(block.shown)
    return (
        f'<section class="block">{_in_each_language("p", caption, "lead")}\n'
        f'<div class="{kind}"><script type="application/json">{_json(data)}</script></div></section>'
    )


def _data(computation: Computation) -> dict[str, Any]:
    """What the script needs of a computation. Infinities are strings that JavaScript's Number() reads."""
    lattice = computation.lattice
    own = {*lattice.labels.tolist(), *(() if computation.blank is None else (computation.blank,))}
    shared, column_of = _columns(computation, own)
    return {
        **shared,
        "states": [column_of[c] for c in lattice.labels.tolist()],
        "tokens": lattice.tokens.tolist(),
        "arcs": lattice.arcs.tolist(),
        "moves": [[int(bit), back] for bit, back in ((Arc.STAY, 0), *MOVES)],
        "start": int(Arc.START),
        "end": int(Arc.END),
        "entryCosts": [_number(cost) for cost in computation.entry_costs],
        "longArcs": [
            [source, to, _number(score)]
            for (source, to), score in zip(lattice.long_arcs.tolist(), lattice.long_arc_scores.tolist(), strict=True)
        ],
        "isCTC": computation.is_ctc,
        "framesNeeded": computation.frames_needed,
        "fromLogits": computation.from_logits,
        "score": _number(computation.score),
        "pathCount": counted(computation.path_count),
        "allPaths": len(computation.paths) == computation.path_count,
        "paths": [list(path.states) for path in computation.paths],
        "pathWeights": [_number(path.weight) for path in computation.paths],
    }


def _search_data(search: Search) -> dict[str, Any]:
    """What the script needs of a search without a language."""
    tokens = {c for step in search.steps for prefix in (*step.beam, *step.dropped) for c in prefix.tokens}
    shared, column_of = _columns(search, tokens.union(search.best_path.classes, [search.blank]))
    return {
        **shared,
        "blank": column_of[search.blank],
        "beamWidth": search.beam_width,
        "separated": search.long_labels,
    }


def _columns(shown: Computation | Search, own: set[int]) -> tuple[dict[str, Any], dict[int, int]]:
    """Labels and scores of the classes, and the column of each: if there are many, the rest share the last one.

    Args:
        shown: whose classes they are.
        own: classes that must have a column.
    """
    everything, rest = list(range(len(shown.labels))), []
    if len(everything) > ALL_CLASSES:
        height = shown.log_probs.max(axis=0, initial=-np.inf)
        others = [c for c in np.argsort(-height, kind="stable").tolist() if c not in own]
        kept = own.union(others[:LIKELIEST])
        rest = [c for c in everything if c not in kept]
        everything = sorted(kept)
    scores = shown.log_probs[:, everything]
    columns: list[dict[str, Any]] = [{"label": shown.labels[c], "class": c} for c in everything]
    if rest:
        scores = np.column_stack([scores, np.logaddexp.reduce(shown.log_probs[:, rest], axis=1)])
        columns.append({"rest": len(rest)})
    rows = [[_number(value) for value in row] for row in scores.tolist()]
    data = {"columns": columns, "frames": shown.frames, "logProbs": rows}
    return data, {c: i for i, c in enumerate(everything)}


def _number(value: float) -> float | str:
    """Nine digits: enough for a loss with a relative error below 1e-6, and long utterances stay small files."""
    return float(f"{value:.9g}") if math.isfinite(value) else "-Infinity" if value < 0 else "Infinity"


def _in_each_language(tag: str, texts: Mapping[str, str], name: str = "") -> str:
    """One element per language; the style sheet shows that of the page's language."""
    kind = f' class="{name}"' if name else ""
    return "\n".join(f'<{tag}{kind} lang="{lang}" data-lang="{lang}">{texts[lang]}</{tag}>' for lang in LANGUAGES)


def _with_own_ids(svg: str, prefix: str) -> str:
    """The <svg> element alone, with ids that no other picture on the page has."""
    named = r'\bid="|url\(#|href="#|aria-labelledby="'
    return re.sub(named, lambda found: found[0] + prefix, svg[svg.index("<svg") :])


def _escaped(text: str) -> str:
    """Plain text as HTML."""
    return html.escape(text)


def _json(value: Any) -> str:
    """JSON that is safe inside <script>: ASCII only, and without '<', which could end it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _package_file(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
