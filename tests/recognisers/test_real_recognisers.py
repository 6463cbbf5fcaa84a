"""Real networks on real bytes: hama on a recording, PP-OCRv4 on drawn lines, transformers from a folder."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import ppocr
from support.drawn_pages import CHINESE, draw_page, letter_edges, needs_chinese, turned
from support.heard import ENDS, RECORDING, STARTS, WORDS
from support.installed import needs

from ctckit import CTCError, greedy_decode
from ctckit.annotate.decoded import Decoders, Language
from ctckit.annotate.decoded import Options as Decoding
from ctckit.annotate.recording import words_of
from ctckit.annotate.scans import decode_page
from ctckit.annotate.utterance import Options, align
from ctckit.errors import MissingExtraError
from ctckit.recognisers import (
    ImageInput,
    Recogniser,
    SoundInput,
    hama,
    onnx,
    pp_ocr,
    recognise,
    recognise_page,
    transformers,
)
from ctckit.recognisers.named import named

SOUND = ("soundfile", "soxr")


# --- hama -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phones() -> Recogniser:
    return hama()


@needs("hama", *SOUND)
class TestHama:
    def test_hears_phones(self, phones: Recogniser) -> None:
        heard = recognise(phones, RECORDING)
        assert (heard.frame_shift, heard.delay, heard.stretch) == (0.02, 0.1, 0.25)
        np.testing.assert_allclose(np.exp(heard.log_probs).sum(axis=1), 1, atol=1e-4)
        read = greedy_decode(heard.log_probs, vocabulary=phones.vocabulary(), blank=phones.blank)[0].text
        assert read.split()[1:] == ["fɔɹwɝ", "tɛn", "mitɝz"]

    def test_long_recordings_go_in_pieces(self, phones: Recogniser) -> None:
        """Of more than 30 s the network leaves out the rest. It normalises, so pieces are only nearly the whole."""
        import soundfile

        samples = np.tile(soundfile.read(RECORDING, dtype="float32")[0], 15)
        long = phones.log_probs(samples)
        assert len(samples) > 40 * 16000
        assert len(long) == len(samples) // 320 + 1
        other = replace(phones, piece=300, overlap=50).log_probs(samples)
        assert np.mean(long.argmax(axis=1) == other.argmax(axis=1)) > 0.95
        with pytest.raises(CTCError, match="hears at most 1500 frames at a time, and this piece has 2"):
            replace(phones, piece=9999).log_probs(samples)

    def test_spells_texts_in_phones(self, phones: Recogniser) -> None:
        vocabulary = phones.vocabulary()
        assert vocabulary.notes == ()
        transcript = vocabulary.transcribe("Go forward, 10 m")
        assert [vocabulary.labels[token] if token >= 0 else "*" for token in transcript.tokens[:11]] == [
            *["ɡ", "o", "|", "f", "ɔ", "ɹ", "w", "ɝ", "d", "|", "*"]
        ]

    @pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3", "stereo", "8 kHz", "24 bit"])
    def test_words_begin_where_they_are_said(self, form: str, phones: Recogniser, tmp_path: Path) -> None:
        """As another aligner says: starts but the first within 0.2 s, in the median 0.05 s; ends as near, stretched."""
        import soundfile
        import soxr

        samples, rate = soundfile.read(RECORDING)
        subtype = "PCM_24" if form == "24 bit" else None
        if form == "8 kHz":
            samples, rate = soxr.resample(samples, rate, 8000), 8000
        if form == "stereo":
            samples = np.stack([samples, samples], axis=1)
        path = tmp_path / (f"x.{form}" if form in ("wav", "flac", "ogg", "mp3") else "x.wav")
        soundfile.write(path, samples, rate, subtype=subtype)
        heard = recognise(phones, path)
        options = Options(delay=heard.delay, stretch=heard.stretch)
        found = align(heard.log_probs, WORDS, phones.vocabulary(), heard.frame_shift, options)
        words = words_of(found.lines)
        assert (found.facts["delay"], found.facts["stretch"]) == (0.1, 0.25)
        for times, marked in (([w.start for w in words][1:], STARTS[1:]), ([w.end for w in words], ENDS)):
            off = np.abs(np.subtract(times, marked))
            assert (np.median(off) < 0.05, off.max() < 0.2) == (True, True), off
        assert found.notes == ()


# --- PP-OCRv4 ---------------------------------------------------------------------------------------------------------


def line(text: str, path: Path, *, size: int = 30, font: str | None = None) -> Path:
    """A drawn line; the image is 1.6 times as high as its letters."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    face = font or str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    letters = ImageFont.truetype(face, size)
    sheet = Image.new("L", (int(letters.getlength(text)) + 2 * size, int(1.6 * size)), 255)
    ImageDraw.Draw(sheet).text((size, int(0.8 * size)), text, font=letters, fill=0, anchor="lm")
    sheet.save(path)
    return path


@pytest.fixture(scope="module")
def eye() -> Recogniser:
    return pp_ocr()


