"""CTC on PyTorch tensors: a drop-in for ``torch.nn.CTCLoss``, fused with log_softmax on request; a monitor.

May import torch, ctckit.loss and what lies below it.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from ..errors import MissingExtraError

    raise MissingExtraError("ctckit.torch", "torch", "torch") from error

from .distributed import global_mean
from .loss import CTCLoss, ctc_loss
from .monitor import CTCMonitor
from .replacing import replace_torch_ctc

__all__ = ["CTCLoss", "CTCMonitor", "ctc_loss", "global_mean", "replace_torch_ctc"]
