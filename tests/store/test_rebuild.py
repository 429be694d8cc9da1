"""The index made again from the packs, and damage found by whoever reads (docs/format.md, 4.7)."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aq.formats.errors import Damaged, NewerFormat
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.records import Run, Step
from aq.store.commits import snapshots
from aq.store.frames import sums
from aq.store.frames.index import State
from aq.store.frames.statblocks import Rows, joined
from aq.store.frames.unopened import problem_before_opening
from aq.store.listed import are_listed
from aq.store.store import Store
from aq.store.transactions.rebuild import rebuild
from xxhash import xxh3_64_intdigest

from tests.store.scenario import BRANCH, check, commit, content, put_content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    with Store.create(root, time=0, user="ada") as store:
        for number in (1, 2, 3, 4):
            commit(store, number)
    return root


def data_file(root: Path) -> Path:
    return root / ".aq" / "index" / "data.mdb"


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def overwrite_metas(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(8192))


def overwrite_one_meta(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(200))


@pytest.mark.parametrize("harm", [remove, empty, cut, overwrite_metas, overwrite_one_meta])
def test_a_broken_index_is_made_again_when_the_repository_is_opened(root: Path, harm: object) -> None:
    harm(data_file(root))  # type: ignore[operator]
    assert check(root, 4, 4) == 4


def test_an_index_of_another_version_is_made_again(root: Path) -> None:
    with Store.open(root) as store:
        store.index.put_many("meta", [(key, None) for key, _value in store.index.items("meta")])
    assert check(root, 4, 4) == 4


def test_a_missing_format_file_is_written_again(root: Path) -> None:
    format = root / ".aq" / "format"
    said = format.read_text()
    format.unlink()
    assert check(root, 4, 4) == 4
    assert format.read_text() == said


def test_packs_of_a_newer_format_are_not_taken_for_known_ones(root: Path) -> None:
    (root / ".aq" / "format").unlink()
    for path in (root / ".aq" / "packs").iterdir():
        newer = bytearray(path.read_bytes())
        newer[24] = 1
        newer[32:40] = xxh3_64_intdigest(bytes(newer[:32])).to_bytes(8, "little")
        path.write_bytes(newer)
    with pytest.raises(NewerFormat):
        Store.open(root)


def test_missing_folders_are_made_again(root: Path) -> None:
    shutil.rmtree(root / ".aq" / "index")
    shutil.rmtree(root / ".aq" / "tmp")
    assert check(root, 4, 4) == 4


def test_another_database_in_its_place_is_refused_or_replaced(root: Path) -> None:
    data_file(root).unlink()
    with sqlite3.connect(data_file(root)) as other:
        other.execute("create table t (a)")
    other.close()
    assert check(root, 4, 4) == 4


def test_rebuilding_keeps_everything_but_the_stat_cache(root: Path) -> None:
    with Store.open(root) as store:
        runs = [
            put_record(
                store, Run(flow="f", file="f", time=n, status="failed", snapshot=snapshots.empty(store))
            )
            for n in range(3)
        ]
        store.flush()
        put_content(store, 14)
        commit(store, 5)
        before = snapshot_of(store)
    result = rebuild(str(root / ".aq"))
    assert result is not None and not result.lost
    with Store.open(root) as store:
        assert snapshot_of(store) == before
        assert list(store.runs()) == runs[::-1]
        assert result.objects == len(store.index.items("objects"))


def snapshot_of(store: Store) -> dict[str, list[tuple[bytes, bytes]]]:
    names = ("objects", "summaries", "refs", "steps", "runs", "packs", "meta")
    return {name: store.index.items(name) for name in names}


def test_a_store_that_is_open_elsewhere_follows_the_new_index(root: Path) -> None:
    with Store.open(root) as store:
        rebuild(str(root / ".aq"))
        commit(store, 5)
        with Store.open(root) as other:
            assert other.refs() == store.refs()
            id = commit(other, 6)
        assert store.get(Kind.CHUNK, id) == content(6)
    assert check(root, 6, 6) == 6


def test_who_only_reads_follows_the_new_index(root: Path) -> None:
    """A notebook that keeps a repository would see nothing new for as long as it is open."""
    with Store.open(root) as store:
        assert store.refs()
        rebuild(str(root / ".aq"))
        with Store.open(root) as other:
            commit(other, 5)
            assert store.refs() == other.refs()
            assert next(store.operations()) == next(other.operations())


def test_threads_that_follow_the_new_index_at_once_close_the_old_one_once(root: Path) -> None:
    """A file that is closed twice may be another thread's by then."""
    with Store.open(root) as store, ThreadPoolExecutor(4) as threads:
        for _ in range(10):
            rebuild(str(root / ".aq"))
            list(threads.map(lambda _: store.index.reopen(), range(4)))
            assert store.index.environment.users == 1


