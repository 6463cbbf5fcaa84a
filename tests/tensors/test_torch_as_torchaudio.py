"""`ctckit.torch.ctc_decoder`: torchaudio's arguments and results; its scores by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
from ctckit import CTCError, LanguageModel
from ctckit.torch import CTCDecoder, ctc_decoder

TOKENS = ["-", "|", "a", "b", "c"]
LEXICON = "a a |\nab a b |\ncab c a b |\nba b a |\n"
ARPA = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
-99\t<s>\t-0.3
-0.9\t</s>
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


def peer() -> Any:
    try:
        from torchaudio.models.decoder import ctc_decoder as found
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio's decoder, with flashlight-text, can't be used here: {error}")
    return found


@pytest.mark.parametrize("options", [{}, {"lm_weight": 1.3, "word_score": 0.4}], ids=["lexicon", "language"])
def test_what_torchaudio_finds(files: dict[str, str], options: dict[str, Any]) -> None:
    if not options:
        del files["lm"]
    calls: Any = {**files, **options, "log_add": True, "beam_threshold": 1000}
    theirs, ours = peer()(**calls, beam_size=2000), ctc_decoder(**calls, beam_size=500)
    assert isinstance(ours, CTCDecoder)
    rng = np.random.default_rng(0)
    for seed in range(20):
        words = rng.choice(["a", "ab", "cab", "ba"], 3).tolist()
        emissions = said("|".join(words), seed).log_softmax(-1)
        [expected], [found] = theirs(emissions)[0], ours(emissions)[0]
        assert found.words == expected.words
        frames = [t - 1 for t in expected.timesteps.tolist()[1:-1]]
        assert found.timesteps.tolist()[1:] == frames  # it says the last silence twice
        assert math.isclose(found.score, expected.score, abs_tol=0.2)  # which has silences that say nothing
