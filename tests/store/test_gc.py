"""What is needed is kept whatever happens; what is not needed is gone, from the index and from the disk."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aq.formats.contents.files import encode_stream, stream_bytes
from aq.formats.errors import AqError, Damaged, Temporary
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact, Commit, Run, Step
from aq.store.commits import history, snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Origin
from aq.store.store import Store
from aq.store.system import disk, lease
from aq.store.transactions.rebuild import rebuild
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, Collection, collect
from aq.store.upkeep.mend import mend

from tests.store.folder import SECOND, Bench, bench
from tests.store.scenario import in_child

__all__ = ["bench"]

LATER = 400 * DAY


def gc(store: Store, *, now: int = LATER, grace: int = 0, **more: bool) -> Collection:
    return collect(store, now=now, user="ada", grace=grace, **more)


def noise(number: int, size: int = 200_000) -> bytes:
    return random.Random(number).randbytes(size)


def sound(root: Path) -> None:
    """In a fresh process' eyes: nothing is damaged."""
    with Store.open(root) as store:
        assert fsck(store, full=True).problems == []


def commit_file(bench: Bench, number: int, size: int = 200_000) -> Digest:
    bench.write("file.bin", noise(number, size))
    bench.write(f"small/{number}.txt", f"{number}\n")
    bench.settle()
    bench.add("file.bin", "small")
    return bench.commit(f"number {number}")


def test_what_no_ref_needs_goes_from_index_and_disk(bench: Bench) -> None:
    kept = commit_file(bench, 1, 2_000_000)
    commit_file(bench, 2, 3_000_000)
    bench.refs({"branch/main": Ref(kept)})
    bench.refs({"tag/x": Ref(kept)})
    truth = bench.files(bench.snapshot_of(kept))
    before, objects = bench.store.bytes_on_disk(), len(bench.store.index.items("objects"))
    foreseen = gc(bench.store, dry_run=True)
    assert bench.store.bytes_on_disk() == before and foreseen.waiting.bytes > 3_000_000
    done = gc(bench.store)
    assert done.kept.bytes == bench.store.bytes_on_disk() == before - done.freed.bytes < 2_100_000
    assert done.kept.objects == objects + 1 - done.freed.objects, "one operation says what expired"
    assert done.freed.objects > 10 and done.waiting.objects == 0
    bench.reopen()
    assert bench.files(bench.snapshot_of(kept)) == truth
    assert bench.status().changes != []
    sound(bench.root)
    mend(bench.root)
    sound(bench.root)
    assert gc(bench.store).freed == (0, 0)


def test_nothing_within_the_retention_goes(bench: Bench) -> None:
    first = commit_file(bench, 1)
    second = commit_file(bench, 2)
    bench.refs({"branch/main": Ref(first)})
    done = gc(bench.store, now=bench.time * SECOND + 29 * DAY)
    assert done.expired == 0 and bench.store.has(second)
    gc(bench.store, now=bench.time * SECOND + 31 * DAY)
    assert bench.store.has(second), "the last operation can be undone"
    bench.refs({"tag/x": Ref(first)})
    bench.refs({"tag/y": Ref(first)})
    gc(bench.store)
    assert not bench.store.has(second)


def test_operations_stay_in_the_log_after_what_they_named(bench: Bench) -> None:
    first = commit_file(bench, 1)
    commit_file(bench, 2)
    for name in "abc":
        bench.refs({"branch/main": Ref(first), f"tag/{name}": Ref(first)})
    numbers = [operation.sequence for _id, operation in bench.store.operations()]
    assert gc(bench.store).expired > 3
    log = list(bench.store.operations())
    assert [operation.sequence for _id, operation in log] == [numbers[0] + 1, *numbers]
    assert log[0][1].command == "gc" and all(bench.store.refs_after(operation) for _id, operation in log)


def test_the_grace_passes_before_anything_goes(bench: Bench) -> None:
    id = bench.store.put(Kind.CHUNK, noise(3))
    bench.store.flush()
    hour = 3_600 * SECOND
    assert gc(bench.store, now=LATER, grace=hour).waiting.objects == 1
    assert gc(bench.store, now=LATER + hour - 1, grace=hour).freed == (0, 0)
    assert bench.store.has(id)
    assert gc(bench.store, now=LATER + hour, grace=hour).freed.objects == 1
    assert not bench.store.has(id)


