"""The sweeps in PyTorch's operations: on any device that torch has, and differentiable any number of times.

Slower than a kernel and, in float32, only as exact as logarithms are. So it is used where no kernel exists, and for
second derivatives. Works on all samples and states at once; the only loop is over frames. May import torch, backend.py,
problem.py, lattice/ and results.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..lattice import MOVES, Arc
from ..problem import Array, ArrayProblem, LatticeBatch, Lattices, Problem
from ..results import BestPaths, Posteriors, Status
from .backend import Gradients, Totals

TensorProblem = Problem[Tensor]
Sum = Callable[[Tensor], Tensor]  # over the last axis


def on_tensors(problem: ArrayProblem, scores: Tensor) -> TensorProblem:
    """A checked batch whose scores are a tensor (T, N, C): its lattices on that tensor's device."""
    batch, device = problem.lattices, scores.device

    def moved(array: Array) -> Tensor:
        return torch.from_numpy(np.array(array)).to(device)

    def moved_if_there(array: Array | None) -> Tensor | None:
        return None if array is None else moved(array)

    lattices = Lattices(
        moved(batch.frames),
        moved(batch.num_tokens),
        moved(batch.num_states),
        moved(batch.labels),
        moved(batch.arcs),
        moved(batch.tokens),
        moved_if_there(batch.entry_costs),
        moved(batch.long_arcs),
        moved(batch.long_arc_scores),
    )
    added = moved_if_there(problem.class_scores), moved_if_there(problem.state_scores)
    return Problem(scores, problem.from_logits, lattices, problem.batched, *added)


def repeated(problem: TensorProblem, times: int) -> TensorProblem:
    """Scores (T, H * N, C) of H heads with the N lattices of each; CTC's own, without long arcs and costs."""
    batch = problem.lattices
    each: dict[str, Tensor] = {
        name: torch.cat([getattr(batch, name)] * times)
        for name in ("frames", "num_tokens", "num_states", "labels", "arcs", "tokens")
    }
    return replace(problem, lattices=replace(batch, **each))  # type: ignore[type-var]


def log_scores(problem: TensorProblem) -> Tensor:
    """Log-scores (N,) in the scores' dtype, differentiable by everything that the problem holds.

    The rules are those of all backends: -inf for a target without a path, whatever its frames hold, with gradient 0;
    NaN for a sample with NaN or +inf in a used frame; frames beyond a sample's own are not read.
    """
    return _summed(problem)[0]


def _summed(problem: TensorProblem) -> tuple[Tensor, Tensor]:
    """Log-scores (N,), and whether each sample's lattice has a path of its length (N,)."""
    emitted = _emissions(problem)
    score = _score(problem, emitted, log_sum)
    score = score if len(problem.scores) else score + problem.scores.sum()  # without frames there must be a graph too
    return score, emitted.feasible


def total(
    problem: TensorProblem,
    *,
    weights: Tensor | None = None,
    gradients: Gradients[Tensor] | None = None,
    threads: int | None = None,
) -> Totals[Tensor]:
    """Log-scores of all samples; writes the gradients of Σ weights·(-score) that are wanted."""
    wanted = gradients.arrays() if gradients else {}
    leaves = _leaves(problem)
    scores, *added = leaves.values()
    with torch.set_grad_enabled(bool(wanted)):
        score, feasible = _summed(with_added(replace(problem, scores=scores), *added))
        loss = -(score if weights is None else score * weights.to(score)).sum()
        if gradients and gradients.adds_softmax:
            loss = loss + _normalisers(problem, scores, feasible, weights)
    if wanted:
        found = torch.autograd.grad(loss, [leaves[name] for name in wanted], allow_unused=True)
        for out, value in zip(wanted.values(), found, strict=True):
            out.copy_(torch.zeros_like(out) if value is None else value)
    detached = score.detach().double()
    return Totals(detached, _status(detached, feasible))


