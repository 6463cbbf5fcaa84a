"""AlignBatch and DecodeBatch: the same results as one recording's, in every form of table, with errors as a column."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recordings import LABELS, SHIFT, spoken

import ctckit
from ctckit.annotate import AlignBatch, DecodeBatch
from ctckit.annotate.recording import words_of
from ctckit.annotate.utterance import Options, align
from ctckit.errors import CTCError

TEXTS = ["the quick fox", "a lazy dog", "over the dog", "the fox jumps"]
SCORES = [spoken(text, seed)[0] for seed, text in enumerate(TEXTS)]
RESULTS = ["words", "starts", "ends", "confidences", "confidence"]


def batch(**columns: Any) -> dict[str, Any]:
    return {"id": list("wxyz"), "log_probs": SCORES, "text": TEXTS} | columns


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def padded() -> np.ndarray:
    """All recordings' scores in one array, (N, T, C)."""
    array = np.full((len(SCORES), max(map(len, SCORES)), len(LABELS)), np.nan, np.float32)
    for n, scores in enumerate(SCORES):
        array[n, : len(scores)] = scores
    return array


def objects(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), object)
    for n, value in enumerate(values):
        column[n] = value
    return column


class TestAlignBatch:
    def test_what_one_recording_gets(self) -> None:
        done = AlignBatch(LABELS, SHIFT)(batch())
        assert list(done) == ["id", "text", *RESULTS, "misfit", "reading", "notes", "error"]
        vocabulary = ctckit.Vocabulary(LABELS)
        for n, (scores, text) in enumerate(zip(SCORES, TEXTS, strict=True)):
            one = align(scores, text, vocabulary, SHIFT, Options())
            words = words_of(one.lines)
            assert done["words"][n].tolist() == [word.text for word in words] == text.split()
            assert done["starts"][n].tolist() == [word.start for word in words]
            assert done["ends"][n].tolist() == [word.end for word in words]
            assert done["confidences"][n].tolist() == [word.confidence for word in words]
            assert (done["misfit"][n], done["reading"][n]) == (one.fit.misfit, text)
        assert done["error"].tolist() == [""] * 4
        assert done["confidence"].dtype == float

    @pytest.mark.parametrize(
        "column",
        [
            objects(SCORES),
            [scores.tolist() for scores in SCORES],
            [scores.ravel() for scores in SCORES],
            [objects(list(scores)) for scores in SCORES],
            [npy(scores) for scores in SCORES],
            [scores[None] for scores in SCORES],
        ],
        ids=["arrays", "lists", "flat", "rows of objects", "npy", "batch axis"],
    )
    def test_forms_of_scores(self, column: Any) -> None:
        expected = AlignBatch(LABELS, SHIFT)(batch())
        assert_same(AlignBatch(LABELS, SHIFT)(batch(log_probs=column)), expected)

    def test_padded_scores_with_frames(self) -> None:
        expected = AlignBatch(LABELS, SHIFT)(batch())
        done = AlignBatch(LABELS, SHIFT, frames="n")(batch(log_probs=padded(), n=[len(one) for one in SCORES]))
        assert_same({name: done[name] for name in expected}, expected)
        without = AlignBatch(LABELS, SHIFT)(batch(log_probs=padded()))["error"]
        assert [("NaN" in error) for error in without] == [len(one) < padded().shape[1] for one in SCORES]

    def test_an_offset_of_each_row(self) -> None:
        plain = AlignBatch(LABELS, SHIFT)(batch())
        moved = AlignBatch(LABELS, SHIFT, offset="begin")(batch(begin=[0, 1.5, 60, None]))
        for n, seconds in enumerate([0, 1.5, 60]):
            assert moved["starts"][n] == pytest.approx(plain["starts"][n] + seconds)
        assert moved["error"].tolist() == ["", "", "", "'begin' is None: expected seconds, at least 0"]
        for wrong in (-1, np.inf, np.nan, "1"):
            done = AlignBatch(LABELS, SHIFT, offset="begin")(batch(begin=[wrong] * 4))
            assert f"'begin' is {wrong!r}: expected seconds" in done["error"][0]

    @pytest.mark.parametrize(
        ("scores", "text", "reason"),
        [
            (None, "the fox", "'log_probs' holds no value: expected scores"),
            ("x", "the fox", "'log_probs' holds str of <U1, shape (): expected scores"),
            (np.zeros((0, 28)), "the fox", "shape (0, 28)"),
            (np.zeros(29), "the fox", "'log_probs' holds 29 numbers in a row: expected a multiple of the 28 labels"),
            ([[0.0] * 28, [0.0] * 27], "the fox", "'log_probs' has frames of different lengths"),
            (np.zeros((5, 27)), "the fox", "27"),
            (np.zeros((2, 5, 28)), "the fox", "'log_probs' holds several recordings, of shape (2, 5, 28)"),
            (b"\x80\x04.", "the fox", "'log_probs' is not a readable .npy file: it does not begin as NumPy files do"),
            (npy(SCORES[0])[:-9], "the fox", "'log_probs' is not a readable .npy file"),
            (npy(objects([1, "a"])), "the fox", "'log_probs' holds pickled Python objects"),
            (SCORES[0] + 30, "the fox", "logits"),
            (np.full((50, 28), np.nan), "the fox", "NaN"),
            (SCORES[0], None, "'text' is None: expected a text"),
            (SCORES[0], 3, "'text' is 3: expected a text"),
            (SCORES[0], b"caf\xe9", "'text' is not UTF-8 text"),
            (SCORES[0], "", "no character that the labels can spell"),
            (SCORES[0], "the fox " * 99, "the text does not fit the emissions"),
        ],
    )
    def test_a_bad_row_is_no_error_of_the_others(self, scores: Any, text: Any, reason: str) -> None:
        good = AlignBatch(LABELS, SHIFT)(batch())
        done = AlignBatch(LABELS, SHIFT)(
            batch(log_probs=[SCORES[0], scores, *SCORES[2:]], text=[TEXTS[0], text, *TEXTS[2:]])
        )
        assert reason in done["error"][1]
        assert (done["words"][1].tolist(), done["starts"][1].tolist(), done["reading"][1]) == ([], [], "")
        assert np.isnan([done["confidence"][1], done["misfit"][1]]).all()
        others = [0, 2, 3]
        assert [done["error"][n] for n in others] == [""] * 3
        assert [done["starts"][n].tolist() for n in others] == [good["starts"][n].tolist() for n in others]

    @pytest.mark.parametrize("frames", [0, 1.5, -1, 10_000, None, "3", float("nan")])
    def test_a_bad_number_of_frames(self, frames: Any) -> None:
        done = AlignBatch(LABELS, SHIFT, frames="n")({"log_probs": SCORES[:1], "text": TEXTS[:1], "n": [frames]})
        assert f"'n' is {frames!r}: expected a number of frames from 1 to {len(SCORES[0])}" in done["error"][0]

    def test_an_unexpected_error_is_one_of_its_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ctckit.annotate import utterance

        def fails(*_: Any, **__: Any) -> None:
            raise RuntimeError("out of luck")

        monkeypatch.setattr(utterance, "align", fails)
        assert AlignBatch(LABELS, SHIFT)(batch())["error"].tolist() == ["unexpected RuntimeError: out of luck"] * 4

    def test_what_is_wrong_with_the_whole_job_is_raised(self) -> None:
        align = AlignBatch(LABELS, SHIFT)
        with pytest.raises(CTCError, match=r"no column 'log_probs': expected one; it has 'id', 'text'"):
            align({"id": ["x"], "text": ["a"]})
        with pytest.raises(CTCError, match=r"a column 'words' already.*prefix='ctc_'"):
            align(batch(words=[""] * 4))
        with pytest.raises(CTCError, match=r"columns of different lengths: {'log_probs': 4, 'text': 3}"):
            align(batch(text=TEXTS[:3]))
        for wrong in ({"frame_shift": 0}, {"extend": -1}, {"from_logits": "yes"}, {"blank": 99}):
            with pytest.raises(CTCError):
                AlignBatch(LABELS, **{"frame_shift": SHIFT} | wrong)

    def test_a_prefix(self) -> None:
        done = AlignBatch(LABELS, SHIFT, prefix="ctc_")(batch(words=["mine"] * 4))
        assert done["words"] == ["mine"] * 4
        assert done["ctc_words"][0].tolist() == TEXTS[0].split()
        assert done["ctc_error"].tolist() == [""] * 4

    def test_options_and_names(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
        logits = [scores * 1.0 + np.arange(len(scores))[:, None] for scores in SCORES]
        given = {"logits": logits, "said": [f"«{text}»" for text in TEXTS]}
        options: dict[str, Any] = {"scores": "logits", "text": "said", "from_logits": True, "extend": 2}
        done = AlignBatch(tmp_path / "labels.txt", SHIFT, strip_punctuation=True, **options)(given)
        plain = AlignBatch(LABELS, SHIFT)(batch())
        assert done["error"].tolist() == [""] * 4
        assert [words.tolist() for words in done["words"]] == [text.split() for text in TEXTS]
        assert all((a >= b).all() for a, b in zip(done["ends"], plain["ends"], strict=True))
        assert sum(map(np.sum, done["ends"])) > sum(map(np.sum, plain["ends"]))

    def test_no_rows(self) -> None:
        done = AlignBatch(LABELS, SHIFT)({"log_probs": [], "text": []})
        assert {name: len(column) for name, column in done.items()} == dict.fromkeys(done, 0)


class TestDecodeBatch:
    def test_what_a_decoder_finds(self) -> None:
        decoder = ctckit.Decoder(LABELS, lexicon=["the", "quick", "fox", "a", "lazy", "dog", "over", "jumps"])
        done = DecodeBatch(decoder, SHIFT, hotwords=iter(["fox"]))(batch(text=[None] * 4))
        assert list(done) == ["id", "text", *RESULTS, "decoded", "score", "notes", "error"]
        assert done["decoded"].tolist() == TEXTS
        assert done["score"].tolist() == [decoder.decode(scores, hotwords=["fox"])[0][0].score for scores in SCORES]
        assert [words.tolist() for words in done["words"]] == [text.split() for text in TEXTS]
        assert all((done["starts"][n] < done["ends"][n]).all() for n in range(4))

    def test_labels_will_do(self) -> None:
        assert DecodeBatch(LABELS, SHIFT)({"log_probs": SCORES})["decoded"].tolist() == TEXTS

    def test_a_bad_row(self) -> None:
        done = DecodeBatch(LABELS, SHIFT)({"log_probs": [SCORES[0], None]})
        assert done["decoded"].tolist() == [TEXTS[0], ""]
        assert "holds no value" in done["error"][1]
        assert np.isnan(done["score"][1])


CALLABLES: list[Callable[[Any], Any]] = [AlignBatch(LABELS, SHIFT), DecodeBatch(LABELS, SHIFT)]


@pytest.mark.parametrize("done_by", CALLABLES, ids=["align", "decode"])
class TestFrameworks:
    """The types of the columns are the same for each batch, whether its rows fail or not."""

    def test_pickle(self, done_by: Callable[[Any], Any]) -> None:
        assert_same(pickle.loads(pickle.dumps(done_by))(batch()), done_by(batch()))

    @pytest.mark.parametrize("form", [None, "numpy", "arrow", "pandas"])
    def test_datasets(self, done_by: Callable[[Any], Any], form: str | None) -> None:
        datasets = pytest.importorskip("datasets", reason="the extra tests has it")
        rows = {"id": list("abcdwxyz"), "log_probs": [[[0.5]]] * 4 + [one.tolist() for one in SCORES]}
        table = datasets.Dataset.from_dict(rows | {"text": ["?"] * 4 + TEXTS}).with_format(form)
        mapped = table.map(of_frame(done_by) if form == "pandas" else done_by, batched=True, batch_size=4)
        found = mapped.with_format(None)[:]
        assert [bool(error) for error in found["error"]] == [True] * 4 + [False] * 4
        assert found["words"] == [[]] * 4 + [text.split() for text in TEXTS]
        assert found["starts"][4:] == [pytest.approx(one.tolist()) for one in done_by(batch())["starts"]]

    def test_arrow(self, done_by: Callable[[Any], Any]) -> None:
        pa = pytest.importorskip("pyarrow", reason="the extra tests has it")
        floats = pa.list_(pa.list_(pa.float32()))
        forms = {
            "nested": (floats, [one.tolist() for one in SCORES]),
            "large": (pa.large_list(pa.large_list(pa.float32())), [one.tolist() for one in SCORES]),
            "fixed": (pa.list_(pa.list_(pa.float32(), len(LABELS))), [one.tolist() for one in SCORES]),
            "flat": (pa.list_(pa.float32()), [one.ravel() for one in SCORES]),
            "npy": (pa.binary(), [npy(one) for one in SCORES]),
        }
        expected = done_by(batch())
        for kind, values in forms.values():
            table = pa.table({"id": list("wxyz"), "log_probs": pa.array(values, kind), "text": TEXTS})
            found = done_by(table)
            assert found.schema == done_by(table.slice(0, 0)).schema
            assert_same(found.to_pydict(), expected)
            failed = pa.table({"id": ["v"], "log_probs": pa.array([None], kind), "text": ["?"]})
            assert pa.concat_tables([found, done_by(failed)]).num_rows == 5
            (part,) = table.combine_chunks().to_batches()
            assert isinstance(done_by(part), pa.RecordBatch)  # as Spark wants it
            assert done_by(part).to_pydict() == found.to_pydict()
        assert found.schema.field("words").type == pa.list_(pa.string())

    def test_pandas(self, done_by: Callable[[Any], Any]) -> None:
        """As in Spark's mapInPandas, whose frames are any part of a table."""
        pd = pytest.importorskip("pandas", reason="the extra tests has it")
        whole = pd.DataFrame(batch(log_probs=[one.ravel() for one in SCORES]))
        found = [pd.DataFrame(done_by(frame)) for frame in (whole[:1], whole[1:])]
        assert_same(pd.concat(found).to_dict("list"), done_by(batch()))

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
    @pytest.mark.parametrize("decoded", [False, True])
    def test_webdataset(self, done_by: Callable[[Any], Any], tmp_path: Path, decoded: bool) -> None:
        wds = pytest.importorskip("webdataset", reason="the extra tests has it")
        with wds.TarWriter(str(tmp_path / "shard.tar")) as shard:
            for key, scores, text in zip("wxyz", SCORES, TEXTS, strict=True):
                shard.write({"__key__": key, "npy": scores, "txt": text})
        samples = wds.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False)
        samples = samples.decode() if decoded else samples
        (columns,) = samples.to_tuple("__key__", "npy", "txt").batched(4, collation_fn=lambda rows: [*zip(*rows)])  # noqa: B905
        found = done_by(dict(zip(["id", "log_probs", "text"], columns, strict=True)))
        text = TEXTS if decoded else [text.encode() for text in TEXTS]
        assert_same(found | {"text": text}, done_by(batch()) | {"text": text})


def of_frame(done_by: Callable[[Any], Any]) -> Callable[[Any], Any]:
    pd = pytest.importorskip("pandas", reason="the extra tests has it")
    return lambda frame: pd.DataFrame(done_by(frame))


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Columns of equal names and values, but for rounding: scores may be float32 in one and float64 in the other."""
    assert list(found) == list(expected)
    for name in found:
        for one, other in zip(found[name], expected[name], strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-6) if is_float(other) else np.array_equal(one, other), (
                name
            )


def is_float(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"