def test_what_is_needed_again_in_the_grace_stays(bench: Bench) -> None:
    data = noise(4)
    id = bench.store.put(Kind.CHUNK, data)
    bench.store.flush()
    gc(bench.store, grace=DAY)
    with Store.open(bench.root) as other:
        assert other.put(Kind.CHUNK, data) == id
        move = other.transaction("test", time=LATER, user="ada")
        move.set("tracking", Ref(id))
        move.commit()
    assert gc(bench.store, now=LATER + 2 * DAY).freed.objects == 0
    assert bench.store.get(Kind.CHUNK, id) == data


def test_a_live_writer_keeps_what_was_condemned_after_it_began(bench: Bench) -> None:
    data = noise(5)
    with Store.open(bench.root) as writer:
        id = writer.put(Kind.CHUNK, data)
        writer.flush()
        for turn in range(3):
            done = gc(bench.store, now=LATER + turn * DAY)
            assert done.leases and done.freed.objects == 0
        move = writer.transaction("test", time=LATER, user="ada")
        move.set("tracking", Ref(id))
        move.commit()
    assert gc(bench.store, now=LATER + 9 * DAY).freed.objects == 0
    assert bench.store.get(Kind.CHUNK, id) == data
    assert not [file for file in os.listdir(bench.root / ".aq" / "leases") if file.endswith(".lease")]


def test_a_writer_that_relied_on_what_was_swept_fails_or_stores_it_again(bench: Bench) -> None:
    """It met the object before it had a lease: nothing can hold it back, and nothing dangles."""
    store = bench.store
    data = noise(6, 100)
    artifact = put_record(store, Artifact(kind="file", format="bytes", size=100, data=data))
    store.flush()
    with Store.open(bench.root) as writer:
        assert writer.has(artifact)
        assert gc(store).freed.objects == 1
        root = snapshots.edit(writer, snapshots.empty(writer), {"x": Entry(artifact, Origin.FILE)})
        move = writer.transaction("test", time=LATER, user="ada")
        run = put_record(writer, Run(flow="f", file="f", time=LATER, status="failed", snapshot=root))
        move.add_run(run)
        with pytest.raises(Temporary, match="collected in the meantime"):
            move.commit()
        again = put_record(writer, Artifact(kind="file", format="bytes", size=100, data=data))
        assert again == artifact
        root = snapshots.edit(writer, snapshots.empty(writer), {"x": Entry(artifact, Origin.FILE)})
        move = writer.transaction("test", time=LATER, user="ada")
        move.add_run(put_record(writer, Run(flow="f", file="f", time=LATER, status="failed", snapshot=root)))
        move.commit()
    sound(bench.root)
    gc(store)
    sound(bench.root)
    assert store.has(artifact)


def test_a_tree_flushed_before_its_record_is_looked_at_with_it(bench: Bench) -> None:
    """Nodes that no record leads to yet refer to things all the same."""
    store = bench.store
    leaf = put_record(store, Artifact(kind="file", format="bytes", size=1, data=b"x"))
    store.flush()
    gc(store, grace=DAY)
    with Store.open(bench.root) as writer:
        root = snapshots.edit(writer, snapshots.empty(writer), {"x": Entry(leaf, Origin.FILE)})
        writer.flush()
        run = put_record(writer, Run(flow="f", file="f", time=LATER, status="failed", snapshot=root))
        writer.flush()
        assert gc(store, now=LATER + 2 * DAY).freed.objects == 0
        assert writer.has(leaf) and writer.has(run)
    gc(store, now=LATER + 4 * DAY)
    sound(bench.root)


def test_steps_and_runs_that_nothing_needs_leave_their_lists(bench: Bench) -> None:
    store = bench.store
    for number in range(3):
        output = put_record(store, Artifact(kind="value", format="json", size=1, data=b"%d" % number))
        step = put_record(store, Step(key=bytes(32), op="f", outputs=[("", output)]))
        made = {"f/f": Entry(output, Origin.MADE, step)}
        root = snapshots.edit(store, snapshots.empty(store), made)
        put_record(store, Run(flow="f", file="f", time=number * 200 * DAY, status="failed", snapshot=root))
        store.flush()
    assert len(store.steps_with_key(bytes(32))) == 3
    gc(store)
    assert len(list(store.runs())) == 1 and len(store.steps_with_key(bytes(32))) == 1
    assert store.get(Kind.STEP, store.steps_with_key(bytes(32))[0])
    sound(bench.root)
    mend(bench.root)
    bench.reopen()
    assert len(list(bench.store.runs())) == 1 and len(bench.store.steps_with_key(bytes(32))) == 1


