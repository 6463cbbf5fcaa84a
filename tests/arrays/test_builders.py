"""Each way to build a lattice against its definition: which label sequences it accepts, and by how many paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise, product

import numpy as np
import pytest
from oracles import collapse

from ctckit import STAR, Arc, CTCError, Lattice, ctc_lattice, forced_align

BLANK, TOKENS = 0, (1, 2)
TARGETS = [(), (1,), (1, 1), (1, 2), (2, 1, 1), (1, 2, 1), (1, 1, 1), (1, 2, 2, 1)]
Sequences = Counter[tuple[int, ...]]


def spelled(lattice: Lattice, frames: int) -> Sequences:
    """Every label sequence of a lattice's paths, and how many paths spell it."""
    moves = [(k, k) for k in np.flatnonzero(lattice.arcs & Arc.STAY)]
    moves += [(k - 1, k) for k in np.flatnonzero(lattice.arcs & Arc.STEP)]
    moves += [(k - 2, k) for k in np.flatnonzero(lattice.arcs & Arc.SKIP)]
    moves += [tuple(arc) for arc in lattice.long_arcs]
    paths = [(k,) for k in np.flatnonzero(lattice.arcs & Arc.START)]
    for _ in range(frames - 1):
        paths = [(*path, to) for path in paths for source, to in moves if source == path[-1]]
    ends = set(np.flatnonzero(lattice.arcs & Arc.END))
    return Counter(tuple(int(lattice.labels[k]) for k in path) for path in paths if path[-1] in ends)


def accepted(reads_as: Callable[[tuple[int, ...]], bool], frames: int, classes: Sequence[int]) -> Sequences:
    """Each label sequence that a definition accepts, once."""
    return Counter(labels for labels in product(classes, repeat=frames) if reads_as(labels))


def is_ctc(target: Sequence[int]) -> Callable[[tuple[int, ...]], bool]:
    """What CTC reads: repeats merged, then blanks dropped."""
    return lambda labels: collapse(labels, BLANK) == tuple(target)


def is_without_blank(target: Sequence[int]) -> Callable[[tuple[int, ...]], bool]:
    """Repeats merged; there is no blank."""
    return lambda labels: tuple(label for label, _ in groupby(labels)) == tuple(target)


def is_selfless(target: Sequence[int]) -> Callable[[tuple[int, ...]], bool]:
    """As in CTC, and no token takes two frames in a row."""
    return lambda labels: is_ctc(target)(labels) and all(a == BLANK or a != b for a, b in pairwise(labels))


def is_minimal(target: Sequence[int]) -> Callable[[tuple[int, ...]], bool]:
    """Blanks dropped; every other label is a token of its own."""
    return lambda labels: tuple(label for label in labels if label != BLANK) == tuple(target)


@pytest.mark.parametrize("frames", range(1, 6))
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_label_sequence_has_one_path(target: tuple[int, ...], frames: int) -> None:
    lattice, classes = ctc_lattice(target), (BLANK, *TOKENS)
    assert spelled(lattice, frames) == accepted(is_ctc(target), frames, classes)
    assert spelled(lattice.selfless(), frames) == accepted(is_selfless(target), frames, classes)
    assert spelled(lattice.minimal(), frames) == accepted(is_minimal(target), frames, classes)
    if target and all(a != b for a, b in pairwise(target)):
        assert spelled(lattice.without_blank(), frames) == accepted(is_without_blank(target), frames, TOKENS)


def test_without_blank_refuses_what_nothing_could_tell_apart() -> None:
    with pytest.raises(CTCError, match=r"target\[1\] and target\[2\] are both 2: without a blank between them"):
        ctc_lattice([1, 2, 2]).without_blank()
    with pytest.raises(CTCError, match="the target is empty"):
        ctc_lattice([]).without_blank()


@pytest.mark.parametrize("frames", range(1, 6))
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_gaps_of_star_temporal_classification(target: tuple[int, ...], frames: int) -> None:
    """Gap s is a class of its own, so a sequence says which tokens lie before each frame."""
    gaps = [10 + s for s in range(len(target) + 1)]

    def is_stc(labels: tuple[int, ...]) -> bool:
        tokens = 0
        for label in labels:
            if label >= 10:
                if label != 10 + tokens:
                    return False
            elif tokens == len(target) or label != target[tokens]:
                return False
            else:
                tokens += 1
        return tokens == len(target)

    found = spelled(ctc_lattice(target).minimal().with_gaps(gaps), frames)
    assert found == accepted(is_stc, frames, (*TOKENS, *gaps))


def choices(target: Sequence[int], groups: Sequence[int]) -> Iterator[list[int]]:
    """What is left of a target, for every choice of its optional groups."""
    runs = sorted({group for group in groups if group > 0})
    for kept in product((False, True), repeat=len(runs)):
        keep = dict(zip(runs, kept, strict=True))
        yield [token for token, group in zip(target, groups, strict=True) if group <= 0 or keep[group]]


