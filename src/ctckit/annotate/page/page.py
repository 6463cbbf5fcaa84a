"""The page of recordings: explanation/page with one widget more, and what is said above.

May import data.py, picture.py, explanation/page/ and catalogue/.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files

from ...catalogue import LANGUAGES, words
from ...explanation.page import Addition, Block, Prose, Widget, page
from ..picture import UNSURE
from .data import Clip, Shown, recording_data

Texts = dict[str, str]  # one in each language


def recordings_page(
    shown: Sequence[Shown], lang: str = "en", *, title: Texts | None = None, blocks: Sequence[Block] = ()
) -> str:
    """Recordings or lines with their texts, as one HTML file that loads nothing. A click on a word plays it.

    Args:
        shown: the recordings.
        lang: the language that the page opens in, "en" or "zh"; it can be switched there.
        title: by default the name of the first.
        blocks: what follows them.

    Raises:
        CTCError: the language is unknown, or a recording does not fit on a page.
        MissingExtraError: its sound can't be packed or drawn, for want of a package.
    """
    return page(
        title or dict.fromkeys(LANGUAGES, shown[0].name),
        [about(shown), *widgets(shown), *blocks],
        lang,
        addition=addition(),
    )


def addition() -> Addition:
    """What the widgets of recordings need."""
    script, style = ((files(__package__) / f"recording.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    return Addition(script, style, {lang: words("recordings", lang) for lang in LANGUAGES})


def widgets(shown: Sequence[Shown]) -> list[Block]:
    """A widget for each recording."""
    return [Widget("recording", recording_data(each)) for each in shown]


def about(shown: Sequence[Shown]) -> Prose:
    """How to use the page, and what its times are."""
    return Prose({lang: "\n".join(f"<p>{html.escape(line)}</p>" for line in _about(shown, lang)) for lang in LANGUAGES})


def _about(shown: Sequence[Shown], lang: str) -> list[str]:
    say = words("recordings", lang)
    space = {"en": " ", "zh": ""}[lang]  # between sentences
    heard = [each for each in shown if isinstance(each.strip, Clip)]
    kind = "lead" if heard else "lead_print"
    late, stretched = (_facts(heard, name) for name in ("delay", "stretch"))
    of_time = [say["late"].format(seconds=f"{value:.2f}") for value in late]
    of_time += [say["stretched"].format(seconds=f"{value:.2f}") for value in stretched]
    lead = [say[kind], say["shades"].format(limit=UNSURE)]
    return [space.join(sentences) for sentences in (lead, of_time) if sentences]


def _facts(shown: Sequence[Shown], name: str) -> list[float]:
    """The different values that the recordings have of a fact, without those that don't have it."""
    return list(dict.fromkeys(each.found.facts[name] for each in shown if name in each.found.facts))
