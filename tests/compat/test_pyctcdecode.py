"""`ctckit.compat`: pyctcdecode's names, and its numbers if the beam holds all texts."""

from __future__ import annotations

import json
import math
import pickle
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.cabs import ARPA

import ctckit
from ctckit import CTCError
from ctckit.compat import Alphabet, BeamSearchDecoderCTC, LanguageModel, build_ctcdecoder
from ctckit.compat.kenlm import Model

LABELS = ["", "a", "b", "c", " "]
LN_10 = math.log(10)
LOGITS = np.array(
    [[1, 0, 2, 6, 0], [4, 3, 0, 1, 0], [1, 1, 5, 0, 0], [2, 0, 1, 0, 6], [0, 4, 3, 1, -90], [-90, 1, 3, 0, -90.0]]
)
EVERYTHING: Any = {"beam_width": 3000, "beam_prune_logp": -33.0, "token_min_logp": -33.0}

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "pyctcdecode.json").read_text(encoding="utf-8"))


@pytest.fixture
def arpa(tmp_path: Path) -> str:
    (tmp_path / "model.arpa").write_text(ARPA, encoding="utf-8")
    return str(tmp_path / "model.arpa")


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_pyctcdecodes_numbers(arpa: str, case: dict[str, Any]) -> None:
    options = {name: arpa if name == "kenlm_model_path" else value for name, value in case["options"].items()}
    decoder = build_ctcdecoder(LABELS, **options)
    for recording in case["recordings"]:
        logits = np.array(recording["logits"])
        beams = decoder.decode_beams(logits, **EVERYTHING, **case["calls"])
        scores = {text: (logit_score, lm_score) for text, _, _, logit_score, lm_score in beams}
        for text, *expected in recording["beams"]:
            assert np.allclose(scores[text], expected, rtol=0, atol=1e-5)  # KenLM's numbers are float32
        best, _, score = recording["beams"][0]
        assert beams[0][0] == best
        text = decoder.decode(logits, **EVERYTHING, **case["calls"])
        assert text == best or (options and scores[text][1] > score - 0.3)  # with a model, the history is pruned


def test_form_of_a_beam(arpa: str) -> None:
    text, state, frames, logit_score, lm_score = build_ctcdecoder(LABELS, arpa).decode_beams(LOGITS)[0]
    assert (text, state, frames) == ("cab ab", None, [("cab", (0, 3)), ("ab", (4, 6))])
    assert logit_score < lm_score < 0


def test_every_text_by_enumeration(arpa: str) -> None:
    decoder = build_ctcdecoder(LABELS, arpa, unigrams=["a", "ba"], alpha=0.7, beta=0.2, unk_score_offset=-1.0)
    probs = np.random.default_rng(1).dirichlet(np.ones(5), 4)
    sums: dict[str, float] = {}
    for path in product(range(5), repeat=4):
        tokens = [c for t, c in enumerate(path) if c and (not t or path[t - 1] != c)]
        text = " ".join("".join(LABELS[c] for c in tokens).split())
        sums[text] = sums.get(text, 0.0) + math.prod(probs[range(4), path])
    model = ctckit.LanguageModel.read(arpa)
    expected = {}
    for text, p in sums.items():
        words = model.words(text)[:-1]
        log10 = model.score(text) / LN_10 - sum(word.word not in ("a", "ba") for word in words)
        expected[text] = math.log(p), math.log(p) + 0.7 * LN_10 * log10 + 0.2 * len(words)
    beams = decoder.decode_beams(probs, 1000, beam_prune_logp=-math.inf)
    assert [beam[0] for beam in beams] == sorted(expected, key=lambda text: -expected[text][1])
    for text, _, _, *scores in beams:
        assert np.allclose(scores, expected[text], rtol=0, atol=1e-9)


def test_logits_log_probabilities_and_probabilities_are_told_apart() -> None:
    decoder = build_ctcdecoder(LABELS)
    probs = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    beams = [decoder.decode_beams(scores, 50) for scores in (LOGITS, np.log(probs), probs, probs.astype(np.float32))]
    for other in beams[1:]:
        assert [beam[:3] for beam in other[:5]] == [beam[:3] for beam in beams[0][:5]]
        assert np.allclose([b[4] for b in other[:5]], [b[4] for b in beams[0][:5]], rtol=1e-5, atol=0)
    certain = np.eye(5)[[1, 0, 4, 2]]
    assert decoder.decode_beams(certain) == [("a b", None, [("a", (0, 1)), ("b", (3, 4))], 0.0, 0.0)]


