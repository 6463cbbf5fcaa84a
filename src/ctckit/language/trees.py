"""Trees of sequences of symbols, built level by level with NumPy, for hundreds of thousands of words and phrases.

May import search_graph.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..search_graph import Float64Array, Int32Array, Tree

_NONE = -1


class Sequences(NamedTuple):
    """Sequences of symbols in one array, one after the other.

    Attributes:
        of: int32 (E,): the number of the word or phrase that each sequence spells.
        offsets: int64 (E + 1,): sequence e is ``symbols[offsets[e]:offsets[e + 1]]``.
        symbols: int32, the symbols of all sequences.
    """

    of: Int32Array
    offsets: npt.NDArray[np.int64]
    symbols: Int32Array

    @classmethod
    def made_of(cls, pairs: Iterable[tuple[int, Sequence[int]]]) -> Sequences:
        """Makes sequences from pairs: the number of a word or phrase, and its symbols."""
        rows = list(pairs)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(symbols) for _, symbols in rows], out=offsets[1:])
        symbols = np.fromiter(chain.from_iterable(symbols for _, symbols in rows), np.int32, int(offsets[-1]))
        return cls(np.array([number for number, _ in rows], np.int32), offsets, symbols)

    def __add__(self, other: Sequences) -> Sequences:  # type: ignore[override]  # sequences are added, not fields
        """These sequences followed by the others."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]])
        return Sequences(np.concatenate([self.of, other.of]), offsets, np.concatenate([self.symbols, other.symbols]))

    def row(self, e: int) -> list[int]:
        """The symbols of a sequence."""
        found: list[int] = self.symbols[self.offsets[e] : self.offsets[e + 1]].tolist()
        return found

    def chosen(self, which: npt.NDArray[np.bool_]) -> Sequences:
        """The sequences for which a mask is true."""
        if which.all():
            return self
        lengths = np.diff(self.offsets)
        offsets = np.concatenate([[0], np.cumsum(lengths[which])])
        return Sequences(self.of[which], offsets, self.symbols[np.repeat(which, lengths)])


def tree_of(sequences: Sequences) -> tuple[Tree, Int32Array]:
    """The tree of some sequences, and the node at which each ends."""
    begins, lengths = sequences.offsets[:-1], np.diff(sequences.offsets)
    width = int(sequences.symbols.max(initial=0)) + 1
    nodes = np.zeros(len(lengths), np.int64)
    parents, symbols = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    depth, size = 0, 1
    rows = np.flatnonzero(lengths)
    while rows.size:
        keys = nodes[rows] * width + sequences.symbols[begins[rows] + depth]
        children, which = np.unique(keys, return_inverse=True)
        parents.append(children // width)
        symbols.append(children % width)
        nodes[rows] = size + which
        depth, size = depth + 1, size + len(children)
        rows = rows[lengths[rows] > depth]
    first = np.zeros(size + 1, np.int32)
    np.cumsum(np.bincount(np.concatenate(parents), minlength=size), out=first[1:])
    return Tree(first, np.concatenate(symbols).astype(np.int32)), nodes.astype(np.int32)


def levels(tree: Tree) -> Iterator[slice]:
    """The nodes of each depth, as slices, from the root down: nodes are numbered breadth first."""
    begin, end = 0, 1
    while begin < end:
        yield slice(begin, end)
        begin, end = int(tree.first[begin]) + 1, int(tree.first[end]) + 1


def parents(tree: Tree) -> Int32Array:
    """(V,): the parent of each node; the root's is the root."""
    above = np.repeat(np.arange(len(tree.first) - 1, dtype=np.int32), np.diff(tree.first))
    return np.concatenate([np.zeros(1, np.int32), above])


def highest_below(tree: Tree, values: Float64Array) -> Float64Array:
    """(V,): for each node, the highest value of the node and all nodes below it."""
    highest: Float64Array = values.copy()
    for level in reversed(list(levels(tree))):
        first = tree.first[level.start : level.stop + 1]
        inner = level.start + np.flatnonzero(np.diff(first))
        if inner.size:
            children = highest[first[0] + 1 : first[-1] + 1]
            below = np.maximum.reduceat(children, tree.first[inner] - first[0])
            highest[inner] = np.maximum(highest[inner], below)
    return highest


class Finder:
    """Finds the children of many nodes at once."""

    def __init__(self, tree: Tree) -> None:
        self._width = int(tree.symbols.max(initial=0)) + 1
        self._keys = parents(tree)[1:].astype(np.int64) * self._width + tree.symbols  # in order: breadth first

    def children(self, nodes: npt.NDArray[Any], symbols: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """For each node the child that a symbol leads to; -1 without such a child."""
        keys = np.where(symbols < self._width, nodes.astype(np.int64) * self._width + symbols, _NONE)
        found = np.searchsorted(self._keys, keys)
        there = self._keys[np.minimum(found, len(self._keys) - 1)] == keys if len(self._keys) else np.zeros(0, bool)
        return np.where(there, found + 1, _NONE)

    def ends(self, sequences: Sequences) -> npt.NDArray[np.int64]:
        """The node at which each sequence ends; -1 if the tree does not contain the sequence."""
        begins, lengths = sequences.offsets[:-1], np.diff(sequences.offsets)
        nodes = np.zeros(len(lengths), np.int64)
        for depth in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero((lengths > depth) & (nodes != _NONE))
            nodes[rows] = self.children(nodes[rows], sequences.symbols[begins[rows] + depth])
        return nodes
