"""`ctckit lm`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import gzip
import io
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from support.backoff import FORMS, LN10, BackOff, made_up

from ctckit.language import LanguageModel

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXT = made_up(1, FORMS["trigrams"])
TRUTH = BackOff.read(TEXT)


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "x.arpa"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_says_what_a_model_holds(arpa: Path, ctckit: Run) -> None:
    done = ctckit("lm", "x.arpa")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3-gram model of 11 words: 11 1-grams, 34 2-grams, 45 3-grams\n"


def test_notes_what_is_missing(arpa: Path, ctckit: Run) -> None:
    arpa.write_text(made_up(1, FORMS["trigrams without <unk>"]), encoding="utf-8")
    done = ctckit("lm", "x.arpa")
    assert done.returncode == 0
    assert done.stderr == "x.arpa lacks <unk>: unknown words have log10 P = -100, as in KenLM\n"


def test_converts_there_and_back(arpa: Path, tmp_path: Path, ctckit: Run) -> None:
    for made, source in (("y.ngram", "x.arpa"), ("z.arpa.gz", "y.ngram"), ("z.arpa", "z.arpa.gz")):
        done = ctckit("lm", source, "-o", made)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == f"wrote {made}"
    assert BackOff.read((tmp_path / "z.arpa").read_text(encoding="utf-8")).ngrams == TRUTH.ngrams
    assert gzip.decompress((tmp_path / "z.arpa.gz").read_bytes()) == (tmp_path / "z.arpa").read_bytes()
    assert LanguageModel.read(tmp_path / "y.ngram").score("w1") == LanguageModel.read(arpa).score("w1")


def test_scores_texts(arpa: Path, tmp_path: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["w1 w2 w3", "", "w1 zork ork zork"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    done = ctckit("lm", "x.arpa", "--score", "texts.txt")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, total, unknown, without = done.stdout.splitlines()
    scores = [[score * LN10 for score in TRUTH.scores(text.split())] for text in texts]
    assert [line.split("\t") for line in lines] == [
        [f"{sum(each):.4f}", text] for each, text in zip(scores, texts, strict=True)
    ]
    every = [score for each in scores for score in each]
    perplexity = math.exp(-sum(every) / 10)
    assert total == f"3 texts of 7 words: {sum(every):.4f} nats, perplexity {perplexity:.4g}"
    assert unknown == "unknown to the model: 3 of the words: 'zork', 'ork'"
    known = [*scores[0], *scores[1], scores[2][0], scores[2][-1]]
    assert without == f"without them perplexity {math.exp(-sum(known) / 7):.4g}"

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"w1 w2 w3\n")))
    piped = ctckit("lm", "x.arpa", "--score", "-")
    assert piped.stdout.splitlines() == [
        lines[0],
        f"1 texts of 3 words: {sum(scores[0]):.4f} nats, perplexity {math.exp(-sum(scores[0]) / 4):.4g}",
    ]


def test_scores_go_to_the_output_alone(arpa: Path, tmp_path: Path, ctckit: Run) -> None:
    (tmp_path / "texts.txt").write_text("", encoding="utf-8")
    done = ctckit("lm", "x.arpa", "--score", "texts.txt", "-o", "y.ngram")
    assert (done.returncode, done.stderr) == (0, "wrote y.ngram\n")
    assert done.stdout == "0 texts of 0 words: 0.0000 nats, no perplexity\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.arpa"], "no.arpa can't be read: No such file or directory"),
        (
            ["bad.arpa"],
            "bad.arpa, line 1: 'hi': expected \\data\\, with only empty lines and comments (#) before it",
        ),
        (["x.arpa", "-o", "x.arpa"], "x.arpa is an input, and would be overwritten: choose another name"),
        (["x.arpa", "-o", "y.bin"], "y.bin: expected a name that ends in .ngram, .arpa or .arpa.gz"),
        (["x.arpa", "--score", "no.txt"], "no.txt can't be read: No such file or directory"),
    ],
)
def test_one_line_for_each_fault(arguments: list[str], message: str, arpa: Path, tmp_path: Path, ctckit: Run) -> None:
    (tmp_path / "bad.arpa").write_text("hi\n", encoding="utf-8")
    done = ctckit("lm", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ctckit: {message}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"x.arpa", "bad.arpa"}
