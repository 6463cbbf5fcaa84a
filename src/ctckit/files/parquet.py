"""Tables in Parquet: the facts of each row, and the scores or the recording of one, which a name ``FILE:ROW`` means.

Imports disk.py and errors.py; and pyarrow, when there is a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CTCError, MissingExtraError
from .disk import cause, check_file

SCORES = ("log_probs", "logits", "emissions")  # names of scores' columns; the first that is there counts
RECORDINGS = ("audio", "image")  # names of columns of files, as Hugging Face's datasets have them: bytes and a path


class _Group(NamedTuple):
    """Which of a file's row groups holds a row, and the row's number in it."""

    number: int
    row: int


def list_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row's number, from 0, and its facts: texts, numbers, and lists and structs of these, if they are not null.

    Scores and bytes are not read; of recordings only the paths.

    Raises:
        CTCError: it can't be read.
        MissingExtraError: pyarrow is not installed.
    """
    with _opened(path) as file:
        schema = file.schema_arrow
        scores = _column_of(schema, SCORES)
        names = [field.name for field in schema if field.name != scores and _is_plain(field.type)]
        names += [f"{name}.path" for name in RECORDINGS if name in schema.names and _has_files(schema.field(name).type)]
        number = 0
        for group in range(file.num_row_groups):
            rows = _read(path, file, group, names)
            for facts in rows.to_pylist() if names else [{}] * rows.num_rows:
                yield number, {name: value for name, value in facts.items() if value is not None}
                number += 1


def has_column(path: Path, names: Sequence[str]) -> bool:
    """Whether a table has a column of scores or of recordings.

    Args:
        path: the table.
        names: what the column may be called: `SCORES`, or some of `RECORDINGS`.

    Raises:
        CTCError: it can't be read.
        MissingExtraError: pyarrow is not installed.
    """
    with _opened(path) as file:
        return _column_of(file.schema_arrow, names) is not None


def read_cell(path: Path, row: int, names: Sequence[str] = SCORES) -> Any:
    """The scores of a row: an array, nested lists, or bytes; None if it has none. Or its recording, as a dictionary.

    Its group of rows is read, and kept for the rows that come next.

    Raises:
        CTCError: it can't be read, has no such column, or has no such row.
        MissingExtraError: pyarrow is not installed.
    """
    with _opened(path) as file:
        column = _column_of(file.schema_arrow, names)
        if column is None:
            there = ", ".join(map(repr, file.schema_arrow.names))
            kind = "scores" if names == SCORES else "recordings"
            raise CTCError(f"{path} has no column of {kind}: expected {', '.join(names)}; it has {there}")
        group = _group_of(path, file, row)
    stat = path.stat()
    return numbers_of(_column(path, group.number, column, (stat.st_size, stat.st_mtime_ns))[group.row])


def numbers_of(value: Any) -> Any:
    """A scalar of Arrow's as a Python object; lists of numbers, and lists of equally many, as an array."""
    from pyarrow import compute

    if not (_is_list(value.type) and value.is_valid):
        return value.as_py()
    values = value.values
    if not _is_list(values.type):
        return values.to_numpy(zero_copy_only=False)
    widths = compute.unique(compute.list_value_length(values)).to_pylist()
    if len(widths) != 1 or widths[0] is None or _is_list(values.type.value_type):
        return value.as_py()
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), widths[0])


@lru_cache(maxsize=2)
def _column(path: Path, group: int, name: str, _state: tuple[int, int]) -> Any:
    """A column of a row group; the file's state tells whether what was kept is still right."""
    with _opened(path) as file:
        return _read(path, file, group, [name])[name]


def _group_of(path: Path, file: Any, row: int) -> _Group:
    begun = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if row < begun + rows:
            return _Group(group, row - begun)
        begun += rows
    raise CTCError(f"{path}:{row}: expected a row from 0 to {begun - 1}")


def _opened(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("Reading .parquet files", "parquet", "pyarrow") from None
    check_file(path)
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _read(path: Path, file: Any, group: int, names: list[str]) -> Any:
    import pyarrow

    try:
        return file.read_row_group(group, names)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> CTCError:
    return CTCError(f"{path} is not a readable .parquet file: {cause(error)}; is it complete?")


def _column_of(schema: Any, names: Sequence[str]) -> str | None:
    """The first column with one of these names that has scores, or files."""

    def fits(name: str, kind: Any) -> bool:
        return _has_files(kind) if name in RECORDINGS else _is_list(kind) or _is_bytes(kind)

    return next((name for name in names if name in schema.names and fits(name, schema.field(name).type)), None)


def _has_files(kind: Any) -> bool:
    """Whether these are structs of bytes and a path."""
    from pyarrow import types

    fields = {field.name: field.type for field in kind} if types.is_struct(kind) else {}
    return {"bytes", "path"} <= fields.keys() and _is_bytes(fields["bytes"])


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_plain(kind: Any) -> bool:
    """Whether JSON has such values."""
    from pyarrow import types

    if _is_list(kind) or types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return types.is_null(kind) or any(test(kind) for test in tests)
