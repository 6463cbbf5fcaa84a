"""The shapes that are measured, and made-up inputs of them. Imports nothing of the package.

Letters: T frames, C classes with the blank, N samples, S tokens of a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]


class LossShape(NamedTuple):
    T: int
    C: int
    N: int
    S: int
    peaky: bool = False

    def __str__(self) -> str:
        return f"{self.T}, {self.C}, {self.N}, {self.S}" + (" peaky" if self.peaky else "")


class AlignShape(NamedTuple):
    T: int
    C: int
    S: int
    peaky: bool = True

    def __str__(self) -> str:
        return f"{self.T}, {self.C}, {self.S}" + (" peaky" if self.peaky else " unsure")


LOSS = [
    LossShape(50, 20, 1, 20),
    LossShape(150, 40, 32, 20),
    LossShape(500, 32, 16, 100),
    LossShape(1500, 32, 16, 200),
    LossShape(500, 500, 16, 60),
    LossShape(400, 5000, 8, 60),
    LossShape(1500, 128, 4, 400),
    LossShape(100, 7000, 16, 20),
    LossShape(500, 32, 8, 100, peaky=True),
    LossShape(1500, 32, 8, 200, peaky=True),
    LossShape(1500, 500, 4, 100, peaky=True),
]
ALIGN = [
    AlignShape(1500, 32, 200),
    AlignShape(15000, 32, 2000),
    AlignShape(60000, 64, 8000),
    AlignShape(60000, 64, 8000, peaky=False),
]
LATTICES = LossShape(1500, 32, 16, 200)
PICTURES = AlignShape(1500, 32, 200, peaky=False)
ERROR_FRAMES = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 2500, 3000)
# A target is an eighth of the frames, as in speech recognition.
ERROR_BY_FRAMES = [LossShape(T, 32, 8, T // 8, peaky) for peaky in (False, True) for T in ERROR_FRAMES]
TEXT_MINUTES = (1, 10, 30)


@dataclass
class LossCase:
    """The inputs of a loss: logits (T, N, C), targets (N, S) and both lengths (N,)."""

    logits: torch.Tensor
    targets: torch.Tensor
    input_lengths: torch.Tensor
    target_lengths: torch.Tensor

    @property
    def rest(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.targets, self.input_lengths, self.target_lengths

    def leaf(self, dtype: torch.dtype) -> LossCase:
        """The same with logits of this dtype that require a gradient."""
        return LossCase(self.logits.detach().to(dtype, copy=True).requires_grad_(), *self.rest)


def loss_case(shape: LossShape) -> LossCase:
    """Logits randn · 2; peaky ones are like a trained model's."""
    generator = torch.Generator().manual_seed(0)
    T, C, N, S, peaky = shape
    targets = torch.randint(1, C, (N, S), generator=generator)
    logits = peaky_logits(shape, targets, generator) if peaky else torch.randn(T, N, C, generator=generator) * 2
    return LossCase(logits, targets, torch.full((N,), T), torch.full((N,), S))


def peaky_logits(shape: LossShape, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """About 80 % blank frames, most with a probability over 0.95; a spike per token; 15 % of the frames are unsure."""
    T, C, N, S, _ = shape
    logits = torch.randn(T, N, C, generator=generator)
    sure = torch.full((T, N), 0)
    for n in range(N):
        spikes = (torch.randperm(T // 2, generator=generator)[:S].sort().values * 2).tolist()  # repeats need a gap
        sure[spikes, n] = targets[n]
    hard = torch.rand(T, N, generator=generator) < 0.15
    height = torch.log(torch.tensor(float(C))) + 4 + 3 * torch.rand(T, N, generator=generator)
    logits.scatter_add_(2, sure[..., None], torch.where(hard, height / 4, height)[..., None])
    return logits


def align_case(shape: AlignShape) -> tuple[Array, Array]:
    """Log-probabilities (T, C) in float32 and a target (S,).

    Peaky: a frame per token, blanks between, all with noise. Otherwise noise only.
    """
    rng = np.random.default_rng(0)
    target = rng.integers(1, shape.C, shape.S)
    labels = np.zeros(shape.T, int)
    labels[np.sort(rng.choice(shape.T, shape.S, replace=False))] = target
    logits = rng.standard_normal((shape.T, shape.C), np.float32) * 2
    logits[np.arange(shape.T), labels] += 12 if shape.peaky else 0
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits, target
