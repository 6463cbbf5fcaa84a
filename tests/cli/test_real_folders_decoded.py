"""`ctckit decode` takes folders as other people's tools leave them, and finds what was said in them, and when.

Their texts are right but for one word, which is another one: so the error rates are known.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support import ngrams
from support.corpora import errors, log_of, manifest, words_of, write_labels
from support.folders import TEXTS, Times, hugging_face_folder, kaldi_folder, lhotse_folder, nemo_folder
from support.recordings import LABELS, SHIFT, WORDS, spoken

Run = Callable[..., subprocess.CompletedProcess[str]]

WRONG = """WER 11.11%: 1 of 9 words (1 substituted, 0 deleted, 0 inserted)
CER 2.56%: 1 of 39 characters (1 substituted, 0 deleted, 0 inserted)
"""  # a letter of 'dog' is another one


def replaced(file: Path) -> None:
    """Puts the wrong word into a file of texts."""
    file.write_text(file.read_text(encoding="utf-8").replace("lazy dog", "lazy dot"), encoding="utf-8")


def check(out: Path, ids: list[str], truth: list[Times]) -> None:
    """The texts and the words' times are those that were said."""
    assert [(entry["id"], entry["text"]) for entry in log_of(out)] == list(zip(ids, TEXTS, strict=True))
    for id, times in zip(ids, truth, strict=True):
        assert words_of(out / f"{id}.json") == [pytest.approx(word) for word in times]


# --- folders of five tools --------------------------------------------------------------------------------------------


def test_nemo(tmp_path: Path, ctckit: Run) -> None:
    """One row has no text, as manifests of tests do; another begins within its recording."""
    truth = nemo_folder(tmp_path)
    replaced(tmp_path / "manifest.json")
    rows = [json.loads(line) for line in (tmp_path / "manifest.json").read_text().splitlines()]
    manifest(tmp_path, [{**rows[0], "text": ""}, *rows[1:]], "manifest.json")
    options = ("--labels", "model_config.yaml", "--frame-shift", SHIFT, "--out", "out")
    done = ctckit("decode", "scores", "--manifest", "manifest.json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "3 rows decoded, 0 failed",
        "WER 20.00%: 1 of 5 words (1 substituted, 0 deleted, 0 inserted)",
        "CER 5.00%: 1 of 20 characters (1 substituted, 0 deleted, 0 inserted)",
        "in 2 rows with a text",
    ]
    moved = [[(start + 12.5, end + 12.5) for start, end in truth[1]]]
    check(tmp_path / "out", ["utt0", "utt1", "utt2"], [truth[0], *moved, truth[2]])


@pytest.mark.parametrize("place", ["logprobs.scp", "logprobs.ark"])
def test_kaldi(place: str, tmp_path: Path, ctckit: Run) -> None:
    ids = ["sp1-utt1", "sp1-utt2", "sw02001-A_000098-001156"]
    truth = kaldi_folder(tmp_path, ids)
    replaced(tmp_path / "text")
    write_labels(tmp_path)
    options = ("--labels", "labels.txt", "--frame-shift", SHIFT, "--threads", 2, "--out")
    done = ctckit("decode", place, "--manifest", "text", *options, "out")
    told = f"3 rows decoded, 0 failed\n{WRONG}in 3 rows with a text\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
    check(tmp_path / "out", ids, truth)
    (tmp_path / "ids").write_text("\n".join(ids))
    for manifest_, scores in (("ids", (place,)), ("logprobs.scp", ()), ("logprobs.scp", (place,))):
        done = ctckit("decode", *scores, "--manifest", manifest_, *options, f"out-{manifest_}-{len(scores)}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows decoded, 0 failed\n", "")
        check(tmp_path / f"out-{manifest_}-{len(scores)}", ids, truth)
    done = ctckit("align", "--manifest", "logprobs.scp", *options, "no")
    assert done.returncode == 1
    assert "expected either 'text'" in errors(tmp_path / "no")[0]["reason"]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_lhotse(ending: str, tmp_path: Path, ctckit: Run) -> None:
    """Cuts begin within a recording. A cut's supervisions are one text, and may have none."""
    truth = lhotse_folder(tmp_path, ending)
    write_labels(tmp_path)
    options = ("--labels", "labels.txt", "--frame-shift", SHIFT, "--out")
    done = ctckit("decode", ".", "--manifest", f"cuts{ending}", *options, "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 rows decoded, 0 failed\nWER 0.00%: 0 of 9 words (")
    ids = [f"rec-1-{seed}" for seed in range(3)]
    check(tmp_path / "out", ids, truth)
    rows = [{"id": id, "start": 10.0 * n, "supervisions": [{"id": "s"}] * n} for n, id in enumerate(ids)]
    manifest(tmp_path, rows, "bare.jsonl")
    done = ctckit("decode", ".", "--manifest", "bare.jsonl", *options, "bare")
    assert (done.returncode, done.stdout) == (0, "3 rows decoded, 0 failed\n")
    check(tmp_path / "bare", ids, truth)


