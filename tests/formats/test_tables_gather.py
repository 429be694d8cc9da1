"""Columns gathered from many segments: as read one segment after the other, whatever they hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from aq.formats.columns.layout import write_array
from aq.formats.columns.layout_read import read_array
from aq.formats.columns.types import arrow_type, describe
from aq.formats.errors import Damaged
from aq.formats.objects import MemoryObjects
from aq.formats.tables import decode_table, encode_table, table as tables
from aq.formats.tables.gather import gather, gather_rows
from hypothesis import given, strategies as st

KINDS = [
    pa.int16(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.timestamp("us", "UTC"),
    pa.decimal128(30, 2), pa.binary(3), pa.binary(70), pa.list_(pa.int8()), pa.null(), pa.uuid(),
    pa.struct([("a", pa.string())]),
]  # fmt: skip


class One:
    """A reader of one column whose segments are these bytes, and are shown in this order."""

    def __init__(self, blobs: list[bytes], order: list[int]) -> None:
        self.blobs, self.order = blobs, order

    def visit(self, _segments: object, _columns: object, see: object) -> None:
        room = bytearray(max(map(len, self.blobs), default=0))
        for at in self.order:
            size = len(self.blobs[at])
            room[:size] = self.blobs[at]
            see(at, 0, memoryview(room)[:size])  # type: ignore[operator]


def segments(rows: list[int]) -> list[tables.Segment]:
    ends = np.cumsum([0, *rows]).tolist()
    return [tables.Segment(at, ends[at], ends[at + 1], b"", False) for at in range(len(rows))]


def array(kind: pa.DataType, rows: int, nulls: int) -> pa.Array:
    if nulls == 3:
        return pa.nulls(rows, kind)
    if pa.types.is_list(kind):
        values: list[object] = [[at % 100] * (at % 3) for at in range(rows)]
    elif pa.types.is_struct(kind):
        values = [{"a": str(at)} for at in range(rows)]
    elif pa.types.is_null(kind):
        values = [None] * rows
    elif pa.types.is_boolean(kind):
        values = [at % 3 == 0 for at in range(rows)]
    elif isinstance(kind, pa.UuidType):
        values = [at.to_bytes(16, "big") for at in range(rows)]
    elif pa.types.is_fixed_size_binary(kind):
        values = [str(at).encode().ljust(kind.byte_width) for at in range(rows)]
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        values = ["ä" * (at % 4) for at in range(rows)]
    else:
        return pa.array(np.arange(rows) % 1000).cast(pa.int64()).cast(kind, safe=False)
    if nulls:
        values = [None if at % (nulls + 1) == 0 else value for at, value in enumerate(values)]
    return pa.array(values, kind)


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=6),
    st.permutations(range(6)) | st.just(range(6)),
)
def test_as_segment_by_segment(kind: pa.DataType, parts: list[tuple[int, int]], order: list[int]) -> None:
    arrays = [array(kind, rows, nulls) for rows, nulls in parts]
    blobs = list(map(write_array, arrays))
    shown = One(blobs, [at for at in order if at < len(blobs)])
    [found] = gather(shown, segments([rows for rows, _ in parts]), [0], [describe(kind)])  # type: ignore[arg-type]
    wanted = arrow_type(describe(kind))
    pieces = [read_array(blob, wanted, len(one)) for blob, one in zip(blobs, arrays, strict=True)]
    expected = pa.chunked_array(pieces, wanted)
    assert found.type == wanted
    assert found.equals(expected)
    found.validate(full=True)


@given(
    st.sampled_from(KINDS),
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 3), st.lists(st.integers(0, 39), max_size=9)), max_size=6
    ),
    st.permutations(range(6)),
)
def test_some_rows_are_those_of_all(
    kind: pa.DataType, parts: list[tuple[int, int, list[int]]], order: list[int]
) -> None:
    arrays = [array(kind, rows, nulls) for rows, nulls, _ in parts]
    chosen = [np.sort(np.array(some, np.int64) % rows) for rows, _, some in parts]
    shown = One(list(map(write_array, arrays)), [at for at in order if at < len(parts)])
    given = segments([rows for rows, _, _ in parts])
    [found] = gather_rows(shown, given, chosen, [0], [describe(kind)])  # type: ignore[arg-type]
    values = [value for one, rows in zip(arrays, chosen, strict=True) for value in one.take(rows).to_pylist()]
    assert found.type == arrow_type(describe(kind))
    assert found.to_pylist() == values
    found.validate(full=True)


@given(st.sampled_from(KINDS), st.data())
def test_what_reading_refuses_is_refused(kind: pa.DataType, data: st.DataObject) -> None:
    blob = bytearray(write_array(array(kind, 20, data.draw(st.integers(0, 2)))))
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    blob = blob[: data.draw(st.integers(0, len(blob)) | st.just(len(blob)))]
    answers = []
    for read in (
        lambda: read_array(bytes(blob), arrow_type(describe(kind)), 20),
        lambda: one(kind, bytes(blob)),
    ):
        try:
            answers.append(read())
        except Damaged:
            answers.append(None)
    assert (answers[0] is None) == (answers[1] is None)
    if answers[0] is not None:
        assert write_array(answers[0]) == write_array(answers[1])


def one(kind: pa.DataType, blob: bytes) -> pa.Array:
    [found] = gather(One([blob], [0]), segments([20]), [0], [describe(kind)])  # type: ignore[arg-type]
    return found.chunk(0)


@pytest.mark.parametrize("rows", [None, (0, 1), (9_000, 30_001), (29_999, 30_000), (5, 5)])
def test_rows_across_segments(rows: tuple[int, int] | None) -> None:
    table = pa.table({"n": range(30_000), "s": [str(at) for at in range(30_000)]})
    store = MemoryObjects()
    artifact = encode_table(table, store).artifact
    found = decode_table(artifact, store, rows=rows)
    start, stop = rows or (0, 30_000)
    assert found.equals(table.slice(start, stop - start))
