"""The decoder with a language: the scores of a model and a lexicon, and words as the lexicon writes them."""

from __future__ import annotations

import math
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support import worked
from support.recordings import said

import ctckit
from ctckit import CTCError, Decoder, Hypothesis, LanguageModel, Lexicon, Status, Vocabulary

LABELS = ["φ", "|", "a", "c", "t", "h"]

WORDS = r"""\data\
ngram 1=6
ngram 2=4

\1-grams:
-1 <unk>
-99 <s> -0.3
-0.6 </s>
-0.9 cat -0.2
-1.1 hat -0.1
-0.5 a -0.4

\2-grams:
-0.2 <s> a
-0.3 a cat
-1.5 a hat
-0.1 cat </s>

\end\
"""


def model() -> LanguageModel:
    return LanguageModel.read(BytesIO(WORDS.encode()))


def spoken(path: str, sure: float = 0.7) -> npt.NDArray[np.float64]:
    return said(LABELS, path, sure)


def best(decoder: Decoder, log_probs: npt.NDArray[np.float64]) -> Hypothesis:
    return decoder.decode(log_probs)[0][0]


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_of_tokens_worked_by_hand() -> None:
    decoder = Decoder(["<blank>", "a", "b"], language_model=worked.bigrams(), alpha=worked.ALPHA, beta=worked.BETA)
    (found,) = decoder.decode(worked.LOG_PROBS, nbest=4)
    assert {h.text: h.score for h in found} == pytest.approx(worked.SCORES, abs=2e-6)
    assert [h.text for h in found] == list(worked.SCORES)
    assert [h.units for h in found] == [2, 1, 1, 3]
    assert [round(h.word_score, 6) for h in found] == [2, 1, 1, 3]
    assert math.isclose(found[0].language, math.log(0.8 * 0.7 * 0.3), rel_tol=1e-6)
    assert math.isclose(found[0].language_score, 0.5 * found[0].language)


@pytest.mark.parametrize("bounds", [True, False])
def test_a_text_is_worth_what_the_model_says(bounds: bool) -> None:
    log_probs, lm = spoken("aφ|cat"), model()
    decoder = Decoder(LABELS, language_model=lm, alpha=0.7, beta=0.3, sentence_bounds=bounds, recombine=False)
    (found,) = decoder.decode(log_probs, nbest=12)
    assert found[0].text == "a cat"
    known = [h for h in found if {*h.text.split()} <= {"a", "cat", "hat"}]
    assert len(known) > 2
    for h in known:
        loss = ctckit.ctc_loss(log_probs, h.tokens, 6, len(h.tokens), reduction="sum")
        assert math.isclose(h.ctc_score, -loss, rel_tol=1e-12)
        assert math.isclose(h.language, lm.score(h.text, bos=bounds, eos=bounds), rel_tol=1e-9)
        assert math.isclose(h.score, h.ctc_score + 0.7 * h.language + 0.3 * len(h.words), rel_tol=1e-12)
        assert h.units == len(h.words)


def test_a_word_that_the_model_lacks() -> None:
    log_probs, lm = spoken("aφ|tac", 0.95), model()
    found = best(Decoder(LABELS, language_model=lm, unknown_score=-1, beam_width=200), log_probs)
    assert found.text == "a tac"
    after = lm.step(lm.step(lm.step(lm.begin(True), lm.id("a"))[1], 0)[1], lm.end)[0]  # of </s>
    assert math.isclose(found.language, lm.score("a", eos=False) - 1 + after, rel_tol=1e-9)
    strict = best(Decoder(LABELS, language_model=lm, unknown_score=-50, beam_width=200), log_probs)
    assert {*strict.text.split()} <= {"a", "cat", "hat"}


def test_a_models_file(tmp_path: Path) -> None:
    file = tmp_path / "words.arpa"
    file.write_text(WORDS)
    by_path = [best(Decoder(LABELS, language_model=path), spoken("aφ|cat")) for path in (file, str(file))]
    one = best(Decoder(LABELS, language_model=model()), spoken("aφ|cat"))
    assert {(h.text, h.score) for h in (*by_path, one)} == {("a cat", one.score)}


