"""Many processes on one repository: no acknowledged commit is lost, readers never wait nor see a half one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aq.formats.errors import Conflict, Temporary
from aq.store.transactions.rebuild import rebuild

from tests.faults.crowd import (
    SOURCE,
    aq,
    created,
    ended,
    go_on,
    insisting,
    is_running,
    opened,
    start,
    start_stopped,
)
from tests.faults.oracle import check_oracle

DAY = 86_400 * 10**9
CENTURY = 36_500 * DAY


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: what is forced to the disk is no matter here."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def root(memory: Path) -> Path:
    return created(memory / "repo")


# Writers


def race(root: Path, processes: int, each: int) -> None:
    """Every one commits `each` times: pairs of values of its own, and now and then one that all fight for."""

    def worker(number: int) -> None:
        told = []
        with opened(root) as repo:
            for turn in range(each):
                values = {f"w{number}/a": turn, f"w{number}/b": turn}
                if turn % 5 == 0:
                    values["all"] = number * each + turn
                id = insisting(lambda: repo.commit(values, message=f"{number} {turn}").id)  # noqa: B023
                told.append(id)
        (root.parent / f"told-{number}").write_text(json.dumps(told))

    pids = [start(lambda n=n: worker(n)) for n in range(processes)]  # type: ignore[misc]
    looked = 0
    with opened(root) as repo:
        while any(map(is_running, pids)):
            looked += whole(repo)
    assert ended(pids) == [0] * processes
    told = [json.loads((root.parent / f"told-{n}").read_text()) for n in range(processes)]
    with opened(root) as repo:
        found = [one.id for one in repo.log()]
        assert len(found) == len(set(found)) == processes * each + 1
        assert {id for ids in told for id in ids} == {*found[:-1]}
        at = {id: place for place, id in enumerate(reversed(found))}
        assert all([at[id] for id in ids] == sorted(at[id] for id in ids) for ids in told)
        for number in range(processes):
            assert repo.get(f"w{number}/a").load() == each - 1
        assert [one.sequence for one in repo.ops()] == list(range(len(found) + 2, 0, -1))
        assert looked > 0
    check_oracle(root, acknowledged={})


def whole(repo: object) -> int:
    """Whether HEAD holds both values of each pair, and its history is there; how many pairs there are."""
    tip = next(iter(repo.log(limit=1))).id  # type: ignore[attr-defined]
    pairs: dict[str, set[int]] = {}
    for one in repo.ls(tip):  # type: ignore[attr-defined]
        if one.path.startswith("w"):
            pairs.setdefault(one.path[:-2], set()).add(repo.get(f"{tip}:{one.path}").load())  # type: ignore[attr-defined]
    assert all(len(found) == 1 for found in pairs.values()), "half a commit"
    return len(pairs)


def test_processes_race_for_one_branch(root: Path) -> None:
    race(root, processes=4, each=25)


@pytest.mark.soak
def test_sixteen_processes_race_for_one_branch(root: Path) -> None:
    race(root, processes=16, each=200)


def test_commands_race_for_one_branch(root: Path) -> None:
    """Each commits a file of its own; the branch moves under it all the time."""
    names = [f"file-{number}" for number in range(2)]

    def worker(name: str) -> None:
        for turn in range(2):
            (root / name).write_text(f"{name} {turn}")
            done = aq(root, "commit", "-m", f"{name} {turn}", name)
            assert done.returncode == 0, done.stderr

    for name in names:
        (root / name).write_text("before")
    assert aq(root, "add", *names).returncode == 0
    assert ended([start(lambda n=n: worker(n)) for n in names]) == [0, 0]  # type: ignore[misc]
    with opened(root) as repo:
        messages = [one.message for one in repo.log()]
        assert sorted(messages) == sorted(["first", *(f"{n} {t}" for n in names for t in range(2))])
        assert [repo.cat(f"HEAD:{name}").decode() for name in names] == [f"{name} 1" for name in names]
    check_oracle(root)


def test_who_changes_the_same_path_is_told(root: Path) -> None:
    with opened(root) as one, opened(root) as other:
        (root / "file").write_text("other")
        snapshot = other.worktree.snapshot(other.worktree.head())
        (root / "file").write_text("one")
        first = one.commit(message="one").id
        assert other.worktree.head() != snapshot
        other.commit({"value": 1})
        assert [e.id for e in other.log()][1] == first


def test_a_lost_race_stays_lost_after_the_index_is_made_anew(root: Path) -> None:
    with opened(root) as one, opened(root) as other:
        won = one.commit({"all": 1}).id
        at = other.store.refs()["branch/main"]
        move = other.transaction("commit", "a lost one")
        lost = other.store.refs()["HEAD"]
        one.commit({"all": 2})
        move.set("branch/main", at, expect=at)
        with pytest.raises(Conflict):
            move.commit()
        assert lost
        before = [entry.id for entry in one.log()]
    rebuild(str(root / ".aq"))
    with opened(root) as repo:
        assert [entry.id for entry in repo.log()] == before and won in before
    check_oracle(root)


def test_many_small_commits_leave_few_files(root: Path) -> None:
    leave_few_files(root, 150)


@pytest.mark.soak
def test_ten_thousand_commits_leave_few_files(root: Path) -> None:
    leave_few_files(root, 10_000)


def leave_few_files(root: Path, commits: int) -> None:
    with opened(root) as repo:
        for number in range(commits):
            repo.commit({"n": number}, message=f"{number}")
    size = sum(path.stat().st_size for path in (root / ".aq").rglob("*.pack"))
    files = [path for path in (root / ".aq").rglob("*") if path.is_file()]
    assert len(files) <= 8 + size // (48 << 20), files
    with opened(root) as repo:
        assert repo.get(f"HEAD~{commits - 1}:n").load() == 0


# Readers beside a writer that stands still


def committing(root: Path) -> Callable[[], None]:
    def body() -> None:
        with opened(root) as repo:
            repo.commit({"by": "the writer"}, message="late")

    return body


def reading(root: Path, *, checking: bool = True) -> int:
    """Everything that only looks, in a process of its own; returns how many commits it saw."""

    def body() -> None:
        with opened(root) as repo:
            assert repo.status().changes and repo.status().untracked == ["new"]
            assert repo.show("HEAD").id and repo.show("HEAD:file").id and repo.cat("HEAD:file") == b"first"
            assert repo.ls() and repo.diff().paths and repo.branch() and repo.ops() and not repo.metrics()
            if checking:
                assert repo.fsck().problems == [] and repo.gc(dry_run=True).objects.kept
            os._exit(10 + len(repo.log()))

    return os.waitstatus_to_exitcode(ended([start(body)])[0]) - 10


COMMANDS = (("log",), ("status",), ("show", "HEAD:file"))


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_readers_answer_while_a_writer_stands_in_its_publication(root: Path, call: str) -> None:
    """It holds both locks, before its group is in the journal or behind it; readers see what was before."""
    pid = start_stopped(
        committing(root), lambda c, path: c == call and path.endswith(".pack") and is_locked(root)
    )
    (root / "file").write_text("changed")
    (root / "new").write_text("new")
    assert reading(root) == 1
    for words in COMMANDS if call == "fsync" else ():
        done = aq(root, *words)
        assert done.returncode == 0 and "late" not in done.stdout, done.stderr
    assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the writer stands where it stood"
    assert go_on(pid) == 0
    assert reading(root) == 2
    check_oracle(root)


def is_locked(root: Path) -> bool:
    """Whether somebody holds the lock of the writers."""
    from aq.store.frames.journal import FolderLock

    lock = FolderLock(str(root / ".aq" / "packs"))
    try:
        return not lock.take(wait=False)
    finally:
        lock.free()


def test_readers_answer_while_a_writer_stands_inside_lmdb(root: Path) -> None:
    """Between the pages of its transaction and the meta page that makes them count."""
    if shutil.which("strace") is None or subprocess.run(["strace", "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    script = "import sys; from pathlib import Path; from tests.faults.test_concurrency import committing\n"
    script += "committing(Path(sys.argv[1]))()"
    index = str(root / ".aq" / "index" / "data.mdb")
    inject = ["-P", index, "-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=STOP:when=1"]
    command = ["strace", "-f", "-o", os.devnull, *inject, sys.executable, "-c", script, str(root)]
    writer = subprocess.Popen(command, cwd=SOURCE)
    stopped = await_stopped(writer, root)
    assert is_locked(root)
    (root / "file").write_text("changed")
    (root / "new").write_text("new")
    assert reading(root) == 1
    assert writer.poll() is None
    os.kill(stopped, signal.SIGCONT)
    assert writer.wait() == 0
    assert reading(root) == 2
    check_oracle(root)


def await_stopped(writer: subprocess.Popen[bytes], root: Path) -> int:
    """The traced child, once it holds the lock and stands still."""
    until, seen = time.monotonic() + 30, 0
    while writer.poll() is None and time.monotonic() < until:
        for pid in children(writer.pid):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            seen = seen + 1 if state in "tT" and is_locked(root) else 0
            if seen == 10:
                return pid
        time.sleep(0.02)
    writer.kill()
    raise AssertionError(f"it never stood still: {writer.wait()}")


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_a_reader_that_stands_still_while_others_write(root: Path) -> None:
    stands_still(root, 120)


@pytest.mark.soak
def test_a_reader_that_stands_still_during_ten_thousand_writes(root: Path) -> None:
    stands_still(root, 10_000)


READER = """
import os, signal, sys
from pathlib import Path
from aq.store.store import Store
with Store.open(Path(sys.argv[1])) as store, store.index.look() as look:
    def everything():
        return look.state(), [list(look.items(name)) for name in ("refs", "objects", "summaries")]
    before = everything()
    os.kill(os.getpid(), signal.SIGSTOP)
    assert everything() == before
