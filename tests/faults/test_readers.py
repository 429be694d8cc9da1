"""Readers that live long, or stand because nobody takes what they write, hold no page of the index back."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aq.formats.identity import Kind
from aq.formats.trees.prolly import map_items
from aq.pipeline.history import log
from aq.pipeline.repo import Repo
from aq.store.commits import snapshots
from aq.store.commits.reach import Item, Link, Walk
from aq.store.frames.environment import open_environment
from aq.store.frames.index import Condemned
from aq.store.frames.packs import PackFiles
from aq.store.store import Store
from aq.store.system import lease
from aq.store.upkeep.fsck import roots
from aq.store.upkeep.fsck_history import CondemnedCheck
from aq.store.upkeep.fsck_objects import ObjectCheck
from aq.store.upkeep.fsck_packs import PackCheck

from tests.faults.crowd import SOURCE, created, opened

WRITES = 200
BOUND = 1 << 20
"""By far more than the 200 commits themselves take, and by far less than pages that are never used again."""


def pinned(root: Path) -> list[int]:
    """The processes that hold a transaction of the index open, by its table of readers.

    To read `lock.mdb` here would give up this process's lock on it, and with it the slots.
    """
    environment = open_environment(f"{root}/.aq/index", readonly=False)
    try:
        rows = [line.split() for line in environment.env.readers().splitlines()[1:]]
    finally:
        environment.close()
    return [int(process) for process, _thread, transaction in rows if transaction != "-"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three commits of files, a value and a table of several segments; one file differs from HEAD."""
    root = created(tmp_path)
    for number in range(300):
        (root / f"file {number:03}").write_text(f"content {number}")
    (root / "big").write_bytes(os.urandom(2_500_000))
    with opened(root) as repo:
        repo.add(".")
        repo.commit(message="files")
        repo.commit({"t": pa.table({"a": list(range(300_000))}), "text": "x" * 100_000}, message="values")
        repo.commit({"n": 0}, message="more")
    (root / "file").write_text("changed")
    return root


def test_the_table_of_readers_tells(root: Path) -> None:
    """That these tests would find something."""
    with opened(root) as repo:
        assert pinned(root) == []
        with repo.store.index.look():
            assert pinned(root) == [os.getpid()]
            assert growth(root, 60) > 2 * BOUND
        assert pinned(root) == []


def called(repo: Repo) -> Iterator[Any]:
    """What the methods of a repository give, as a notebook keeps it in its cells."""
    yield repo.log()
    yield repo.ops()
    yield repo.runs()
    yield repo.status()
    yield repo.ls()
    yield repo.show()
    yield repo.diff()
    yield repo.branch()
    yield repo.du()
    yield repo.fsck()
    yield repo.gc(dry_run=True)
    yield repo.blame("file")
    table = repo.get("HEAD:t")
    yield table, table.to_arrow(rows=slice(0, 10)), table.summary
    yield repo.get("HEAD:text").load()


def begun(repo: Repo) -> Iterator[Iterator[Any]]:
    """Everything that gives one thing after the other."""
    store, head = repo.store, repo.worktree.head()
    yield iter(repo.log())
    yield log.commits(store, None)
    yield iter(store.operations())
    yield iter(store.runs())
    yield store.index.newest("objects")
    yield store.index.runs()
    yield snapshots.entries(store, head)
    yield map_items(store, head)
    yield repo.worktree.scan(head, repo.worktree.tracking(), untracked=True).found()
    yield iter(repo.get("HEAD:t").chunks())
    yield iter(repo.get("HEAD:big").chunks())
    yield iter(repo.get("HEAD:t").chunks("csv"))
    yield roots(store, [id for id, _operation in store.operations()])
    yield Walk(store).visit(list(roots(store, [])))


def test_nothing_is_pinned_between_calls_nor_by_what_is_iterated_halfway(root: Path) -> None:
    cells: list[Any] = []
    with opened(root) as repo:
        for kept in called(repo):
            cells.append(kept)
            assert pinned(root) == [], type(kept)
        for number, each in enumerate(begun(repo)):
            first = list(islice(each, 1))
            cells.append((each, first))
            assert pinned(root) == [], number
        stream = repo.get("HEAD:big").open()
        cells.append((stream, stream.read(10)))
        assert pinned(root) == []
        assert growth(root) < BOUND
        for kept in cells:
            if isinstance(kept, tuple) and isinstance(kept[0], Iterator):
                list(kept[0])
    assert pinned(root) == []