def test_other_weights_at_once() -> None:
    decoder, log_probs = Decoder(LABELS, language_model=model(), alpha=0.2, beta=0.5), spoken("aφ|cat")
    for alpha, beta in ((0.0, 0.5), (2.0, 0.5), (0.2, 3.0)):
        changed = decoder.with_weights(alpha=alpha, beta=beta)
        made = Decoder(LABELS, language_model=model(), alpha=alpha, beta=beta)
        assert (best(changed, log_probs).text, best(changed, log_probs).score) == (
            best(made, log_probs).text,
            best(made, log_probs).score,
        )
    assert decoder.with_weights(alpha=2).beta == 0.5
    assert decoder.alpha == 0.2


def test_words_need_a_language_to_count() -> None:
    assert best(Decoder(LABELS, beta=5), spoken("cat")).word_score == 0
    assert best(Decoder(LABELS, beta=5, lexicon=["cat"]), spoken("cat")).word_score == 5


# --- lexicons ---------------------------------------------------------------------------------------------------------


def test_a_lexicon_has_all_words_that_there_are() -> None:
    log_probs = spoken("tat|a")
    assert best(Decoder(LABELS), log_probs).text == "tat a"
    decoder = Decoder(LABELS, lexicon=["cat", "hat", "a", "acta"])
    (found,) = decoder.decode(log_probs, nbest=20)
    assert {word for h in found for word in h.text.split()} <= {"cat", "hat", "a", "acta"}
    assert found.text in ("cat a", "hat a")
    assert [word.text for word in found[0].words] == found.text.split()


def test_nothing_fits() -> None:
    log_probs = np.where(np.eye(6)[[2, 3]], 0.0, -np.inf)  # clearly "ac"
    (found,) = Decoder(LABELS, lexicon=["cat"]).decode(log_probs)
    assert (found.found, len(found), found.status, found.text) == (False, 0, Status.IMPOSSIBLE, "")


def test_an_unfinished_word_counts_for_nothing() -> None:
    (found,) = Decoder(LABELS, lexicon=["cat", "a"]).decode(spoken("a|cφ"), nbest=30)
    assert all({*h.text.split()} <= {"cat", "a"} for h in found)


def test_words_are_written_as_in_the_lexicon() -> None:
    vocabulary = Vocabulary(["<blank>", "|", *"ACHTZURI"])
    found = best(Decoder(vocabulary, lexicon=["Zürich", "cat"]), said(vocabulary.labels, "ZURICH|CAT"))
    assert found.text == "Zürich cat"
    assert [word[:3] for word in found.words] == [("Zürich", 0, 6), ("cat", 7, 10)]
    (line,) = found.segments(1)
    assert [part.text for part in line.parts] == ["Zürich", "cat"]
    assert [part.text for part in line.parts[1].parts] == ["C", "A", "T"]


def test_words_spelled_by_phonemes(tmp_path: Path) -> None:
    labels = ["<blank>", "|", "R", "EH", "IY", "D"]
    file = tmp_path / "lexicon.txt"
    file.write_text("read R EH D |\nread R IY D |\nred R EH D |\n")
    log_probs = said(labels, ["R", "EH", "D", "|", "R", "IY", "D"])
    for lexicon in (file, {"read": ["R EH D", "R IY D"], "red": "R EH D"}, Lexicon.read(file)):
        (found,) = Decoder(labels, lexicon=lexicon).decode(log_probs, nbest=2)
        assert [h.text for h in found] == ["read read", "red read"]  # equal scores: the lexicon's order
        assert [word[:3] for word in found[1].words] == [("red", 0, 3), ("read", 4, 7)]


def test_a_decoder_with_a_language_can_be_pickled() -> None:
    decoder = Decoder(LABELS, language_model=model(), lexicon=["a", "cat", "hat"])
    copy = pickle.loads(pickle.dumps(decoder))
    for decoded in (decoder, copy):
        (found,) = decoded.decode(spoken("a|cat"), nbest=2, hotwords=["hat"])
        assert [(h.text, h.score) for h in found] == [
            (h.text, h.score) for h in decoder.decode(spoken("a|cat"), nbest=2, hotwords={"hat": 8.0})[0]
        ]
    (one,) = decoder.decode(spoken("a|cat"))
    assert pickle.loads(pickle.dumps(one[0])).words == one[0].words