OPTIONAL = [
    ([1, 2, 1], [0, 7, 0]),
    ([1, 2], [7, 0]),
    ([1, 2], [0, 7]),
    ([1, 2, 1], [1, 2, 3]),
    ([1, 1], [1, 2]),
    ([1, 2, 2, 1], [1, 1, 0, 2]),
    ([2, 1, 1, 1], [0, 1, 2, 0]),
    ([1, 2, 1], [1, 1, 1]),
    ([1, 2, 1, 2, 1], [1, 2, 3, 4, 5]),
    ([2, 1, 2, 1, 2, 1, 2], [0, 1, 2, 3, 4, 5, 0]),
]


@pytest.mark.parametrize("frames", range(1, 6))
@pytest.mark.parametrize(("target", "groups"), OPTIONAL, ids=str)
def test_optional_groups_are_the_sum_over_choices(target: list[int], groups: list[int], frames: int) -> None:
    """Up to five groups side by side: each choice gives each of its label sequences one path, in every topology."""
    lattice, classes = ctc_lattice(target), (BLANK, *TOKENS)
    for build, reads in (
        (lambda lattice: lattice, is_ctc),
        (Lattice.selfless, is_selfless),
        (Lattice.minimal, is_minimal),
    ):
        expected = sum((accepted(reads(rest), frames, classes) for rest in choices(target, groups)), Counter())
        assert spelled(build(lattice.with_optional(groups)), frames) == expected


@pytest.mark.parametrize("frames", range(1, 5))
def test_optional_groups_without_blank(frames: int) -> None:
    lattice = ctc_lattice([1, 2, 3]).with_optional([0, 1, 0]).without_blank()
    expected = accepted(is_without_blank([1, 2, 3]), frames, (1, 2, 3))
    expected += accepted(is_without_blank([1, 3]), frames, (1, 2, 3))
    assert spelled(lattice, frames) == expected


