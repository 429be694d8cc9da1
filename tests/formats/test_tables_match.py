"""Rows out of step and rows in it: positions, and searches that read no more than they need."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
from aq.formats.comparing.compare import compare_tables
from aq.formats.comparing.lineup import line_up
from aq.formats.comparing.sequence import Aligned, align, cells, outside, paired
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from hypothesis import given, strategies as st

hashes = st.lists(st.integers(0, 6), max_size=60).map(lambda values: np.array(values, np.uint64))


def fed(left: np.ndarray, right: np.ndarray, size: int) -> Aligned:
    """Both aligned, given so many at a time."""
    parts = ((left[at : at + size], right[at : at + size]) for at in itertools.count(0, size))
    return align(lambda: next(parts))


@given(hashes, hashes, st.integers(1, 70))
def test_blocks_pair_equal_hashes_in_order_and_leave_the_rest_outside(
    left: np.ndarray, right: np.ndarray, size: int
) -> None:
    blocks, *alone = fed(left, right, size)
    for side, values in enumerate((left, right)):
        assert np.array_equal(alone[side], values[outside(blocks, side, len(values))])
    assert np.array_equal(blocks, fed(left, right, 100).blocks)
    at, to = cells(blocks)
    assert (left[at] == right[to]).all()
    assert (np.diff(at) > 0).all() and (np.diff(to) > 0).all()
    chosen = np.arange(0, len(at), 3)
    found = paired(blocks, chosen)
    assert (found[0] == at[chosen]).all() and (found[1] == to[chosen]).all()
    for side, positions, count in ((0, at, len(left)), (1, to, len(right))):
        assert np.array_equal(outside(blocks, side, count), np.setdiff1d(np.arange(count), positions))


class Counting(MemoryObjects):
    """Objects that count the bytes of chunks that were read."""

    bytes_read = 0

    def get(self, kind: Kind, id: bytes) -> bytes:
        data = super().get(kind, id)
        self.bytes_read += len(data) if kind is Kind.CHUNK else 0
        return data


def test_long_sequences_are_aligned_as_they_come() -> None:
    source = np.random.default_rng(3)
    left = source.integers(0, 2**60, 300_000).astype(np.uint64)
    gone, new = np.sort(source.choice(len(left), 400, replace=False)), left[70_000:70_050] + np.uint64(1)
    kept, fresh = np.delete(left, gone), np.repeat(new, 400)
    right = np.concatenate((kept[:150_000], fresh, kept[150_000:]))
    found = fed(left, right, 20_000)
    assert np.array_equal(found.blocks, fed(left, right, len(right)).blocks)
    assert np.array_equal(found.left, left[gone]) and np.array_equal(found.right, fresh)


def test_rows_gone_everywhere_are_not_looked_for_in_every_column() -> None:
    rows, store = 200_000, Counting()
    source = np.random.default_rng(1)
    wide = {f"x{at}": source.normal(size=rows) for at in range(12)}
    frame = pd.DataFrame({"time": pd.Timestamp("2024") + pd.to_timedelta(np.arange(rows), unit="s"), **wide})
    first = encode_table(frame, store).artifact
    gone = frame.drop(index=range(7, rows, 2_003)).reset_index(drop=True)
    second = encode_table(gone, store).artifact
    found = compare_tables(first, second, store)
    assert (found["rows"]["removed"], found["rows"]["added"], found["rows"]["changed"]) == (100, 0, 0)
    assert store.bytes_read < 1.4 * (first.size + second.size)


def test_a_text_gone_is_no_empty_text() -> None:
    texts = [f"text {at}" for at in range(9_000)] + [None, "", "end"]
    store = MemoryObjects()
    tables = [pa.table({"id": range(9_003), "text": pa.array(texts, pa.string())})]
    texts[9_000], texts[9_001], texts[17] = "", None, "text 71"
    tables.append(pa.table({"id": range(9_003), "text": pa.array(texts, pa.string())}))
    artifacts = [encode_table(table, store, key=["id"]).artifact for table in tables]
    found = compare_tables(*artifacts, store)
    assert [(one["name"], one["changed_rows"]) for one in found["columns"]] == [("text", 3)]


def test_rows_of_one_side_are_told_in_order() -> None:
    """Where the half of a pair in step finds an equal row elsewhere, the other half is left over."""
    random, rows, store = np.random.default_rng(0), 9_000, MemoryObjects()
    at, count = random.integers(0, 3_000, rows), random.integers(0, 4, (2, rows))
    tables = [pa.table({"at": at, "count": one}) for one in count]
    before, after = (encode_table(one, store).artifact for one in (tables[0], tables[1].slice(1)))
    found = line_up(before, after, store).matching
    for alone in (found.removed, found.added):
        assert len(alone) > 1_000 and (np.diff(alone) > 0).all()
    sides = {"removed": ("from", tables[0]), "added": ("to", tables[1].slice(1))}
    for one in compare_tables(before, after, store)["sample"]:
        if one["change"] in sides:
            name, side = sides[one["change"]]
            assert one[name] == side.slice(one["row"], 1).to_pylist()[0]
