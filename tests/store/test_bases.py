"""Chunks that lie as deltas: small, exact, and never without what they are made from."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aq.formats.errors import Damaged, Temporary
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.packing import deltas
from aq.formats.python.array_values import encode_array
from aq.formats.records import Commit
from aq.formats.trees.prolly import build_list
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Origin
from aq.store.frames import bases
from aq.store.frames.packs import Frame
from aq.store.store import Store
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, collect

NOISE = random.Random(1).randbytes(80_000)


def version(number: int) -> bytes:
    """NOISE with one place changed."""
    data = bytearray(NOISE)
    data[number * 100 : number * 100 + 8] = b"%08d" % number
    return bytes(data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.create(tmp_path / "r", time=1, user="ada") as store:
        yield store


def publish(store: Store, name: str, chunks: list[bytes]) -> Digest:
    """A commit of arrays that consist of these chunks, which a tag names."""
    entries = {f"{name}/{at}": Entry(array_of(store, chunk), Origin.GIVEN) for at, chunk in enumerate(chunks)}
    snapshot = snapshots.edit(store, snapshots.empty(store), entries)
    commit = put_record(store, Commit(snapshot=snapshot, parents=[], message=name, author="a", time=1))
    transaction = store.transaction("commit", time=1, user="ada")
    transaction.set(f"tag/{name}", Ref(commit))
    transaction.commit()
    return commit


def array_of(store: Store, chunk: bytes) -> Digest:
    """An artifact whose only chunk is this one, which the store has."""
    encoded = encode_array(np.frombuffer(store.get(Kind.CHUNK, chunk), np.uint8), store)
    assert encoded is not None
    return put_record(store, encoded[0])


def drop(store: Store, name: str) -> None:
    transaction = store.transaction("tag", time=2, user="ada")
    transaction.set(f"tag/{name}", None)
    transaction.commit()


def base_of(store: Store, id: bytes) -> bytes | None:
    place = store.index.place(id)
    assert place is not None and len(place.bases) < 2
    return place.bases[0] if place.bases else None


@pytest.mark.parametrize("flushed", [False, True])
def test_a_delta_takes_what_differs_and_comes_back_whole(store: Store, flushed: bool) -> None:
    first = store.put(Kind.CHUNK, NOISE)
    if flushed:
        store.flush()
    ids = [store.put(Kind.CHUNK, version(n), base=first) for n in range(1, 5)]
    assert [store.get(Kind.CHUNK, id) for id in ids] == [version(n) for n in range(1, 5)]
    before = store.new_bytes()
    store.flush()
    assert store.new_bytes() - before < 2_000 + (0 if flushed else 81_000)
    with Store.open(store.root) as again:
        assert [again.get(Kind.CHUNK, id) for id in ids] == [version(n) for n in range(1, 5)]
        assert again.size_of(ids[0]) == len(NOISE)
        assert fsck(again, full=True).problems == []


def test_the_base_of_a_delta_is_the_base_of_the_next(store: Store) -> None:
    ids = [store.put(Kind.CHUNK, NOISE)]
    for number in range(1, 6):
        ids.append(store.put(Kind.CHUNK, version(number), base=ids[-1]))
        store.flush()
    assert [base_of(store, id) for id in ids] == [None] + [bytes(ids[0])] * 5


@pytest.mark.parametrize("base", [bytes(32), "itself", "node", "other"])
def test_what_can_be_no_base_is_none(store: Store, base: str | bytes) -> None:
    from aq.formats.identity import object_id

    named = {
        "itself": object_id(Kind.CHUNK, NOISE),
        "node": build_list(store, [b"x" * 36]),
        "other": store.put(Kind.CHUNK, random.Random(2).randbytes(60_000)),
    }
    id = store.put(Kind.CHUNK, NOISE, base=named[base] if isinstance(base, str) else base)
    store.flush()
    assert base_of(store, id) is None
    assert store.get(Kind.CHUNK, id) == NOISE


def test_a_base_outlives_what_it_was_made_for(store: Store) -> None:
    first = store.put(Kind.CHUNK, NOISE)
    publish(store, "old", [first])
    second = store.put(Kind.CHUNK, version(1), base=first)
    publish(store, "new", [second])
    drop(store, "old")
    other = store.put(Kind.CHUNK, random.Random(3).randbytes(3_000_000))
    store.flush()
    for _ in range(2):
        collect(store, now=400 * DAY, user="ada", grace=0, retention=0)
    assert store.kind_of(other) is None
    assert base_of(store, second) == first
    assert store.get(Kind.CHUNK, second) == version(1)
    assert fsck(store, full=True).problems == []
    drop(store, "new")
    publish(store, "later", [store.put(Kind.CHUNK, random.Random(4).randbytes(80_000))])
    for _ in range(3):
        collect(store, now=800 * DAY, user="ada", grace=0, retention=0)
    assert store.kind_of(first) is None and store.kind_of(second) is None


def test_what_is_condemned_is_no_base(store: Store) -> None:
    first = store.put(Kind.CHUNK, NOISE)
    store.flush()
    store.renew_lease()
    collect(store, now=400 * DAY, user="ada", retention=0)
    assert store.index.get("condemned", first) is not None
    second = store.put(Kind.CHUNK, version(1), base=first)
    store.flush()
    assert base_of(store, second) is None


def test_a_delta_found_again_takes_its_base_along(store: Store) -> None:
    first = store.put(Kind.CHUNK, NOISE)
    second = store.put(Kind.CHUNK, version(1), base=first)
    store.flush()
    with Store.open(store.root) as collector:
        collect(collector, now=400 * DAY, user="ada", retention=0)
    assert store.index.get("condemned", first) is not None
    publish(store, "found", [second])
    with Store.open(store.root) as collector:
        for _ in range(2):
            collect(collector, now=401 * DAY, user="ada", grace=0, retention=0)
        assert collector.get(Kind.CHUNK, second) == version(1)
        assert fsck(collector, full=True).problems == []


def test_a_damaged_base_is_named_and_so_is_the_delta(store: Store) -> None:
    first = store.put(Kind.CHUNK, NOISE)
    second = store.put(Kind.CHUNK, version(1), base=first)
    publish(store, "both", [first, second])
    place = store.index.place(first)
    assert place is not None
    fd = os.open(f"{store.control}/packs/{place.pack.hex()}.pack", os.O_WRONLY)
    os.pwrite(fd, b"\0\1\2\3", place.offset + place.size - 40)
    os.close(fd)
    with Store.open(store.root) as again:
        with pytest.raises(Damaged, match=first.hex()):
            again.get(Kind.CHUNK, second)
        found = {problem.id for problem in fsck(again, full=True).problems}
        assert {first.hex(), second.hex()} <= {
            str(id) if isinstance(id, str) else id.hex() for id in found if id
        }


def test_a_rebuilt_index_knows_the_bases(store: Store) -> None:
    from aq.store.transactions.rebuild import rebuild

    first = store.put(Kind.CHUNK, NOISE)
    second = store.put(Kind.CHUNK, version(1), base=first)
    publish(store, "both", [first, second])
    store.close()
    rebuild(str(store.control))
    with Store.open(store.root) as again:
        assert base_of(again, second) == first
        assert again.get(Kind.CHUNK, second) == version(1)


@pytest.mark.parametrize("size", [0, 25, 27, 26 + 31, 26 + 65])
def test_a_place_that_was_cut_short_is_damage(size: int) -> None:
    from aq.store.frames.environment import DamagedIndex
    from aq.store.frames.place_rows import bases_in, decode_place

    assert len(decode_place(bytes(26 + 64)).bases) == 2
    for read in (decode_place, bases_in):
        with pytest.raises(DamagedIndex):
            read(bytes(size))


def test_deltas_outlive_a_rebuild_that_reads_everything(store: Store) -> None:
    """Whichever pack comes first: the bases of a delta may be found behind it."""
    from aq.store.upkeep.mend import mend

    first = [store.put(Kind.CHUNK, random.Random(n).randbytes(2_000_000)) for n in range(2)]
    publish(store, "bases", first)
    whole = [bytearray(store.get(Kind.CHUNK, id)) for id in first]
    for data in whole:
        data[9:13] = b"edit"
    made = [
        store.put(Kind.CHUNK, data + bytes([n]), base=base)
        for data, base in zip(whole, first, strict=True)
        for n in range(3)
    ]
    publish(store, "deltas", made)
    store.close()
    mend(store.root)
    with Store.open(store.root) as again:
        assert [base_of(again, id) for id in made] == [first[0]] * 3 + [first[1]] * 3
        assert [len(again.get(Kind.CHUNK, id)) for id in made] == [2_000_001] * 6
        assert fsck(again, full=True).problems == []


def row_of_deltas(store: Store, count: int, *, base: Digest, first: int = 1) -> list[Digest]:
    """Versions in a row, each a delta of the one before, not published yet."""
    ids = [base]
    for number in range(first, first + count):
        packed = deltas.pack(version(number), store.get(Kind.CHUNK, ids[-1]), 10_000)
        assert packed is not None
        id = store._objects.stage(Kind.CHUNK, version(number))[0]
        frame = Frame(Kind.CHUNK, id, packed[1], codec=packed[0], length=len(NOISE), bases=(bytes(ids[-1]),))
        ids.append(store._objects.admit((id, (frame,))))
    return ids[1:]


def test_a_row_of_deltas_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = row_of_deltas(store, bases.DEEPEST + 1, base=store.put(Kind.CHUNK, NOISE))
    with monkeypatch.context() as another:
        another.setattr(bases, "DEEPEST", bases.DEEPEST + 1)
        store.flush()
    assert store.get(Kind.CHUNK, ids[-2]) == version(bases.DEEPEST)
    with Store.open(store.root) as again, pytest.raises(Damaged, match="too many deltas"):
        again.get(Kind.CHUNK, ids[-1])
    assert any("too many deltas" in problem.detail for problem in fsck(store, full=False).problems)


def test_what_another_writer_stored_deep_meanwhile_is_no_base(store: Store) -> None:
    """Nothing is published that no reader would follow."""
    row = row_of_deltas(store, bases.DEEPEST, base=store.put(Kind.CHUNK, NOISE))
    with Store.open(store.root) as other:
        assert other.put(Kind.CHUNK, version(bases.DEEPEST)) == row[-1]  # in full, as far as it can tell
        [last] = row_of_deltas(other, 1, base=row[-1], first=99)
        store.flush()
        with pytest.raises(Temporary, match="nothing was changed"):
            other.flush()
        assert other.put(Kind.CHUNK, version(99), base=row[-1]) == last
        other.flush()
    assert store.get(Kind.CHUNK, last) == version(99)
    assert fsck(store, full=True).problems == []
