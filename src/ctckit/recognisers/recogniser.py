"""What a recogniser is: a network with CTC outputs, what it takes, and what its frames and classes mean.

A long input goes through the network in pieces that overlap, so that memory does not grow with its length (pieces.py).
May import text/ and validate/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..text import Vocabulary
from ..text.blank import check_labels
from ..text.vocabulary import Speller
from ..validate import check_blank, check_integer, check_number
from .pieces import Cut, gathered, joined

Array = npt.NDArray[np.float32]
Network = Callable[[Array], npt.ArrayLike]


class SoundInput(NamedTuple):
    """Sound: float32 samples (M,) from -1 to 1, one channel.

    Attributes:
        rate: samples a second.
    """

    rate: int


class ImageInput(NamedTuple):
    """The image of a line, column by column: float32 (W, height, 3), red, green and blue from 0 to 1, paper 1.

    Attributes:
        height: rows; images are scaled to it.
    """

    height: int


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A network that gives the probability of each class at each frame of a recording or of a line's image.

    Attributes:
        network: takes a batch of inputs of equal length, (N, M) or (N, W, height, 3); returns log-probabilities
            (N, T, C). Frame t is at sample or column ``t * step`` or a little later.
        takes: a :class:`SoundInput` or an :class:`ImageInput`.
        labels: (C,) the classes' names, as for :class:`ctckit.Vocabulary`.
        blank: the blank's class.
        step: samples, or columns, from one frame to the next.
        delay: seconds, or columns, by which the first frame of a token usually comes after its beginning. CTC does not
            train a network to say when: most say a token late, when they have heard enough of it.
        stretch: seconds, or columns, by which a token usually goes on after its last frame: its end, and a word's, is
            later by this, or where the next token begins.
        piece: frames that go through the network at a time. Inputs that are not longer go through it whole.
        overlap: frames at each end of a piece that are not used, since the network does not see what is beyond. If it
            sees no further than this, pieces joined are equal to the whole.
        batch: pieces of a long input that go through the network together.
        speller: the labels of a word, if they are not its letters; see :class:`ctckit.Vocabulary`.

    Raises:
        CTCError: a number is out of range.

    Example:
        A made-up network of two classes: is it loud?

        >>> def loud(samples):
        ...     level = np.abs(samples.reshape(len(samples), -1, 160)).mean(axis=2)
        ...     return np.log(np.stack([1 - level, level], axis=2))
        >>> recogniser = Recogniser(loud, SoundInput(16000), ["<blank>", "loud"], blank=0, step=160)
        >>> recogniser.log_probs(np.full(480, 0.75, np.float32)).round(2)
        array([[-1.39, -0.29],
               [-1.39, -0.29],
               [-1.39, -0.29]], dtype=float32)
    """

    network: Network
    takes: SoundInput | ImageInput
    labels: Sequence[str]
    blank: int
    step: int
    delay: float = 0.0
    stretch: float = 0.0
    piece: int = 1500
    overlap: int = 100
    batch: int = 1
    speller: Speller | None = None

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_blank(self.blank, len(self.labels), of_labels=True)
        check_integer("rate" if isinstance(self.takes, SoundInput) else "height", self.takes[0], 1)
        check_integer("step", self.step, 1)
        check_number("delay", self.delay, least=0.0)
        check_number("stretch", self.stretch, least=0.0)
        check_integer("overlap", self.overlap, 0)
        check_integer("piece", self.piece, 2 * self.overlap + 1)
        check_integer("batch", self.batch, 1)

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next; for images, columns of the scaled image."""
        return self.step / self.takes.rate if isinstance(self.takes, SoundInput) else float(self.step)

    def vocabulary(self) -> Vocabulary:
        """Spells and reads texts in the recogniser's labels."""
        return Vocabulary(self.labels, self.blank, speller=self.speller)

    def frames(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Log-probabilities as they are computed, (t, C) each. Memory does not grow with the input's length.

        Args:
            blocks: the input, or its parts one after the other, of any lengths.

        Raises:
            CTCError: the input is empty or not finite, or the network returns something else than it should.
        """
        cut = Cut(self.piece * self.step, 2 * self.overlap * self.step, self.batch)
        return joined(self._scores, map(self._checked, blocks), cut, self.step, self.overlap)

    def log_probs(self, values: npt.ArrayLike | Iterable[Array]) -> Array:
        """Log-probabilities (T, C) of a whole input; its parts, or one array.

        Raises:
            CTCError: as :meth:`frames`.
        """
        blocks = [np.asarray(values)] if hasattr(values, "__array__") else values
        return gathered(self.frames(blocks))  # type: ignore[arg-type]

    def _checked(self, block: Array) -> Array:
        shape = (None,) if isinstance(self.takes, SoundInput) else (None, self.takes.height, 3)
        block = np.asarray(block)
        if block.ndim != len(shape) or block.shape[1:] != shape[1:] or block.dtype.kind != "f":
            wanted = "(M,) samples" if len(shape) == 1 else f"(W, {shape[1]}, 3) columns"
            raise CTCError(f"the input has shape {block.shape} and dtype {block.dtype}: expected floats, {wanted}")
        if not np.isfinite(block).all():
            raise CTCError("the input has NaN or infinite values: expected numbers from -1 to 1")
        return block.astype(np.float32, copy=False)

    def _scores(self, inputs: Array) -> Array:
        """The network's scores (N, T, C), checked."""
        scores: npt.NDArray[Any] = np.asarray(self.network(inputs))
        if scores.ndim != 3 or scores.shape[::2] != (len(inputs), len(self.labels)) or scores.dtype.kind != "f":
            raise CTCError(
                f"the network returned shape {scores.shape} and dtype {scores.dtype}: expected floats (N, T, C), with "
                f"N={len(inputs)} and C={len(self.labels)}, the number of labels"
            )
        if scores.size and not float(scores.max()) <= _ROUNDING:
            highest = float(scores.max())
            hint = "" if math.isnan(highest) else "; apply log_softmax to logits"
            raise CTCError(f"the network returned scores up to {highest:.3g}: expected log-probabilities{hint}")
        return scores.astype(np.float32, copy=False)


_ROUNDING = 1e-2  # above 0: half precision may round up