def test_batches() -> None:
    decoder = build_ctcdecoder(LABELS)
    recordings = [LOGITS, LOGITS[:3], LOGITS[:0]]
    pool: Any = object()  # any
    assert decoder.decode_batch(pool, recordings) == [decoder.decode(logits) for logits in recordings]
    beams = decoder.decode_beams_batch(None, recordings, beam_width=20)
    for logits, found in zip(recordings, beams, strict=True):
        assert found == [(text, *others) for text, _, *others in decoder.decode_beams(logits, beam_width=20)]
    assert beams[2] == [("", [], 0.0, 0.0)]
    assert decoder.decode_batch(None, []) == []


def test_texts_far_below_the_best_are_left_out() -> None:
    decoder = build_ctcdecoder(LABELS)
    beams = decoder.decode_beams(LOGITS, 100, beam_prune_logp=-2.5)
    assert [beam[4] for beam in beams] == [beam[4] for beam in decoder.decode_beams(LOGITS, 100)][: len(beams)]
    assert beams[-1][4] >= beams[0][4] - 2.5 > decoder.decode_beams(LOGITS, 100)[len(beams)][4]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_frames_that_are_no_scores(value: float) -> None:
    decoder = build_ctcdecoder(LABELS)
    logits = LOGITS.copy()
    logits[2] = value
    text, state, frames, *scores = decoder.decode_beams(logits)[0]
    assert (text, state, frames) == ("", None, [])
    assert np.isnan(scores).all()
    assert decoder.decode_batch(None, [LOGITS, logits]) == ["cb ab", ""]


def test_weights_may_be_changed(arpa: str) -> None:
    decoder = build_ctcdecoder(LABELS, arpa)
    found = decoder.decode_beams(LOGITS)
    for name, value in [("alpha", 0.9), ("beta", 0.1), ("unk_score_offset", -1.0), ("lm_score_boundary", False)]:
        options = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "lm_score_boundary": True, name: value}
        decoder.reset_params(**options)
        expected = build_ctcdecoder(LABELS, arpa, **options).decode_beams(LOGITS)
        assert decoder.decode_beams(LOGITS) == expected != found
    decoder.reset_params(alpha=0.5, beta=1.5, unk_score_offset=-10.0, lm_score_boundary=True)
    decoder.reset_params()
    assert decoder.decode_beams(LOGITS) == found
    # As transformers does it.
    model = decoder.model_container[decoder._model_key]
    assert model is not None
    model.alpha = 0.9
    assert decoder.decode_beams(LOGITS) == build_ctcdecoder(LABELS, arpa, alpha=0.9).decode_beams(LOGITS)
    BeamSearchDecoderCTC.clear_class_models()
    decoder.cleanup()
    assert decoder.decode(LOGITS) == "cab ab"
    build_ctcdecoder(LABELS).reset_params(alpha=1.0)


@pytest.mark.parametrize("unigrams", [None, ["a", "cab"]], ids=["all words", "unigrams"])
def test_folders(arpa: str, unigrams: list[str] | None, tmp_path: Path) -> None:
    decoder = build_ctcdecoder(LABELS, arpa, unigrams, alpha=0.6, unk_score_offset=-2.0)
    folder = tmp_path / "decoder"
    folder.mkdir()
    decoder.save_to_dir(folder)
    attributes = json.loads((folder / "language_model" / "attrs.json").read_text())
    assert attributes == {"alpha": 0.6, "beta": 1.5, "unk_score_offset": -2.0, "score_boundary": True}
    assert json.loads((folder / "alphabet.json").read_text()) == {"labels": LABELS, "is_bpe": False}
    words = (folder / "language_model" / "unigrams.txt").read_text().split()
    assert words == (["a", "ab", "ba", "cab"] if unigrams is None else unigrams)
    assert (folder / "language_model" / "model.arpa").read_text() == ARPA
    loaded = BeamSearchDecoderCTC.load_from_dir(str(folder), "utf-8")
    assert loaded.decode_beams(LOGITS) == decoder.decode_beams(LOGITS)
    loaded.save_to_dir(folder)  # over itself
    assert pickle.loads(pickle.dumps(loaded)).decode_beams(LOGITS) == decoder.decode_beams(LOGITS)
    in_memory = LanguageModel(ctckit.LanguageModel.read(arpa), unigrams, alpha=0.6, unk_score_offset=-2.0)
    other = tmp_path / "other"
    other.mkdir()
    BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), in_memory).save_to_dir(other)
    assert BeamSearchDecoderCTC.load_from_dir(other).decode_beams(LOGITS) == decoder.decode_beams(LOGITS)
    build_ctcdecoder(LABELS).save_to_dir(tmp_path)
    assert BeamSearchDecoderCTC.load_from_dir(tmp_path).model_container.popitem()[1] is None


