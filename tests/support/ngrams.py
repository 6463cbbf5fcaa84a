"""Makes a small back-off n-gram model of a text, as an ARPA file: interpolated Kneser-Ney, as other tools' models are.

Tests and benchmarks need a language that is the same everywhere. Written for texts that fit in memory; uses only the
standard library. Source: S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling",
1999, section 4.1.6; one discount an order, D = n1 / (n1 + 2 n2).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"

Gram = tuple[str, ...]


class Order(NamedTuple):
    """The n-grams of one order, and what follows from them."""

    counts: dict[Gram, int]
    discount: float
    totals: dict[Gram, int]  # of a context's n-grams
    left: dict[Gram, float]  # the share of a context that goes to the shorter one: its back-off

    def interpolated(self, gram: Gram, shorter: float) -> float:
        """The probability of a counted n-gram; ``shorter`` is that without its first word."""
        context = gram[:-1]
        return (self.counts[gram] - self.discount) / self.totals[context] + self.left[context] * shorter


def vocabulary(sentences: Iterable[str], *, at_least: int = 1) -> list[str]:
    """The words that occur so often, in alphabetical order."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    return sorted(word for word, count in counts.items() if count >= at_least)


def arpa(sentences: Iterable[str], words: Iterable[str], *, order: int = 3) -> str:
    """A model of these sentences, as the text of an ARPA file. Words that ``words`` lacks count as ``<unk>``."""
    known = {*words}
    orders = _orders([_padded(sentence, known) for sentence in sentences], order)
    floor = 1 / (len(known) + 2)  # of each word, </s> and <unk>, under a unigram
    probabilities: dict[Gram, float] = {}
    for word in sorted(known | {END, UNKNOWN}):
        seen = (word,) in orders[0].counts
        uniform = orders[0].left[()] * floor
        probabilities[word,] = orders[0].interpolated((word,), floor) if seen else uniform
    for level in orders[1:]:
        for gram in sorted(level.counts):
            probabilities[gram] = level.interpolated(gram, probabilities[gram[1:]])
    probabilities[BEGIN,] = 1e-99  # never predicted
    return "\n".join(_lines(probabilities, orders)) + "\n"


def _padded(sentence: str, known: set[str]) -> Gram:
    return (BEGIN, *(word if word in known else UNKNOWN for word in sentence.split()), END)


def _orders(sentences: Sequence[Gram], order: int) -> list[Order]:
    """The highest order counts occurrences, the others in how many ways an n-gram goes on to the left."""
    counts = Counter(
        gram for sentence in sentences for gram in zip(*(sentence[n:] for n in range(order)), strict=False)
    )
    # A sentence's first n-grams have nothing to their left, so they keep their occurrences.
    orders = [_order(counts)]
    for n in range(order - 1, 0, -1):
        shorter = Counter(gram[1:] for gram in counts)
        shorter.update(sentence[:n] for sentence in sentences if 1 < n <= len(sentence))
        counts = shorter
        orders.insert(0, _order(counts))
    return orders


def _order(counts: Counter[Gram]) -> Order:
    of_counts = Counter(counts.values())
    discount = of_counts[1] / (of_counts[1] + 2 * of_counts[2]) if of_counts[1] else 0.5
    totals: dict[Gram, int] = defaultdict(int)
    kinds: dict[Gram, int] = defaultdict(int)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        kinds[gram[:-1]] += 1
    return Order(counts, discount, totals, {context: discount * kinds[context] / totals[context] for context in totals})


def _lines(probabilities: dict[Gram, float], orders: Sequence[Order]) -> Iterator[str]:
    by_order = [sorted(gram for gram in probabilities if len(gram) == n + 1) for n in range(len(orders))]
    yield "\\data\\"
    yield from (f"ngram {n}={len(grams)}" for n, grams in enumerate(by_order, 1))
    for n, grams in enumerate(by_order, 1):
        yield ""
        yield f"\\{n}-grams:"
        for gram in grams:
            left = orders[n].left.get(gram) if n < len(orders) else None
            back_off = "" if left is None else f"\t{math.log10(left):.6f}"
            yield f"{math.log10(probabilities[gram]):.6f}\t{' '.join(gram)}{back_off}"
    yield ""
    yield "\\end\\"
