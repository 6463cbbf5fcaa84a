"""Runs the Triton backend on arrays: on a GPU if there is one, otherwise in Triton's interpreter."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

from ctckit.kernels import reference
from ctckit.kernels.backend import Gradients, Totals
from ctckit.problem import ArrayProblem
from ctckit.results import BestPaths, Posteriors
from support.batches import AnyTopology, Array
from support.installed import has_gpu


class Triton:
    """The GPU backend on arrays: on a GPU where there is one, else in the interpreter. Its memory is NaN before use."""

    @staticmethod
    def total(problem: ArrayProblem, *, weights: Array | None = None, gradients: Gradients | None = None) -> Totals:
        import torch

        from ctckit.kernels import triton

        given = None if weights is None else torch.from_numpy(weights).to(Triton.device())
        grad = None if gradients is None else gradients.scores
        memory = None if grad is None else Triton.tensor(grad)
        with Triton.running(problem):
            score = triton.total(
                *Triton.arguments(problem), from_logits=problem.from_logits, weights=given, grad=memory
            )
        if grad is not None and has_gpu():
            Triton.tensor(grad, "cpu").copy_(memory)
        return Totals(score.cpu().numpy(), np.zeros(len(score), np.uint8))

    @staticmethod
    def posteriors(problem: ArrayProblem) -> Posteriors:
        import torch

        from ctckit.kernels import triton

        with Triton.running(problem):
            found = triton.posteriors(*Triton.arguments(problem), from_logits=problem.from_logits)
        classes = found.classes.cpu()
        if classes.dtype == torch.bfloat16:
            classes = classes.view(torch.int16).numpy().view(np.uint16)
        else:
            classes = classes.numpy()
        score = found.score.cpu().numpy()
        return Posteriors(found.states.cpu().numpy(), classes, score, np.zeros(len(score), np.uint8))

    @staticmethod
    def best_path(problem: ArrayProblem) -> BestPaths:
        from ctckit.kernels import triton

        with Triton.running(problem):
            found = triton.best_path(*Triton.arguments(problem), from_logits=problem.from_logits)
        score = found.score.cpu().numpy()
        return BestPaths(found.states.cpu().numpy(), score, np.zeros(len(score), np.uint8))

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
    def arguments(problem: ArrayProblem) -> tuple[Any, ...]:
        """What the kernels are called with: of the checked lattices, only their tokens."""
        prepared = problem.lattices
        targets = np.ascontiguousarray(prepared.labels[:, 1::2], np.int64)
        integers = (Triton.tensor(np.array(x, np.int64)) for x in (targets, prepared.frames, prepared.num_states // 2))
        return Triton.tensor(problem.scores), *integers, int(prepared.labels[0, 0])

    @staticmethod
    @contextlib.contextmanager
    def running(problem: ArrayProblem) -> Iterator[None]:
        import torch

        from ctckit.kernels.triton import backend, best, sums

        with contextlib.ExitStack() as stack:
            if isinstance(problem, AnyTopology):
                given = Triton._lattices(problem)
                stack.enter_context(mock.patch.object(backend, "_lay_out", return_value=given))
                for module in (sums, best):
                    stack.enter_context(mock.patch.object(module, "EVEN_SKIPS", True))
            # NumPy, which the interpreter computes with, warns of NaN and infinity where a GPU does not.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", RuntimeWarning)
            before = torch.are_deterministic_algorithms_enabled()
            torch.use_deterministic_algorithms(True)  # which fills uninitialised memory
            stack.callback(torch.use_deterministic_algorithms, before)
            yield

    @staticmethod
    def _lattices(problem: ArrayProblem) -> Any:
        """Lattices as they are given, in pairs of states; all even states of a sample must emit the blank."""
        from ctckit.kernels.triton.lattice import INFEASIBLE, Lattices

        prepared = problem.lattices
        size, states = prepared.labels.shape
        arcs = np.zeros((size, 2 * (states // 2 + 1)), np.uint8)
        arcs[:, :states] = prepared.arcs
        arcs = arcs.reshape(size, -1, 2).transpose(0, 2, 1)
        hopeful = np.array([reference.count_paths(problem.lattice(n), prepared.frames[n]) > 0 for n in range(size)])
        parts = (
            prepared.labels[:, 1::2].astype(np.int32),
            arcs,
            np.where(hopeful, prepared.frames, 0).astype(np.int64),
            (prepared.num_states // 2).astype(np.int64),
            np.where(hopeful, 0, INFEASIBLE.value).astype(np.int32),
        )
        return Lattices(*(Triton.tensor(np.ascontiguousarray(part)) for part in parts))
