"""Work on a store that can be cut off anywhere, and the oracle that looks at what is left."""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from pathlib import Path

from aq.formats.errors import Conflict
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.records import Artifact, Step
from aq.store.commits.refs import Ref
from aq.store.store import Store
from aq.store.transactions.rebuild import rebuild

BRANCH = "branch/main"
SIZES = (10, 3 << 20, 500, 70_000, 0, 1_500_000)


def content(number: int) -> bytes:
    """The object that commit `number` publishes: different in each, the same in each process."""
    return b"%d|" % number + random.Random(number).randbytes(SIZES[number % len(SIZES)])


def put_content(store: Store, number: int) -> Digest:
    """Put it with a step and a summary beside it."""
    id = store.put(Kind.CHUNK, content(number))
    output = put_record(store, Artifact(kind="value", format="raw", size=1, data=b"1"))
    put_record(store, Step(key=id, op="made", outputs=[("out", output)]))
    store.put_summary(id, {"number": number})
    return id


def commit(store: Store, number: int) -> Digest:
    """Publish the object of this number on the branch."""
    id = put_content(store, number)
    before = store.ref(BRANCH)
    transaction = store.transaction("commit", time=number, user="ada")
    transaction.set(BRANCH, Ref(id), expect=before)
    transaction.set(f"tag/v{number}", Ref(id), expect=None)
    transaction.commit()
    return id


def work(root: Path, acknowledge: Callable[[int], None], *, first: int = 1, last: int = len(SIZES)) -> None:
    """Open, commit each number, flush between; tell of every commit that returned."""
    with Store.open(root) as store:
        for number in range(first, last + 1):
            commit(store, number)
            acknowledge(number)
            put_content(store, 1_000 + number)
            store.flush()


def check(root: Path, acknowledged: int, attempted: int) -> int:
    """The oracle: acknowledged commits whole, refs old or new, the next commit works, packs agree.

    Returns the number of the commit that the branch is at.
    """
    with Store.open(root) as store:
        reached = _check_refs(store, acknowledged, attempted)
        refs = store.refs()
    rebuild(str(root / ".aq"))
    with Store.open(root) as store:
        assert store.refs() == refs, "the index tells another story than the packs"
        _check_refs(store, acknowledged, attempted)
        commit(store, 500)
    with Store.open(root) as store:
        assert store.get(Kind.CHUNK, store.refs()[BRANCH].id or b"") == content(500)
    return reached


def _check_refs(store: Store, acknowledged: int, attempted: int) -> int:
    refs = store.refs()
    reached = max((int(name.removeprefix("tag/v")) for name in refs if name.startswith("tag/")), default=0)
    assert acknowledged <= reached <= attempted, f"{acknowledged} acknowledged, {reached} there"
    for number in range(1, reached + 1):
        id = refs[f"tag/v{number}"].id
        assert id is not None
        assert store.get(Kind.CHUNK, id) == content(number)
        assert store.summary(id) == {"number": number}
        assert len(store.steps_with_key(id)) == 1
    assert refs.get(BRANCH) == (refs[f"tag/v{reached}"] if reached else None)
    assert [operation.sequence for _id, operation in store.operations()] == list(range(reached + 1, 0, -1))
    return reached


def retrying(store: Store, number: int) -> None:
    """Commit, again and again while others win."""
    while True:
        try:
            commit(store, number)
            return
        except Conflict:
            continue


def start(body: Callable[[], None]) -> int:
    """Run `body` in a forked child; its wait status is 0 unless it raises."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked child; returns its wait status."""
    return os.waitpid(start(body), 0)[1]
