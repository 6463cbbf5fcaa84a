"""Scores and batches from files: ``.npy``, ``.npz``, tables of numbers, ``.pt``, ``.safetensors``, archives, Parquet.

May import kaldi.py, parquet.py, disk.py, bfloat16.py and errors.py; the packages for ``.pt`` and ``.safetensors`` are
imported when such a file is read.
"""

from __future__ import annotations

import json
import pickle
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats
from ..errors import CTCError, MissingExtraError
from .disk import cause, check_file, read_text
from .kaldi import file_of, read_matrix
from .parquet import read_cell

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

_ONLY = ""  # the name of an array in a file that holds one without a name
_SCORES = ("log_probs", "logits", "emissions")  # names of a batch's scores; the first of them that is there counts
_REQUIRED = ("targets", "input_lengths", "target_lengths")


class StoredBatch(NamedTuple):
    """A batch as a file holds it. It is complete; its values have not been checked.

    Attributes:
        scores: (T, N, C), or (T, C).
        targets: (N, S), or one dimension.
        input_lengths: (N,) frames.
        target_lengths: (N,) tokens.
        blank: the blank's class, or None if the file doesn't say.
        from_logits: the scores are logits.
    """

    scores: Array
    targets: Array
    input_lengths: Array
    target_lengths: Array
    blank: int | None
    from_logits: bool


