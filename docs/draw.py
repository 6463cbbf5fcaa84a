"""Draws the documentation's pictures with the library's own code: `python docs/draw.py`.

docs/images/seed/ has those of the inputs of the course that this project grew from, docs/images/other/ the same ones of
other inputs, docs/images/guide/ what else the guide shows. They are committed, so that they are seen wherever the pages
are; when the site is built, hooks.py draws them anew.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import ctckit
from ctckit.annotate.fit import Fit
from ctckit.annotate.picture import draw
from ctckit.annotate.recording import words_of
from ctckit.annotate.scan_picture import draw_page
from ctckit.annotate.scans import PageText
from ctckit.annotate.strips import Sound, read_strip, summarised
from ctckit.annotate.utterance import Aligned, Options, align
from ctckit.catalogue import LANGUAGES
from ctckit.decoding.tuning import ALPHAS, BETAS
from ctckit.decoding.tuning.picture import weights_picture
from ctckit.drawing.canvas import Picture, new_figure, themed_axes
from ctckit.drawing.colors import BLUE, GRID, INK, ORANGE
from ctckit.drawing.text import families
from ctckit.explanation import TWO_FRAMES, explain_word
from ctckit.explanation.seed_page import SHOWN_PATHS, examples
from ctckit.explanation.views.tables import example_paths
from ctckit.files import write_whole
from ctckit.recognisers import Place
from ctckit.recognisers.media import read_image
from ctckit.text import Vocabulary

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "bench" / "results"
NARROW = np.log([[0.3, 0.4, 0.3], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])  # a beam of 3 loses the best text here
FEW = 10  # words: shares of fewer say nothing
COLORS = 64  # of a PNG: enough for text and thin lines, at a third of the size

Pictures = dict[str, Picture]


def seed(lang: str) -> Pictures:
    """The course's own inputs: a random matrix, the words cat and see, and the smallest loss worth computing."""
    a, b, cat, see = examples(lang)
    skip, moves, _ = cat.rules()
    chosen = [path for text in SHOWN_PATHS for path in cat.paths if cat.spelled(path) == text]
    return {
        "inputs": a.inputs(),
        "rule-skip": skip,
        "rule-moves": moves,
        "rule-repeat": see.rules()[2],
        "paths": example_paths(cat, chosen),
        "computation": b.computation(),
    }


def other(lang: str) -> Pictures:
    """The same pictures of other inputs."""
    hello = explain_word("hello", 8, lang=lang)
    skip, moves, repeat = hello.rules()
    return {
        "inputs": explain_word("no", 8, lang=lang).inputs(),
        "rule-skip": skip,
        "rule-moves": moves,
        "rule-repeat": repeat,
        "paths": hello.example_paths(),
        "computation": explain_word("no", 3, lang=lang).computation(),
    }


def guide(lang: str) -> Pictures:
    """A larger input, two searches, what a language's weights do, and how exact the numbers are."""
    hello = explain_word("hello", 24, lang=lang)
    return {
        "alignment": hello.alignment(),
        "occupancy": hello.occupancy(),
        "gradient": hello.gradient(),
        "alpha": hello.computation(),
        "lattice": star(lang).graph(),
        "search": ctckit.explain_search(TWO_FRAMES, labels=["φ", "a"], lang=lang).tree(),
        "search-narrow": ctckit.explain_search(NARROW, labels=["φ", "a", "b"], lang=lang).tree(),
        "words-in-time": words_in_time(lang),
        "speech": speech(lang),
        "page": page(lang),
        "confidence": confidence(lang),
        "weights": weights(lang),
        "error-by-frames": error_by_frames(lang),
        "variants": variants(lang),
    }


