"""Does the rows of a table one by one, a batch at a time, with errors as a column.

One bad recording in ten thousand hours must not end a job. Imports columns.py, validate/ and errors.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from ..errors import CTCError, MissingExtraError
from .columns import Batch, names_of, values_of, with_results

Row = dict[str, Any]


class RowByRow(ABC):
    """What the callables for tables share: reads columns, does each row, and puts the results into columns.

    Args:
        taken: the column that the result does not have.
        prefix: put before the names of the results.
    """

    def __init__(self, taken: str, prefix: str) -> None:
        self._taken = taken
        self._prefix = prefix

    @abstractmethod
    def _inputs(self) -> list[str]:
        """The columns that are read."""

    @abstractmethod
    def _failed(self) -> Row:
        """The results for a row that can't be done, without its error; their types are those of the columns."""

    @abstractmethod
    def _done(self, row: Row) -> Row:
        """The results for a row; it may raise anything."""

    def __call__(self, batch: Batch) -> Any:
        """Does a batch.

        Args:
            batch: columns of equal lengths, by name: arrays or lists, a pandas DataFrame, or a table or record batch of
                pyarrow.

        Returns:
            All columns except the one that was done, and those of the results: a table or record batch of pyarrow if it
            was given one, else a dict.

        Raises:
            CTCError: a column is missing, or has the name of a result. What is wrong with a row raises nothing.
        """
        failed = self._failed()
        self._check(names_of(batch), list(failed))
        done = [self._row(row, earlier, failed) for row, earlier in self._rows(batch)]
        columns = {name: ([row[name] for row in done], example) for name, example in (failed | {"error": ""}).items()}
        return with_results(batch, self._taken, {self._prefix + name: column for name, column in columns.items()})

    def _check(self, names: list[str], results: list[str]) -> None:
        there = ", ".join(map(repr, names)) or "none"
        for name in self._inputs():
            if name not in names:
                raise CTCError(f"the batch has no column {name!r}: expected one; it has {there}")
        for name in results:
            if self._prefix + name in names:
                raise CTCError(
                    f"the batch has a column {self._prefix + name!r} already, which the result would replace: remove "
                    "it, or pass prefix='ctc_' for other names"
                )

    def _rows(self, batch: Batch) -> Iterator[tuple[Row, Any]]:
        """Each row, with the error that it has had before."""
        columns = {name: values_of(batch, name) for name in self._inputs()}
        sizes = {name: len(values) for name, values in columns.items()}
        if len(set(sizes.values())) > 1:
            raise CTCError(f"the batch has columns of different lengths: {sizes}: expected a value for each row")
        name = self._prefix + "error"
        errors = values_of(batch, name) if name in names_of(batch) else [""] * next(iter(sizes.values()))
        for values, error in zip(zip(*columns.values(), strict=True), errors, strict=True):
            if not (error is None or isinstance(error, str)):
                raise CTCError(
                    f"the batch has a column {name!r} that holds {error!r}: expected the errors of an earlier step, "
                    "which are texts; remove it, or pass prefix='ctc_' for other names"
                )
            yield dict(zip(columns, values, strict=True)), error

    def _row(self, row: Row, earlier: str | None, failed: Row) -> Row:
        if earlier:
            return failed | {"error": earlier}
        try:
            return self._done(row) | {"error": ""}
        except MissingExtraError:  # no row could be done
            raise
        except CTCError as error:
            reason = str(error)
        except Exception as error:  # an error of this row must not stop the others
            reason = f"unexpected {type(error).__name__}: {error}"
        return failed | {"error": reason}
