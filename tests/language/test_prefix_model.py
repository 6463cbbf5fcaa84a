"""A function as the language model of a search: equal to the same model as n-grams; errors, threads, pickles."""

from __future__ import annotations

import copy
import math
import pickle
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.brute_force import Bigrams
from support.searches import draw

from ctckit import CTCError, Decoder, LanguageModel, PrefixModel, set_num_threads
from ctckit.kernels.search import native, reference
from ctckit.search_graph import SearchGraph
from ctckit.text import Errors, word_errors

LABELS = ["<blank>", " ", *"abcd"]
WORDS = ["a", "ab", "bad", "cab", "dad", "b"]
LEAST = -100 * math.log(10)

Prefix = tuple[int, ...]
Rows = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The function of a table of bigrams; counts how often it is called."""

    model: Bigrams
    calls: list[list[Prefix]]

    def __call__(self, prefixes: Sequence[Prefix]) -> Rows:
        self.calls.append(list(prefixes))
        words, table = self.model.vocabulary, self.model.table
        return np.array([[table[words[p[-1]] if p else "", word] for word in words] for p in prefixes])


def both(seed: int, context: int | None = 1) -> tuple[LanguageModel, PrefixModel, Table]:
    """Random bigrams, as n-grams and as a function."""
    bigrams = Bigrams(WORDS, seed)
    table = Table(bigrams, [])
    ngrams = LanguageModel.read(BytesIO(bigrams.arpa().encode()))
    return ngrams, PrefixModel(table, bigrams.vocabulary, context=context), table


def scores(seed: int, samples: int = 6, frames: int = 30) -> Rows:
    return np.random.default_rng(seed).normal(size=(frames, samples, len(LABELS))) * 2


@pytest.mark.parametrize("recombine", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"sentence_bounds": False}, {"lexicon": WORDS}, {"alpha": 0.0}, {"alpha": 2.0}]
)
def test_the_same_texts_as_with_the_same_n_grams(options: dict[str, Any], recombine: bool) -> None:
    """In the same graph, with the same lookahead."""
    ngrams, function, table = both(len(options))
    graph = Decoder(LABELS, language_model=ngrams, **options).graph()
    rows = scores(3)
    lengths = np.full(rows.shape[1], len(rows))
    search = partial(native.search, rows, lengths, beam_width=20, nbest=20, from_logits=True, recombine=recombine)
    for expected, found in zip(search(graph), search(replace(graph, model=function)), strict=True):
        assert [text.tokens.tolist() for text in found.texts] == [text.tokens.tolist() for text in expected.texts]
        for part in ("score", "language"):
            values = [[getattr(text, part) for text in each.texts] for each in (found, expected)]
            np.testing.assert_allclose(*values, rtol=0, atol=1e-5)
    asked = [prefix for call in table.calls for prefix in call]
    assert len(asked) == len(set(asked)) <= len(table.model.vocabulary) + 1  # each prefix once, cut to one word
    assert {len(call) for call in table.calls} == {1}


@pytest.mark.parametrize("labels", [LABELS, [label for label in LABELS if label != " "]])
def test_a_decoder_finds_the_same_texts_as_with_n_grams(labels: list[str]) -> None:
    """By words and by tokens, in a beam that holds every prefix."""
    bigrams = Bigrams(WORDS if " " in labels else labels[1:], 5)
    ngrams = LanguageModel.read(BytesIO(bigrams.arpa().encode()))
    found = [
        Decoder(labels, language_model=model, recombine=False, beam_width=5000).decode(
            scores(4, frames=6)[..., : len(labels)], from_logits=True, nbest=50
        )
        for model in (ngrams, PrefixModel(Table(bigrams, []), bigrams.vocabulary))
    ]
    for expected, sample in zip(*found, strict=True):
        assert [text.text for text in sample] == [text.text for text in expected]
        assert " " in labels or [text.units for text in sample] == [len(text.tokens) for text in sample]
        np.testing.assert_allclose([t.score for t in sample], [t.score for t in expected], rtol=0, atol=1e-5)


def test_all_words_are_expected_to_cost_as_much() -> None:
    """The mean over all first words. Otherwise words that cannot be first would be lost at other places."""
    shares = {"a": 0.5, "ab": 0.25, "b": 0.25, "cab": 0.0}
    with np.errstate(divide="ignore"):
        row = np.log([*shares.values(), 0.0])
    model = PrefixModel(lambda prefixes: np.tile(row, (len(prefixes), 1)), [*shares, "</s>"])
    np.testing.assert_allclose(model.alone(np.arange(5)), 1.5 * np.log(0.5), rtol=1e-6)


class Plain:
    """The same as a :class:`PrefixModel`, without the extension."""

    native = None

    def __init__(self, function: Callable[[Sequence[Prefix]], Rows], model: LanguageModel, context: int | None) -> None:
        self.function, self.end, self.context = function, model.end, context or 10**9
        self.start = (model.id("<s>"),)

    def begin(self, sentence: bool) -> Prefix:
        return self.start if sentence else ()

    def step(self, state: Prefix, word: int) -> tuple[float, Prefix]:
        nats = max(LEAST, float(np.float32(self.function([state])[0][word])))
        return nats, state if word == self.end else (*state, word)[-self.context :]


def by_n_grams(model: LanguageModel) -> Callable[[Sequence[Prefix]], Rows]:
    """What an n-gram model says of prefixes, with some words made impossible."""
    known: dict[Prefix, list[float]] = {}

    def row(prefix: Prefix) -> list[float]:
        state = model.begin(False)
        for word in prefix:
            state = model.step(state, word)[1]
        found = [min(0.0, model.step(state, word)[0]) for word in range(len(model.vocabulary))]
        if len(prefix) % 3 == 2:
            found[len(prefix) % len(found)] = -math.inf
        return found

    def function(prefixes: Sequence[Prefix]) -> Rows:
        return np.array([known.setdefault(prefix, row(prefix)) for prefix in prefixes])

    return function


def with_function(seed: int, form: str, context: int | None) -> tuple[native.Found, reference.Found]:
    """What a random case with a function gives, and what the reference finds; not a case decided by rounding."""
    for number in count(100 * seed):
        case = draw(number, form, most_frames=25)
        if isinstance(ngrams := case.graph.model, LanguageModel):
            function = by_n_grams(ngrams)
            plain = replace(case.graph, model=Plain(function, ngrams, context))
            truth, sure = replace(case, graph=plain).reference()
            if sure:
                graph = replace(case.graph, model=PrefixModel(function, ngrams.vocabulary, context=context))
                return replace(case, graph=graph).native(), truth
    raise AssertionError


@pytest.mark.parametrize("context", [None, 2])
@pytest.mark.parametrize("form", ["words", "tokens", "pieces"])
@pytest.mark.parametrize("seed", range(15))
def test_the_search_finds_what_the_reference_does(form: str, seed: int, context: int | None) -> None:
    found, truth = with_function(seed, form, context)
    assert found.status == truth.status
    expected = {(e.prefix.tokens, e.prefix.words): e for e in truth.entries}
    assert {(tuple(t.tokens.tolist()), tuple(t.words.tolist())) for t in found.texts} == set(expected)
    np.testing.assert_allclose([t.score for t in found.texts], [e.score for e in truth.entries], rtol=0, atol=1e-11)
    for text in found.texts:
        entry = expected[tuple(text.tokens.tolist()), tuple(text.words.tolist())]
        np.testing.assert_allclose(text.language, entry.state.language, rtol=0, atol=1e-11)


def test_states_are_prefixes_and_rows_are_said_once() -> None:
    calls: list[Prefix] = []

    def function(prefixes: Sequence[Prefix]) -> Rows:
        calls.extend(prefixes)
        return np.array([[-1.0 - 0.25 * sum(prefix) - place for place in range(4)] for prefix in prefixes])

    model = PrefixModel(function, ["a", "b", "</s>", "c"])
    assert model.vocabulary == ("<unk>", "a", "b", "</s>", "c")
    assert model.ids(["c", "x", "<unk>"]).tolist() == [4, 0, 0]
    assert (model.end, model.counts, model.notes) == (3, (4,), ())
    start = model.begin()
    assert model.begin(False) == start
    first, after_b = model.step(start, 2)
    second, after_bc = model.step(after_b, 4)
    unknown, stays = model.step(after_bc, 0)
    ended, _ = model.step(after_bc, model.end)
    assert (first, second, unknown, ended) == (-2.0, -4.25, LEAST, -4.0)
    assert stays == after_bc != after_b
    assert model.step(after_b, 4) == (second, after_bc)
    assert calls == [(), (1,), (1, 3)]


def test_prefixes_are_cut() -> None:
    calls: list[Prefix] = []

    def function(prefixes: Sequence[Prefix]) -> Rows:
        calls.extend(prefixes)
        return np.full((len(prefixes), 4), -1.0)

    model = PrefixModel(function, ["<s>", "a", "b", "</s>"], context=2)
    state = model.begin()
    for word in ["a", "b", "a", "b"]:
        _, state = model.step(state, model.id(word))
    model.step(state, model.id("b"))
    assert calls == [(0,), (0, 1), (1, 2), (2, 1)]  # that after the last "b" was known
    assert model.step(model.begin(False), 1)[0] == -1
    assert calls[-1] == ()


def test_a_text_may_have_no_end() -> None:
    model = PrefixModel(lambda prefixes: np.full((len(prefixes), 1), -3.0), ["ab"])
    assert model.notes == ("the language model lacks </s>: the end of a text costs nothing",)
    decoder = Decoder(LABELS, language_model=model)
    assert model.notes[0] in decoder.notes
    rows = np.full((2, len(LABELS)), -9.0)
    rows[[0, 1], [2, 3]] = 0
    (best,) = decoder.decode(rows, from_logits=True)[0]
    assert (best.text, best.language) == ("ab", -3.0)


def test_what_does_not_fit_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctckit.language.prefix_model._BYTES_OF_ROWS", 3 * 4 * 4)  # three rows
    calls: list[Prefix] = []

    def function(prefixes: Sequence[Prefix]) -> Rows:
        calls.extend(prefixes)
        return np.full((len(prefixes), 4), -1.0)

    model = PrefixModel(function, ["a", "b", "c", "</s>"])
    states = [model.step(model.begin(), word)[1] for word in range(1, 4)]
    for state in [states[0], states[1], states[0], states[2], model.begin(), states[0], states[1], states[0]]:
        model.step(state, 1)
    assert calls == [(), (0,), (1,), (2,), (), (1,)]  # (2,) has been forgotten


class TestErrors:
    """What a function raises, and what it must not return."""

    @staticmethod
    def failing(at: int, error: BaseException) -> PrefixModel:
        calls = count()

        def function(prefixes: Sequence[Prefix]) -> Rows:
            if next(calls) >= at:
                raise error
            return np.full((len(prefixes), len(WORDS) + 1), -2.0)

        return PrefixModel(function, [*WORDS, "</s>"])

    @pytest.mark.parametrize("workers", [1, 4])
    @pytest.mark.parametrize("at", [1, 2, 40])
    @pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, CTCError])
    def test_exceptions_come_out_as_they_are(self, kind: type[BaseException], at: int, workers: int) -> None:
        set_num_threads(workers)
        error = kind("raised by the model")
        decoder = Decoder(LABELS, language_model=self.failing(at, error), beam_width=20)
        with pytest.raises(kind) as raised:
            decoder.decode(scores(1, samples=16, frames=80), from_logits=True, nbest=20)
        assert raised.value is error
        assert "function" in [entry.name for entry in raised.traceback]

    def test_the_other_threads_stop(self) -> None:
        set_num_threads(4)
        calls: list[int] = []

        def function(prefixes: Sequence[Prefix]) -> Rows:
            calls.append(len(prefixes))
            if len(calls) == 50:
                raise KeyError("this one")
            return np.full((len(prefixes), len(WORDS) + 1), -2.0)

        decoder = Decoder(LABELS, language_model=PrefixModel(function, [*WORDS, "</s>"]), beam_width=20)
        rows = scores(1, samples=16, frames=2000)
        with pytest.raises(KeyError):
            decoder.decode(rows, from_logits=True, nbest=20)
        stopped = len(calls)
        decoder.decode(rows[:, :1], from_logits=True, nbest=20)
        assert stopped < len(calls) - stopped  # fewer calls for all samples than for one

    def test_a_stream_ends_where_it_was_cut_off(self) -> None:
        stream = Decoder(LABELS, language_model=self.failing(3, KeyError("no"))).stream(from_logits=True)
        with pytest.raises(KeyError):
            stream.feed(scores(2, frames=50)[:, 0])
        with pytest.raises(RuntimeError, match="an error has cut the search off: reset it"):
            stream.feed(scores(2)[:, 0])

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (np.zeros(3), r"next_log_probs returned an array of shape \(3,\): expected \(1, 3\), nats"),
            (np.zeros((1, 2)), r"next_log_probs returned an array of shape \(1, 2\): expected \(1, 3\), nats"),
            (np.full((1, 3), np.nan), r"next_log_probs\[0, 0\] returned nan: expected nats"),
            (
                [[-1, 0.25, 0]],
                r"next_log_probs\[0, 1\] returned 0.25: expected an ln P, at most 0; apply log_softmax to logits",
            ),
        ],
    )
    def test_answers(self, answer: Any, message: str) -> None:
        with pytest.raises(CTCError, match=message):
            Decoder(LABELS, language_model=PrefixModel(lambda prefixes: answer, ["a", "b", "</s>"]))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((3, ["a"]), "next_log_probs has type int: expected a function of prefixes"),
            ((len, "ab"), "words is a string: expected a list"),
            ((len, []), "words is empty"),
            ((len, ["a", 2]), r"words\[1\] has type int: expected a word"),
            ((len, ["a", "b", "a"]), r"words\[2\] = 'a' is words\[0\] again"),
        ],
    )
    def test_arguments(self, arguments: tuple[Any, Any], message: str) -> None:
        with pytest.raises(CTCError, match=message):
            PrefixModel(*arguments)
        with pytest.raises(CTCError, match="context = 0"):
            PrefixModel(len, ["a"], context=0)  # type: ignore[arg-type, return-value]

    def test_a_decoder_takes_no_bare_function(self) -> None:
        with pytest.raises(
            CTCError, match=r"language_model has type function: .* a ctckit.PrefixModel, which wraps a function"
        ):
            Decoder(LABELS, language_model=lambda prefixes: [])  # type: ignore[arg-type]


class TestThreads:
    """Results and calls, with any number of threads."""

    def test_results_are_equal(self) -> None:
        found = []
        for workers in (1, 2, 5):
            set_num_threads(workers)
            decoder = Decoder(LABELS, language_model=both(7, context=None)[1])
            samples = decoder.decode(scores(5, samples=12, frames=80), from_logits=True, nbest=5)
            found.append([[(text.text, text.score) for text in sample] for sample in samples])
        assert found[0] == found[1] == found[2]

    def test_the_function_is_called_by_one_at_a_time(self) -> None:
        set_num_threads(4)
        bigrams = Bigrams(WORDS, 1)
        inside = threading.Semaphore(1)
        callers: set[int] = set()

        def function(prefixes: Sequence[Prefix]) -> Rows:
            assert inside.acquire(blocking=False)
            callers.add(threading.get_ident())
            table = Table(bigrams, [])(prefixes)
            time.sleep(1e-4)  # lets other threads run
            inside.release()
            return table

        decoder = Decoder(LABELS, language_model=PrefixModel(function, bigrams.vocabulary))
        rows = scores(5, samples=8, frames=100)
        outside = [threading.Thread(target=decoder.decode, args=(rows,), kwargs={"from_logits": True}) for _ in "ab"]
        for thread in outside:
            thread.start()
        found = decoder.decode(rows, from_logits=True)
        for thread in outside:
            thread.join()
        assert len(callers) > 1
        assert [sample[0].text for sample in found] == [
            sample[0].text for sample in Decoder(LABELS, language_model=both(1, None)[1]).decode(rows, from_logits=True)
        ]


def follows_length(prefixes: Sequence[Prefix]) -> list[list[float]]:
    return [[-0.5 - (3 * len(prefix) + 5 * place + sum(prefix)) % 7 for place in range(7)] for prefix in prefixes]


def test_pickles_with_its_prefixes() -> None:
    decoder = Decoder(LABELS, language_model=PrefixModel(follows_length, [*WORDS, "</s>"]), exact_scores=False)
    rows = scores(9, samples=1, frames=60)[:, 0]
    (expected,) = decoder.decode(rows, from_logits=True)[0]
    for sent in (pickle.loads(pickle.dumps(decoder)), copy.deepcopy(decoder)):
        (best,) = sent.decode(rows, from_logits=True)[0]
        assert (best.text, best.score) == (expected.text, expected.score)
    stream = decoder.stream(from_logits=True)
    stream.feed(rows[:31])
    sent = pickle.dumps(stream)
    decoder.decode(scores(10), from_logits=True)  # other prefixes get numbers
    for each in (pickle.loads(sent), stream):
        each.feed(rows[31:])
        (best,) = each.finish()
        assert (best.text, best.score) == (expected.text, expected.score)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(PrefixModel(lambda prefixes: follows_length(prefixes), WORDS))


def test_damaged_states_lead_nowhere_else() -> None:
    model = PrefixModel(follows_length, [*WORDS, "</s>"])
    assert model.step((10**6,), 2)[0] == model.step((), 2)[0]
    graph = Decoder(LABELS, language_model=model).graph()
    assert isinstance(graph, SearchGraph)
    for saved in ([5, 1], [0, 99], [0, -1], [0, 1, 0, 1], [-1, 1]):
        assert not PrefixModel(follows_length, [*WORDS, "</s>"]).native.restore(np.array(saved, np.int32))


def test_a_model_that_remembers_helps_in_the_search() -> None:
    """The name at the beginning of a text is repeated at its end."""
    labels = ["<blank>", " ", *"abcdefgh"]
    names, others = ["bad", "bed", "had", "head"], ["ad", "be", "fed"]
    words = ["</s>", *names, *others]

    def following(prefixes: Sequence[Prefix]) -> Rows:
        rows = np.full((len(prefixes), len(words)), np.log(1e-6))
        for row, prefix in zip(rows, prefixes, strict=True):
            likely = {0: range(1, 5), 1: range(5, 8), 2: prefix[:1]}.get(len(prefix), (0,))
            row[list(likely)] = -np.log(len(likely))
        return rows

    rng, draw_word = np.random.default_rng(2), random.Random(2)
    texts = [f"{name} {draw_word.choice(others)} {name}" for name in draw_word.choices(names, k=40)]
    heard = []
    for text in texts:
        classes = [c for letter in text for c in (labels.index(letter), 0)]
        rows = rng.normal(0, 1.3, (len(classes), len(labels)))
        rows[np.arange(len(classes)), classes] += 2.0
        heard.append(rows)
    wrong = []
    for model in (None, PrefixModel(following, words)):
        decoder = Decoder(labels, language_model=model, lexicon=names + others, alpha=1.0, beta=0.0)
        found = decoder.decode(heard, from_logits=True)
        wrong.append(sum((word_errors(t, s[0].text) for t, s in zip(texts, found, strict=True)), Errors()).total)
    assert wrong[0] > 20
    assert wrong[1] < wrong[0] / 2
