"""Several processes and threads on one store: nothing acknowledged is lost, readers never wait."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from aq.formats.identity import Digest, Kind
from aq.store.commits.refs import Ref
from aq.store.frames.journal import FolderLock
from aq.store.store import Store

from tests.store.scenario import BRANCH, SIZES, in_child, put_content, retrying


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Store.create(tmp_path / "repo", time=0, user="ada").close()
    return tmp_path / "repo"


def history(store: Store) -> list[Digest]:
    """What the branch was after each operation, oldest first."""
    found = [store.refs_after(operation).get(BRANCH) for _id, operation in store.operations()]
    return [ref.id for ref in reversed(found) if ref is not None and ref.id is not None]


def numbers(first: int, last: int) -> range:
    """Numbers of commits that publish small objects."""
    return range(first * len(SIZES) + 4, last * len(SIZES) + 4, len(SIZES))


def commit_many(root: Path, chosen: range) -> None:
    with Store.open(root) as store:
        for number in chosen:
            retrying(store, number)


def start(root: Path, processes: int, each: int) -> list[int]:
    children = []
    for process in range(processes):
        pid = os.fork()
        if pid == 0:
            try:
                commit_many(root, numbers(process * each, (process + 1) * each))
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        children.append(pid)
    return children


def race(root: Path, processes: int, each: int) -> None:
    assert [os.waitpid(pid, 0)[1] for pid in start(root, processes, each)] == [0] * processes
    with Store.open(root) as store:
        assert len(history(store)) == processes * each
        tags = {name for name in store.refs() if name.startswith("tag/")}
        assert tags == {f"tag/v{number}" for number in numbers(0, processes * each)}
        assert [o.sequence for _id, o in store.operations()] == list(range(processes * each + 1, 0, -1))


def test_processes_race_for_one_branch(root: Path) -> None:
    race(root, processes=4, each=12)


@pytest.mark.slow
def test_sixteen_processes_race_for_one_branch(root: Path) -> None:
    race(root, processes=16, each=200)


def test_readers_see_whole_commits_and_never_wait(root: Path) -> None:
    children = start(root, 2, 25)
    waited, seen = [], 0
    with Store.open(root) as store:
        while any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for pid in children):
            before = time.process_time()
            refs = store.refs()
            waited.append(time.process_time() - before)
            branch = refs.get(BRANCH)
            tagged = [refs[name] for name in refs if name.startswith("tag/")]
            assert (branch in tagged) if branch else not tagged
            if branch is not None and branch.id is not None:
                store.get(Kind.CHUNK, branch.id)
                assert store.summary(branch.id) is not None
                seen += 1
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert seen > 10 and max(waited) < 0.1


def test_opening_does_not_wait_for_a_writer(root: Path) -> None:
    """A writer between its journal and its index holds the lock; one who opens goes on with the old refs."""
    journal = next((root / ".aq" / "packs").iterdir())
    with FolderLock(str(root / ".aq" / "packs")):
        with journal.open("ab") as file:
            file.write(b"half a group")

        def body() -> None:
            Store.open(root).close()

        assert in_child(body) == 0
        assert journal.read_bytes().endswith(b"half a group")
    assert in_child(body) == 0
    assert not journal.read_bytes().endswith(b"half a group")


def test_threads_share_one_store(root: Path) -> None:
    with Store.open(root) as store:
        errors: list[BaseException] = []

        def body(first: int) -> None:
            try:
                for number in range(first, first + 8):
                    retrying(store, number)
                    put_content(store, 100 + number)
                    store.flush()
            except BaseException as error:  # reported by the test itself
                errors.append(error)

        threads = [threading.Thread(target=body, args=(first,)) for first in (1, 11, 21)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(history(store)) == 24


def test_a_forked_child_goes_on_with_the_store_of_its_parent(root: Path) -> None:
    with Store.open(root) as store:
        kept = put_content(store, 1)
        store.flush()
        pending = store.put(Kind.CHUNK, os.urandom(2 << 20))

        def body() -> None:
            assert store.has(kept) and not store.has(pending)
            retrying(store, 2)
            store.close()

        assert in_child(body) == 0
        assert store.refs()[BRANCH].id is not None
        retrying(store, 3)
        assert store.has(pending)
    with Store.open(root) as store:
        assert len(history(store)) == 2 and store.has(pending)


def test_children_of_a_fork_write_at_the_same_time(root: Path) -> None:
    with Store.open(root) as store:
        pids = []
        for first in (1, 11, 21):
            pid = os.fork()
            if pid == 0:
                try:
                    for number in range(first, first + 5):
                        retrying(store, number)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            pids.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
        assert len(history(store)) == 15


def test_a_reader_that_stands_still_does_not_stop_writers(root: Path) -> None:
    with Store.open(root) as store, store.index.look() as look:
        state = look.state()
        for number in range(1, 30):
            retrying(store, number)
        assert look.state() == state
        assert [key for key, _value in look.items("refs")] == [b"HEAD"]
    with Store.open(root) as store:
        assert store.refs()[BRANCH] == Ref(history(store)[-1])
