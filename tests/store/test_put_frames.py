"""Many artifacts put at once: the same store as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.formats.contents.inline_frames import InlineFrames
from aq.formats.identity import Kind
from aq.formats.objects import put_record
from aq.formats.records import Artifact
from aq.store.frames.objects import SPILL_AT
from aq.store.store import Store
from aq.store.system import disk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "repo", time=1, user="ada")
    yield made
    made.close()


def batch(contents: list[bytes]) -> InlineFrames:
    frames = InlineFrames()
    for data in contents:
        frames.add(data)
    return frames


def artifact(data: bytes) -> Artifact:
    return Artifact(kind="file", format="bytes", size=len(data), data=data)


def packs(store: Store) -> list[bytes]:
    return [key for key, _ in store.index.items("packs")]


@pytest.mark.parametrize("size", [10, 3_000])
def test_what_is_put_at_once_can_be_read_and_lies_there_once(store: Store, size: int) -> None:
    contents = [bytes([number % 200]) * size for number in range(500)]
    before = store.new_bytes()
    store.put_frames(batch(contents))
    ids = dict.fromkeys(batch(contents).ids)
    store.put_frames(batch(contents[:7]))  # pending or written already
    for data in contents[:3]:
        assert put_record(store, artifact(data)) in ids
    assert [store.get(Kind.ARTIFACT, id) for id in ids] == [batch([c]).record(0) for c in contents[:200]]
    store.flush()
    stored = store.new_bytes() - before
    assert (len(packs(store)) == 1) == (size * 200 > SPILL_AT // 2)
    assert {key for key, _ in store.index.items("objects")} >= set(ids)
    store.put_frames(batch(contents))  # published already
    store.flush()
    assert store.new_bytes() - before == stored


def test_what_waits_is_written_before_what_is_put_at_once(store: Store) -> None:
    first = put_record(store, artifact(b"waits"))
    contents = [number.to_bytes(2, "big") * 2_000 for number in range(400)]
    store.put_frames(batch(contents))
    assert len(packs(store)) == 0 and len(list((store.control / "packs").iterdir())) == 2
    store.flush()
    assert len(packs(store)) == 1 and store.has(first) and all(map(store.has, batch(contents).ids))


def test_a_failed_write_leaves_nothing_behind(store: Store) -> None:
    def fail(call: str, path: str) -> None:
        if call == "write":
            raise OSError(28, "No space left on device")

    contents = [number.to_bytes(2, "big") * 2_000 for number in range(400)]
    with disk.observed(fail), pytest.raises(Exception, match="no space left"):
        store.put_frames(batch(contents))
    assert not any(map(store.has, batch(contents).ids))
    assert len(list((store.control / "packs").iterdir())) == 1
    store.put_frames(batch(contents))
    store.flush()
    assert all(map(store.has, batch(contents).ids))
