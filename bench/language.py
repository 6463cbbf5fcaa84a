"""`make bench`: language models compared with KenLM: reading, opening, memory, and scoring.

The model is made up: about a million n-grams up to 3-grams, over 50,000 words. The frequencies of words follow Zipf's
law, and two words in five are one of four favourites of the word before, so that n-grams are repeated. The model is
read from ARPA, as text and compressed, and by ctckit from its own file; KenLM has such files too, but cannot write them
from Python. Two kinds of texts are scored: those that the model was counted on, so that all orders occur, and others.
KenLM gives a text's score in one call (`score`), and its words' in another (`full_scores`); ctckit scores many texts in
one call. The time of the queries alone is estimated: KenLM's `score`, or ctckit's, minus the time to look up words.

One thread; times are interleaved, see harness.py. Writes bench/results/language.csv and the tables of
docs/language.md and its Chinese version.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from harness import (
    Contender,
    Row,
    TableWords,
    cpu_name,
    interleaved,
    parser,
    publish,
    published,
    ratio,
    show,
    write_results,
)

from ctckit.language import LanguageModel

try:
    import kenlm
except ImportError:
    kenlm = None

WORDS, TOKENS, ORDER, LENGTH = 50_000, 640_000, 3, 20
TEXTS = 3000
SMALL = """\\data\\
ngram 1=3
ngram 2=1

\\1-grams:
-1\t<unk>
-1\t<s>\t-1
-1\t</s>

\\2-grams:
-1\t<s> </s>