def _normalisers(problem: TensorProblem, scores: Tensor, feasible: Tensor, weights: Tensor | None) -> Tensor:
    """What log-probabilities would be normalised by: 0 up to rounding, but its derivative is their softmax."""
    used = (torch.arange(len(scores), device=scores.device)[:, None] < problem.lattices.frames) & feasible
    possible = used & (scores > -torch.inf).any(dim=2)
    sums = torch.where(possible[..., None], scores, 0).logsumexp(dim=2)
    return (torch.where(possible, sums, 0) * (1 if weights is None else weights.to(scores))).sum()


def posteriors(problem: TensorProblem, *, threads: int | None = None) -> Posteriors[Tensor]:
    """Occupancies by state and by class: γ is the score's derivative by a state's emission."""
    emitted = _emissions(replace(problem, scores=_widened(problem.scores)))
    leaf = emitted.values.detach().requires_grad_()
    with torch.enable_grad():
        score = _score(problem, emitted._replace(values=leaf), log_sum)
        (gamma,) = torch.autograd.grad(score.sum(), leaf)
    labels = problem.lattices.labels.long().expand(gamma.shape)
    classes = gamma.new_zeros(problem.scores.shape).scatter_add(2, labels, gamma).to(problem.scores.dtype)
    detached = score.detach().double()
    return Posteriors(gamma, classes, detached, _status(detached, emitted.feasible))


def best_path(problem: TensorProblem, *, threads: int | None = None) -> BestPaths[Tensor]:
    """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states."""
    problem = replace(problem, scores=_widened(problem.scores))
    emitted, batch = _emissions(problem), problem.lattices
    rows: list[Tensor] = []
    score = _score(problem, emitted, _amax, rows).double()
    status = _status(score, emitted.feasible)
    found, frames = status == Status.OK, batch.frames
    states = torch.full((len(batch.labels), len(rows)), -1, dtype=torch.int32, device=score.device)
    ends = (batch.arcs & Arc.END) != 0
    state = torch.zeros_like(frames)
    for t in reversed(range(len(rows))):
        if t + 1 < len(rows):
            state = torch.where(frames > t + 1, _before(batch, rows[t], state), state)
        last = _lowest_best(torch.where(ends, rows[t], -torch.inf))
        state = torch.where(frames == t + 1, last, state)
        states[:, t] = torch.where(found & (frames > t), state, -1).int()
    return BestPaths(states, score, status)


class _Emitted(NamedTuple):
    values: Tensor  # (T, N, K) what each state emits at each frame
    used: Tensor  # (T, N) which frames are used: none of samples without a path
    feasible: Tensor  # (N,)


def _emissions(problem: TensorProblem) -> _Emitted:
    scores, batch = problem.scores, problem.lattices
    feasible = _feasible(batch, len(scores))
    used = (torch.arange(len(scores), device=scores.device)[:, None] < batch.frames) & feasible
    read = torch.where(used[..., None], scores, 0)  # so that unused values affect neither sums nor derivatives
    whole = torch.where((read < torch.inf).all(dim=2).all(dim=0), 1, torch.nan).to(scores.dtype)
    read = read * whole[:, None]  # one NaN or +inf makes all of its sample NaN, derivatives included
    log_probs = read.log_softmax(-1) if problem.from_logits else read
    if problem.class_scores is not None:
        log_probs = log_probs + problem.class_scores.to(log_probs.dtype)
    values = log_probs.gather(2, batch.labels.long().expand(len(scores), -1, -1))
    if problem.state_scores is not None:
        values = values + problem.state_scores.to(values.dtype)
    return _Emitted(values, used, feasible)