def test_a_file_whose_content_was_collected_is_read_again(bench: Bench) -> None:
    """The stat cache must not say that content is stored which is not."""
    bench.write("x.txt", "content")
    bench.settle()
    bench.add("x.txt")
    bench.work.snapshot(bench.work.head())
    bench.store.flush()
    assert gc(bench.store, now=LATER).freed.objects > 0
    bench.reopen()
    bench.commit("now")
    sound(bench.root)


def test_nothing_is_collected_from_a_damaged_repository(bench: Bench) -> None:
    commit_file(bench, 1)
    id = bench.store.put(Kind.CHUNK, noise(2))
    bench.store.flush()
    place = bench.store.index.place(bench.snapshot_of(bench.store.refs()["branch/main"].id or Digest(b"")))
    assert place is not None
    path = bench.root / ".aq" / "packs" / f"{place.pack.hex()}.pack"
    data = bytearray(path.read_bytes())
    data[place.offset + 70] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match="nothing was collected"):
        gc(bench.store)
    assert bench.store.has(id)


def test_one_collector_at_a_time(bench: Bench) -> None:
    with lease.alone(f"{bench.store.control}/leases"), pytest.raises(Temporary, match="at work"):
        gc(bench.store)


def test_a_reader_finds_what_was_moved_under_it(bench: Bench) -> None:
    kept = commit_file(bench, 1, 1_500_000)
    dropped = commit_file(bench, 2, 1_500_000)
    with Store.open(bench.root) as reader:
        assert reader.get(Kind.COMMIT, dropped)
        for name in "ab":
            bench.refs({"branch/main": Ref(kept), f"tag/{name}": Ref(kept)})
        gc(bench.store)
        root = snapshots.get_entry(reader, bench.snapshot_of(kept), "file.bin")
        assert root is not None and reader.get(Kind.ARTIFACT, root.artifact)
        with pytest.raises(Damaged):
            reader.get(Kind.COMMIT, dropped)


