"""The monitor's numbers in Lightning's log. Imported by name only, since few have Lightning; may import it and torch.

The model's ``training_step`` calls the monitor, where logits and targets are known; this callback logs the results,
including the gradient's norm, when the step is over.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

try:
    # The package exists under two names, and many have both; a callback must belong to the one that the trainer comes
    # from.
    if TYPE_CHECKING or "pytorch_lightning" not in sys.modules or "lightning.pytorch" in sys.modules:
        from lightning.pytorch import Callback, LightningModule, Trainer
    else:
        from pytorch_lightning import Callback, LightningModule, Trainer
except ImportError as error:
    from ..errors import MissingExtraError

    raise MissingExtraError("ctckit.torch.lightning", "lightning", error.name or "lightning") from error

from .monitor import CTCMonitor

__all__ = ["CTCMonitorCallback"]


class CTCMonitorCallback(Callback):
    """Logs what a :class:`ctckit.torch.CTCMonitor` measured, after each training step in which it did.

    Args:
        monitor: the one that the model calls between its forward pass and the end of ``training_step``; it needs no
            writer of its own.

    Example:
        >>> from ctckit.torch import CTCMonitor
        >>> monitor = CTCMonitor(every=10)
        >>> callback = CTCMonitorCallback(monitor)  # for Trainer(callbacks=[callback])
    """

    def __init__(self, monitor: CTCMonitor) -> None:
        self.monitor = monitor
        self._logged: dict[str, float] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the last numbers, if they are new."""
        if self.monitor.last is self._logged or not self.monitor.last:
            return
        self._logged = self.monitor.last
        pl_module.log_dict({self.monitor.prefix + name: value for name, value in self.monitor.last.items()})
