"""The page: computations to walk through and change, and prose, figures and code around them, as one HTML file.

Everything is in the file, so that it opens without a network, and its own policy lets no request out. The numbers on it
are computed by its script (computation.js), which reads the lattice's arcs from the page's data. May import blocks.py,
data.py, numbers.py, beam.py, wording.py and what lies below them; views/ when a search is drawn.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from ...catalogue import LANGUAGES, words
from ...drawing.colors import PALETTE
from ...drawing.text import number, shortened
from ...validate import check_language
from ..beam import Search
from ..numbers import Computation
from ..wording import Counted, answers, legend, notes
from .blocks import (
    Addition,
    Block,
    Code,
    Collapsing,
    Exercise,
    Exercises,
    Figure,
    Interactive,
    Prose,
    Section,
    Texts,
    Widget,
)
from .data import LONG_TITLE, computation_data, is_large, search_data, word_data

# Each needs those before it.
SCRIPTS = (
    *("words.js", "boxes.js", "collapse.js", "frames.js", "scores.js"),
    *("computation.js", "scene.js", "drawing.js", "heatmap.js"),
    *("own_path.js", "paths.js", "widget.js", "recogniser.js", "word_widget.js"),
    *("search.js", "tree.js", "search_widget.js"),
    "exercises.js",
    "page.js",
)
PLAIN = (*SCRIPTS[:2], SCRIPTS[-1])  # for pages without computations
MOST_PICTURES = 8  # of a search with a language
LEAST = 0.6  # of a picture's size: made smaller, its text could not be read, so it scrolls instead
NARROW = 560  # pixels: two such pictures stand side by side
FEWEST_LISTED = 3  # sections that a table of contents is for


def page(
    title: Texts, blocks: Sequence[Block], lang: str, *, follows: bool = False, addition: Addition | None = None
) -> str:
    """One whole HTML file.

    Args:
        title: plain text in each language; the tab's title and the heading.
        blocks: what follows, from top to bottom.
        lang: the language that the page opens in, "en" or "zh"; it can be switched there.
        follows: whether the title then follows the first computation, as it is changed.
        addition: what the widgets among the blocks need.

    Raises:
        CTCError: the language is unknown.

    Example:
        >>> text = page({"en": "A & B", "zh": "甲与乙"}, [Code("print(1)", "1")], "en")
        >>> "<title>A &amp; B</title>" in text, "<pre><code>print(1)</code></pre>" in text
        (True, True)
    """
    check_language(lang)
    added = addition or Addition("", "", {other: {} for other in LANGUAGES})
    own = SCRIPTS if any(isinstance(block, Interactive | Collapsing | Exercises) for block in blocks) else PLAIN
    scripts = [*map(_package_file, own[:-1]), added.script, _package_file(own[-1])]
    parts = {
        "lang": lang,
        "title": _escaped(title[lang]),
        "style": PALETTE + _package_file("page.css") + added.style,
        "heading": _in_each_language("h1", {other: _escaped(title[other]) for other in LANGUAGES}),
        "skip": _in_each_language(
            "a", {other: words("page", other)["skip"] for other in LANGUAGES}, ' class="skip" href="#main"'
        ),
        "contents": _contents(blocks),
        "blocks": "\n".join(_block(block, number) for number, block in enumerate(blocks)),
        "without_script": _in_each_language(
            "p", {other: words("page", other)["without_script"] for other in LANGUAGES}
        ),
        "words": _json({other: {**_words(other), **added.words[other]} for other in LANGUAGES}),
        "titles": _json(None if follows else {other: title[other] for other in LANGUAGES}),
        "script": "\n".join(scripts),
    }
    return re.sub(r"@@(\w+)@@", lambda marker: parts[marker[1]], _package_file("page.html"))


def explanation_page(computation: Computation, *, own_word: bool = False) -> str:
    """One explanation as a page of its own; with `own_word` another word can be typed, unless this one is very long.

    Example:
        >>> import ctckit
        >>> explanation = ctckit.explain([[-2.2892, -0.1069], [-1.6550, -0.2121]], [1])
        >>> "<title>1: loss 0.0196</title>" in explanation_page(explanation)
        True
    """
    own_word = own_word and not is_large(computation)
    target = shortened(computation.text(computation.target), LONG_TITLE)
    loss = "∞" if math.isinf(computation.loss) else number(computation.loss, 4)

    def said(key: str) -> Texts:
        return {lang: words("page", lang)[key].format(target=target, loss=loss) for lang in LANGUAGES}

    nothing = "title_of_nothing" if computation.is_ctc else "title_of_lattice"
    lead = said("lead_word" if own_word else "lead" if computation.is_ctc else "lead_lattice")
    title = said("title" if target else nothing)
    return page(title, [Interactive(computation, lead, own_word)], computation.lang, follows=True)


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
    """What the script says: the page's own words, and those of searches and weights, which pictures say too."""
    own = ("search.", "graph.entry", "graph.frame")
    shared = {key: text for key, text in words("explanation", lang).items() if key.startswith(own)}
    return {**words("page", lang), **shared}


