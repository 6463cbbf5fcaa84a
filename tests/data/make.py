"""Makes this folder's files anew: `python tests/data/make.py`. What they hold depends on the Python that runs it.

Needs rapidocr-onnxruntime 1.4.4 (`pip install --no-deps` does), onnxruntime, Pillow and matplotlib.
"""

from __future__ import annotations

import ast
import gzip
import pydoc_data.topics
import random
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from support import ngrams, printed
from support.ppocr import Recogniser

LETTERS = range(60, 111)  # a line's length
HELD_OUT = {"reference": 160, "docstrings": 250}  # lines of either source that the language is built without
RUN = 6  # so many words in a row that a held-out line has, no sentence of the language has
NOISES = {"test": (0.6, 0.65), "develop": (0.65,), "calibrate": (0.65,), "unknown": (0.6,)}
LEFT_OUT = ("test", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages")


# --- sentences --------------------------------------------------------------------------------------------------------


def docstrings() -> Iterator[str]:
    """Of the standard library, file by file."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if any(part in LEFT_OUT for part in path.relative_to(library).parts):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def sentences_of(texts: Iterable[str]) -> list[str]:
    """The prose in these texts, each sentence once, in the order in which they come."""
    found: dict[str, None] = {}
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            if not re.search(r">>>|::=|^\s*\.\.\.", paragraph, re.MULTILINE):
                found |= dict.fromkeys(_sentences(" ".join(paragraph.split())))
    return list(found)


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in re.split(r'(?<=[.!?:;])\s+(?=["“*A-Z(])', paragraph):
        marks = r'["“”*`(),.;:!?]|--|[—–]|(?<=[a-z])-(?=[a-z])'
        words = [word.strip("'-") for word in re.sub(marks, " ", sentence.lower().replace("’", "'")).split()]
        words = [word for word in words if word]
        # What holds digits, signs or single letters is code.
        if len(words) >= 3 and all(re.fullmatch(r"a|[a-z]+[a-z']*[a-z]", word) for word in words):
            yield " ".join(words)


# --- held-out lines ---------------------------------------------------------------------------------------------------


def split(sources: dict[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """Lines held out of each source, and the sentences that are left for the language."""
    held = {}
    for source, sentences in sources.items():
        lines = [sentence for sentence in sentences if len(sentence) in LETTERS]
        held[source] = random.Random(1).sample(lines, HELD_OUT[source])
    runs = set().union(*(_runs(line) for lines in held.values() for line in lines))
    everything = dict.fromkeys(sentence for sentences in sources.values() for sentence in sentences)
    return held, [sentence for sentence in everything if not _runs(sentence) & runs]


def _runs(sentence: str) -> set[tuple[str, ...]]:
    words = sentence.split()
    return {tuple(words[n : n + RUN]) for n in range(max(len(words) - RUN, 0) + 1)}


def parts(held: dict[str, list[str]], words: set[str]) -> dict[str, list[str]]:
    """The lines of each part; but for ``unknown``, all their words are the language's."""
    known = {source: [line for line in lines if words.issuperset(line.split())] for source, lines in held.items()}
    half = len(known["reference"]) // 2
    return {
        "test": known["reference"][:half],
        "develop": known["reference"][half:],
        "calibrate": known["docstrings"],
        "unknown": [line for line in held["reference"] if line not in known["reference"]][:20],
    }


# --- scores -----------------------------------------------------------------------------------------------------------


def recognised(recogniser: Recogniser, part: str, lines: list[str]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    texts, noises, scores = [], [], []
    for noise in NOISES[part]:
        for line in lines:
            texts.append(line)
            noises.append(noise)
            steps = np.rint(recogniser.printed(line, noise, rng) / -printed.STEP)
            scores.append(np.minimum(steps, printed.LOWEST).astype(np.uint8))
    fields = {"texts": texts, "noises": noises, "lengths": [len(each) for each in scores]}
    return {f"{part}_{field}": np.array(values) for field, values in fields.items()} | {
        f"{part}_scores": np.concatenate(scores).T  # compresses better than rows of frames
    }


def main() -> None:
    topics = pydoc_data.topics.topics
    sources = {
        "reference": sentences_of(topics[name] for name in sorted(topics)),
        "docstrings": sentences_of(docstrings()),
    }
    held, language = split(sources)
    text = "\n".join(language) + "\n"
    (printed.DATA / "python_docs.txt.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    recogniser = Recogniser()
    words = set(ngrams.vocabulary(language, at_least=printed.LEAST))
    kept: dict[str, Any] = {}
    for part, lines in parts(held, words).items():
        kept |= recognised(recogniser, part, lines)
        print(f"{part}: {len(lines)} lines, at noise {', '.join(map(str, NOISES[part]))}")
    np.savez_compressed(printed.DATA / "printed_lines.npz", **kept)
    print(f"{len(language)} sentences, {len(words)} words")


if __name__ == "__main__":
    main()
