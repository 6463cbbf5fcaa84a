"""Which class is the blank: names, scores and what the user says, where they agree and where they don't."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from support.recogniser import ALPHABET, DATA, needs_data

import ctckit
from ctckit import CTCError, Vocabulary

FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>", "|", *"etaoinhs"]
BOTH_ENDS = ["<pad>", *"abcdefgh", "|", "<blk>"]


def resting(classes: int, rest: int, share: float = 0.7, *, seed: int = 0, letters: int = 4) -> npt.NDArray[np.float32]:
    """Log-probabilities of a recogniser that is sure: that share of its frames is one class, the others are letters."""
    rng = np.random.default_rng(seed)
    path = np.where(rng.random(200) < share, rest, rng.integers(letters, classes - 1, 200))
    logits = rng.normal(size=(200, classes))
    logits[range(200), path] += 9
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("labels", "rest", "told"),
    [
        (FAIRSEQ, 0, "labels[1] = '<pad>' is called as blanks are, but the scores rest on labels[0] = '<s>'"),
        (FAIRSEQ, 2, "labels[1] = '<pad>' is called as blanks are, but the scores rest on labels[2] = '</s>'"),
        (FAIRSEQ, 1, None),
        (BOTH_ENDS, 0, "labels[10] = '<blk>' is called as blanks are, but the scores rest on labels[0] = '<pad>'"),
        (BOTH_ENDS, 10, None),
        (
            ["<blank>", "a", "b", "<pad>", "c", "d", "e"],
            3,
            "labels[0] = '<blank>' is called as blanks are, but the scores",
        ),
        (["-", *"abcdef", "_"], 7, None),
        (["-", *"abcdef", "_"], 0, None),
        (["<s>", "</s>", "<unk>", *"abcdef"], 0, "the scores rest on labels[0] = '<s>'"),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_scores_decide_between_candidates(labels: list[str], rest: int, told: str | None, share: float) -> None:
    scores = resting(len(labels), rest, share)
    for given in (scores, scores[:, None], scores + 3.0, scores.astype(np.float64)):
        vocabulary = Vocabulary(labels, scores=given)
        assert vocabulary.blank == rest
        assert len(vocabulary.notes) == (told is not None)
        assert told is None or vocabulary.notes[0].startswith(told)
    assert rest not in vocabulary.transcribe("a").tokens


@pytest.mark.parametrize("labels", [FAIRSEQ, BOTH_ENDS, ["<blank>", " ", *"abcdef"]])
def test_scores_that_say_nothing_leave_it_to_the_names(labels: list[str]) -> None:
    named = Vocabulary(labels)
    rng = np.random.default_rng(1)
    nothing = np.full((6, len(labels)), -np.inf)
    for scores in (np.zeros((6, len(labels))), rng.normal(size=(50, len(labels))), np.zeros((0, len(labels))), nothing):
        found = Vocabulary(labels, scores=scores)
        assert (found.blank, found.notes) == (named.blank, ())


def test_a_letter_that_the_scores_rest_on_is_noted_and_not_taken() -> None:
    labels = ["<blank>", "|", *"abcdefg"]
    vocabulary = Vocabulary(labels, scores=resting(9, 1, 0.8))
    assert vocabulary.blank == 0
    (note,) = vocabulary.notes
    assert note.startswith("the blank is class 0 ('<blank>'), but the scores rest on labels[1] = '|', with ")
    with pytest.raises(CTCError, match=r"can't be told from the 3 labels.*; the scores rest on labels\[2\] = 'c', "):
        Vocabulary(["a", "b", "c"], scores=resting(3, 2, 0.9, letters=0))


@pytest.mark.parametrize(
    ("blank", "rest", "against"),
    [
        (10, 10, []),
        (0, 0, []),  # the scores agree with the user
        (0, 10, ["labels[10] = '<blk>' is called as blanks are", "the scores rest on labels[10] = '<blk>'"]),
        (3, 10, ["labels[10] = '<blk>' is called as blanks are", "the scores rest on labels[10] = '<blk>'"]),
        (3, 0, ["labels[10] = '<blk>' is called as blanks are", "the scores rest on labels[0] = '<pad>'"]),
        (10, 0, ["the scores rest on labels[0] = '<pad>'"]),
    ],
)
def test_what_the_user_says_is_taken_and_noted(blank: int, rest: int, against: list[str]) -> None:
    vocabulary = Vocabulary(BOTH_ENDS, blank, scores=resting(11, rest))
    assert vocabulary.blank == blank
    assert len(vocabulary.notes) == bool(against)
    for part in against:
        assert part in vocabulary.notes[0]
    assert not against or vocabulary.notes[0].endswith(f"check blank={blank}")


def test_scores_of_any_kind() -> None:
    torch = pytest.importorskip("torch", reason="tensors need torch")
    scores = resting(len(FAIRSEQ), 0)
    for given in (torch.tensor(scores), torch.tensor(scores).bfloat16(), scores.astype(np.float16), scores.tolist()):
        assert Vocabulary(FAIRSEQ, scores=given).blank == 0
    for wrong in (scores[0], scores[None, None], np.array([["a"] * len(FAIRSEQ)])):
        with pytest.raises(CTCError, match=r"scores has shape .*: expected floats"):
            Vocabulary(FAIRSEQ, scores=wrong)


def test_names_alone_against_the_user() -> None:
    (note,) = Vocabulary(BOTH_ENDS, 0).notes
    assert note == ("the blank is class 0 ('<pad>'), but labels[10] = '<blk>' is called as blanks are: check blank=0")
    assert Vocabulary(["-", *"abc"], 3).notes == ()  # a hyphen may be a letter
    assert Vocabulary(["a", "b"], 2).notes == ()


@pytest.mark.parametrize(
    ("labels", "shape", "message"),
    [
        (["-", "a"], (9, 3), "C=3 classes and there are 2 labels: expected a label for each class, blank included"),
        (["-", "a"], (9, 3), "; if the blank comes after them, pass blank=2"),
        (["-", "a", "b", "c"], (9, 1, 3), "C=3 classes and there are 4 labels"),
        (["-", "a", "b", "c"], (4, 3), "C=3 classes and there are 4 labels: transpose them"),
        (["a"] * 1, (9, 3), "C=3 classes and there are 1 labels"),
    ],
)
def test_the_labels_are_counted_before_the_blank_is_looked_for(
    labels: list[str], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CTCError) as raised:
        Vocabulary(labels, scores=np.zeros(shape))
    assert message in str(raised.value)
    if len(shape) == 2:
        with pytest.raises(CTCError) as raised:
            ctckit.explain(np.zeros(shape), [1], labels=labels, from_logits=True)
        assert message in str(raised.value)


def test_explain_spells_and_finds_the_blank_as_align_does() -> None:
    labels = ["▁we", "▁go", "w", "e", "<blank>"]
    found = ctckit.explain(np.zeros((6, 5)), "We go", labels=labels, from_logits=True)
    assert (found.target, found.blank, found.labels[4]) == ((0, 1), 4, "φ")
    same = ctckit.explain(np.zeros((6, 5)), "We go", labels=Vocabulary(labels), from_logits=True)
    assert (same.target, same.blank, same.loss) == (found.target, 4, found.loss)
    with pytest.raises(CTCError, match="blank = 0: expected 4, that of the vocabulary"):
        ctckit.explain(np.zeros((6, 5)), [1], labels=Vocabulary(labels), blank=0, from_logits=True)
    rests_on_0 = resting(len(FAIRSEQ), 0)
    assert ctckit.explain(rests_on_0, "tea", labels=FAIRSEQ).blank == 0


@needs_data
@pytest.mark.parametrize(
    ("name", "text", "loss"),
    [
        ("iam_word_logits.npy", "aircraft", 5.4017572),
        ("iam_line_logits.npy", "the fake friend of the family, like the", 28.0907217),
    ],
)
def test_handwriting(name: str, text: str, loss: float) -> None:
    logits = np.load(DATA / name)
    for labels, blank in (([*ALPHABET, "<blank>"], "auto"), (ALPHABET, 79)):
        found = ctckit.explain(logits, text, labels=labels, blank=blank, from_logits=True)
        assert found.loss == pytest.approx(loss, rel=1e-6)
    with pytest.raises(CTCError, match="C=80 classes and there are 79 labels"):
        ctckit.explain(logits, text, labels=ALPHABET, from_logits=True)
    (note,) = Vocabulary([*ALPHABET, "<blank>"], 0, scores=logits).notes  # a space, which the line has many of
    assert "labels[79] = '<blank>' is called as blanks are" in note
