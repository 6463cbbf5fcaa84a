"""n-gram models by the textbook: an ARPA reader and back-off in plain Python, made-up models, and damaged files.

Shares no code with the package, whose hash function is written here again. Logarithms to the base 10, as in ARPA.
"""

from __future__ import annotations

import math
import random
import re
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctckit import CTCError
from ctckit.language import LanguageModel

LN10 = math.log(10)
FLOAT_MAX = float(np.finfo(np.float32).max)
NEW_WORDS = ("zork", "ﬁ", "", "<UNK>")  # in no model


class NGram(NamedTuple):
    score: float
    backoff: float


class BackOff:
    """P(w | h) is that of the n-gram h w; without one, the back-off of h times P(w | h without its first word)."""

    def __init__(self, ngrams: dict[tuple[str, ...], NGram]) -> None:
        self.ngrams = ngrams
        self.order = max(map(len, ngrams))
        self.words = [words[0] for words in ngrams if len(words) == 1]
        self.ngrams.setdefault(("<unk>",), NGram(-100.0, 0.0))

    @classmethod
    def read(cls, text: str) -> BackOff:
        """From ARPA that is right; only the lines of n-grams matter."""
        ngrams: dict[tuple[str, ...], NGram] = {}
        order = 0
        for line in (line.strip(" \t\r") for line in text.split("\n")):
            fields = [field for field in re.split("[ \t\r]", line) if field]
            if line.startswith("\\") and "-grams:" in line:
                order = int(line[1 : line.index("-")])
            elif fields and order and not line.startswith("\\"):
                words = tuple("<unk>" if word == "<UNK>" else word for word in fields[1 : order + 1])
                ngrams[words] = NGram(float(fields[0]), float(fields[order + 1]) if len(fields) > order + 1 else 0.0)
        return cls(ngrams)

    def score(self, word: str, history: tuple[str, ...]) -> float:
        history = history[max(0, len(history) - self.order + 1) :]
        if (*history, word) in self.ngrams:
            return self.ngrams[(*history, word)].score
        return self.ngrams.get(history, NGram(0, 0)).backoff + self.score(word, history[1:])

    def scores(self, words: list[str], bos: bool = True, eos: bool = True) -> list[float]:
        """log10 P of each word; unknown words are <unk>."""
        history = ("<s>",) if bos else ()
        found = []
        for word in [*words, *["</s>"] * eos]:
            known = word if (word,) in self.ngrams else "<unk>"
            found.append(self.score(known, history))
            history = (*history, known)
        return found


class Form(NamedTuple):
    """The properties of a made-up model."""

    order: int = 3
    words: int = 8
    share: float = 0.4  # of all n-grams whose beginning and end are n-grams
    has_unknown: bool = True
    pruned: float = 0.0  # how likely others are, whose end is not an n-gram
    positive: bool = False  # whether some back-offs are above 0


def made_up(seed: int, form: Form) -> str:
    """An ARPA file. Every n-gram's beginning is one, as it must be; its end need not."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(form.words)]
    one = ["<unk>"] * form.has_unknown + ["<s>", "</s>", *words]
    rng.shuffle(one)
    levels = [[(word,) for word in one]]
    for _ in range(1, form.order):
        begun = [ngram for ngram in levels[-1] if ngram[-1] != "</s>"]
        next_words = [word for word in one if word != "<s>"]
        known = set(levels[-1])
        level = [
            (*ngram, word)
            for ngram in begun
            for word in next_words
            if rng.random() < form.share * (1 if (*ngram, word)[1:] in known or len(ngram) == 1 else form.pruned)
        ]
        rng.shuffle(level)
        levels.append(level)

    def number(low: float, high: float) -> str:
        return f"{rng.uniform(low, high):.6g}"

    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, 1))]
    for n, level in enumerate(levels, 1):
        lines += ["", f"\\{n}-grams:"]
        for ngram in level:
            backoff = number(-1, 1 if form.positive else 0) if rng.random() < 0.7 else "0"
            after = f"\t{backoff}" if n < form.order and rng.random() < 0.9 else ""
            lines.append(f"{number(-4, -0.01)}\t{' '.join(ngram)}{after}")
    return "\n".join([*lines, "", "\\end\\", ""])


FORMS = {
    "bigrams": Form(order=2),
    "trigrams": Form(),
    "trigrams without <unk>": Form(has_unknown=False),
    "positive back-offs": Form(positive=True),
    "ends pruned": Form(order=4, pruned=0.1, share=0.4),
    "ends pruned, positive": Form(order=4, pruned=0.1, share=0.4, positive=True),
    "many children": Form(order=2, words=250, share=0.5),
    "five words": Form(order=5, words=4, share=0.7),
    "words only": Form(order=1),
}


def sentences(seed: int, model: BackOff, count: int) -> Iterator[list[str]]:
    """Word lists that follow the model's n-grams half of the time, so that all orders are met."""
    rng = random.Random(seed)
    words = [word for word in model.words if word not in ("<s>", "</s>")] + ["zork"]
    longer = [ngram for ngram in model.ngrams if len(ngram) > 1]
    for _ in range(count):
        text: list[str] = []
        for _ in range(rng.randrange(6)):
            text += rng.choice(longer) if longer and rng.random() < 0.5 else [rng.choice(words)]
        yield [word for word in text if word not in ("<s>", "</s>")]


