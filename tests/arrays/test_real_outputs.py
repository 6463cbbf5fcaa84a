"""Ladder, rung 7: the real outputs of a handwriting recogniser for one line and one word."""

import numpy as np
import pytest
from oracles import ORACLE_EPS, collapse
from support.backends import Backend, check_batch
from support.batches import Batch, decode, encode, truth_of
from support.recogniser import ALPHABET, DATA, needs_data

import ctckit
from ctckit.kernels import reference
from ctckit.problem import ctc_problem

BLANK = len(ALPHABET)
LINE = ("iam_line_logits.npy", "the fake friend of the family, like the")
WORD = ("iam_word_logits.npy", "aircraft")

pytestmark = needs_data


def load(name: str, text: str) -> Batch:
    logits = np.load(DATA / name).astype(np.float64)
    target = np.array([[ALPHABET.index(character) for character in text]])
    return Batch(logits[:, None], target, np.array([len(logits)]), np.array([len(text)]), BLANK)


@pytest.mark.parametrize(("example", "loss"), [(LINE, 28.0907217), (WORD, 5.4017572)], ids=["D", "E"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_golden_losses(instruction_set: str, example: tuple[str, str], loss: float, dtype: str) -> None:
    batch = load(*example)
    found = ctckit.ctc_loss(batch.scores.astype(dtype), *batch.arguments, "sum", from_logits=True)
    # Published as float32, so exact to half a unit; a float32 result may round the other way.
    step = float(np.spacing(np.float32(loss)))
    assert found == pytest.approx(loss, abs=step / 2 if dtype == "float64" else step)


@pytest.mark.interpreter(example=[WORD], from_logits=[True])
@pytest.mark.parametrize("example", [LINE, WORD], ids=["line", "word"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_score_and_gradient(implementation: tuple[Backend, str], example: tuple[str, str], from_logits: bool) -> None:
    backend, dtype = implementation
    batch = load(*example)
    batch = batch.with_scores(decode(encode(batch.scores, dtype)))
    # The reference works on logarithms as the textbook does, in float64.
    oracle = 2.0**-53 if backend.exact else ORACLE_EPS
    truth = truth_of(batch, dtype, from_logits=from_logits)
    check_batch(backend, batch, dtype, truth, from_logits=from_logits, oracle=oracle)


@pytest.mark.parametrize(
    ("example", "reading"), [(LINE, "the fak friend of the fomly hae tC"), (WORD, "aircrapt")], ids=["line", "word"]
)
def test_greedy_reading(example: tuple[str, str], reading: str) -> None:
    """The logits match the description of the data: order of classes, blank and all."""
    classes = load(*example).scores[:, 0].argmax(axis=1)
    text = "".join(ALPHABET[c] for c in collapse(classes.tolist(), BLANK))
    assert text == reading
    # That reading is the most probable path of its own target too.
    target = [ALPHABET.index(character) for character in reading]
    logits = load(*example).scores
    problem = ctc_problem(logits[:, 0], target, len(logits), len(target), BLANK, from_logits=True)
    states = reference.best_path(problem).states[0]
    assert [problem.lattice(0).labels[k] for k in states] == classes.tolist()


@pytest.mark.parametrize("example", [LINE, WORD], ids=["line", "word"])
def test_occupancy_sums_to_one(instruction_set: str, example: tuple[str, str]) -> None:
    batch = load(*example)
    for dtype, unit in (("float64", 2.0**-53), ("float32", 2.0**-24)):
        gamma = ctckit.posteriors(batch.scores.astype(dtype), *batch.arguments, from_logits=True)
        # Each frame is divided by its own sum, which leaves the rounding of K entries, most of them tiny.
        assert np.abs(gamma.states.astype(float).sum(axis=2) - 1).max() <= 4 * unit
        assert np.abs(gamma.classes.astype(float).sum(axis=2) - 1).max() <= 4 * unit
        np.testing.assert_allclose(gamma.score, -28.0907217 if example is LINE else -5.4017572, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "not_there"),
    [
        ("the fake friend of the family, like the", []),
        ("the friend of the family, like the", []),
        ("the fake brother of the family, like the", ["brother"]),
        ("the fake old friend of the family, like the", ["old"]),
        ("of the blue family,", ["blue"]),
    ],
)
def test_words_of_a_text_that_is_not_quite_right(text: str, not_there: list[str]) -> None:
    """Misread words ("hae", "tC") are still found, and words that are not in the image are left out."""
    logits = load(*LINE).scores[:, 0]
    vocabulary = ctckit.Vocabulary([*ALPHABET, "<blank>"], blank=BLANK)

    def starts(text: str, **options: bool) -> dict[str, int]:
        transcript = vocabulary.transcribe(text, **options)
        optional = transcript.optional if options else None
        found = ctckit.forced_align(logits, transcript.tokens, blank=BLANK, from_logits=True, optional=optional)[0]
        return {word.text: int(found.starts[word.first]) for word in transcript.lines[0].words}

    truth = starts("the fake friend of the family, like the")
    found = starts(text, optional_words=True, star_between_words=True)
    assert [word for word, start in found.items() if start < 0] == not_there
    for word in set(found) - set(not_there) - {"the"}:  # which is there three times
        assert found[word] == truth[word]