def _score(problem: TensorProblem, emitted: _Emitted, plus: Sum, rows: list[Tensor] | None = None) -> Tensor:
    """The recursion over frames: log-scores (N,); appends its rows (N, K) to a list, if one is given."""
    batch, values = problem.lattices, emitted.values
    start = torch.where((batch.arcs & Arc.START) != 0, 0.0, -torch.inf).to(values.dtype)
    if batch.entry_costs is not None:
        start = start - batch.entry_costs.to(values.dtype)
    alpha = start
    for t, emission in enumerate(values):
        row = plus(torch.stack(_ways(batch, alpha, plus), dim=-1)) if t else start
        alpha = torch.where(emitted.used[t][:, None], row + emission, alpha)
        if rows is not None:
            rows.append(alpha)
    score = plus(torch.where((batch.arcs & Arc.END) != 0, alpha, -torch.inf))
    # Without frames the only path is the empty one: it needs a state that is not a token and may begin and end a path.
    score = torch.where(batch.frames == 0, 0.0, score)
    return torch.where(emitted.feasible, score, -torch.inf)


def _ways(batch: LatticeBatch[Tensor], row: Tensor, plus: Sum) -> list[Tensor]:
    """All ways into each state (N, K) from the frame before: staying, the bits, and long arcs together."""
    stay = torch.where((batch.arcs & Arc.STAY) != 0, row, -torch.inf)
    into = [torch.where((batch.arcs & bit) != 0, _shifted(row, back), -torch.inf) for bit, back in MOVES]
    if len(batch.long_arcs):
        into.append(_along_long_arcs(batch, row, plus))
    if batch.entry_costs is not None:
        into = [way - batch.entry_costs.to(row.dtype) for way in into]
    return [stay, *into]


def _shifted(row: Tensor, back: int) -> Tensor:
    return torch.nn.functional.pad(row, (back, 0), value=-torch.inf)[:, : row.shape[1]]


def _along_long_arcs(batch: LatticeBatch[Tensor], row: Tensor, plus: Sum) -> Tensor:
    """(N, K) what long arcs bring to each state. Arcs to one state are neighbours, so they are added rank by rank."""
    n, source, to = batch.long_arcs.long().T
    arriving = row[n, source] + batch.long_arc_scores.to(row.dtype)
    rank = _rank(n * row.shape[1] + to)
    ways = torch.full((*row.shape, int(rank.max()) + 1), -torch.inf, dtype=row.dtype, device=row.device)
    return plus(ways.index_put((n, to, rank), arriving))


def _rank(keys: Tensor) -> Tensor:
    """The rank of each entry among its equals, which are neighbours."""
    index = torch.arange(len(keys), device=keys.device)
    begins = torch.where(torch.diff(keys, prepend=keys[:1] - 1) != 0, index, 0)
    return index - begins.cummax(0).values


def _feasible(batch: LatticeBatch[Tensor], num_frames: int) -> Tensor:
    """(N,) whether a lattice has a path of its sample's number of frames, whatever the scores are."""
    arcs = batch.arcs
    row = alive = (arcs & Arc.START) != 0
    n, source, to = batch.long_arcs.long().T
    for t in range(1, num_frames):
        row = alive & ((arcs & Arc.STAY) != 0)
        for bit, back in MOVES:
            below = torch.nn.functional.pad(alive, (back, 0))[:, : alive.shape[1]]
            row = row | (below & ((arcs & bit) != 0))
        row = row.index_put((n, to), alive[n, source], accumulate=True) if len(n) else row
        alive = torch.where((batch.frames > t)[:, None], row, alive)
    both = Arc.START | Arc.END
    empty = (((arcs & both) == both) & (batch.tokens < 0)).any(dim=1)
    return torch.where(batch.frames == 0, empty, (alive & ((arcs & Arc.END) != 0)).any(dim=1))


def status(problem: TensorProblem, score: Tensor) -> Tensor:
    """What became of each sample (N,), given the log-scores."""
    return _status(score, _feasible(problem.lattices, len(problem.scores)))


def _status(score: Tensor, feasible: Tensor) -> Tensor:
    status = torch.where(score.isnan(), int(Status.NOT_FINITE), int(Status.OK))
    status = torch.where(score == -torch.inf, int(Status.IMPOSSIBLE), status)
    return torch.where(feasible, status, int(Status.INFEASIBLE)).to(torch.uint8)


def _widened(scores: Tensor) -> Tensor:
    """Scores without their graph, in float32 at least."""
    scores = scores.detach()
    return scores if scores.dtype == torch.float64 else scores.float()