@needs(*ppocr.PACKAGES)
class TestPpOcr:
    def read(self, eye: Recogniser, path: Path) -> str:
        scores = recognise(eye, path).log_probs
        return greedy_decode(scores, vocabulary=eye.vocabulary(), blank=eye.blank)[0].text

    @pytest.mark.parametrize("size", [20, 30, 64])
    def test_reads_latin_lines(self, size: int, eye: Recogniser, tmp_path: Path) -> None:
        assert len(eye.labels) == 6625
        text = "Hello world 2026"
        assert self.read(eye, line(text, tmp_path / "x.png", size=size)) == text

    @needs_chinese
    def test_reads_chinese_lines(self, eye: Recogniser, tmp_path: Path) -> None:
        text = "连接时序分类的对齐"
        assert self.read(eye, line(text, tmp_path / "x.png", font=str(CHINESE))) == text

    def test_places_are_those_of_the_file(self, eye: Recogniser, tmp_path: Path) -> None:
        """Of an image twice as high, the pixels are twice as many."""
        for size in (30, 60):
            heard = recognise(eye, line("Hello world", tmp_path / f"{size}.png", size=size))
            assert heard.frame_shift == pytest.approx(8 * size / 30, rel=0.01)
            text = greedy_decode(heard.log_probs, vocabulary=eye.vocabulary(), blank=0)[0][0]
            second = text.segments(heard.frame_shift)[0].parts[1]
            assert second.start == pytest.approx(4.2 * size, abs=0.6 * size)

    @pytest.mark.parametrize(
        ("size", "ink", "paper", "degrees"), [(24, 230, 25, 0), (30, 0, 255, 0.8), (60, 60, 200, 0)]
    )
    def test_reads_pages(
        self, size: int, ink: float, paper: float, degrees: float, eye: Recogniser, tmp_path: Path
    ) -> None:
        """Dark and light, large and small, and laid askew: without an error."""
        text = ["The network reads one line", "at a time, so a page is", "cut into lines first.", "Are our own seen?"]
        page = draw_page(text, size=size, ink=ink, paper=paper, margin=100)
        file = (turned(page, degrees) if degrees else page).save(tmp_path / "x.png")
        scores = [line.log_probs for line in recognise_page(eye, file).lines]
        assert [greedy_decode(each, vocabulary=eye.vocabulary(), blank=0)[0].text for each in scores] == text

    @needs_chinese
    def test_reads_chinese_pages(self, eye: Recogniser, tmp_path: Path) -> None:
        text = ["连接时序分类用于语音和文字识别。", "一页图像先切成若干行，再逐行识别。", "二三得六，三三得九。"]
        file = draw_page(text, font=CHINESE, size=36, leading=1.5).save(tmp_path / "x.png")
        scores = [line.log_probs for line in recognise_page(eye, file).lines]
        assert [greedy_decode(each, vocabulary=eye.vocabulary(), blank=0)[0].text for each in scores] == text

    @pytest.mark.parametrize("size", [24, 30, 44])
    @pytest.mark.parametrize(
        ("text", "font"),
        [
            ("will win with little illusion", None),  # DejaVu Sans
            ("The quick brown fox jumps over", None),
            pytest.param("一页图像先切成若干行再逐行识别", CHINESE, marks=needs_chinese),
        ],
    )
    def test_characters_are_where_they_were_drawn(
        self, text: str, font: Path | None, size: int, eye: Recogniser, tmp_path: Path
    ) -> None:
        """Narrow ones and wide ones: edges are off by less than a seventh of the font's size, but for one of ten."""
        drawn, margin = letter_edges(text, font, size), 2 * size
        file = draw_page([text], font=font, size=size, margin=margin).save(tmp_path / "x.png")
        found = decode_page(recognise_page(eye, file), eye.vocabulary(), Decoders(Language()), Decoding())
        tokens = [token for line in found.lines for word in line.parts for token in word.parts]
        assert [token.text for token in tokens] == list(text.replace(" ", ""))
        off = np.abs(np.array([(token.start, token.end) for token in tokens]) - margin - drawn) / size
        assert np.quantile(off, 0.9) < 1 / 7
        assert np.median(off) < 0.1

    def test_what_is_no_text_is_left_out(self, eye: Recogniser, tmp_path: Path) -> None:
        """A grey bar in which the network reads nothing."""
        page = draw_page(["Hello world", "", "Good bye"], margin=60)
        page.pixels[page.boxes[0][3] + 12 : page.boxes[1][1] - 12, 60:200] = 120
        found = recognise_page(eye, page.save(tmp_path / "x.png"))
        assert len(list(found.lines)) == 2

    def test_long_lines_go_in_pieces(self, eye: Recogniser, tmp_path: Path) -> None:
        text = " ".join(["the quick brown fox jumps over a lazy dog"] * 6)
        found = recognise(eye, line(text, tmp_path / "x.png"))
        assert len(found.log_probs) > eye.piece
        assert greedy_decode(found.log_probs, vocabulary=eye.vocabulary(), blank=0)[0].text == text

    def test_the_same_file_by_hand(self, eye: Recogniser, tmp_path: Path) -> None:
        spec = importlib.util.find_spec("rapidocr_onnxruntime")
        file = Path(str(spec.origin)).parent / "models" / "ch_PP-OCRv4_rec_infer.onnx"
        by_hand = onnx(
            file,
            ImageInput(48),
            eye.labels,
            blank=0,
            step=8,
            prepare=lambda images: images.transpose(0, 3, 2, 1)[:, ::-1] * 2 - 1,
            probabilities=True,
        )
        path = line("Hello", tmp_path / "x.png")
        np.testing.assert_array_equal(recognise(by_hand, path).log_probs, recognise(eye, path).log_probs)
        with pytest.raises(CTCError, match=r"expected floats \(N, T, C\), with N=1 and C=3"):
            recognise(onnx(file, ImageInput(48), ["<blank>", "a", "b"], 0, 8, probabilities=True), path)