"""


def start_reader(root: Path) -> int:
    """A process that stands still in the middle of a look at the index."""
    reader = subprocess.Popen([sys.executable, "-c", READER, str(root)], cwd=SOURCE)
    assert os.WIFSTOPPED(os.waitpid(reader.pid, os.WUNTRACED)[1])
    reader.returncode = 0  # waited for by its number
    return reader.pid


def stands_still(root: Path, writes: int) -> None:
    """What it was reading stays as it was, and what that costs has a bound."""
    pid = start_reader(root)
    index = root / ".aq" / "index" / "data.mdb"
    with opened(root) as repo:
        for number in range(writes):
            repo.commit({"n": number})
        assert repo.get("HEAD:n").load() == writes - 1
    used = index.stat().st_size
    assert go_on(pid) == 0
    with opened(root) as repo:
        for number in range(writes // 2):
            repo.commit({"n": number})
    assert index.stat().st_size <= used + (1 << 20), "its pages are used again"
    check_oracle(root)


def test_a_reader_that_was_killed_holds_nothing_back(root: Path) -> None:
    """Its slot is cleared by a writer that goes on, not only by the next one to open."""
    index = root / ".aq" / "index" / "data.mdb"
    with opened(root) as repo:
        pid = start_reader(root)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        commit_alone(root, 100)
        before = index.stat().st_size
        for number in range(200):
            repo.commit({"n": number})
        assert index.stat().st_size - before < 200 * 4096


# Collectors beside writers


def test_a_writer_that_stands_for_a_century_loses_nothing(root: Path) -> None:
    """Whatever it has put so far is there when it goes on, whatever the collectors' clocks say meanwhile."""
    (root / "large").write_bytes(os.urandom(3 << 20))

    def body() -> None:
        with opened(root) as repo:
            repo.add("large")
            (root / "told").write_text(repo.commit(["large"], message="large").id)

    def is_sealing(call: str, path: str) -> bool:
        return call == "fsync" and path.endswith(".pack") and not is_locked(root)

    pid = start_stopped(body, is_sealing)
    for turn in (1, -1, 2):
        with opened(root, lambda turn=turn: time.time_ns() + turn * CENTURY) as repo:  # type: ignore[misc]
            repo.gc()
    assert go_on(pid) == 0
    told = (root / "told").read_text()
    content = {"file": b"first", "large": (root / "large").read_bytes()}
    check_oracle(root, acknowledged={told: content})


