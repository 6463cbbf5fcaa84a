"""Files that people have: scores, batches, labels and text are read, and whatever is written is written whole.

    disk.py     files as bytes and as text
    kaldi.py    archives of matrices, .ark and .scp
    tar.py      shards of webdataset
    parquet.py  tables in Parquet, and the numbers in Arrow's tables
    scores.py   log-probabilities and batches
    recordings.py  sound and images, and where they are in archives and tables
    pipe.py     frames of scores, as they come in
    labels.py   the labels of a recogniser's classes, in the forms that trainings leave behind

Whatever is wrong with a file becomes one `CTCError` that names it. May import errors.py.
"""

from __future__ import annotations

from .disk import (
    GZIP,
    check_file,
    decoded,
    read_bytes,
    read_packed_text,
    read_text,
    unpacked,
    unpacked_pieces,
    unreadable,
    write_whole,
)
from .kaldi import file_of, list_ark, list_scp, list_wav_scp
from .labels import read_labels
from .parquet import SCORES, has_column, list_parquet, numbers_of
from .pipe import read_frames
from .recordings import ENDINGS, Kind, recording_at
from .scores import ARRAYS, StoredBatch, npy_array, read_batch, read_log_probs
from .tar import Sample, list_tar

__all__ = [
    "ARRAYS",
    "ENDINGS",
    "GZIP",
    "SCORES",
    "Kind",
    "Sample",
    "StoredBatch",
    "check_file",
    "decoded",
    "file_of",
    "has_column",
    "list_ark",
    "list_parquet",
    "list_scp",
    "list_tar",
    "list_wav_scp",
    "npy_array",
    "numbers_of",
    "read_batch",
    "read_bytes",
    "read_frames",
    "read_labels",
    "read_log_probs",
    "read_packed_text",
    "read_text",
    "recording_at",
    "unpacked",
    "unpacked_pieces",
    "unreadable",
    "write_whole",
]
