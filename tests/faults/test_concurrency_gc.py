"""Collecting beside clocks that jump, writers that met what is swept, and an index made anew meanwhile."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import msgspec
import pytest
from aq.formats.errors import AqError, Temporary
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.records import Run
from aq.store.commits import history, snapshots
from aq.store.commits.refs import Ref
from aq.store.store import Store
from aq.store.system import disk
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, GRACE, RETENTION, Collection, collect
from aq.store.upkeep.mend import mend

from tests.store.folder import SECOND, Bench, bench

__all__ = ["bench"]

YEARS = 3_650 * DAY
TODAY = 2 * YEARS


def gc(store: Store, now: int, *, grace: int = 0, retention: int = RETENTION) -> Collection:
    return collect(store, now=now, user="ada", grace=grace, retention=retention)


def sound(root: Path) -> None:
    """Nothing is damaged, in a fresh store's eyes."""
    with Store.open(root) as store:
        assert fsck(store, full=True).problems == []


def at(bench: Bench, time: int) -> None:
    """What the clock says from now on (ns)."""
    bench.time = time // SECOND


def commit_noise(bench: Bench, number: int, size: int = 100_000) -> Digest:
    bench.write("file.bin", random.Random(number).randbytes(size))
    bench.settle()
    bench.add("file.bin")
    return bench.commit(f"number {number}")


def test_a_ref_to_what_was_swept_is_refused_even_if_all_refs_were_so_before(bench: Bench) -> None:
    """The map of refs is an old one, which is kept for the log without what it names."""
    first = commit_noise(bench, 1)
    second = commit_noise(bench, 2)
    bench.refs({"branch/main": Ref(first), "tag/x": Ref(second)})
    for name in "ab":
        bench.refs({"tag/x": None, f"tag/{name}": Ref(first)})
    bench.refs({"tag/a": None})
    with Store.open(bench.root) as writer:
        assert history.commit(writer, second)
        gc(bench.store, TODAY)
        assert not bench.store.has(second)
        move = writer.transaction("tag add", time=TODAY, user="ada")
        move.set("tag/x", Ref(second))
        move.set("tag/b", None)
        with pytest.raises(Temporary, match="collected in the meantime"):
            move.commit()
    sound(bench.root)


def test_a_ref_to_what_is_condemned_keeps_it(bench: Bench) -> None:
    first = commit_noise(bench, 1)
    second = commit_noise(bench, 2)
    bench.refs({"branch/main": Ref(first), "tag/x": Ref(second)})
    for name in "ab":
        bench.refs({"tag/x": None, f"tag/{name}": Ref(first)})
    gc(bench.store, TODAY, grace=DAY)
    condemned = dict(bench.store.index.items("condemned"))
    assert second in condemned
    bench.refs({"tag/x": Ref(second), "tag/a": None, "tag/b": None})
    condemned = dict(bench.store.index.items("condemned"))
    assert second not in condemned and bench.snapshot_of(second) not in condemned
    gc(bench.store, TODAY + 2 * DAY)
    sound(bench.root)


def test_a_clock_that_was_ahead_when_it_condemned_holds_nothing_back(bench: Bench) -> None:
    id = bench.store.put(Kind.CHUNK, bytes(1_000))
    bench.store.flush()
    bench.reopen()
    assert gc(bench.store, TODAY + YEARS, grace=GRACE).waiting.objects == 1
    assert gc(bench.store, TODAY, grace=GRACE).waiting.objects == 1
    assert gc(bench.store, TODAY + GRACE, grace=GRACE).freed.objects == 1
    assert not bench.store.has(id)


@pytest.mark.parametrize("jump", [-YEARS, YEARS])
def test_one_command_under_a_wrong_clock_expires_nothing(bench: Bench, jump: int) -> None:
    """An operation is at least as young as those before it, and no younger than those behind it."""
    at(bench, TODAY)
    first = commit_noise(bench, 1)
    second = commit_noise(bench, 2)
    bench.refs({"branch/main": Ref(first)})
    at(bench, TODAY + jump)
    for name in "abc":
        bench.refs({f"tag/{name}": Ref(first)})
    at(bench, TODAY + DAY)
    for name in "def":
        bench.refs({f"tag/{name}": Ref(first)})
    for days in (2, 20):
        assert gc(bench.store, TODAY + days * DAY).expired == 0
        assert bench.store.has(second)
    assert gc(bench.store, TODAY + 40 * DAY).expired > 0
    assert not bench.store.has(second), "and a wrong time holds nothing back for ever"
    sound(bench.root)


