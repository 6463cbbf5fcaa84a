"""Watches a training run: a few numbers per step that show how the network's output and its gradient are doing.

It is meant to be left on: it takes well under a millisecond, whatever the number of frames and classes, since it looks
at some frames only (bench/monitor.py). When the run fails, it says so once (alarm.py). May import torch, arguments.py,
alarm.py, pictures.py, terms.py, ctckit.diagnosis and what lies below them.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..diagnosis import Diagnosis
from ..errors import CTCError
from ..lattice import Arc
from ..problem import ArrayProblem, ctc_problem
from ..validate import Form, check_flag, check_form, check_integer, check_language, split_targets
from .alarm import Alarm, Watched
from .arguments import Lengths, integers
from .errors import raises_tensor_errors
from .pictures import write_pictures
from .terms import path_entropy

# How much of a batch is looked at: at most this many scores and rows (a row is a sample at a frame, C scores). With 256
# rows a share's sampling error is at most 0.03, and less over several steps, since each looks at other rows.
SCORES = 2**13
FEWEST_ROWS, MOST_ROWS = 16, 256

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class ScalarWriter(Protocol):
    """Anything that takes scalars, such as TensorBoard's ``SummaryWriter``."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Writes one number."""


class Rows:
    """Which (frame, sample) of (T, N, C) scores to look at: all, or evenly spaced ones, others at each step.

    Example:
        >>> rows = Rows((1000, 3, 1000), step=0)
        >>> rows.frames[:5].tolist(), rows.samples[:5].tolist(), len(rows.frames)
        ([0, 62, 124, 187, 249], [0, 1, 2, 0, 1], 17)
    """

    def __init__(self, shape: tuple[int, ...], step: int) -> None:
        frames, self._size, classes = shape
        self._total = frames * self._size
        stride = max(1, self._total // min(max(FEWEST_ROWS, SCORES // classes), MOST_ROWS))
        while math.gcd(stride, self._size) > 1:  # or some samples would never be looked at
            stride += 1
        self._picked = slice(step % stride, self._total, stride)

    @cached_property
    def _flat(self) -> Ints:
        return np.arange(self._total)[self._picked]

    @property
    def frames(self) -> Ints:
        """The frame of each row."""
        return self._flat // self._size

    @property
    def samples(self) -> Ints:
        """The sample of each row."""
        return self._flat % self._size

    @property
    def scale(self) -> float:
        """How many rows of the batch each of them represents."""
        return self._total / max(len(range(self._total)[self._picked]), 1)

    def of(self, scores: Tensor) -> Floats:
        """Those rows of (T, N, C) scores, as an array (M, C)."""
        if scores.is_contiguous():
            picked = scores.view(-1, scores.shape[2])[self._picked]
        else:
            picked = scores[torch.from_numpy(self.frames), torch.from_numpy(self.samples)]
        return np.asarray(picked.float().numpy(force=True))  # one transfer, if it is on a GPU


class CTCMonitor:
    """Gathers numbers about a training run, and writes them to anything that has ``add_scalar``.

    Call it between the forward and the backward pass. It returns a dictionary of floats:

    - ``blank_share``: the share of frames whose most probable class is the blank. It soon goes to 1, then comes down.
    - ``peakiness``: the mean probability of the most probable class.
    - ``infeasible``: how many samples need more frames than they have.
    - ``loss``: if it was passed.
    - ``path_entropy``: if it is wanted, the entropy of the targets' paths, in nats per frame: near 0 when the network
      is sure where each token stands.
    - ``grad_norm``: the 2-norm of the loss's gradient with respect to the scores. The backward pass adds it to the
      dictionary; or it is there at once, if the call comes after that pass and the scores kept their gradient.

    Of large batches only some frames are looked at, evenly spaced over all samples and others at each step, so that the
    cost stays the same. Shares are then estimates, and so is the gradient's norm, scaled up to all frames.

    When the loss, the scores or the gradient are no longer finite, and when the network collapses to one class, it
    warns with a :class:`ctckit.CTCWarning`, once for either: which step, and what :func:`ctckit.diagnose` says of its
    batch. The first such batch is kept for `report`. Only steps that are measured are looked at, and of the gradient
    some frames. (With half precision's scaled losses, a first gradient that is inf is usual.)

    Args:
        writer: gets each number as ``add_scalar(prefix + name, value, step)``; None writes nowhere.
        every: measures on every `every`-th call; on the others the dictionary is empty. A measurement takes 0.4 to 0.8
            ms on a CPU: raise this where steps are shorter than 30 ms.
        blank: the blank's class.
        prefix: what the writer's names begin with.
        batch_first: scores are (N, T, C), as for :class:`ctckit.torch.CTCLoss`.
        pictures: on every so many measurements, the writer's ``add_image`` gets an alignment (a sample's occupancies by
            state and frame, and its best path), and ``add_histogram`` the samples' shares of blanks; 0 for never.
        lang: the language of warnings and reports, "en" or "zh".
        path_entropy: measures it, which takes up to twice as long as the loss.

    Raises:
        CTCError: for an `every` below 1, or a writer that takes no pictures, if there are to be any.

    Attributes:
        last: the latest numbers.
        step: the number of calls so far.

    Example:
        >>> import ctckit.torch
        >>> logits = torch.zeros(4, 2, 3, requires_grad=True)
        >>> batch = torch.tensor([[1, 2], [2, 2]]), (4, 2), (2, 2)
        >>> monitor = CTCMonitor()
        >>> loss = ctckit.torch.ctc_loss(logits, *batch, from_logits=True, zero_infinity=True)
        >>> stats = monitor(logits, *batch, loss=loss)
        >>> loss.backward()
        >>> {name: round(value, 4) for name, value in stats.items()}
        {'blank_share': 1.0, 'peakiness': 0.3333, 'infeasible': 1.0, 'loss': 0.4216, 'grad_norm': 0.1886}
    """

    @raises_tensor_errors
    def __init__(
        self,
        writer: ScalarWriter | None = None,
        every: int = 1,
        blank: int = 0,
        prefix: str = "ctc/",
        *,
        batch_first: bool = False,
        pictures: int = 0,
        lang: str = "en",
        path_entropy: bool = False,
    ) -> None:
        if pictures and writer is not None and not hasattr(writer, "add_image"):
            raise CTCError(
                f"writer has type {type(writer).__name__}, which has no add_image: expected one that takes pictures, "
                "such as TensorBoard's SummaryWriter, or pictures=0"
            )
        self.pictures = check_integer("pictures", pictures, 0)
        self.path_entropy = check_flag("path_entropy", path_entropy)
        self._alarm = Alarm(check_language(lang))
        self.writer = writer
        self.every = check_integer("every", every, 1)
        self.blank = blank
        self.prefix = prefix
        self.batch_first = batch_first
        self.last: dict[str, float] = {}
        self.step = 0

    @raises_tensor_errors
    def __call__(
        self,
        scores: Tensor,
        targets: Tensor,
        input_lengths: Lengths,
        target_lengths: Lengths,
        loss: Tensor | float | None = None,
    ) -> dict[str, float]:
        """Measures a batch.

        Args:
            scores: (T, N, C) logits or log-probabilities, the tensor itself that the loss got; on any device.
            targets: as for the loss.
            input_lengths: as for the loss.
            target_lengths: as for the loss.
            loss: a scalar to be reported with the rest.

        Raises:
            CTCError: for anything that the loss can't take.
        """
        step, self.step = self.step, self.step + 1
        if step % self.every:
            return {}
        view = self._frames_first(scores.detach())
        integer_arguments = (
            integers("targets", targets),
            integers("input_lengths", input_lengths),
            integers("target_lengths", target_lengths),
        )
        form = check_form(scores, *integer_arguments, self.blank, from_logits=True, batch_first=self.batch_first)
        unread = np.broadcast_to(np.float32(0), tuple(view.shape if form.batched else scores.shape))
        problem = ctc_problem(unread, *integer_arguments, self.blank, from_logits=True, form=form)
        rows = Rows(tuple(view.shape), step // self.every)
        picked = self._picked(view, problem.lattices.frames, rows)
        stats = self.last = self._outputs(picked)
        stats["infeasible"] = float(count_infeasible(problem))
        if loss is not None:
            stats["loss"] = float(loss.detach() if isinstance(loss, Tensor) else loss)
        if self.path_entropy:
            stats["path_entropy"] = self._path_entropy(view, form, problem.lattices.frames, integer_arguments)
        for name, value in stats.items():
            self._write(name, value, step)
        batch = Watched(view if form.batched else scores.detach(), integer_arguments, self.blank, step)
        self._raise_alarm(stats, picked, problem, batch, rows)
        if self.pictures and self.writer is not None and step // self.every % self.pictures == 0:
            self._write_pictures(view, form, problem.lattices.frames, integer_arguments, step)
        self._watch_gradient(scores, stats, rows, batch)
        return stats

    def report(self) -> Diagnosis | None:
        """What is wrong with the batch of the first warning; None if there was none."""
        batch = self._alarm.batch
        return None if batch is None else batch.diagnosis(self._alarm.lang)

    def _frames_first(self, scores: Tensor) -> Tensor:
        """Scores or their gradient as (T, N, C)."""
        if scores.ndim == 2:
            return scores.unsqueeze(1)
        return scores.transpose(0, 1) if self.batch_first else scores

    @staticmethod
    def _picked(scores: Tensor, lengths: Ints, rows: Rows) -> Floats:
        """The rows to look at, without those beyond a sample's frames."""
        picked = rows.of(scores)
        if min(lengths.tolist()) < len(scores):
            picked = picked[rows.frames < lengths[rows.samples]]
        return picked

    def _outputs(self, picked: Floats) -> dict[str, float]:
        if not len(picked):
            return {"blank_share": 0.0, "peakiness": 0.0}
        largest = picked.max(axis=1)
        blanks = int(np.count_nonzero(picked[:, self.blank] == largest))
        with np.errstate(invalid="ignore"):  # NaN in, NaN out
            sure = 1 / np.exp(picked - largest[:, None]).sum(axis=1)  # the softmax of the largest
        return {"blank_share": blanks / len(picked), "peakiness": sum(sure.tolist()) / len(picked)}

    def _path_entropy(self, scores: Tensor, form: Form, frames: Ints, integer_arguments: tuple[Any, ...]) -> float:
        given = scores if form.batched else scores[:, 0]
        targets, lengths, tokens = map(torch.as_tensor, integer_arguments)
        entropy = path_entropy(given, targets, lengths, tokens, self.blank, from_logits=True)
        return float(entropy) / max(int(frames.sum()), 1)

    def _raise_alarm(
        self, stats: dict[str, float], picked: Floats, problem: ArrayProblem, batch: Watched, rows: Rows
    ) -> None:
        """Looks closer only if something may be wrong."""
        if not math.isfinite(stats["peakiness"] + stats.get("loss", 0.0)):
            self._alarm.numbers(stats, lambda: picked, batch)
        elif stats["blank_share"] in (0.0, 1.0) and len(picked):
            tokens = float(problem.lattices.num_tokens.sum()) / rows.scale
            self._alarm.outputs(picked, tokens, batch)

    def _write_pictures(
        self, scores: Tensor, form: Form, frames: Ints, integer_arguments: tuple[Any, ...], step: int
    ) -> None:
        targets = [row.astype(np.int64) for row in split_targets(form, integer_arguments[0], integer_arguments[2])]
        write_pictures(self.writer, self.prefix, scores, targets, frames, self.blank, step)  # type: ignore[arg-type]

    def _watch_gradient(self, scores: Tensor, stats: dict[str, float], rows: Rows, batch: Watched) -> None:
        if (scores.is_leaf or scores.retains_grad) and scores.grad is not None:  # the backward pass is over
            self._add_norm(scores.grad, stats, rows, batch)
        elif scores.requires_grad:

            def once(grad: Tensor) -> None:
                handle.remove()  # a second backward pass through the same graph is not another step
                self._add_norm(grad, stats, rows, batch)

            handle = scores.register_hook(once)  # type: ignore[no-untyped-call]

    def _add_norm(self, grad: Tensor, stats: dict[str, float], rows: Rows, batch: Watched) -> None:
        grad = self._frames_first(grad.detach())
        picked = rows.of(grad).ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            squares = float(picked @ picked)
        stats["grad_norm"] = math.sqrt(squares * rows.scale)
        self._write("grad_norm", stats["grad_norm"], batch.step)
        if not math.isfinite(squares):
            view = batch.scores if batch.scores.ndim == 3 else batch.scores[:, None]
            self._alarm.numbers(stats, lambda: rows.of(view), batch)

    def _write(self, name: str, value: float, step: int) -> None:
        if self.writer is not None:
            self.writer.add_scalar(self.prefix + name, value, step)


def count_infeasible(problem: ArrayProblem) -> int:
    """How many samples need more frames than they have: one per token, and one before each token without a skip."""
    batch = problem.lattices
    if (2 * batch.num_tokens <= batch.frames).all():  # room for a blank after each token, so nothing to count
        return 0
    needed = batch.num_tokens + ((batch.arcs & Arc.SKIP == 0) & (batch.tokens > 0)).sum(axis=1)
    return int((needed > batch.frames).sum())
