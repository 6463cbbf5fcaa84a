"""`ctckit.compat`: pyctcdecode's names, and its numbers where both search everything."""

from __future__ import annotations

import importlib
import json
import logging
import math
import pickle
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctckit
from ctckit import CTCError
from ctckit.compat import Alphabet, BeamSearchDecoderCTC, LanguageModel, build_ctcdecoder
from ctckit.compat.kenlm import Model

LABELS = ["", "a", "b", "c", " "]
ARPA = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
-99\t<s>\t-0.3
-0.9\t</s>\t0
-0.6\ta\t-0.2
-0.8\tab\t-0.4
-0.7\tcab\t-0.1
-1.1\tba\t-0.3

\\2-grams:
-0.2\t<s> cab
-0.3\tcab ab
-0.5\tab </s>
-0.4\ta a

\\end\\
"""
LN_10 = math.log(10)
LOGITS = np.array(
    [[1, 0, 2, 6, 0], [4, 3, 0, 1, 0], [1, 1, 5, 0, 0], [2, 0, 1, 0, 6], [0, 4, 3, 1, -90], [-90, 1, 3, 0, -90.0]]
)
EVERYTHING: Any = {"beam_width": 3000, "beam_prune_logp": -33.0, "token_min_logp": -33.0}

# What pyctcdecode 0.5.0 with kenlm 0.3.0 finds in these, with nothing pruned that matters: arguments, those of the
# call, and texts with logit_score and lm_score.
GOLDEN: list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, float, float]]]] = [
    (
        {},
        {},
        [
            ("cb ab", -0.947504, -0.947504),
            ("cb b", -1.898917, -1.898917),
            ("cab ab", -2.01425, -2.01425),
            ("cb a", -2.929355, -2.929355),
            ("cab b", -2.965662, -2.965662),
            ("cb ba", -3.947502, -3.947502),
        ],
    ),
    (
        {"kenlm_model_path": ARPA},
        {},
        [
            ("cab ab", -2.01425, -0.165542),
            ("cab a", -3.9961, -3.298685),
            ("cab ba", -5.01425, -5.00761),
            ("ab ab", -6.001001, -6.22462),
            ("cab", -7.366782, -7.248333),
            ("a ab", -8.782939, -8.546041),
        ],
    ),
    (
        {
            "kenlm_model_path": ARPA,
            "unigrams": ["a", "ab", "cab"],
            "alpha": 0.8,
            "beta": 0.7,
            "unk_score_offset": -2.0,
        },
        {"hotwords": ["ba cb"], "hotword_weight": 3.0},
        [
            ("cab ab", -2.01425, -2.456318),
            ("cb ab", -0.947504, -5.389431),
            ("cab a", -3.9961, -6.280236),
            ("cb a", -2.929355, -8.108109),
            ("cab cb", -5.01425, -8.719349),
            ("cab", -7.366782, -8.877263),
        ],
    ),
]


@pytest.fixture
def arpa(tmp_path: Path) -> str:
    (tmp_path / "model.arpa").write_text(ARPA, encoding="utf-8")
    return str(tmp_path / "model.arpa")


@pytest.mark.parametrize(("options", "calls", "expected"), GOLDEN, ids=["plain", "language", "unigrams"])
def test_pyctcdecodes_numbers(arpa: str, options: Any, calls: Any, expected: list[tuple[str, float, float]]) -> None:
    if "kenlm_model_path" in options:
        options = {**options, "kenlm_model_path": arpa}
    decoder = build_ctcdecoder(LABELS, **options)
    beams = decoder.decode_beams(LOGITS, **EVERYTHING, **calls)
    assert [beam[0] for beam in beams[:6]] == [text for text, _, _ in expected]
    for beam, (text, logit_score, lm_score) in zip(beams[:6], expected, strict=True):
        assert math.isclose(beam[3], logit_score, abs_tol=1e-6)
        assert math.isclose(beam[4], lm_score, abs_tol=2e-6)  # KenLM's numbers are float32
        assert beam[1] is None
        assert [word for word, _ in beam[2]] == text.split()
    assert decoder.decode(LOGITS, **EVERYTHING, **calls) == expected[0][0]


@pytest.mark.parametrize("hotwords", [None, ["ab", "cab a"]], ids=["", "hotwords"])
@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 0.9}, {"unigrams": ["a", "ab", "ba"]}, {"lm_score_boundary": False, "unk_score_offset": -3.0}],
    ids=["plain", "language", "unigrams", "no bounds"],
)
def test_pyctcdecode_beside(arpa: str, options: dict[str, Any], hotwords: list[str] | None) -> None:
    theirs = pytest.importorskip("pyctcdecode")
    logging.disable(logging.CRITICAL)
    options = {**options, "kenlm_model_path": arpa} if options else {}
    both = theirs.build_ctcdecoder(LABELS, **options), build_ctcdecoder(LABELS, **options)
    rng = np.random.default_rng(0)
    for _ in range(25):
        logits = rng.normal(0, 2, (rng.integers(1, 6), len(LABELS)))
        logits[-1, [0, 4]] = -200  # after a space at the end, pyctcdecode asks for an empty word
        expected, found = (decoder.decode_beams(logits, **EVERYTHING, hotwords=hotwords) for decoder in both)
        assert found[0][0] == expected[0][0]
        scores = {beam[0]: beam[3:] for beam in found}
        near = [beam for beam in expected if beam[4] > expected[0][4] - 12]  # of others it prunes some paths
        for beam in near:
            assert np.allclose(scores[beam[0]], beam[3:], rtol=0, atol=1e-5)
    logging.disable(logging.NOTSET)


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


def test_folders_of_both(arpa: str, tmp_path: Path) -> None:
    theirs = pytest.importorskip("pyctcdecode")
    decoder = build_ctcdecoder(LABELS, arpa)
    for name, writer in (("ours", decoder), ("theirs", theirs.build_ctcdecoder(LABELS, arpa))):
        folder = tmp_path / name
        folder.mkdir()
        writer.save_to_dir(str(folder))
        assert BeamSearchDecoderCTC.load_from_dir(folder).decode(LOGITS) == decoder.decode(LOGITS)
        assert theirs.BeamSearchDecoderCTC.load_from_dir(str(folder)).decode(LOGITS) == decoder.decode(LOGITS)


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
    alphabet = Alphabet.build_alphabet(labels)
    assert alphabet.labels == expected
    assert alphabet.is_bpe == (convention == "sentencepiece")
    assert alphabet.vocabulary.convention == convention
    assert alphabet.vocabulary.labels[alphabet.vocabulary.blank] == ""
    assert Alphabet.loads(alphabet.dumps()).labels == expected
    if find_spec("pyctcdecode"):
        theirs = importlib.import_module("pyctcdecode")
        assert theirs.Alphabet.build_alphabet(labels).labels == expected


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
    assert ("cab" in model, "cat" in model, model.order) == (True, False, 2)
    language = LanguageModel(model)
    assert language.order == 2
    decoder = BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), language)
    assert decoder.decode(LOGITS) == "cab ab"


def test_models_of_kenlm(arpa: str) -> None:
    theirs, model = pytest.importorskip("kenlm").Model(arpa), Model(arpa)
    assert math.isclose(theirs.perplexity("cab cat"), model.perplexity("cab cat"), rel_tol=1e-6)
    assert BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), LanguageModel(theirs)).decode(LOGITS) == "cab ab"


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ({"logits": LOGITS[:, :4]}, "logits.*C=4.*5 labels"),
        ({"logits": LOGITS[None]}, r"logits\[0\] has shape \(1, 6, 5\)"),
        ({"lm_start_state": ()}, "lm_start_state.*stream"),
        ({"beam_width": 0}, "beam_width"),
        ({"hotwords": ["a"], "hotword_weight": math.nan}, "hotword_weight"),
        ({"hotwords": ["a", 3]}, r"hotwords\[1\] = 3"),
        ({"hotwords": "a b"}, "hotwords = 'a b': expected a list"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_errors_of_calls(calls: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):  # pyctcdecode's are, too
        build_ctcdecoder(LABELS).decode_beams(**{"logits": LOGITS, **calls})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda arpa: build_ctcdecoder(["a", "a"]), "both 'a'"),
        (lambda arpa: build_ctcdecoder(["▁a", " "]), "' ' beside pieces"),
        (lambda arpa: build_ctcdecoder(["", "a", "b"], arpa), "nothing that separates words"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa, alpha=None), "alpha"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa, lm_score_boundary="yes"), "score_boundary"),
        (lambda arpa: build_ctcdecoder(LABELS, arpa + ".gone"), "can't be read"),
        (lambda arpa: LanguageModel(3), "kenlm_model has type int"),
        (
            lambda arpa: BeamSearchDecoderCTC(Alphabet(LABELS, False), lambda word: 0),
            "language_model has type function",
        ),
        (lambda arpa: BeamSearchDecoderCTC(Alphabet(["a"], False)), "no '', the blank"),
        (lambda arpa: BeamSearchDecoderCTC.load_from_dir(Path(arpa).parent), "alphabet.json can't be read"),
        (lambda arpa: LanguageModel.load_from_dir(Path(arpa).parent), "attrs.json can't be read"),
        (lambda arpa: LanguageModel(arpa).reset_params(gamma=1), "gamma is no parameter"),
        (lambda arpa: Alphabet.loads("[]"), "is no alphabet"),
    ],
)
def test_errors_of_building(make: Any, message: str, arpa: str) -> None:
    with pytest.raises(ctckit.CTCError, match=message):
        make(arpa)


def test_a_folder_with_several_models(arpa: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    LanguageModel(arpa).save_to_dir(folder)
    (folder / "other.bin").write_bytes(b"")
    with pytest.raises(ctckit.CTCError, match="holds 2 language models"):
        LanguageModel.load_from_dir(folder)
    (folder / "attrs.json").write_text("{}")
    with pytest.raises(ctckit.CTCError, match="expected alpha, beta"):
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
        ("{", "attrs.json is no JSON"),
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
