"""A large file comes out of its packs as it went in, in runs, and what is wrong with it is named."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from aq.formats.contents.chunking import LONGEST
from aq.formats.contents.files import encode_stream, pieces
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects, Source
from aq.formats.packing.packs import Place
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_list
from aq.store.frames import streaming
from aq.store.frames.streaming import copy_content
from aq.store.store import Store
from aq.store.system import disk
from blake3 import blake3
from hypothesis import HealthCheck, given, settings, strategies as st

MIB = 1 << 20


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many runs and borders in few bytes."""
    monkeypatch.setattr(streaming, "RUN", LONGEST + 4_096)
    monkeypatch.setattr(streaming, "AHEAD", 3 * LONGEST)
    monkeypatch.setattr(streaming, "PARALLEL_FROM", 2 * LONGEST)
    monkeypatch.setattr(streaming, "_spare", [])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "repo", time=0, user="ada") as made:
        yield made


def noise(size: int, seed: bytes = b"") -> bytes:
    return blake3(seed).digest(length=size)


def stored(store: Store, data: bytes) -> Artifact:
    artifact = encode_stream(io.BytesIO(data), store)
    store.flush()
    return artifact


def copied(source: Source, artifact: Artifact, path: Path) -> bytes:
    """What `copy_content` wrote."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    counted: list[int] = []
    try:
        size = copy_content(source, artifact, fd, str(path), on_bytes=counted.append)
    finally:
        os.close(fd)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("aq ")]
    assert size == artifact.size == sum(counted)
    return path.read_bytes()


CONTENTS = {
    "nothing": b"",
    "inline": b"short",
    "one piece": noise(70_000),
    "noise": noise(9 * MIB),
    "text": b"2013-01-01,UA,1545,N14228,EWR,IAH\n" * 300_000,
    "zeros": bytes(7 * MIB + 1),
    "both": noise(3 * MIB) + bytes(3 * MIB) + noise(3 * MIB) + b"end",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_comes_back(store: Store, tmp_path: Path, name: str) -> None:
    data = CONTENTS[name]
    assert copied(store, stored(store, data), tmp_path / "out") == data


def test_what_is_not_published_yet_comes_back(store: Store, tmp_path: Path) -> None:
    for data in (noise(300_000), noise(6 * MIB)):
        assert copied(store, encode_stream(io.BytesIO(data), store), tmp_path / "out") == data


def test_any_source_will_do(tmp_path: Path) -> None:
    objects = MemoryObjects()
    artifact = encode_stream(io.BytesIO(CONTENTS["both"]), objects)
    assert copied(objects, artifact, tmp_path / "out") == CONTENTS["both"]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5 * MIB), st.integers(1, MIB), st.binary(max_size=3)), max_size=4))
def test_pieces_scattered_over_packs_come_together(
    store: Store, tmp_path: Path, changes: list[tuple[int, int, bytes]]
) -> None:
    data = bytearray(noise(6 * MIB))
    stored(store, bytes(data))
    for at, length, seed in changes:
        data[at : at + length] = noise(length, seed)
        artifact = stored(store, bytes(data))
        assert copied(store, artifact, tmp_path / "out") == data


def test_pieces_that_lie_as_deltas_come_back(store: Store, tmp_path: Path) -> None:
    elements, whole = [], b""
    base = None
    for number in range(5):
        data = bytearray(noise(500_000))
        data[number * 1_000 : number * 1_000 + 10] = b"difference"
        id = store.put(Kind.CHUNK, bytes(data), base=base)
        base = base or id
        elements.append(bytes(id) + (len(data) | (number < 4) << 31).to_bytes(4, "little"))
        whole += data
    root = build_list(store, elements)
    store.flush()
    places = store.places([element[:32] for element in elements])
    assert [place is not None and place.bases != () for place in places] == [False] + [True] * 4
    artifact = Artifact(kind="file", format="bytes", size=len(whole), root=root)
    assert copied(store, artifact, tmp_path / "out") == whole


class Stale:
    """A store whose answers about places are those of an earlier moment."""

    def __init__(self, store: Store, moved: Place) -> None:
        self.store, self.moved = store, moved

    def get(self, kind: Kind, id: bytes) -> bytes:
        return self.store.get(kind, id)

    def places(self, ids: Iterable[bytes]) -> list[Place | None]:
        found = self.store.places(ids)
        return [place and place._replace(pack=self.moved.pack, offset=self.moved.offset) for place in found]

    def read_into(self, pack: bytes, offset: int, buffer: memoryview) -> int:
        return self.store.read_into(pack, offset, buffer)


@pytest.mark.parametrize("offset", [0, 64, 1 << 40])
@pytest.mark.parametrize("there", [True, False])
def test_frames_that_were_moved_are_looked_up_again(
    store: Store, tmp_path: Path, there: bool, offset: int
) -> None:
    artifact = stored(store, CONTENTS["both"])
    assert artifact.root is not None
    place = store.places([next(pieces(store, artifact.root)).id])[0]
    assert place is not None
    moved = place._replace(pack=place.pack if there else bytes(8), offset=offset)
    assert copied(Stale(store, moved), artifact, tmp_path / "out") == CONTENTS["both"]


@pytest.mark.parametrize("at", [0, 8, 13, 30, 40, 64, 65_600, -1])
@pytest.mark.parametrize("number", [0, 20, -1])
def test_damage_is_named_by_its_object(store: Store, tmp_path: Path, number: int, at: int) -> None:
    artifact = stored(store, CONTENTS["noise"])
    assert artifact.root is not None
    id = list(pieces(store, artifact.root))[number].id
    place = store.places([id])[0]
    assert place is not None
    with (store.control / "packs" / f"{place.pack.hex()}.pack").open("r+b") as pack:
        pack.seek(place.offset + at % place.size)
        flipped = pack.read(1)[0] ^ 4
        pack.seek(-1, os.SEEK_CUR)
        pack.write(bytes((flipped,)))
    with pytest.raises(Damaged, match=str(id)):
        copied(store, artifact, tmp_path / "out")
    written, whole = (tmp_path / "out").read_bytes(), CONTENTS["noise"]
    different = [at for at in range(0, len(written), 4_096) if written[at] not in (whole[at], 0)]
    assert not different, "bytes of a damaged frame were written"


def test_a_lost_pack_is_named_by_an_object_in_it(store: Store, tmp_path: Path) -> None:
    artifact = stored(store, CONTENTS["noise"])
    for pack in (store.control / "packs").glob("*.pack"):
        if pack.stat().st_size > MIB:
            pack.unlink()
    with pytest.raises(Damaged, match="is lost"):
        copied(Store.open(store.root), artifact, tmp_path / "out")


def test_a_list_that_tells_another_length_is_damage(store: Store, tmp_path: Path) -> None:
    data = noise(100_000)
    chunk = store.put(Kind.CHUNK, data)
    for length in (99_999, 100_001):
        root = build_list(store, [bytes(chunk) + length.to_bytes(4, "little")])
        store.flush()
        artifact = Artifact(kind="file", format="bytes", size=length, root=root)
        with pytest.raises(Damaged, match="instead of"):
            copied(store, artifact, tmp_path / "out")


@pytest.mark.parametrize("number", [1, 2, 5, 17])
def test_a_full_disk_stops_both_threads(store: Store, tmp_path: Path, number: int) -> None:
    artifact = stored(store, CONTENTS["noise"])
    left = [number]

    def fill(call: str, _path: str) -> None:
        left[0] -= call == "write"
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "full")

    with disk.observed(fill), pytest.raises(AqError, match="no space left"):
        copied(store, artifact, tmp_path / "out")
