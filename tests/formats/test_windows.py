"""Large files stored by two threads: the same pieces and ids as one after the other, and no thread left."""

from __future__ import annotations

import gzip
import io
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.formats.contents import files, windows
from aq.formats.contents.batches import Batches
from aq.formats.contents.chunking import LONGEST, SHORTEST, cut
from aq.formats.contents.files import encode_stream, pieces, whole_bytes
from aq.formats.contents.windows import Windows, large_file
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import Like, MemoryObjects
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_list
from blake3 import blake3
from hypothesis import HealthCheck, given, settings, strategies as st

MIB = 1 << 20
SMALL_WINDOW = LONGEST + 4_096
SIZES = st.integers(2 * SHORTEST, 6 * SMALL_WINDOW) | st.builds(
    lambda windows, by: windows * SMALL_WINDOW + by, st.integers(1, 5), st.integers(-2, 2)
)


def noise(size: int, seed: bytes = b"") -> bytes:
    return blake3(seed).digest(length=size)


def ours() -> list[threading.Thread]:
    """Threads that the library has left behind."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("aq ")]


class Sink:
    """Notes what is put, and by which threads; its halves are checked to come in order."""

    def __init__(self) -> None:
        self.admitted: list[tuple[Digest, int]] = []
        self.threads: set[int] = set()

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        return object_id(kind, data)

    def stage(self, kind: Kind, data: Buffer) -> tuple[Digest, int]:
        self.threads.add(threading.get_ident())
        return object_id(kind, data), len(data)

    def admit(self, staged: tuple[Digest, int]) -> Digest:
        self.admitted.append(staged)
        return staged[0]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows hardly larger than the longest piece: many borders in few bytes."""
    monkeypatch.setattr(windows, "WINDOW", SMALL_WINDOW)
    monkeypatch.setattr(windows, "PARALLEL_FROM", SHORTEST)
    monkeypatch.setattr(windows, "_spare", [])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.binary(max_size=2), st.sampled_from([0, 16, 200, 255]))
def test_two_threads_cut_as_one(tmp_path: Path, size: int, seed: bytes, zero_below: int) -> None:
    data = noise(size, seed).translate(bytes(b if b >= zero_below else 0 for b in range(256)))
    path = tmp_path / "file"
    path.write_bytes(data)
    golden = [(object_id(Kind.CHUNK, piece), len(piece)) for piece in cut(data)]
    sink = Sink()
    with path.open("rb", buffering=0) as stream:
        artifact = encode_stream(stream, sink)
        assert stream.tell() == size
    assert sink.admitted == golden
    assert artifact == encode_stream(io.BytesIO(data), Sink())


def test_the_work_is_shared_and_nobody_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(40 * SMALL_WINDOW))
    sink = Sink()
    with path.open("rb") as stream:
        encode_stream(stream, sink)
    assert len(sink.threads) == 2
    assert not ours()


@pytest.mark.parametrize("taken", [0, 1, 100_000])
def test_only_what_is_left_of_a_stream_is_stored(tmp_path: Path, taken: int) -> None:
    data = noise(3 * SMALL_WINDOW + 5)
    path = tmp_path / "file"
    path.write_bytes(data)
    for buffering in (0, -1):
        objects = MemoryObjects()
        with path.open("rb", buffering=buffering) as stream:
            stream.read(taken)
            assert large_file(stream) is not None
            artifact = encode_stream(stream, objects)
            assert stream.read() == b""
        assert artifact.size == len(data) - taken
        assert whole_bytes(artifact, objects) == data[taken:]


def test_what_wraps_a_file_is_read_through_the_wrapper(tmp_path: Path) -> None:
    data = noise(3 * SMALL_WINDOW)
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(data, 1))
    objects = MemoryObjects()
    with gzip.open(path) as stream:
        assert stream.fileno() >= 0
        assert whole_bytes(encode_stream(stream, objects), objects) == data


class Changing(Sink):
    """Changes the file's size when the n-th piece is staged."""

    def __init__(self, path: Path, at: int, size: int) -> None:
        super().__init__()
        self.path, self.left, self.size = path, at, size

    def stage(self, kind: Kind, data: Buffer) -> tuple[Digest, int]:
        self.left -= 1
        if self.left == 0:
            os.truncate(self.path, self.size)
        return super().stage(kind, data)


@pytest.mark.parametrize("size", [0, 1, 2 * SMALL_WINDOW, 2 * SMALL_WINDOW + 1, 9 * SMALL_WINDOW])
@pytest.mark.parametrize("at", [1, 4, 12])
def test_a_file_that_shrinks_or_grows_meanwhile_ends_somewhere(tmp_path: Path, size: int, at: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(6 * SMALL_WINDOW))
    sink = Changing(path, at, size)
    with path.open("rb", buffering=0) as stream:
        artifact = encode_stream(stream, sink)
    assert artifact.size == sum(length for _, length in sink.admitted) <= 9 * SMALL_WINDOW
    assert not ours()


class Failing(Sink):
    """Fails at the n-th call of one half, or when the nodes of the list are put."""

    def __init__(self, half: str, at: int, error: BaseException) -> None:
        super().__init__()
        self.half, self.left, self.error = half, at, error

    def _count(self, half: str) -> None:
        if half == self.half:
            self.left -= 1
            if self.left == 0:
                raise self.error

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        self._count("put")
        return super().put(kind, data)

    def stage(self, kind: Kind, data: Buffer) -> tuple[Digest, int]:
        self._count("stage")
        return super().stage(kind, data)

    def admit(self, staged: tuple[Digest, int]) -> Digest:
        self._count("admit")
        return super().admit(staged)