# --- hotwords ---------------------------------------------------------------------------------------------------------


def test_hotwords_of_a_call() -> None:
    decoder, log_probs = Decoder(LABELS), spoken("aφ|cat", 0.4)
    plain = decoder.decode(log_probs)[0][0]
    assert plain.hotword_score == 0
    for hotwords in (["hat"], {"hat": 8.0}, ("hat" for _ in range(1))):
        (found,) = decoder.decode(log_probs, hotwords=hotwords)
        assert (found.text, found[0].hotword_score) == ("a hat", 8.0)
        assert math.isclose(found[0].score, found[0].ctc_score + 8)
    assert decoder.decode(log_probs, hotwords={"hat": 0.1})[0].text == plain.text
    assert decoder.decode(log_probs)[0][0].score == plain.score


def test_changed_hotwords_are_not_taken_for_the_earlier_ones(tmp_path: Path) -> None:
    decoder, log_probs, hotwords = Decoder(LABELS), spoken("aφ|cat", 0.4), {"hat": 8.0}
    first = decoder.decode(log_probs, hotwords=hotwords)[0][0].score
    hotwords["hat"] = 9.0
    assert math.isclose(decoder.decode(log_probs, hotwords=hotwords)[0][0].score, first + 1)
    assert decoder.decode(log_probs, hotwords={"hat": 8.0})[0][0].score == first
    listed = ["hat"]
    assert decoder.decode(log_probs, hotwords=listed)[0].text == "a hat"
    listed[0] = "tat"
    assert decoder.decode(log_probs, hotwords=listed)[0].text == "a tat"
    file = tmp_path / "hot.txt"
    for number in range(12):  # more than are kept
        file.write_text(f"hat\t{8 + number}\n")
        (found,) = decoder.decode(log_probs, hotwords=file)
        assert found[0].hotword_score == 8 + number


def test_hotwords_that_cannot_be_spelled() -> None:
    decoder = Decoder(LABELS)
    (found,) = decoder.decode(spoken("cat"), hotwords=["zoo", "cat"])
    assert found.notes == ("hotwords: 1 of 2 can't be spelled with the labels, and are left out: 'zoo'",)
    assert decoder.stream(hotwords=["zoo", "cat"]).notes == found.notes
    with pytest.raises(CTCError, match="hotwords: phrase 1 is '': expected a text that is not empty"):
        decoder.decode(spoken("cat"), hotwords=[""])


def test_hotwords_join_a_lexicon() -> None:
    decoder, log_probs = Decoder(LABELS, lexicon=["cat"]), spoken("hat")
    assert decoder.decode(log_probs)[0].text == "cat"
    (found,) = decoder.decode(log_probs, hotwords=["hat"])
    assert (found.text, [word.text for word in found[0].words]) == ("hat", ["hat"])


def test_notes_of_the_language() -> None:
    notes = Decoder(LABELS, language_model=model(), lexicon=["cat", "dog", "tat"]).notes
    assert any("1 of 3 words can't be spelled" in note and "'dog'" in note for note in notes)
    assert any("the language model lacks 1 of the 2 words" in note and "'tat'" in note for note in notes)


def test_a_space_may_be_a_letter() -> None:
    vocabulary = Vocabulary(["<blank>", " ", "a", "b"], convention="plain")
    log_probs = np.log(np.full((3, 4), 0.1) + 0.6 * np.eye(4)[[2, 1, 3]])
    for lexicon in (None, ["a b"], {"A, B": "a b", "ba": "ba"}):
        (best,) = Decoder(vocabulary, lexicon=lexicon).decode(log_probs)[0]
        assert best.text == ("A, B" if isinstance(lexicon, dict) else "a b")
        assert len(best.spelled) == 1
