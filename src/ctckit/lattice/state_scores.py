"""Scores of states that change which paths are worth more. May import topologies.py, arrays.py and errors.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from .arrays import numbers
from .topologies import Lattice


def delay_scores(lattices: Lattice | Sequence[Lattice], penalty: float) -> npt.NDArray[np.float64]:
    """Scores by which a path gains for each frame that it begins a token earlier: the delay penalty.

    A path that begins its tokens at frames t_1 … t_S gains ``penalty`` · Σ_s (T/2 - t_s). Instead of a score for each
    frame, that is one for each state: ``penalty`` · (tokens begun - S/2), at every frame.

    Args:
        lattices: one for each sample; or one, for one sample.
        penalty: λ, nats a token and frame. Above 0: tokens come earlier. Recipes use 0 at first, and then 0.1 to 0.3.

    Returns:
        (N, K) for ``state_scores``, K of the largest lattice; (K,) for one lattice.

    Raises:
        CTCError: a penalty that is not finite.

    Note:
        k2's CTC subtracts ⌊T/2⌋ where this has T/2, which changes the loss by a constant, and no gradient.

    Source:
        Yao et al., "Delay-penalized CTC Implemented Based on Finite State Transducer" (2023).

    Example:
        >>> from ctckit import ctc_lattice
        >>> delay_scores(ctc_lattice([1, 2]), 0.1).tolist()
        [-0.1, 0.0, 0.0, 0.1, 0.1]
    """
    weight = _nats("penalty", penalty)
    rows = [np.multiply(weight, _tokens_begun(one) - one.num_tokens / 2) for one in _as_list(lattices)]
    return rows[0] if isinstance(lattices, Lattice) else padded_rows(rows)


def risk_scores(
    lattices: Lattice | Sequence[Lattice], factor: float, input_lengths: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Scores by which a path pays for the frame at which its last token ends: Bayes-risk CTC with group "end".

    A path whose last token ends at frame τ, from 0, pays ``factor`` · (τ + 1) / T. That is ``factor`` / T in every
    state but the blank after the last token.

    Args:
        lattices: one for each sample; or one, for one sample.
        factor: λ, nats. Above 0: the text ends earlier.
        input_lengths: (N,) frames T of each sample; a number for one lattice.

    Returns:
        (N, K) for ``state_scores``, K of the largest lattice; (K,) for one lattice.

    Raises:
        CTCError: a factor that is not finite, not one length a lattice.

    Source:
        Tian et al., "Bayes Risk CTC: Controllable CTC Alignment in Sequence-to-Sequence Tasks" (ICLR 2023).

    Example:
        >>> from ctckit import ctc_lattice
        >>> risk_scores(ctc_lattice([1]), 2, 4).tolist()
        [-0.5, -0.5, 0.0]
    """
    weight, given = _nats("factor", factor), _as_list(lattices)
    frames = numbers("input_lengths", np.reshape(np.asarray(input_lengths), -1), np.int64, (len(given),))
    rows = []
    for lattice, count in zip(given, frames.tolist(), strict=True):
        ended = np.cumsum((lattice.tokens >= 0)[::-1])[::-1] == 0  # no token from here on
        rows.append(np.where(ended, 0.0, -weight / max(count, 1)))
    return rows[0] if isinstance(lattices, Lattice) else padded_rows(rows)


def padded_rows(rows: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """Rows of numbers as one array (N, K), padded with 0.

    Example:
        >>> padded_rows([[1, 2], [3]]).tolist()
        [[1.0, 2.0], [3.0, 0.0]]
    """
    arrays = [numbers(f"rows[{n}]", row, np.float64, (-1,)) for n, row in enumerate(rows)]
    padded = np.zeros((len(arrays), max((len(row) for row in arrays), default=0)))
    for n, row in enumerate(arrays):
        padded[n, : len(row)] = row
    return padded


def _as_list(lattices: Lattice | Sequence[Lattice]) -> list[Lattice]:
    return [lattices] if isinstance(lattices, Lattice) else list(lattices)


def _tokens_begun(lattice: Lattice) -> npt.NDArray[np.float64]:
    """(K,) how many tokens a path has begun when it is in a state."""
    first = lattice.tokens > np.maximum.accumulate(np.append(-1, lattice.tokens[:-1]))
    return np.cumsum(first).astype(np.float64)


def _nats(name: str, given: float) -> float:
    value = float(numbers(name, given, np.float64, ()))
    if not np.isfinite(value):
        raise CTCError(f"{name} = {value} is out of range: expected nats, finite")
    return value