def test_a_page_is_an_image(tmp_path: Path) -> None:
    deaf = Recogniser(lambda samples: samples[:, :, None], SoundInput(16000), ["<blank>"], 0, 1)
    with pytest.raises(CTCError, match=r"page\.png: the recogniser takes sound: expected one that takes images"):
        recognise_page(deaf, tmp_path / "page.png")


@needs("onnxruntime")
def test_files_that_are_no_networks(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(CTCError, match=r"x\.onnx is not a readable ONNX file"):
        onnx(tmp_path / "x.onnx", SoundInput(16000), ["<blank>"], 0, 320)
    with pytest.raises(CTCError, match=r"none\.onnx can't be read"):
        onnx(tmp_path / "none.onnx", SoundInput(16000), ["<blank>"], 0, 320)
    from onnxruntime import datasets

    sigmoid = onnx(datasets.get_example("sigmoid.onnx"), SoundInput(16000), ["<blank>"], 0, 320)
    with pytest.raises(CTCError, match=r"the network can't take an input of shape \(1, 100\)"):
        sigmoid.log_probs(np.zeros(100, np.float32))


@needs("onnxruntime")
@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("3", 3), ("", 0), ("many", 0)])
def test_threads_of_a_networks_file(said: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0: as many as there are cores."""
    from onnxruntime import datasets

    monkeypatch.setenv("OMP_NUM_THREADS", said)
    sigmoid = onnx(datasets.get_example("sigmoid.onnx"), SoundInput(16000), ["<blank>"], 0, 320)
    assert sigmoid.network._session.get_session_options().intra_op_num_threads == threads  # type: ignore[attr-defined]


# --- transformers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny network, as save_pretrained writes it."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    path = tmp_path_factory.mktemp("network")
    labels = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDE"]
    (path / "vocab.json").write_text(json.dumps({label: c for c, label in enumerate(labels)}))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(labels),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2ForCTC(config).save_pretrained(path)
    Wav2Vec2CTCTokenizer(str(path / "vocab.json")).save_pretrained(path)
    Wav2Vec2FeatureExtractor().save_pretrained(path)
    return path


@needs("torch", "transformers")
class TestTransformers:
    def test_gives_what_the_network_gives(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCTC, AutoProcessor

        recogniser = transformers(folder, device="cpu")
        assert (recogniser.frame_shift, recogniser.blank, recogniser.batch) == (0.02, 0, 1)
        vocabulary = recogniser.vocabulary()
        assert (vocabulary.convention, vocabulary.labels[5]) == ("separator", "A")
        samples = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1
        inputs = AutoProcessor.from_pretrained(folder)(samples, sampling_rate=16000, return_tensors="pt")
        with torch.inference_mode():
            logits = AutoModelForCTC.from_pretrained(folder).eval()(**inputs).logits
        wanted = torch.log_softmax(logits, -1)[0].numpy()
        np.testing.assert_allclose(recogniser.log_probs(samples), wanted, atol=1e-5)

    def test_the_step_is_counted_where_the_configuration_lacks_it(self, folder: Path) -> None:
        from ctckit.recognisers.hugging_face import _step

        assert _step(transformers(folder, device="cpu").network, 16000) == 320

    def test_batches(self, folder: Path) -> None:
        samples = np.random.default_rng(0).normal(size=10 * 16000).astype(np.float32) * 0.1
        one = replace(transformers(folder, device="cpu"), piece=100, overlap=20)
        np.testing.assert_allclose(replace(one, batch=4).log_probs(samples), one.log_probs(samples), atol=1e-5)

    def test_other_folders(self, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match="has no network with CTC outputs, tokenizer and feature extractor"):
            transformers(tmp_path)
        with pytest.raises(CTCError, match="none is not a folder"):
            transformers(tmp_path / "none")


# --- names ------------------------------------------------------------------------------------------------------------


def test_names(tmp_path: Path) -> None:
    with pytest.raises(CTCError, match="recogniser = whisper is unknown: expected hama, pp-ocr, or a folder"):
        named("whisper")


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [("hama", "hama", "hama"), ("onnxruntime", "pp-ocr", "onnx|ocr"), ("rapidocr_onnxruntime", "pp-ocr", "ocr")],
)
def test_a_missing_package_is_named(package: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    found = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == package else found(asked))
    with pytest.raises(MissingExtraError, match=rf"needs the package .*\[({extra})\]"):
        named(name)