@pytest.mark.parametrize("error", [OSError(5, "as wanted"), KeyboardInterrupt(), MemoryError()], ids=repr)
@pytest.mark.parametrize(
    ("half", "at"), [("put", 1), *((h, n) for h in ("stage", "admit") for n in (1, 7, 30))]
)
def test_an_error_in_either_thread_reaches_the_caller(
    tmp_path: Path, half: str, at: int, error: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(8 * SMALL_WINDOW))
    sink = Failing(half, at, error)
    with path.open("rb", buffering=0) as stream, pytest.raises(type(error)) as raised:
        encode_stream(stream, sink)
    assert raised.value is error
    assert not ours()
    golden = [(object_id(Kind.CHUNK, piece), len(piece)) for piece in cut(path.read_bytes())]
    assert sink.admitted == golden[: len(sink.admitted)]


def test_a_caller_that_fails_stops_the_thread(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(8 * SMALL_WINDOW))
    with path.open("rb") as stream:
        found = Windows(stream.fileno(), 0, b"", Batches(Sink()))
        with pytest.raises(ZeroDivisionError), found:
            _ = [1 // 0 for _ in found]
    assert not ours()


def test_without_a_second_thread_it_only_takes_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    data = noise(5 * SMALL_WINDOW)
    path = tmp_path / "file"
    path.write_bytes(data)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    objects = MemoryObjects()
    with path.open("rb") as stream:
        artifact = encode_stream(stream, objects)
    assert whole_bytes(artifact, objects) == data
    assert artifact.root is not None
    assert sum(piece.length for piece in pieces(objects, artifact.root)) == artifact.size


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(3 * SMALL_WINDOW + 17))
    counted: list[int] = []
    with path.open("rb") as stream:
        artifact = files.encode_stream(stream, Sink(), on_bytes=counted.append)
    assert sum(counted) == artifact.size


class Kept(Sink):
    """A sink that remembers what each piece was said to resemble, and has an earlier version to read."""

    def stage(  # type: ignore[override]
        self, kind: Kind, data: Buffer, *, near: object = None, id: Digest | None = None
    ) -> tuple[Digest, int]:
        assert id == object_id(kind, data)
        return super().stage(kind, data)


def edited(data: bytes, edits: list[tuple[int, str, int]]) -> bytes:
    """Some changes of a file, each at a thousandth of it."""
    for place, how, size in edits:
        at = len(data) * place // 1_000
        new = noise(size, b"%d" % place)
        if how == "insert":
            data = data[:at] + new + data[at:]
        elif how == "delete":
            data = data[:at] + data[at + size :]
        elif how == "zero":
            data = data[:at] + bytes(size) + data[at + size :]
        else:
            data = data[:at] + new + data[at + size :]
    return data


EDITS = st.lists(
    st.tuples(
        st.integers(0, 1_000),
        st.sampled_from(["insert", "delete", "replace", "zero"]),
        st.sampled_from([1, 2, 63, 1_000, SHORTEST, LONGEST, 3 * LONGEST]),
    ),
    max_size=5,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(LONGEST, 14 * LONGEST), EDITS, st.sampled_from([0, 16, 250]), st.sampled_from([2, 3]))
def test_beside_an_earlier_version_the_cuts_are_the_same(
    tmp_path: Path, size: int, edits: list[tuple[int, str, int]], zero_below: int, longest: int
) -> None:
    before = noise(size).translate(bytes(b if b >= zero_below else 0 for b in range(256)))
    data = edited(before, edits)
    store = MemoryObjects()
    like = Like(encode_stream(io.BytesIO(before), store), store)
    (tmp_path / "file").write_bytes(data)
    sink = Kept()
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "file").open("rb", buffering=0) as stream:
        patch.setattr(windows, "WINDOW", longest * LONGEST)
        artifact = encode_stream(stream, sink, like=like)
    if len(data) >= SHORTEST:
        assert sink.admitted == [(object_id(Kind.CHUNK, piece), len(piece)) for piece in cut(data)]
    assert artifact == encode_stream(io.BytesIO(data), Sink())


@pytest.mark.parametrize("changed", [None, 0, 20, 39])
def test_what_is_as_before_is_not_cut_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: int | None
) -> None:
    before = noise(40 * LONGEST)
    data = before if changed is None else edited(before, [(changed * 25, "replace", LONGEST)])
    store = MemoryObjects()
    like = Like(encode_stream(io.BytesIO(before), store), store)
    (tmp_path / "file").write_bytes(data)
    looked: list[int] = []

    def settled(some: memoryview, *, ended: bool) -> Iterator[memoryview]:
        looked.append(len(some))
        return whole(some, ended=ended)

    whole = windows.settled
    monkeypatch.setattr(windows, "settled", settled)
    monkeypatch.setattr(windows, "WINDOW", 4 * LONGEST)
    with (tmp_path / "file").open("rb", buffering=0) as stream:
        assert encode_stream(stream, Kept(), like=like) == encode_stream(io.BytesIO(data), Sink())
    assert sum(looked) < (0.5 if changed is None else 0.85) * len(data)


def test_an_earlier_version_of_other_content_decides_nothing(tmp_path: Path) -> None:
    data = noise(12 * LONGEST)
    right = list(cut(data))
    (tmp_path / "file").write_bytes(data)
    for wrong in ([data[: 2 * LONGEST], data[2 * LONGEST :]], right[::-1], [*right[:5], *right[7:]]):
        store = MemoryObjects()
        listed = [struct.pack("<32sI", store.put(Kind.CHUNK, piece), len(piece)) for piece in wrong]
        like = Like(
            Artifact(kind="file", format="bytes", size=len(data), root=build_list(store, listed)), store
        )
        sink = Kept()
        with (tmp_path / "file").open("rb", buffering=0) as stream:
            encode_stream(stream, sink, like=like)
        assert [length for _, length in sink.admitted] == list(map(len, right))
