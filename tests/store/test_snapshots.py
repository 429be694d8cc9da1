"""Snapshots: one encoding an entry, edits and differences by path."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from aq.formats.errors import Damaged
from aq.formats.identity import Digest
from aq.formats.objects import MemoryObjects
from aq.formats.trees.prolly import build_map
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin, Touched
from hypothesis import given, strategies as st

DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
FILES = st.builds(Entry, DIGESTS, st.just(Origin.FILE), st.none(), st.sampled_from(Mode))
ENTRIES = (
    FILES
    | st.builds(Entry, DIGESTS, st.just(Origin.MADE), DIGESTS, st.just(Mode.FILE))
    | st.builds(Entry, DIGESTS, st.just(Origin.GIVEN), st.none(), st.just(Mode.FILE))
)


def entry(number: int, origin: Origin = Origin.FILE) -> Entry:
    step = Digest(bytes([9]) * 32) if origin is Origin.MADE else None
    return Entry(Digest(bytes([number]) * 32), origin, step, Mode.FILE)


def test_the_bytes_of_an_entry() -> None:
    assert snapshots.pack(entry(7)) == b"\x94\xc4\x20" + b"\x07" * 32 + b"\x00\xc0\x00"
    made = snapshots.pack(entry(7, Origin.MADE))
    assert made == b"\x94\xc4\x20" + b"\x07" * 32 + b"\x01\xc4\x20" + b"\x09" * 32 + b"\x00"


@given(ENTRIES)
def test_an_entry_survives(value: Entry) -> None:
    data = snapshots.pack(value)
    assert snapshots.unpack(data) == value
    assert snapshots.is_file(data) == (value.origin is Origin.FILE)


@given(st.none() | FILES, st.none() | FILES)
def test_both_states_of_a_touched_file_survive(before: Entry | None, after: Entry | None) -> None:
    touched = Touched(before, after)
    value = snapshots.pack_touched(touched)
    assert snapshots.unpack_touched(value) == touched
    packed = tuple(None if entry is None else snapshots.pack(entry) for entry in touched)
    assert snapshots.join_touched(*packed) == value and snapshots.split_touched(value) == packed


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc0",
        msgspec.msgpack.encode([b"\1" * 31, 0, None, 0]),
        msgspec.msgpack.encode([b"\1" * 32, 3, None, 0]),
        msgspec.msgpack.encode([b"\1" * 32, 0, None, 3]),
        msgspec.msgpack.encode([b"\1" * 32, 0, b"\2" * 32, 0]),
        msgspec.msgpack.encode([b"\1" * 32, 1, None, 0]),
        msgspec.msgpack.encode([b"\1" * 32, 2, None, 2]),
        msgspec.msgpack.encode([b"\1" * 32, 0, None, 0, 0]),
        b"\x94\xc4\x20" + b"\x07" * 32 + b"\xcc\x00\xc0\x00",
        b"\x94\xc5\x00\x20" + b"\x07" * 32 + b"\x00\xc0\x00",
    ],
)
def test_a_hostile_entry_is_refused(value: bytes) -> None:
    with pytest.raises(Damaged):
        snapshots.unpack(value)
    objects = MemoryObjects()
    with pytest.raises(Damaged):
        list(snapshots.entries(objects, build_map(objects, [(b"a", value)])))


@given(st.binary(max_size=90))
def test_any_bytes_as_an_entry_raise_nothing_else(value: bytes) -> None:
    for read in (snapshots.unpack, snapshots.unpack_touched, snapshots.split_touched):
        with suppress(Damaged):
            read(value)


def test_edit_look_up_and_compare() -> None:
    objects = MemoryObjects()
    empty = snapshots.empty(objects)
    first = snapshots.edit(objects, empty, {"b": entry(1), "a/x": entry(2), "a": entry(3, Origin.GIVEN)})
    assert [path for path, _ in snapshots.entries(objects, first)] == ["a", "a/x", "b"]
    assert snapshots.get_entry(objects, first, "a/x") == entry(2)
    assert snapshots.get_entry(objects, first, "a/y") is None
    second = snapshots.edit(objects, first, {"b": None, "c": entry(4), "a/x": entry(5)})
    assert list(snapshots.changes(objects, first, second)) == [
        ("a/x", entry(2), entry(5)),
        ("b", entry(1), None),
        ("c", None, entry(4)),
    ]
    assert snapshots.edit(objects, second, {"b": entry(1), "c": None, "a/x": entry(2)}) == first


def test_a_prefix_is_a_folder_and_not_a_beginning_of_a_name() -> None:
    objects = MemoryObjects()
    names = ["data", "data-old/x", "data.csv", "data/a", "data/b/c", "data2", "dat"]
    root = snapshots.edit(objects, snapshots.empty(objects), {name: entry(1) for name in names})

    def below(prefix: str) -> list[str]:
        return [path for path, _ in snapshots.entries(objects, root, prefix=prefix)]

    assert below("data") == ["data", "data/a", "data/b/c"]
    assert below("data/") == ["data/a", "data/b/c"]
    assert below("data/b") == ["data/b/c"]
    assert below("nothing") == []
    assert sorted(below("")) == sorted(names)