def _contents(blocks: Sequence[Block]) -> str:
    """The table of contents, if there are sections enough; the number of a block is its address."""
    sections = [(number, block.title) for number, block in enumerate(blocks) if isinstance(block, Section)]
    if len(sections) < FEWEST_LISTED:
        return ""
    listed = {
        lang: "".join(f'<li><a href="#{number}">{_escaped(title[lang])}</a></li>' for number, title in sections)
        for lang in LANGUAGES
    }
    entries = {lang: f"<h2>{words('page', lang)['contents']}</h2><ol>{listed[lang]}</ol>" for lang in LANGUAGES}
    return _in_each_language("nav", entries, ' class="contents"')


def _block(block: Block, number: int) -> str:
    """One block as HTML."""
    if isinstance(block, Section):
        title = {lang: _escaped(block.title[lang]) for lang in LANGUAGES}
        return f'<div class="section" id="{number}">{_in_each_language("h2", title)}</div>'
    if isinstance(block, Prose):
        return _in_each_language("div", block.html, ' class="prose"')
    if isinstance(block, Code):
        output = f'<pre class="output">{_escaped(block.output)}</pre>' if block.output else ""
        return f'<div class="program"><pre><code>{_escaped(block.text)}</code></pre>{output}</div>'
    if isinstance(block, Figure):
        return _figure(block, number)
    if isinstance(block, Exercises):
        return "\n".join(map(_exercise, block.exercises))
    lead = ""
    if not isinstance(block, Widget):
        caption = {lang: _escaped(block.caption[lang]) for lang in LANGUAGES}
        lead = _in_each_language("p", caption, ' class="lead"')
    kind, data = _widget(block)
    return f'<section class="block">{lead}\n<div class="widget" data-kind="{kind}">{_data(data)}</div></section>'


def _figure(figure: Figure, number: int) -> str:
    drawn = {lang: _with_own_ids(svg, f"block{number}-{lang}-") for lang, svg in figure.svg.items()}
    caption = {lang: _escaped(text) for lang, text in figure.caption.items()}
    heading = {lang: _escaped(text) for lang, text in (figure.heading or {}).items()}
    width = _width(figure.svg["en"])
    kind = "drawing wide" if figure.is_wide else "drawing"
    parts = [
        _in_each_language("h3", heading) if heading else "",
        _in_each_language("div", drawn, f' class="{kind}" style="--least: {round(LEAST * width)}px"'),
        _in_each_language("figcaption", caption),
    ]
    return f"<figure{' class=narrow' if 0 < width <= NARROW else ''}>{''.join(parts)}</figure>"


def _width(svg: str) -> float:
    """A picture's width in pixels; 0 if it does not say."""
    width = re.search(r'<svg[^>]* width="([\d.]+)(pt)?', svg)
    return 0 if width is None else float(width[1]) * (4 / 3 if width[2] else 1)


def _widget(block: Interactive | Collapsing | Widget) -> tuple[str, Any]:
    """Which of the script's widgets shows a block, and what it needs."""
    if isinstance(block, Widget):
        return block.kind, block.data
    if isinstance(block, Collapsing):
        return "collapsing", {"examples": block.examples}
    if isinstance(block.shown, Search):
        return "search", search_data(block.shown)
    return ("word", word_data(block.shown)) if block.own_word else ("computation", computation_data(block.shown))


def _exercise(exercise: Exercise) -> str:
    answer = {"answer": exercise.answer, "reason": exercise.reason, "reads": exercise.reads}
    question = _in_each_language("div", exercise.question, ' class="question"')
    return f'<form class="exercise">{question}{_data(answer)}</form>'


def _data(data: Any) -> str:
    return f'<script type="application/json">{_json(data)}</script>'


def _in_each_language(tag: str, texts: Mapping[str, str], attributes: str = "") -> str:
    """One element per language; the style sheet shows that of the page's language."""
    return "\n".join(f'<{tag}{attributes} lang="{lang}" data-lang="{lang}">{texts[lang]}</{tag}>' for lang in LANGUAGES)


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
