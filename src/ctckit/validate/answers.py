"""What a caller's language model answers. May import faults.py and errors.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..faults import Fault


def check_answer(name: str, answer: npt.ArrayLike, shape: tuple[int | None, ...]) -> npt.NDArray[np.float64]:
    """Returns a model's answer as nats, if they have that shape and are finite or -inf.

    Args:
        name: of the model, as an argument.
        answer: what it returned.
        shape: that is expected; None for a length that the model chooses.

    Example:
        >>> check_answer("model", [-1, -2.5], (2,))
        array([-1. , -2.5])
    """
    said = np.asarray(answer, dtype=np.float64)
    wrong = said.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, said.shape, strict=True))
    if wrong:
        expected = f"({', '.join('V' if n is None else str(n) for n in shape)}{',' * (len(shape) == 1)})"
        raise CTCError(Fault("model-shape", name, (), said.shape, expected))
    if np.isnan(said).any() or np.isposinf(said).any():
        position = tuple(int(i) for i in np.argwhere(np.isnan(said) | np.isposinf(said))[0])
        raise CTCError(Fault("model-not-finite", name, position, float(said[position])))
    return said
