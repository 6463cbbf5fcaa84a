"""`make bench`: the time of our decoding with other options than decode.py's, relative to the defaults in the same run.

Beams of 10, 100 and 500 against 50; many classes against few; hotwords (pairs of the lexicon's words) against none,
with the language; a stream that is fed 1, 7 or 64 frames at a time against the whole utterance at once; a batch of 16
on two threads against one. Times are interleaved CPU times on one thread, except those of two threads; see harness.py.

Writes bench/results/decode_ways.csv. Ends if a stream or two threads find another text or another score.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from decode import decoder_of, timer
from decoders import BEAM
from harness import (
    CORES,
    Contender,
    Row,
    cpu_name,
    interleaved,
    milliseconds,
    parser,
    ratio,
    seconds,
    show,
    write_results,
)
from problems import Problem, problems

import ctckit

BEAMS = (10, 100, 500)
HOTWORDS = (1, 100, 10_000)
CHUNKS = (1, 7, 64)
BATCH = 16
Run = Callable[[], object]


def against(
    problem: str,
    plain: tuple[str, Run],
    others: Mapping[str, Run],
    rounds: int,
    *,
    timer: Callable[[Contender], float] = timer,
    utterances: int = 1,
) -> list[Row]:
    """A row for each option: its time for an utterance, and how many times as long it takes as the defaults."""
    runs = dict([plain]) | others
    times = interleaved({name: Contender(run) for name, run in runs.items()}, rounds, timer=timer)
    base = times[plain[0]]
    return [
        {
            "problem": problem,
            "way": name,
            "ms": f"{milliseconds(times[name]) / utterances:.3g}",
            "against": "" if name == plain[0] else plain[0],
            "times as long": "" if name == plain[0] else f"{ratio(times[name], base):.3g}",
        }
        for name in runs
    ]


def each_of(decoder: ctckit.Decoder, problem: Problem, **options: object) -> Run:
    return lambda: [decoder.decode(scores, **options) for scores in problem.scores]


def beams(problem: Problem, rounds: int) -> list[Row]:
    runs = {width: each_of(decoder_of(problem, beam_width=width), problem) for width in (BEAM, *BEAMS)}
    plain = f"beam {BEAM}", runs.pop(BEAM)
    return against(problem.name, plain, {f"beam {width}": run for width, run in runs.items()}, rounds)


def classes(few: Problem, many: Problem, rounds: int) -> list[Row]:
    runs = {problem.name: each_of(decoder_of(problem), problem) for problem in (few, many)}
    return against("", (few.name, runs[few.name]), {many.name: runs[many.name]}, rounds)


def hotwords(problem: Problem, rounds: int) -> list[Row]:
    assert problem.language is not None
    decoder, rng = decoder_of(problem, recombine=True), np.random.default_rng(0)
    pairs = [" ".join(pair) for pair in rng.choice(problem.language.words, (max(HOTWORDS), 2))]
    some = {
        f"hotwords: {count}": each_of(decoder, problem, hotwords=dict.fromkeys(pairs[:count], 8.0))
        for count in HOTWORDS
    }
    plain = "no hotwords", each_of(decoder, problem)
    return against(problem.name, plain, some, rounds, utterances=len(problem.scores))


def streams(problem: Problem, rounds: int) -> list[Row]:
    (scores,) = problem.scores
    decoder = decoder_of(problem, exact_scores=False)

    def streamed(chunk: int) -> ctckit.Hypothesis:
        stream = decoder.stream()
        for start in range(0, len(scores), chunk):
            stream.feed(scores[start : start + chunk])
        return stream.finish()[0]

    at_once = decoder.decode(scores)[0][0]
    for chunk in CHUNKS:
        if (found := streamed(chunk)).text != at_once.text or found.score != at_once.score:
            sys.exit(f"chunks of {chunk} frames: {found.score} {found.text}, at once {at_once.score} {at_once.text}")
    some = {f"chunks of {chunk}": partial(streamed, chunk) for chunk in CHUNKS}
    return against(problem.name, ("at once", lambda: decoder.decode(scores)), some, rounds)


def threads(problem: Problem, rounds: int) -> list[Row]:
    decoder = decoder_of(problem)
    batch = np.repeat(problem.scores[0][:, None], BATCH, axis=1)

    def on(count: int) -> list[tuple[str, float]]:
        ctckit.set_num_threads(count)
        return [(found[0].text, found[0].score) for found in decoder.decode(batch)]

    if on(1) != on(2):
        sys.exit("two threads find something else than one")
    elapsed = partial(seconds, at_least=0.02)  # elapsed time: threads reduce it, but not the CPU time
    plain, both = (f"{BATCH} on one thread", partial(on, 1)), {f"{BATCH} on two threads": partial(on, 2)}
    # Ten times the rounds, since other processes use the second core too.
    rows = against(problem.name, plain, both, 10 * rounds, timer=elapsed, utterances=BATCH)
    ctckit.set_num_threads(1)
    return rows


def measure(few: Problem, many: Problem, words: Problem, rounds: int) -> list[Row]:
    rows = [*beams(few, rounds), *classes(few, many, rounds), *hotwords(words, rounds), *streams(few, rounds)]
    return rows + (threads(few, rounds) if CORES > 1 else [])


def main() -> None:
    arguments = parser(__doc__, 9, " of each way").parse_args()
    ctckit.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        few, _, many, words = problems(Path(folder))
        rows = measure(few, many, words, arguments.rounds)
    show(f"ways to decode, one thread; {cpu_name()}", rows, left=("problem", "way", "against"))
    write_results("decode_ways", rows, "made-up log-probabilities, float32")


if __name__ == "__main__":
    main()
