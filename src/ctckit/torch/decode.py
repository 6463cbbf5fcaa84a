"""Decodes tensors on any device, with the decoder and the best path of ctckit.decoding.

May import torch, arguments.py, errors.py, ctckit.decoding and what is below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import decoding
from ..decoding import Hypotheses
from ..decoding.beams import Width
from ..decoding.emissions import Emissions, of_arrays, read_emissions
from ..decoding.greedy import of_path, reading, vocabulary_of
from ..decoding.hypothesis import Evidence
from ..language.hotwords import Source
from ..text import Vocabulary
from ..validate import check_flag, check_lattice_form, check_nbest, check_not_probabilities
from .arguments import Lengths, as_frames, check_tensor, frames_first, integers, real_of, unread_frames
from .errors import raises_tensor_errors

_LOOKED_AT = 8  # how many frames are copied from a device to check whether they are probabilities


class Decoder(decoding.Decoder):
    """:class:`ctckit.Decoder` for tensors: the same arguments, and the same results.

    Tensors on the CPU are read without a copy, including bfloat16. Tensors on a GPU are copied once and decoded on the
    CPU. The search uses ``torch.get_num_threads()`` threads. There are no gradients. A :class:`ctckit.Stream` also
    takes tensors.

    Example:
        >>> decoder = Decoder(["<blank>", "a"])
        >>> log_probs = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()
        >>> decoder.decode(log_probs, batch_first=True)[0].text
        'a'
    """

    @raises_tensor_errors
    def decode(  # type: ignore[override]  # tensors only, so that no copy is made silently
        self,
        log_probs: Tensor | Sequence[Tensor],
        input_lengths: Lengths | None = None,
        *,
        from_logits: bool = False,
        nbest: int = 1,
        hotwords: Source | None = None,
        batch_first: bool = False,
    ) -> list[Hypotheses]:
        """Finds the best texts of each sample; see :meth:`ctckit.Decoder.decode`.

        Args:
            log_probs: (T, N, C), time first as everywhere in ctckit, or (T, C) for one sample; or a list of tensors
                (T, C) of different lengths. Any float dtype, strides and device.
            input_lengths: (N,) frames of each sample; all T if not given.
            from_logits: whether ``log_probs`` holds raw scores, which are then normalised.
            nbest: how many texts to return for each sample.
            hotwords: phrases to boost, as in :meth:`ctckit.Decoder.decode`.
            batch_first: whether ``log_probs`` is (N, T, C).

        Raises:
            CTCError: for anything malformed; the message says where.
        """
        nbest = check_nbest(nbest, self.beam_width)
        batches = _read(log_probs, input_lengths, from_logits, len(self.vocabulary.labels), batch_first)
        return self._decoded(batches, nbest, hotwords, torch.get_num_threads())


@raises_tensor_errors
def greedy_decode(
    log_probs: Tensor | Sequence[Tensor],
    input_lengths: Lengths | None = None,
    blank: int = 0,
    *,
    from_logits: bool = False,
    vocabulary: Vocabulary | Sequence[str] | None = None,
    batch_first: bool = False,
) -> list[Hypotheses]:
    """Takes the most probable class of each frame, on the scores' device; see :func:`ctckit.greedy_decode`.

    From a GPU, only these classes and their scores are copied. The other scores of a sample are copied when its words
    or its alignment are asked for.

    Args:
        log_probs: (T, N, C), time first as everywhere in ctckit, or (T, C) for one sample; or a list of tensors (T, C)
            of different lengths. Any float dtype, strides and device.
        input_lengths: (N,) frames of each sample; all T if not given.
        blank: the blank's class; ignored with a vocabulary, whose own blank is used.
        from_logits: whether ``log_probs`` holds raw scores.
        vocabulary: the classes' names, as in :func:`ctckit.greedy_decode`; without it, hypotheses have only tokens.
        batch_first: whether ``log_probs`` is (N, T, C).

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> log_probs = torch.tensor([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.2, 0.1, 0.7]]).log()
        >>> greedy_decode(log_probs, vocabulary=Vocabulary(["<blank>", "h", "i"]))[0].text
        'hi'
    """
    vocabulary = vocabulary_of(vocabulary)
    labels = None if vocabulary is None else len(vocabulary.labels)
    batches = _read(log_probs, input_lengths, from_logits, labels, batch_first, unread=True)
    given = [log_probs] if isinstance(log_probs, Tensor) else log_probs
    found: list[Hypotheses] = []
    for scores, emissions in zip(given, batches, strict=True):
        frames = frames_first(scores.detach(), batch_first and scores.ndim == 3)
        found += _best_paths(frames, emissions, blank, vocabulary)
    return found


def _best_paths(scores: Tensor, emissions: Emissions, blank: int, vocabulary: Vocabulary | None) -> list[Hypotheses]:
    """The best paths of scores (T, N, C)."""
    searched = reading(vocabulary, blank, scores.shape[2])
    step = max(1, scores.shape[0] // _LOOKED_AT)
    name = "logits" if emissions.from_logits else "log_probs"
    check_not_probabilities(name, _memory(scores[::step]), -(-emissions.frames // step), emissions.from_logits)
    best, path = (array.numpy(force=True) for array in scores.to(real_of(scores)).max(-1))
    norms = np.zeros(path.shape)
    if emissions.from_logits:
        norms = scores.to(real_of(scores)).logsumexp(-1).double().numpy(force=True)
    found = []
    for n, used in enumerate(emissions.frames.tolist()):
        sample = emissions.sample(n)
        evidence = Evidence(searched, Width(), partial(_of_memory, scores[:used, n : n + 1], sample))
        found.append(of_path(path[:used, n], best[:used, n].astype(np.float64), norms[:used, n], evidence))
    return found


def _of_memory(scores: Tensor, sample: Emissions) -> Emissions:
    """A sample's emissions, with its scores copied now."""
    return replace(sample, scores=_memory(scores))


