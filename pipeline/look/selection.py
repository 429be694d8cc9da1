"""Some columns and rows of an artifact, in the library that is asked for.

Invariant: what comes is what the same columns and rows of the whole would be; of a table in the store
only the chunks that hold them are read, of a Parquet file only its row groups and columns.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from aq.formats.errors import AqError, NotFound, UsageError, with_article
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.pipeline.flow.hints import Form
from aq.pipeline.step import inputs, parsing

if TYPE_CHECKING:
    import pyarrow as pa

Rows = slice | range
"""Rows by position; of a slice, negative ones count from the end."""


class Parts(TypedDict, total=False):
    """What may be asked for of a table."""

    columns: Sequence[str] | None
    rows: Rows | None


def span(rows: Rows, total: int) -> tuple[int, int]:
    """The first of `total` rows that is meant, and the one past the last. Raises UsageError on steps."""
    if isinstance(rows, range):
        rows = slice(rows.start, max(rows.start, rows.stop), rows.step)
        if rows.start < 0:
            raise UsageError("a range of rows starts at 0 or later")
    if not all(edge is None or hasattr(edge, "__index__") for edge in (rows.start, rows.stop, rows.step)):
        raise UsageError("rows are counted: slice(0, 100) is the first hundred")
    if rows.step not in (None, 1):
        raise UsageError("rows are read without steps: take every n-th of what is loaded")
    start, stop, _ = rows.indices(total)
    return start, max(start, stop)


def names_of(text: str) -> list[str]:
    """The names in `a,b`, as a line of CSV has them: one with a comma stands in quotes. Raises UsageError."""
    import csv

    found = next(csv.reader([text]), [])
    if not found:
        raise UsageError("columns are A,B, not ''")
    return found


def rows_of(text: str, asked: str) -> slice:
    """`A:B`, `A:` or `:B` as a slice; one number N is its row. Raises UsageError.

    `asked`: the command without it, for the hint.
    """
    hint = f"{asked} --rows 0:100"
    first, colon, last = text.partition(":")
    try:
        start, stop = (int(part) if part else None for part in (first, last))
    except ValueError:
        raise UsageError(f"rows are A:B, not '{text}'", hint=hint) from None
    if colon:
        return slice(start, stop)
    if start is None:
        raise UsageError("rows are A:B, not ''", hint=hint)
    return slice(start, start + 1 if start != -1 else None)


def as_table(
    source: Source,
    record: Artifact,
    path: str,
    form: Form,
    columns: Sequence[str] | None = None,
    rows: Rows | None = None,
) -> Any:
    """A table, or a file that holds one, as `pandas`, `arrow`, `polars`, or (a table) `native`.

    Raises UsageError for what is no table, NotFound on an unknown column.
    """
    columns = [columns] if isinstance(columns, str) else columns
    if record.kind == "table":
        return _of_stored(source, record, form, columns, rows)
    if record.kind != "file":
        raise UsageError(f"{path} is {with_article(record.kind)}, no table")
    if (found := parsing.file_kind(path)) is None:
        raise UsageError(f"{path} is no table by its name (as {', '.join(parsing.SUFFIXES)} are)")
    if columns is None and rows is None:
        return inputs.as_table(source, record, path, form)
    if found == ("parquet", ""):
        return _from_parquet(source, record, path, form, columns, rows)
    whole = inputs.as_table(source, record, path, "pandas" if form == "pandas" else "arrow")
    if form == "pandas":
        return _of_frame(whole, columns, rows)
    return inputs.converted(_of_arrow(whole, columns, rows), form)


def _of_stored(
    source: Source, record: Artifact, form: Form, columns: Sequence[str] | None, rows: Rows | None
) -> Any:
    from aq.formats import tables
    from aq.formats.columns.described import described

    found = described(record)
    part = None if rows is None else span(rows, found.rows)
    if found.pandas is not None and form in ("arrow", "polars"):
        from aq.formats.dataframes.missing import nan_as_null
        from aq.formats.dataframes.polars_frames import to_polars

        table = nan_as_null(tables.to_arrow(record, source, columns=columns, rows=part), found)
        return table if form == "arrow" else to_polars(table, None)
    return getattr(tables, f"to_{form}")(record, source, columns=columns, rows=part)


def _of_frame(frame: Any, columns: Sequence[str] | None, rows: Rows | None) -> Any:
    if columns is not None:
        _require(columns, [str(name) for name in frame.columns])
        frame = frame[list(columns)]
    return frame if rows is None else frame.iloc[slice(*span(rows, len(frame)))]


def _of_arrow(table: pa.Table, columns: Sequence[str] | None, rows: Rows | None) -> pa.Table:
    if columns is not None:
        _require(columns, table.column_names)
        table = table.select(list(columns))
    if rows is None:
        return table
    start, stop = span(rows, table.num_rows)
    return table.slice(start, stop - start)


def _require(columns: Sequence[str], names: Sequence[str]) -> None:
    if len(set(columns)) < len(columns):
        raise UsageError("a column is named twice")
    for name in columns:
        if name not in names:
            raise NotFound(f"no column {name!r}; the table has {', '.join(names[:20])}")


def _from_parquet(
    source: Source,
    record: Artifact,
    path: str,
    form: Form,
    columns: Sequence[str] | None,
    rows: Rows | None,
) -> Any:
    """Reads the row groups that hold the rows, and of these the columns; an index of pandas comes along."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from aq.formats.contents.seeking import StoredFile

    try:
        file = pq.ParquetFile(io.BufferedReader(StoredFile(record, source)))
        if columns is not None:
            _require(columns, file.schema_arrow.names)
        start, stop = span(rows, file.metadata.num_rows) if rows is not None else (0, file.metadata.num_rows)
        groups, skipped = _groups(file.metadata, start, stop)
        wanted = None if columns is None else list(columns)
        table = file.read_row_groups(groups, columns=wanted, use_pandas_metadata=form == "pandas")
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise AqError(f"{path} cannot be read with pyarrow.parquet: {reason}") from error
    table = table.slice(start - skipped, stop - start)
    if form != "pandas":
        return inputs.converted(table, form)
    return _numbered(table.to_pandas(), start, stop)


def _groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold these rows, and how many rows stand before them."""
    found: list[int] = []
    skipped = at = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if at < stop and at + rows > start:
            skipped = skipped if found else at
            found.append(group)
        at += rows
    return found, skipped if found else start


def _numbered(frame: Any, start: int, stop: int) -> Any:
    """A default index counts from the first row of the file, as a slice of the whole would."""
    import pandas as pd

    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        frame.index = pd.RangeIndex(start, stop)
    return frame


def loaded(
    source: Source, record: Artifact, path: str, columns: Sequence[str] | None, rows: Rows | None
) -> Any:
    """The value as it was given, or some of a table's. Raises UsageError where it has no columns and rows."""
    if columns is None and rows is None:
        from aq.formats.artifacts import values

        return values.decode(record, source, as_="bytes" if record.format == "bytes" else "native")
    if record.kind == "file":
        raise UsageError(f"{path} is a file: its columns and rows come with .to_pandas(…) or .to_arrow(…)")
    return as_table(source, record, path, "native", columns, rows)
