"""The phone recogniser of the package hama: English and Korean, 16 kHz, a frame every 20 ms. It needs only NumPy.

May import recogniser.py; hama is imported when the recogniser is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from .recogniser import Recogniser, SoundInput

_RENAMED = {
    "<wb>": "|",
    " ": "<unused>",
}  # the class between words is called as Vocabulary expects it; the other is never used
_STEP = 320  # samples
_LONGEST = 1500  # frames; the package leaves out what comes after them, without a word
_DELAY, _STRETCH = 0.10, 0.25  # seconds; how they were measured: docs/recognisers.md


def hama() -> Recogniser:
    """The phone recogniser of the package hama. Texts are spelled in phones by its text-to-phones network.

    Raises:
        MissingExtraError: hama is not installed.
        CTCError: hama has no network for this machine.

    Example:
        >>> recogniser = hama()  # doctest: +SKIP
        >>> transcript = recogniser.vocabulary().transcribe("ten meters")  # doctest: +SKIP
        >>> [recogniser.labels[token] for token in transcript.tokens]  # doctest: +SKIP
        ['t', 'ɛ', 'n', '|', 'm', 'i', 't', 'ɝ', 'z']
    """
    try:
        from hama.asr import ASRModel

        model = ASRModel()
        labels = [_RENAMED.get(label, label) for label in model.decoder_tokens]
        speller = _Speller(frozenset(labels))
    except ImportError:
        raise MissingExtraError("The recogniser hama", "hama", "hama") from None
    except (RuntimeError, OSError) as error:
        raise CTCError(f"hama can't be loaded here: {error}; it has builds for Linux and macOS") from None
    return Recogniser(
        _Network(model),
        SoundInput(model.model_sample_rate),
        labels,
        model.blank_id,
        _STEP,
        delay=_DELAY,
        stretch=_STRETCH,
        piece=1400,
        speller=speller,
    )


class _Network:
    def __init__(self, model: Any) -> None:
        self._session = model.session

    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """One piece after the other: hama takes no batches."""
        return np.concatenate([self._one(each) for each in samples])

    def _one(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if len(samples) > _LONGEST * _STEP:
            raise CTCError(
                f"hama hears at most {_LONGEST} frames at a time, and this piece has {len(samples) / _STEP:.0f}: "
                f"choose a shorter one, piece={_LONGEST}"
            )
        inputs = {"waveform": samples[None].clip(-1, 1), "waveform_lengths": np.array([len(samples)])}
        found: npt.NDArray[np.float32] = self._session.run(["log_probs"], inputs)[0]
        return np.minimum(found, 0)


class _Speller:
    """The phones of a word. Digits have none: which words they are depends on the text.

    It can be pickled, so that a job's workers spell as the job does: each loads the network of phones itself.
    """

    def __init__(self, labels: frozenset[str]) -> None:
        from hama import G2PModel

        self._predict = lru_cache(maxsize=65536)(G2PModel().predict)
        self._labels = labels

    def __reduce__(self) -> tuple[type[_Speller], tuple[frozenset[str]]]:
        return _Speller, (self._labels,)

    def __call__(self, word: str) -> Sequence[str]:
        if any(letter.isdecimal() for letter in word):
            return ()
        found = [part.phoneme for part in self._predict(word.lower()).alignments]
        return found if self._labels.issuperset(found) else ()
