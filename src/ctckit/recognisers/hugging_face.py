"""Networks of the package transformers: any `…ForCTC` that hears sound, from a local folder.

May import files/ and recogniser.py; transformers and torch are imported when a network is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from ..files.disk import cause
from .recogniser import Recogniser, SoundInput

_PROBED = (2, 4)  # seconds of silence, whose frames are counted where the configuration doesn't say the step


def transformers(
    folder: str | Path,
    *,
    device: str | None = None,
    delay: float = 0.0,
    stretch: float = 0.0,
    batch: int | None = None,
) -> Recogniser:
    """A recogniser from a folder that ``save_pretrained`` has written: network, tokenizer and feature extractor.

    A network whose feature extractor normalises loudness, or that attends to the whole recording, gives slightly other
    scores for a recording in pieces (of 1500 frames) than for the whole.

    Args:
        folder: a local folder; nothing is downloaded.
        device: torch's name of a device; by default a GPU if there is one.
        delay: seconds; as for :class:`Recogniser`.
        stretch: seconds; as for :class:`Recogniser`.
        batch: pieces of a long recording at a time; by default 8 on a GPU, else 1.

    Raises:
        CTCError: it is not such a folder.
        MissingExtraError: transformers or torch is not installed.

    Example:
        >>> recogniser = transformers("wav2vec2-base-960h", device="cpu")  # doctest: +SKIP
        >>> recogniser.frame_shift  # doctest: +SKIP
        0.02
    """
    try:
        import torch
        from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("Networks of transformers", "transformers", error.name or "transformers") from None
    if not Path(folder).is_dir():
        raise CTCError(f"{folder} is not a folder: expected one that save_pretrained has written")
    try:
        kinds = (AutoFeatureExtractor, AutoTokenizer, AutoModelForCTC)
        extractor, tokenizer, model = (_loaded(kind, folder) for kind in kinds)
    except (OSError, ValueError, KeyError) as error:
        raise CTCError(
            f"{folder} has no network with CTC outputs, tokenizer and feature extractor: {cause(error)}"
        ) from None
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = _Network(model.eval().to(device), extractor, device)
    return Recogniser(
        network,
        SoundInput(extractor.sampling_rate),
        _labels(tokenizer, model.config.vocab_size),
        model.config.pad_token_id,
        step=getattr(model.config, "inputs_to_logits_ratio", None) or _step(network, extractor.sampling_rate),
        delay=delay,
        stretch=stretch,
        batch=batch or (1 if device == "cpu" else 8),
    )


def _loaded(kind: Any, folder: str | Path) -> Any:
    return kind.from_pretrained(str(folder), local_files_only=True)


def _labels(tokenizer: Any, classes: int) -> list[str]:
    """The classes' names; those that the tokenizer lacks are called ``<unused 5>``."""
    names = {token: name for name, token in tokenizer.get_vocab().items()}
    return [names.get(token, f"<unused {token}>") for token in range(classes)]


def _step(network: _Network, rate: int) -> int:
    """Samples from one frame to the next, by counting frames."""
    short, long = (len(network(np.zeros((1, seconds * rate), np.float32))[0]) for seconds in _PROBED)
    return round((_PROBED[1] - _PROBED[0]) * rate / (long - short))


class _Network:
    def __init__(self, model: Any, extractor: Any, device: str) -> None:
        self._model = model
        self._extractor = extractor
        self._device = device

    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        import torch

        features = self._extractor(list(samples), sampling_rate=self._extractor.sampling_rate, return_tensors="pt")
        inputs = features[self._extractor.model_input_names[0]].to(self._device)
        with torch.inference_mode():
            logits = self._model(inputs).logits
        found: npt.NDArray[np.float32] = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
        return found
