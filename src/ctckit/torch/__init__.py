"""CTC on PyTorch tensors: a drop-in for ``torch.nn.CTCLoss``, fused with log_softmax on request; a monitor.

May import torch, ctckit.decoding and what lies below them.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from ..errors import MissingExtraError

    raise MissingExtraError("ctckit.torch", "torch", "torch") from error

from .adapters import replace_torchaudio_align
from .align import LabelsAndScores, forced_align, merge_tokens, posteriors
from .as_torchaudio import CTCDecoder, CTCHypothesis, ctc_decoder
from .calls import last_status
from .decode import Decoder, greedy_decode
from .distributed import global_mean
from .loss import CTCLoss, ctc_loss, lattice_loss
from .monitor import CTCMonitor
from .priors import LabelPriors
from .replacing import replace_torch_ctc
from .stars import with_star
from .stc import star_probability, stc_loss
from .w_ctc import w_ctc_loss

__all__ = [
    "CTCDecoder",
    "CTCHypothesis",
    "CTCLoss",
    "CTCMonitor",
    "Decoder",
    "LabelPriors",
    "LabelsAndScores",
    "ctc_decoder",
    "ctc_loss",
    "forced_align",
    "global_mean",
    "greedy_decode",
    "last_status",
    "lattice_loss",
    "merge_tokens",
    "posteriors",
    "replace_torch_ctc",
    "replace_torchaudio_align",
    "star_probability",
    "stc_loss",
    "w_ctc_loss",
    "with_star",
]
