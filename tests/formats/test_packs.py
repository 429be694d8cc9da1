"""Frames, contents and footers: what is written is read, what is harmed is not."""

from __future__ import annotations

import pytest
from aq.formats.errors import Damaged
from aq.formats.packing.packs import (
    BASES_MOST,
    FRAME_MAGIC,
    HEADER_SIZE,
    Bases,
    Header,
    Place,
    decode_contents,
    decode_footer,
    decode_head,
    decode_header,
    encode_contents,
    encode_footer,
    encode_frame,
    encode_header,
    frame_at,
    holds,
    next_frame,
    seed_of,
)
from hypothesis import given, strategies as st

names = st.binary(min_size=8, max_size=8)
ids = st.binary(min_size=32, max_size=32)
u64 = st.integers(0, 2**64 - 1)
small = st.integers(0, 255)
some_bases = st.lists(ids, max_size=BASES_MOST).map(tuple)
NAME = b"01234567"


def frame(payload: bytes, *, id: bytes = bytes(32), name: bytes = NAME) -> bytes:
    return b"".join(map(bytes, encode_frame(seed_of(name), 1, id, payload)))


def test_golden_bytes() -> None:
    """The bytes of docs/format.md, section 4.2, worked out by hand apart from the checksums."""
    header = encode_header(Header(NAME, 3))
    assert header[:32].hex() == "61717061636b0001" + NAME.hex() + "0300000000000000" + "00" * 8
    body = frame(b"abc", id=bytes(range(32)))
    assert body[8:].hex() == (
        "617166010100000003000000000000000300000000000000" + bytes(range(32)).hex() + b"abc".hex()
    )
    assert header[32:].hex() == "09f9286ab5ee9773"
    assert body[:8].hex() == "d290099d44e538bc"


@given(names, u64)
def test_headers_come_back(name: bytes, ordinal: int) -> None:
    data = encode_header(Header(name, ordinal))
    assert len(data) == HEADER_SIZE
    assert decode_header(data + b"more") == Header(name, ordinal)


@given(st.binary(max_size=HEADER_SIZE + 10))
def test_other_bytes_are_no_header(data: bytes) -> None:
    with pytest.raises(Damaged):
        decode_header(data)


@given(names, small, small, st.binary(max_size=300), ids, some_bases, st.integers(0, 2**40))
def test_frames_come_back(
    name: bytes, kind: int, codec: int, payload: bytes, id: bytes, bases: Bases, length: int
) -> None:
    pieces = encode_frame(seed_of(name), kind, id, payload, codec=codec, length=length, bases=bases)
    data = b"before" + b"".join(map(bytes, pieces))
    head = frame_at(seed_of(name), data, 6)
    assert head is not None
    assert (head.kind, head.codec, head.length, head.id, head.bases) == (kind, codec, length, id, bases)
    assert data[6 + head.start : 6 + head.size] == payload
    assert head.size == len(data) - 6


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 100_000])
def test_large_frames_are_written_in_pieces_and_say_the_same(size: int) -> None:
    payload = bytes(size)
    pieces = encode_frame(7, 1, bytes(32), payload)
    assert len(pieces) == (1 if size <= 32_768 else 2)
    assert holds(7, b"".join(map(bytes, pieces)))


@given(st.binary(max_size=200), st.data())
def test_a_flipped_bit_breaks_a_frame(payload: bytes, data: st.DataObject) -> None:
    broken = bytearray(frame(payload))
    place = data.draw(st.integers(0, len(broken) * 8 - 1))
    broken[place // 8] ^= 1 << place % 8
    assert frame_at(seed_of(NAME), bytes(broken), 0) is None


@given(st.binary(max_size=200), st.data())
def test_a_frame_cut_short_is_none(payload: bytes, data: st.DataObject) -> None:
    whole = frame(payload)
    assert frame_at(seed_of(NAME), whole[: data.draw(st.integers(0, len(whole) - 1))], 0) is None


def test_a_frame_belongs_to_its_pack() -> None:
    assert frame_at(seed_of(NAME), frame(b"x", name=b"another."), 0) is None


@given(st.binary(max_size=400), st.integers(0, 410))
def test_any_bytes_can_be_looked_at(data: bytes, offset: int) -> None:
    decode_head(data, offset)
    decode_head(FRAME_MAGIC.join((data[:8], data[8:])), 0)
    assert frame_at(1, data, offset) is None
    assert decode_footer(NAME, data[-32:]) is None


@given(st.lists(st.tuples(ids, u64, u64, small, small, some_bases), max_size=20))
def test_contents_come_back(rows: list[tuple[bytes, int, int, int, int, Bases]]) -> None:
    places = [(id, Place(NAME, at, size, kind, codec, bases)) for id, at, size, kind, codec, bases in rows]
    assert list(decode_contents(NAME, encode_contents(places))) == places


@given(st.lists(ids, min_size=1, max_size=5), st.data())
def test_contents_cut_short_are_refused(found: list[bytes], data: st.DataObject) -> None:
    payload = encode_contents((id, Place(NAME, 0, 0, 1, 0, (id,))) for id in found)
    cut = data.draw(st.integers(1, len(payload) - 1))
    if cut % 84:
        with pytest.raises(Damaged):
            list(decode_contents(NAME, payload[:cut]))


@given(names, u64, u64)
def test_footers_come_back(name: bytes, offset: int, size: int) -> None:
    assert decode_footer(name, encode_footer(name, offset, size)) == (offset, size)


@given(st.lists(st.binary(max_size=100), min_size=2, max_size=6), st.data())
def test_the_way_past_a_damaged_frame(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [frame(payload + FRAME_MAGIC) for payload in payloads]
    harmed = data.draw(st.integers(0, len(frames) - 2))
    broken = bytearray(frames[harmed])
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 0x40
    whole = b"".join([*frames[:harmed], bytes(broken), *frames[harmed + 1 :]])
    start = sum(map(len, frames[:harmed]))
    assert next_frame(seed_of(NAME), whole, start) == start + len(frames[harmed])


def test_more_bases_than_a_delta_may_have_are_none() -> None:
    many = (bytes(32),) * (BASES_MOST + 1)
    assert decode_head(b"".join(map(bytes, encode_frame(1, 1, bytes(32), b"x", bases=many)))) is None
    with pytest.raises(Damaged):
        list(decode_contents(NAME, encode_contents([(bytes(32), Place(NAME, 0, 0, 1, 0, many))])))