def test_a_path_of_fsspec_holds_nothing(root: Path) -> None:
    pytest.importorskip("fsspec")
    from aq.pipeline.filesystem import AqFileSystem

    files = AqFileSystem(root)
    with files.open("HEAD/big") as stream, files.open("HEAD/t.csv") as made:
        assert len(stream.read(10)) == 10 and len(made.read(10)) == 10
        assert pinned(root) == []
        assert len(files.ls("HEAD")) > 300 and pinned(root) == []


def test_a_check_that_is_looked_at_step_by_step_holds_nothing(root: Path) -> None:
    with Store.open(root) as store, lease.undisturbed(f"{store.control}/leases"):
        state = store.index.state()
        assert state is not None
        files = PackFiles(f"{store.control}/packs")
        packs = PackCheck(store.index, files, store, state, full=True)
        (pack, *_rest) = [path for path in files.names() if path != state.journal]
        with open(files.path(pack), "r+b") as file:  # so that there is something to tell
            file.seek(5_000)
            file.write(bytes(2_000))
        told = 0
        for _finding in packs.run():
            told += 1
            assert pinned(root) == []
        for _finding in ObjectCheck(store, full=True, step_key=None, ordinals={}).run(packs.operations):
            assert pinned(root) == []
        files.close()
        assert told


def test_what_is_condemned_is_told_with_nothing_held(root: Path) -> None:
    with opened(root) as repo:
        ids = [id for id, _place in repo.store.index.items("objects")]
        repo.store.index.write(lambda change: change.condemn(ids[:3], Condemned(1, 1)))
        check = CondemnedCheck(repo.store)
        for id in ids[:3]:
            check.note(Item(Kind.CHUNK, ids[5]), Link(Item(Kind.CHUNK, id)))
        told = 0
        for _finding in check.findings():
            told += 1
            assert pinned(root) == []
        assert told == 3


WRITER = """
import sys
from pathlib import Path
from tests.faults.crowd import opened
with opened(Path(sys.argv[1])) as repo:
    for number in range(int(sys.argv[2])):
        repo.commit({"n": number})
"""


def growth(root: Path, writes: int = WRITES) -> int:
    """By how much commits of another process make the index longer. A forked one would free our slots."""
    before = size(root)
    subprocess.run([sys.executable, "-c", WRITER, str(root), str(writes)], cwd=SOURCE, check=True)
    return size(root) - before


def size(root: Path) -> int:
    return (root / ".aq" / "index" / "data.mdb").stat().st_size


WORDS = (
    "log",
    "ops",
    "ls",
    "status",
    "diff HEAD~2..HEAD",
    "cat HEAD:text",
    "cat HEAD:t",
    "blame file",
    "show",
)


def blocked(root: Path, words: str) -> tuple[subprocess.Popen[bytes], int]:
    """A command whose output nobody takes, as `| less` does; and the other end of its pipe, which is full."""
    ours, theirs = os.pipe()
    os.write(theirs, bytes(fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4_096)))
    command = [sys.executable, "-P", "-m", "aq", *words.split()]
    child = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    return child, ours


def waits_to_write(child: subprocess.Popen[bytes]) -> bool:
    """Whether it stands in a system call on its output."""
    return Path(f"/proc/{child.pid}/syscall").read_text().split()[1:2] == ["0x1"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see where a process stands")
def test_commands_that_stand_in_a_pipe_hold_nothing(root: Path) -> None:
    children = [blocked(root, words) for words in WORDS]
    try:
        deadline = time.monotonic() + 60
        while not all(waits_to_write(child) for child, _ours in children):
            assert time.monotonic() < deadline and all(child.poll() is None for child, _ours in children)
            time.sleep(0.05)
        assert pinned(root) == []
        assert growth(root) < BOUND
        for child, ours in children:
            assert child.poll() is None
            while os.read(ours, 1 << 16):
                pass
            assert child.wait() == 0, child.args
    finally:
        for child, ours in children:
            child.kill()
            child.wait()
            os.close(ours)