\\end\\
"""
Ids = npt.NDArray[np.int64]


# --- a model and texts ------------------------------------------------------------------------------------------------


def running_text(tokens: int, seed: int) -> Ids:
    """Words by number."""
    favourites = np.random.default_rng(0).integers(0, WORDS, (WORDS, 4))
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, WORDS + 1)
    drawn = np.searchsorted(np.cumsum(share / share.sum()), rng.random(tokens)).clip(0, WORDS - 1)
    follows, which = rng.random(tokens) < 0.4, rng.integers(0, 4, tokens)
    text, word = np.empty(tokens, np.int64), 0
    for i in range(tokens):
        text[i] = word = favourites[word, which[i]] if follows[i] else drawn[i]
    return text


def spelled() -> list[str]:
    """The words of the numbers."""
    digits = np.random.default_rng(2).permutation(36**4)[:WORDS]
    return [np.base_repr(number, 36).lower() for number in digits]


def sentences(text: Ids, words: list[str]) -> list[str]:
    return [" ".join(words[word] for word in row) for row in text.reshape(-1, LENGTH)]


def write_arpa(path: Path, words: list[str]) -> int:
    """Writes a model with all n-grams of a text and arbitrary numbers; returns how many n-grams it has."""
    names = ["<unk>", "<s>", "</s>", *words]
    rows = running_text(TOKENS, 1).reshape(-1, LENGTH) + 3
    padded = np.concatenate([np.full((len(rows), 1), 1), rows, np.full((len(rows), 1), 2)], axis=1)
    levels = [np.arange(len(names))[:, None]]
    for n in range(2, ORDER + 1):
        windows = np.lib.stride_tricks.sliding_window_view(padded, n, axis=1).reshape(-1, n)
        levels.append(np.unique(windows, axis=0))
    rng = np.random.default_rng(3)
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n" + "".join(f"ngram {n}={len(level)}\n" for n, level in enumerate(levels, 1)))
        for n, level in enumerate(levels, 1):
            file.write(f"\n\\{n}-grams:\n")
            scores, backoffs = -5 * rng.random(len(level)), -rng.random(len(level))
            for ngram, score, backoff in zip(level.tolist(), scores, backoffs, strict=True):
                after = f"\t{backoff:.7g}" if n < ORDER else ""
                file.write(f"{score:.7g}\t{' '.join(names[word] for word in ngram)}{after}\n")
        file.write("\n\\end\\\n")
    return sum(map(len, levels))


def read_kenlm(path: Path) -> Any:
    quiet = kenlm.Config()
    quiet.arpa_complain, quiet.show_progress = kenlm.ARPALoadComplain.NONE, False
    return kenlm.Model(str(path), quiet)


# --- what is measured -------------------------------------------------------------------------------------------------


class Files(NamedTuple):
    arpa: Path
    packed: Path
    own: Path


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def print_growth(who: str, path: Path, small: Path) -> None:
    """In its own process: by how much memory grows permanently when a model is read."""
    read: Callable[[Path], Any] = {"ctckit": LanguageModel.read, "kenlm": read_kenlm}[who]
    kept = [read(small)]  # loads the libraries
    before = resident_mib()
    kept.append(read(path))
    print(resident_mib() - before)


def growth(who: str, path: Path, small: Path) -> float:
    command = [sys.executable, __file__, "--growth", who, str(path), str(small)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_reading(files: Files, rounds: int) -> list[Row]:
    contenders = {
        ("ARPA", "ctckit"): Contender(lambda: LanguageModel.read(files.arpa)),
        ("ARPA.gz", "ctckit"): Contender(lambda: LanguageModel.read(files.packed)),
        ("own file", "ctckit"): Contender(lambda: LanguageModel.read(files.own)),
    }
    if kenlm:
        contenders["ARPA", "kenlm"] = Contender(lambda: read_kenlm(files.arpa))
        contenders["ARPA.gz", "kenlm"] = Contender(lambda: read_kenlm(files.packed))
    times = interleaved(contenders, rounds)
    rows = []
    for what in ("ARPA", "ARPA.gz", "own file"):
        ours, theirs = times[what, "ctckit"], times.get(("ARPA" if what == "own file" else what, "kenlm"))
        rows.append(row(f"read {what}", "ms", ours, theirs, 1e3))
    return rows


def row(what: str, unit: str, ours: list[float], theirs: list[float] | None, scale: float) -> Row:
    mine = shown(statistics.median(ours) * scale)
    if theirs is None:
        return {"what": what, "unit": unit, "ctckit": mine, "kenlm": "", "ratio": ""}
    peer = shown(statistics.median(theirs) * scale)
    return {"what": what, "unit": unit, "ctckit": mine, "kenlm": peer, "ratio": shown(ratio(theirs, ours))}


def shown(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def measure_scoring(files: Files, words: list[str], rounds: int) -> list[Row]:
    ours = LanguageModel.read(files.arpa)
    theirs = read_kenlm(files.arpa) if kenlm else None
    rows = []
    for name, seed in (("counted texts", 1), ("other texts", 4)):
        texts = sentences(running_text(TEXTS * LENGTH, seed), words)
        split = [text.split() for text in texts]
        flat = [word for each in split for word in each]
        contenders = {
            "ctckit": Contender(lambda texts=texts: ours.score_all(texts)),
            "numbers": Contender(lambda flat=flat: ours.ids(flat)),
        }
        if theirs:
            known = frozenset(words)
            contenders |= {
                "score": Contender(lambda texts=texts: [theirs.score(text) for text in texts]),
                "full_scores": Contender(lambda texts=texts: [list(theirs.full_scores(text)) for text in texts]),
                "lookups": Contender(lambda split=split: [word in theirs for each in split for word in each]),
                "loops": Contender(lambda split=split, known=known: [word in known for each in split for word in each]),
            }
        times = interleaved(contenders, rounds)
        scale = 1e9 / (TEXTS * (LENGTH + 1))
        rows.append(row(f"{name}: score", "ns a word", times["ctckit"], times.get("score"), scale))
        if theirs:
            rows.append(row(f"{name}: score of each word", "ns a word", times["ctckit"], times["full_scores"], scale))
            found = np.array([sum(score for score, _, _ in theirs.full_scores(text)) for text in texts[:2000]])
            far = np.abs(ours.score_all(texts[:2000]) - found * np.log(10)).max()
            rows.append(
                {
                    "what": f"{name}: largest difference",
                    "unit": "nats",
                    "ctckit": f"{far:.1e}",
                    "kenlm": "",
                    "ratio": "",
                }
            )
            alone = [max(all_of - look, 1e-9) for all_of, look in zip(times["ctckit"], times["numbers"], strict=True)]
            peers = zip(times["score"], times["lookups"], times["loops"], strict=True)
            theirs_alone = [max(all_of - (look - loop), 1e-9) for all_of, look, loop in peers]
            rows.append(row(f"{name}: queries alone (estimate)", "ns a word", alone, theirs_alone, scale))
    return rows


def measure(folder: Path, rounds: int) -> tuple[list[Row], int]:
    words = spelled()
    files = Files(folder / "x.arpa", folder / "x.arpa.gz", folder / "x.ngram")
    ngrams = write_arpa(files.arpa, words)
    files.packed.write_bytes(gzip.compress(files.arpa.read_bytes(), 6))
    LanguageModel.read(files.arpa).save(files.own)
    small = folder / "small.arpa"
    small.write_text(SMALL)
    rows = measure_reading(files, rounds)
    sizes = {who: growth(who, files.arpa, small) for who in ("ctckit", *["kenlm"] * (kenlm is not None))}
    rows.append(
        {
            "what": "memory of a model read from ARPA",
            "unit": "MiB",
            "ctckit": f"{sizes['ctckit']:.1f}",
            "kenlm": f"{sizes['kenlm']:.1f}" if kenlm else "",
            "ratio": f"{sizes['kenlm'] / sizes['ctckit']:.3g}" if kenlm else "",
        }
    )
    return rows + measure_scoring(files, words, rounds), ngrams


def publish_table(table: TableWords, rows: list[Row], ngrams: int) -> None:
    kept = [each for each in rows if each["what"] in table.words]
    cells = [[table.words[str(each["what"])], each["ctckit"], each["kenlm"], each["ratio"]] for each in kept]
    version = importlib.metadata.version("kenlm") if kenlm else ""
    publish("language", table, cells, ngrams=f"{ngrams:,}", kenlm=version)


def main() -> None:
    command = parser(__doc__, 9)
    command.add_argument("--growth", nargs=3, metavar=("WHO", "ARPA", "SMALL"), help=argparse.SUPPRESS)
    arguments = command.parse_args()
    if arguments.growth:
        return print_growth(arguments.growth[0], *map(Path, arguments.growth[1:]))
    with tempfile.TemporaryDirectory() as folder:
        rows, ngrams = measure(Path(folder), arguments.rounds)
    show(f"a model of {ngrams} n-grams, one thread; {cpu_name()}", rows, left=("what", "unit"))
    write_results("language", rows, f"{ngrams} n-grams, one thread")
    for table in published("language") if kenlm else []:
        publish_table(table, rows, ngrams)


if __name__ == "__main__":
    main()
