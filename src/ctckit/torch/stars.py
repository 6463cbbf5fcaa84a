"""A star's column for log-probabilities on tensors.

May import torch, errors.py, validate/, ctckit.stars and the portable kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels.portable import log_sum
from ..stars import STARS, Star
from ..validate import check_blank, check_choice
from .errors import raises_tensor_errors


@raises_tensor_errors
def with_star(log_probs: Tensor, star: Star = "all", blank: int = 0) -> Tensor:
    """Log-probabilities (…, C) with one more class, C, for a star; as :func:`ctckit.with_star`, and differentiable.

    A frame with NaN has NaN there, too, and no gradient goes through it, since it may be padding.

    Example:
        >>> with_star(torch.tensor([[0.5, 0.25, 0.25]]).log(), "tokens").exp()
        tensor([[0.5000, 0.2500, 0.2500, 0.5000]])
    """
    check_choice("star", star, STARS)
    check_blank(blank, log_probs.shape[-1])
    if star == "all":
        column = torch.zeros_like(log_probs[..., :1])
    else:
        tokens = torch.cat((log_probs[..., :blank], log_probs[..., blank + 1 :]), -1)
        bad = tokens.isnan().any(-1, keepdim=True)
        column = torch.where(bad, torch.nan, _log_sum(tokens.masked_fill(bad, 0))[..., None])
        if star == "mean":
            column = column - torch.tensor(tokens.shape[-1], dtype=column.dtype, device=column.device).log()
    return torch.cat((log_probs, column.to(log_probs.dtype)), -1)


def _log_sum(values: Tensor) -> Tensor:
    """The log of the sum of exponentials over the last axis; of nothing but -inf it is -inf, with derivatives 0."""
    return log_sum(values) if values.shape[-1] else values.new_full(values.shape[:-1], -torch.inf)
