"""Tables as bytes: CSV, JSON, Parquet, Arrow, a piece at a time.

Invariant: equal tables give equal bytes with the same libraries; a piece of the rows is in memory, not
the table. Parquet pages are cut where the content says so, so that a changed file shares its other pages.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from aq.formats.errors import UsageError
from aq.formats.objects import Source
from aq.formats.records import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

FORMS: Final = ("csv", "parquet", "arrow", "json", "jsonl")
_ROWS: Final = 65_536
_CELLS: Final = 1 << 21
_GROUP_ROWS: Final = 1 << 20
_GROUP_BYTES: Final = 128 << 20


@dataclass(frozen=True)
class Stored:
    """A table of the store, or some of its columns and rows (first, past the last)."""

    record: Artifact
    source: Source
    columns: Sequence[str] | None = None
    rows: tuple[int, int] | None = None

    @property
    def span(self) -> tuple[int, int]:
        """First row and past the last."""
        from aq.formats.columns.described import described

        return (0, described(self.record).rows) if self.rows is None else self.rows

    @property
    def width(self) -> int:
        """How many columns are wanted."""
        from aq.formats.columns.described import described

        return len(described(self.record).columns if self.columns is None else self.columns)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, about."""
        from aq.formats.columns.described import described

        return 1 + self.record.size // max(1, described(self.record).rows)

    @cached_property
    def _content(self) -> Any:
        from aq.formats.tables.table import reader

        return reader(self.record, self.source)

    def arrow(self, start: int, stop: int) -> pa.Table:
        """Rows `start` to `stop`, counted from the first of the span."""
        from aq.formats.columns.described import described
        from aq.formats.dataframes.missing import nan_as_null
        from aq.formats.tables import decode_table

        found = decode_table(
            self.record, self.source, columns=self._chosen, rows=self._at(start, stop), content=self._content
        )
        return nan_as_null(found, described(self.record))

    @cached_property
    def _chosen(self) -> Sequence[str] | None:
        """The columns for Arrow and Parquet: an index comes along, as it does in pandas."""
        from aq.formats.columns.described import described

        part = described(self.record).pandas
        if self.columns is None or part is None or part.index is None:
            return self.columns
        names = described(self.record).names
        return list(dict.fromkeys([*self.columns, *(names[at] for at in part.index.levels)]))

    def frame(self, start: int, stop: int) -> Any:
        """The same for pandas."""
        from aq.formats import tables
        from aq.formats.columns.described import described

        if described(self.record).pandas is None:
            return _framed(self.arrow(start, stop))
        frame = tables.to_pandas(
            self.record,
            self.source,
            columns=self.columns,
            rows=self._at(start, stop),
            content=self._content,
        )
        return _whole_times(frame if hasattr(frame, "columns") else frame.to_frame())

    def _at(self, start: int, stop: int) -> tuple[int, int]:
        first, last = self.span
        return min(first + start, last), min(first + stop, last)