def star(lang: str) -> ctckit.Explanation:
    """Something else may be said between two tokens, and tokens gain by coming early."""
    log_probs = np.log([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    lattice = ctckit.ctc_lattice([1, 2]).with_stars(3, 0.5, before=False, after=False)
    delays = ctckit.delay_scores(lattice, 0.1)
    scores = ctckit.with_star(log_probs)
    return ctckit.explain(scores, lattices=lattice, labels=["φ", "c", "a", "★"], state_scores=delays, lang=lang)


def words_in_time(lang: str) -> Picture:
    """A sentence with its sound, which is made up too: each letter has a chord of its own."""
    rate, frame_shift = 8000, 0.02
    output = explain_word("the cat sat", 66, lang=lang)
    aligned = align(output.log_probs, "The cat sat.", Vocabulary(output.labels, 0), frame_shift, Options(extend=2))
    times = np.arange(round(aligned.duration * rate)) / rate
    sound = 0.003 * np.random.default_rng(0).normal(size=len(times))
    for token in (token for word in words_of(aligned.lines) for token in word.parts):
        inside = (times > token.start) & (times < token.end)
        loudness = np.hanning(inside.sum())
        for overtone in range(1, 5):
            pitch = (150 + 45 * output.labels.index(token.text.lower())) * overtone
            sound[inside] += loudness * np.sin(2 * np.pi * pitch * times[inside]) / overtone
    strip = summarised([sound.astype(np.float32)], rate)
    return draw(aligned, output.log_probs, output.labels, strip=strip, width=660, lang=lang)


def speech(lang: str) -> Picture:
    """A real recording with its words and phones, as recognise.py heard them."""
    rows = recognised("speech")
    recording = DOCS.parent / "tests" / "data" / "goforward.flac"
    sound = read_strip(recording, None)
    assert isinstance(sound, Sound)
    lines = lines_of(rows)
    heard = Aligned(lines, sound.seconds, (), np.zeros(0, np.int32), Fit(0.0, ""))
    return draw(heard, strip=sound, width=660, lang=lang)


def page(lang: str) -> Picture:
    """A page with its words, as recognise.py read them."""
    rows = recognised("page")
    lines = lines_of(rows)
    places = [
        Place(line.start, float(row["top"]), line.end, float(row["bottom"]))
        for line, row in zip(lines, (row for row in rows if row["level"] == "line"), strict=True)
    ]
    pixels = read_image(DOCS / "recognised" / "page.png")
    return draw_page(PageText(lines, places, pixels.shape[1], (), {}), pixels, lang=lang)


def recognised(name: str) -> list[dict[str, str]]:
    """The rows of a file that recognise.py made."""
    with (DOCS / "recognised" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(rows: list[dict[str, str]]) -> list[ctckit.Segment]:
    """The lines of a table, with their words and tokens."""
    found: dict[tuple[str, ...], ctckit.Segment] = {}
    keys = [tuple(row[part] for part in ("line", "word", "token") if row[part]) for row in rows]
    for key, row in reversed(list(zip(keys, rows, strict=True))):  # parts before what they are parts of
        parts = tuple(found[other] for other in keys if other[:-1] == key)
        numbers = (float(row[name]) for name in ("start", "end", "score", "confidence"))
        found[key] = ctckit.Segment(row["text"], *numbers, parts)
    return [found[key] for key in keys if len(key) == 1]


def error_by_frames(lang: str) -> Picture:
    """The error of float32 gradients by number of frames, as bench/error_by_frames.py measured it."""
    say = {
        "en": (
            "frames T",
            "largest gradient error, relative",
            "logits of a random network",
            "peaky, as after training",
        ),
        "zh": ("帧数 T", "最大梯度误差（相对值）", "随机网络的 logits", "尖峰输出，如训练之后"),
    }[lang]
    rows = measured("error_by_frames")
    figure = new_figure(760, 320)
    both = figure.subplots(1, 2, sharey=True)
    for axes, peaky, title in zip(both, "01", say[2:], strict=True):
        shown = [row for row in rows if row["peaky"] == peaky]
        frames = [int(row["T"]) for row in shown]
        for name, color in (("torch", ORANGE), ("ctckit", BLUE)):
            errors = [float(row[f"{name}_grad_error"]) for row in shown]
            axes.plot(frames, errors, color=color, marker="o", markersize=4)
            end = (frames[-1], errors[-1])
            axes.annotate(name, end, (7, 0), color=color, va="center", textcoords="offset points", fontsize=10)
        axes.set(xscale="log", yscale="log", xlim=(40, 7000), ylim=(1e-7, 1e-1), xlabel=say[0])
        axes.set_xticks(
            [50, 100, 200, 500, 1000, 3000], labels=["50", "100", "200", "500", "1000", "3000"], minor=False
        )
        axes.set_xticks([], minor=True)
        axes.set_title(title, fontsize=11, color=INK, fontfamily=families())
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        themed_axes(axes)
    both[0].set_ylabel(say[1], fontfamily=families())
    figure.set_layout_engine("constrained")
    return Picture(figure, f"{say[1]}: torch, ctckit")


def variants(lang: str) -> Picture:
    """What four losses teach a small network, a dot for each seed, as bench/variants_train.py measured it."""
    say = {
        "en": ("digits wrong, %", "frames that say blank, %", "borders off by, columns", "middle off by, columns"),
        "zh": ("读错的数字，%", "输出空白的帧，%", "边界偏差，列", "中点偏差，列"),
    }[lang]
    names = {"en": {}, "zh": {"plain": "普通 CTC", "label priors": "标签先验"}}[lang]
    columns = (
        "digits wrong, %",
        "frames that say blank, %",
        "borders are off by, columns",
        "middle is off by, columns",
    )
    rows = measured("variants_train")
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    figure = new_figure(760, 210)
    for axes, column, title in zip(figure.subplots(1, len(columns), sharey=True), columns, say, strict=True):
        for place, loss in enumerate(losses):
            values = [float(row[column]) for row in rows if row["loss"] == loss]
            axes.plot(values, [place] * len(values), "o", color=BLUE, markersize=5, alpha=0.5)
            axes.plot([np.mean(values)], [place], "|", color=ORANGE, markersize=18, markeredgewidth=2)
        axes.set_yticks(range(len(losses)), labels=[names.get(loss, loss) for loss in losses], fontfamily=families())
        axes.set(xlim=(0, None), ylim=(len(losses) - 0.5, -0.5))
        axes.set_title(title, fontsize=10, color=INK, fontfamily=families())
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        themed_axes(axes)
    figure.set_layout_engine("constrained")
    return Picture(figure, "; ".join(say))


def confidence(lang: str) -> Picture:
    """How many words of each confidence are right without a language, as bench/confidence.py measured it."""
    say = {
        "en": ("confidence of words", "share that is right", "noise 0.6", "noise 0.65"),
        "zh": ("词的置信度", "其中正确的比例", "噪声 0.6", "噪声 0.65"),
    }[lang]
    names = {
        "en": {"ctckit": "ctckit", "shares of texts": "shares of the beam's texts"},
        "zh": {"ctckit": "ctckit", "shares of texts": "束中文本的份额"},
    }[lang]
    rows = [row for row in measured("confidence") if row["decoder"] == "no language" and int(row["words"]) >= FEW]
    figure = new_figure(760, 340)
    both = figure.subplots(1, 2, sharey=True)
    for axes, noise, title in zip(both, ("0.6", "0.65"), say[2:], strict=True):
        axes.plot([0, 1], [0, 1], color=GRID, linewidth=1)
        for (measure, name), color in zip(names.items(), (BLUE, ORANGE), strict=True):
            shown = [row for row in rows if (row["noise"], row["measure"]) == (noise, measure)]
            points = [[float(row[column]) for row in shown] for column in ("confidence", "right")]
            axes.plot(*points, color=color, marker="o", markersize=4, label=name)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_xlabel(say[0], fontfamily=families())
        axes.set_title(title, fontsize=11, color=INK, fontfamily=families())
        themed_axes(axes)
    both[0].set_ylabel(say[1], fontfamily=families())
    both[0].legend(frameon=False, loc="upper left", prop={"family": families(), "size": 10}, labelcolor=INK)
    figure.set_layout_engine("constrained")
    return Picture(figure, f"{say[1]}: {', '.join(names.values())}")


def weights(lang: str) -> Picture:
    """The picture that tuning gives, of what bench/tuning.py measured."""
    rows = measured("tuning")
    rates = {(float(row["alpha"]), float(row["beta"])): int(row["errors"]) / int(row["words"]) for row in rows[1:]}
    without, before, chosen = rows[:3]
    marked = [(float(row["alpha"]), float(row["beta"])) for row in (chosen, before)]
    return weights_picture(rates, ALPHAS, BETAS, *marked, int(without["errors"]) / int(without["words"]), "words", lang)


def measured(name: str) -> list[dict[str, str]]:
    """The rows of one of the benchmarks' results."""
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def drawings(*folders: str) -> Iterator[tuple[str, Picture]]:
    """Each picture of these folders, in each language, with its path in docs/, to which .svg or .png is to be added.

    The first language's names are plain and the others' end in .zh, as MkDocs wants them.
    """
    for folder in folders:
        for lang in LANGUAGES:
            for name, picture in FOLDERS[folder](lang).items():
                yield f"images/{folder}/{name}" + ("" if lang == LANGUAGES[0] else f".{lang}"), picture


def save_png(picture: Picture, path: Path) -> None:
    """A PNG of few colours."""
    picture.save(path)
    squeezed = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLORS).save(squeezed, "png", optimize=True)
    write_whole(path, squeezed.getvalue())


def main() -> None:
    """Draws all of them: for the guide SVG is enough."""
    for folder in FOLDERS:
        (DOCS / "images" / folder).mkdir(parents=True, exist_ok=True)
        for name, picture in drawings(folder):
            picture.save(DOCS / f"{name}.svg")
            if folder != "guide":
                save_png(picture, DOCS / f"{name}.png")


FOLDERS: dict[str, Callable[[str], Pictures]] = {"seed": seed, "other": other, "guide": guide}

if __name__ == "__main__":
    main()