def test_more_than_five_groups_need_a_blank_and_may_count_twice() -> None:
    """What with_optional's documentation says of them."""
    target, groups = [3, *[1, 2] * 4, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    lattice = ctc_lattice(target).with_optional(groups)
    assert (3, 3) not in spelled(lattice, 2)
    assert spelled(lattice, 3)[3, BLANK, 3] == 1
    expected = sum((accepted(is_ctc(rest), 4, (BLANK, 1, 2, 3)) for rest in choices(target, groups)), Counter())
    assert set(spelled(lattice, 4)) <= set(expected)


@pytest.mark.parametrize("frames", range(1, 5))
@pytest.mark.parametrize("target", [(1,), (1, 2), (1, 1), (2, 1, 1)], ids=str)
def test_wildcards_at_both_ends(target: tuple[int, ...], frames: int) -> None:
    """Wildcards, then what the lattice accepts, then wildcards."""
    wildcard, classes = 9, (BLANK, *TOKENS, 9)

    def reads(labels: tuple[int, ...]) -> bool:
        inside = [t for t, label in enumerate(labels) if label != wildcard]
        return bool(inside) and is_ctc(target)(labels[inside[0] : inside[-1] + 1])

    lattice = ctc_lattice(target)
    assert spelled(lattice.with_wildcards(wildcard), frames) == accepted(reads, frames, classes)
    optional = lattice.with_optional([*range(1, len(target)), 0]).with_wildcards(wildcard)
    assert all(count >= 1 for count in spelled(optional, frames).values())
    assert set(spelled(lattice.with_wildcards(wildcard), frames)) <= set(spelled(optional, frames))


def test_costs_and_long_arcs() -> None:
    lattice = ctc_lattice([1, 2])
    assert lattice.entry_costs is None
    assert lattice.with_costs(2).entry_costs.tolist() == [0, 2, 0, 2, 0]  # type: ignore[union-attr]
    assert lattice.with_costs([1, 2, 3, 4, 5]).entry_costs.tolist() == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
    far = lattice.with_long_arcs([(2, 4), (0, 4)], [1, 2]).with_long_arcs([(0, 3)])
    assert far.long_arcs.tolist() == [[0, 3], [0, 4], [2, 4]]
    assert far.long_arc_scores.tolist() == [0, 2, 1]


def test_restricted_to_some_tokens_is_their_own_lattice() -> None:
    whole = ctc_lattice([1, 2, 3, 3]).with_optional([0, 1, 2, 2])
    for kept in ([1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]):
        found, index = whole.through(kept)
        alone = ctc_lattice(whole.target[np.array(kept, bool)])
        assert found.labels.tolist() == alone.labels.tolist()
        assert found.arcs.tolist() == alone.arcs.tolist()
        assert found.tokens.tolist() == alone.tokens.tolist()
        assert not len(found.long_arcs)
        assert (whole.labels[index >= 0] == found.labels).all()
    with pytest.raises(CTCError, match="no path is left"):
        whole.through([0, 1, 1, 1])


@pytest.mark.parametrize("frames", range(1, 6))
@pytest.mark.parametrize(("target", "groups"), OPTIONAL, ids=str)
def test_through_some_tokens_each_label_sequence_has_one_path(
    target: list[int], groups: list[int], frames: int
) -> None:
    whole = ctc_lattice(target).with_optional(groups)
    runs = sorted(set(groups) - {0})
    for choice in product((False, True), repeat=len(runs)):
        kept = [group == 0 or choice[runs.index(group)] for group in groups]
        lattice = whole.through(kept)[0] if any(kept) else ctc_lattice([])
        rest = [token for token, keep in zip(target, kept, strict=True) if keep]
        assert spelled(lattice, frames) == accepted(is_ctc(rest), frames, (BLANK, *TOKENS))
        assert lattice.visits_every_token
    assert not whole.visits_every_token


def test_fewest_frames() -> None:
    assert ctc_lattice([1, 1, 2]).fewest_frames() == 4
    assert ctc_lattice([1, 1, 2]).minimal().fewest_frames() == 3
    assert ctc_lattice([1, 2, 3]).with_optional([1, 0, 1]).fewest_frames() == 1
    assert ctc_lattice([]).fewest_frames() == 0
    assert Lattice([1], [Arc.STAY | Arc.START]).fewest_frames() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "labels is empty"),
        (([1, 2], [9]), r"arcs has shape \(1,\): expected \(2,\)"),
        (([1, -2], [9, 9]), r"labels\[1\] = -2 is out of range"),
        (([1.5], [9]), "labels has dtype float64: expected integers"),
        (([1], [32]), r"arcs\[0\] = 32 is out of range: expected bits of ctckit.Arc"),
        (([1, 2], [9, 19], [0, 5]), r"tokens\[1\] = 5 is out of range"),
        (([1], [9], None, [np.nan]), r"entry_costs\[0\] = nan is out of range: expected nats"),
        (([1], [9], None, [-np.inf]), r"entry_costs\[0\] = -inf is out of range"),
        (([1, 2], [9, 19], None, None, [(1, 0)]), r"long_arcs\[0\] = \[1, 0\] is out of range"),
        (([1, 2], [9, 19], None, None, [(0, 1)], [np.inf]), r"long_arc_scores\[0\] = inf is out of range"),
        (([1, 2], []), r"arcs has shape \(0,\): expected \(2,\)"),
        (([1, 2], [9, 19], None, []), r"entry_costs has shape \(0,\): expected \(2,\)"),
        (([1, 2], [9, 19], None, None, [(0, 1)], []), r"long_arc_scores has shape \(0,\): expected \(1,\)"),
        (([[1], [2, 3]], [9, 19]), "labels is not a rectangular array"),
    ],
    ids=str,
)
def test_bad_lattices(arguments: tuple, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(CTCError, match=message):
        Lattice(*arguments)


def test_bad_arguments_of_builders() -> None:
    lattice = ctc_lattice([1, 2])
    for call, message in (
        (lambda: ctc_lattice([1], blank=-1), "blank = -1: expected an integer of at least 0"),
        (lambda: ctc_lattice([1], blank=1.5), "blank = 1.5: expected an integer"),
        (lambda: ctc_lattice([1], blank=2**31 + 5), "blank = 2147483653"),
        (lambda: lattice.with_wildcards(1.5), "label has dtype float64: expected integers"),
        (lambda: lattice.with_wildcards(None), "label has dtype object"),
        (lambda: lattice.with_wildcards(2**40), "label = 1099511627776 is out of range"),
        (lambda: lattice.with_wildcards([1]), r"label has shape \(1,\)"),
        (lambda: lattice.with_costs([]), r"costs has shape \(0,\): expected \(5,\)"),
        (lambda: lattice.through([]), r"tokens has shape \(0,\): expected \(2,\)"),
        (lambda: lattice.with_wildcards(9).with_optional([0, 1]), "call with_optional before what adds states"),
        (lambda: lattice.with_wildcards(9).with_optional([1, 0]), "call with_optional before what adds states"),
    ):
        with pytest.raises(CTCError, match=message):
            call()


def test_the_target_is_the_first_state_of_each_token() -> None:
    lattice = Lattice([1, 2], [Arc.STAY | Arc.START, Arc.STAY | Arc.STEP | Arc.END], tokens=[0, 0])
    assert lattice.target.tolist() == [1]
    (found,) = forced_align(np.zeros((2, 3)), lattices=lattice)
    assert (found.target.tolist(), found.starts.tolist(), found.ends.tolist()) == ([1], [0], [2])


def test_stars_and_read_only() -> None:
    lattice = ctc_lattice([1, STAR, 2])
    assert lattice.target.tolist() == [1, STAR, 2]
    with pytest.raises(ValueError, match="read-only"):
        lattice.labels[0] = 3
