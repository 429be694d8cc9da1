"""Tables as artifacts: pandas, Arrow and polars in, the same or another of them out.

Invariant: equal content in equal containers gives an equal artifact (docs/format.md, section 8);
the artifact record itself is the caller's to store. Comparing is in `compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
from aq.formats.classes import library_of
from aq.formats.columns.described import Described, PolarsPart, described
from aq.formats.columns.types import arrow_field
from aq.formats.dataframes.columns import Columns, described_fields, from_arrow
from aq.formats.errors import Damaged, NotFound, Unstorable, UsageError
from aq.formats.objects import Like, Sink, Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Reader, Segment, write_content
from aq.formats.tables.cut import SHORTEST, choose_cut_columns, segment_ends
from aq.formats.tables.gather import gather
from aq.formats.tables.resemble import pairing
from aq.formats.tables.summary import Summary

# What pandas and Arrow raise on a description that `from_pandas` never writes.
_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError)


class EncodedTable(NamedTuple):
    """A table's artifact, its parts stored, and its summary."""

    artifact: Artifact
    summary: dict[str, Any]


def encode_table(
    table: Any, sink: Sink, *, key: Sequence[object] = (), like: Like | None = None
) -> EncodedTable:
    """Store the parts of a table: a pandas DataFrame or Series, a polars DataFrame, an Arrow Table.

    `key` names the column or columns that identify a row, levels of an index among them; it is part of
    the type and decides the cuts. `like` is an earlier version: what is stored takes less space, and is
    the same.
    Raises Unstorable naming column and row, NotFound on an unknown key column.
    """
    names = [key] if isinstance(key, str) else list(map(str, key))
    return encode_columns(as_columns(table, sink, names), sink, key=names, like=like)


def encode_columns(columns: Columns, sink: Sink, *, key: Sequence[str], like: Like | None) -> EncodedTable:
    """As `encode_table`, of columns and what their container needs beside them."""
    kind: dict[str, Any] = {"rows": columns.rows, "columns": described_fields(columns.fields)}
    kind |= columns.container
    cut = key_positions(columns.names, key)
    if key:
        kind["key"] = list(key)
    elif columns.rows > SHORTEST:
        cut = choose_cut_columns(columns.values, columns.rows)
    ends = list(segment_ends(columns.values, columns.rows, cut))
    if len(ends) > 1 and columns.rows > SHORTEST:
        kind["cut"] = cut
    summary = Summary(kind["columns"], [at for _, at in kind.get("pandas", {}).get("markers", [])])
    earlier = pairing(like, kind["columns"], cut)
    content = write_content(columns.names, columns.values, ends, sink, summary.add, earlier)
    artifact = Artifact(
        kind="table", format="table", size=content.size, type=kind, root=content.root, data=content.data
    )
    return EncodedTable(artifact, summary.result(columns.rows, artifact.size))


def as_columns(table: Any, sink: Sink, key: Sequence[str] = ()) -> Columns:
    """The columns of any supported container. Raises Unstorable on another object."""
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if isinstance(table, pa.Table):
        return from_arrow(table)
    module = library_of(type(table))
    if module == "polars":
        from aq.formats.dataframes.polars_frames import from_polars

        return from_polars(table)
    from aq.formats.dataframes.pandas_frames import from_pandas, is_pandas

    if is_pandas(table):
        return from_pandas(table, sink, key)
    raise Unstorable(f"a {type(table).__qualname__} is no table")


def key_positions(names: Sequence[str], key: Sequence[str]) -> list[int]:
    """The positions of key columns. Raises NotFound, UsageError."""
    for name in key:
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(name, names, n=1)
            guess = f" (did you mean {near[0]!r}?)" if near else ""
            had = f"; it has {', '.join(names[:20])}" if names else ", which has no columns"
            raise NotFound(f"the key column {name!r} is not in the table{guess}{had}")
    if len(set(key)) != len(key):
        raise UsageError("a key column is named twice")
    return [list(names).index(name) for name in key]


def reader(artifact: Artifact, source: Source) -> Reader:
    """The segments and bytes of a table."""
    found = described(artifact)
    return Reader(source, artifact, len(found.columns), found.rows)


def decode_table(
    artifact: Artifact,
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    rows: tuple[int, int] | None = None,
    content: Reader | None = None,
) -> pa.Table:
    """The table, or some of its columns (in the order given) and rows (first, past the last), as Arrow.

    Reads only the chunks that hold them; `content` is a reader of the same table, to be used again.
    An index of pandas that is not 0, 1, 2, … is among the columns.
    Raises NotFound on an unknown column, Damaged on chunks that are not what the type says.
    """
    found = described(artifact)
    wanted = found.shown if columns is None else chosen(found, columns)
    start, stop = _row_range(found.rows, rows)
    values = read_columns(artifact, source, wanted, start, stop, content)
    if not wanted:
        return pa.table({"": pa.nulls(stop - start)}).select([])
    fields = [arrow_field(*found.columns[at], array.type) for at, array in zip(wanted, values, strict=True)]
    return pa.Table.from_arrays(values, schema=pa.schema(fields))