def test_who_reads_while_there_is_no_index_sees_what_there_was(root: Path) -> None:
    with Store.open(root) as store:
        before = store.refs()
        (root / ".aq" / "index").rename(root / "away")
        assert store.refs() == before
        (root / "away").rename(root / ".aq" / "index")
        assert store.refs() == before


def test_who_closes_the_old_index_leaves_no_sums_beside_the_new_one(root: Path) -> None:
    folder = root / ".aq" / "index"
    with Store.open(root) as store:
        commit(store, 5)
        rebuild(str(root / ".aq"))
        before = sums.load(str(folder))
    assert sums.load(str(folder)) == before


def test_a_step_whose_outputs_are_missing_does_not_count(root: Path) -> None:
    with Store.open(root) as store:
        put_record(store, Step(key=bytes(32), op="ghost", outputs=[("out", bytes(range(32)))]))
        rest = put_record(store, Step(key=b"k" * 32, op="real"))
        store.flush()
    rebuild(str(root / ".aq"))
    with Store.open(root) as store:
        assert store.steps_with_key(bytes(32)) == []
        assert store.steps_with_key(b"k" * 32) == [rest]


def test_what_is_listed_is_told_of_many_steps_at_once(root: Path) -> None:
    """As looking each up under its key would tell: after a loss, when it is made again, in a new index."""
    ghost = Step(key=bytes(32), op="ghost", outputs=[("out", bytes(range(32)))])
    with Store.open(root) as store:
        lost = put_record(store, ghost)
        rest = [put_record(store, Step(key=bytes([at]) * 32, op="real")) for at in range(1, 4)]
        store.flush()
        assert are_listed(store, [lost, *rest])
        assert not are_listed(store, [*rest, Digest(bytes(31) + b"x")])
    for _ in range(2):
        rebuild(str(root / ".aq"), whole=True)
        with Store.open(root) as store:
            assert not are_listed(store, [*rest, lost])
            assert are_listed(store, rest)
    with Store.open(root) as store:
        assert put_record(store, ghost) == lost
        store.flush()
        assert are_listed(store, [*rest, lost])
        assert store.steps_with_key(bytes(32)) == [lost]
        assert not list(store.index.items("lost"))


def test_without_any_journal_the_loss_is_named(root: Path) -> None:
    for path in (root / ".aq" / "packs").iterdir():
        path.unlink()
    data_file(root).unlink()
    with pytest.raises(Damaged, match="no journal"):
        Store.open(root)


def ids_of(store: Store) -> list[tuple[Kind, Digest]]:
    return [(Kind(value[24]), Digest(id)) for id, value in store.index.items("objects")]


def state_of(store: Store) -> State:
    state = store.index.state()
    assert state is not None
    return state


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_is_found_by_whoever_reads_it_and_costs_nothing_else(root: Path, seed: int) -> None:
    chosen = random.Random(seed)
    with Store.open(root) as store:
        truth = {id: store.get(kind, id) for kind, id in ids_of(store)}
        refs = store.refs()
    for path in sorted((root / ".aq" / "packs").iterdir()):
        for turn in range(12):
            place, bit = chosen.randrange(path.stat().st_size if turn else 40), chosen.randrange(8)
            whole = path.read_bytes()
            broken = bytearray(whole)
            broken[place] ^= 1 << bit
            path.write_bytes(broken)
            check_reads(root, truth)
            rebuild(str(root / ".aq"))
            with Store.open(root) as store:
                left = {id for kind, id in ids_of(store) if reads(store, kind, id, truth)}
                assert len(left) >= len(truth) - 1
                now = store.refs()
                assert now == refs or (place >= 40 and now.keys() <= refs.keys())
            path.write_bytes(whole)
            rebuild(str(root / ".aq"))
    with Store.open(root) as store:
        assert store.refs() == refs
        check_reads(root, truth)


