"""Forced alignment on NumPy arrays: which frames are which token, given the target.

The best path through the lattice that the loss sums over. May import kernels/ and what lies below; no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Literal, NamedTuple, cast, overload

import numpy as np
import numpy.typing as npt

from .errors import CTCError, InfeasibleError
from .kernels import native, reference
from .lattice import STAR, Lattice, ctc_lattice, target_of
from .problem import ArrayProblem, ctc_problem, lattice_batch, lattice_problem, lengths_or_all, with_added_scores
from .results import Array, BestPaths, Status, TokenSpan
from .validate import (
    Fault,
    as_array,
    check_choice,
    check_cost,
    check_extend,
    check_flag,
    check_targets_or_lattices,
)

_DEAREST = 1e30  # the highest cost of a star, within float32

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """One sample's most probable path, and what it says of each token.

    Attributes:
        target: int64 (S,), the tokens.
        states: int32 (T,), the lattice state of each frame.
        labels: int32 (T,), the class of each frame: a token's, the blank's, or ``STAR``.
        frame_scores: float64 (T,), nats, what each frame adds to the score: its label's log-probability and added
            scores, minus the cost of the state entered there, plus the score of the long arc taken. A star's label has
            the frame's greatest log-probability, minus ``star_cost``.
        score: nats, their sum; -inf if no path reaches the target, NaN if a used frame holds NaN or +inf.
        status: whether there is a path, and why not.
        starts: int32 (S,), each token's first frame; -1 for an optional token that was left out.
        ends: int32 (S,), one past each token's last frame; -1 likewise.

    Without a path, the arrays by frame are empty, and starts and ends are -1.
    """

    target: npt.NDArray[np.int64]
    states: Int32Array
    labels: Int32Array
    frame_scores: Float64Array
    score: float
    status: Status
    starts: Int32Array
    ends: Int32Array
    _occupancy: Callable[[], Float64Array] = field(repr=False)

    def __getstate__(self) -> dict[str, object]:
        """For pickle and copy: the confidences, instead of the scores needed to compute them."""
        return {**vars(self), "confidence": self.confidence, "_occupancy": None}

    @property
    def found(self) -> bool:
        """Whether there is a path."""
        return self.status == Status.OK

    @cached_property
    def token_scores(self) -> Float64Array:
        """(S,) nats: of each token the mean of its frames' scores; NaN for one without frames."""
        return self._mean_over_spans(self.frame_scores)

    @cached_property
    def confidence(self) -> Float64Array:
        """(S,) the mean occupancy γ of each token's frames: how sure it is, given the target, that they are its own.

        The sums are over the paths through the tokens that were found; a token that was left out has NaN. Of the
        blanks on both sides of it, such a path has one. All are NaN if scores lie so far apart that the sums are 0.
        Takes a sweep like the loss's when it is first asked for, over the scores as they are then.
        """
        return self._mean_over_spans(self._occupancy())

    def spans(self, extend: int = 0, until: Literal["own", "next"] = "own") -> list[TokenSpan]:
        """The tokens in their order, without those left out.

        Args:
            extend: CTC's outputs are spikes: a token's frames are often fewer than its sound has. Each span grows over
                the blanks on each side, by at most this many frames; neighbours meet in the middle of the blanks
                between them, and the earlier one takes the odd frame. 0: a span is the token's own frames.
            until: ``"next"``: each span's end runs on to the next one's start, and the last one's to the last frame, as
                whisperX's do.

        Raises:
            CTCError: for anything else.
        """
        check_choice("until", until, ("own", "next"))
        extend = min(check_extend(extend), len(self.states))  # more would change nothing, and may not fit into int32
        kept = np.flatnonzero(self.starts >= 0)
        if not len(kept):
            return []
        starts, ends = self.starts[kept], self.ends[kept]
        gaps = starts[1:] - ends[:-1]
        before = np.concatenate((starts[:1], gaps // 2))
        after = np.concatenate((gaps - gaps // 2, [len(self.states) - ends[-1]]))
        starts, ends = starts - np.minimum(before, extend), ends + np.minimum(after, extend)
        if until == "next":
            ends = np.append(starts[1:], len(self.states))
        parts = (kept, self.target[kept], starts, ends, self.token_scores[kept])
        return [TokenSpan(*row) for row in zip(*(part.tolist() for part in parts), strict=True)]

    def _mean_over_spans(self, by_frame: Float64Array) -> Float64Array:
        """(S,) the means of numbers (T,) over each token's own frames."""
        sums = np.concatenate(([0.0], by_frame.cumsum()))
        with np.errstate(invalid="ignore"):  # 0 / 0: no frames
            means: Float64Array = (sums[self.ends] - sums[self.starts]) / (self.ends - self.starts)
        return means


class Alignments(Sequence[Alignment]):
    """A batch of alignments, one for each sample.

    Attributes:
        score: float64 (N,), nats, as in :class:`Alignment`.
        status: uint8 (N,), a :class:`ctckit.Status` for each sample.
    """

    def __init__(self, score: Float64Array, status: npt.NDArray[np.uint8], made: Callable[[int], Alignment]) -> None:
        self.score = score
        self.status = status
        self._made = cache(made)  # one by one, when they are asked for: in Python they cost more than in C++

    def __iter__(self) -> Iterator[Alignment]:  # by __getitem__, an IndexError anywhere would end it in silence
        return map(self._made, range(len(self)))

    @overload
    def __getitem__(self, n: int) -> Alignment: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[Alignment]: ...
    def __getitem__(self, n: int | slice) -> Alignment | Sequence[Alignment]:
        index = range(len(self.score))[n]
        return self._made(index) if isinstance(index, int) else [self._made(i) for i in index]

    def __len__(self) -> int:
        return len(self.score)

    def __reduce__(self) -> tuple[object, ...]:
        return Alignments, (self.score, self.status, list(self).__getitem__)

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(N,) whether a sample has a path."""
        found: npt.NDArray[np.bool_] = self.status == Status.OK
        return found


def forced_align(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike | None = None,
    input_lengths: npt.ArrayLike | None = None,
    target_lengths: npt.ArrayLike | None = None,
    blank: int = 0,
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = False,
    class_scores: npt.ArrayLike | None = None,
    state_scores: npt.ArrayLike | None = None,
    optional: npt.ArrayLike | None = None,
    star_cost: float = 0.5,
    optional_star_cost: float = 8,
    on_infeasible: Literal["raise", "mark"] = "raise",
) -> Alignments:
    """Finds the most probable path of each target: which frames are which token.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample; any dtype that the loss takes.
        targets: (N, S) padded, or all samples' end to end; (S,) for one sample. ``ctckit.STAR`` stands for anything
            that is said or written there: it takes the most probable class of each frame.
        input_lengths: (N,) frames of each sample; all T if not given.
        target_lengths: (N,) tokens of each sample; all S if not given.
        blank: the blank's class.
        lattices: instead of ``targets`` and ``target_lengths``: one for each sample, or one for all. Their labels may
            be ``ctckit.STAR``.
        from_logits: ``log_probs`` holds raw scores; they are normalised.
        class_scores: (C,) nats added to each class's log-probability. A star is not changed by them.
        state_scores: (N, K) nats added to what a state emits at every frame, K of the largest lattice.
        optional: integers shaped as targets: runs of equal positive numbers, such as a word's tokens, may be left out
            as a whole; 0 for tokens that must be there. If more than five neighbouring runs are left out, each portion
            of five needs a blank.
        star_cost: nats by which a star's frame costs more than the frame's most probable class. At 0, a star is as good
            as the tokens beside it; if it is high, optional tokens are found where the star should be.
        optional_star_cost: entry cost, in nats, of a star that may be left out without any other token. Such stars
            stand for what the text lacks. If it is low, they replace words that the recogniser misread; if it is high,
            words that were not said are found where the star should be.
        on_infeasible: ``"raise"``, or ``"mark"``: samples without a path come back without one.

    Returns:
        One :class:`Alignment` for each sample, whether there is a batch axis or not. Among equally good paths, the one
        that, read from its end, has the lowest states.

    Raises:
        InfeasibleError: a sample has no path: it has too few frames, or all paths meet a probability of 0, NaN or +inf.
        CTCError: for anything malformed; the message says where.

    Source:
        Viterbi's algorithm on the lattice of Graves et al. (ICML 2006); for its use on long recordings, Kürzinger et
        al., "CTC-Segmentation" (2020).

    Example:
        >>> log_probs = np.log([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]] + np.float64(1e-9))
        >>> for span in forced_align(log_probs, [1, 2])[0].spans():
        ...     print(span.token, span.start, span.end, round(span.score, 3))
        1 1 2 -0.223
        2 3 4 -0.223
    """
    check_choice("on_infeasible", on_infeasible, ("raise", "mark"))
    from_logits = check_flag("from_logits", from_logits)
    problem = alignment_problem(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank,
        lattices=lattices,
        from_logits=from_logits,
        class_scores=class_scores,
        state_scores=state_scores,
        optional=optional,
        star_cost=star_cost,
        optional_star_cost=optional_star_cost,
    )
    star = problem.scores.shape[2] if has_star(problem) else None
    if star is not None:
        problem = with_star(problem, float(star_cost))
    found = find_paths(problem)
    if on_infeasible == "raise":
        raise_infeasible(problem, found.best.status)
    return Alignments(found.best.score, found.best.status, partial(_alignment, problem, star, found))


def alignment_problem(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike | None,
    input_lengths: npt.ArrayLike | None,
    target_lengths: npt.ArrayLike | None,
    blank: int,
    *,
    lattices: Lattice | Sequence[Lattice] | None,
    from_logits: bool,
    class_scores: npt.ArrayLike | None,
    state_scores: npt.ArrayLike | None,
    optional: npt.ArrayLike | None,
    star_cost: float,
    optional_star_cost: float,
) -> ArrayProblem:
    """The arguments of :func:`forced_align`, checked. Stars are the class C, which the scores don't have yet."""
    check_cost("star_cost", star_cost, _DEAREST)
    check_cost("optional_star_cost", optional_star_cost, _DEAREST)
    check_targets_or_lattices(lattices, targets=targets, target_lengths=target_lengths, optional=optional)
    if lattices is not None:
        return lattice_problem(
            log_probs,
            lattices,
            input_lengths,
            from_logits=from_logits,
            class_scores=class_scores,
            state_scores=state_scores,
            star=True,
        )
    problem = _problem_of_targets(
        log_probs,
        cast(npt.ArrayLike, targets),
        input_lengths,
        target_lengths,
        blank,
        from_logits,
        optional,
        optional_star_cost,
    )
    return with_added_scores(problem, class_scores, state_scores)


def has_star(problem: ArrayProblem) -> bool:
    """Whether a lattice has a star, whose class the scores don't have yet."""
    return bool((problem.lattices.labels == problem.scores.shape[2]).any())


class FoundPaths(NamedTuple):
    """The best paths of a batch, and more about them."""

    best: BestPaths[Array]
    frame_scores: Float64Array  # (N, T) what each frame adds to the score
    visits: Int32Array  # (N, K, 2) first frame in each state, and one past the last; -1 if it is never visited


def find_paths(problem: ArrayProblem, threads: int | None = None) -> FoundPaths:
    """The best paths of a checked batch, in whose scores stars have a class."""
    frame_scores = np.empty(problem.scores.shape[1::-1])
    visits = np.empty((*problem.lattices.labels.shape, 2), np.int32)
    best = native.best_path(problem, frame_scores=frame_scores, visits=visits, threads=threads)
    return FoundPaths(best, frame_scores, visits)


def _problem_of_targets(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike | None,
    target_lengths: npt.ArrayLike | None,
    blank: int,
    from_logits: bool,
    optional: npt.ArrayLike | None,
    optional_star_cost: float,
) -> ArrayProblem:
    """A checked batch, in which stars are the class C, which the scores don't have yet."""
    scores, tokens = as_array("logits" if from_logits else "log_probs", log_probs), as_array("targets", targets)
    frames, lengths = lengths_or_all(scores.shape, tokens.shape, input_lengths, target_lengths)
    stars = tokens == STAR if tokens.dtype.kind == "i" else np.zeros(tokens.shape, bool)
    if tokens.ndim == 2:  # padding, which may be -1 too, holds no stars
        counted = as_array("target_lengths", lengths)
        if counted.dtype.kind in "iu" and counted.shape == tokens.shape[:1]:
            stars &= np.arange(tokens.shape[1]) < counted[:, None]
    plain = np.where(stars, 0 if blank else 1, tokens) if stars.any() else targets
    problem = ctc_problem(log_probs, plain, frames, lengths, blank, from_logits=from_logits)
    if optional is None and not stars.any():
        return problem
    samples = _split(tokens, problem)
    lattices = [ctc_lattice(target, blank) for target in samples]
    if optional is not None:
        for n, group in enumerate(_groups(optional, samples, problem)):
            lattices[n] = lattices[n].with_optional(group)
            alone = _of_stars_only(samples[n] == STAR, group)
            if alone.any():
                lattices[n] = lattices[n].with_costs(np.append(optional_star_cost * alone, 0)[lattices[n].tokens])
    return replace(problem, lattices=lattice_batch(lattices, problem.lattices.frames, scores.shape[-1]))


def _split(values: npt.NDArray[np.integer], problem: ArrayProblem) -> list[Int64Array]:
    """Splits an array that is shaped as targets are, in rows or end to end, into one array per sample."""
    copies, lengths = values.astype(np.int64), problem.lattices.num_tokens.tolist()
    end_to_end = values.ndim == 1 and problem.batched
    rows = np.split(copies, np.cumsum(lengths)[:-1]) if end_to_end else list(np.atleast_2d(copies))
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _groups(optional: npt.ArrayLike, given: list[Int64Array], problem: ArrayProblem) -> list[Int64Array]:
    groups = as_array("optional", optional)
    if groups.size and groups.dtype.kind not in "iub":
        raise CTCError(Fault("not-integers", "optional", (), str(groups.dtype), hint="array-to-integers"))
    fits = (groups.ndim == 1 and problem.batched and groups.size == sum(map(len, given))) or (
        np.atleast_2d(groups).shape[0] == len(given)
        and np.atleast_2d(groups).shape[-1] >= max(map(len, given))
        and groups.ndim == (2 if problem.batched else 1)
    )
    if not fits:
        raise CTCError(Fault("optional-shape", "optional", (), groups.shape))
    if groups.size and int(groups.max()) > np.iinfo(np.int64).max:
        raise CTCError(Fault("optional-too-large", "optional", (), int(groups.max()), np.iinfo(np.int64).max))
    return _split(groups, problem)


def _of_stars_only(stars: npt.NDArray[np.bool_], groups: Int64Array) -> npt.NDArray[np.bool_]:
    """Which tokens are in optional groups that hold only stars."""
    run = np.cumsum(np.diff(groups, prepend=groups[:1]) != 0)
    others = np.bincount(run, ~stars, minlength=1)
    found: npt.NDArray[np.bool_] = (groups > 0) & (others[run] == 0)
    return found


def with_star(problem: ArrayProblem, cost: float) -> ArrayProblem:
    """The same batch on log-probabilities, with one more class: each frame's greatest log-probability, minus a cost."""
    frames, size, classes = problem.scores.shape
    wide = np.zeros((frames, size, classes + 1), problem.real)
    for n, used in enumerate(problem.lattices.frames):
        log_probs = reference.log_probs_of(problem, n)
        wide[:used, n, :classes] = log_probs
        wide[:used, n, classes] = log_probs.max(axis=1) - cost
    added = None if problem.class_scores is None else np.append(problem.class_scores, 0)
    return replace(problem, scores=wide, from_logits=False, class_scores=added)


def _alignment(problem: ArrayProblem, star: int | None, found: FoundPaths, n: int) -> Alignment:
    """Sample n's."""
    best, frame_scores, visits = found
    batch, status = problem.lattices, Status(int(best.status[n]))
    used = int(batch.frames[n]) if status == Status.OK else 0
    states = best.states[n, :used]
    labels_of_states = batch.labels[n]
    if star is not None:
        labels_of_states = np.where(labels_of_states == star, STAR, labels_of_states).astype(np.int32)
    is_token = np.flatnonzero(batch.tokens[n] >= 0)
    tokens, size = batch.tokens[n, is_token], int(batch.num_tokens[n])
    first, end = visits[n, is_token].T
    if np.array_equal(tokens, np.arange(size)):  # one state per token, in order
        target, starts, ends = labels_of_states[is_token].astype(np.int64), first, end
    else:
        target, starts, ends = _over_states(size, tokens, labels_of_states[is_token], first, end)
    occupancy = partial(_occupancy, problem, n, states)
    return Alignment(
        target,
        states,
        labels_of_states[states],
        frame_scores[n, :used],
        float(best.score[n]),
        status,
        starts,
        ends,
        occupancy,
    )


def _over_states(
    size: int, tokens: Int32Array, labels: Int32Array, first: Int32Array, end: Int32Array
) -> tuple[Int64Array, Int32Array, Int32Array]:
    """Each token's class, first frame, and one past the last, over the states that it has."""
    starts, ends = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
    visited = np.flatnonzero(end >= 0)
    starts[tokens[visited]] = first[visited]
    np.minimum.at(starts, tokens[visited], first[visited])
    np.maximum.at(ends, tokens[visited], end[visited])
    return target_of(labels, tokens, size), starts, ends


def _occupancy(problem: ArrayProblem, n: int, states: Int32Array) -> Float64Array:
    """(T,) γ of the path's states, over the paths through the tokens that it visits."""
    if not len(states):
        return np.zeros(0)
    lattice, scores = problem.lattice(n), problem.state_scores
    kept = np.arange(lattice.num_states)
    if len(lattice.long_arcs) or lattice.entry_costs is not None or not lattice.visits_every_token:
        visited = np.isin(np.arange(lattice.num_tokens), lattice.tokens[states])
        lattice, index = lattice.through(visited)
        numbers, kept = np.unique(index, return_index=True)
        kept, states = kept[numbers >= 0], index[states]
        lattice = lattice.without_common_costs()
    used = int(problem.lattices.frames[n])
    alone = replace(
        problem,
        scores=problem.scores[:used, n : n + 1],
        lattices=lattice_batch([lattice], np.array([used])),
        state_scores=None if scores is None else scores[n : n + 1, kept],
    )
    if (lattice.tokens >= 0).sum() > lattice.num_tokens:
        return _over_token_states(alone, lattice, states)
    along: Float64Array = native.occupancy_along(alone, states[None])[0]
    return along if along.any() else np.full(along.shape, np.nan)  # no path has a sum above 0, though one has a score


def _over_token_states(problem: ArrayProblem, lattice: Lattice, states: Int32Array) -> Float64Array:
    """(T,) γ of the path's tokens where they have several states: of all of a token's states together."""
    scores = reference.log_probs_of(problem, 0)[:, None]
    gamma = native.posteriors(replace(problem, scores=scores, from_logits=False)).states[:, 0]
    same_token = (lattice.tokens == lattice.tokens[states][:, None]) & (lattice.tokens >= 0)
    same_token[np.arange(len(states)), states] = True
    along: Float64Array = np.where(same_token, gamma, 0).sum(axis=1)
    return along


def raise_infeasible(problem: ArrayProblem, status: npt.NDArray[np.uint8]) -> None:
    """Names the first sample that has no path, and why."""
    wrong = np.flatnonzero(status)
    if not len(wrong):
        return
    n = int(wrong[0])
    frames, needed = int(problem.lattices.frames[n]), problem.lattice(n).fewest_frames()
    reason = {Status.NOT_FINITE: "not-finite", Status.IMPOSSIBLE: "probability-0"}.get(
        Status(int(status[n])), "few-frames" if needed is not None and frames < needed else "no-such-length"
    )
    parts = {"whose": "no-path/sample" if problem.batched else "no-path/this", "reason": f"no-path/{reason}"}
    if len(wrong) > 1:
        parts["others"] = "no-path/others"
    details = {
        "scores": "logits" if problem.from_logits else "log_probs",
        "frames": frames,
        "needed": needed,
        "more": len(wrong) - 1,
        "others": "",
    }
    fault = Fault("no-path", "targets", expected=needed, hint="mark-infeasible", sample=n, details=details, parts=parts)
    raise InfeasibleError(fault, sample=n if problem.batched else None, frames=frames, needed=needed)
