"""Cuts follow docs/format.md, section 7, whoever makes them and however the bytes are read."""

from __future__ import annotations

import io
import mmap
import os
from itertools import accumulate
from pathlib import Path

import pytest
from aq.formats.contents import chunking
from aq.formats.contents.chunking import (
    LONGEST,
    NORMAL,
    SHORTEST,
    cut,
    cut_stream,
    lengths,
    reference_lengths,
)
from blake3 import blake3
from hypothesis import given, settings, strategies as st

SIZES = st.integers(0, 3 * LONGEST) | st.sampled_from(
    [edge + by for edge in (SHORTEST, NORMAL, LONGEST, chunking.WINDOW) for by in (-1, 0, 1, 2)]
)


def noise(size: int, seed: bytes = b"") -> bytes:
    """Bytes that look random and are the same everywhere."""
    return blake3(seed).digest(length=size)


GOLDEN = {
    "noise": (
        noise(4_000_001),
        [
            531215,
            294424,
            305508,
            316312,
            212550,
            286725,
            67744,
            432899,
            329930,
            291600,
            263481,
            171426,
            112611,
            265798,
            117778,
        ],
    ),
    "odd seed": (
        noise(2_500_000, b"7"),
        [269154, 342131, 453249, 268711, 296790, 292171, 272028, 295279, 10487],
    ),
    "zeros": (bytes(2_500_000), [1048576, 1048576, 402848]),
    "text": (b"2013-01-01,UA,1545,N14228,EWR,IAH\n" * 60_000, [1048576, 991424]),
    "one below the shortest": (noise(65_535), [65535]),
    "the shortest": (noise(65_536), [65536]),
    "one above the shortest": (noise(65_537), [65537]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_cuts(name: str) -> None:
    data, golden = GOLDEN[name]
    assert list(reference_lengths(memoryview(data))) == golden
    assert list(lengths(data)) == golden


def test_the_gear_table_is_the_one_of_the_paper() -> None:
    table = chunking.gear()
    assert (len(table), table[0], table[255]) == (256, 0x3B5D3C7D207E37DC, 0xAABD2B2A451504E1)


def test_the_fast_cutter_is_used_and_was_proved() -> None:
    assert chunking._cutter() is not reference_lengths
    assert list(reference_lengths(memoryview(chunking.probe()))) == list(chunking._PROBE_CUTS)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.binary(max_size=4), st.integers(0, 255))
def test_library_and_reference_agree(size: int, seed: bytes, zero_below: int) -> None:
    data = noise(size, seed)[: LONGEST + SHORTEST].translate(
        bytes(b if b >= zero_below else 0 for b in range(256))
    )
    assert list(lengths(data)) == list(reference_lengths(memoryview(data)))


class Slow(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step, self.at = data, step, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        part = self.data[self.at : self.at + min(self.step, len(buffer))]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)


@settings(max_examples=40, deadline=None)
@given(SIZES | st.integers(0, 12 * LONGEST), st.integers(1, 8 * LONGEST), st.integers(0, SHORTEST))
def test_reading_in_pieces_moves_no_cut(size: int, step: int, taken: int) -> None:
    data = noise(size)
    whole = [bytes(piece) for piece in cut(data)]
    step = max(step, size // 1_000 + 1)
    stream = Slow(data[taken:], step)
    streamed = [bytes(piece) for some, _ in cut_stream(stream, head=data[:taken]) for piece in some]
    assert streamed == whole
    assert b"".join(whole) == data


def test_memory_of_every_kind_gives_the_same_cuts(tmp_path: Path) -> None:
    data = noise(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    golden = list(reference_lengths(memoryview(data)))
    with path.open("rb") as file:
        assert [len(piece) for some, _ in cut_stream(file) for piece in some] == golden
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            found = list(lengths(view))
    assert found == golden
    with os.fdopen(os.open(path, os.O_RDONLY), "rb", buffering=0) as file:
        assert [len(piece) for some, _ in cut_stream(file) for piece in some] == golden
    for memory in (bytearray(data), memoryview(bytearray(b"x" + data))[1:], memoryview(data).cast("I")):
        assert list(lengths(memory)) == golden


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 8_000_000), st.binary(min_size=1, max_size=100))
def test_an_insertion_moves_few_cuts(at: int, inserted: bytes) -> None:
    data = noise(8_000_000)
    before = {bytes(piece) for piece in cut(data)}
    after = [bytes(piece) for piece in cut(data[:at] + inserted + data[at:])]
    assert sum(piece not in before for piece in after) <= 4


def test_pieces_keep_their_bounds() -> None:
    for data in (noise(9_000_000), bytes(9_000_000), os.urandom(1_000) * 9_000):
        found = list(lengths(data))
        assert all(SHORTEST < length <= LONGEST for length in found[:-1])
        assert list(accumulate(found))[-1] == len(data)
