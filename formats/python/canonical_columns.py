"""Images of numpy arrays, pandas, Arrow and polars tables, for fingerprints.

Invariant: an image tells type and every value, and nothing of memory: not strides, blocks,
chunks, slices or encodings. Nothing is sampled. Tables are read as they are stored (section 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from aq.formats import arrays
from aq.formats.classes import library_of
from aq.formats.errors import Unstorable
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.python.canonical import LONG, Steps, atom, made_of, tagged
from blake3 import blake3

_ROWS: Final = 65_536


def steps(value: Any, library: str) -> Steps | None:
    """The maker of the image of a library's object, or None where it is no array, table or cell."""
    if library == "numpy":
        return _numpy(value)
    if library == "pandas":
        return _pandas(value)
    if library == "pyarrow":
        return _arrow(value)
    return _polars(value)


def _long(tag: bytes, head: bytes, contents: Iterable[Buffer]) -> bytes:
    """The image of content of known head and any length, digested without being copied."""
    parts = [head, *contents]
    length = sum(map(len, parts))
    prefix = tag + length.to_bytes(8, "little")
    if length + len(prefix) <= LONG:
        return prefix + b"".join(parts)
    hasher = blake3(prefix)
    for part in parts:
        hasher.update(part)
    return tagged(b"#", hasher.digest())


def _head(*values: Any) -> Steps:
    """The images of some plain values in a row."""
    images = []
    for value in values:
        images.append(atom(value) or (yield "", value))
    return b"".join(images)


def _numpy(value: Any) -> Steps | None:
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        return made_of(type(value), value.data, np.ma.getmaskarray(value), np.asarray(value.fill_value))
    if isinstance(value, np.ndarray):
        kind = np.ndarray if type(value) is np.memmap else type(value)
        return _array(value, kind.__name__)
    if isinstance(value, np.generic):
        return None if arrays.describe(value.dtype) is None else _array(np.asarray(value), "scalar")
    if isinstance(value, np.dtype):
        return made_of(np.dtype, arrays.describe(value) or f"{value!s} {value!r}")
    return None


def _array(array: Any, kind: str) -> Steps:
    described = arrays.describe(array.dtype)
    head = yield from _head(kind, described or repr(array.dtype), array.shape)
    if described is not None:
        return _long(b"a", head, [arrays.c_bytes(array)])
    images = [head]
    for at, item in enumerate(array.flat):
        images.append(atom(item) or (yield at, item))
    return tagged(b"a", b"".join(images))


def _pandas(value: Any) -> Steps | None:
    import pandas as pd

    if isinstance(value, (pd.DataFrame, pd.Series)):
        return _table(value)
    if isinstance(value, pd.Index):
        return _table(pd.DataFrame(index=value), value)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _table(pd.Series(value), value)
    return _cell(value)


def _cell(value: Any) -> Steps | None:
    from aq.formats.dataframes.cells import write_cell

    try:
        image = tagged(b"p", write_cell(value))
    except Unstorable:
        return None
    return _made(image)


def _made(image: bytes) -> Steps:
    yield from ()
    return image


class _Digests:
    """A sink that keeps nothing."""

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `Sink`."""
        return object_id(kind, data)


def _table(frame: Any, value: Any = None) -> Steps:
    """A frame or series, of pandas or polars; `value` is what it was made from."""
    from aq.formats import records
    from aq.formats.tables.table import as_columns

    kind = type(frame if value is None else value).__name__
    try:
        columns = as_columns(frame, _Digests())
        record = records.Artifact(kind=kind, format="table", size=columns.rows, type=columns.container)
        described = records.encode(record)
        return (yield from _columns(kind, described, columns.fields, columns.values))
    except Unstorable:
        if library_of(type(frame)) != "pandas":
            raise
    return (yield from _by_element(frame, kind))


def _columns(kind: str, described: bytes, fields: Iterable[Any], values: Iterable[Any]) -> Steps:
    """Names, types and canonical bytes of Arrow columns."""
    fields = list(fields)
    images = [(yield from _head(kind, described, [field.name for field in fields]))]
    for field, column in zip(fields, values, strict=True):
        images.append(_column(field, column))
    return tagged(b"T", b"".join(images))


def _column(field: Any, column: Any) -> bytes:
    """One Arrow column: its type and its values, a fixed number of rows at a time."""
    import msgspec
    from aq.formats.columns.types import describe_field

    try:
        head = msgspec.msgpack.encode(describe_field(field))
        hasher = blake3(tagged(b"A", head))
        for part in _layouts(column):
            hasher.update(len(part).to_bytes(8, "little"))
            hasher.update(part)
    except Unstorable as error:
        raise Unstorable(f"column {field.name!r}: {error.message}", hint=error.hints) from None
    return tagged(b"#", hasher.digest())


def _layouts(column: Any) -> Iterator[bytes]:
    from aq.formats.columns.layout import write_array
    from aq.formats.tables.cut import slice_rows

    for start in range(0, len(column), _ROWS):
        yield write_array(slice_rows(column, start, min(start + _ROWS, len(column))))


def _by_element(frame: Any, kind: str) -> Steps:
    """A frame or series that cannot be a table (labels twice, odd objects): every element by itself."""
    import pandas as pd

    images = [(yield from _head(kind, frame.shape))]
    for at in range(frame.shape[1] if isinstance(frame, pd.DataFrame) else 1):
        column = frame.iloc[:, at] if isinstance(frame, pd.DataFrame) else frame
        images.append((yield "", [column.name, repr(column.dtype)]))
        images.append((yield (column.name,), list(column.array)))
    axes = [frame.index, frame.columns] if isinstance(frame, pd.DataFrame) else [frame.index]
    for axis in axes:
        labels = [list(axis.names), repr(axis.dtype), type(axis).__name__, list(axis)]
        images.append((yield "", labels))
    images.append((yield ".attrs", frame.attrs))
    return tagged(b"T", b"".join(images))


def _arrow(value: Any) -> Steps | None:
    import pyarrow as pa

    if isinstance(value, (pa.Table, pa.RecordBatch)):
        table = pa.table(value) if isinstance(value, pa.RecordBatch) else value
        return _columns(type(value).__name__, b"", table.schema, table.columns)
    if isinstance(value, pa.ChunkedArray):
        return _columns("ChunkedArray", b"", [pa.field("", value.type)], [value])
    kind = "Scalar" if isinstance(value, pa.Scalar) else "Array"
    if isinstance(value, pa.Scalar):
        value = pa.array([value], value.type)
    if isinstance(value, pa.Array):
        return _columns(kind, b"", [pa.field("", value.type)], [pa.chunked_array([value])])
    return None


def _polars(value: Any) -> Steps | None:
    import polars as pl

    if isinstance(value, pl.DataFrame):
        return _table(value)
    if isinstance(value, pl.Series):
        return _table(value.to_frame(), value)
    return None
