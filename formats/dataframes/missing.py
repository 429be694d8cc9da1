"""What a frame of pandas holds as NaN because nothing is there, for readers that know null.

Invariant: only columns of numpy floats change, which have no other way to say so; in nullable dtypes
and those of Arrow NaN is a number and stays. As `pyarrow.Table.from_pandas` does it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from aq.formats.columns.described import Described
from pyarrow import types as is_


def nan_as_null(table: pa.Table, found: Described) -> pa.Table:
    """A table, or some of its columns, with nulls for NaN; as it is where it came from no frame."""
    part = found.pandas
    if part is None:
        return table
    own = {at for at, _ in part.dtypes} | set(part.index.levels if part.index is not None else ())
    plain = {name for at, name in enumerate(found.names) if at not in own}
    for at, name in enumerate(table.column_names):
        kind = table.schema.field(at).type
        if name in plain and is_.is_floating(kind):
            table = table.set_column(at, name, _nulled(table.column(at), kind))
    return table


def _nulled(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([_with_nulls(chunk) for chunk in column.chunks], kind)


def _with_nulls(chunk: pa.Array) -> pa.Array:
    """The values where they lie, and which of them are NaN as nulls."""
    values = chunk.to_numpy(zero_copy_only=False)
    with np.errstate(all="ignore"):
        if not np.isnan(values.sum()):  # whatever NaN is added to becomes NaN
            return chunk
    if chunk.offset or chunk.null_count:
        return pa.array(values, chunk.type, from_pandas=True)
    is_nan = np.isnan(values)
    valid = pa.py_buffer(np.packbits(~is_nan, bitorder="little"))
    return pa.Array.from_buffers(chunk.type, len(chunk), [valid, chunk.buffers()[1]], int(is_nan.sum()))
