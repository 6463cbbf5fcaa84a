"""A checked batch as every backend takes it: scores, and for each sample its frames and its lattice.

May import validate/, lattice/, bfloat16.py and, of native/, the layout of lattices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from . import native
from .bfloat16 import as_floats
from .errors import CTCError
from .lattice import ARCS_BY_ROLE, Lattice, padded_rows
from .validate import (
    Fault,
    Form,
    as_array,
    as_integers,
    check_flag,
    check_indexed_form,
    check_lattice_form,
    check_values,
    checked_arrays,
)

Array = npt.NDArray[Any]
A = TypeVar("A")  # an array of NumPy's, or a tensor
A_co = TypeVar("A_co", covariant=True)

MOST_GAIN = 1e8  # nats that negative costs and positive scores may add along a path: what kernels' exponents can hold


class LatticeBatch(Protocol[A_co]):
    """The lattices of a batch, padded to the largest; states beyond a sample's own have no arcs.

    Attributes:
        frames: int64 (N,), the number of frames used of each sample.
        num_tokens: int64 (N,), tokens of each target.
        num_states: int32 (N,), states of each lattice.
        labels, arcs, tokens: (N, K), as in :class:`ctckit.Lattice`.
        entry_costs: float64 (N, K), or None.
        long_arcs: int32 (J, 3), (sample, from, to), in order of sample, to, from.
        long_arc_scores: float64 (J,).
    """

    @property
    def frames(self) -> A_co: ...  # noqa: D102
    @property
    def num_tokens(self) -> A_co: ...  # noqa: D102
    @property
    def num_states(self) -> A_co: ...  # noqa: D102
    @property
    def labels(self) -> A_co: ...  # noqa: D102
    @property
    def arcs(self) -> A_co: ...  # noqa: D102
    @property
    def tokens(self) -> A_co: ...  # noqa: D102
    @property
    def entry_costs(self) -> A_co | None: ...  # noqa: D102
    @property
    def long_arcs(self) -> A_co: ...  # noqa: D102
    @property
    def long_arc_scores(self) -> A_co: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Lattices(Generic[A]):
    """A :class:`LatticeBatch` of tensors. For NumPy arrays, the extension has its own."""

    frames: A
    num_tokens: A
    num_states: A
    labels: A
    arcs: A
    tokens: A
    entry_costs: A | None
    long_arcs: A
    long_arc_scores: A


@dataclass(eq=False)
class Problem(Generic[A]):
    """A checked batch, on NumPy arrays or on tensors.

    Attributes:
        scores: (T, N, C) view of the caller's: any float dtype; in an array, uint16 stands for the bits of bfloat16.
        from_logits: whether scores are logits; otherwise they are taken as log-probabilities, as they are.
        lattices: the frames used of each sample, and its lattice; copies, not the caller's memory.
        batched: False if the caller passed a single sample without the batch axis.
        class_scores: float64 (C,), nats added to each class's log-probability, after the log_softmax; or None.
        state_scores: float64 (N, K), nats added to what a state emits, at every frame; or None.
    """

    scores: A
    from_logits: bool
    lattices: LatticeBatch[A]
    batched: bool = True
    class_scores: A | None = None
    state_scores: A | None = None

    @property
    def samples(self) -> int:
        """N."""
        size: int = self.scores.shape[1]  # type: ignore[attr-defined]
        return size


@dataclass(eq=False)
class ArrayProblem(Problem[Array]):
    """A batch on NumPy arrays, whose lattices the extension holds.

    For sums over paths there are two more forms, in which samples share scores or lattices:

    Attributes:
        heads: H, where the scores are (H, T, N, C) and each head has the same lattices; else 0. Results and weights
            (N,) of all samples are then (H * N,), head by head.
        index: int64 (M,), the utterance of the scores that each of M lattices reads; or None. N is then M in all shapes
            but the scores'. An utterance's gradient is the sum over its lattices, added in their order.
    """

    lattices: native.LatticeBatch
    heads: int = 0
    index: npt.NDArray[np.int64] | None = None

    @property
    def samples(self) -> int:
        """How many there are, of all heads."""
        if self.index is not None:
            return len(self.index)
        size: int = self.heads * self.scores.shape[2] if self.heads else self.scores.shape[1]
        return size

    def by_head(self, array: Array) -> Array:
        """What there is of each sample, as (H, N) where there are heads."""
        return array.reshape(self.heads, -1) if self.heads else array

    def usual(self, head: int = 0) -> ArrayProblem:
        """The same in the usual form: one head of it, and a copy of the utterance's scores for each lattice."""
        scores = self.scores[head] if self.heads else self.scores
        return replace(self, scores=scores if self.index is None else scores[:, self.index], heads=0, index=None)

    @property
    def real(self) -> type[np.float64] | type[np.float32]:
        """The type of these scores' losses and occupancies."""
        return np.float64 if self.scores.dtype == np.float64 else np.float32

    def lattice(self, n: int) -> Lattice:
        """Sample n's lattice, without padding."""
        batch = self.lattices
        k = batch.num_states[n]
        far = batch.long_arcs[:, 0] == n
        return Lattice(
            batch.labels[n, :k],
            batch.arcs[n, :k],
            batch.tokens[n, :k],
            None if batch.entry_costs is None else batch.entry_costs[n, :k],
            batch.long_arcs[far, 1:],
            batch.long_arc_scores[far],
        )


