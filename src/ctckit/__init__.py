"""ctckit: Connectionist Temporal Classification on NumPy arrays; ``ctckit.torch`` is the same on tensors.

Imports no framework.
"""

from __future__ import annotations

from importlib.metadata import version as _version

from .diagnosis import Diagnosis, Finding, diagnose
from .errors import CTCError
from .explanation import Explanation, explain
from .kernels.native import get_num_threads, set_num_threads
from .lattice import Arc, Lattice, ctc_lattice, frames_needed
from .loss import ctc_loss, ctc_loss_and_grad, posteriors
from .results import LossAndGrad, Posteriors

__version__ = _version("ctckit")

__all__ = [
    "Arc",
    "CTCError",
    "Diagnosis",
    "Explanation",
    "Finding",
    "Lattice",
    "LossAndGrad",
    "Posteriors",
    "ctc_lattice",
    "ctc_loss",
    "ctc_loss_and_grad",
    "diagnose",
    "explain",
    "frames_needed",
    "get_num_threads",
    "posteriors",
    "set_num_threads",
]
