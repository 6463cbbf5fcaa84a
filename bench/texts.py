"""`make bench`: texts that are not quite what was said: which words get their right times, and what that costs.

A recogniser's output is made up for words of random letters, 150 a minute and 50 frames a second: a frame for each
letter, blanks between, and noise. One letter in 20 is misread: another one, or the blank, is 3 to 7 nats above it. Of
the text's words, one in 30 was not said, and after one in 30 another word was. The text is aligned as it is, with stars
between its words, with its words optional, and with both; and as it is by ctc-segmentation, where that is installed.
Found are words that were said and begin within a frame of where they do, and those that were not said and are left out.
Times are medians over rounds, on one thread.

Writes bench/results/texts.csv and the tables of docs/alignment.md and its Chinese sibling.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import NamedTuple

import numpy as np
from align import Array, peers
from report import BEST, ROOT, Row, cpu_name, put_between_marks, show, write_results

import ctckit

LABELS = ["<blank>", "|", *"abcdefghijklmnopqrstuvwxyz"]
MINUTES = (1, 10, 30)
WAYS = {  # optional words, stars between words
    "as it is": (False, False),
    "stars between words": (False, True),
    "optional words": (True, False),
    "both": (True, True),
}
DOCS = {
    "docs/alignment.md": (
        {name: name for name in WAYS},
        "| audio | the text, aligned | said words found | words not said left out | ms |",
        "{minutes} min",
        "Medians on one thread, {isa} on {cpu}.",
    ),
    "docs/alignment.zh.md": (
        dict(zip(WAYS, ("原样", "词间加星号", "词可缺失", "两者都用"), strict=True)),
        "| 音频 | 文本的对齐方式 | 找到的说过的词 | 被略去的没说的词 | 毫秒 |",
        "{minutes} 分钟",
        "单线程，{cpu} 上的 {isa}；取中位数。",
    ),
}


class Recording(NamedTuple):
    log_probs: Array  # (T, C) float32
    text: str
    starts: Array  # (words,) each word's first frame, -1 for those that were not said


def record(minutes: int) -> Recording:
    rng = np.random.default_rng(minutes)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(3000)]
    text, said, places = [], [], []
    for _ in range(150 * minutes):
        text.append(words[rng.integers(len(words))])
        unsaid = rng.random() < 1 / 30
        places.append(-1 if unsaid else len(said))
        said += [text[-1]] * (not unsaid) + [words[rng.integers(len(words))]] * (rng.random() < 1 / 30)
    spoken = ctckit.Vocabulary(LABELS).transcribe(" ".join(said))
    frames = minutes * 60 * 50
    when = np.sort(rng.choice(frames, len(spoken.tokens), replace=False))
    labels = np.zeros(frames, int)
    labels[when] = spoken.tokens
    logits = rng.standard_normal((frames, len(LABELS)), np.float32)
    logits[np.arange(frames), labels] += 10
    misread = when[rng.random(len(when)) < 1 / 20]
    other = np.where(rng.random(len(misread)) < 0.5, 0, rng.integers(1, len(LABELS), len(misread)))
    logits[misread, other] = logits[misread, labels[misread]] + rng.uniform(3, 7, len(misread))
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    begin = np.array([when[word.first] for word in spoken.lines[0].words])
    return Recording(logits, " ".join(text), np.where(np.array(places) < 0, -1, begin[places]))


def ours(way: str, recording: Recording) -> Array:
    """The words' first frames, -1 for those that are left out."""
    optional, star = WAYS[way]
    vocabulary = ctckit.Vocabulary(LABELS)
    transcript = vocabulary.transcribe(recording.text, optional_words=optional, star_between_words=star)
    found = ctckit.forced_align(recording.log_probs, transcript.tokens, optional=transcript.optional)[0].starts
    return found[[word.first for word in transcript.lines[0].words]]


def segmented(recording: Recording) -> Array:
    transcript = ctckit.Vocabulary(LABELS).transcribe(recording.text)
    found = peers()["ctc-segmentation"](recording.log_probs, transcript.tokens)
    return found[[word.first for word in transcript.lines[0].words]]


def measure(minutes: int, rounds: int) -> list[Row]:
    recording = record(minutes)
    everyone = {("ctckit", way): partial(ours, way) for way in WAYS}
    if "ctc-segmentation" in peers():
        everyone["ctc-segmentation", "as it is"] = segmented
    times: dict[tuple[str, str], list[float]] = {name: [] for name in everyone}
    found = {}
    for _ in range(rounds):
        for name, align in everyone.items():
            begin = time.perf_counter()
            found[name] = align(recording)
            times[name].append((time.perf_counter() - begin) * 1e3)
    said = recording.starts >= 0
    rows: list[Row] = []
    for name, starts in found.items():
        near = np.abs(starts - recording.starts) <= 1
        rows.append(
            {
                "minutes": minutes,
                "aligner": name[0],
                "text": name[1],
                "said words found": f"{(near & (starts >= 0))[said].mean():.1%}",
                "words not said left out": f"{(starts < 0)[~said].mean():.1%}",
                "ms": f"{statistics.median(times[name]):.0f}",
            }
        )
    return rows


def write_table(name: str, rows: list[Row]) -> None:
    ways, heading, minutes, machine = DOCS[name]
    lines = [heading, "| --- | --- |" + " ---: |" * 3]
    for row in rows:
        aligner = ways[str(row["text"])] + (" (ctc-segmentation)" if row["aligner"] != "ctckit" else "")
        cells = [minutes.format(**row), aligner, *list(row.values())[3:]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    put_between_marks(ROOT / name, "texts", [*lines, "", machine.format(isa=BEST, cpu=cpu_name())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each recording (default 3)")
    arguments = parser.parse_args()
    ctckit.set_num_threads(1)
    rows = [row for minutes in MINUTES for row in measure(minutes, arguments.rounds)]
    show(f"texts that are not quite what was said, one thread; {cpu_name()}", rows, left=("aligner", "text"))
    write_results("texts", rows, "made-up log-probabilities, float32, one thread")
    for name in DOCS:
        write_table(name, rows)
    print(f"and the tables of {' and '.join(DOCS)}")


if __name__ == "__main__":
    main()
