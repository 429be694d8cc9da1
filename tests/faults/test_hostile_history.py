"""Histories that nobody has: very deep ones, and ones that lead back to themselves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.records import Commit, encode
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from aq.store.frames.packs import Frame
from aq.store.store import Store


def open_repo(root: Path) -> Repo:
    context = Context(now=lambda: 10**15, offset=lambda _time: 0, cwd=root, user="a@b", author="Ann")
    return Repo.find(root, context)


def move(store: Store, **branches: Digest) -> None:
    change = store.transaction("test", time=10**14, user="ada")
    for name, id in branches.items():
        change.set(f"branch/{name}", Ref(id))
    change.commit()


def chain(root: Path, depth: int) -> None:
    """Two branches: `main` of so many commits, `side` with one commit upon the middle one."""
    with Store.create(root, time=1, user="ada") as store:
        snapshot, ids = snapshots.empty(store), list[Digest]()
        for number in range(depth):
            parents = [bytes(ids[-1])] if ids else []
            record = Commit(snapshot=snapshot, time=number, author="a", message="m", parents=parents)
            ids.append(put_record(store, record))
        middle = [bytes(ids[depth // 2])]
        last = Commit(snapshot=snapshot, time=depth, author="a", message="side", parents=middle)
        move(store, main=ids[-1], side=put_record(store, last))


@pytest.mark.parametrize("depth", [3_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_deep_histories_are_walked_without_recursion(tmp_path: Path, depth: int) -> None:
    chain(tmp_path, depth)
    repo = open_repo(tmp_path)
    try:
        assert sum(1 for _ in repo.log()) == depth
        assert sum(1 for _ in repo.log("side..main")) == depth - depth // 2 - 1
        assert repo.show(f"main~{depth - 1}").parents == []
        assert repo.merge("side").status == "merged"
        assert repo.fsck().problems == []
        assert repo.gc().objects.kept > depth
        assert repo.du().objects > depth
    finally:
        repo.close()


def plant(store: Store, id: bytes, parent: bytes) -> None:
    """A commit under an id that is not its own: no hash could be found that leads in a circle."""
    record = Commit(snapshot=snapshots.empty(store), time=5, author="a", message="m", parents=[parent])
    data = encode(record)
    store._objects._add(id, Frame(Kind.COMMIT, Digest(id), data, length=len(data)))


LOOKS: dict[str, Callable[[Repo], object]] = {
    "log": lambda repo: list(islice(repo.log(), 10_000)),
    "range": lambda repo: list(islice(repo.log("HEAD~1..HEAD"), 10_000)),
    "ancestor": lambda repo: repo.show("HEAD~100000"),
    "show": lambda repo: repo.show("HEAD"),
    "status": lambda repo: repo.status(),
    "gc": lambda repo: repo.gc(dry_run=True),
    "du": lambda repo: repo.du(),
}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_history_that_leads_back_to_itself_ends(tmp_path: Path, length: int) -> None:
    ids = [bytes([number + 1] * 32) for number in range(length)]
    with Store.create(tmp_path, time=1, user="ada") as store:
        for number, id in enumerate(ids):
            plant(store, id, ids[(number + 1) % length])
        move(store, main=Digest(ids[0]))
    repo = open_repo(tmp_path)
    try:
        for full in (False, True):
            assert ids[0].hex() in [problem.id for problem in repo.fsck(full=full).problems]
        for look in LOOKS.values():
            try:
                look(repo)
            except AqError as error:
                assert isinstance(error, Damaged) and "its own ancestor" in error.message
    finally:
        repo.close()