def ctc_problem(
    scores: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int,
    *,
    from_logits: bool,
    form: Form | None = None,
    index: npt.ArrayLike | None = None,
) -> ArrayProblem:
    """Checks a CTC loss's arguments, in any of the forms that it takes.

    Args:
        scores: (T, N, C), or (T, C) for one sample.
        targets: (N, S) padded or the samples' targets end to end in one dimension; (S,) for one sample.
        input_lengths: (N,) frames of each sample; a number for one sample.
        target_lengths: (N,) tokens of each sample; a number for one sample.
        blank: the blank's class.
        from_logits: whether scores are logits.
        form: the call's form, if the caller has checked it. Then all arguments are arrays already, scores are frames
            first, and bfloat16 may be given as 16-bit integers.
        index: (M,) which utterance each of M targets belongs to; input lengths are those of the utterances. Of a form
            that has been checked, input lengths and form are by target, as from ``check_indexed_form``.

    Raises:
        CTCError: whatever is wrong, before any work.
    """
    if form is None:
        from_logits = check_flag("from_logits", from_logits)
        if index is not None:
            return _indexed_problem(scores, targets, input_lengths, target_lengths, index, blank, from_logits)
        (array, tokens, frames, lengths), form = checked_arrays(
            scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits
        )
    else:
        array, tokens = np.asarray(scores), np.asarray(targets)
        frames, lengths = np.asarray(input_lengths), np.asarray(target_lengths)
    if frames.ndim > 1:
        frames = frames.reshape(-1)
    if lengths.ndim > 1:
        lengths = lengths.reshape(-1)
    counts = np.ascontiguousarray(frames, np.int64)  # one dimension at least
    rows = np.ascontiguousarray(tokens if form.batched else np.atleast_2d(tokens), np.int64)
    sizes = np.ascontiguousarray(lengths, np.int64)
    laid_out = native.lay_out(counts, rows, sizes, form.num_frames, form.classes, blank, ARCS_BY_ROLE)
    if isinstance(laid_out, tuple):  # a number too large for int64 has become negative, which is also wrong
        check_values(form, blank, tokens, frames, lengths, from_logits=from_logits)
        raise RuntimeError(f"the extension finds fault with {laid_out}, validate/ with nothing: please report this")
    if not (form.batched and array.dtype.isnative and array.dtype.kind == "f"):
        array = readable_scores(array, form)
    return ArrayProblem(array, from_logits, laid_out, form.batched, index=None if index is None else np.asarray(index))


def _indexed_problem(
    scores: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    index: npt.ArrayLike,
    blank: int,
    from_logits: bool,
) -> ArrayProblem:
    array = as_array("logits" if from_logits else "log_probs", scores)
    tokens, lengths = as_integers("targets", targets), as_integers("target_lengths", target_lengths)
    counts, utterances = as_integers("input_lengths", input_lengths), as_integers("index", index)
    form, frames, rows = check_indexed_form(array, tokens, counts, lengths, utterances, blank, from_logits=from_logits)
    if form.dtype in ("float16", "bfloat16"):  # whose gradients would be rounded each before they are added
        array, form = as_floats(readable_scores(array, form)).astype(np.float32), form._replace(dtype="float32")
    return ctc_problem(array, tokens, frames, lengths, blank, from_logits=from_logits, form=form, index=rows)


def with_values(batch: native.LatticeBatch, **values: Array | None) -> native.LatticeBatch:
    """The same lattices, with other ``labels``, ``arcs``, ``entry_costs`` or ``long_arc_scores`` of the same shape."""
    names = ("frames", "num_tokens", "labels", "arcs", "num_states", "long_arcs", "entry_costs", "tokens")
    return native.LatticeBatch(*(values.get(name, getattr(batch, name)) for name in (*names, "long_arc_scores")))


