"""Files written by two processes: the same as by one, also where the second one fails or dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Artifact
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.folder import second_writer
from aq.store.folder.filling import Filler, Piece
from aq.store.folder.prefetch import Prefetch, find_places
from aq.store.folder.second import Helper
from aq.store.folder.second_writer import Task, answered
from aq.store.system import disk
from aq.store.system.staging import Staging
from aq.store.system.stats import pack_stat

from tests.store.folder import Bench, bench
from tests.store.scenario import in_child

__all__ = ["bench"]

COUNT = 300


class File(NamedTuple):
    """A file to be written: its name in the staging folder, its path for messages, its packed entry."""

    name: bytes
    path: bytes
    entry: bytes


def put(bench: Bench, data: bytes, kind: str = "file") -> Digest:
    return put_record(bench.store, Artifact(kind=kind, format="bytes", size=len(data), data=data))


def data_of(number: int) -> bytes:
    return b"%d|" % number * (number * 7 % 900)


@pytest.fixture
def files(bench: Bench) -> list[File]:
    """In two packs and the journal, asked for in another order."""
    found = []
    for number in range(COUNT):
        mode = Mode.EXEC if number % 5 == 0 else Mode.FILE
        entry = snapshots.pack(Entry(put(bench, data_of(number)), Origin.FILE, None, mode))
        found.append(File(b"f%d" % number, b"shown/f%d" % number, entry))
        if number in (100, 200):
            put(bench, os.urandom(1 << 20))
            bench.store.flush()
    bench.store.flush()
    return found[::-1]


@pytest.fixture
def staging(bench: Bench) -> Iterator[Staging]:
    with Staging(os.fsencode(bench.store.control / "tmp")) as made:
        yield made


def require_all(staging: Staging, files: list[File], stats: list[bytes]) -> None:
    place = Path(os.fsdecode(staging.path))
    for file, stat in zip(files, stats, strict=True):
        written = place / os.fsdecode(file.name)
        assert written.read_bytes() == data_of(int(file.name[1:]))
        assert pack_stat(written.lstat()) == stat
        assert os.access(written, os.X_OK) == (file.entry[37] == Mode.EXEC)
    assert len(os.listdir(place)) == len(files)


def started(filler: Filler) -> Helper[Any]:
    assert filler.helper is not None
    return ready(filler.helper)


def ready(helper: Helper[Any]) -> Helper[Any]:
    while not helper.is_free:
        time.sleep(0.01)
    return helper


def fill(filler: Filler, *some: list[File]) -> list[bytes]:
    """Begin with all, then end them in turn."""
    begun = [
        filler.begin([one.name for one in files], [one.path for one in files], [one.entry for one in files])
        for files in some
    ]
    return [stat for batch in begun for stat in filler.end(batch)]


def with_helper(bench: Bench, staging: Staging) -> Filler:
    helper: Helper[Piece] | None = second_writer.start(second_writer.WORTH_FROM)
    if helper is None:
        pytest.skip("there is one processor")
    return Filler(bench.store, staging, bench.work.done.count, helper)


def test_alone(bench: Bench, staging: Staging, files: list[File]) -> None:
    with closing(Filler(bench.store, staging, bench.work.done.count, None)) as filler:
        require_all(staging, files, fill(filler, files))


def test_with_help(bench: Bench, staging: Staging, files: list[File]) -> None:
    with closing(with_helper(bench, staging)) as filler:
        pid = started(filler).pid
        half = len(files) // 2
        stats = fill(filler, files[:half], files[half:])
        require_all(staging, files, stats)
        done = bench.work.done
        assert (done.files, done.bytes) == (COUNT, sum(len(data_of(number)) for number in range(COUNT)))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_helper_that_dies_costs_nothing(
    bench: Bench, staging: Staging, files: list[File], end: signal.Signals
) -> None:
    with closing(with_helper(bench, staging)) as filler:
        os.kill(started(filler).pid, end)
        half = len(files) // 2
        stats = fill(filler, files[:half], files[half:])
        require_all(staging, files, stats)


def test_a_helper_that_stops_halfway(bench: Bench, staging: Staging, files: list[File]) -> None:
    """Some of its files lie there, and no word of them came."""
    with closing(with_helper(bench, staging)) as filler:
        helping = started(filler)
        os.kill(helping.pid, signal.SIGKILL)
        rows, _ = find_places(bench.store, [file.entry[3:35] for file in files])
        for _pack, _offset, _size, at, _id in rows[: len(rows) // 2]:
            disk.write_new(staging.fd, files[at].name, b"half", mode=0o600, path=files[at].path)
        require_all(staging, files, fill(filler, files))


def test_what_the_helper_refuses(bench: Bench, staging: Staging) -> None:
    """Other kinds, wrong sizes, names that are taken: no stat, and nothing is written over."""
    good, model = put(bench, b"good"), put(bench, b"x", kind="model")
    wrong = put_record(bench.store, Artifact(kind="file", format="bytes", size=9, data=b"x"))
    bench.store.flush()
    ids = [bytes(id) for id in (good, model, wrong, good)]
    rows, left = find_places(bench.store, ids)
    other = [(pack, offset, size, at, ids[0]) for pack, offset, size, at, _ in rows if at == 1]
    assert left == []
    disk.write_new(staging.fd, b"taken", b"mine", mode=0o600, path=b"taken")
    names = [b"good", b"model", b"wrong", b"taken"]
    setup = msgspec.msgpack.encode((f"{bench.store.control}/packs", staging.path))
    with closing(Helper[Task]("aq.store.folder.second_writer")) as helping:
        helping.begin(setup)
        modes = [0o600] * len(names)
        for task in (Task(rows, [names[row[3]] for row in rows], modes), Task(other, names[:1], modes[:1])):
            ready(helping).give(task, msgspec.msgpack.encode(task))
            heard = helping.hear(wait=True)
            assert heard is not None and heard[0] is task
            done = zip([row[3] for row in task.rows], answered(heard[1], len(task.rows)), strict=True)
            if task.rows is rows:
                assert {at: bool(stat) for at, stat in done} == {0: True, 1: False, 2: False, 3: False}
            else:
                assert list(done) == [(1, b"")]  # a frame of another object
        assert helping.hear(wait=True) is None
    assert sorted(os.listdir(staging.path)) == [b"good", b"taken"]
    assert (Path(os.fsdecode(staging.path)) / "taken").read_bytes() == b"mine"


def test_a_helper_ends_with_its_caller(bench: Bench, staging: Staging, tmp_path: Path) -> None:
    def begin_and_die() -> None:
        setup = msgspec.msgpack.encode((f"{bench.store.control}/packs", staging.path))
        made = ready(Helper("aq.store.folder.second_writer"))
        made.begin(setup)
        (tmp_path / "pid").write_text(str(made.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_child(begin_and_die)) == signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    for _ in range(1_000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return  # nobody has asked how it ended
        time.sleep(0.01)
    pytest.fail("it lives")


def test_nobody_helps_where_changes_are_counted() -> None:
    with disk.observed(lambda call, path: None):
        assert second_writer.start(1_000_000) is None
    assert second_writer.start(second_writer.WORTH_FROM - 1) is None


def test_what_is_read_ahead_is_what_get_reads(bench: Bench, files: list[File]) -> None:
    """Published, in memory, unknown, or in a frame that was hurt: the last three are left to `get`."""
    pending = put(bench, b"pending")
    ids = [bytes(file.entry[3:35]) for file in files]
    rows, left = find_places(bench.store, [*ids, pending, b"\x07" * 32])
    assert left == [COUNT, COUNT + 1] and rows == sorted(rows) and len({row[0] for row in rows}) > 1
    hurt = rows[len(rows) // 2]
    path = bench.store.control / "packs" / f"{hurt[0].hex()}.pack"
    data = bytearray(path.read_bytes())
    data[hurt[1] + hurt[2] - 1] ^= 1
    path.write_bytes(data)
    with closing(Prefetch(str(bench.store.control / "packs"))) as prefetch:
        found = dict(prefetch.artifacts(rows))
    assert found.pop(hurt[3]) is None
    assert {at: record and record.data for at, record in found.items()} == {
        at: data_of(int(file.name[1:])) for at, file in enumerate(files) if at != hurt[3]
    }


def test_a_pack_that_is_gone_is_left_to_get(bench: Bench, files: list[File]) -> None:
    ids = [bytes(file.entry[3:35]) for file in files]
    rows, _ = find_places(bench.store, ids)
    with closing(Prefetch(str(bench.root / "nowhere"))) as prefetch:
        assert list(prefetch.artifacts(rows)) == [(row[3], None) for row in rows]