def test_folders_are_those_of_pyctcdecode(arpa: str, tmp_path: Path) -> None:
    """Theirs can be read, and ours has the same files. pyctcdecode counts <s> and </s> as words, too."""
    decoder = build_ctcdecoder(LABELS, arpa)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    decoder.save_to_dir(str(ours))
    for name, text in [*GOLDEN["folder"].items(), ("language_model/model.arpa", ARPA)]:
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text(text, encoding="utf-8")
        written = (ours / name).read_text(encoding="utf-8")
        assert written == text or written.split() == [word for word in text.split() if word not in ("<s>", "</s>")]
    assert sum(path.is_file() for path in ours.rglob("*")) == 4
    assert BeamSearchDecoderCTC.load_from_dir(theirs).decode_beams(LOGITS) == decoder.decode_beams(LOGITS)


@pytest.mark.parametrize(
    ("labels", "expected", "convention"),
    [
        (["<pad>", "<s>", "<unk>", "|", "A"], ["", "<s>", "⁇", " ", "A"], "separator"),
        (["a", "_", " ", "|"], ["a", "", " ", "|"], "separator"),
        (["a", "b", " "], ["a", "b", " ", ""], "separator"),
        (["", "a", "_"], ["", "a", "_"], "plain"),
        (["<unk>", "▁ca", "t", "▁"], ["▁⁇▁", "▁ca", "t", "▁", ""], "sentencepiece"),
        (["[PAD]", "[UNK]", "[CLS]", "play", "##ing"], ["", "▁⁇▁", "[CLS]", "▁play", "ing"], "sentencepiece"),
    ],
    ids=["wav2vec2", "underscore", "appended", "one word", "sentencepiece", "wordpiece"],
)
def test_alphabets(labels: list[str], expected: list[str], convention: str) -> None:
    """As pyctcdecode 0.5.0 writes them."""
    alphabet = Alphabet.build_alphabet(labels)
    assert alphabet.labels == expected
    assert alphabet.is_bpe == (convention == "sentencepiece")
    assert alphabet.vocabulary.convention == convention
    assert alphabet.vocabulary.labels[alphabet.vocabulary.blank] == ""
    assert Alphabet.loads(alphabet.dumps()).labels == expected


def test_pieces() -> None:
    decoder = build_ctcdecoder(["<unk>", "▁ca", "t", "▁at", "<pad>"])
    probs = np.full((5, 5), 0.05) + 0.75 * np.eye(5)[[1, 2, 4, 3, 0]]
    text, _, frames, *_ = decoder.decode_beams(probs)[0]
    assert text == "cat at ⁇"
    assert frames == [("cat", (0, 2)), ("at", (3, 4)), ("⁇", (4, 5))]


def test_kenlms_scores(arpa: str) -> None:
    model = Model(arpa)
    assert math.isclose(model.score("cab ab"), -0.2 - 0.3 - 0.5, abs_tol=1e-6)
    assert math.isclose(model.score("cab ab", bos=False, eos=False), -0.7 - 0.3, abs_tol=1e-6)
    assert math.isclose(model.perplexity("cab ab"), 10 ** (1.0 / 3), rel_tol=1e-6)
    assert math.isclose(model.perplexity("cab cat"), 6.309573906645115, rel_tol=1e-6)  # of kenlm 0.3.0
    assert ("cab" in model, "cat" in model, model.order) == (True, False, 2)
    language = LanguageModel(model)
    assert language.order == 2
    decoder = BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), language)
    assert decoder.decode(LOGITS) == "cab ab"