@dataclass(frozen=True)
class Held:
    """A table in memory."""

    table: pa.Table

    @property
    def span(self) -> tuple[int, int]:
        """First row and past the last."""
        return 0, self.table.num_rows

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.table.num_columns)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, about."""
        return 1 + int(self.table.nbytes / max(1, self.table.num_rows))

    def arrow(self, start: int, stop: int) -> pa.Table:
        """Rows `start` to `stop`."""
        return self.table.slice(start, stop - start)

    def frame(self, start: int, stop: int) -> Any:
        """The same for pandas."""
        return _framed(self.arrow(start, stop))


Rows = Stored | Held


def exported(rows: Rows, form: str) -> Iterator[bytes]:
    """A table in one of the forms. Raises UsageError where the form has no type for a column."""
    import pyarrow as pa

    try:
        yield from _WRITERS[form](rows)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"the table cannot be written as {form}: {reason}") from error


def _framed(table: pa.Table) -> Any:
    """A piece as a frame; integers stay such, whether or not some of this piece are missing.

    Times in nanoseconds become texts: Python's have microseconds.
    """
    import pyarrow as pa

    for at, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        if kind == pa.time64("ns"):
            table = table.set_column(at, name, table.column(at).cast(pa.string()))
    return table.to_pandas(integer_object_nulls=True)


def _whole_times(frame: Any) -> Any:
    """A frame in which times in nanoseconds are texts, for the same reason."""
    import pandas as pd
    import pyarrow as pa

    for at, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.ArrowDtype) and dtype.pyarrow_dtype == pa.time64("ns"):
            texts = pa.array(frame.iloc[:, at].array).cast(pa.string())
            frame.isetitem(at, pd.Series(pd.array(texts, pd.ArrowDtype(pa.string())), index=frame.index))
    return frame


def _pieces(rows: Rows, size: int = _ROWS) -> Iterator[tuple[int, int]]:
    """Runs of rows; fewer of a wide table. At least one, perhaps empty."""
    count = rows.span[1] - rows.span[0]
    step = max(1, min(size, _CELLS // max(1, rows.width)))
    for start in range(0, max(count, 1), step):
        yield start, min(start + step, count)


def _csv(rows: Rows) -> Iterator[bytes]:
    for start, stop in _pieces(rows):
        frame = rows.frame(start, stop)
        default = frame.index.names == [None] and str(frame.index.dtype) == "int64"
        yield frame.to_csv(index=not default, header=start == 0).encode("utf-8", "surrogatepass")


def _json(rows: Rows) -> Iterator[bytes]:
    """One JSON array of objects, a row a line."""
    from aq.pipeline.look.json_rows import json_rows

    names, before = rows.arrow(0, 0).column_names, b"[\n"
    for start, stop in _pieces(rows):
        if stop > start:
            yield before + json_rows(names, rows.frame(start, stop))
            before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[\n]\n"


def _json_lines(rows: Rows) -> Iterator[bytes]:
    """An object a line, and nothing else."""
    from aq.pipeline.look.json_rows import json_rows

    names = rows.arrow(0, 0).column_names
    for start, stop in _pieces(rows):
        if stop > start:
            yield json_rows(names, rows.frame(start, stop), b"\n") + b"\n"


class _Drain(io.RawIOBase):
    """Takes what a writer writes, and gives it away piece by piece."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """See `io.RawIOBase`."""
        self._written.append(bytes(data))
        return len(self._written[-1])

    def taken(self) -> Iterator[bytes]:
        """What was written since the last time."""
        found, self._written = self._written, []
        yield from found


def _parquet(rows: Rows) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    drain, (schema, known) = _Drain(), _schema(rows)
    with pq.ParquetWriter(
        drain, schema, compression="zstd", **_content_defined(), store_schema=True
    ) as writer:
        for start, stop in _pieces(rows, _group(rows)):
            if stop > start:
                writer.write_table(_of_schema(rows.arrow(start, stop), schema, known))
            yield from drain.taken()
    yield from drain.taken()


def _group(rows: Rows) -> int:
    """Rows of a row group: a power of two that takes at most 128 MiB, so that growth rarely moves it."""
    most = max(1, _GROUP_BYTES // rows.row_bytes)
    return min(_GROUP_ROWS, 1 << (most.bit_length() - 1))


def _content_defined() -> dict[str, Any]:
    """Pages cut by content, where this pyarrow can (21 and later)."""
    import pyarrow as pa

    return {"use_content_defined_chunking": True} if int(pa.__version__.partition(".")[0]) >= 21 else {}


def _ipc(rows: Rows) -> Iterator[bytes]:
    import pyarrow as pa

    drain, (schema, known) = _Drain(), _schema(rows)
    with pa.ipc.new_file(drain, schema) as writer:
        for start, stop in _pieces(rows):
            if stop > start:
                writer.write_table(_of_schema(rows.arrow(start, stop), schema, known).combine_chunks())
            yield from drain.taken()
    yield from drain.taken()


Dictionaries = dict[str, "pa.DictionaryArray"]


def _of_schema(table: pa.Table, schema: pa.Schema, known: Dictionaries) -> pa.Table:
    """A piece with the types of the first one, which may be narrower, and with its metadata."""
    for name, of in known.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, schema.field(at), _encoded(table.column(at), of))
    if table.schema.equals(schema.remove_metadata()):
        return table.replace_schema_metadata(schema.metadata)
    return table.cast(schema)


def _encoded(column: pa.ChunkedArray, of: pa.DictionaryArray) -> pa.ChunkedArray:
    """Values as numbers of theirs in a dictionary that every piece shares."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces = [pc.index_in(chunk, value_set=of.dictionary) for chunk in column.chunks]
    encoded = [
        pa.DictionaryArray.from_arrays(codes, of.dictionary, ordered=of.type.ordered) for codes in pieces
    ]
    return pa.chunked_array(encoded, of.type)


def _schema(rows: Rows) -> tuple[pa.Schema, Dictionaries]:
    """Names and types, and the categories of columns; with what pandas needs to make its index and dtypes
    again, where it made the table.
    """
    found = rows.arrow(0, 0).schema
    if isinstance(rows, Held):
        return found, {}
    from aq.pipeline.look.pandas_metadata import categories, pandas_metadata

    known = categories(rows, found)
    metadata = pandas_metadata(rows, found)
    for name, of in known.items():
        at = found.get_field_index(name)
        found = found.set(at, found.field(at).with_type(of.type))
    return found.with_metadata(metadata), known


_WRITERS: Final[dict[str, Callable[[Rows], Iterator[bytes]]]] = {
    "csv": _csv,
    "json": _json,
    "jsonl": _json_lines,
    "parquet": _parquet,
    "arrow": _ipc,
}
