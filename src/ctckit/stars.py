"""Columns of scores for a star, a class that stands for many. Imports NumPy, validate/ and errors.py."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from .validate import as_array, check_blank, check_choice, check_lattice_form

Star = Literal["all", "tokens", "mean"]
STARS: tuple[Star, ...] = ("all", "tokens", "mean")


def with_star(log_probs: npt.ArrayLike, star: Star = "all", blank: int = 0) -> npt.NDArray[np.floating]:
    """Log-probabilities with one more class, C, for lattices with a star, such as those of ``with_stars``.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample, normalised.
        star: what the star stands for. ``"all"``: any class, blank included; it has log-probability 0. ``"tokens"``:
            any class but the blank, log Σ p. ``"mean"``: the mean of all classes but the blank, as in bypass temporal
            classification.
        blank: the blank's class.

    Returns:
        (T, N, C+1) or (T, C+1), float64 for float64, else float32.

    Raises:
        CTCError: for scores of another form, or a blank outside the classes.

    Example:
        >>> np.exp(with_star(np.log([[0.5, 0.25, 0.25]]), "mean")).round(2)
        array([[0.5 , 0.25, 0.25, 0.25]])
    """
    check_choice("star", star, STARS)
    array = as_array("log_probs", log_probs)
    form = check_lattice_form(array)
    check_blank(blank, form.classes)
    scores = array.astype(np.float64 if form.dtype == "float64" else np.float32, copy=False)
    if star == "all":
        column = np.zeros_like(scores[..., :1])
    else:
        tokens = np.delete(scores, blank, axis=-1)
        column = np.logaddexp.reduce(tokens, axis=-1, keepdims=True) if tokens.size else tokens.sum(-1, keepdims=True)
        column = column - (np.log(tokens.shape[-1]) if star == "mean" else 0)
    return np.concatenate((scores, column.astype(scores.dtype)), axis=-1)
