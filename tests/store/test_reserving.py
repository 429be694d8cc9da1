"""Room that is set aside for a pack: it is there while the pack is written, and no more of it in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aq.formats.identity import Kind, object_id
from aq.store import disk
from aq.store.pack_contents import read_places
from aq.store.packs import SEAL_AT, Frame, PackWriter

MIB = 1 << 20


def frames(size: int) -> Iterator[Frame]:
    for number in range(size // MIB):
        data = os.urandom(MIB - 8) + number.to_bytes(8, "little")
        yield Frame(Kind.CHUNK, object_id(Kind.CHUNK, data), data, length=len(data))


def taken(pack: PackWriter) -> int:
    return os.fstat(pack.fd).st_blocks * 512


def require_whole(pack: PackWriter) -> None:
    assert os.fstat(pack.fd).st_size == pack.end
    assert taken(pack) < pack.end + MIB
    assert read_places(pack.path, pack.name) == pack.places


@pytest.mark.parametrize("size", [3 * MIB, 12 * MIB, SEAL_AT - MIB, SEAL_AT + MIB])
def test_a_pack_takes_what_it_holds(tmp_path: Path, size: int) -> None:
    with closing(PackWriter(str(tmp_path))) as pack:
        for frame in frames(size):
            pack.add([frame])
            assert os.fstat(pack.fd).st_size == pack.end
        if pack.end < 8 * MIB:
            assert taken(pack) < pack.end + MIB
        pack.seal()
        require_whole(pack)


def test_where_no_room_can_be_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (None, lambda *_: -1):
        monkeypatch.setattr(disk, "_fallocate", lambda found=found: found)
        with closing(PackWriter(str(tmp_path))) as pack:
            for frame in frames(10 * MIB):
                pack.add([frame])
            pack.seal()
            require_whole(pack)


def test_room_is_set_aside_once(tmp_path: Path) -> None:
    seen: list[str] = []
    with disk.observed(lambda call, path: seen.append(call)), closing(PackWriter(str(tmp_path))) as pack:
        for frame in frames(20 * MIB):
            pack.add([frame])
        pack.seal()
    assert seen.count("reserve") == seen.count("truncate") == 1
    assert seen.index("reserve") < seen.index("truncate") < seen.index("fsync")