def reads(store: Store, kind: Kind, id: Digest, truth: dict[Digest, bytes]) -> bool:
    try:
        data = store.get(kind, id)
    except Damaged as error:
        assert id.hex() in error.message
        return False
    assert data == truth[id]
    return True


def check_reads(root: Path, truth: dict[Digest, bytes]) -> None:
    with Store.open(root) as store:
        wrong = [id for kind, id in ids_of(store) if not reads(store, kind, id, truth)]
        assert len(wrong) <= 1 and len(ids_of(store)) == len(truth)


def test_frames_that_changed_places_are_found(root: Path) -> None:
    with Store.open(root) as store:
        a = store.put(Kind.CHUNK, os.urandom(100))
        b = store.put(Kind.CHUNK, os.urandom(100))
        store.flush()
        first, second = store.index.place(a), store.index.place(b)
        assert first is not None and second is not None
        journal = root / ".aq" / "packs" / f"{first.pack.hex()}.pack"
    data = bytearray(journal.read_bytes())
    one, other = (
        slice(first.offset, first.offset + first.size),
        slice(second.offset, second.offset + second.size),
    )
    data[one], data[other] = data[other], data[one]
    journal.write_bytes(data)
    with Store.open(root) as store:
        for id in (a, b):
            with pytest.raises(Damaged, match=id.hex()):
                store.get(Kind.CHUNK, id)


def test_a_copied_journal_inside_an_object_is_no_journal(root: Path) -> None:
    """Frames are tied to their pack: an object that holds old frames does not turn the refs back."""
    with Store.open(root) as store:
        journal = root / ".aq" / "packs" / f"{state_of(store).journal.hex()}.pack"
        copy = store.put(Kind.CHUNK, b"x" * 10 + journal.read_bytes())
        store.flush()
        commit(store, 5)
        place = store.index.place(copy)
        refs = store.refs()
    assert place is not None
    broken = bytearray(journal.read_bytes())
    broken[place.offset + 70] ^= 1
    journal.write_bytes(broken)
    rebuild(str(root / ".aq"))
    with Store.open(root) as store:
        assert store.refs() == refs
        assert store.get(Kind.CHUNK, refs[BRANCH].id or b"") == content(5)


def rows_or_none(key: bytes, gone: bool) -> Rows:
    """Files of the folder with this key, to be known or to be forgotten."""
    names = [b"%0200d" % number for number in range(4)]
    return Rows(key, names, b"", b"") if gone else joined(key, [(name, os.urandom(82)) for name in names])


def test_the_check_before_opening_never_cries_wolf(root: Path) -> None:
    """A sound index, however its pages were freed and used again, is as long as its meta page says."""
    chosen = random.Random(1)
    for turn in range(30):
        with Store.open(root) as store:
            keys = [b"%016d" % chosen.randrange(3_000) for _ in range(chosen.randrange(1, 2_000))]
            store.put_stat(rows_or_none(key, chosen.random() < 0.6) for key in keys)
            store.flush()
            if turn % 7 == 6:
                known = {key[:16] for key, _value in store.index.items("stat")}
                store.put_stat(rows_or_none(key, True) for key in known)
                store.flush()
        assert problem_before_opening(str(data_file(root).parent)) == ""


def test_what_two_writers_made_from_each_other_is_found_again(root: Path) -> None:
    """Of two frames of an object the index may count either; not those two that name one another."""
    noise, pairs = random.Random(3), []

    def publish(store: Store) -> None:
        store.put(Kind.CHUNK, noise.randbytes(2 << 20))  # in a pack, not in the journal
        store.flush()

    for _ in range(6):  # packs are read in the order of their names, which are random
        text = noise.randbytes(2_000)
        data, other = text + b"1" + text, text + text
        with Store.open(root) as one, Store.open(root) as two:
            id = two.put(Kind.CHUNK, other)
            pairs += [(id, other), (two.put(Kind.CHUNK, data, base=id), data)]
            assert one.put(Kind.CHUNK, data) == pairs[-1][0]
            one.flush()
            assert one.put(Kind.CHUNK, other, base=pairs[-1][0]) == id
            publish(one)
            publish(two)
    rebuild(str(root / ".aq"))
    with Store.open(root) as store:
        assert [store.get(Kind.CHUNK, id) for id, _ in pairs] == [data for _, data in pairs]