def _read(
    log_probs: Tensor | Sequence[Tensor],
    input_lengths: Any,
    from_logits: bool,
    labels: int | None,
    batch_first: bool,
    unread: bool = False,
) -> list[Emissions]:
    """Checks the scores of a call.

    Args:
        log_probs: as the caller passed them.
        input_lengths: as the caller passed them.
        from_logits: whether they are logits.
        labels: how many labels there are; None if that is not known.
        batch_first: whether a batch is (N, T, C).
        unread: whether the emissions have zeros in place of the scores, which are then not copied.
    """
    batch_first = check_flag("batch_first", batch_first)
    if not isinstance(log_probs, (list, tuple)):
        check_tensor("logits" if from_logits else "log_probs", log_probs)
    lengths = None if input_lengths is None else integers("input_lengths", input_lengths)
    if batch_first and isinstance(log_probs, Tensor) and log_probs.ndim == 3:
        check_lattice_form(log_probs, lengths, from_logits=check_flag("from_logits", from_logits), batch_first=True)
        if lengths is None:
            lengths = np.full(log_probs.shape[0], log_probs.shape[1])  # if given, one frame per sample is valid

    def view(name: str, given: Any) -> tuple[Any, npt.NDArray[Any]]:
        check_tensor(name, given)
        scores = given.detach()
        if batch_first and scores.ndim == 3:
            scores = scores.transpose(0, 1)
        if not scores.is_floating_point():
            return of_arrays(name, scores)  # it checks them and raises the error
        return scores, unread_frames(scores, False) if unread else _memory(scores)

    return read_emissions(log_probs, lengths, from_logits, labels, view)


def _memory(scores: Tensor) -> npt.NDArray[Any]:
    """Scores as an array, without a copy if they are on the CPU."""
    return as_frames(scores.detach().cpu(), False)
