"""The input of the kernels of one call: the scores, the lattices, and statistics of each frame.

Arrays are on the device. They are annotated as torch's, but nothing here calls torch. May import triton, lattice.py and
tuning.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .lattice import States
from .tuning import Sizes

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """A batch on the device.

    Attributes:
        scores: (T, N, C), any strides.
        from_logits: whether scores are logits.
        softmax: whether the gradient by the scores has a softmax part; always true for logits.
        blank: the blank's class.
        sizes: T, N, C and the number of pairs.
        states: the lattices.
    """

    scores: Tensor
    from_logits: bool
    softmax: bool
    blank: int
    sizes: Sizes
    states: States

    @property
    def extra(self) -> tuple[Tensor, Tensor]:
        """The added scores and entry scores of general lattices; for CTC's lattices, arrays that are not read."""
        states = self.states
        if states.added is None or states.entry is None:
            return states.arcs, states.arcs
        return states.added, states.entry

    @property
    def score_layout(self) -> tuple[int, ...]:
        """The strides of the scores, T, the blank's offset and the number of pairs: arguments of most kernels."""
        return (*self.scores.stride(), self.sizes.frames, self.blank * self.scores.stride(2), self.sizes.pairs)


class Rows(NamedTuple):
    """Statistics of each frame (N, T).

    Attributes:
        top: the best score of the lattice's labels; emissions are relative to it.
        wide: int8, whether labels' scores are so far apart that their emissions need scaled floats, from float64.
        offset: float64, the factor common to all paths, in nats; NaN if the frame holds NaN or +inf.
        peak: the best score of all classes; only if the gradient has a softmax part.
        inverse: one over the softmax's sum; likewise.
        rest: the softmax's sum without the best class's 1, summed separately to keep its digits; likewise.
        table: R (N, T, K), the emissions of K labels, relative to ``top``, which the sums' sweep reads: of the blank
            and each token, or of the states in pairs (N, T, 2, pairs). Only for sums, and not used if any of the
            sample's frames is wide.
        progress: int32, how many steps each program of the sweep has done, 0 before it, and how many programs began.
    """

    top: Tensor
    wide: Tensor
    offset: Tensor
    peak: Tensor
    inverse: Tensor
    rest: Tensor
    table: Tensor
    progress: Tensor
