"""Codecs: whatever is packed comes back; what lies is refused before it fills the memory."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from aq.formats.columns.layout import write_array
from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.packing import codecs, planes
from aq.formats.tables import references
from hypothesis import given, strategies as st

chunks = st.binary(max_size=600) | st.builds(
    lambda unit, times: unit * times, st.binary(max_size=40), st.integers(0, 5_000)
)


@given(st.sampled_from([Kind.CHUNK, Kind.NODE, Kind.RUN]), chunks)
def test_everything_comes_back(kind: Kind, data: bytes) -> None:
    codec, payload = codecs.pack(kind, data)
    assert codecs.unpack(codec, payload, len(data)) == data
    assert len(payload) <= len(data)
    if kind is not Kind.CHUNK:
        assert codec == codecs.RAW


def test_compressible_chunks_are_compressed_and_others_left_alone() -> None:
    assert codecs.pack(Kind.CHUNK, b"abcd" * 100)[0] == codecs.ZSTD
    assert codecs.pack(Kind.CHUNK, b"abcd" * 100_000)[0] == codecs.ZSTD
    assert codecs.pack(Kind.CHUNK, os.urandom(1_000))[0] == codecs.RAW
    assert codecs.pack(Kind.CHUNK, os.urandom(1_000_000))[0] == codecs.RAW
    assert codecs.pack(Kind.CHUNK, b"a" * 255)[0] == codecs.RAW


def test_a_packed_segment_is_worth_a_better_search() -> None:
    source = np.random.default_rng(1)
    columns = [write_array(pa.array(source.integers(0, 200, 900) / 500)) for _ in range(8)]
    segment = references.pack(900, columns)
    codec, payload = codecs.pack(Kind.CHUNK, segment)
    assert codecs.unpack(codec, payload, len(segment)) == segment
    assert len(payload) < 0.85 * len(zstandard.ZstdCompressor(level=codecs.LEVEL).compress(segment))


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_buffer(buffer: type) -> None:
    data = b"0123456789" * 10_000
    codec, payload = codecs.pack(Kind.CHUNK, buffer(data))
    assert codecs.unpack(codec, payload, len(data)) == data


def test_a_bomb_stops_at_the_declared_size() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(50_000_000))
    with pytest.raises(Damaged):
        codecs.unpack(codecs.ZSTD, bomb, 1_000)
    undeclared = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(50_000_000))
    with pytest.raises(Damaged):
        codecs.unpack(codecs.ZSTD, undeclared, 1_000)


@given(st.integers(0, 255), st.binary(max_size=100), st.integers(0, 2**40))
def test_hostile_payloads(codec: int, payload: bytes, length: int) -> None:
    with suppress(Damaged):
        assert len(codecs.unpack(codec, payload, length)) == length


def test_raw_needs_no_zstandard() -> None:
    code = (
        "import sys; from aq.formats.packing import codecs; from aq.formats.identity import Kind\n"
        "codecs.unpack(*codecs.pack(Kind.RUN, bytes(9_999)), 9_999); print('zstandard' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


arrays = st.builds(
    lambda values, nulls: pa.array(values, mask=np.resize(np.array(nulls), len(values)), from_pandas=False),
    st.sampled_from(["<i2", "<i4", "<i8", "<f8", "M8[us]"]).flatmap(
        lambda dtype: st.integers(0, 9_000).map(lambda count: np.arange(count).astype(dtype))
    ),
    st.lists(st.booleans(), min_size=1, max_size=9),
)


@given(arrays)
def test_arrays_come_back_as_planes_or_not(array: pa.Array) -> None:
    data = write_array(array)
    codec, payload = codecs.pack(Kind.CHUNK, data)
    assert codecs.unpack(codec, payload, len(data)) == data
    found = planes.shape(data)
    assert (found is None) == (len(array) == 0)
    if found is not None:
        assert planes.join(planes.split(data, found), codecs.Room().take) == data


@given(st.binary(max_size=200))
def test_planes_are_a_matter_of_the_head_alone(data: bytes) -> None:
    found = planes.shape(data)
    if found is None:
        with pytest.raises(Damaged):
            planes.join(data, codecs.Room().take)
    else:
        assert planes.join(planes.split(data, found), codecs.Room().take) == data


def test_planes_only_where_they_are_smaller() -> None:
    numbers = np.random.default_rng(1).integers(0, 500, 10_000)
    assert codecs.pack(Kind.CHUNK, write_array(pa.array(numbers)))[0] == codecs.PLANES
    cents = np.round(np.random.default_rng(1).normal(100, 30, 10_000), 2)
    assert codecs.pack(Kind.CHUNK, write_array(pa.array(cents)))[0] == codecs.ZSTD
    noise = pa.array(np.frombuffer(os.urandom(80_000), "<u8"))
    assert codecs.pack(Kind.CHUNK, write_array(noise))[0] == codecs.RAW