def read(text: str | bytes) -> LanguageModel:
    return LanguageModel.read(BytesIO(text.encode() if isinstance(text, str) else text))


# --- our own file -----------------------------------------------------------------------------------------------------


def murmur(data: bytes) -> int:
    """MurmurHash64A with seed 0, as its author defined it."""
    m, mask = 0xC6A4A7935BD1E995, 2**64 - 1
    h = len(data) * m & mask
    whole = len(data) // 8 * 8
    for (k,) in struct.iter_unpack("<Q", data[:whole]):
        k = k * m & mask
        k ^= k >> 47
        h = (h ^ (k * m & mask)) * m & mask
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 47) * m & mask
    return h ^ h >> 47


CHECKSUM_AT = 320  # in the header, of everything before it


def with_checksum(data: bytes) -> bytes:
    """A model's file with a changed header, and the checksum that belongs to it."""
    return data[:CHECKSUM_AT] + struct.pack("<Q", murmur(data[:CHECKSUM_AT])) + data[CHECKSUM_AT + 8 :]


# --- damaged files ----------------------------------------------------------------------------------------------------


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A file with a few bytes changed, cut out, put in or moved."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, size = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 8, 30))
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[min(at, len(out) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + size] = bytes(rng.randrange(256) for _ in range(size))
        elif kind == 2:
            del out[at : at + size]
        elif kind == 3:
            out[at:at] = rng.choice((b"\n", b" ", b"\t", b"-", b"\\", b"0", b"9e9", b"\xff", b"\r\n", b"nan"))
        elif kind == 4:
            begin = rng.randrange(len(out) + 1)
            out[at:at] = out[begin : begin + size]
        else:
            del out[at:]
    return bytes(out)


def fuzz_arpa(rng: random.Random, text: str) -> bool:
    """A damaged ARPA file is an error with its line, or another reader reads the same; returns whether it was read."""
    data = damaged(rng, text.encode())
    try:
        model = read(data)
    except CTCError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert re.search(r"line \d+: |is empty|is compressed", message), message
        return False
    expected = BackOff.read(data.decode("utf-8-sig"))
    largest = max(abs(number) for ngram in expected.ngrams.values() for number in ngram if math.isfinite(number))
    for words in sentences(rng.randrange(2**32), expected, 3):
        ours = [score for _, score, _ in model.words(" ".join(words))]
        truth = [score * LN10 for score in expected.scores(words)]
        truth = [score if score > -FLOAT_MAX else -math.inf for score in truth]  # P is kept as a 32-bit float
        assert np.allclose(ours, truth, rtol=1e-6, atol=1e-5 + 1e-5 * largest), words
    return True


def fuzz_file(rng: random.Random, data: bytes, path: Path) -> bool:
    """A damaged file of ours or of KenLM's is an error, or a model that answers every query."""
    changed = damaged(rng, data)
    if rng.random() < 0.5 and len(changed) >= len(data) and data[:6] == b"ctckit":
        changed = with_checksum(changed)
    path.write_bytes(changed)
    try:
        model = LanguageModel.read(path)
        use(rng, model)
        model.save(path.with_suffix(".arpa"))
    except CTCError:
        return False
    return True


def use(rng: random.Random, model: LanguageModel) -> None:
    """Makes every query that a search makes, with any numbers."""
    model.ids([*(f"w{i}" for i in range(8)), *NEW_WORDS, "<s>", "</s>"])
    for sentence in (True, False):
        state = model.begin(sentence)
        for _ in range(20):
            _, state = model.step(state, rng.choice((0, 1, 2, 3, rng.randrange(12), rng.randrange(2**31))))
            if rng.random() < 0.2:
                state = tuple(rng.randrange(2**32) for _ in range(rng.randrange(9)))
    assert isinstance(model.bound, float)
    assert all(isinstance(word, str) for word in model.vocabulary)