@pytest.mark.parametrize("inside", [False, True])
def test_a_second_collector_is_told_and_readers_go_on(root: Path, inside: bool) -> None:
    """The first stands between its steps, or inside one, under the lock of the writers."""
    (root / "large").write_bytes(os.urandom(2 << 20))

    def dead() -> None:
        with opened(root) as repo:
            repo.worktree.store_file("large")
            repo.store.flush()

    assert ended([start(dead)]) == [0]
    (root / "large").unlink()

    def collector() -> None:
        with opened(root, lambda: time.time_ns() + CENTURY) as repo:
            repo.gc()
        with opened(root, lambda: time.time_ns() + 2 * CENTURY) as repo:
            repo.gc()

    at = (lambda c, p: is_locked(root)) if inside else (lambda c, p: c == "unlink" and p.endswith(".pack"))
    if inside:
        commit_alone(root, 3)
    pid = start_stopped(collector, at)
    with opened(root) as repo:
        with pytest.raises(Temporary, match="at work"):
            repo.gc()
        assert [one.message for one in repo.log()][-1] == "first"
        if not inside:
            repo.commit({"beside": 1})
    (root / "file").write_text("changed")
    (root / "new").write_text("new")
    assert reading(root, checking=False) > 0
    assert go_on(pid) == 0
    check_oracle(root)


