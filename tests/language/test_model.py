"""n-gram models: right scores from every source, and wrong files."""

from __future__ import annotations

import gzip
import io
import json
import math
import pickle
import random
import re
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.backoff import (
    CHECKSUM_AT,
    FORMS,
    LN10,
    NEW_WORDS,
    BackOff,
    Form,
    fuzz_arpa,
    fuzz_file,
    made_up,
    murmur,
    read,
    sentences,
    with_checksum,
)

from ctckit import CTCError, Vocabulary
from ctckit.language import GraphBuilder, LanguageModel

GOLDEN = Path(__file__).with_name("golden")
KENLM: dict[str, Any] = json.loads((GOLDEN / "kenlm.json").read_text(encoding="utf-8"))

SMALL = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-2\t<unk>\t-0.125
-99\t<s>\t-0.5
-1\t</s>
-0.75\ta\t0.25
-1.5\tb

\\2-grams:
-0.25\t<s> a\t-0.375
-0.5\ta b\t-1
-0.625\tb a
-0.875\t<unk> b

\\3-grams:
-0.0625\t<s> a b
-0.03125\ta b a

\\end\\
"""


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("a", [-0.25, -0.375 + 0.25 - 1]),
        ("b", [-0.5 - 1.5, -1]),
        ("a b", [-0.25, -0.0625, -1 - 1]),
        ("a b a", [-0.25, -0.0625, -0.03125, 0.25 - 1]),
        ("a a", [-0.25, -0.375 + 0.25 - 0.75, 0.25 - 1]),
        ("b a", [-0.5 - 1.5, -0.625, 0.25 - 1]),
        ("zork", [-0.5 - 2, -0.125 - 1]),  # the back-off of <unk> counts
        ("zork b", [-0.5 - 2, -0.875, -1]),
        ("zork zork", [-0.5 - 2, -0.125 - 2, -0.125 - 1]),
        ("", [-0.5 - 1]),
    ],
)
def test_scores_by_hand(text: str, scores: list[float]) -> None:
    model = read(SMALL)
    found = model.words(text)
    assert [score for _, score, _ in found] == pytest.approx([score * LN10 for score in scores], rel=1e-6)
    assert [word for word, _, _ in found] == [*text.split(), "</s>"]
    assert [known for _, _, known in found] == [word != "zork" for word in [*text.split(), "</s>"]]
    assert model.score(text) == pytest.approx(sum(scores) * LN10, rel=1e-6)
    assert model.score(text, eos=False) == pytest.approx(sum(scores[:-1]) * LN10, rel=1e-6)


def test_what_a_model_says_of_itself() -> None:
    model = read(SMALL)
    assert (model.order, model.counts, model.notes) == (3, (5, 4, 2), ())
    assert model.vocabulary == ("<unk>", "<s>", "</s>", "a", "b")
    assert model.ids(["b", "zork", "<unk>", "", "a"]).tolist() == [4, 0, 0, 0, 3]
    assert (model.id("</s>"), model.end) == (2, 2)
    assert model.begin(False) == ()
    assert repr(model) == "LanguageModel('the model', order=3, counts=(5, 4, 2))"


def test_states_are_no_longer_than_they_must_be() -> None:
    """Contexts after which the model gives all texts the same scores are one state, so that a search can merge them."""
    model = read(SMALL)
    b, a = model.id("b"), model.id("a")

    def after(*words: int, bos: bool = False) -> tuple[int, ...]:
        state = model.begin(bos)
        for word in words:
            state = model.step(state, word)[1]
        return state

    assert after(b, b) == after(b) != ()  # "b b" is not a 2-gram
    assert after(a, b, a) == after(b, a) == after(a)  # "b a" begins no n-gram, and has no back-off
    assert after(a, b) != after(b)
    assert after(model.end) == after(a, model.end) == ()
    assert after(2**31, bos=True) == after(0)
    assert model.step(model.begin(), -1) == model.step(model.begin(), 0)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("seed", range(4))
def test_scores_of_made_up_models(form: Form, seed: int) -> None:
    text = made_up(seed, form)
    model, truth = read(text), BackOff.read(text)
    assert bool(model.notes) == (not form.has_unknown)
    worst = -math.inf
    for words in sentences(seed, truth, 150):
        for bos, eos in ((True, True), (False, False)):
            expected = [score * LN10 for score in truth.scores(words, bos, eos)]
            found = [score for _, score, _ in model.words(" ".join(words), bos, eos)]
            np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-7 * form.order)
            state, stepped = model.begin(bos), []
            for number in [*model.ids(words), *[model.end] * eos]:
                score, state = model.step(state, int(number))
                stepped.append(score)
            assert stepped == found
            worst = max(worst, *stepped, -math.inf)
    assert worst <= model.bound


@pytest.mark.parametrize("form", [FORMS["positive back-offs"], FORMS["ends pruned, positive"]], ids=["", "pruned"])
def test_no_score_is_above_the_bound(form: Form) -> None:
    """For all states that can be reached and all words; and it is not far above them."""
    model = read(made_up(5, form))
    states, found = {model.begin(False), model.begin(True)}, []
    waiting = list(states)
    while waiting:
        state = waiting.pop()
        for word in range(len(model.vocabulary)):
            score, after = model.step(state, word)
            found.append(score)
            if after not in states:
                states.add(after)
                waiting.append(after)
    assert max(found) <= model.bound <= max(found) + 2


def test_many_texts_at_once() -> None:
    model, texts = read(SMALL), ["a b", "", "zork  a", "b"]
    assert model.score_all(texts).tolist() == [model.score(text) for text in texts]
    assert model.score_all(texts, eos=False).tolist() == [model.score(text, eos=False) for text in texts]
    many = [" ".join(words) for words in sentences(3, BackOff.read(SMALL), 100)]
    assert model.score_all(many).tolist() == [model.score(text) for text in many]
    assert model.score_all(["", "a", "", ""], eos=False).tolist() == [0, model.score("a", eos=False), 0, 0]
    assert model.score_all(["", ""], eos=False).tolist() == [0, 0]
    assert model.score_all([]).shape == (0,)
    assert model.score("a\tb\n") == model.score("a b")
    assert model.score("a\u3000b", bos=False, eos=False) == pytest.approx(-2 * LN10)  # one unknown word
    assert model.score("\ud800") == model.score("zork")


def test_many_threads_use_one_model() -> None:
    model = read(made_up(0, FORMS["trigrams"]))
    texts = [" ".join(words) for words in sentences(1, BackOff.read(made_up(0, FORMS["trigrams"])), 200)]
    expected, found = model.score_all(texts), {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: model.score_all(texts)})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[n], expected) for n in range(8))


class TestAgainstKenlm:
    @pytest.mark.parametrize("case", KENLM["models"], ids=lambda case: case["form"])
    def test_golden_scores(self, case: dict[str, Any]) -> None:
        model = read(made_up(case["seed"], FORMS[case["form"]]))
        for each in case["sentences"]:
            found = [score / LN10 for _, score, _ in model.words(each["text"])]
            assert found == pytest.approx(each["scores"], rel=1e-6, abs=2e-6)
            assert model.score(each["text"], False, False) / LN10 == pytest.approx(each["without bounds"], abs=2e-5)

    @pytest.mark.parametrize("case", KENLM["binary"], ids=lambda case: case["file"])
    def test_binary_files(self, case: dict[str, Any]) -> None:
        model, plain = LanguageModel.read(GOLDEN / case["file"]), LanguageModel.read(GOLDEN / "model.arpa")
        for each in case["sentences"]:
            found = [score / LN10 for _, score, _ in model.words(each["text"])]
            assert found == pytest.approx(each["scores"], rel=1e-6, abs=2e-6)
        assert sorted(model.vocabulary) == sorted(plain.vocabulary)
        assert model.ids(NEW_WORDS).tolist() == [0] * len(NEW_WORDS)
        assert [model.vocabulary[i] for i in model.ids(plain.vocabulary)] == list(plain.vocabulary)
        assert model.bound <= 3
        copied = pickle.loads(pickle.dumps(model))
        assert copied.score("w1 w2") == model.score("w1 w2")

    def test_states_of_hash_tables_go_together_with_ours(self) -> None:
        theirs, ours = LanguageModel.read(GOLDEN / "probing.bin"), LanguageModel.read(GOLDEN / "model.arpa")
        pairs = set()
        for words in sentences(2, BackOff.read((GOLDEN / "model.arpa").read_text()), 300):
            a, b = theirs.begin(), ours.begin()
            for x, y in zip(theirs.ids(words), ours.ids(words), strict=True):
                a, b = theirs.step(a, int(x))[1], ours.step(b, int(y))[1]
                pairs.add((a, b))
        assert len(pairs) == len({a for a, _ in pairs}) >= len({b for _, b in pairs}) > 30


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\t", " "),
        lambda text: text.replace("\t", " \t  "),
        lambda text: text.replace(" ", "\t"),
        lambda text: "\n# made by hand\n\n" + text,
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n\n", "\n\n \t\n\n"),
        lambda text: text.replace("\n\\", "\n\n\\"),
        lambda text: text.replace("\n\n", "\n"),
        lambda text: text.replace("=", "=   "),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n  \n",
        lambda text: text.replace("<unk>", "<UNK>"),
        lambda text: text.replace("-0.5\t", "-.5\t").replace("-0.25\t", "-25e-2\t").replace("-1\t", "-1.\t"),
        lambda text: text.replace("-0.25", "-0.2500000000000000000000000000000000"),
        lambda text: text.replace("-0.25", "-0.0000000000000000000000025E23"),
    ],
)
def test_other_ways_to_write_the_same(change: Any) -> None:
    text = change(SMALL)
    assert text != SMALL
    assert read(text)._data.tobytes() == read(SMALL)._data.tobytes() or "UNK" in text
    assert read(text).score("a b zork") == read(SMALL).score("a b zork")


def test_it_does_not_matter_how_a_file_is_cut(tmp_path: Path) -> None:
    class Slow(BytesIO):
        step = 1

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(self.step)

    for Slow.step in (2, 3, 7, 100):
        for data in (SMALL.encode(), gzip.compress(SMALL.encode())):
            assert LanguageModel.read(Slow(data))._data.tobytes() == read(SMALL)._data.tobytes()


def test_n_grams_may_come_in_any_order() -> None:
    text = made_up(4, FORMS["trigrams"])
    expected = read(text)
    sections = text.split("\n\n")
    rng = random.Random(0)
    for n in (2, 3):
        head, *lines = sections[n].split("\n")
        rng.shuffle(lines)
        sections[n] = "\n".join([head, *lines])
    assert read("\n\n".join(sections))._data.tobytes() == expected._data.tobytes() != b""


def test_probabilities_of_zero() -> None:
    model = read(SMALL.replace("-0.75\ta", "-inf\ta"))
    assert model.score("a") == pytest.approx((-0.25 - 0.375 + 0.25 - 1) * LN10)
    assert model.score("a a") == -math.inf


def swap(old: str, new: str) -> str:
    assert SMALL.count(old) >= 1, old
    return SMALL.replace(old, new, 1)


BAD = {
    "empty": ("", "the model is empty: expected an n-gram model; was it written, or copied, completely?"),
    "no text": ("\x00\x01\x02\n", "line 1: '???': expected \\data\\, with only empty lines and comments (#) before it"),
    "another text": ("hello\n", "line 1: 'hello': expected \\data\\"),
    "iARPA": ("iARPA\n\n\\data\\", "line 1: this is IRSTLM's iARPA: expected ARPA; convert it with compile-lm"),
    "IRSTLM's binary": ("blmt 3 5 6\n", "line 1: this is a binary file of IRSTLM"),
    "counts missing": ("\\data\\\n\n\\1-grams:\n", "line 3: '\\\\1-grams:': expected the counts of n-grams"),
    "counts out of order": (
        swap("ngram 2=4", "ngram 3=4"),
        "line 3: 'ngram 3=4': expected the number of 2-grams; orders count up from 1",
    ),
    "count no number": (swap("ngram 2=4", "ngram 2=x"), "line 3: 'ngram 2=x': expected the counts of n-grams"),
    "count negative": (swap("ngram 2=4", "ngram 2=-4"), "line 3: 'ngram 2=-4': expected the counts"),
    "count too large": (swap("ngram 2=4", "ngram 2=4294967290"), "line 3: more than 4294967291 n-grams"),
    "count beyond numbers": (swap("ngram 2=4", "ngram 2=99999999999999999999"), "line 3: 'ngram 2=9999999999"),
    "no words": (swap("ngram 1=5", "ngram 1=0"), "line 2: 'ngram 1=0': expected words"),
    "order too high": (
        "\\data\\\n" + "".join(f"ngram {n}=9\n" for n in range(1, 40)),
        "line 34: order 33: expected at most 32",
    ),
    "header missing": (
        swap("\\2-grams:", "-1\ta a"),
        "line 13: '-1?a a': expected \\2-grams:; 5 1-grams were announced",
    ),
    "headers swapped": (swap("\\2-grams:", "\\3-grams:"), "line 13: '\\\\3-grams:': expected \\2-grams:"),
    "fewer than announced": (swap("ngram 2=4", "ngram 2=5"), "line 19: '\\\\3-grams:': expected the 2-grams 5 of 5"),
    "more than announced": (
        swap("ngram 2=4", "ngram 2=3"),
        "line 17: '-0.875?<unk> b': expected \\3-grams:; 3 2-grams were announced, and this would be one more",
    ),
    "end missing": (swap("\\end\\\n", ""), "line 22: the file ends after this line: expected \\end\\"),
    "cut short": (SMALL[: SMALL.index("-0.0625")], "the file ends after this line: expected the 3-grams 1 of 2"),
    "more after the end": (SMALL + "\nmore\n", "line 25: 'more': expected nothing more after \\end\\"),
    "probability no number": (swap("-0.75", "x"), "line 10: 'x': expected log10 P, a number, where the 1-grams 4 of 5"),
    "probability NaN": (swap("-0.75", "nan"), "line 10: 'nan': expected log10 P, a number"),
    "probability above 1": (swap("-0.75", "0.75"), "line 10: '0.75': expected log10 P, which is never above 0"),
    "probability infinite": (swap("-0.75", "inf"), "line 10: 'inf': expected log10 P, which is never above 0"),
    "back-off no number": (
        swap("\t-0.5\n", "\tx\n"),
        "line 8: '-99?<s>?x': expected log10 P, 1 word and at most a back-off",
    ),
    "back-off infinite": (swap("\t-0.5\n", "\t-inf\n"), "line 8: '-99?<s>?-inf': expected log10 P, 1 word"),
    "back-off beyond floats": (swap("\t-0.5\n", "\t-9e40\n"), "line 8: '-99?<s>?-9e40': expected log10 P, 1 word"),
    "back-off of the highest order": (
        swap("<s> a b", "<s> a b\t-1"),
        "line 20: back-off '-1': expected none, as of all n-grams of the highest order",
    ),
    "a word too few": (swap("-0.5\ta b\t-1", "-0.5\ta"), "line 15: '-0.5?a': expected log10 P and 2 words"),
    "a word too many": (
        swap("-0.0625\t<s> a b", "-0.0625\t<s> a b b"),
        "line 20: '-0.0625?<s> a b b': expected log10 P",
    ),
    "a word of no 1-gram": (swap("b a\n", "b c\n"), "line 16: the word 'c' is not among the 1-grams"),
    "a beginning of no 2-gram": (
        swap("a b a", "a a b"),
        "line 21: the first 2 words are not among the 2-grams: expected the beginning of every n-gram to be one",
    ),
    "a word twice": (swap("-1.5\tb", "-1.5\ta"), "line 11: the word 'a' is twice among the 1-grams"),
    "<unk> twice": (swap("-1.5\tb", "-1.5\t<UNK>"), "line 11: the word '<UNK>' is twice"),
    "an n-gram twice": (swap("-0.625\tb a\n", "\n-1\t<s> a\n"), "line 17: this n-gram is on line 14 too"),
    "no <s>": (swap("\t<s>\t", "\tx\t"), "line 11: the 1-grams end without <s>: expected it among them"),
    "no </s>": (swap("</s>", "x"), "line 11: the 1-grams end without </s>"),
    "a long line": ("\\data\\\n" + "x" * 2**21, "line 2: is longer than 1 MiB"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_told_with_their_line(text: str, message: str) -> None:
    with pytest.raises(CTCError) as caught:
        read(text)
    assert message.replace("\\\\", "\\") in str(caught.value)
    assert message == BAD["empty"][1] or str(caught.value).startswith("the model, line ")


def test_words_must_be_utf8(tmp_path: Path) -> None:
    with pytest.raises(CTCError, match="line 10: the word 'caf\\?' is not UTF-8: expected UTF-8 text"):
        read(SMALL.encode().replace(b"\ta\t", b"\tcaf\xe9\t"))
    for bad in (b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xff", b"\xe4\xb8"):
        with pytest.raises(CTCError, match="is not UTF-8"):
            read(SMALL.encode().replace(b"\ta\t", b"\t" + bad + b"\t"))
    model = read(SMALL.replace("\ta\t", "\t中文😀é\t").replace(" a", " 中文😀é").replace("\ta ", "\t中文😀é "))
    assert model.score("中文😀é b") == read(SMALL).score("a b")
    assert "中文😀é" in model.vocabulary


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(CTCError, match=re.escape(f"{tmp_path / 'no.arpa'} can't be read: No such file")):
        LanguageModel.read(tmp_path / "no.arpa")
    with pytest.raises(CTCError, match="is a folder: expected a file"):
        LanguageModel.read(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(CTCError, match="empty is empty: expected data"):
        LanguageModel.read(tmp_path / "empty")
    (tmp_path / "x.bz2").write_bytes(b"BZh91AY")
    with pytest.raises(CTCError, match="is compressed by bzip2: expected plain text, or gzip; unpack it first"):
        LanguageModel.read(tmp_path / "x.bz2")


def test_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(SMALL[:100].encode()) + gzip.compress(SMALL[100:].encode())  # as pigz and cat write them
    for data in (packed, packed + bytes(512)):
        assert read(data)._data.tobytes() == read(SMALL)._data.tobytes()
    for cut in (20, 90, len(packed) - 1):
        with pytest.raises(CTCError, match="the model is not a readable gzip file: it ends early"):
            read(packed[:cut])
    with pytest.raises(CTCError, match="the model is not a readable gzip file: Error"):
        read(packed[:30] + b"\xff\xff\xff\xff" + packed[34:])


class TestOurFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        read(made_up(1, FORMS["ends pruned"])).save(tmp_path / "x.ngram")
        return tmp_path / "x.ngram"

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
    def test_there_and_back(self, form: Form, tmp_path: Path) -> None:
        """Written and read as our file or as ARPA, the model is the same, bit by bit."""
        model = read(made_up(2, form))
        model.save(tmp_path / "x.ngram")
        mapped = LanguageModel.read(str(tmp_path / "x.ngram"))
        assert (mapped.counts, mapped.vocabulary, mapped.bound) == (model.counts, model.vocabulary, model.bound)
        assert len(mapped.notes) == len(model.notes)
        for name in ("x.arpa", "x.ARPA.gz"):
            mapped.save(tmp_path / name)
            again = LanguageModel.read(tmp_path / name)
            assert again._data.tobytes() == model._data.tobytes()

    def test_written_numbers_are_as_short_as_they_were(self, tmp_path: Path) -> None:
        read(SMALL).save(tmp_path / "x.arpa")
        assert BackOff.read((tmp_path / "x.arpa").read_text()).ngrams == BackOff.read(SMALL).ngrams
        numbers = ["-1e-30", "-3.40282e+38", "-1e-38", "-123456.7", "-0.00001234567", "-1234567890", "-99", "-inf"]
        for number in numbers:
            read(swap("-0.75", number)).save(tmp_path / "x.arpa")
            written = re.search(r"(\S+)\ta\t", (tmp_path / "x.arpa").read_text())
            assert written
            again = read(swap("-0.75", written[1]))
            assert again._data.tobytes() == read(swap("-0.75", number))._data.tobytes()
            assert len(written[1]) <= 18

    def test_pickled_by_its_path_or_whole(self, path: Path) -> None:
        mapped = LanguageModel.read(path)
        for model, size in ((mapped, 300), (read(SMALL), 3000)):
            data = pickle.dumps(model)
            assert len(data) < size
            copy = pickle.loads(data)
            assert (copy.notes, repr(copy), copy.score("w1 w2")) == (model.notes, repr(model), model.score("w1 w2"))

    def test_a_model_that_is_open_may_be_written_again(self, path: Path) -> None:
        model = LanguageModel.read(path)
        before = model.score("w1 w2 w3")
        read(SMALL).save(path)
        assert model.score("w1 w2 w3") == before
        assert LanguageModel.read(path).counts == (5, 4, 2)

    def test_other_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match=r"x.bin: expected a name that ends in .ngram, .arpa or .arpa.gz"):
            read(SMALL).save(tmp_path / "x.bin")
        with pytest.raises(CTCError, match="can't be written"):
            read(SMALL).save(tmp_path / "no" / "x.ngram")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("cut", [100, 336, -1])
    def test_cut_short(self, path: Path, cut: int) -> None:
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(CTCError, match="was it written, or copied, completely"):
            LanguageModel.read(path)

    @pytest.mark.parametrize(
        ("at", "new", "message"),
        [
            (16, b"\x02\x00\x00\x00", "has version 2 of the format: this ctckit reads version 1; write it again"),
            (20, b"\x01\x02\x03\x04", "was written on a machine of another byte order"),
            (24, b"\x00\x00\x00\x00", "is damaged: its header holds impossible numbers"),
            (24, b"\x21\x00\x00\x00", "is damaged: its header holds impossible numbers"),
            (32, b"\x00\x01", "bytes where its header says 256"),
            (40, b"\xff", "bytes where its header says"),
            (48, b"\xff\xff\xff\xff", "is damaged: its header holds impossible numbers"),
            (64, bytes(8), "is damaged: its header holds impossible numbers"),
            (64, b"\xff" * 8, "is damaged: its header holds impossible numbers"),
            (72, b"\xff", "bytes where its header says"),
        ],
    )
    def test_damaged_header(self, path: Path, at: int, new: bytes, message: str) -> None:
        data = path.read_bytes()
        changed = data[:at] + new + data[at + len(new) :]
        path.write_bytes(changed)
        with pytest.raises(CTCError, match=r"x.ngram (is damaged: its header does not add up|was written|has version)"):
            LanguageModel.read(path)
        path.write_bytes(with_checksum(changed))
        with pytest.raises(CTCError, match=re.escape(message)):
            LanguageModel.read(path)

    def test_the_hash_is_murmurs(self, path: Path) -> None:
        data = path.read_bytes()
        assert int.from_bytes(data[CHECKSUM_AT : CHECKSUM_AT + 8], "little") == murmur(data[:CHECKSUM_AT])
        assert murmur(b"") == 0

    def test_size(self) -> None:
        """20 bytes a node below the highest order and its key, 12 above, and what words take."""
        model = read(made_up(0, FORMS["many children"]))
        assert model._data.nbytes / sum(model.counts) < 13


class TestKenlmFiles:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "x.bin"

    def test_hash_tables_are_not_written_again(self, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match="can't be written as another file: KenLM's hash tables have hashes"):
            LanguageModel.read(GOLDEN / "probing.bin").save(tmp_path / "x.ngram")

    def test_a_trie_is_written_again(self, tmp_path: Path) -> None:
        LanguageModel.read(GOLDEN / "trie.bin").save(tmp_path / "x.arpa")
        written = BackOff.read((tmp_path / "x.arpa").read_text()).ngrams
        for ngram, value in BackOff.read((GOLDEN / "model.arpa").read_text()).ngrams.items():
            assert written[ngram] == pytest.approx(value, rel=1e-6, abs=1e-6)

    @pytest.mark.parametrize(
        ("at", "new", "message"),
        [
            (33, b" incomplete\n", "was not finished: build it again with KenLM's build_binary"),
            (49, b"4", "has version '4' of KenLM's format: expected version 5"),
            (60, b"\x01", "was written on a machine whose numbers have another form"),
            (88, b"\x00", "is damaged: its order is 0"),
            (88, b"\x06", "is damaged: its header holds impossible numbers"),
            (92, b"\x00\x00\xc0\x7f", "is damaged: its header holds impossible numbers"),
            (96, b"\x01", "is of KenLM's type 'probing with rest costs', which can't be read: build it again"),
            (96, b"\x06", "is of KenLM's type 6: expected one of 0 to 5"),
            (104, b"\x09", "has version 9 of KenLM's data structure"),
            (108, b"\xff\xff\xff\xff\xff", "is damaged: its header holds impossible numbers"),
            (116, b"\xff\x20", "has 3014 bytes, fewer than its header says; was it written, or copied, completely?"),
        ],
    )
    def test_other_headers(self, path: Path, at: int, new: bytes, message: str) -> None:
        data = (GOLDEN / "probing.bin").read_bytes()
        path.write_bytes(data[:at] + new + data[at + len(new) :])
        with pytest.raises(CTCError, match=re.escape(f"x.bin {message}")):
            LanguageModel.read(path)

    @pytest.mark.parametrize("name", [case["file"] for case in KENLM["binary"]])
    def test_cut_short(self, path: Path, name: str) -> None:
        data = (GOLDEN / name).read_bytes()
        for cut in (60, 90, 120, len(data) // 2):
            path.write_bytes(data[:cut])
            with pytest.raises(CTCError, match=r"x.bin (ends within|has .*fewer|was written|is damaged)"):
                LanguageModel.read(path)

    def test_without_words(self, path: Path) -> None:
        """Hash tables can be used without them, with a lexicon also in a search; a trie can't be read."""
        without = {}
        for name in ("probing.bin", "trie.bin"):
            data = bytearray((GOLDEN / name).read_bytes())
            data[100] = 0
            without[name] = bytes(data)
        path.write_bytes(without["trie.bin"])
        with pytest.raises(CTCError, match="is a trie of KenLM without its words: build it again"):
            LanguageModel.read(path)
        path.write_bytes(without["probing.bin"])
        bare, full = LanguageModel.read(path), LanguageModel.read(GOLDEN / "probing.bin")
        assert bare.score("w1 w2") == full.score("w1 w2")
        assert bare.vocabulary == ()
        letters = Vocabulary(["<pad>", " ", *"w12"])
        with pytest.raises(CTCError, match="language_model has no words as text: expected a lexicon"):
            GraphBuilder(letters, language_model=bare)
        graphs = [GraphBuilder(letters, language_model=lm, lexicon=["w1", "w2"]).build().graph for lm in (bare, full)]
        said, expected = (graph.lexicon.model_words.tolist() for graph in graphs if graph.lexicon)
        assert said == expected == full.ids(["w1", "w2"]).tolist()