def lattice_problem(
    scores: npt.ArrayLike,
    lattices: Lattice | Sequence[Lattice],
    input_lengths: npt.ArrayLike | None,
    *,
    from_logits: bool,
    class_scores: npt.ArrayLike | None = None,
    state_scores: npt.ArrayLike | None = None,
    star: bool = False,
) -> ArrayProblem:
    """Checks the arguments of a call with lattices instead of targets.

    Args:
        scores: (T, N, C), or (T, C) for one sample.
        lattices: one for each sample, or one for all.
        input_lengths: (N,) frames of each sample; a number for one sample; None for all T.
        from_logits: whether scores are logits.
        class_scores: (C,).
        state_scores: (N, K), K of the largest lattice; (K,) for one sample.
        star: whether labels may be ``STAR``, which then is the class C.

    Raises:
        CTCError: whatever is wrong, before any work.
    """
    from_logits = check_flag("from_logits", from_logits)
    array = as_array("logits" if from_logits else "log_probs", scores)
    frames = as_integers("input_lengths", all_frames(array.shape) if input_lengths is None else input_lengths)
    form = check_lattice_form(array, frames, from_logits=from_logits)
    problem = checked_lattice_problem(array, form, lattices, frames, from_logits=from_logits, star=star)
    return with_added_scores(problem, class_scores, state_scores)


def checked_lattice_problem(
    array: Array,
    form: Form,
    lattices: Lattice | Sequence[Lattice],
    frames: npt.NDArray[np.integer[Any]],
    *,
    from_logits: bool,
    star: bool = False,
) -> ArrayProblem:
    """:func:`lattice_problem` after the form of scores and lengths has been checked; scores are frames first.

    Before it is computed, :func:`with_added_scores` must check what paths may gain.
    """
    check_values(form, 0, None, frames, None, from_logits=from_logits)
    given = _one_per_sample(lattices, form.size, form.classes, star)
    batch = lattice_batch(given, frames.reshape(-1).astype(np.int64), form.classes if star else None)
    return ArrayProblem(readable_scores(array, form), from_logits, batch, form.batched)


def all_frames(shape: tuple[int, ...]) -> Array:
    """The input lengths of a call that gives none: all frames of scores of that shape, frames first."""
    return np.full(shape[1:-1], shape[0]) if shape else np.zeros(0, int)


def lengths_or_all(
    shape: tuple[int, ...], targets_shape: tuple[int, ...], input_lengths: Any, target_lengths: Any
) -> tuple[Any, Any]:
    """A call's lengths. Where it gives none: all frames of the scores, and all tokens of padded targets.

    Args:
        shape: of the scores, (T, N, C) or (T, C).
        targets_shape: of the targets.
        input_lengths: as the caller passed them, or None.
        target_lengths: likewise.

    Raises:
        CTCError: the targets of a batch stand end to end, without lengths.
    """
    frames = all_frames(shape) if input_lengths is None else input_lengths
    if target_lengths is not None:
        return frames, target_lengths
    if len(shape) != 3:
        return frames, np.array(math.prod(targets_shape))
    if len(targets_shape) != 2:
        raise CTCError(Fault("target-lengths-missing", "target_lengths"))
    return frames, np.full(targets_shape[0], targets_shape[1])


def readable_scores(array: Array, form: Form) -> Array:
    """Scores as the kernels read them: (T, N, C), the machine's byte order, bfloat16 as 16-bit integers."""
    if form.dtype == "bfloat16" and array.dtype.kind == "V":
        array = array.view(np.uint16)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array if form.batched else array[:, None]


def _one_per_sample(lattices: Lattice | Sequence[Lattice], size: int, classes: int, star: bool) -> Sequence[Lattice]:
    if not isinstance(lattices, (Lattice, Iterable)):
        raise CTCError(Fault("not-a-lattice", "lattices", (), type(lattices).__name__, hint="build-lattice"))
    given = [lattices] * size if isinstance(lattices, Lattice) else list(lattices)
    for n, lattice in enumerate(given):
        if not isinstance(lattice, Lattice):
            raise CTCError(Fault("not-a-lattice", "lattices", (n,), type(lattice).__name__, hint="build-lattice"))
    if len(given) != size:
        raise CTCError(Fault("lattices-count", "lattices", (), len(given), size, "one-lattice-per-sample"))
    first_of: dict[int, tuple[int, Lattice]] = {}
    for n, lattice in enumerate(given):
        first_of.setdefault(id(lattice), (n, lattice))
    for n, lattice in first_of.values():
        wrong = (lattice.labels >= classes) | ((lattice.labels < 0) & (not star))
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            label, details = int(lattice.labels[k]), {"last": classes - 1, "state": k}
            hint = "star-column" if label < 0 else "same-vocabulary"
            position = () if isinstance(lattices, Lattice) else (n,)
            raise CTCError(
                Fault("label-out-of-range", "lattices", position, label, range(classes), hint, n, "", details)
            )
    return given


