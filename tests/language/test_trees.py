"""Trees of arrays against nested dictionaries."""

from __future__ import annotations

import numpy as np
import pytest

from ctckit.language.trees import Finder, Sequences, highest_below, levels, parents, tree_of

Rows = list[list[int]]


def sequences(seed: int, count: int, symbols: int = 5, longest: int = 8) -> Rows:
    random = np.random.default_rng(seed)
    return [random.integers(0, symbols, random.integers(1, longest + 1)).tolist() for _ in range(count)]


def beginnings(rows: Rows) -> list[tuple[int, ...]]:
    """All nodes, as the symbols that lead to them, breadth first."""
    found = {tuple(row[:n]) for row in rows for n in range(len(row) + 1)} | {()}
    return sorted(found, key=lambda node: (len(node), node))


@pytest.mark.parametrize("seed", range(20))
def test_tree(seed: int) -> None:
    rows = sequences(seed, [0, 1, 5, 60][seed % 4], symbols=[2, 5, 3000][seed % 3])
    tree, ends = tree_of(Sequences.made_of(enumerate(rows)))
    nodes = beginnings(rows)
    number = {node: v for v, node in enumerate(nodes)}
    assert ends.tolist() == [number[tuple(row)] for row in rows]
    assert len(tree.first) == len(nodes) + 1
    assert tree.symbols.tolist() == [node[-1] for node in nodes[1:]]
    assert parents(tree).tolist() == [number[node[:-1]] for node in nodes]
    children = [[v for v, node in enumerate(nodes) if node and node[:-1] == above] for above in nodes]
    assert [list(range(tree.first[v] + 1, tree.first[v + 1] + 1)) for v in range(len(nodes))] == children
    depths = [len(node) for node in nodes]
    assert [depths[level] for level in levels(tree)] == [
        [depth] * depths.count(depth) for depth in range(max(depths) + 1)
    ]
    for v, node in enumerate(nodes):
        for symbol in range(7):
            assert tree.child(v, symbol) == number.get((*node, symbol))


@pytest.mark.parametrize("seed", range(10))
def test_highest_below(seed: int) -> None:
    rows = sequences(seed, 40)
    tree, _ = tree_of(Sequences.made_of(enumerate(rows)))
    nodes = beginnings(rows)
    values = np.random.default_rng(seed).normal(size=len(nodes))
    values[::3] = -np.inf
    expected = [max(x for node, x in zip(nodes, values, strict=True) if node[: len(v)] == v) for v in nodes]
    np.testing.assert_array_equal(highest_below(tree, values), expected)


@pytest.mark.parametrize("seed", range(10))
def test_finder(seed: int) -> None:
    rows = sequences(seed, 40, symbols=4)
    tree, _ = tree_of(Sequences.made_of(enumerate(rows)))
    number = {node: v for v, node in enumerate(beginnings(rows))}
    others = [*rows, *sequences(seed + 100, 60, symbols=6, longest=10)]
    found = Finder(tree).ends(Sequences.made_of(enumerate(others)))
    assert found.tolist() == [number.get(tuple(row), -1) for row in others]
    assert -1 in found


def test_sequences() -> None:
    some = Sequences.made_of([(3, [1, 2]), (0, [5]), (3, [4, 4, 4])])
    more = some + Sequences.made_of([(7, [9])])
    assert [more.row(e) for e in range(4)] == [[1, 2], [5], [4, 4, 4], [9]]
    chosen = more.chosen(np.array([True, False, False, True]))
    assert chosen.of.tolist() == [3, 7]
    assert [chosen.row(e) for e in range(2)] == [[1, 2], [9]]
    none = more.chosen(np.zeros(4, bool))
    assert none.offsets.tolist() == [0]
    assert len((none + some).of) == 3
