"""ctckit: Connectionist Temporal Classification on NumPy arrays; ``ctckit.torch`` is the same on tensors.

Imports the modules beside it and their packages, no framework.
"""

from __future__ import annotations

from importlib.metadata import version as _version

from .align import Alignment, Alignments, forced_align
from .decoding import Decoder, Hypotheses, Hypothesis, Stream, Tuned, greedy_decode, rescore, tune
from .diagnosis import Diagnosis, Finding, diagnose
from .errors import CTCError, CTCWarning, InfeasibleError
from .explanation import Explanation, SearchExplanation, explain, explain_search
from .kernels.native import get_num_threads, set_num_threads
from .language import LanguageModel, Lexicon, PrefixModel
from .lattice import STAR, Arc, Lattice, LatticeBuilder, ctc_lattice, delay_scores, frames_needed, risk_scores
from .loss import ctc_loss, ctc_loss_and_grad, lattice_loss, lattice_loss_and_grad, path_entropy, posteriors
from .results import LatticeLossAndGrad, LossAndGrad, Posteriors, Segment, Status, TokenSpan
from .stars import with_star
from .text import Transcript, Vocabulary

__version__ = _version("ctckit")

__all__ = [
    "STAR",
    "Alignment",
    "Alignments",
    "Arc",
    "CTCError",
    "CTCWarning",
    "Decoder",
    "Diagnosis",
    "Explanation",
    "Finding",
    "Hypotheses",
    "Hypothesis",
    "InfeasibleError",
    "LanguageModel",
    "Lattice",
    "LatticeBuilder",
    "LatticeLossAndGrad",
    "Lexicon",
    "LossAndGrad",
    "Posteriors",
    "PrefixModel",
    "SearchExplanation",
    "Segment",
    "Status",
    "Stream",
    "TokenSpan",
    "Transcript",
    "Tuned",
    "Vocabulary",
    "ctc_lattice",
    "ctc_loss",
    "ctc_loss_and_grad",
    "delay_scores",
    "diagnose",
    "explain",
    "explain_search",
    "forced_align",
    "frames_needed",
    "get_num_threads",
    "greedy_decode",
    "lattice_loss",
    "lattice_loss_and_grad",
    "path_entropy",
    "posteriors",
    "rescore",
    "risk_scores",
    "set_num_threads",
    "tune",
    "with_star",
]
