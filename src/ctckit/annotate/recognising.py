"""Runs a recogniser on the rows of a table, a batch at a time: the step before AlignBatch and DecodeBatch.

Imports row_by_row.py, columns.py, recognisers/ and errors.py, and no framework.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..recognisers import Opened, Recogniser, SoundInput, recognise
from ..recognisers.named import shared
from .columns import array_of
from .row_by_row import Row, RowByRow

_LOADING = threading.Lock()
_TIMES = ("frame_shift", "delay", "stretch")  # results, in seconds


class RecogniseBatch(RowByRow):
    """Turns recordings or images into scores, a batch at a time: a function for ``map_batches``, ``map`` and the like.

    It can be pickled, and several threads may call it. The network is not pickled: each process loads it when it does
    its first batch. A row's recording, or image of a line, is

    - the path of a file;
    - the bytes of a file;
    - a struct ``{"bytes", "path"}``, as Hugging Face's datasets keep both;
    - a recording's samples (M,), floats from -1 to 1 or integers, with their `rate`; or a struct
      ``{"array", "sampling_rate"}``.

    The result has the batch's columns without the recordings or images, and:

    - ``log_probs``: the scores (T, C) of a row, float32; in Arrow a flat list of T · C numbers;
    - ``frame_shift``: seconds from one frame to the next; for an image, pixels of the file;
    - ``delay``: by which a token's first frame usually comes after its beginning, in the same unit;
    - ``stretch``: by which a token usually goes on after its last frame, in the same unit;
    - ``error``: why a row could not be recognised, else "". Such a row has no frames, and NaN as numbers. Rows that had
      an error before keep it.

    The next step, :class:`AlignBatch` or :class:`DecodeBatch`, takes the scores off and passes errors on.

    Args:
        recogniser: ``hama``, ``pp-ocr`` or a folder with a network of transformers; a function that makes a
            :class:`ctckit.recognisers.Recogniser`, or one that can be pickled.
        source: the column of the recordings or images.
        rate: samples a second, if the rows are samples; or the column that has them for each row.
        prefix: put before the names of the results.

    Example:
        >>> from ctckit.annotate import AlignBatch
        >>> from ctckit.recognisers import SoundInput
        >>> def loud(samples):
        ...     level = np.abs(samples.reshape(len(samples), -1, 160)).mean(axis=2)
        ...     return np.log(np.stack([1 - level, level], axis=2))
        >>> heard = Recogniser(loud, SoundInput(16000), ["<blank>", "a"], blank=0, step=160)
        >>> done = RecogniseBatch(lambda: heard, rate=16000)({"audio": [np.full(480, 0.75)], "text": ["a"]})
        >>> list(done)
        ['text', 'log_probs', 'frame_shift', 'delay', 'stretch', 'error']
        >>> done["log_probs"][0].shape, done["frame_shift"].tolist()
        ((3, 2), [0.01])
        >>> align = AlignBatch(heard.vocabulary(), "frame_shift", delay="delay", stretch="stretch")
        >>> align(done)["ends"][0].tolist()
        [0.03]
    """

    def __init__(
        self,
        recogniser: str | Path | Recogniser | Callable[[], Recogniser],
        *,
        source: str = "audio",
        rate: int | str | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__(source, prefix)
        self._given = recogniser
        self._made: Recogniser | None = None
        self._rate = rate

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": None}

    def _inputs(self) -> list[str]:
        return [self._taken, self._rate] if isinstance(self._rate, str) else [self._taken]

    def _failed(self) -> Row:
        return {"log_probs": np.zeros((0, 0), np.float32), **dict.fromkeys(_TIMES, math.nan)}

    def __call__(self, batch: Any) -> Any:
        """Does a batch; see :meth:`RowByRow.__call__`.

        Raises:
            CTCError: a column is missing or has the name of a result, or the recogniser is unknown.
            MissingExtraError: a package that the recogniser or the recordings need is not installed.
        """
        self._recogniser()
        return super().__call__(batch)

    def _done(self, row: Row) -> Row:
        recogniser = self._recogniser()
        rate = row[self._rate] if isinstance(self._rate, str) else self._rate
        where = _source_of(row[self._taken], self._taken, rate, isinstance(recogniser.takes, SoundInput))
        found = recognise(recogniser, where)
        return {"log_probs": found.log_probs, **{name: getattr(found, name) for name in _TIMES}}

    def _recogniser(self) -> Recogniser:
        if isinstance(self._given, Recogniser):
            return self._given
        if isinstance(self._given, (str, Path)):
            return shared(str(self._given))
        with _LOADING:
            self._made = self._made or self._given()
        return self._made


def _source_of(value: Any, name: str, rate: Any, is_sound: bool) -> Path | Opened:
    """A row's recording or image, as a file."""
    label = repr(name)
    if isinstance(value, Mapping):
        if value.get("array") is not None:
            return _source_of(value["array"], name, value.get("sampling_rate"), is_sound)
        path = value.get("path")
        value = path if value.get("bytes") is None else value["bytes"]
        label = str(path or label)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Opened(io.BytesIO(value), label)
    if isinstance(value, (str, Path)):
        return Path(value)
    if is_sound and isinstance(value, (list, np.ndarray)):
        return _file_of(_samples(value, name), rate, name)
    kinds = "a path, a file's bytes or samples" if is_sound else "a path or a file's bytes"
    raise CTCError(f"{name!r} holds {'no value' if value is None else type(value).__name__}: expected {kinds}")


def _samples(value: Any, name: str) -> npt.NDArray[Any]:
    samples = array_of(value, name)
    if samples.ndim != 1 or samples.dtype.kind not in "fi":
        raise CTCError(
            f"{name!r} holds samples of {samples.dtype}, shape {samples.shape}: expected those of one channel, (M,), "
            "floats from -1 to 1 or signed integers"
        )
    if samples.dtype.kind == "i":
        samples = samples / float(-np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)


def _file_of(samples: npt.NDArray[np.float32], rate: Any, name: str) -> Opened:
    """Samples as a file in memory, so that they go the way of all recordings."""
    import soundfile

    if not (isinstance(rate, (int, float, np.number)) and 0 < rate < 2**31 and float(rate).is_integer()):
        raise CTCError(f"{name!r} holds samples, and their rate is {rate!r}: expected samples a second, a whole number")
    file = io.BytesIO()
    soundfile.write(file, samples, int(rate), format="WAV", subtype="FLOAT")
    return Opened(file, repr(name))