def test_hugging_face(tmp_path: Path, ctckit: Run) -> None:
    times = hugging_face_folder(tmp_path)
    command = ("decode", "logits.pt", "--labels", "vocab.json", "--logits")
    done = ctckit(*command)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{TEXTS[0]}\n", "")
    done = ctckit(*command, "--frame-shift", SHIFT, "-o", "x.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert words_of(tmp_path / "x.json") == [pytest.approx(word) for word in times]


def test_torchaudio(tmp_path: Path, ctckit: Run) -> None:
    """What its ctc_decoder is given: tokens.txt, a lexicon that spells words in them, and a language model.

    `-` is the blank, `|` the separator; the recogniser can't tell two words, and the language can.
    """
    tokens = ["-", "|", *LABELS[2:]]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
    lexicon = "".join(f"{word.capitalize()}\t{' '.join(word)} |\n" for word in [*WORDS, "fix"])
    (tmp_path / "lexicon.txt").write_text(lexicon)
    unigrams = {"<unk>": -5, "<s>": -99, "</s>": -1, "Fix": -3} | {word.capitalize(): -1 for word in WORDS}
    (tmp_path / "x.arpa").write_text(ngrams.arpa_text([{(word,): (score, None) for word, score in unigrams.items()}]))
    scores = spoken(TEXTS[0])[0].copy()
    o, i = tokens.index("o"), tokens.index("i")
    last = int(np.flatnonzero(scores.argmax(axis=1) == o)[-1])
    heard = [last - 1, last] if scores[last - 1].argmax() == o else [last]
    scores[heard, i] = scores[heard, o] + 0.5  # a little more than the right one
    np.save(tmp_path / "x.npy", scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    command = ("decode", "x.npy", "--labels", "tokens.txt")
    assert ctckit(*command).stdout == "the quick brown fix\n"
    assert ctckit(*command, "--lexicon", "lexicon.txt").stdout == "The Quick Brown Fix\n"
    done = ctckit(*command, "--lexicon", "lexicon.txt", "--lm", "x.arpa", "--alpha", 2.0 / math.log(10))
    assert (done.returncode, done.stdout, done.stderr) == (0, "The Quick Brown Fox\n", "")
    manifest(tmp_path, [{"id": "x", "emissions": "x.npy", "text": "the quick brown fox."}])
    options = ("--labels", "tokens.txt", "--lexicon", "lexicon.txt", "--frame-shift", SHIFT, "--out")
    wrong = ctckit("decode", "--manifest", "corpus.jsonl", *options, "out")
    assert "WER 25.00%: 1 of 4 words (1 substituted, 0 deleted, 0 inserted)" in wrong.stdout
    right = ctckit("decode", "--manifest", "corpus.jsonl", *options, "right", "--lm", "x.arpa")
    assert "WER 0.00%: 0 of 4 words" in right.stdout


# --- phonemes ---------------------------------------------------------------------------------------------------------


def test_words_that_the_labels_spell_in_phonemes(tmp_path: Path, ctckit: Run) -> None:
    """The labels are no letters: words are compared as the lexicon writes them."""
    labels: list[Any] = ["<blank>", "|", "DH", "AH", "K", "AE", "T", "B"]
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n")
    (tmp_path / "lexicon.txt").write_text("the DH AH |\ncat K AE T |\nbat B AE T |\n")
    path = [labels.index(name) for name in ("DH", "AH", "|", "K", "AE", "T")]
    np.save(tmp_path / "x.npy", np.log(0.02 + 0.86 * np.eye(8)[path]))
    rows = [{"id": id, "emissions": "x.npy", "text": text} for id, text in (("a", "The cat!"), ("b", "the bat"))]
    manifest(tmp_path, rows)
    options = ("--labels", "labels.txt", "--lexicon", "lexicon.txt", "--frame-shift", SHIFT, "--out", "out")
    done = ctckit("decode", "--manifest", "corpus.jsonl", *options)
    assert (done.returncode, done.stderr) == (0, "")
    found = [[entry[key] for key in ("text", "reference", "wer")] for entry in log_of(tmp_path / "out")]
    assert found == [["the cat", "the cat", 0], ["the cat", "the bat", 0.5]]