@pytest.mark.parametrize("jump", [-YEARS, YEARS])
def test_a_run_under_a_wrong_clock_is_kept_as_long_as_others(bench: Bench, jump: int) -> None:
    store = bench.store

    def run(time: int) -> Digest:
        id = put_record(store, Run(flow="f", file="f", time=time, status="failed", snapshot=root))
        store.flush()
        return id

    root = snapshots.empty(store)
    ids = [run(TODAY), run(TODAY + jump), run(TODAY + DAY)]
    bench.reopen()
    store = bench.store
    gc(store, TODAY + 20 * DAY)
    assert all(map(store.has, ids))
    gc(store, TODAY + 40 * DAY)
    assert not any(map(store.has, ids))


@pytest.mark.parametrize("jump", [-YEARS, YEARS])
def test_a_clock_that_jumps_between_mark_and_sweep_takes_nothing_from_a_live_writer(
    bench: Bench, jump: int
) -> None:
    with Store.open(bench.root) as writer:
        ids = [writer.put(Kind.CHUNK, b"%d" % number * 9_000) for number in range(3)]
        writer.flush()
        gc(bench.store, TODAY, grace=GRACE)
        gc(bench.store, TODAY + jump, grace=GRACE)
        gc(bench.store, TODAY + 2 * jump, grace=GRACE)
        assert all(map(writer.has, ids))
        move = writer.transaction("test", time=TODAY, user="ada")
        move.set("tracking", Ref(ids[0]))
        move.commit()
    gc(bench.store, TODAY + 3 * YEARS, grace=GRACE)
    gc(bench.store, TODAY + 4 * YEARS, grace=GRACE)
    assert bench.store.has(ids[0])


def test_an_index_made_anew_while_a_pack_is_written_again(bench: Bench) -> None:
    """It takes dead frames in again: the pack that it found them in must not go."""
    rules = msgspec.msgpack.encode({random.Random(1).randbytes(1 << 20): "+"})
    kept = bench.store.put(Kind.CHUNK, rules)
    dead = bench.store.put(Kind.CHUNK, random.Random(2).randbytes(1 << 20))
    bench.refs({"tracking": Ref(kept)})
    bench.reopen()
    rebuilt = []

    def hook(call: str, path: str) -> None:
        name = Path(path).name
        if call == "create" and name.endswith(".pack") and not rebuilt:
            rebuilt.append(name)
            pid = in_other_process(bench.root)
            assert pid == 0

    with disk.observed(hook):
        gc(bench.store, TODAY)
    assert rebuilt
    sound(bench.root)
    with Store.open(bench.root) as store:
        for id in (kept, dead):
            assert not store.has(id) or store.get(Kind.CHUNK, id)


def in_other_process(root: Path) -> int:
    """`aq fsck --rebuild` of somebody else."""
    from tests.store.scenario import in_child

    return in_child(lambda: mend(root) and None)


def test_the_last_command_can_be_undone_whatever_was_collected(bench: Bench) -> None:
    """Collections are operations too; they take nothing back and do not count."""
    first = commit_noise(bench, 1)
    second = commit_noise(bench, 2)
    bench.refs({"branch/main": Ref(first)})
    for turn in range(1, 5):
        gc(bench.store, TODAY + turn * 40 * DAY)
        assert bench.store.has(second) and bench.store.has(bench.snapshot_of(second))
    bench.refs({"branch/main": Ref(second)})
    sound(bench.root)


def test_a_lease_that_could_not_be_written_holds_nothing_back(bench: Bench) -> None:
    """The disk was full when a command of this process began; the process lives on."""

    def refuse(call: str, path: str) -> None:
        if call == "write" and path.endswith(".lease"):
            raise OSError(errno.ENOSPC, "full")

    id = bench.store.put(Kind.CHUNK, bytes(1_000))
    bench.store.flush()
    bench.reopen()
    with disk.observed(refuse), pytest.raises(AqError, match="no space left"):
        bench.store.put(Kind.CHUNK, b"new")
    assert gc(bench.store, TODAY).freed.objects == 1 and not bench.store.has(id)
