"""CTC on PyTorch tensors: a drop-in for ``torch.nn.CTCLoss``, fused with log_softmax on request, and a monitor.

May import torch, loss.py and what lies below it.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from ..errors import MissingExtraError

    raise MissingExtraError("ctckit.torch", "torch", "torch") from error

from .loss import CTCLoss, ctc_loss
from .monitor import CTCMonitor

__all__ = ["CTCLoss", "CTCMonitor", "ctc_loss"]
