"""Makes a small back-off n-gram model of a text, as an ARPA file: interpolated Kneser-Ney, as other tools' models are.

Tests and benchmarks need a language that is the same everywhere. Written for texts that fit in memory; uses only the
standard library. Source: S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling",
1999, section 4.1.6; one discount an order, D = n1 / (n1 + 2 n2).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"

Gram = tuple[str, ...]


class Order(NamedTuple):
    """The n-grams of one order, and numbers computed from them."""

    counts: dict[Gram, int]
    discount: float
    totals: dict[Gram, int]  # of a context's n-grams
    left: dict[Gram, float]  # the share of a context that goes to the shorter one: its back-off

    def interpolated(self, gram: Gram, shorter: float) -> float:
        """The probability of a counted n-gram; ``shorter`` is that without its first word."""
        context = gram[:-1]
        return (self.counts[gram] - self.discount) / self.totals[context] + self.left[context] * shorter


def vocabulary(sentences: Iterable[str], *, at_least: int = 1) -> list[str]:
    """The words that occur at least this often, in alphabetical order."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    return sorted(word for word, count in counts.items() if count >= at_least)


def arpa(sentences: Iterable[str], words: Iterable[str], *, order: int = 3) -> str:
    """A model of these sentences, as the text of an ARPA file. Words that are not in ``words`` count as ``<unk>``."""
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
    return arpa_text(_scored(probabilities, orders))


def arpa_text(orders: Sequence[Mapping[Gram, tuple[float, float | None]]]) -> str:
    """The text of an ARPA file: of each order its n-grams, with log10 P and log10 of the back-off, if there is one."""
    lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(orders, 1))]
    for n, grams in enumerate(orders, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram, (score, back_off) in grams.items():
            after = "" if back_off is None else f"\t{back_off:.8g}"
            lines.append(f"{score:.8g}\t{' '.join(gram)}{after}")
    return "\n".join([*lines, "", "\\end\\", ""])


def _padded(sentence: str, known: set[str]) -> Gram:
    return (BEGIN, *(word if word in known else UNKNOWN for word in sentence.split()), END)


def _orders(sentences: Sequence[Gram], order: int) -> list[Order]:
    """The highest order counts occurrences, the others the number of words that precede an n-gram."""
    counts = Counter(
        gram for sentence in sentences for gram in zip(*(sentence[n:] for n in range(order)), strict=False)
    )
    # Nothing precedes the first n-grams of a sentence, so their occurrences are counted.
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


def _scored(probabilities: dict[Gram, float], orders: Sequence[Order]) -> list[dict[Gram, tuple[float, float | None]]]:
    by_order: list[dict[Gram, tuple[float, float | None]]] = [{} for _ in orders]
    for gram in sorted(probabilities):
        left = orders[len(gram)].left.get(gram) if len(gram) < len(orders) else None
        by_order[len(gram) - 1][gram] = math.log10(probabilities[gram]), None if left is None else math.log10(left)
    return by_order
