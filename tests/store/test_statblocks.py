"""Rows of the stat cache in blocks: what was set is found, whatever came before it, and it stays compact."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from aq.store.frames import statblocks
from aq.store.frames.index import Change
from aq.store.frames.statblocks import ENTRY_SIZE, ROW_SIZE, Rows, joined
from aq.store.store import Store
from hypothesis import given, settings, strategies as st
from xxhash import xxh3_64_intdigest

FOLDERS = [bytes([number]) * 16 for number in (0, 7, 255)]
NAMES = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
FILES = st.dictionaries(NAMES, st.integers(0, 255), max_size=12)
EDITS = st.tuples(st.sampled_from(FOLDERS), FILES, st.booleans())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store.create(tmp_path_factory.mktemp("stat") / "repo", time=1, user="ada")
    yield made
    made.close()


def row(number: int) -> bytes:
    return bytes([number]) * ROW_SIZE


def known(store: Store, folder: bytes) -> dict[bytes, bytes]:
    with store.index.look() as look:
        return dict(statblocks.of_folder(look, folder).each())


def empty(store: Store) -> None:
    store.index.put_many("stat", [(key, None) for key, _ in store.index.items("stat")])


@pytest.mark.parametrize("small", [False, True])
@settings(max_examples=25)
@given(st.lists(EDITS, max_size=8))
def test_the_last_word_counts(
    store: Store, small: bool, edits: list[tuple[bytes, dict[bytes, int], bool]]
) -> None:
    """Against a dict; with blocks so small that they are split and emptied all the time."""
    sizes = (statblocks._SPLIT_BEYOND, statblocks._FILES)
    if small:
        statblocks._SPLIT_BEYOND, statblocks._FILES = 3, 2  # type: ignore[misc]
    try:
        empty(store)
        model: dict[bytes, dict[bytes, bytes]] = {folder: {} for folder in FOLDERS}
        for folder, files, gone in edits:
            names = sorted(files)
            if gone:
                store.keep_stat([Rows(folder, names, b"", b"")])
                model[folder] = {name: r for name, r in model[folder].items() if name not in files}
            else:
                rows = {name: row(files[name]) for name in names}
                store.keep_stat([joined(folder, rows.items())])
                model[folder].update(rows)
            assert all(known(store, each) == model[each] for each in FOLDERS)
        for folder in FOLDERS:
            with store.index.look() as look:
                assert statblocks.of_folder(look, folder).names == sorted(model[folder])
                for name in [b"\x01", *model[folder]]:
                    assert statblocks.row_of(look, folder, name) == model[folder].get(name)
    finally:
        statblocks._SPLIT_BEYOND, statblocks._FILES = sizes  # type: ignore[misc]


def test_a_change_among_many_writes_little(store: Store) -> None:
    empty(store)
    folder, rows = FOLDERS[1], [(b"%06d" % number, row(number % 256)) for number in range(20_000)]
    for begin in range(0, len(rows), 4_096):
        store.keep_stat([joined(folder, rows[begin : begin + 4_096])])
    assert len(store.index.items("stat")) < 20_000 / 100
    before = dict(store.index.items("stat"))
    store.keep_stat([joined(folder, [(b"010000", row(9))])])
    after = dict(store.index.items("stat"))
    changed = [key for key, value in after.items() if before.get(key) != value]
    assert len(changed) == 1 and before.keys() == after.keys() and len(after[changed[0]]) < 32_768


def test_forgetting_all_leaves_nothing(store: Store) -> None:
    empty(store)
    names = [b"%06d" % number for number in range(1_000)]
    store.keep_stat([joined(FOLDERS[0], [(name, row(1)) for name in names])])
    random.Random(1).shuffle(chosen := list(names))
    for begin in range(0, 1_000, 100):
        store.keep_stat([Rows(FOLDERS[0], sorted(chosen[begin : begin + 100]), b"", b"")])
    assert store.index.items("stat") == []


def test_single_rows_of_an_earlier_aq_count_and_are_gathered(store: Store) -> None:
    empty(store)
    names = [b"%06d" % number for number in range(10)]
    store.index.put_many("stat", [(FOLDERS[0] + name, row(3)) for name in names])
    assert known(store, FOLDERS[0]) == dict.fromkeys(names, row(3))
    store.keep_stat([joined(FOLDERS[0], [(names[4], row(4)), (b"000004x", row(5))])])
    assert known(store, FOLDERS[0]) == {**dict.fromkeys(names, row(3)), names[4]: row(4), b"000004x": row(5)}


def test_rows_of_swept_artifacts_go(store: Store) -> None:
    empty(store)
    entries = [b"\x94\xc4\x20" + bytes([number]) * 32 + b"\0\xc0\0" for number in range(9)]
    rows = [(b"%d" % number, bytes(44) + entry) for number, entry in enumerate(entries)]
    store.keep_stat([joined(FOLDERS[0], rows), joined(FOLDERS[1], rows[:1])])
    store.index.put_many("stat", [(FOLDERS[2], b"short")])

    def drop(change: Change) -> None:
        statblocks.drop(change, {bytes(32), b"\x05" * 32})

    store.index.write(drop)
    assert known(store, FOLDERS[0]) == dict([*rows[1:5], *rows[6:]]) and known(store, FOLDERS[1]) == {}
    assert len(store.index.items("stat")) == 1


@given(st.binary(max_size=400))
def test_any_bytes_are_a_block_or_none(value: bytes) -> None:
    sealed = value + xxh3_64_intdigest(value).to_bytes(8, "little")
    found = statblocks.decode(bytes(16) + b"name", sealed)
    assert found is None or len(found.names) * ENTRY_SIZE == len(found.entries)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_no_block(at: int, bit: int) -> None:
    rows = [(b"%02d" % number, bytes((number,)) * statblocks.ROW_SIZE) for number in range(5)]
    value = bytearray(statblocks.encode(joined(bytes(16), rows)))
    assert statblocks.decode(bytes(16), bytes(value)) is not None
    value[at % len(value)] ^= 1 << bit
    assert statblocks.decode(bytes(16), bytes(value)) is None