def read_log_probs(path: str | Path) -> Array:
    r"""One array of scores: ``.npy``, ``.npz``, ``.csv``, ``.tsv``, ``.txt``, ``.pt``, ``.pth`` or ``.safetensors``.

    Args:
        path: the file. An archive must hold one array only. Text holds a frame a line: its classes' numbers, between
            commas or semicolons (``.csv``), tabs (``.tsv``) or spaces (``.txt``). Of Kaldi's archives it is
            ``FILE:OFFSET``, as their ``.scp`` says; of a webdataset's ``.tar`` likewise; of a ``.parquet``,
            ``FILE:ROW``, counted from 0.

    Returns:
        (T, C) or (T, N, C), floats.

    Raises:
        CTCError: for a file that can't be read, or holds something else.
        MissingExtraError: when the package that reads this format is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "x.csv"
        ...     _ = file.write_text("-2.2892, -0.1069\n-1.6550, -0.2121\n")
        ...     read_log_probs(file)
        array([[-2.2892, -0.1069],
               [-1.655 , -0.2121]])
    """
    path = Path(path)
    if file_of(path) != path:
        arrays = {_ONLY: _read_place(path)}
    else:
        arrays = _read(path, _READERS | dict.fromkeys(_SEPARATORS, _read_table))
    if len(arrays) != 1:
        names = ", ".join(map(repr, arrays)) or "none"
        raise CTCError(f"{path} holds {len(arrays)} arrays ({names}): expected one, the log-probabilities")
    (array,) = arrays.values()
    if array.dtype.kind not in "fiu":
        raise CTCError(f"{path} holds an array of dtype {array.dtype}: expected floats, a score for each class")
    if array.ndim not in (2, 3) or array.size == 0:
        raise CTCError(
            f"{path} holds an array of shape {array.shape}: expected (T, C) frames x classes, or (T, N, C), "
            "none of them 0"
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def read_batch(path: str | Path, *, from_logits: bool = False) -> StoredBatch:
    """A batch from an ``.npz``, ``.pt``, ``.pth`` or ``.safetensors`` file.

    It must hold ``targets``, ``input_lengths``, ``target_lengths`` and scores, and may hold ``blank``; anything else in
    it is ignored. Scores are ``log_probs``, ``logits`` or ``emissions``, the first of these that is there; where logits
    are wanted, ``logits``, ``emissions`` or ``log_probs``. ``logits`` are logits without being said to be.

    Args:
        path: the file.
        from_logits: the scores are said to be logits, whatever their name is.

    Raises:
        CTCError: for a file that can't be read, or lacks one of them.
        MissingExtraError: when the package that reads this format is not installed.
    """
    path = Path(path)
    arrays = _read(path, {suffix: read for suffix, read in _READERS.items() if suffix != ".npy"})
    wanted = (*_SCORES[1:], _SCORES[0]) if from_logits else _SCORES
    named = next((name for name in wanted if name in arrays), None)
    missing = [*([] if named else [_SCORES[0]]), *(name for name in _REQUIRED if name not in arrays)]
    if named is None or missing:
        there = ", ".join(map(repr, sorted(arrays))) if arrays and _ONLY not in arrays else "no names"
        raise CTCError(
            f"{path} lacks {', '.join(map(repr, missing))}: expected log_probs (or logits, or emissions), "
            f"{', '.join(_REQUIRED)} and, if it is not 0, blank; it has {there}"
        )
    blank = arrays.get("blank")
    if blank is not None and (blank.size != 1 or blank.dtype.kind not in "iu"):
        raise CTCError(f"{path}: blank has shape {blank.shape} and dtype {blank.dtype}: expected one integer")
    targets, input_lengths, target_lengths = (arrays[name] for name in _REQUIRED)
    return StoredBatch(
        arrays[named],
        targets,
        input_lengths,
        target_lengths,
        blank=None if blank is None else int(blank.item()),
        from_logits=from_logits or named == "logits",
    )


Reader = Callable[[Path], Arrays]
_HINTS = {
    ".ark": ", or FILE:OFFSET for one matrix of an archive",
    ".tar": ", or FILE:OFFSET for one .npy of a shard",
    ".parquet": ", or FILE:ROW for one row of a table",
}


def _read(path: Path, readers: Mapping[str, Reader]) -> Arrays:
    reader = readers.get(path.suffix.lower())
    if reader is None:
        hint = _HINTS.get(path.suffix.lower(), "")
        raise CTCError(f"{path} has the suffix {path.suffix!r}: expected one of {', '.join(readers)}{hint}")
    check_file(path)
    return reader(path)


def _damaged(path: str | Path, error: Exception, suffix: str = "") -> CTCError:
    form = suffix or Path(path).suffix.lower()
    return CTCError(
        f"{path} is not a readable {form} file: {cause(error)}; is it complete, and does its suffix match its content?"
    )


def _objects(path: str | Path) -> CTCError:
    return CTCError(
        f"{path} holds pickled Python objects, which may run code when read: expected plain numbers; save an array or "
        "tensor of numbers"
    )


def _read_place(path: Path) -> Array:
    """The array at a place in an archive or a table."""
    file, number = file_of(path), int(str(path).rpartition(":")[2])
    suffix = file.suffix.lower()
    if suffix == ".tar":
        return _read_at(file, number, path)
    return _of_cell(read_cell(file, number), path) if suffix == ".parquet" else read_matrix(path)


def _read_at(file: Path, offset: int, path: Path) -> Array:
    check_file(file)
    with file.open("rb") as opened:
        opened.seek(offset)
        return npy_of(opened, path)


def _of_cell(cell: Any, path: Path) -> Array:
    if isinstance(cell, bytes):
        return npy_array(cell, str(path))
    if cell is None:
        raise CTCError(f"{path} holds no scores there: expected a list of frames, or the bytes of a .npy file")
    try:
        return np.asarray(cell)
    except ValueError:
        raise CTCError(f"{path} has frames of different lengths: expected all classes in each frame") from None


def npy_array(data: bytes, name: str) -> Array:
    """The array in the bytes of a ``.npy`` file; ``name`` says in an error whose bytes these are.

    Raises:
        CTCError: they are something else, or not all of it.
    """
    return npy_of(BytesIO(data), name)


def npy_of(file: BinaryIO, name: str | Path) -> Array:
    """The array of a ``.npy`` file that begins at the file's position."""
    start = file.tell()
    if file.read(6) != b"\x93NUMPY":  # np.load would take it for a pickle, or for an archive
        raise _damaged(name, ValueError("it does not begin as NumPy files do"), ".npy")
    file.seek(start)
    array: Array = _loaded(name, lambda: np.load(file, allow_pickle=False), ".npy")
    return array


def _read_npy(path: Path) -> Arrays:
    with path.open("rb") as file:
        return {_ONLY: npy_of(file, path)}


def _read_npz(path: Path) -> Arrays:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, ValueError("it is not a zip archive"))
    with _loaded(path, lambda: np.load(path, allow_pickle=False)) as archive:
        arrays = {name: _loaded(path, partial(archive.__getitem__, name)) for name in archive.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise CTCError(f"{path}: {name!r} is not an array: expected NumPy arrays only; save them with numpy.savez")
    return arrays


# What NumPy raises for damaged files, from a truncated header to a stream that can't be decompressed.
_UNREADABLE = (ValueError, OSError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error, tokenize.TokenError)


# NumPy's headers are Python literals, and ast.literal_eval may fail if several threads call it at once ("AST
# constructor recursion depth mismatch", python/cpython#106905): seen about once in two thousand files.
_ONE_AT_A_TIME = threading.Lock()


def _loaded(path: str | Path, load: Callable[[], Any], suffix: str = "") -> Any:
    try:
        with _ONE_AT_A_TIME:
            return load()
    except (*_UNREADABLE, MemoryError) as error:
        if "allow_pickle" in str(error):
            raise _objects(path) from None
        raise _damaged(path, error, suffix) from None


def _read_pt(path: Path) -> Arrays:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("Reading .pt files", "torch", "torch") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # A zip archive, or an old file's magic number: torch wrote it, so it is the content that is refused.
        raise (_objects(path) if zipfile.is_zipfile(path) else _damaged(path, error)) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from None
    if not isinstance(found, (torch.Tensor, dict)):
        raise CTCError(f"{path} holds a {type(found).__name__}: expected a tensor, or a dictionary of tensors")
    arrays = {}
    for name, value in (found if isinstance(found, dict) else {_ONLY: found}).items():
        if isinstance(value, torch.Tensor):
            arrays[str(name)] = _from_tensor(path, str(name), value.float() if value.dtype == torch.bfloat16 else value)
        elif isinstance(value, (int, list, tuple)):  # lengths and blanks, as people keep them
            arrays[str(name)] = _rectangular(path, str(name), value)
    return arrays


def _from_tensor(path: Path, name: str, tensor: Any) -> Array:
    try:
        array: Array = tensor.numpy(force=True)
    except (TypeError, RuntimeError, NotImplementedError):
        raise CTCError(
            f"{path}: {name!r} is a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}: expected a dense "
            "one of plain numbers, which an array can hold"
        ) from None
    return array


def _rectangular(path: Path, name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError:
        raise CTCError(f"{path}: {name!r} is not a rectangular list of numbers; pad its rows to one length") from None


def _read_safetensors(path: Path) -> Arrays:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("Reading .safetensors files", "files", "safetensors") from None
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: _from_safetensors(path, name, file) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from None


def _from_safetensors(path: Path, name: str, file: Any) -> Array:
    kind = file.get_slice(name).get_dtype()
    if kind == "BF16":
        return _from_bfloat16(path, name)
    if kind not in ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"):
        raise CTCError(f"{path}: {name!r} has dtype {kind}, which NumPy lacks: save it as float32")
    array: Array = file.get_tensor(name)
    return array


def _from_bfloat16(path: Path, name: str) -> Array:
    """An array that NumPy has no dtype for, as float32; the file has been checked."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")  # of the header, which the data follow
        stored = json.loads(file.read(length))[name]
        begin, end = stored["data_offsets"]
        file.seek(8 + length + begin)
        halves = np.frombuffer(file.read(end - begin), "<u2")
    array: Array = as_floats(halves.astype(np.uint16)).reshape(stored["shape"])
    return array


_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": None}  # None: any white space


def _read_table(path: Path) -> Arrays:
    """Rows of numbers, all of the same length; empty lines are skipped."""
    rows: list[list[float]] = []
    first = 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        row = [_number(path, number, column, cell) for column, cell in enumerate(_cells(path, line), start=1)]
        first = first or number
        if rows and len(row) != len(rows[0]):
            raise CTCError(
                f"{path}, line {number} has {len(row)} numbers: expected {len(rows[0])}, as on line {first}; every "
                "frame has all classes"
            )
        rows.append(row)
    if not rows:
        raise CTCError(f"{path} holds no numbers: expected a line for each frame")
    return {_ONLY: np.array(rows)}


def _cells(path: Path, line: str) -> list[str]:
    separator = _SEPARATORS[path.suffix.lower()]
    if separator == "," and ";" in line:  # spreadsheets write this in countries with a decimal comma
        return line.replace(",", ".").split(";")
    return line.split(separator)


def _number(path: Path, line: int, column: int, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        hint = "; remove the heading" if line == 1 else ""
        raise CTCError(f"{path}, line {line}, column {column}: {cell.strip()!r} is not a number{hint}") from None


_READERS: dict[str, Reader] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".safetensors": _read_safetensors,
}
ARRAYS = tuple(_READERS)  # suffixes of files that hold arrays and nothing else