# --- damaged files ----------------------------------------------------------------------------------------------------

ARPAS = [made_up(seed, form) for seed, form in enumerate((FORMS["trigrams"], FORMS["ends pruned"], Form(2, 3)))]


def fuzz(rounds: int, folder: Path) -> None:
    """A damaged file is an error or a right model. Some of each kind are."""
    outcomes = set()
    files = [bytes(read(text)._data) for text in ARPAS]
    files += [(GOLDEN / case["file"]).read_bytes() for case in KENLM["binary"]]
    for seed in range(rounds):
        rng = random.Random(seed)
        outcomes.add(("arpa", fuzz_arpa(rng, rng.choice(ARPAS))))
        number = rng.randrange(len(files))
        outcomes.add((min(number, 3), fuzz_file(rng, files[number], folder / "x.bin")))
    assert {(kind, read) for kind in ("arpa", 0, 3) for read in (False, True)} <= outcomes


def test_damaged_files(tmp_path: Path) -> None:
    fuzz(400, tmp_path)


@pytest.mark.long
def test_a_hundred_thousand_damaged_files(tmp_path: Path) -> None:
    fuzz(50_000, tmp_path)


def test_what_is_no_text() -> None:
    model = LanguageModel.read(BytesIO(SMALL.encode()))
    for wrong in (lambda: model.score(None), lambda: model.words(b"a"), lambda: model.id(3), lambda: model.ids([None])):
        with pytest.raises(CTCError, match="expected a string"):
            wrong()
    for wrong in (lambda: model.score_all("a b"), lambda: model.ids("ab")):  # a string is not a list of letters
        with pytest.raises(CTCError, match="expected a list of"):
            wrong()
    for source in (None, SMALL.encode(), io.StringIO(SMALL), [SMALL]):
        with pytest.raises(CTCError, match=r"source has type .*: expected a path, or a file opened in binary mode"):
            LanguageModel.read(source)
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(CTCError, match="is text in UTF-16 or UTF-32: expected UTF-8"):
            LanguageModel.read(BytesIO(SMALL.encode(encoding)))


def test_numbers_that_no_word_has() -> None:
    model = LanguageModel.read(BytesIO(SMALL.encode()))
    unknown = model.step(model.begin(), 0)
    assert all(model.step(model.begin(), word) == unknown for word in (-1, -(10**12), 10**12, 2**32, 2**31))