def _leaves(problem: TensorProblem) -> dict[str, Tensor]:
    """All that gradients may be by, as leaves of a new graph, under the names of `Gradients`; class scores (N, C)."""
    batch, size, classes = problem.lattices, *problem.scores.shape[1:]
    scores = _widened(problem.scores)
    zeros = scores.new_zeros(batch.labels.shape)
    by_class = scores.new_zeros(classes) if problem.class_scores is None else problem.class_scores
    leaves = {
        "scores": scores,
        "class_scores": by_class.expand(size, classes).clone(),
        "state_scores": zeros if problem.state_scores is None else problem.state_scores,
        "entry_costs": zeros if batch.entry_costs is None else batch.entry_costs,
        "long_arc_scores": batch.long_arc_scores,
    }
    return {name: tensor.detach().requires_grad_() for name, tensor in leaves.items()}


def with_added(
    problem: TensorProblem,
    class_scores: Tensor | None,
    state_scores: Tensor | None,
    entry_costs: Tensor | None,
    long_arc_scores: Tensor | None,
) -> TensorProblem:
    """The same problem with these tensors, which may need gradients; state scores (K,) are those of one sample.

    Costs and scores of long arcs that are not given stay the lattices' own.
    """
    batch = problem.lattices
    if entry_costs is not None or long_arc_scores is not None:
        own = {name: getattr(batch, name) for name in Lattices.__dataclass_fields__}
        given = {"entry_costs": entry_costs, "long_arc_scores": long_arc_scores}
        batch = Lattices(**own | {name: tensor for name, tensor in given.items() if tensor is not None})
    if state_scores is not None and state_scores.ndim == 1:
        state_scores = state_scores[None]
    return replace(problem, lattices=batch, class_scores=class_scores, state_scores=state_scores)


def _before(batch: LatticeBatch[Tensor], row: Tensor, state: Tensor) -> Tensor:
    """(N,) the best path's state one frame earlier, given that frame's row (N, K)."""
    size, index = row.shape[1], torch.arange(len(row), device=row.device)
    arcs = batch.arcs[index, state]
    cost = 0.0 if batch.entry_costs is None else batch.entry_costs[index, state].to(row.dtype)
    candidates = torch.full_like(row, -torch.inf)
    for bit, back in ((Arc.STAY, 0), *MOVES):
        source = (state - back).clamp(min=0)
        way = row[index, source] - (cost if back else 0.0)
        way = torch.where(((arcs & bit) != 0) & (state >= back), way, -torch.inf)
        candidates = candidates.scatter_reduce(1, source[:, None], way[:, None], "amax")
    if len(batch.long_arcs):
        n, source, to = batch.long_arcs.long().T
        way = row[n, source] + batch.long_arc_scores.to(row.dtype) - (cost if isinstance(cost, float) else cost[n])
        way = torch.where(to == state[n], way, -torch.inf)
        flat = candidates.flatten().scatter_reduce(0, n * size + source, way, "amax")
        candidates = flat.view(row.shape)
    return _lowest_best(candidates)


def _lowest_best(row: Tensor) -> Tensor:
    """(N,) the index of each row's first greatest entry (N, K); any for a row with NaN."""
    best = row == row.amax(dim=1, keepdim=True)
    return torch.where(best, torch.arange(row.shape[1], device=row.device), row.shape[1] - 1).amin(dim=1)


def _amax(values: Tensor) -> Tensor:
    return values.amax(dim=-1)


def log_sum(values: Tensor) -> Tensor:
    """Over the last axis; if all are -inf, so is the result, and its derivatives are 0, not NaN."""
    top = values.detach().amax(dim=-1, keepdim=True)
    top = torch.where(top > -torch.inf, top, 0)  # NaN is left to the sum, too
    total = (values - top).exp().sum(dim=-1)
    some = total != 0  # true for NaN
    return torch.where(some, torch.where(some, total, 1).log() + top[..., 0], -torch.inf)
