"""What a dead or failing writer leaves is followed, taken back or cut off (docs/format.md, 4.5 and 4.6)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Kind
from aq.formats.packing.packs import HEADER_SIZE
from aq.store.commits.refs import Ref
from aq.store.frames import objects
from aq.store.frames.journal import Journal
from aq.store.frames.packs import PackFiles
from aq.store.store import Store
from aq.store.system import disk
from aq.store.transactions import publish
from aq.store.transactions.rebuild import rebuild

from tests.store.scenario import BRANCH, check, commit, content, in_child, put_content, work

Commit = Callable[[publish._Attempt], object]
real_commit = publish._Attempt.commit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Store.create(tmp_path / "repo", time=0, user="ada").close()
    return tmp_path / "repo"


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (objects, publish):
        monkeypatch.setattr(module, "SEAL_AT", 2_000)
    yield


def packs(root: Path) -> list[Path]:
    return sorted((root / ".aq" / "packs").iterdir())


def journal(root: Path) -> Path:
    with Store.open(root) as store:
        state = store.index.state()
        assert state is not None
        return root / ".aq" / "packs" / f"{state.journal.hex()}.pack"


def die_instead_of(commit: Commit, root: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child be killed where it would commit LMDB for this number."""

    def body() -> None:
        with Store.open(root) as store:
            monkeypatch.setattr(publish._Attempt, "commit", commit)
            put_commit(store, number)

    assert os.WTERMSIG(in_child(body)) == signal.SIGKILL


put_commit = commit


def kill(_attempt: publish._Attempt) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", [1, 2])  # in a pack of its own; in the journal
def test_a_durable_operation_counts_although_its_writer_died(
    root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root) as store:
        for earlier in range(1, number):
            commit(store, earlier)
    die_instead_of(kill, root, number, monkeypatch)
    assert check(root, number, number) == number