def chosen(found: Described, columns: Sequence[str]) -> list[int]:
    """The positions of columns by name. Raises NotFound on an unknown one, UsageError on one named twice."""
    if len(set(columns)) != len(columns):
        raise UsageError("a column is named twice")
    return [_position(found.names, name) for name in columns]


def _position(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise NotFound(f"no column {name!r}; the table has {', '.join(names[:20])}")
    return names.index(name)


def _row_range(total: int, rows: tuple[int, int] | None) -> tuple[int, int]:
    if rows is None:
        return 0, total
    start = min(max(0, rows[0]), total)
    return start, min(max(start, rows[1]), total)


def read_columns(
    artifact: Artifact,
    source: Source,
    wanted: Sequence[int],
    start: int,
    stop: int,
    content: Reader | None = None,
) -> list[pa.ChunkedArray]:
    """Rows `start` to `stop` of the columns at these positions."""
    content = content or reader(artifact, source)
    segments = content.rows(start, stop)
    return read_segments(artifact, content, segments, wanted, start, stop)


def read_segments(
    artifact: Artifact,
    content: Reader,
    segments: Sequence[Segment],
    wanted: Sequence[int],
    start: int = 0,
    stop: int | None = None,
) -> list[pa.ChunkedArray]:
    """The columns at these positions, of these segments, cut to rows `start` to `stop`."""
    types = described(artifact).columns
    values = gather(content, segments, wanted, [types[at][1] for at in wanted])
    total = sum(segment.stop - segment.start for segment in segments)
    first = max(0, start - segments[0].start) if segments else 0
    after = 0 if stop is None or not segments else max(0, segments[-1].stop - stop)
    return [column.slice(first, total - first - after) for column in values] if first or after else values


def summarise_table(artifact: Artifact, source: Source) -> dict[str, Any]:
    """The summary that `encode_table` gave, taken again from the chunks, a segment at a time."""
    content, found = reader(artifact, source), described(artifact)
    summary = Summary(found.columns, found.hidden)
    wanted = list(summary.found)
    for segment in content.segments:
        values = read_segments(artifact, content, [segment], wanted)
        for at, column in zip(wanted, values, strict=True):
            summary.add(at, column.chunk(0))
    return summary.result(found.rows, artifact.size)


def to_native(
    artifact: Artifact,
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    rows: tuple[int, int] | None = None,
) -> Any:
    """What was given: a pandas frame or series with its index and dtypes, a polars frame, an Arrow table."""
    form = {"pandas": to_pandas, "polars": to_polars, "arrow": to_arrow}[described(artifact).container]
    return form(artifact, source, columns=columns, rows=rows)


def to_arrow(
    artifact: Artifact,
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    rows: tuple[int, int] | None = None,
) -> pa.Table:
    """The table as Arrow, an index that is not 0, 1, 2, … among the columns."""
    return decode_table(artifact, source, columns=columns, rows=rows)


def to_pandas(
    artifact: Artifact,
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    rows: tuple[int, int] | None = None,
    content: Reader | None = None,
) -> Any:
    """The table as pandas: as it was if it came from pandas, else with pandas's own dtypes.

    With `columns` these, in this order, and the index; a column is named by its label as text.
    """
    from aq.formats.dataframes import pandas_frames

    found = described(artifact)
    if found.pandas is None:
        return pandas_frames.convert(
            decode_table(artifact, source, columns=columns, rows=rows, content=content)
        )
    wanted = None if columns is None else chosen(found, columns)
    start, stop = _row_range(found.rows, rows)
    needed = pandas_frames.needed(found, wanted)
    values = read_columns(artifact, source, needed, start, stop, content)
    try:
        return pandas_frames.to_pandas(
            found, dict(zip(needed, values, strict=True)), range(start, stop), source, wanted
        )
    except _MALFORMED as error:
        reason = str(error).partition("\n")[0]
        raise Damaged(f"a table's description for pandas does not fit its columns: {reason}") from error


def to_polars(
    artifact: Artifact,
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    rows: tuple[int, int] | None = None,
) -> Any:
    """The table as a polars frame. Raises UsageError where polars is not installed."""
    from aq.formats.dataframes.polars_frames import to_polars as convert

    found = described(artifact)
    part = found.polars
    if part is not None and columns is not None:
        place = {at: to for to, at in enumerate(chosen(found, columns))}
        part = PolarsPart(dtypes=[(place[at], tag) for at, tag in part.dtypes if at in place])
    return convert(decode_table(artifact, source, columns=columns, rows=rows), part)