def test_models_of_kenlm(arpa: str) -> None:
    """An object of KenLM's package has its file's path, as bytes."""
    theirs = SimpleNamespace(path=arpa.encode())
    assert BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), LanguageModel(theirs)).decode(LOGITS) == "cab ab"


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ({"logits": LOGITS[:, :4]}, "logits.*C=4.*5 labels"),
        ({"logits": LOGITS[None]}, r"logits\[0\] has shape \(1, 6, 5\)"),
        ({"lm_start_state": ()}, "lm_start_state.*stream"),
        ({"beam_width": 0}, "beam_width"),
        ({"beam_width": [5]}, r"beam_width = \[5\]"),
        ({"prune_history": 3}, "prune_history = 3"),
        ({"hotwords": ["a"], "hotword_weight": math.nan}, "hotword_weight"),
        ({"hotwords": ["a", 3]}, r"hotwords\[1\] = 3"),
        ({"hotwords": "a b"}, "hotwords = 'a b': expected a list"),
        ({"hotwords": 3}, "hotwords = 3: expected a list"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_errors_of_calls(calls: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):  # as in pyctcdecode
        build_ctcdecoder(LABELS).decode_beams(**{"logits": LOGITS, **calls})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda arpa: build_ctcdecoder(["a", "a"]), "both 'a'"),
        (lambda arpa: build_ctcdecoder(["▁a", " "]), "' ' among pieces"),
        (lambda arpa: build_ctcdecoder(["", "a", "b"], arpa), "nothing that separates words"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa, alpha=None), "alpha"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa, lm_score_boundary="yes"), "score_boundary"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa + ".gone"), "can't be read"),
        (lambda arpa: LanguageModel(3), "kenlm_model has type int"),
        (lambda arpa: LanguageModel(arpa, "abc"), "unigrams has type str: expected a list"),
        (lambda arpa: BeamSearchDecoderCTC(LABELS), "alphabet has type list: expected a ctckit.compat.Alphabet"),
        (
            lambda arpa: BeamSearchDecoderCTC(Alphabet(LABELS, False), lambda word: 0),
            "language_model has type function",
        ),
        (lambda arpa: BeamSearchDecoderCTC(Alphabet(["a"], False)), "no '', the blank"),
        (lambda arpa: BeamSearchDecoderCTC.load_from_dir(Path(arpa).parent), "alphabet.json can't be read"),
        (lambda arpa: LanguageModel.load_from_dir(Path(arpa).parent), "attrs.json can't be read"),
        (lambda arpa: LanguageModel(arpa).reset_params(gamma=1), "gamma is not a parameter"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa).reset_params(alpha=-1), "alpha = -1: expected"),
        (lambda arpa: Alphabet.loads("[]"), "is not an alphabet"),
    ],
)
def test_errors_of_building(make: Any, message: str, arpa: str) -> None:
    with pytest.raises(CTCError, match=message):
        make(arpa)


def test_a_folder_with_several_models(arpa: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    LanguageModel(arpa).save_to_dir(folder)
    (folder / "other.bin").write_bytes(b"")
    with pytest.raises(CTCError, match="has 2 language models"):
        LanguageModel.load_from_dir(folder)
    (folder / "attrs.json").write_text("{}")
    with pytest.raises(CTCError, match="expected alpha, beta"):
        LanguageModel.load_from_dir(folder)


def test_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    build_ctcdecoder(LABELS).save_to_dir(tmp_path)

    def download(model_id: str, *, cache_dir: str | None, revision: str) -> str:
        assert (model_id, cache_dir, revision) == ("someone/model", None, "main")
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert BeamSearchDecoderCTC.load_from_hf_hub("someone/model", revision="main").decode(LOGITS) == "cb ab"


@pytest.mark.parametrize("least", [0.5, math.nan, math.inf])
def test_pruning_of_all_texts(least: float) -> None:
    with pytest.raises(CTCError, match=r"beam_prune_logp = .*: expected a finite number"):
        build_ctcdecoder(["", "a", " "]).decode(np.zeros((3, 3)), beam_prune_logp=least)


def test_damaged_folders(tmp_path: Path) -> None:
    folder = tmp_path / "language_model"
    folder.mkdir()
    attributes = '{"alpha": 0.5, "beta": 1, "unk_score_offset": -10, "score_boundary": true}'
    for text, message in (
        ("{", "attrs.json is not JSON"),
        ("[]", "attrs.json has none: expected alpha"),
        ("3", "attrs.json has"),
        (attributes, "unigrams.txt can't be read in the encoding 'utf-8'"),
    ):
        (folder / "attrs.json").write_text(text, encoding="utf-8")
        (folder / "unigrams.txt").write_bytes(b"\xff\n")
        with pytest.raises(CTCError, match=message):
            LanguageModel.load_from_dir(folder)
    with pytest.raises(CTCError, match="in the encoding 'none': unknown encoding"):
        LanguageModel.load_from_dir(folder, unigram_encoding="none")


def test_labels_that_are_no_list() -> None:
    for labels in (None, {"a": 0}, 3):
        with pytest.raises(CTCError, match="labels has type"):
            build_ctcdecoder(labels)