def test_flushed_objects_that_did_not_reach_the_index_are_cut_off(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        with Store.open(root) as store:
            put_content(store, 2)
            monkeypatch.setattr(publish._Attempt, "commit", kill)
            store.flush()

    before = os.path.getsize(journal(root))
    assert os.WTERMSIG(in_child(body)) == signal.SIGKILL
    assert os.path.getsize(next((root / ".aq" / "packs").iterdir())) > before
    assert os.path.getsize(journal(root)) == before
    check(root, 0, 0)


def interrupt_before(_attempt: publish._Attempt) -> None:
    raise KeyboardInterrupt


def fail_before(_attempt: publish._Attempt) -> None:
    raise lmdb.DiskError("no commit")


def fail_after(attempt: publish._Attempt) -> None:
    real_commit(attempt)
    raise lmdb.DiskError("who knows")


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("failure", [fail_before, fail_after])
def test_a_commit_that_lmdb_refused_is_void(
    root: Path, number: int, failure: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root) as store:
        for earlier in range(1, number):
            commit(store, earlier)
        with monkeypatch.context() as patch:
            patch.setattr(publish._Attempt, "commit", failure)
            with pytest.raises(AqError, match="index"):
                commit(store, number)
    assert check(root, number - 1, number - 1) == number - 1


@pytest.mark.parametrize("failure", [fail_before, fail_after, interrupt_before])
def test_the_same_process_goes_on_after_a_void_commit(
    root: Path, failure: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root) as store:
        commit(store, 1)
        with monkeypatch.context() as patch:
            patch.setattr(publish._Attempt, "commit", failure)
            with pytest.raises((AqError, KeyboardInterrupt)):
                commit(store, 2)
        store.flush()
        put_content(store, 77)
        store.flush()
        assert f"tag/v{2}" not in store.refs()
        commit(store, 2)
    assert check(root, 2, 2) == 2


def interrupt_after(attempt: publish._Attempt) -> None:
    real_commit(attempt)
    raise KeyboardInterrupt


@pytest.mark.parametrize("failure", [fail_after, interrupt_after])
def test_a_pack_that_the_index_may_list_is_never_removed(
    root: Path, failure: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an operation the journal tells nothing of the pack: LMDB alone does."""
    with Store.open(root) as store:
        id = store.put(Kind.CHUNK, content(77) + bytes(range(256)) * 8_192)
        with monkeypatch.context() as patch:
            patch.setattr(publish._Attempt, "commit", failure)
            with pytest.raises((AqError, KeyboardInterrupt)):
                store.flush()
    with Store.open(root) as store:
        assert store.index.has(id)
        assert store.get(Kind.CHUNK, id).startswith(content(77))


def test_the_map_grows_when_lmdb_runs_out_in_the_middle_of_a_commit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def full_twice(attempt: publish._Attempt) -> publish.Published:
        if len(failed) < 2:
            failed.append(1)
            attempt._writing.abort()  # type: ignore[union-attr]
            attempt._writing = None
            raise lmdb.MapFullError("full")
        return real_commit(attempt)

    monkeypatch.setattr(publish._Attempt, "commit", full_twice)
    with Store.open(root) as store:
        commit(store, 1)
        failed.clear()
        put_content(store, 50)
        store.flush()
        assert len(list(store.operations())) == 2
    assert check(root, 1, 1) == 1


def test_journals_are_sealed_and_followed_by_others(root: Path, small_packs: None) -> None:
    work(root, lambda number: None)
    assert len(packs(root)) > 8
    assert check(root, 6, 6) == 6


def test_killed_while_packs_are_sealed(root: Path, small_packs: None, tmp_path: Path) -> None:
    calls = 0

    def count(call: str, path: str) -> None:
        nonlocal calls
        calls += 1

    with disk.observed(count):
        work(root, lambda number: None, last=3)
    told = tmp_path / "told"
    for n in range(calls):
        copy = tmp_path / str(n)
        Store.create(copy, time=0, user="ada").close()
        told.write_text("0")

        def body(n: int = n, copy: Path = copy) -> None:
            seen = 0

            def hook(call: str, path: str) -> None:
                nonlocal seen
                seen += 1
                if seen > n:
                    os.kill(os.getpid(), signal.SIGKILL)

            with disk.observed(hook):
                work(copy, lambda number: told.write_text(str(number)), last=3)

        assert os.WTERMSIG(in_child(body)) == signal.SIGKILL
        acknowledged = int(told.read_text())
        check(copy, acknowledged, acknowledged + 1)


def test_a_journal_that_lost_its_end_costs_only_what_was_there(root: Path) -> None:
    with Store.open(root) as store:
        for number in (1, 2, 3):
            commit(store, number)
    path = journal(root)
    os.truncate(path, os.path.getsize(path) - 200)
    with Store.open(root) as store:
        id = store.refs()["tag/v1"].id or b""
        assert store.get(Kind.CHUNK, id) == content(1)
        commit(store, 4)
        assert store.refs()[BRANCH] == store.refs()["tag/v4"]
    assert os.path.getsize(path) < os.path.getsize(journal(root)) or journal(root) != path
    with Store.open(root) as store:
        assert store.get(Kind.CHUNK, store.refs()[BRANCH].id or b"") == content(4)


def test_a_journal_that_is_gone_is_named_and_does_not_stop_the_next_commit(root: Path) -> None:
    with Store.open(root) as store:
        commit(store, 1)
        commit(store, 2)
        small = store.refs()["tag/v2"].id or b""
    journal(root).unlink()
    with Store.open(root) as store:
        with pytest.raises(Damaged, match=small.hex()):
            store.get(Kind.CHUNK, small)
        assert store.get(Kind.CHUNK, store.refs()["tag/v1"].id or b"") == content(1)
        commit(store, 3)
        assert set(store.refs()) == {"HEAD", BRANCH, "tag/v1", "tag/v2", "tag/v3"}
    rebuild(str(root / ".aq"))
    with Store.open(root) as store:
        assert set(store.refs()) == {"HEAD", BRANCH, "tag/v1", "tag/v2", "tag/v3"}


@pytest.mark.parametrize("cut", [1, 39, 40, 63, 64, 65, 100, 10_000])
def test_a_torn_group_is_cut_off(root: Path, cut: int) -> None:
    with Store.open(root) as store:
        commit(store, 1)
        path = journal(root)
        end = os.path.getsize(path)
        commit(store, 4)
    whole = path.read_bytes()
    torn = whole[end : end + cut]
    with Store.open(root) as store:
        state = store.index.state()
        assert state is not None and state.end == len(whole)
    path.write_bytes(whole + torn)
    with Store.open(root) as store:
        commit(store, 5)
        refs = store.refs()
        assert store.get(Kind.CHUNK, refs[BRANCH].id or b"") == content(5)
    data = path.read_bytes()
    assert data.startswith(whole) and len(data) > len(whole) > HEADER_SIZE


def test_conflicts_leave_the_journal_as_it_was(root: Path) -> None:
    with Store.open(root) as store:
        commit(store, 1)
        before = journal(root).read_bytes()
        transaction = store.transaction("lose", time=1, user="ada")
        transaction.set(BRANCH, Ref(target="branch/other"), expect=None)
        with pytest.raises(AqError):
            transaction.commit()
        assert journal(root).read_bytes() == before


def test_a_journal_that_was_left_behind_is_made_durable(root: Path) -> None:
    """Its writer was killed, or refused, before its header or its name had reached the disk."""
    files = PackFiles(str(root / ".aq" / "packs"))

    def refuse_fsync(call: str, path: str) -> None:
        if call == "fsync":
            raise OSError(5, "Input/output error")

    with disk.observed(refuse_fsync), pytest.raises(AqError):
        Journal.begin(files, 2)
    calls: list[tuple[str, str]] = []
    with disk.observed(lambda call, path: calls.append((call, path))):
        journal = Journal.begin(files, 2)
    journal.close()
    assert calls == [("write", journal.path), ("fsync", journal.path), ("fsync", files.folder)]
