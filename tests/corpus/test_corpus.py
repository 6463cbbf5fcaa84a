"""Corpora: each row's output is right, whatever was killed or changed before, and whichever runner is used."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support.corpora import aligning, contents, corpus_of, errors, in_processes, log_of, manifest, words_of
from support.recordings import LABELS, SHIFT, spoken

from ctckit.annotate.utterance import Options
from ctckit.corpus import Aligning, Corpus, Defaults, Threads, parse_formats
from ctckit.corpus.job import Entry, Job
from ctckit.corpus.manifest import FailedRow, Row
from ctckit.corpus.store import LOCK
from ctckit.errors import CTCError, MissingExtraError


class TestCorpus:
    @pytest.mark.long
    def test_two_thousand_rows(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 2000)
        seen: list[tuple[int, int, int]] = []
        outcome = aligning(tmp_path).run(Threads(2), lambda *now: seen.append(now))
        assert outcome[:4] == (2000, 0, 0, 0)
        assert seen == [(i, 0, 2000) for i in range(2001)]
        assert len(contents(tmp_path / "out")) == 2 * len(rows) + 1
        again = aligning(tmp_path).run(Threads(2))
        assert again[:4] == (0, 2000, 0, 0)

    def test_threads_change_nothing(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 40)
        aligning(tmp_path, "one").run(Threads(1))
        aligning(tmp_path, "three").run(Threads(3))
        assert contents(tmp_path / "one") == contents(tmp_path / "three")

    def test_each_row_has_its_own_blank_and_form_of_text(self, tmp_path: Path) -> None:
        """The labels may mean either class; the scores of a row say which. Notes go to the log."""
        rows = corpus_of(tmp_path, 3)
        (tmp_path / "labels.txt").write_text("\n".join(["<pad>", *LABELS[1:], "<blk>"]) + "\n", encoding="utf-8")
        for i, row in enumerate(rows):
            scores = np.pad(np.load(tmp_path / f"{i}.npy"), ((0, 0), (0, 1)), constant_values=-30)
            np.save(tmp_path / f"{i}.npy", scores if i else scores[:, [28, *range(1, 28), 0]])
            (tmp_path / f"{i}.srt").write_text(f"1\n00:00:00,000 --> 00:00:09,000\n{row.pop('text')}\n♪\n")
            row["transcript"] = f"{i}.srt"
        manifest(tmp_path, rows)
        assert aligning(tmp_path).run(Threads(2))[:4] == (3, 0, 0, 0)
        log = log_of(tmp_path / "out")
        assert [len(entry["notes"]) for entry in log] == [0, 1, 1]
        assert all("the scores rest on labels[0] = '<pad>'" in entry["notes"][0] for entry in log[1:])
        assert all(entry["confidence"] > 0.99 and entry["words"] == 3 for entry in log)

    def test_formats_with_a_level_and_without(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 2)
        corpus = aligning(tmp_path, "out", "json,ctm")
        replace(corpus, task=Aligning(Options(level="line"))).run()
        ctm = (tmp_path / "out" / "row 0.ctm").read_text().split()
        assert (len(ctm), ctm[4]) == (6, rows[0]["text"].replace(" ", "_"))
        with pytest.raises(CTCError, match="level = line: expected a format"):
            replace(aligning(tmp_path, "no"), task=Aligning(Options(level="line"))).run()
        assert not (tmp_path / "no").exists()

    def test_subtitles_of_a_line_length(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 1)
        corpus = aligning(tmp_path, "out", "vtt,json")
        assert corpus.run().done == 1
        assert (tmp_path / "out" / "row 0.vtt").read_text().count("-->") == 1
        narrow = replace(corpus, out=tmp_path / "narrow", task=Aligning(Options(line_length=1)))
        assert narrow.run().done == 1
        assert (tmp_path / "narrow" / "row 0.vtt").read_text().count("-->") == 2  # three words, at most one a line
        with pytest.raises(CTCError, match="line_length = 42: expected subtitles"):
            replace(aligning(tmp_path, "no"), task=Aligning(Options(line_length=42))).run()

    def test_a_row_has_its_own_offset(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 3)
        rows[1]["offset"] = 60
        rows[2]["offset"] = 0
        manifest(tmp_path, rows)
        aligning(tmp_path, "plain", "json").run()
        corpus = aligning(tmp_path, "moved", "json")
        replace(corpus, defaults=corpus.defaults._replace(offset=7.5)).run()

        def starts(out: str) -> list[float]:
            return [words_of(tmp_path / out / f"row {i}.json")[0][0] for i in range(3)]

        assert np.subtract(starts("moved"), starts("plain")) == pytest.approx([7.5, 0, 0])
        assert 60 < starts("plain")[1] < 61

    def test_other_keys_are_passed_on(self, tmp_path: Path) -> None:
        """Keys of NeMo's and lhotse's rows go to the log, unless it has a key of that name itself."""
        rows = corpus_of(tmp_path, 3)
        nemo = {"audio_filepath": "/data/a.wav", "duration": 1.5, "lang": "en", "pred_text": "é", "words": "none"}
        lhotse = {"type": "MonoCut", "start": 3.5, "channel": 0, "supervisions": [{"id": "s", "speaker": None}]}
        manifest(tmp_path, [rows[0], {**nemo, **rows[1]}, {**rows[2], **lhotse}])
        assert aligning(tmp_path).run()[:4] == (3, 0, 0, 0)
        log = log_of(tmp_path / "out")
        own = set(log[0])
        assert {key: value for key, value in log[1].items() if key not in own} == {
            key: value for key, value in nemo.items() if key != "words"
        }
        assert {key: value for key, value in log[2].items() if key not in own} == lhotse
        assert [entry["words"] for entry in log] == [3, 3, 3]

    def test_the_log_says_how_well_texts_fit(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 3)
        read = [row["text"] for row in rows]
        rows[1]["text"] = "some other vexing sentence"
        manifest(tmp_path, rows)
        aligning(tmp_path).run()
        log = log_of(tmp_path / "out")
        assert [entry["reading"] for entry in log] == read
        assert [entry["misfit"] < 0.01 for entry in log] == [True, False, True]
        assert ["same recording?" in "".join(entry["notes"]) for entry in log] == [False, True, False]

    def test_only_a_few_rows_are_read_ahead(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from ctckit.corpus import job, runner

        corpus_of(tmp_path, 60)
        read: list[Path] = []
        whole = job.read_scores
        monkeypatch.setattr(job, "read_scores", lambda path: (read.append(path), whole(path))[1])
        aligning(tmp_path).run(Threads(2), lambda done, bad, rows: time.sleep(0.002))
        ahead: list[int] = []
        read.clear()
        aligning(tmp_path, "again").run(
            Threads(2), lambda done, bad, rows: (time.sleep(0.002), ahead.append(len(read) - done))
        )
        assert max(ahead) <= runner.AHEAD * 2

    def test_bad_rows(self, tmp_path: Path) -> None:
        good = corpus_of(tmp_path, 4)
        one = {"emissions": "0.npy", "text": "the fox"}
        (tmp_path / "cut.npy").write_bytes((tmp_path / "0.npy").read_bytes()[:200])
        bad: list[tuple[Any, str | None, str]] = [
            ("{", None, "the line is not JSON"),
            ("[1]", None, "the line is a list: expected an object"),
            (one, None, "id is None: expected a string"),
            ({**one, "id": 7}, None, "id is 7: expected a string"),
            ({**one, "id": "../x"}, "../x", "begins with a dot"),
            ({**one, "id": "a\x7f"}, "a\x7f", "expected no control characters"),
            ({**one, "id": ".."}, "..", "begins with a dot"),
            ({**one, "id": "x" * 300}, "x" * 300, "has 300 bytes"),
            ({**one, "id": "row 1"}, "row 1", "id 'row 1' is used on line 1: expected each id once"),
            ({**one, "id": "ROW 1"}, "ROW 1", "id 'ROW 1' is used on line 1 as 'row 1', which is the same file name"),
            ({"id": "a", "text": "a"}, "a", "'emissions' is missing"),
            ({"id": "b", "emissions": "0.npy"}, "b", "expected either 'text'"),
            ({**one, "id": "c", "frameshift": 1}, "c", "'frameshift' is unknown: expected 'frame_shift'"),
            ({**one, "id": "c2", "Frame-Shift": 1}, "c2", "'Frame-Shift' is unknown: expected 'frame_shift'"),
            *(
                ({**one, "id": id}, id, "is a device on Windows")
                for id in ("CON", "nul", "Aux.x", "COM1", "lpt¹", "prn .a")
            ),
            ({**one, "id": "d", "frame_shift": "1"}, "d", "'frame_shift' is '1': expected seconds"),
            ({**one, "id": "e", "frame_shift": 0}, "e", "frame_shift = 0: expected seconds"),
            ({**one, "id": "e2", "frame_shift": 10**400}, "e2", "expected seconds from one frame to the next"),
            ({**one, "id": "e3", "offset": -1}, "e3", "offset = -1: expected the seconds at which"),
            ({**one, "id": "e4", "offset": "1"}, "e4", "offset = '1': expected the seconds at which"),
            ({**one, "id": "f", "blank": True}, "f", "'blank' is True"),
            ({**one, "id": "g", "labels": "no.txt"}, "g", "no.txt can't be read"),
            ({**one, "id": "h", "text": 3}, "h", "'text' is 3: expected a string"),
            ({"id": "i", "emissions": "0.npy", "transcript": "no.txt"}, "i", "no.txt can't be read"),
            ({**one, "id": "j", "emissions": "cut.npy"}, "j", "cut.npy is not a readable .npy file"),
            ({**one, "id": "k", "text": "z" * 400}, "k", "are they of the same recording?"),
            ({**one, "id": "l", "text": "a \ud800"}, "l", "U+D800"),
            ({**one, "id": "m", "emissions": "\ud800.npy"}, "m", "expected a file's name"),
            ({"id": "n", "emissions": "0.npy", "transcript": "\udfff"}, "n", "expected a file's name"),
            ({**one, "id": "o", "labels": "\ud800"}, "o", "expected a file's name"),
        ]
        manifest(tmp_path, [good[1], *(row for row, _, _ in bad), *good[2:]])
        for _ in range(2):
            outcome = aligning(tmp_path).run(Threads(2))
            assert outcome.failed == len(bad)
            told = errors(tmp_path / "out")
            assert [(row["id"], row["line"]) for row in told] == [(id, i) for i, (_, id, _) in enumerate(bad, start=2)]
            for row, (_, _, reason) in zip(told, bad, strict=True):
                assert reason in row["reason"], row
            names = {f"row {i}.{suffix}" for i in (1, 2, 3) for suffix in ("json", "csv")}
            assert set(contents(tmp_path / "out")) == {"done.jsonl", "errors.jsonl"} | names
        assert (outcome.done, outcome.skipped) == (0, 3)

    def test_rows_speak_for_themselves(self, tmp_path: Path) -> None:
        """Labels, blank and frame shift of a row, its text in a file, a note, a mark that editors write."""
        (tmp_path / "deep").mkdir()
        corpus_of(tmp_path, 1)
        other = [*LABELS[1:], "φ"]
        (tmp_path / "deep" / "other.txt").write_text("\n".join(other), encoding="utf-8")
        (tmp_path / "deep" / "text.txt").write_text("The fox 8", encoding="utf-8-sig")
        np.save(tmp_path / "deep" / "y.npy", np.roll(spoken("the fox eight")[0], -1, axis=1))
        row = {"id": "y", "emissions": "y.npy", "transcript": "text.txt", "labels": "other.txt", "blank": 27}
        (tmp_path / "deep" / "m.jsonl").write_text(
            "\ufeff\n" + json.dumps({**row, "frame_shift": 1}) + "\r\n\n", "utf-8"
        )
        Corpus(tmp_path / "deep" / "m.jsonl", tmp_path / "out", (".json",), Aligning()).run()
        _, times = spoken("the fox eight")
        starts = [start for start, _ in words_of(tmp_path / "out" / "y.json")]
        assert starts == [round(start / SHIFT) for start, _ in times]
        (entry,) = log_of(tmp_path / "out")
        assert entry["notes"] == ["line 1: '8' is not in the vocabulary: it matches anything"]
        assert entry["words"] == 3

    def test_an_output_never_overwrites_an_input(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 2)
        text = rows[0].pop("text")
        (tmp_path / "row 1.txt").write_text(text)
        rows[0]["transcript"] = "row 1.txt"  # Audacity's labels of the other row would go there
        manifest(tmp_path, rows)
        outcome = Corpus(
            tmp_path / "corpus.jsonl", tmp_path, (".txt",), Aligning(), Defaults(tmp_path / "labels.txt", 1)
        ).run()
        assert outcome[:4] == (1, 0, 1, 0)
        assert "is an input" in errors(tmp_path)[0]["reason"]
        assert (tmp_path / "row 1.txt").read_text() == text


class TestGoingOn:
    def test_what_changed_is_done_again(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 6)
        aligning(tmp_path).run()
        (tmp_path / "out" / "row 0.csv").unlink()
        (tmp_path / "out" / "row 1.json").write_text("")  # as after a loss of power
        rows[2]["text"] = "the fox"
        np.save(tmp_path / "3.npy", spoken(rows[3]["text"], seed=99)[0])
        manifest(tmp_path, rows)
        assert aligning(tmp_path).run()[:4] == (4, 2, 0, 0)
        aligning(tmp_path, "new").run()
        assert contents(tmp_path / "out") == contents(tmp_path / "new")

    def test_bad_rows_are_tried_again(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 3)
        fitting = rows[1]["text"]
        rows[1]["text"] = "z" * 300
        manifest(tmp_path, rows)
        assert aligning(tmp_path).run()[:4] == (2, 0, 1, 0)
        rows[1]["text"] = fitting
        manifest(tmp_path, rows)
        assert aligning(tmp_path).run()[:4] == (1, 2, 0, 0)
        aligning(tmp_path, "new").run()
        assert contents(tmp_path / "out") == contents(tmp_path / "new")

    def test_a_row_that_turns_bad_leaves_no_old_files(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 3)
        aligning(tmp_path).run()
        rows[1]["text"] = "z" * 300
        manifest(tmp_path, rows)
        assert aligning(tmp_path).run()[:4] == (0, 2, 1, 0)
        assert not [name for name in contents(tmp_path / "out") if name.startswith("row 1")]

    def test_a_row_whose_emissions_are_gone_keeps_its_files(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 3)
        aligning(tmp_path).run()
        before = contents(tmp_path / "out")
        (tmp_path / "1.npy").unlink()
        assert aligning(tmp_path).run()[:4] == (0, 2, 1, 0)
        assert contents(tmp_path / "out")["row 1.json"] == before["row 1.json"]

    def test_a_folder_that_can_not_be_locked(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 1)
        (tmp_path / "out" / LOCK).mkdir(parents=True)
        with pytest.raises(CTCError, match=r"out can't be locked: \.lock: "):
            aligning(tmp_path).run()

    def test_another_run_at_work_is_left_alone(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 30)
        refused = []

        def second(*_: int) -> None:
            if not refused:
                with pytest.raises(CTCError, match="another run is working in") as error:
                    aligning(tmp_path).run()
                refused.append(error)

        assert aligning(tmp_path).run(Threads(2), second)[:4] == (30, 0, 0, 0)
        assert refused
        aligning(tmp_path, "calm").run()
        assert contents(tmp_path / "out") == contents(tmp_path / "calm")
        assert aligning(tmp_path).run()[:4] == (0, 30, 0, 0)

    def test_a_log_that_was_cut_off(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 5)
        aligning(tmp_path).run()
        log = tmp_path / "out" / "done.jsonl"
        whole = contents(tmp_path / "out")
        first = whole["done.jsonl"].index(b"\n") + 1
        for size in range(first, len(whole["done.jsonl"]), 37):
            log.write_bytes(whole["done.jsonl"][:size])
            (tmp_path / "out" / "row 2.json12345678.tmp").write_text("half")
            aligning(tmp_path).run()
            assert contents(tmp_path / "out") == whole


class TestRunners:
    def test_another_runner(self, tmp_path: Path) -> None:
        """A job is plain data: other processes do the same, file by file."""
        rows = corpus_of(tmp_path, 12)
        rows[4]["text"] = "z" * 300
        manifest(tmp_path, rows)
        assert aligning(tmp_path, "threads").run(Threads(2))[:4] == (11, 0, 1, 0)
        assert aligning(tmp_path, "processes").run(in_processes)[:4] == (11, 0, 1, 0)
        assert contents(tmp_path / "threads") == contents(tmp_path / "processes")

    def test_a_job_is_pickled_before_and_after_work(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 1)
        jobs: list[tuple[Job, Row]] = []

        def one_by_one(job: Job, rows: Sequence[Row]) -> Iterator[Entry | FailedRow]:
            for row in rows:
                jobs.append((job, row))
                yield job.run(row)

        aligning(tmp_path).run(one_by_one)
        before = contents(tmp_path / "out")
        ((job, row),) = pickle.loads(pickle.dumps(jobs))
        (tmp_path / "out" / "row 0.json").unlink()
        result = job.run(row)
        assert job.is_done(row, result)
        assert contents(tmp_path / "out") == before

    def test_number_of_threads(self) -> None:
        with pytest.raises(CTCError, match="num_threads = 0: expected at least 1"):
            Threads(0)


def test_a_missing_package_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="praatio"):
        parse_formats("json,TextGrid")
