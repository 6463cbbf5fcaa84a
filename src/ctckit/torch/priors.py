"""Label priors, and what they add to each class's score. May import torch, frames.py and what it may import."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from ..validate import check_integer, check_number
from .arguments import Lengths
from .errors import raises_tensor_errors
from .frames import used_frames, widened


class LabelPriors(torch.nn.Module):
    """How often the network says each class, from epoch to epoch; divided out, alignments become less peaky.

    The loss takes ``class_scores``, -``scale`` · log prior: :func:`ctckit.torch.ctc_loss` adds them to the
    log-probabilities, which are not normalised again. In the first epoch they are 0. They live in the ``state_dict``,
    and so do the sums of an epoch that has not ended.

    Args:
        num_classes: C, with the blank.
        scale: how much of the prior is divided out; 0 gives the plain loss.
        floor: nats below which no log prior falls, so that a class that is never said is not divided by nearly 0.

    Raises:
        CTCError: fewer than one class, a scale below 0, a floor above 0.

    Attributes:
        log_prior: (C,) nats, of the last epoch that has ended; 0 in the first.
        epochs: int64, how many have ended.

    Note:
        With a uniform prior the loss falls by scale · T · log C, and no gradient changes. So losses may be below 0.

    Source:
        Huang et al., "Less Peaky and More Accurate CTC Forced Alignment by Label Priors" (ICASSP 2024). Scale and floor
        are those of the authors' code.

    Example:
        >>> priors = LabelPriors(3)
        >>> priors.update(torch.zeros(4, 2, 3), (4, 2), from_logits=True)
        >>> priors.step()  # at the end of an epoch
        >>> priors.class_scores
        tensor([0.6592, 0.6592, 0.6592])
    """

    log_prior: Tensor
    epochs: Tensor
    _sums: Tensor
    _frames: Tensor

    @raises_tensor_errors
    def __init__(self, num_classes: int, scale: float = 0.6, floor: float = -12.0) -> None:
        super().__init__()
        classes = check_integer("num_classes", num_classes, 1)
        self.scale = check_number("scale", scale, least=0)
        self.floor = check_number("floor", floor, most=0)
        self.register_buffer("log_prior", torch.zeros(classes))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("_sums", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("_frames", torch.zeros((), dtype=torch.int64))

    @property
    def class_scores(self) -> Tensor:
        """(C,) nats for the loss; 0 until the first epoch has ended."""
        return -self.scale * self.log_prior

    @raises_tensor_errors
    @torch.no_grad()
    def update(
        self,
        log_probs: Tensor,
        input_lengths: Lengths | None = None,
        *,
        from_logits: bool = False,
        batch_first: bool = False,
    ) -> None:
        """Adds a training step's frames to those of the epoch. Frames that are not finite do not count.

        Args:
            log_probs: (T, N, C), or (T, C) for one sample.
            input_lengths: (N,) frames of each sample; all T if not given.
            from_logits: ``log_probs`` holds raw scores.
            batch_first: ``log_probs`` is (N, T, C).

        Raises:
            CTCError: for anything malformed, and for other classes than `num_classes`.
        """
        given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
        _check_classes(given.scores, self.log_prior)
        scores = widened(given.scores.detach())
        probs = scores.softmax(-1) if from_logits else scores.exp()
        counted = probs.isfinite().all(-1, keepdim=True)
        if given.unused is not None:
            counted &= ~given.unused
        probs = probs.masked_fill(~counted, 0)
        self._sums += probs.sum((0, 1), dtype=torch.float64)
        self._frames += counted.sum()

    @torch.no_grad()
    def step(self) -> None:
        """Ends an epoch: its frames, those of all ranks, give the priors of the next. Without any, the old ones stay.

        With torch.distributed, every rank must call it.
        """
        sums, frames = self._sums.clone(), self._frames.clone()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(frames)
        found = (sums / frames).log().clamp(min=self.floor)
        self.log_prior.copy_(torch.where(frames > 0, found.to(self.log_prior.dtype), self.log_prior))
        self.epochs += 1
        self._sums.zero_()
        self._frames.zero_()

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{len(self.log_prior)}, scale={self.scale:g}, floor={self.floor:g}"


def _check_classes(scores: Tensor, log_prior: Tensor) -> None:
    from .errors import TensorError

    if scores.shape[2] != len(log_prior):
        raise TensorError(
            f"log_probs has C={scores.shape[2]} classes: expected num_classes={len(log_prior)}, as in LabelPriors(…)"
        )
