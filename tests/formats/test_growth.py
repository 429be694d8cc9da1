"""Arrays that grow, and values as references to words: exact for every array, and refused where they lie."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from aq.formats.columns.layout import write_array
from aq.formats.errors import Damaged
from aq.formats.packing import growth, words
from aq.formats.packing.copies import follow
from aq.formats.tables.references import pack as packed
from hypothesis import given, strategies as st

NUMBERS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 5))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "web", "shop", "é" * 40]), st.text(max_size=6))
ARRAYS = st.one_of(
    st.lists(NUMBERS, min_size=1, max_size=60).map(lambda found: pa.array(found, pa.int64())),
    st.lists(TEXTS, min_size=1, max_size=60).map(lambda found: pa.array(found, pa.string())),
    st.lists(st.booleans() | st.none(), min_size=1, max_size=60).map(
        lambda found: pa.array(found, pa.bool_())
    ),
)


@given(ARRAYS, st.lists(st.integers(1, 59), max_size=4))
def test_an_array_is_its_pieces_in_order(array: pa.Array, cuts: list[int]) -> None:
    ends = [*sorted({cut for cut in cuts if cut < len(array)}), len(array)]
    starts = [0, *ends[:-1]]
    data = write_array(array)
    pieces = [write_array(array[start:end]) for start, end in zip(starts, ends, strict=True)]
    told = growth.joined(data, pieces)
    assert told is not None
    assert follow(told, b"".join(pieces), len(data)) == data
    if len(ends) > 1:
        assert growth.tail(data, pieces[0]) == write_array(array[ends[0] :])
        assert growth.joined(data, pieces[:-1]) is None
    assert growth.tail(data, data) is None


@given(ARRAYS, ARRAYS, st.integers(0, 59))
def test_rows_grow_behind_a_packed_segment_too(array: pa.Array, other: pa.Array, rows: int) -> None:
    if 0 < rows < len(array) and rows <= len(other):
        columns = [write_array(one[:rows]) for one in (other, array)]
        data, segment = write_array(array), packed(rows, columns)
        fresh = growth.tail(data, segment)
        assert fresh is not None
        told = growth.joined(data, [segment, fresh])
        assert told is not None and follow(told, segment + fresh, len(data)) == data


@given(ARRAYS, st.integers(0, 59), st.sampled_from([0, 8, 20]))
def test_what_was_changed_has_not_grown(array: pa.Array, rows: int, at: int) -> None:
    data = write_array(array)
    if 0 < rows < len(array):
        before = bytearray(write_array(array[:rows]))
        at %= len(before)
        before[at] ^= 1
        fresh = growth.tail(data, bytes(before))
        assert fresh is None or growth.joined(data, [bytes(before), fresh]) is not None


@given(ARRAYS, ARRAYS)
def test_words_come_back_as_values(array: pa.Array, base: pa.Array) -> None:
    array = pa.concat_arrays([array] * 3)
    data = write_array(array)
    for known in (b"", write_array(base), write_array(array[:2])):
        told = words.pack(data, known)
        if told is not None:
            assert words.unpack(told, known, len(data)) == data
    alone = words.pack(data)
    assert (alone is None) == pa.types.is_boolean(array.type) or len(array.unique()) * 2 > len(array)


def test_neighbouring_texts_take_their_numbers_alone() -> None:
    source = np.random.default_rng(1)
    texts = np.array([source.bytes(20).hex() for _ in range(500)])
    before, after = (write_array(pa.array(texts[source.integers(0, 500, 10_000)])) for _ in range(2))
    told = words.pack(after, before)
    assert told is not None and len(told) < 10_000 * 9 / 8 + 1_000


def test_two_threads_are_told_the_same_of_one_base() -> None:
    data, gate = write_array(pa.array([f"text {number % 5_000}" for number in range(60_000)])), Barrier(2)

    def ask(base: words.Base) -> float:
        gate.wait()
        return base.entropy()

    with ThreadPoolExecutor(2) as threads:
        for base in [words.Base(data) for _ in range(30)]:
            assert list(threads.map(ask, [base, base])) == [pytest.approx(np.log2(5_000) / 8)] * 2


def texts(*found: str) -> bytes:
    return write_array(pa.array(found))


def told(head: bytes, *codes: int) -> bytes:
    planes = np.array(codes, "<u4").view(np.uint8).reshape(-1, 4).T.tobytes()
    return zstandard.ZstdCompressor().compress(head + planes)


@pytest.mark.parametrize(
    ("payload", "base", "length"),
    [
        (told(texts("a"), 1, 3), texts("b"), 40),  # a word too many
        (told(texts("a"), 1, 2), texts("b"), 48),  # another length
        (told(texts("a"), 1, 2), texts("b"), 1 << 40),
        (told(texts("a"), 1, 2), write_array(pa.array([1])), 32),  # numbers
        (told(texts("a"), 1, 2), b"no array", 32),
        (told(texts("a")), texts("b"), 32),
        (told(texts("a")[:-1], 1), texts("b"), 32),
        (told(b"\xff" * 16, 1), texts("b"), 32),
        (told(write_array(pa.array(["a", None])), 1), texts("b"), 24),
        (told(write_array(pa.array([True])), 1), b"", 16),
        (b"no frame", texts("b"), 32),
        (told(texts("a" * 5_000), *[1] * 5_000), b"", 5_000),  # more than is declared
    ],
)
def test_a_frame_that_lies_is_refused(payload: bytes, base: bytes, length: int) -> None:
    with pytest.raises(Damaged):
        words.unpack(payload, base, length)
    assert words.unpack(told(texts("a"), 1, 2, 0), texts("b"), 40)[:4] == b"\3\0\0\0"
