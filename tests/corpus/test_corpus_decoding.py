"""Corpora that are decoded: rows' texts are right, whichever runner is used; errors are counted over all runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support.corpora import contents, corpus, corpus_of, errors, in_processes, log_of, manifest
from support.recordings import LABELS, WORDS

from ctckit.annotate.decoded import Language, Options
from ctckit.corpus import Corpus, Decoding, Threads, totals
from ctckit.errors import CTCError
from ctckit.text import Errors


def decoding(folder: Path, out: str = "out", task: Decoding | None = None, formats: str = "json,ctm") -> Corpus:
    return corpus(folder, task or Decoding(), out, formats)


def lexicon(folder: Path) -> Decoding:
    """A language whose words are all but one of the corpus's."""
    (folder / "words.txt").write_text("\n".join([*WORDS[1:], "7up"]))
    return Decoding(Language(lexicon=folder / "words.txt", unknown_score=-3.0))


class TestRunners:
    def test_threads_change_nothing(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 30)
        decoding(tmp_path, "one", lexicon(tmp_path)).run(Threads(1))
        outcome = decoding(tmp_path, "three", lexicon(tmp_path)).run(Threads(3))
        assert contents(tmp_path / "one") == contents(tmp_path / "three")
        assert [entry["text"] for entry in outcome.entries] == [row["text"] for row in rows]

    def test_other_processes(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 6)
        assert decoding(tmp_path, "threads", lexicon(tmp_path)).run()[:4] == (6, 0, 0, 0)
        assert decoding(tmp_path, "processes", lexicon(tmp_path)).run(in_processes)[:4] == (6, 0, 0, 0)
        assert contents(tmp_path / "threads") == contents(tmp_path / "processes")


class TestRows:
    def test_notes_on_the_language_are_once_for_all_rows(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 3)
        decoding(tmp_path, "out", task := lexicon(tmp_path)).run(Threads(2))
        assert [entry["notes"] for entry in log_of(tmp_path / "out")] == [[], [], []]
        (note,) = task.decoders.notes
        assert "can't be spelled with the labels, and are left out: '7up'" in note

    def test_each_row_has_its_own_labels(self, tmp_path: Path) -> None:
        """The order of the classes, and which is the blank; notes on it are the row's."""
        rows = corpus_of(tmp_path, 3)
        (tmp_path / "other.txt").write_text("\n".join(LABELS[::-1]), encoding="utf-8")
        np.save(tmp_path / "1.npy", np.load(tmp_path / "1.npy")[:, ::-1])
        rows[1]["labels"] = "other.txt"
        (tmp_path / "third.txt").write_text("\n".join(["<s>", *LABELS[1:-1], "<pad>"]))
        rows[2]["labels"] = "third.txt"
        manifest(tmp_path, rows)
        decoding(tmp_path, "out", lexicon(tmp_path)).run()
        log = log_of(tmp_path / "out")
        assert [entry["text"] for entry in log[:2]] == [row["text"] for row in rows[:2]]
        assert [len(entry["notes"]) for entry in log] == [0, 0, 1]
        assert "the scores rest on labels[0] = '<s>'" in log[2]["notes"][0]

    def test_a_text_in_a_file(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 1)
        text = rows[0].pop("text")
        (tmp_path / "0.srt").write_text(f"1\n00:00:00,000 --> 00:00:09,000\n<i>{text.upper()}</i>\n♪\n")
        rows[0]["transcript"] = "0.srt"
        manifest(tmp_path, rows)
        (entry,) = decoding(tmp_path).run().entries
        assert (entry["reference"], entry["wer"]) == (text, 0)

    def test_rows_that_fail(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 2)
        np.save(tmp_path / "nan.npy", np.full((5, 28), np.nan))
        bad = [
            ({"id": "a", "emissions": "nan.npy"}, "NaN or +inf in frame 0 of 5"),
            ({"id": "b", "emissions": "0.npy", "text": 3}, "'text' is 3: expected a string"),
            ({"id": "c", "emissions": "0.npy", "text": "a", "transcript": "0.txt"}, "expected either 'text'"),
            ({"id": "d", "emissions": "0.npy", "transcript": "no.txt"}, "no.txt can't be read"),
        ]
        manifest(tmp_path, [rows[0], *(row for row, _ in bad), rows[1]])
        assert decoding(tmp_path).run()[:4] == (2, 0, 4, 0)
        for told, (row, reason) in zip(errors(tmp_path / "out"), bad, strict=True):
            assert (told["id"], reason in told["reason"]) == (row["id"], True), told

    def test_several_texts(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 1)
        decoding(tmp_path, "out", Decoding(options=Options(nbest=4))).run()
        read = json.loads((tmp_path / "out" / "row 0.json").read_text())
        found = [hypothesis["score"] for hypothesis in read["hypotheses"]]
        assert len(found) == 4
        assert found == sorted(found, reverse=True)
        assert math.fsum(hypothesis["probability"] for hypothesis in read["hypotheses"]) <= 1 + 1e-5
        with pytest.raises(CTCError, match=r"nbest = 4: expected \.json"):
            decoding(tmp_path, "no", Decoding(options=Options(nbest=4)), "ctm").run()
        assert not (tmp_path / "no").exists()


class TestTotals:
    def test_sums_over_runs(self, tmp_path: Path) -> None:
        """Of rows that an earlier run did too, and not of those that the manifest no longer has."""
        rows = corpus_of(tmp_path, 4)
        rows[1]["text"] += " fox"
        rows[3]["text"] = ""
        manifest(tmp_path, rows[:2])
        decoding(tmp_path).run()
        manifest(tmp_path, rows[1:])
        found = totals(decoding(tmp_path).run().entries)
        assert found is not None
        letters = len(rows[1]["text"]) + len(rows[2]["text"])
        assert found == (2, Errors(0, 1, 0, 7), Errors(0, 4, 0, letters))
        assert totals([]) is None

    def test_labels_without_words(self, tmp_path: Path) -> None:
        """There are letters only to count."""
        (tmp_path / "labels.txt").write_text("φ\n你\n好\n吗\n", encoding="utf-8")
        np.save(tmp_path / "x.npy", np.log(0.01 + 0.96 * np.eye(4)[[1, 0, 2]]))
        manifest(tmp_path, [{"id": "x", "emissions": "x.npy", "text": "你 好吗？"}])
        outcome = decoding(tmp_path).run()
        assert totals(outcome.entries) == (1, None, Errors(0, 1, 0, 3))
        assert "wer" not in outcome.entries[0]


def test_a_language_that_can_not_be_read_is_told_before_any_work(tmp_path: Path) -> None:
    corpus_of(tmp_path, 1)
    for language in (Language(language_model=tmp_path / "no.arpa"), Language(lexicon=tmp_path / "no.txt")):
        with pytest.raises(CTCError, match="can't be read"):
            decoding(tmp_path, "new", Decoding(language)).run()
    assert not (tmp_path / "new").exists()
