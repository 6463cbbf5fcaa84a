"""Networks in ONNX files that read images of lines or hear sound, and one of them: PP-OCRv4's.

May import files/ and recogniser.py; onnxruntime is imported when a network is loaded.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from ..files import check_file
from .recogniser import ImageInput, Recogniser, SoundInput

Array = npt.NDArray[np.float32]

_PP_OCR = "rapidocr_onnxruntime"
_SMALLEST = 1e-30  # of a probability, so that it has a logarithm


def onnx(
    path: str | Path,
    takes: SoundInput | ImageInput,
    labels: Sequence[str],
    blank: int,
    step: int,
    *,
    prepare: Callable[[Array], Array] | None = None,
    probabilities: bool = False,
    delay: float = 0.0,
    stretch: float = 0.0,
    batch: int = 1,
) -> Recogniser:
    """A recogniser from an ONNX file with one input; the first of its outputs counts.

    It runs on a GPU if onnxruntime has been installed for one. On a CPU it uses all cores, or as many threads as the
    environment variable OMP_NUM_THREADS says.

    Args:
        path: the file.
        takes: what the network takes.
        labels: (C,) the classes' names.
        blank: the blank's class.
        step: samples, or columns of the scaled image, from one frame to the next.
        prepare: from inputs as a :class:`Recogniser` has them to those of the file. By default, sound is unchanged and
            images are transposed to (N, 3, height, W).
        probabilities: whether the output (N, T, C) is probabilities. Otherwise it is logits or log-probabilities: both
            are normalised.
        delay: as for :class:`Recogniser`.
        stretch: as for :class:`Recogniser`.
        batch: as for :class:`Recogniser`; 1 if the file has a fixed batch size.

    Raises:
        CTCError: the file is not such a network, or a number is out of range.
        MissingExtraError: onnxruntime is not installed.

    Example:
        >>> labels = ["<blank>", *"abcdefghijklmnopqrstuvwxyz "]
        >>> recogniser = onnx("lines.onnx", ImageInput(32), labels, blank=0, step=4)  # doctest: +SKIP
    """
    if prepare is None:
        prepare = _as_it_is if isinstance(takes, SoundInput) else _planes
    network = _Network(_session(Path(path)), prepare, probabilities)
    return Recogniser(network, takes, labels, blank, step, delay, stretch, batch=batch)


def pp_ocr() -> Recogniser:
    """PP-OCRv4's recogniser of lines, Chinese and Latin: 6625 classes, images 48 pixels high, a frame every 8 columns.

    The file is in the package rapidocr-onnxruntime. That is not imported, so its dependencies may be missing.

    Raises:
        MissingExtraError: onnxruntime or rapidocr-onnxruntime is not installed.
        CTCError: that has no such file.

    Example:
        >>> import ctckit
        >>> recogniser = pp_ocr()  # doctest: +SKIP
        >>> found = recognise(recogniser, "line.png")  # doctest: +SKIP
        >>> ctckit.Decoder(recogniser.vocabulary()).decode(found.log_probs)[0].text  # doctest: +SKIP
        'Hello world 2026'
    """
    found = importlib.util.find_spec(_PP_OCR)
    if found is None or found.origin is None:
        raise MissingExtraError("The recogniser pp-ocr", "ocr", "rapidocr-onnxruntime")
    path = Path(found.origin).parent / "models" / "ch_PP-OCRv4_rec_infer.onnx"
    session = _session(path)
    characters = session.get_modelmeta().custom_metadata_map.get("character", "").split("\n")
    labels = ["<blank>", *characters, " "]
    network = _Network(session, _as_pp_ocr, probabilities=True)
    delay, stretch = 4.0, 13.0  # columns; how they were measured: docs/recognisers.md
    return Recogniser(network, ImageInput(48), labels, 0, step=8, delay=delay, stretch=stretch, piece=400, overlap=40)


class _Network:
    def __init__(self, session: Any, prepare: Callable[[Array], Array], probabilities: bool) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._prepare = prepare
        self._probabilities = probabilities

    def __call__(self, inputs: Array) -> Array:
        try:
            (found,) = self._session.run([self._output], {self._input: np.ascontiguousarray(self._prepare(inputs))})
        except Exception as error:  # onnxruntime has a class for each of its codes, and no common one
            raise CTCError(f"the network can't take an input of shape {inputs.shape}: {error}") from None
        scores: Array = np.asarray(found, np.float32)
        if self._probabilities:
            log_probs: Array = np.log(scores.clip(_SMALLEST, 1))
            return log_probs
        scores = scores - scores.max(axis=-1, keepdims=True)
        normalised: Array = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
        return normalised


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("Running .onnx files", "onnx", "onnxruntime") from None
    check_file(path)
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():  # as torch does; onnxruntime by itself takes all cores, in each of a job's workers
        options.intra_op_num_threads = int(threads)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # as above
        raise CTCError(f"{path} is not a readable ONNX file: {error}") from None
    if len(session.get_inputs()) != 1:
        names = ", ".join(each.name for each in session.get_inputs())
        raise CTCError(f"{path} has {len(session.get_inputs())} inputs ({names}): expected one")
    return session


def _as_it_is(sound: Array) -> Array:
    return sound


def _planes(images: Array) -> Array:
    """From (N, W, height, 3) to (N, 3, height, W)."""
    planes: Array = images.transpose(0, 3, 2, 1)
    return planes


def _as_pp_ocr(images: Array) -> Array:
    """Blue, green and red, from -1 to 1."""
    scaled: Array = _planes(images)[:, ::-1] * 2 - 1
    return scaled
