"""Deltas come back byte for byte, are small where little differs, and lie to nobody."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from aq.formats.columns.layout import write_array
from aq.formats.errors import Damaged
from aq.formats.packing import deltas
from aq.formats.packing.copies import copies_of, follow
from hypothesis import example, given, strategies as st

NOISE = random.Random(5).randbytes(65_536)
DULL = bytes(random.Random(6).choices(range(3), k=20_000))
Edits = list[tuple[int, int, bytes]]
some_edits = st.lists(
    st.tuples(st.integers(0, 65_535), st.integers(0, 40), st.binary(max_size=40)), max_size=6
)


def edited(data: bytes, edits: Edits) -> bytes:
    """Other bytes in place of some, here and there."""
    changed = bytearray(data)
    for at, gone, new in edits:
        at %= len(data)
        changed[at : at + gone] = new
    return bytes(changed)


def back(packed: tuple[int, bytes] | None, base: bytes, length: int) -> bytes:
    assert packed is not None
    return deltas.unpack(*packed, base, length)


@given(base=st.binary(max_size=3000), data=st.binary(max_size=3000))
@example(base=b"", data=b"")
@example(base=b"a" * 100, data=b"")
def test_any_bytes_come_back(base: bytes, data: bytes) -> None:
    assert back(deltas.pack(data, base, 10_000), base, len(data)) == data


@given(edits=some_edits, base=st.sampled_from([NOISE, DULL, DULL[:500] * 9, bytes(5000)]))
def test_edits_cost_what_they_change(edits: Edits, base: bytes) -> None:
    data = edited(base, edits)
    packed = deltas.pack(data, base, len(base))
    assert back(packed, base, len(data)) == data
    assert packed and len(packed[1]) <= 120 + sum(len(new) + 150 for _, _, new in edits)


def test_a_deleted_row_costs_some_bytes() -> None:
    packed = deltas.pack(NOISE[:800] + NOISE[808:], NOISE, 100)
    assert packed is not None
    assert packed[0] == deltas.COPIES
    assert len(packed[1]) < 12


def test_a_row_deleted_near_the_start_of_a_column_of_texts_costs_some_bytes() -> None:
    """Their lengths are so alike that some dozen in a row stand in many places."""
    texts = random.Random(7).choices(["alpha", "beta", "gamma", "delta"], k=8_000)
    base, data = (bytes(write_array(pa.array(one))) for one in (texts, [texts[0], *texts[2:]]))
    found = copies_of(data, base, len(data))
    assert found is not None and len(found) < 40
    assert follow(found, base, len(data)) == data


def test_a_block_moved_away_is_found_again() -> None:
    packed = deltas.pack(NOISE[40_000:] + NOISE[:40_000], NOISE, 100)
    assert packed is not None and packed[0] == deltas.COPIES


def test_many_edits_are_left_to_zstd() -> None:
    source = random.Random(7)
    data = bytearray(NOISE)
    for at in range(0, len(data), 800):
        data[at : at + 4] = source.randbytes(4)
    packed = deltas.pack(bytes(data), NOISE, 20_000)
    assert packed is not None and packed[0] == deltas.PREFIX
    assert back(packed, NOISE, len(data)) == data


def test_what_has_nothing_in_common_is_no_delta() -> None:
    assert deltas.pack(random.Random(8).randbytes(60_000), NOISE, 18_000) is None


@pytest.mark.parametrize("length", [0, 65_535, 65_537, deltas.LONGEST + 1])
@pytest.mark.parametrize("codec", [deltas.PREFIX, deltas.COPIES, 9])
def test_another_length_or_codec_than_declared_is_refused(length: int, codec: int) -> None:
    copies = copies_of(NOISE, NOISE[:50] + NOISE, 100)
    assert copies is not None and follow(copies, NOISE[:50] + NOISE, 65_536) == NOISE
    with pytest.raises(Damaged):
        deltas.unpack(codec, copies, NOISE[:50] + NOISE, length)


@given(payload=st.binary(max_size=200), codec=st.sampled_from([deltas.PREFIX, deltas.COPIES]))
@example(payload=b"\x81\x80\x80\x80\x80\x80\x80\x01", codec=deltas.COPIES)
@example(payload=b"\xff", codec=deltas.COPIES)
def test_nonsense_is_damaged(payload: bytes, codec: int) -> None:
    with pytest.raises(Damaged):
        deltas.unpack(codec, payload, NOISE[:100], 65_537)


@given(at=st.integers(0, 400), bit=st.integers(0, 7), many=st.booleans())
def test_flipped_bits_give_as_many_bytes_or_an_error(at: int, bit: int, many: bool) -> None:
    data = edited(NOISE[:4000], [(place, 4, b"abcd") for place in range(0, 4000, 90 if many else 900)])
    packed = deltas.pack(data, NOISE, 4000)
    assert packed is not None
    changed = bytearray(packed[1])
    changed[at % len(changed)] ^= 1 << bit
    with suppress(Damaged):
        assert len(deltas.unpack(packed[0], changed, NOISE, len(data))) == len(data)


def test_a_long_chunk_may_have_many_edits() -> None:
    rows = np.arange(30_000)
    kept = np.delete(rows, np.arange(300, 30_000, 600))
    packed = deltas.pack(kept.tobytes(), rows.tobytes(), 50_000)
    assert packed is not None
    assert packed[0] == deltas.COPIES
    assert len(packed[1]) < 1_000


@given(
    rows=st.integers(0, 3_000),
    dtype=st.sampled_from(["<i8", "<f4", "<u2", "|b1"]),
    places=st.sets(st.integers(0, 2_999), max_size=80),
    has_nulls=st.booleans(),
)
@example(rows=3_000, dtype="<i8", places=set(range(0, 2_400, 30)), has_nulls=False)
@example(rows=3_000, dtype="<i8", places=set(range(2_990, 3_000)), has_nulls=False)
def test_values_of_an_array_changed_in_place(
    rows: int, dtype: str, places: set[int], has_nulls: bool
) -> None:
    draw = np.random.default_rng(0)
    before = draw.integers(0, 2, rows) > 0 if dtype == "|b1" else draw.integers(0, 60_000, rows).astype(dtype)
    after = before.copy()
    at = [place for place in places if place < rows]
    after[at] = ~after[at] if dtype == "|b1" else after[at] + 1
    mask = (np.arange(rows) % 7 == 0) & has_nulls
    base, data = (write_array(pa.array(values, mask=mask)) for values in (before, after))
    packed = deltas.pack(bytes(data), bytes(base), len(data) + 100)
    assert back(packed, bytes(base), len(data)) == data
    if len(places) <= 32 and packed is not None and dtype == "<i8":
        assert packed[0] == deltas.COPIES
