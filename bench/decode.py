"""`make bench`: our decoding against other packages': speed, and how good the texts are.

Peers, those that are installed: flashlight-text, which torchaudio's ctc_decoder runs, fast-ctc-decode, ctc-beam-decoder
and pyctcdecode. All search for the one best text with a beam of 50, from arrays in float32 to a string, on one thread;
the time is the process's CPU time. Rounds are interleaved, see harness.py.

Without a language: random tokens and a recogniser that is not always sure (emissions.py); the measure of a text is its
exact -ln P. With one: five utterances of 1000 frames from a very unsure recogniser, joined from lines that the language
does not contain; a lexicon, a 3-gram, the same weights for all (problems.py). The measures are the word error rate and
the objective that all maximise: ln P of the letters + alpha ln P of the words + beta for each word.

Writes bench/results/decode.csv and a table in both READMEs. Ends without timing anything if ours is wrong.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from decoders import BEAM, PLAIN, WITH_LANGUAGE, Decode, installed, missing
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
    ratio,
    seconds,
    show,
    write_results,
)
from kept import printed
from problems import Problem, problems

import ctckit

OURS = "ctckit"
PUBLISHED = ("flashlight", "fast_ctc_decode", "ctc_beam_decoder", "pyctcdecode")
timer = partial(seconds, at_least=0.02, clock=time.process_time)
Name = tuple[str, str]  # decoder, settings


def decoder_of(problem: Problem, *, recombine: bool = False, **options: Any) -> ctckit.Decoder:
    if problem.language:
        _, words, alpha, beta = problem.language
        options |= {"language_model": problem.model, "lexicon": words, "alpha": alpha, "beta": beta}
    return ctckit.Decoder(["<blank>", *problem.labels[1:]], recombine=recombine, **{"beam_width": BEAM} | options)


def ours(problem: Problem) -> dict[Name, Decode]:
    def decode(decoder: ctckit.Decoder, log_probs: np.ndarray) -> str:
        return decoder.decode(log_probs)[0].text

    found: dict[Name, Decode] = {(OURS, ""): partial(decode, decoder_of(problem))}
    if problem.language:
        found[OURS, "recombined"] = partial(decode, decoder_of(problem, recombine=True))
    return found


def check(problem: Problem) -> None:
    """Ends the run if a score is not the exact one of its text."""
    decoder = decoder_of(problem)
    found = [decoder.decode(scores)[0][0] for scores in problem.scores]
    texts, score = [each.text for each in found], sum(each.score for each in found)
    exact = problem.objective(texts) if problem.language else -problem.loss(texts)
    if exact is None or abs(score - exact) > 1e-5 * abs(exact):
        sys.exit(f"{problem.name}: the score is {score}, and that of its texts {exact}, so not timed")


def measure(problem: Problem, rounds: int) -> list[Row]:
    check(problem)
    everyone = {name: (decode, problem.scores) for name, decode in ours(problem).items()}
    for peer in installed(WITH_LANGUAGE if problem.language else PLAIN):
        if len(problem.labels) <= peer.most_classes:
            everyone[peer.package, peer.settings] = (peer.make(problem), [peer.takes(each) for each in problem.scores])
    contenders = {
        name: Contender(lambda decode=decode, inputs=inputs: [decode(each) for each in inputs])
        for name, (decode, inputs) in everyone.items()
    }
    times = interleaved(contenders, rounds, timer=timer)
    rows: list[Row] = []
    for name, (decode, inputs) in everyone.items():
        texts = [decode(each) for each in inputs]
        ms = milliseconds(times[name]) / len(inputs)
        rows.append(
            {
                "problem": problem.name,
                "decoder": name[0],
                "settings": name[1],
                "ms": f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}",
                "times as long": "" if name[0] == OURS else f"{ratio(times[name], times[OURS, '']):.3g}",
                **quality(problem, texts),
            }
        )
    return rows


def quality(problem: Problem, texts: list[str]) -> Row:
    if problem.language is None:
        return {"-ln P": f"{problem.loss(texts):.3f}", "WER": "", "objective": ""}
    objective = problem.objective(texts)
    return {
        "-ln P": "",
        "WER": f"{problem.word_error_rate(texts):.3f}",
        "objective": "" if objective is None else f"{objective:.2f}",
    }


def publish_table(table: TableWords, rows: list[Row]) -> None:
    """A line per problem: our time, and how many times as long each peer takes with its fastest settings."""
    cells = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        mine, *more = (row for row in rows if row["problem"] == problem and row["decoder"] == OURS)
        theirs = [[row for row in rows if row["problem"] == problem and row["decoder"] == name] for name in PUBLISHED]
        fastest = [min(found, key=lambda row: float(str(row["ms"])), default=None) for found in theirs]
        others = [f"**{row['times as long']}** ({how_good(row)})" if row else "" for row in fastest]
        name = table.words.get(str(problem), problem)
        cells.append([name, f"{mine['ms']} ({how_good(mine)})", *others])
        for row in more:
            line = table.words[str(row["settings"])].format(name=name)
            cells.append([line, f"{row['ms']} ({how_good(row)})", *[""] * len(others)])
    publish("decode", table, cells, words=str(len(printed.lexicon())))


def how_good(row: Row) -> object:
    return row["WER"] or row["-ln P"]


def main() -> None:
    arguments = parser(__doc__, 7, " of each problem").parse_args()
    ctckit.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for problem in problems(Path(folder)) for row in measure(problem, arguments.rounds)]
    show(f"one best text, beam {BEAM}, one thread; {cpu_name()}", rows, left=("problem", "decoder", "settings"))
    write_results("decode", rows, f"made-up log-probabilities, float32, beam {BEAM}, one thread, CPU time")
    if absent := missing([*PLAIN, *WITH_LANGUAGE]):
        return print(f"not installed, so no tables: {', '.join(absent)}")
    for table in published("decode"):
        publish_table(table, rows)


if __name__ == "__main__":
    main()
