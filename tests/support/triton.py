"""Runs the Triton backend on arrays: on a GPU if there is one, otherwise in Triton's interpreter."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ctckit.kernels.backend import Gradients, Totals
from ctckit.problem import ArrayProblem
from ctckit.results import BestPaths, Posteriors
from support.batches import Array
from support.installed import has_gpu


class Triton:
    """The Triton backend on arrays. Its memory is NaN before use."""

    @staticmethod
    def total(problem: ArrayProblem, *, weights: Array | None = None, gradients: Gradients | None = None) -> Totals:
        import torch

        from ctckit.kernels import triton

        given = None if weights is None else torch.from_numpy(weights).to(Triton.device())
        arrays = {} if gradients is None else gradients.arrays()
        memory = {name: Triton.tensor(array) for name, array in arrays.items()}
        with Triton.running():
            wanted = Gradients(**memory, adds_softmax=gradients is not None and gradients.adds_softmax)
            found = triton.total(Triton.problem(problem), weights=given, gradients=wanted)
        if has_gpu():
            for name, array in arrays.items():
                Triton.tensor(array, "cpu").copy_(memory[name])
        return Totals(found.score.cpu().numpy(), found.status.cpu().numpy())

    @staticmethod
    def posteriors(problem: ArrayProblem) -> Posteriors:
        import torch

        from ctckit.kernels import triton

        with Triton.running():
            found = triton.posteriors(Triton.problem(problem))
        classes = found.classes.cpu()
        by_class = classes.view(torch.int16).numpy().view(np.uint16) if classes.dtype == torch.bfloat16 else None
        return Posteriors(
            found.states.cpu().numpy(),
            classes.numpy() if by_class is None else by_class,
            found.score.cpu().numpy(),
            found.status.cpu().numpy(),
        )

    @staticmethod
    def best_path(problem: ArrayProblem) -> BestPaths:
        from ctckit.kernels import triton

        with Triton.running():
            found = triton.best_path(Triton.problem(problem))
        return BestPaths(found.states.cpu().numpy(), found.score.cpu().numpy(), found.status.cpu().numpy())

    @staticmethod
    def device() -> str:
        return "cuda" if has_gpu() else "cpu"

    @staticmethod
    def tensor(scores: Array, device: str | None = None) -> Any:
        """An array as a tensor; on the CPU it is the array's own memory."""
        import torch

        if scores.dtype == np.uint16:
            tensor = torch.from_numpy(scores.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(scores)
        return tensor.to(device or Triton.device())

    @staticmethod
    def problem(problem: ArrayProblem) -> Any:
        """CTC's lattices laid out by the kernels, from the tokens alone; others as they are."""
        import torch

        from ctckit.kernels import triton
        from ctckit.kernels.portable import on_tensors

        scores = Triton.tensor(problem.scores)
        given = on_tensors(problem, scores)
        if not Triton.is_ctc(problem):
            return given
        batch = problem.lattices
        targets = np.ascontiguousarray(batch.labels[:, 1::2], np.int64)
        integers = (torch.from_numpy(np.array(x, np.int64)) for x in (targets, batch.frames, batch.num_tokens))
        blank = int(batch.labels[0, 0])
        given.lattices = triton.ctc_lattices(scores, *(x.to(Triton.device()) for x in integers), blank)
        return given

    @staticmethod
    def is_ctc(problem: ArrayProblem) -> bool:
        """Whether the lattices are CTC's own."""
        from ctckit import ctc_lattice

        blank = int(problem.lattices.labels[0, 0])
        if len(problem.lattices.long_arcs) or problem.lattices.entry_costs is not None:
            return False
        for n in range(len(problem.lattices.labels)):
            lattice = problem.lattice(n)
            target = lattice.labels[1::2]
            if (target == blank).any() or len(lattice.labels) % 2 == 0:
                return False
            plain = ctc_lattice(target, blank)
            if any(
                not np.array_equal(getattr(plain, name), getattr(lattice, name))
                for name in ("labels", "arcs", "tokens")
            ):
                return False
        return True

    @staticmethod
    @contextlib.contextmanager
    def running() -> Iterator[None]:
        import torch

        with contextlib.ExitStack() as stack:
            # The interpreter computes with NumPy, which warns of NaN and infinity where a GPU does not.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", RuntimeWarning)
            before = torch.are_deterministic_algorithms_enabled()
            torch.use_deterministic_algorithms(True)  # which fills uninitialised memory
            stack.callback(torch.use_deterministic_algorithms, before)
            yield
