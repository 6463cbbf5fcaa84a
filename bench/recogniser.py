"""`make bench`: a real recogniser from end to end: drawn text, noise, scores, texts; without and with a language.

The recogniser is that of PP-OCRv4 (tests/support/ppocr.py). The lines are those of the tests, drawn again; the
language's texts do not contain them (tests/data/README.md). Word error rates of all lines at each noise: greedy, by
beam without a language, with a lexicon and a 3-gram, and the same with recombination; on the 29 classes that the
lexicon's letters need, and on all 6625. The peers have the same language and the 29 classes. Only ours is timed; one
line, one thread.

Writes bench/results/recogniser.csv. Does nothing if the recogniser or onnxruntime is not installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from decoders import WITH_LANGUAGE, installed, missing
from emissions import Array
from harness import Contender, Row, cpu_name, seconds, show, write_results
from kept import ppocr, printed
from problems import ALPHA, BETA, LETTERS, Language, Problem, language_of_print

import ctckit

NOISES = (0.3, 0.6, 0.65, 0.7)
TIMED = 0.6  # the noise
timer = partial(seconds, clock=time.process_time)
Read = Callable[[Array], str]


def drawn(recogniser: ppocr.Recogniser, texts: Sequence[str], noise: float) -> list[Array]:
    """Log-probabilities (T, 6625) of each line."""
    rng = np.random.default_rng(0)
    return [recogniser.log_probs(ppocr.draw(text, noise, rng)) for text in texts]


def readers(labels: Sequence[str], model: ctckit.LanguageModel) -> dict[str, Read]:
    """Our decoder, for classes of these names."""
    vocabulary = ctckit.Vocabulary(["<blank>", *labels[1:]])
    plain = partial(ctckit.Decoder, vocabulary)
    spoken = partial(plain, language_model=model, lexicon=printed.lexicon(), alpha=ALPHA, beta=BETA)
    return {
        "greedy": lambda scores: ctckit.greedy_decode(scores, vocabulary=vocabulary)[0].text,
        "beam 50": partial(best, plain(recombine=False)),
        "language, beam 50": partial(best, spoken(recombine=False)),
        "language, beam 100 recombined": partial(best, spoken(recombine=True, beam_width=100)),
    }


def best(decoder: ctckit.Decoder, scores: Array) -> str:
    return decoder.decode(scores)[0].text


def rows_of(reader: str, classes: int, noises: dict[float, Problem], read: Read, *, timed: bool = True) -> Row:
    """Word error rates at each noise, and how long a line takes at the one of the tests."""
    row: Row = {"reader": reader, "classes": classes, "ms": ""}
    for noise, problem in noises.items():
        row[f"WER at {noise}"] = f"{problem.word_error_rate([read(scores) for scores in problem.scores]):.3f}"
    if timed:
        scores = noises[TIMED].scores
        all_lines = Contender(lambda: [read(each) for each in scores])
        row["ms"] = f"{timer(all_lines) / len(scores) * 1e3:.3g}"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    if ppocr.MISSING:
        return print(f"no recogniser: {', '.join(ppocr.MISSING)} not installed")
    ctckit.set_num_threads(1)
    recogniser = ppocr.Recogniser()
    texts = list(dict.fromkeys(line.text for line in printed.lines("test")))
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(recogniser, texts, language_of_print(Path(folder)))
    show(f"lines of print, one thread; {cpu_name()}", rows, left=("reader",))
    write_results("recogniser", rows, f"{len(texts)} lines of print, PP-OCRv4, float32, one thread, CPU time")
    if absent := missing(WITH_LANGUAGE):
        print(f"not installed: {', '.join(absent)}")


def measure(recogniser: ppocr.Recogniser, texts: list[str], language: Language) -> list[Row]:
    everything = {noise: drawn(recogniser, texts, noise) for noise in NOISES}
    few = {
        noise: Problem(
            str(noise), LETTERS, [ppocr.normalised(each[:, recogniser.columns]) for each in scores], texts, language
        )
        for noise, scores in everything.items()
    }
    every = {noise: Problem(str(noise), recogniser.labels, scores, texts, None) for noise, scores in everything.items()}
    model = ctckit.LanguageModel.read(language.arpa)
    rows = []
    for labels, noises in ((LETTERS, few), (recogniser.labels, every)):
        rows += [rows_of(name, len(labels), noises, read) for name, read in readers(labels, model).items()]
    for peer in installed(WITH_LANGUAGE):
        name = f"{peer.package}, {peer.settings}"
        rows.append(rows_of(name, len(LETTERS), few, peer.make(few[NOISES[0]]), timed=False))
    return rows


if __name__ == "__main__":
    main()
