"""`ctckit.torch.ctc_decoder`: torchaudio's arguments and results, also against torchaudio's own numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.cabs import ARPA

import ctckit
from ctckit import CTCError, LanguageModel
from ctckit.torch import CTCDecoder, ctc_decoder

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "ctc_decoder.json").read_text(encoding="utf-8"))
TOKENS: list[str] = GOLDEN["tokens"]  # "-", "|", "a", "b", "c"
LEXICON: str = GOLDEN["lexicon"]  # of the words a, ab, ba and cab
CAB_AB = -0.2 - 0.3 - 0.5  # log10 P of <s> cab ab </s>


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    contents = {"lexicon": LEXICON, "lm": ARPA, "tokens": "\n".join(TOKENS) + "\n"}
    for name, text in contents.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return {name: str(tmp_path / name) for name in contents}


def said(text: str, seed: int = 0) -> torch.Tensor:
    """(1, T, C) logits that say a text, a blank after each token, the last one a silence."""
    path = [c for token in f"{text}|" for c in (TOKENS.index(token), 0)]
    scores = np.random.default_rng(seed).normal(0, 1, (len(path), len(TOKENS)))
    scores[np.arange(len(path)), path] += 5
    return torch.from_numpy(scores).float()[None]


def ctc_score(emissions: torch.Tensor, tokens: list[int]) -> float:
    """ln P of some tokens."""
    logits = emissions[0].double().numpy()
    return -float(ctckit.ctc_loss(logits, tokens, len(logits), len(tokens), from_logits=True, reduction="none"))


def test_as_torchaudio_documents_it(files: dict[str, str]) -> None:
    decoder = ctc_decoder(**files, nbest=3, beam_size=1500, lm_weight=3.23, word_score=-0.26)
    emissions = said("cab|ab")
    found = decoder(torch.cat((emissions, said("a|ba|cab", 1)[:, : emissions.shape[1]])), torch.tensor([14, 8]))
    assert [len(hypotheses) for hypotheses in found] == [3, 3]
    best = found[0][0]
    assert best.words == ["cab", "ab"]
    assert best.tokens.dtype == torch.int64
    assert decoder.idxs_to_tokens(best.tokens) == list("|cab|ab|")
    assert best.timesteps.dtype == torch.int32
    assert best.timesteps.tolist() == [0, 0, 2, 4, 6, 8, 10, 12]  # the silence at the end was said
    assert best.score >= found[0][1].score >= found[0][2].score
    assert found[1][0].words == ["a", "ba"]
    assert found[1][0].timesteps[-1] == 8  # this one was not
    # What tutorials do with it.
    assert "".join(decoder.idxs_to_tokens(best.tokens)).replace("|", " ").strip().split() == ["cab", "ab"]


def test_scores_have_torchaudios_weights(files: dict[str, str]) -> None:
    emissions = said("cab|ab")
    best = ctc_decoder(**files, lm_weight=1.3, word_score=0.4)(emissions)[0][0]
    tokens = best.tokens[1:].tolist()
    assert math.isclose(best.score, ctc_score(emissions, tokens) + 1.3 * CAB_AB + 2 * 0.4, rel_tol=1e-5)
    without = ctc_decoder(files["lexicon"], TOKENS, word_score=0.4)(emissions)[0][0]
    assert math.isclose(without.score, ctc_score(emissions, tokens) + 2 * 0.4, rel_tol=1e-5)
    unweighted = ctc_decoder(**files, lm_weight=0, word_score=0.4)(emissions)[0][0]
    assert unweighted.score == without.score


@pytest.mark.parametrize("with_lm", [True, False])
def test_unknown_words(files: dict[str, str], with_lm: bool) -> None:
    if not with_lm:
        files["lm"] = ""
    emissions = said("cab|bb|ab")
    options: Any = {**files, "lm": files["lm"] or None, "lm_weight": 1.3, "word_score": 0.4}
    assert ctc_decoder(**options)(emissions)[0][0].words != ["cab", "<unk>", "ab"]
    best = ctc_decoder(**options, unk_score=-0.7)(emissions)[0][0]
    assert best.words == ["cab", "<unk>", "ab"]
    # <s> cab <unk> ab </s>, with the back-off of cab left out: <unk> counts as it does without context.
    language = 1.3 * (-0.2 - 1.2 - 0.8 - 0.5) if with_lm else 0.0
    expected = ctc_score(emissions, best.tokens[1:].tolist()) + language + 2 * 0.4 - 0.7
    assert math.isclose(best.score, expected, rel_tol=1e-5)


def test_frames_of_silence_have_a_score(files: dict[str, str]) -> None:
    emissions = said("cab|ab")
    best = ctc_decoder(files["lexicon"], TOKENS, sil_score=1.5)(emissions)[0][0]
    louder = emissions.log_softmax(-1)
    louder[..., 1] += 1.5
    tokens = best.tokens[1:].tolist()
    log_probs = louder[0].double().numpy()
    exact = -float(ctckit.ctc_loss(log_probs, tokens, len(log_probs), len(tokens), reduction="none"))
    assert math.isclose(best.score, exact, rel_tol=1e-5)
    assert emissions.equal(said("cab|ab"))


def test_without_a_lexicon(tmp_path: Path) -> None:
    arpa = tmp_path / "tokens.arpa"
    grams = "".join(f"-0.7\t{token}\n" for token in ("<unk>", "<s>", "</s>", "|", "a", "b", "c"))
    arpa.write_text(f"\\data\\\nngram 1=7\n\n\\1-grams:\n{grams}\n\\end\\\n")
    emissions = said("cab|ab")
    best = ctc_decoder(None, TOKENS, str(arpa), lm_weight=0.5, word_score=9)(emissions)[0][0]
    assert best.words == []
    tokens = best.tokens[1:].tolist()
    assert [TOKENS[c] for c in tokens] == list("cab|ab|")
    assert math.isclose(best.score, ctc_score(emissions, tokens) - 0.5 * 0.7 * 8, rel_tol=1e-5)


def test_other_names_and_pieces(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon"
    lexicon.write_text("one W AH N SIL\nwon W AH N SIL\ntwo T UW SIL\n")
    names = ["pad", "SIL", "W", "AH", "N", "T", "UW"]
    decoder = ctc_decoder(str(lexicon), names, blank_token="pad", sil_token="SIL", nbest=2)
    one, two = decoder(torch.eye(7)[[2, 3, 4, 1, 5, 6]][None] * 9)[0]
    assert [one.words, two.words] == [["one", "two"], ["won", "two"]]
    assert decoder.idxs_to_tokens(one.tokens) == ["SIL", "W", "AH", "N", "SIL", "T", "UW", "SIL"]
    lexicon.write_text("cats ▁ca t s\nat ▁a t\n")
    pieces = ctc_decoder(str(lexicon), ["-", "|", "▁ca", "t", "s", "▁a"])
    assert pieces(torch.eye(6)[[2, 3, 4, 5, 3]][None] * 9)[0][0].words == ["cats", "at"]


def test_pieces_of_a_recording(files: dict[str, str]) -> None:
    decoder = ctc_decoder(**files, lm_weight=1.3, sil_score=0.1)
    for text in ("cab|ab", "ba"):
        emissions = said(text)
        decoder.decode_begin()
        for start in range(0, emissions.shape[1], 5):
            decoder.decode_step(emissions[0, start : start + 5])
        decoder.decode_end()
        [found] = decoder.get_final_hypothesis()
        assert found.words == text.split("|")
        assert found.tokens.tolist() == decoder(emissions)[0][0].tokens.tolist()
        assert len(found.timesteps) == len(found.tokens)
    with pytest.raises(CTCError, match="decode_begin"):
        decoder.decode_step(emissions[0])


def test_what_no_text_fits_and_what_is_no_score(files: dict[str, str]) -> None:
    decoder = ctc_decoder(files["lexicon"], TOKENS)
    emissions = torch.full((2, 1, 5), -math.inf)
    emissions[0, 0, 4], emissions[1, 0, 2] = 0.0, math.nan
    assert decoder(emissions) == [[], []]
    [empty] = decoder(torch.zeros(1, 0, 5))[0]
    assert (empty.tokens.tolist(), empty.timesteps.tolist(), empty.words, empty.score) == ([1, 1], [0, 0], [], 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blank_token": "_"}, "blank_token = '_' is none of the 5 tokens"),
        ({"sil_token": " "}, "sil_token = ' ' is none"),
        ({"lm": lambda state, word: 0.0}, "lm has type function: .* take nbest texts"),
        ({"lm": LanguageModel, "lm_weight": -1}, "lm_weight"),
        ({"beam_size": 0}, "beam_size"),
        ({"nbest": 0}, "nbest"),
        ({"unk_score": math.inf}, "unk_score"),
        ({"sil_score": math.nan}, "sil_score"),
        ({"lexicon": "cab c a b\n"}, "line 1: 'cab' is spelled 'c a b': expected the silence, '|', at the end"),
        ({"lexicon": "a a |\n\ncab k a b |\n"}, "line 3: 'cab' is spelled with 'k'"),
        ({"lexicon": "cab\n"}, "line 1: 'cab' has no spelling"),
        ({"lexicon": None, "tokens": "nowhere.txt"}, "nowhere.txt can't be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(files: dict[str, str], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"lexicon": files["lexicon"], "tokens": TOKENS, **options}
    if "\n" in (given["lexicon"] or ""):
        (tmp_path / "other").write_text(given["lexicon"])
        given["lexicon"] = str(tmp_path / "other")
    if given.get("lm") is LanguageModel:
        given["lm"] = LanguageModel.read(files["lm"])
    with pytest.raises(CTCError, match=message):
        ctc_decoder(**given)


def golden_decoder(files: dict[str, str], name: str, **options: Any) -> CTCDecoder:
    """The decoder with the golden file's options of that name; the language model only with those for it."""
    return ctc_decoder(
        files["lexicon"],
        TOKENS,
        files["lm"] if name == "language" else None,
        **{**GOLDEN["common"], **GOLDEN["options"][name], **options},
    )


@pytest.mark.parametrize("name", GOLDEN["options"])
def test_texts_and_scores_of_torchaudio(files: dict[str, str], name: str) -> None:
    decoder = golden_decoder(files, name, nbest=3, beam_size=500)
    for recording in GOLDEN["recordings"]:
        found = decoder(torch.tensor(recording["logits"])[None])[0]
        texts, scores = zip(*recording[name], strict=True)
        assert tuple(" ".join(hypothesis.words) for hypothesis in found) == texts
        assert np.allclose([hypothesis.score for hypothesis in found], scores, rtol=0, atol=5e-5)  # float32


def test_timesteps_of_torchaudio(files: dict[str, str]) -> None:
    """Where each token is clear, they are those of the most probable path too; torchaudio's are 1 higher."""
    decoder = golden_decoder(files, "lexicon")
    for recording in GOLDEN["clear"]:
        [found] = decoder(torch.tensor(recording["logits"])[None])[0]
        assert (found.words, found.tokens.tolist()) == (recording["words"], recording["tokens"])
        assert found.timesteps.tolist() == [0, *(t - 1 for t in recording["timesteps"][1:])]