def test_a_reader_finds_what_was_moved_since_the_index_was_made_anew(bench: Bench) -> None:
    kept = commit_file(bench, 1, 1_500_000)
    commit_file(bench, 2, 1_500_000)
    for name in "ab":
        bench.refs({"branch/main": Ref(kept), f"tag/{name}": Ref(kept)})
    with Store.open(bench.root) as reader:
        known = {id: Kind(value[24]) for id, value in reader.index.items("objects")}
        rebuild(str(bench.root / ".aq"))
        bench.reopen()
        gc(bench.store)
        live = [id for id, _value in bench.store.index.items("objects") if id in known]
        assert live and reader.index.environment is not bench.store.index.environment
        reader._files.close()  # as when many other packs were read meanwhile
        for id in live:
            assert reader.get(known[id], id) == bench.store.get(known[id], id)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept and dropped content in a journal and in data packs, and litter of a killed writer."""
    root = tmp_path_factory.mktemp("gc") / "repo"
    bench = Bench(root)
    kept = commit_file(bench, 1, 1_200_000)
    commit_file(bench, 2, 1_400_000)
    commit_file(bench, 3, 1_000)
    for name in "ab":
        bench.refs({"branch/main": Ref(kept), f"tag/{name}": Ref(kept)})

    def die() -> None:
        with Store.open(root) as store:
            store.put(Kind.CHUNK, noise(9, 2_000_000))
            os.kill(os.getpid(), signal.SIGKILL)

    in_child(die)
    bench.store.close()
    return root


def oracle(root: Path, truth: dict[str, Entry], content: bytes) -> None:
    """After a crash: no damage, everything needed is there, the next commit and the next gc work."""
    with Store.open(root) as store:
        assert fsck(store, full=True).problems == []
        tip = store.refs()["branch/main"].id
        assert tip == store.refs()["tag/a"].id and tip is not None
        found = dict(snapshots.entries(store, history.commit(store, tip).snapshot))
        assert found == truth
        move = store.transaction("next", time=LATER, user="ada")
        move.set("tag/next", Ref(tip))
        move.commit()
        gc(store)
        assert fsck(store, full=True).problems == []
        assert store.bytes_on_disk() < 1_300_000, "no litter is left"
        assert b"".join(bytes_of(store, truth["file.bin"])) == content


def bytes_of(store: Store, entry: Entry) -> Iterator[bytes]:
    return stream_bytes(get_record(store, Artifact, entry.artifact), store)


def crash_points(template: Path, tmp_path: Path) -> int:
    root = Path(shutil.copytree(template, tmp_path / "count", symlinks=True))
    calls: list[str] = []
    with Store.open(root) as store, disk.observed(lambda call, path: calls.append(call)):
        gc(store)
    shutil.rmtree(root)
    return len(calls)


@pytest.mark.parametrize("act", ["kill", "refuse"])
def test_killed_or_refused_at_every_change(template: Path, tmp_path: Path, act: str) -> None:
    points = crash_points(template, tmp_path)
    assert points > 20
    with Store.open(template) as store:
        tip = store.refs()["branch/main"].id or b""
        truth = dict(snapshots.entries(store, history.commit(store, tip).snapshot))
    for point in range(points):
        root = Path(shutil.copytree(template, tmp_path / "r", symlinks=True))

        def body(root: Path = root, point: int = point) -> None:
            with Store.open(root) as store, disk.observed(at(point, act)):
                try:
                    gc(store)
                except AqError:
                    assert act == "refuse"

        status = in_child(body)
        assert os.WIFSIGNALED(status) if act == "kill" else status == 0
        if point % 3 == 0:
            mend(root)
        oracle(root, truth, noise(1, 1_200_000))
        shutil.rmtree(root)


def at(point: int, act: str) -> Callable[[str, str], None]:
    seen = 0

    def hook(call: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen == point + 1:
            if act == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(5, "refused")

    return hook


def test_collectors_beside_committers(tmp_path: Path) -> None:
    """Writers commit, drop and revive content while one collects without any grace: all they have stays."""
    root = tmp_path / "repo"
    Store.create(root, time=1, user="ada").close()
    until = time.monotonic() + 6
    pids = []
    for worker in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                _commit_until(root, worker, until)
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        pids.append(pid)
    with Store.open(root) as store:
        while time.monotonic() < until:
            collect(store, now=time.time_ns(), user="ada", retention=0, grace=0)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    sound(root)
    with Store.open(root) as store:
        gc(store, now=time.time_ns() + LATER)
    sound(root)


def _commit_until(root: Path, worker: int, until: float) -> None:
    """The same few contents again and again, so that what is condemned is often needed."""
    chosen = random.Random(worker)
    done = 0
    while time.monotonic() < until:
        with Store.open(root) as store:
            for _turn in range(chosen.randrange(1, 6)):
                number = chosen.randrange(8)
                size = 1_300_000 if number == 0 else 70_000 if number < 3 else 50
                data = noise(number, size)
                artifact = put_record(store, file_of(store, data))
                if chosen.random() < 0.3:
                    store.flush()
                snapshot = snapshots.edit(store, snapshots.empty(store), {"x": Entry(artifact, Origin.FILE)})
                run = Run(flow="f", file="f", time=time.time_ns(), status="failed", snapshot=snapshot)
                commit = Commit(snapshot=snapshot, time=1, author="a", message=f"{worker}", runs=[])
                id = put_record(store, commit)
                move = store.transaction("test", time=time.time_ns(), user="ada")
                move.set(f"branch/w{worker}", Ref(id))
                move.add_run(put_record(store, run))
                try:
                    move.commit()
                except Temporary:
                    continue
                done += 1
                found = store.ref(f"branch/w{worker}")
                assert found is not None and found.id == id
                assert b"".join(bytes_of(store, Entry(artifact, Origin.FILE))) == data
    assert done > 5


def file_of(store: Store, data: bytes) -> Artifact:
    return encode_stream(io.BytesIO(data), store)
