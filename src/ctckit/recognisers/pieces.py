"""Cuts a long input into pieces that overlap, and joins what a network makes of them. May import errors.py.

Pieces have equal lengths, except for the last, so several can go through the network together. Of neighbouring pieces
each gives up `overlap` frames where they overlap, those that are next to its own end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError

Array = npt.NDArray[np.float32]


class Cut(NamedTuple):
    """How an input is cut, in samples or columns.

    Attributes:
        length: of a piece.
        shared: how much of it the next piece has, too.
        batch: how many pieces go through the network together.
    """

    length: int
    shared: int
    batch: int


class _Pieces(NamedTuple):
    """Pieces (N, length, …) that go through the network together.

    Attributes:
        inputs: the pieces.
        begins: whether the first of them begins the input.
        ends: whether the last of them ends it.
    """

    inputs: Array
    begins: bool
    ends: bool


def joined(
    network: Callable[[Array], Array], blocks: Iterable[Array], cut: Cut, step: int, overlap: int
) -> Iterator[Array]:
    """The scores (t, C) of a whole input, part by part.

    Args:
        network: from pieces (N, length, …) to scores (N, T, C).
        blocks: the input's parts.
        cut: how it is cut.
        step: samples or columns from one frame to the next.
        overlap: frames that are given up at each end of a piece that is not an end of the input.

    Raises:
        CTCError: the input is empty, or the network gives too few frames.
    """
    for pieces in _batches(blocks, cut):
        scores = network(pieces.inputs)
        last = len(scores) - 1
        for i, found in enumerate(scores):
            first = 0 if pieces.begins and i == 0 else overlap
            end = len(found) if pieces.ends and i == last else cut.length // step - overlap
            if not first < end <= len(found):
                needed = max(end, first + 1)
                raise CTCError(
                    f"the network gives {len(found)} frames for an input of length {pieces.inputs.shape[1]}: expected "
                    f"at least {needed}, with a step of {step}; the input is too short, or the step wrong"
                )
            yield found[first:end]


def _batches(blocks: Iterable[Array], cut: Cut) -> Iterator[_Pieces]:
    """An input's pieces: batches of whole ones, and then the last one."""
    held: list[Array] = []
    begins = True
    for piece, ends in _cut(blocks, cut):
        if ends and held:
            yield _Pieces(np.stack(held), begins, False)
            begins, held = False, []
        held.append(piece)
        if ends or len(held) == cut.batch:
            yield _Pieces(np.stack(held), begins, ends)
            begins, held = False, []


def _cut(blocks: Iterable[Array], cut: Cut) -> Iterator[tuple[Array, bool]]:
    """An input's pieces, and whether it ends there. The last one is longer than what it shares with the one before."""
    parts: list[Array] = []
    size = 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size <= cut.length:
            continue
        held = np.concatenate(parts)
        begin = 0
        while size - begin > cut.length:
            yield held[begin : begin + cut.length], False
            begin += cut.length - cut.shared
        parts, size = [held[begin:].copy()], size - begin
    if not size:
        raise CTCError("the input is empty: expected at least one sample or column")
    yield np.concatenate(parts), True


def gathered(parts: Iterable[Array]) -> Array:
    """Parts (t, C), at least one, as one array (T, C).

    It grows by an eighth where there is no room. Joining all parts at the end would need twice the memory.
    """
    found: Array | None = None
    size = 0
    for part in parts:
        end = size + len(part)
        if found is None:
            found = np.empty(part.shape, part.dtype)
        elif end > len(found):
            found.resize((max(end, size + size // 8), *part.shape[1:]), refcheck=False)
        found[size:end] = part
        size = end
    if found is None:
        raise CTCError("the input is empty: expected at least one sample or column")
    found.resize((size, *found.shape[1:]), refcheck=False)
    return found