def with_added_scores(
    problem: ArrayProblem, class_scores: npt.ArrayLike | None, state_scores: npt.ArrayLike | None
) -> ArrayProblem:
    """The same batch with class scores (C,) and state scores (N, K), or a list of rows, or (K,) for one sample.

    Raises:
        CTCError: another shape, NaN, or more than kernels can hold, with the costs of the batch's lattices.
    """
    if class_scores is not None:
        problem = replace(problem, class_scores=check_added("class_scores", class_scores, problem.scores.shape[-1:]))
    if state_scores is not None:
        if isinstance(state_scores, (list, tuple)) and len({np.size(row) for row in state_scores}) > 1:
            state_scores = padded_rows(state_scores)
        given = as_array("state_scores", state_scores)
        given = given[None] if given.ndim == 1 and not problem.batched else given
        problem = replace(problem, state_scores=check_added("state_scores", given, problem.lattices.labels.shape))
    _check_gain(problem)
    return problem


def check_added(
    name: str, values: npt.ArrayLike, shape: tuple[int, ...], *, cost: bool = False
) -> npt.NDArray[np.float64]:
    """Checks an array of nats of the given shape: at most ``MOST_GAIN``, or -inf; for costs the negated."""
    array = as_array(name, values)
    if array.dtype.kind not in "iuf" or array.shape != shape:
        raise CTCError(Fault("added-scores-form", name, (), array.shape, shape, details={"dtype": str(array.dtype)}))
    wrong = np.argwhere(~(array >= -MOST_GAIN if cost else array <= MOST_GAIN))
    if len(wrong):
        index = tuple(wrong[0].tolist())
        hint, variant = ("finite-or-infinity", "cost") if cost else ("finite-or-minus-infinity", "")
        details = {"most": MOST_GAIN}
        raise CTCError(
            Fault("added-scores-value", name, index, float(array[index]), hint=hint, variant=variant, details=details)
        )
    return array.astype(np.float64)


def _check_gain(problem: ArrayProblem) -> None:
    """Checks that negative costs and positive scores cannot raise a path's score beyond what kernels can hold."""
    batch = problem.lattices
    if batch.entry_costs is None and problem.state_scores is None and not len(batch.long_arcs):
        return
    costs = 0.0 if batch.entry_costs is None else float(-batch.entry_costs.min(initial=0))
    far = float(batch.long_arc_scores.max(initial=0))
    state = 0.0 if problem.state_scores is None else float(problem.state_scores.max(initial=0))
    gain = (costs + far + state) * len(problem.scores)
    if gain > MOST_GAIN:
        raise CTCError(Fault("gain-too-large", "lattices", (), f"{gain:.3g}", f"{MOST_GAIN:g}", "smaller-gain"))


def lattice_batch(
    lattices: Sequence[Lattice], frames: npt.NDArray[np.int64], star: int | None = None
) -> native.LatticeBatch:
    """Lattices of any shape in one batch, padded to the largest; labels that are ``STAR`` become class ``star``."""
    size, most = len(lattices), max(lattice.num_states for lattice in lattices)
    num_states = np.array([lattice.num_states for lattice in lattices], np.int32)
    labels, tokens = np.zeros((size, most), np.int32), np.full((size, most), -1, np.int32)
    arcs = np.zeros((size, most), np.uint8)
    costs = np.zeros((size, most)) if any(lattice.entry_costs is not None for lattice in lattices) else None
    for n, lattice in enumerate(lattices):
        k = lattice.num_states
        labels[n, :k], arcs[n, :k], tokens[n, :k] = lattice.labels, lattice.arcs, lattice.tokens
        if costs is not None and lattice.entry_costs is not None:
            costs[n, :k] = lattice.entry_costs
    if star is not None:
        labels[labels < 0] = star
    far = [np.insert(lattice.long_arcs, 0, n, axis=1) for n, lattice in enumerate(lattices)]
    return native.LatticeBatch(
        np.ascontiguousarray(frames, np.int64),
        np.array([lattice.num_tokens for lattice in lattices], np.int64),
        labels,
        arcs,
        num_states,
        np.concatenate(far).astype(np.int32),
        costs,
        tokens,
        np.concatenate([lattice.long_arc_scores for lattice in lattices]),
    )


def with_lattices(problem: ArrayProblem, lattices: Sequence[Lattice]) -> ArrayProblem:
    """A checked batch with other lattices, whose labels are classes of its scores."""
    return replace(problem, lattices=lattice_batch(lattices, problem.lattices.frames))
