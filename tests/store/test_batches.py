"""Many objects looked at once: each as `get` gives it, however it lies, or the same complaint."""

from __future__ import annotations

import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import MemoryObjects, visit
from aq.formats.packing import deltas, packs
from aq.store.store import Store
from hypothesis import given, settings, strategies as st

NOISE = random.Random(1).randbytes(90_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with chunks of every kind of codec, in several packs, some not published yet."""
    with Store.create(tmp_path_factory.mktemp("batches") / "r", time=1, user="ada") as store:
        for start in range(0, len(CHUNKS), 40):
            for at in range(start, min(start + 40, len(CHUNKS))):
                base = object_id(Kind.CHUNK, CHUNKS[at - 1]) if at % 3 else None
                store.put(Kind.CHUNK, CHUNKS[at], base=base)
            if start < 80:
                store.flush()
        yield store


def chunk(number: int) -> bytes:
    """Noise with an edit, numbers, or a text."""
    if number % 5 == 3:
        return b"text %d " % number * (number * 30)
    if number % 5 == 4:
        return b"".join(value.to_bytes(8, "little") for value in range(number, number + 9_000))
    return NOISE[: 60_000 + number] + b"%d" % number + NOISE[60_000 + number :]


CHAIN = [NOISE]
for word in b"the first edit of them", b"the second edit of them":
    CHAIN.append(CHAIN[-1][:50_010] + word + CHAIN[-1][50_010:])
CHUNKS = [chunk(number) for number in range(120)]
IDS = [object_id(Kind.CHUNK, data) for data in CHUNKS]


def shown(source: Store | MemoryObjects, ids: list[Digest]) -> dict[int, bytes]:
    """What `visit` shows, by position."""
    found: dict[int, bytes] = {}

    def see(at: int, data: Buffer) -> None:
        assert at not in found
        found[at] = bytes(data)

    visit(source, Kind.CHUNK, ids, see)
    return found


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, len(CHUNKS) - 1), max_size=40))
def test_all_are_shown_as_often_as_asked_for(store: Store, numbers: list[int]) -> None:
    found = shown(store, [IDS[number] for number in numbers])
    assert found == {at: CHUNKS[number] for at, number in enumerate(numbers)}


def test_much_is_shown_by_two_threads_which_end(store: Store) -> None:
    seen: Counter[str] = Counter()
    store.visit(Kind.CHUNK, IDS * 3, lambda _at, _data: seen.update([threading.current_thread().name]))
    assert seen.total() == 3 * len(IDS)
    assert all(thread.name != "aq second" for thread in threading.enumerate())


def test_what_goes_wrong_while_looking_comes_out(store: Store) -> None:
    def refuse(at: int, _data: Buffer) -> None:
        if at == 77:
            raise KeyError(at)

    with pytest.raises(KeyError):
        store.visit(Kind.CHUNK, IDS, refuse)
    assert all(thread.name != "aq second" for thread in threading.enumerate())


def test_a_source_without_it_is_asked_one_by_one() -> None:
    memory = MemoryObjects()
    for data in CHUNKS[:9]:
        memory.put(Kind.CHUNK, data)
    assert shown(memory, IDS[:9]) == dict(enumerate(CHUNKS[:9]))


def test_damage_and_absence_are_told_as_by_get(tmp_path: Path) -> None:
    with Store.create(tmp_path / "r", time=1, user="ada") as store:
        for data in CHUNKS[:50]:
            store.put(Kind.CHUNK, data)
        store.flush()
        packs = sorted((tmp_path / "r" / ".aq" / "packs").glob("*.pack"), key=lambda one: one.stat().st_size)
        data = bytearray(packs[-1].read_bytes())
        data[len(data) // 2] ^= 1
        packs[-1].chmod(0o644)
        packs[-1].write_bytes(data)
        harmed = []
        for id in IDS[:50]:
            try:
                store.get(Kind.CHUNK, id)
            except Damaged:
                harmed.append(id)
        assert harmed
        with pytest.raises(Damaged, match="damaged"):
            shown(store, IDS[:50])
        whole = [id for id in IDS[:50] if id not in harmed]
        assert shown(store, whole) == {at: CHUNKS[IDS.index(id)] for at, id in enumerate(whole)}
        with pytest.raises(Damaged, match="missing"):
            shown(store, [*whole, IDS[60]])
        with pytest.raises(Damaged, match="not a node"):
            store.visit(Kind.NODE, [whole[0], whole[1]], lambda _at, _data: None)


def test_what_is_only_passed_on_is_no_less_checked(tmp_path: Path) -> None:
    """The middle one of a chain makes other bytes than its id says: what is made of it tells."""
    ids = [object_id(Kind.CHUNK, data) for data in CHAIN]
    for is_harmed in False, True:
        root = tmp_path / str(is_harmed)
        with Store.create(root, time=1, user="ada") as store:
            for data in CHAIN:
                store.put(Kind.CHUNK, data)
            store.flush()
        for path in (root / ".aq" / "packs").glob("*.pack"):
            chained(path, ids, is_harmed=is_harmed)
        shutil.rmtree(root / ".aq" / "index")
        with Store.open(root) as store:
            assert shown(store, ids[:1]) == {0: CHAIN[0]}
            for at in 1, 2:
                if is_harmed:
                    with pytest.raises(Damaged, match="damaged"):
                        shown(store, [ids[0], ids[at]])
                else:
                    assert shown(store, [ids[0], ids[at]]) == {0: CHAIN[0], 1: CHAIN[at]}


def test_no_row_of_bases_is_followed_further_than_by_get(tmp_path: Path) -> None:
    """Ever so many in a row are damage, not the end of the stack; `get` follows eight."""
    chain = [NOISE[:300] + b"%4d" % number + NOISE[300:600] for number in range(1_500)]
    ids = [object_id(Kind.CHUNK, data) for data in chain]
    with Store.create(tmp_path / "r", time=1, user="ada") as store:
        for data in chain:
            store.put(Kind.CHUNK, data)
        store.flush()
    for path in (tmp_path / "r" / ".aq" / "packs").glob("*.pack"):
        chained(path, ids, chain=chain)
    shutil.rmtree(tmp_path / "r" / ".aq" / "index")
    with Store.open(tmp_path / "r") as store:
        assert shown(store, ids[:9]) == dict(enumerate(chain[:9]))
    for asked in ids, ids[:10], ids[9:10]:
        with (
            Store.open(tmp_path / "r") as store,
            pytest.raises(Damaged, match="too many deltas in a row"),
        ):
            shown(store, asked)


def chained(
    path: Path, ids: list[Digest], *, is_harmed: bool = False, chain: Sequence[bytes] = CHAIN
) -> None:
    """Write a pack again, with each chunk of the chain as a delta of the one before it."""
    pack, name = path.read_bytes(), bytes.fromhex(path.stem)
    made, at = bytearray(pack[: packs.HEADER_SIZE]), packs.HEADER_SIZE
    while (head := packs.decode_head(pack, at)) is not None:
        payload, codec, bases = pack[at + head.start : at + head.size], head.codec, head.bases
        if head.id in ids[1:]:
            number = ids.index(Digest(head.id))
            codec, payload = deltas.pack(chain[number], chain[number - 1], 10_000) or (0, b"")
            payload = payload.replace(b"first", b"third" if is_harmed else b"first")
            bases = (ids[number - 1],)
        told = {"codec": codec, "length": head.length, "bases": bases}
        made += b"".join(packs.encode_frame(packs.seed_of(name), head.kind, head.id, payload, **told))
        at += head.size
    path.chmod(0o644)
    path.write_bytes(made)
