"""transformers' processor with a language model, unchanged, with `ctckit.compat` instead of pyctcdecode."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctckit.compat
from ctckit.compat import installing

pytest.importorskip("transformers")

VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6, "C": 7}
UNIGRAMS = "".join(f"{p}\t{word}\t0\n" for p, word in [(-1.2, "<unk>"), (-99, "<s>"), (-0.9, "</s>")])
WORDS = "".join(f"{p}\t{word}\t0\n" for p, word in [(-0.6, "A"), (-0.8, "AB"), (-0.7, "CAB"), (-1.1, "BA")])
ARPA = f"\\data\\\nngram 1=7\nngram 2=1\n\n\\1-grams:\n{UNIGRAMS}{WORDS}\n\\2-grams:\n-0.2\t<s> CAB\n\n\\end\\\n"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Installs `ctckit.compat`, with this spec of the package kenlm; undone after the test."""

    def install(spec: object) -> None:
        names = ("pyctcdecode", *(f"pyctcdecode.{name}" for name in installing._MODULES), "kenlm")
        for name in names:
            monkeypatch.setitem(sys.modules, name, ctckit.compat)
        monkeypatch.delitem(sys.modules, "kenlm")
        monkeypatch.setattr(installing, "find_spec", {"kenlm": spec}.get)
        ctckit.compat.install()

    return install


@pytest.fixture
def processor(tmp_path: Path, installed: Callable[[object], None]) -> Any:
    installed(None)
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ProcessorWithLM

    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    (tmp_path / "model.arpa").write_text(ARPA)
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), word_delimiter_token="|")
    # As transformers' documentation says.
    labels = [label for label, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])]
    decoder = ctckit.compat.build_ctcdecoder(labels, str(tmp_path / "model.arpa"))
    return Wav2Vec2ProcessorWithLM(Wav2Vec2FeatureExtractor(), tokenizer, decoder)


def said(text: str) -> np.ndarray[Any, Any]:
    """(T, C) logits of a text, with a blank after each token."""
    path = [c for letter in text.replace(" ", "|") for c in (VOCABULARY[letter], 0)]
    logits = np.random.default_rng(len(text)).normal(0, 1, (len(path), len(VOCABULARY))).astype(np.float32)
    logits[np.arange(len(path)), path] += 6
    return logits


def test_a_recording(processor: Any) -> None:
    output = processor.decode(said("CAB AB"), output_word_offsets=True)
    assert output.text == "CAB AB"
    assert output.logit_score <= 0
    spans = [(word["word"], word["start_offset"], word["end_offset"]) for word in output.word_offsets]
    assert spans == [("CAB", 0, 5), ("AB", 8, 11)]
    expected = output.logit_score + 0.5 * np.log(10) * (-0.2 - 0.8 - 0.9) + 2 * 1.5
    assert np.isclose(output.lm_score, expected, rtol=0, atol=1e-5)
    several = processor.decode(said("CAB AB"), n_best=3)
    assert several.text[0] == "CAB AB"
    assert several.lm_score == sorted(several.lm_score, reverse=True)


def test_a_batch(processor: Any) -> None:
    recordings = [said("CAB AB"), said("BA")]
    padded = np.full((2, len(recordings[0]), len(VOCABULARY)), -100, np.float32)
    for row, logits in zip(padded, recordings, strict=True):
        row[: len(logits)] = logits
    output = processor.batch_decode(padded, num_processes=1, output_word_offsets=True)
    assert output.text == ["CAB AB", "BA"]
    for n, logits in enumerate(recordings):
        alone = processor.decode(logits, output_word_offsets=True)
        assert (alone.lm_score, alone.word_offsets) == (output.lm_score[n], output.word_offsets[n])


def test_hotwords_and_weights(processor: Any) -> None:
    logits = said("CAB AB")
    logits[8:] = 0.5 * logits[8:]
    plain = processor.decode(logits, n_best=20)
    hot = processor.decode(logits, hotwords=["ABBA"], hotword_weight=30.0)
    assert "ABBA" not in plain.text[0]
    assert "ABBA" in hot.text
    weighted = processor.decode(logits, alpha=0.0, beta=0.0, n_best=20)
    assert weighted.lm_score == weighted.logit_score
    assert processor.language_model.alpha == 0.0


def test_saved_and_loaded(processor: Any, tmp_path: Path) -> None:
    folder = tmp_path / "processor"
    folder.mkdir()
    processor.save_pretrained(folder)
    assert (folder / "language_model" / "model.arpa").read_text() == ARPA
    loaded = type(processor).from_pretrained(str(folder), alpha=0.7)
    assert isinstance(loaded.decoder, ctckit.compat.BeamSearchDecoderCTC)
    assert loaded.language_model.alpha == 0.7
    for logits in (said("CAB AB"), said("BA A")):
        processor.decoder.reset_params(alpha=0.7)
        assert loaded.decode(logits).lm_score == processor.decode(logits).lm_score


def test_the_place_of_pyctcdecode(installed: Callable[[object], None]) -> None:
    installed("there")
    assert "kenlm" not in sys.modules
    installed(None)
    import kenlm
    import pyctcdecode
    from pyctcdecode.alphabet import BLANK_TOKEN_PTN
    from pyctcdecode.constants import DEFAULT_BEAM_WIDTH

    assert pyctcdecode is ctckit.compat
    assert kenlm is ctckit.compat.kenlm
    assert BLANK_TOKEN_PTN.match("<PAD>")
    assert DEFAULT_BEAM_WIDTH == 100
