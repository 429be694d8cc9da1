"""Texts of a new table lie as words of a longer segment where this saves much, and change as others do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.columns.layout import write_array
from aq.formats.identity import Digest, Kind, object_id
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.packing.packs import NEW_ID, Place
from aq.formats.packing.words import WORDS, Base
from aq.formats.records import Artifact
from aq.formats.tables import encode_table
from aq.store.frames import bases
from aq.store.frames.growing import frames_of
from aq.store.store import Store
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, collect

from tests.store.test_growing import commit, loaded

ROWS = 150_000
SOURCE = np.random.default_rng(5)
PRODUCTS = np.array([SOURCE.bytes(int(SOURCE.integers(8, 20))).hex() for _ in range(3_000)])
TABLE = pd.DataFrame(
    {
        "id": np.arange(ROWS),
        "product": pd.array(PRODUCTS[SOURCE.integers(0, 3_000, ROWS)], dtype="str"),
        "channel": pd.array(np.array(["web", "shop", "phone"])[SOURCE.integers(0, 3, ROWS)], dtype="str"),
        "note": pd.array([None if n % 3 else PRODUCTS[n % 500] + "é" for n in range(ROWS)], dtype="str"),
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "r", time=1, user="ada") as store:
        yield store


def parquet(frame: pd.DataFrame) -> int:
    stream = io.BytesIO()
    frame.to_parquet(stream, compression="zstd", index=False)
    return stream.tell()


def words_in(store: Store) -> dict[bytes, Place]:
    found = {id: place for id, _ in store.index.items("objects") if (place := store.index.place(id))}
    return {id: place for id, place in found.items() if place.codec == WORDS}


def test_texts_cost_about_what_they_cost_as_parquet(store: Store) -> None:
    before = store.bytes_on_disk()
    id = commit(store, TABLE)
    assert store.bytes_on_disk() - before < 1.2 * parquet(TABLE)
    words = words_in(store)
    assert len(words) > 3
    assert all(len(place.bases) == 1 for place in words.values())
    assert max(bases.depth(store._objects, id) for id in words) == 1
    pd.testing.assert_frame_equal(loaded(store, id), TABLE)
    assert fsck(store, full=True).problems == []
    assert get_record(store, Artifact, id) == encode_table(TABLE, MemoryObjects()).artifact


def test_how_they_lie_depends_on_the_table_alone(store: Store, tmp_path: Path) -> None:
    commit(store, TABLE)
    with Store.create(tmp_path / "again", time=1, user="ada") as again:
        commit(again, TABLE)
        assert {id: place.bases for id, place in words_in(again).items()} == {
            id: place.bases for id, place in words_in(store).items()
        }


def test_texts_of_few_bytes_are_left_to_zstd(store: Store) -> None:
    commit(store, TABLE[["id", "channel"]])
    assert not words_in(store)


def test_what_lies_as_words_is_the_base_of_its_next_version(store: Store) -> None:
    first = commit(store, TABLE)
    words = list(words_in(store))
    assert [origin and origin.id for origin in store.origins(words)] == words
    before = store.bytes_on_disk()
    frame = TABLE.copy()
    frame.loc[[5, 33_333, 70_000], "product"] = "another"
    second = commit(store, frame, first)
    assert store.bytes_on_disk() - before < 4_000
    pd.testing.assert_frame_equal(loaded(store, second), frame)
    assert fsck(store, full=True).problems == []


def test_where_a_delta_does_not_pay_words_are_taken_again(store: Store) -> None:
    first = commit(store, TABLE)
    frame = TABLE.copy()
    frame.loc[40_000:, "product"] = PRODUCTS[SOURCE.integers(0, 3_000, ROWS - 40_000)]
    before = store.bytes_on_disk()
    second = commit(store, frame, first)
    assert store.bytes_on_disk() - before < 1.2 * parquet(frame[["product"]][40_000:])
    pd.testing.assert_frame_equal(loaded(store, second), frame)


def test_leaders_outlive_the_versions_that_held_them(store: Store) -> None:
    first = commit(store, TABLE)
    leaders = {base for place in words_in(store).values() for base in place.bases}
    texts = [f"{text}!" if at < 90_000 else text for at, text in enumerate(TABLE["product"])]
    changed = TABLE.assign(product=pd.array(texts, dtype="str"))
    second = commit(store, changed, first)
    for rows in range(3):  # what the last operations have moved is kept
        commit(store, TABLE[:rows])
    commit(store, changed, second)
    for _ in range(3):
        collect(store, now=400 * DAY, user="ada", grace=0, retention=0)
    assert store.kind_of(first) is None
    held = {base for place in words_in(store).values() for base in place.bases}
    assert held & leaders
    pd.testing.assert_frame_equal(loaded(store, second), changed)
    assert fsck(store, full=True).problems == []


def test_a_leader_that_is_lost_is_told(store: Store) -> None:
    commit(store, TABLE)
    leader = next(base for place in words_in(store).values() for base in place.bases)
    assert store.kind_of(leader) is Kind.CHUNK
    store.index.write(lambda change: change.delete("objects", leader))
    problems = fsck(store, full=True).problems
    assert problems and any(Digest(leader).hex() in f"{problem.id}{problem.detail}" for problem in problems)


class Counting:
    """The objects of a store, and how often their words were asked for."""

    def __init__(self, store: Store) -> None:
        self._objects = store._objects
        self.get, self.lying, self.size_of = store.get, store._objects.lying, store.size_of
        self.asked = 0

    def words_of(self, id: bytes) -> Base:
        self.asked += 1
        return self._objects.words_of(id)


def test_a_leader_is_not_read_for_texts_that_hardly_repeat(store: Store) -> None:
    """The leaders of a wide table are more than is kept: each would be read again for every segment."""
    texts = [SOURCE.bytes(30).hex() for _ in range(4_000)]
    objects, leader = Counting(store), store.put(Kind.CHUNK, write_array(pa.array(texts)))
    for number, repeats in (0, False), (1, True):
        data = write_array(pa.array([texts[at % 400] if repeats else f"{at}" * 9 for at in range(4_000)]))
        id = object_id(Kind.CHUNK, data)
        assert len(frames_of(objects, Kind.CHUNK, id, data, NEW_ID + leader, None)) == 1
        assert objects.asked == number
