"""`make bench`: texts that differ from what was said: which words get the right times, and how long that takes.

The output of a recogniser is made up for words of random letters, 150 per minute at 50 frames per second: a frame per
letter, blanks between, and noise. One letter in 20 is misread: another letter or the blank is 3 to 7 nats above it. Of
the text's words, one in 30 was not said, and after one in 30 a word was said that is not in the text. The text is
aligned unchanged, with stars between its words, with its words optional, and with both; and unchanged by
ctc-segmentation, if that is installed. A word that was said counts as found if its first frame is right to within a
frame; a word that was not said should be left out. One thread; times are interleaved, see harness.py.

Writes bench/results/texts.csv and the tables of docs/alignment.md and its Chinese version.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from harness import (
    Contender,
    Row,
    TableWords,
    cpu_name,
    interleaved,
    milliseconds,
    parser,
    publish,
    published,
    show,
    write_results,
)
from peers import aligners
from shapes import TEXT_MINUTES, Array

import ctckit

LABELS = ["<blank>", "|", *"abcdefghijklmnopqrstuvwxyz"]
WAYS = {  # optional words, stars between words
    "as it is": (False, False),
    "stars between words": (False, True),
    "optional words": (True, False),
    "both": (True, True),
}


class Recording(NamedTuple):
    log_probs: Array  # (T, C) float32
    text: str
    starts: Array  # (words,) each word's first frame, -1 if it was not said


def record(minutes: int) -> Recording:
    rng = np.random.default_rng(minutes)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(3000)]
    text, said, indices = [], [], []
    for _ in range(150 * minutes):
        text.append(words[rng.integers(len(words))])
        unsaid = rng.random() < 1 / 30
        indices.append(-1 if unsaid else len(said))
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
    return Recording(logits, " ".join(text), np.where(np.array(indices) < 0, -1, begin[indices]))


def ours(way: str, recording: Recording) -> Array:
    """Each word's first frame, -1 for those left out."""
    optional, star = WAYS[way]
    vocabulary = ctckit.Vocabulary(LABELS)
    transcript = vocabulary.transcribe(recording.text, optional_words=optional, star_between_words=star)
    found = ctckit.forced_align(recording.log_probs, transcript.tokens, optional=transcript.optional)[0].starts
    return found[[word.first for word in transcript.lines[0].words]]


def segmented(recording: Recording) -> Array:
    transcript = ctckit.Vocabulary(LABELS).transcribe(recording.text)
    found = aligners()["ctc-segmentation"](recording.log_probs, transcript.tokens)
    return found[[word.first for word in transcript.lines[0].words]]


def measure(minutes: int, rounds: int) -> list[Row]:
    recording = record(minutes)
    everyone = {("ctckit", way): partial(ours, way, recording) for way in WAYS}
    if "ctc-segmentation" in aligners():
        everyone["ctc-segmentation", "as it is"] = partial(segmented, recording)
    times = interleaved({name: Contender(align) for name, align in everyone.items()}, rounds)
    said = recording.starts >= 0
    rows: list[Row] = []
    for name, align in everyone.items():
        starts = align()
        near = np.abs(starts - recording.starts) <= 1
        rows.append(
            {
                "minutes": minutes,
                "aligner": name[0],
                "text": name[1],
                "said words found": f"{(near & (starts >= 0))[said].mean():.1%}",
                "words not said left out": f"{(starts < 0)[~said].mean():.1%}",
                "ms": f"{milliseconds(times[name]):.0f}",
            }
        )
    return rows


def publish_table(table: TableWords, rows: list[Row]) -> None:
    cells = []
    for row in rows:
        aligner = table.words[str(row["text"])] + (" (ctc-segmentation)" if row["aligner"] != "ctckit" else "")
        cells.append([table.words["minutes"].format(**row), aligner, *list(row.values())[3:]])
    publish("texts", table, cells, left=2)


def main() -> None:
    arguments = parser(__doc__, 3, " of each recording").parse_args()
    ctckit.set_num_threads(1)
    rows = [row for minutes in TEXT_MINUTES for row in measure(minutes, arguments.rounds)]
    show(f"texts that differ from what was said, one thread; {cpu_name()}", rows, left=("aligner", "text"))
    write_results("texts", rows, "made-up log-probabilities, float32, one thread")
    for table in published("texts"):
        publish_table(table, rows)


if __name__ == "__main__":
    main()
