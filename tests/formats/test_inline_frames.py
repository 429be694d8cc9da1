"""Frames of small files: byte for byte what the encoders make of the same artifacts."""

from __future__ import annotations

from aq.formats.contents.files import INLINE_BELOW
from aq.formats.contents.inline_frames import BESIDE_MOST, ROOM, InlineFrames
from aq.formats.identity import Kind, object_id
from aq.formats.packing.packs import encode_frame
from aq.formats.records import Artifact, encode
from hypothesis import example, given, strategies as st

SEED = 0x1234567890ABCDEF


def record_of(data: bytes) -> bytes:
    return encode(Artifact(kind="file", format="bytes", size=len(data), data=data))


def frame_of(data: bytes) -> bytes:
    record = record_of(data)
    return b"".join(encode_frame(SEED, Kind.ARTIFACT, object_id(Kind.ARTIFACT, record), record))


@given(st.lists(st.binary(max_size=400), max_size=8), st.data())
def test_frames_are_those_of_the_encoders(contents: list[bytes], draw: st.DataObject) -> None:
    frames = InlineFrames()
    for _ in range(2):
        ids = [frames.add(data) for data in contents]
        assert ids == frames.ids == [object_id(Kind.ARTIFACT, record_of(data)) for data in contents]
        assert [frames.record(number) for number in range(len(contents))] == list(map(record_of, contents))
        chosen = draw.draw(st.lists(st.booleans(), min_size=len(contents), max_size=len(contents)))
        numbers = [number for number, wanted in enumerate(chosen) if wanted]
        pieces, sizes = frames.seal(SEED, numbers)
        expected = [frame_of(contents[number]) for number in numbers]
        assert b"".join(pieces) == b"".join(expected) and sizes == list(map(len, expected))
        assert frames.size == sum(len(frame_of(data)) for data in contents)
        frames.clear()


@given(st.integers(0, INLINE_BELOW - 1))
@example(0)
@example(127)
@example(128)
@example(255)
@example(256)
@example(INLINE_BELOW - 1)
def test_every_size(size: int) -> None:
    data = (b"\xa6format" * (size // 7 + 1))[:size]
    frames = InlineFrames()
    frames.add(data)
    pieces, _ = frames.seal(SEED, [0])
    assert b"".join(pieces) == frame_of(data) and frames.size <= size + BESIDE_MOST


def test_what_there_is_room_for_finds_room() -> None:
    frames, data = InlineFrames(), bytes(INLINE_BELOW - 1)
    while frames.has_room(len(data) + BESIDE_MOST):
        frames.add(data)
    assert ROOM - len(data) - BESIDE_MOST < frames.size <= ROOM


def test_frames_that_somebody_else_has_laid() -> None:
    memory = memoryview(bytearray(ROOM))
    theirs, ours = InlineFrames(memory), InlineFrames(memory)
    ids = [theirs.add(data) for data in (b"a", b"", b"ccc")]
    ours.take_in(ids, theirs.ends)
    pieces, _ = ours.seal(SEED, [0, 2])
    assert b"".join(pieces) == frame_of(b"a") + frame_of(b"ccc")
    assert [ours.record(number) for number in range(3)] == [record_of(data) for data in (b"a", b"", b"ccc")]
