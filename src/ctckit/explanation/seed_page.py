"""The page that this project began with, as a program: the inputs of the CTC loss, its rules, its computation.

Its inputs are drawn by torch, from the seed that the first page used; its code is run here, and its pictures are drawn
by views/, in both languages. May import all of the package below it, matplotlib and torch.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..catalogue import LANGUAGES, words
from ..drawing.canvas import Picture
from ..errors import MissingExtraError
from .explanation import Explanation, explain, explain_word
from .numbers import Path
from .page import Block, Code, Collapsing, Exercise, Exercises, Figure, Interactive, Prose, Section, page
from .search import TWO_FRAMES, explain_search
from .views.inputs import inputs
from .views.rules import rules
from .views.tables import computation, example_paths

PRINTED = [[-2.2892, -0.1069], [-1.6550, -0.2121]]  # the second example, as torch prints it
SHOWN_PATHS = ("φcatφφ", "ccccat")
COLLAPSING = (("cat", "ccaaat"), ("too", "ttoooo"), ("hi", "hheeii"), ("too", "tto_oo"), ("hi", "hh__ii"))

BY_HAND = """\
import math

def logsumexp(*scores):
    top = max(scores)
    return top + math.log(sum(math.exp(score - top) for score in scores))

φ1 = -2.2892 + -0.2121
_11 = -0.1069 + -0.2121
_1φ = -0.1069 + -1.6550
print(-logsumexp(_1φ, logsumexp(φ1, _11)))
"""

BY_LIBRARY = """\
import torch
import ctckit.torch

torch.manual_seed(666)
log_probs = torch.randn(2, 2).log_softmax(1)
length = int(torch.randint(low=1, high=2, size=()))
target = torch.randint(low=1, high=2, size=(length,))
print(log_probs)
print("ctckit", ctckit.torch.ctc_loss(log_probs, target, 2, length).item())
print("torch ", torch.nn.functional.ctc_loss(log_probs, target, torch.tensor(2), torch.tensor(length)).item())
"""

LARGER = """\
log_probs = torch.randn(50, 20).log_softmax(1).requires_grad_()  # drawn next from the same seed
length = int(torch.randint(low=1, high=50, size=()))
target = torch.randint(low=1, high=20, size=(length,))
loss = ctckit.torch.ctc_loss(log_probs, target, 50, length)
loss.backward()
print(length, "tokens, loss", loss.item(), "gradient", tuple(log_probs.grad.shape))
"""

INFEASIBLE = """\
import ctckit

word = [2, 5, 5]  # "see": needs four frames
print(ctckit.frames_needed(word), ctckit.ctc_loss([[-1.8] * 6] * 3, word, 3, 3))
print(ctckit.ctc_loss([[-1.8] * 6] * 3, word, 3, 3, zero_infinity=True))
"""


class Examples(NamedTuple):
    """The page's inputs: A, ten frames and five classes; B, two and two, as printed; and two words."""

    a: Explanation
    b: Explanation
    cat: Explanation
    see: Explanation


def examples(lang: str = "en") -> Examples:
    """The page's inputs, drawn anew.

    Raises:
        MissingExtraError: torch, which drew them, is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("The seed page, whose inputs torch draws,", "torch", error.name or "torch") from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(666)
        log_probs = torch.randn(10, 5).log_softmax(1)
        length = int(torch.randint(low=1, high=10, size=()))
        target = torch.randint(low=1, high=5, size=(length,)).tolist()
    return Examples(
        a=explain(log_probs, target, lang=lang),
        b=explain(PRINTED, [1], lang=lang),
        cat=explain_word("cat", 6, lang=lang),
        see=explain_word("see", 6, lang=lang),
    )


def seed_page(lang: str = "en") -> str:
    """The whole page as HTML, in both languages; `lang` is the one it opens in."""
    return page(_said("title"), _blocks(), lang)


def _blocks() -> list[Block]:
    """What is on the page, from top to bottom."""
    by_language = {lang: examples(lang) for lang in LANGUAGES}
    e = by_language["en"]
    by_hand, by_library, larger, infeasible = _run(BY_HAND, BY_LIBRARY, LARGER, INFEASIBLE)

    def figure(key: str, draw: Callable[[Examples], Picture]) -> Figure:
        svg = {lang: draw(by_language[lang]).svg(themed=True) for lang in LANGUAGES}
        heading = _said(f"{key}.heading") if f"{key}.heading" in words("seed_page", "en") else None
        return Figure(svg, _said(f"{key}.caption"), heading)

    return [
        _prose("intro"),
        *_section("naive"),
        Collapsing(COLLAPSING, _said("naive.caption")),
        *_section("inputs"),
        figure("inputs", lambda e: inputs(e.a, alone=False)),
        *_section("rules"),
        figure("rule1", lambda e: rules(e.cat, alone=False)[0]),
        figure("rule2", lambda e: rules(e.cat, alone=False)[1]),
        figure("rule3", lambda e: rules(e.see, alone=False)[2]),
        figure("rule4", lambda e: example_paths(e.cat, _shown_paths(e.cat), alone=False)),
        *_section("cat"),
        Interactive(e.cat, _said("cat.caption"), own_word=True),
        *_section("computation"),
        figure("computation", lambda e: computation(e.b, alone=False)),
        _prose("hand"),
        by_hand,
        _prose("library"),
        by_library,
        _prose("B"),
        Interactive(e.b, _said("B.caption")),
        *_section("gradient"),
        figure("occupancy", lambda e: e.a.occupancy()),
        figure("gradient", lambda e: e.a.gradient()),
        figure("alignment", lambda e: e.a.alignment()),
        _prose("A"),
        Interactive(e.a, _said("A.caption")),
        *_section("greedy"),
        Interactive(explain_search(TWO_FRAMES, labels=["φ", "a"]), _said("greedy.caption")),
        *_section("infeasible"),
        infeasible,
        *_section("exercises"),
        Exercises(_exercises()),
        *_section("call"),
        *_section("larger"),
        larger,
        *_section("more"),
    ]


def _section(key: str) -> tuple[Section, Prose]:
    return Section(_said(f"{key}.title")), _prose(key)


def _shown_paths(word: Explanation) -> list[Path]:
    return [path for spelt in SHOWN_PATHS for path in word.paths if word.spelled(path) == spelt]


def _exercises() -> tuple[Exercise, ...]:
    """Five questions, with answers from the library."""
    half = explain(np.log(np.full((2, 2), 0.5)), [1])
    answers: tuple[tuple[str, str | None], ...] = (
        ("hhi", None),
        ("se_e_", "see"),
        (str(explain_word("bookkeeper").frames_needed), None),
        (str(explain_word("a", 3).path_count), None),
        (f"{math.exp(half.score):g}", None),
    )
    return tuple(
        Exercise(_said(f"exercise{n}"), answer, _said(f"exercise{n}.reason"), reads)
        for n, (answer, reads) in enumerate(answers, 1)
    )


def _said(key: str) -> dict[str, str]:
    return {lang: words("seed_page", lang)[key] for lang in LANGUAGES}


def _prose(key: str) -> Prose:
    return Prose(_said(key))


def _run(*programs: str) -> list[Code]:
    """Runs programs one after the other in one namespace, and keeps what each prints."""
    import torch

    namespace: dict[str, Any] = {}
    done = []
    with torch.random.fork_rng(devices=[]):
        for program in programs:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(program, namespace)
            done.append(Code(program, printed.getvalue()))
    return done