def commit_alone(root: Path, count: int) -> None:
    with opened(root) as repo:
        for number in range(count):
            repo.commit({"n": number})


def test_collecting_beside_commits_and_writers_that_stand_still(root: Path) -> None:
    collect_beside(root, seconds=4)


@pytest.mark.soak
def test_collecting_beside_commits_for_minutes(root: Path) -> None:
    collect_beside(root, seconds=300)


def collect_beside(root: Path, seconds: float) -> None:
    """No retention, no grace; writers are stopped at any moment for many collections."""
    until = time.monotonic() + seconds
    with opened(root) as repo:
        repo.store.control.joinpath("config").write_text('[gc]\nretention = "0s"\ngrace = "0s"\n')

    def worker(number: int) -> None:
        told, turn = [], 0
        while time.monotonic() < until:
            with opened(root) as repo:
                for _ in range(5):
                    turn += 1
                    values = {f"w{number}": turn % 7, f"x{number}": "x" * (turn % 3 * 40_000)}
                    if turn % 4 == 0:
                        repo.worktree.store_file("file")  # met, and never published
                    told.append(insisting(lambda: repo.commit(values, message=f"{number}").id))  # noqa: B023
        (root.parent / f"told-{number}").write_text(json.dumps(told))

    pids = [start(lambda n=n: worker(n)) for n in range(3)]  # type: ignore[misc]
    collections = 0
    while time.monotonic() < until or collections < 2:  # a busy machine may need longer for two
        stopped = pids[collections % 3]
        os.kill(stopped, signal.SIGSTOP)
        collector = start(lambda: collect_often(root))
        standing = time.monotonic() + 0.5  # it may hold a lock, and nobody gets on before it does
        while is_running(collector) and time.monotonic() < standing:
            time.sleep(0.01)
        os.kill(stopped, signal.SIGCONT)
        assert ended([collector]) == [0]
        collections += 1
    assert ended(pids) == [0, 0, 0]
    with opened(root) as repo:
        history = {one.id for one in repo.log()}
    told = [id for n in range(3) for id in json.loads((root.parent / f"told-{n}").read_text())]
    assert {*told} <= history and told
    check_oracle(root)


def collect_often(root: Path) -> None:
    for _ in range(3):
        with opened(root) as repo:
            repo.gc()


def test_the_hook_stops_where_it_is_told(root: Path) -> None:
    """The tests above have teeth: a command that takes the lock of the writers does wait."""
    pid = start_stopped(committing(root), lambda c, path: c == "fsync" and is_locked(root))
    waiting = start(committing(root))
    time.sleep(0.3)
    assert is_running(waiting)
    assert go_on(pid) == 0 and ended([waiting]) == [0]
