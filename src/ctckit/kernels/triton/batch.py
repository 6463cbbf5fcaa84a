"""The input of the kernels of one call: the scores, and the block with the lattices.

Arrays are on the device. May import launch.py and tuning.py.
"""

from __future__ import annotations

from typing import NamedTuple

from .launch import Memory
from .tuning import Sizes


class Batch(NamedTuple):
    """A batch on the device.

    Attributes:
        scores: (T, N, C), any strides.
        from_logits: whether scores are logits.
        softmax: whether the gradient by the scores has a softmax part; always true for logits.
        blank: the blank's class.
        sizes: T, N, C and the number of pairs.
        lattice: the block with the lattices; see blocks.py.
        general: whether they are arbitrary lattices, not CTC's own.
        double: whether scores are float64, and so are sums.
    """

    scores: Memory
    from_logits: bool
    softmax: bool
    blank: int
    sizes: Sizes
    lattice: Memory
    general: bool
    double: bool

    @property
    def score_layout(self) -> tuple[int, ...]:
        """The strides of the scores, the sizes, and the blank's offset: arguments of most kernels."""
        strides = self.scores.stride()
        return (*strides, *self.sizes, self.blank * strides[2])
