"""Tables that grow: each append costs its own rows, and whatever it is made from stays as long as it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from aq.formats.artifacts.values import decode
from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import Like, get_record, put_record
from aq.formats.packing import deltas
from aq.formats.packing.packs import Place
from aq.formats.packing.words import WORDS
from aq.formats.records import Artifact, Commit
from aq.formats.tables import encode_table
from aq.formats.trees.prolly import build_list, list_items, list_last
from aq.formats.trees.prolly_nodes import NEW
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Origin
from aq.store.frames import bases, batches
from aq.store.frames.place_rows import encode_place
from aq.store.store import Store
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, collect
from aq.store.upkeep.mend import mend

BEFORE, EACH = 10_000, 400


def table(rows: int) -> pd.DataFrame:
    """Rows of which the first ones are always the same."""
    source = np.random.default_rng(3)
    words = np.array([source.bytes(9).hex() for _ in range(300)])
    return pd.DataFrame(
        {
            "at": np.arange(BEFORE * 3).astype("M8[s]"),
            "size": source.normal(size=BEFORE * 3),
            "name": pd.array(words[source.integers(0, 300, BEFORE * 3)], dtype="str"),
            "cents": source.integers(0, 900, BEFORE * 3),
        }
    )[:rows]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "r", time=1, user="ada") as store:
        yield store


def commit(store: Store, frame: pd.DataFrame, like: Digest | None = None) -> Digest:
    """Store a version of a table; returns its artifact."""
    earlier = Like(get_record(store, Artifact, like), store) if like else None
    artifact = put_record(store, encode_table(frame, store, like=earlier).artifact)
    snapshot = snapshots.edit(store, snapshots.empty(store), {"rows": Entry(artifact, Origin.GIVEN)})
    made = put_record(store, Commit(snapshot=snapshot, parents=[], message="", author="a", time=1))
    transaction = store.transaction("commit", time=1, user="ada")
    transaction.set("branch/main", Ref(made))
    transaction.commit()
    return artifact


def grown(store: Store, appends: int) -> list[Digest]:
    found = [commit(store, table(BEFORE))]
    for number in range(1, appends + 1):
        found.append(commit(store, table(BEFORE + number * EACH), found[-1]))
    return found


def loaded(store: Store, id: Digest) -> pd.DataFrame:
    frame = decode(get_record(store, Artifact, id), store)
    assert isinstance(frame, pd.DataFrame)
    return frame


def check(store: Store, versions: list[Digest]) -> None:
    for number, id in enumerate(versions):
        pd.testing.assert_frame_equal(loaded(store, id), table(BEFORE + number * EACH))


def deltas_of(store: Store, kind: Kind) -> list[tuple[bytes, Place]]:
    found = ((id, store.index.place(id)) for id, _ in store.index.items("objects"))
    return [(id, place) for id, place in found if place and place.kind == kind and place.bases]


def test_each_append_costs_about_its_own_rows(store: Store) -> None:
    versions = [commit(store, table(BEFORE))]
    costs = []
    for number in range(1, 25):
        before = store.bytes_on_disk()
        versions.append(commit(store, table(BEFORE + number * EACH), versions[-1]))
        costs.append(store.bytes_on_disk() - before)
    assert max(costs[:21]) < 9_000  # 400 rows of 24 bytes and a word, and a commit
    assert max(costs) > 20_000  # no row of bases goes on for ever
    assert max(bases.depth(store._objects, id) for id, _ in deltas_of(store, Kind.CHUNK)) <= bases.DEEPEST
    assert any(place.codec == deltas.COPIES for _, place in deltas_of(store, Kind.CHUNK))
    check(store, versions)
    assert fsck(store, full=True).problems == []


def test_a_table_of_one_segment_grows_and_changes_as_others_do(store: Store) -> None:
    versions = [commit(store, table(5_000))]
    for rows in range(5_100, 6_500, 100):
        before = store.bytes_on_disk()
        versions.append(commit(store, table(rows), versions[-1]))
        assert store.bytes_on_disk() - before < 6_000  # a hundred rows of 24 bytes and a word, and a commit
    edited = table(5_000)
    edited.loc[3_000:3_005, "size"] = 0.0
    before = store.bytes_on_disk()
    last = commit(store, edited, versions[0])
    assert store.bytes_on_disk() - before < 2_000
    pd.testing.assert_frame_equal(loaded(store, last), edited)
    for rows, id in zip(range(5_000, 6_500, 100), versions, strict=True):
        pd.testing.assert_frame_equal(loaded(store, id), table(rows))
    assert fsck(store, full=True).problems == []


def test_new_rows_of_old_words_take_their_numbers(store: Store) -> None:
    second = commit(store, table(3 * BEFORE), commit(store, table(BEFORE)))
    sizes = [place.size for _, place in deltas_of(store, Kind.CHUNK) if place.codec == WORDS]
    assert sizes and sum(sizes) < 2 * 20_000 * 11 / 8 + 4_000  # names and cents, at most eleven bits each
    pd.testing.assert_frame_equal(loaded(store, second), table(3 * BEFORE))
    assert fsck(store, full=True).problems == []


def test_how_a_table_came_about_is_no_part_of_it(store: Store, tmp_path: Path) -> None:
    versions = grown(store, 3)
    with Store.create(tmp_path / "other", time=1, user="ada") as other:
        assert commit(other, table(BEFORE + 3 * EACH)) == versions[-1]


def test_pieces_outlive_the_versions_that_they_were_made_for(store: Store) -> None:
    versions = grown(store, 7)
    for _ in range(3):
        collect(store, now=400 * DAY, user="ada", grace=0, retention=0)
    assert store.kind_of(versions[0]) is None
    assert fsck(store, full=True).problems == []
    pd.testing.assert_frame_equal(loaded(store, versions[-1]), table(BEFORE + 7 * EACH))
    later = commit(store, table(BEFORE + 8 * EACH), versions[-1])
    collect(store, now=800 * DAY, user="ada", grace=0, retention=0)
    pd.testing.assert_frame_equal(loaded(store, later), table(BEFORE + 8 * EACH))
    assert fsck(store, full=True).problems == []


def test_what_is_made_from_several_needs_no_memory_to_be_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = grown(store, 6)
    assert any(len(place.bases) > 1 for _, place in deltas_of(store, Kind.CHUNK))
    monkeypatch.setattr(batches, "_HELD_MOST", 0)
    check(store, versions)


@pytest.mark.parametrize("whole", [False, True])
def test_a_rebuilt_index_knows_all_pieces(store: Store, whole: bool) -> None:
    from aq.store.transactions.rebuild import rebuild

    versions = grown(store, 6)
    lying = dict(deltas_of(store, Kind.CHUNK))
    store.close()
    if whole:
        mend(store.root)
    else:
        rebuild(str(store.control))
    with Store.open(store.root) as again:
        assert dict(deltas_of(again, Kind.CHUNK)) == lying
        assert fsck(again, full=True).problems == []
        check(again, versions)


def test_du_counts_pieces_with_what_is_made_from_them(store: Store) -> None:
    from aq.store.upkeep.du import usage

    grown(store, 5)
    told = usage(store)
    assert told.unreferenced < 100  # the empty snapshot that the first one was made from
    assert sum(share.bytes for share in told.kinds) > 0.9 * sum(
        place.size for id, _ in store.index.items("objects") if (place := store.index.place(id))
    )


def test_the_end_of_a_long_list_is_what_it_was_and_more(store: Store) -> None:
    source = np.random.default_rng(1)
    elements = [source.bytes(33) for _ in range(500)]
    root, last = build_list(store, elements[:100], last=NEW), NEW
    for count in range(101, 500):
        store.flush()
        last = list_last(store, root)
        before = store.new_bytes()
        root = build_list(store, elements[:count], last=last)
        store.flush()
        assert list(list_items(store, root)) == elements[:count]
        assert root == build_list(store, elements[:count])
        if count % 40 == 0:
            assert store.new_bytes() - before < 2_000
    made = deltas_of(store, Kind.NODE)
    assert made and all(store.kind_of(base) is Kind.CHUNK for _, place in made for base in place.bases)
    with Store.open(store.root) as again:
        assert list(list_items(again, root)) == elements[:499]


def broken(store: Store, id: bytes, row: list[bytes]) -> None:
    """Say in the index that an object is made from others."""
    place = store.index.place(id)
    assert place is not None
    value = encode_place(place._replace(bases=tuple(row)))
    store.index.write(lambda change: change.put("objects", id, value))


@pytest.mark.parametrize("how", ["gone", "another kind", "itself"])
@pytest.mark.parametrize("kind", [Kind.CHUNK, Kind.NODE])
def test_a_base_that_cannot_be_one_is_damage(store: Store, how: str, kind: Kind) -> None:
    if kind is Kind.CHUNK:
        grown(store, 2)
    else:
        build_list(store, [bytes([at]) * 33 for at in range(90)], last=NEW)
        store.flush()
    id, place = deltas_of(store, kind)[0]
    node = next(bytes(id) for id, _ in store.index.items("objects") if store.kind_of(id) is Kind.NODE)
    wrong = {"gone": bytes(range(32)), "another kind": node, "itself": id}[how]
    broken(store, id, [wrong, *place.bases[1:]])
    with Store.open(store.root) as again:
        with pytest.raises(Damaged):
            again.get(kind, id)
        assert fsck(again, full=False).problems
