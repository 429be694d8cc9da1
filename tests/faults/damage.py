"""A repository to be damaged, what it holds, and who asks for all of it.

Every question is asked in a process of its own: damage may end it.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact, Run, RunStep, Step
from aq.pipeline.step.keys import step_key
from aq.store.commits import history, snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Origin
from aq.store.folder.worktree import Worktree
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from msgspec.structs import replace as replace_field

from tests.store.folder import Bench


class Outcome(Enum):
    """What a process says of a repository, or how it ended."""

    RIGHT = 0
    WRONG = 70
    DAMAGED = 5
    """Said to be damaged, with a command that brings it back."""
    NAMED = 6
    """Said to be damaged for good, by the id of what is lost."""
    KILLED = -1


@dataclass(frozen=True)
class Truth:
    """What a sound repository says."""

    refs: dict[str, Ref]
    objects: dict[Digest, tuple[Kind, bytes]]
    operations: list[Digest]
    steps: list[Digest]
    key: bytes
    runs: list[Digest]
    changes: list[tuple[str, str]]


def build(root: Path, *, files: int = 60, big: int = 300_000) -> None:
    """Every kind of object in journal and data packs, over three commits, and one changed file."""
    bench = Bench(root)
    noise = random.Random(1).randbytes(big)
    bench.write("data/big.bin", noise)
    for number in range(files):
        bench.write(f"notes/{number:04}.txt", f"note {number}\n")
    (root / "link").symlink_to("data/big.bin")
    bench.add("data", "notes", "link")
    bench.settle()
    bench.commit("first")
    _run_once(bench)
    bench.write("notes/0000.txt", "two\n")
    bench.write("data/big.bin", noise[: big // 2] + b"!" + noise[big // 2 :])
    bench.settle()
    bench.commit("third")
    bench.refs({"tag/v1": bench.store.refs()["branch/main"]})
    bench.write("notes/0001.txt", "changed\n")
    bench.settle()
    bench.status()
    bench.store.close()


def _run_once(bench: Bench) -> None:
    """A commit with a step, a run, a log and a summary."""
    store = bench.store
    source = put_record(store, Artifact(kind="file", format="bytes", size=1, data=b"s"))
    output = put_record(store, Artifact(kind="value", format="json", size=1, data=b"1"))
    log = put_record(store, Artifact(kind="value", format="raw", size=3, data=b"log"))
    record = Step(key=bytes(32), op="m:f", inputs={"a": source}, outputs=[("", bytes(output))])
    step = put_record(store, replace_field(record, key=step_key(record)))
    made = {"flow/f": Entry(output, Origin.MADE, step), "given": Entry(output, Origin.GIVEN)}
    root = snapshots.edit(store, bench.work.head(), made)
    steps = [RunStep(name="flow/f", status="run", step=step, log=log)]
    put_record(store, Run(flow="flow", file="f.py", time=1, status="committed", snapshot=root, steps=steps))
    store.put_summary(output, {"value": 1})
    bench.commit_snapshot(root, "second")


def truth_of(root: Path) -> Truth:
    """Ask a sound repository everything."""
    with Store.open(root) as store:
        kinds = [(Digest(id), Kind(decode_place(value).kind)) for id, value in store.index.items("objects")]
        return Truth(
            refs=dict(store.refs()),
            objects={id: (kind, store.get(kind, id)) for id, kind in kinds},
            operations=[id for id, _operation in store.operations()],
            steps=[Digest(id) for _key, id in store.index.items("steps")],
            key=store.index.items("steps")[0][0][:32],
            runs=list(store.runs()),
            changes=_changes(store),
        )


def _changes(store: Store) -> list[tuple[str, str]]:
    work = Worktree(store)
    return work.status(work.head()).changes


def ask_all(root: Path, truth: Truth) -> None:
    """Everything again, and a commit on top. AssertionError: a wrong answer.

    An earlier question may have got as far as that commit.
    """
    with Store.open(root) as store:
        refs = dict(store.refs())
        if refs != truth.refs:
            truth = _after(store, truth, refs)
        for id, (kind, data) in truth.objects.items():
            assert store.get(kind, id) == data
        assert [id for id, _operation in store.operations()] == truth.operations
        for id in store.runs():  # the last ones may be hidden: see docs/faults.md
            assert get_record(store, Run, id).flow == "flow" and id in truth.runs
        for id in store.steps_with_key(truth.key):  # one that is not found is made again
            assert get_record(store, Step, id).key == truth.key and id in truth.steps
        assert _changes(store) == truth.changes
    commit_on(root, truth)


def _after(store: Store, truth: Truth, refs: dict[str, Ref]) -> Truth:
    """What there is to know after one more commit of the folder."""
    tip, before = refs["branch/main"], truth.refs["branch/main"]
    assert refs == truth.refs | {"branch/main": tip}
    assert tip.id is not None and history.commit(store, tip.id).parents == [before.id]
    newest = next(id for id, _operation in store.operations())
    return replace(truth, refs=refs, operations=[newest, *truth.operations], changes=[])


def commit_on(root: Path, truth: Truth) -> None:
    """A commit of the folder; it holds what lies there."""
    bench = Bench.__new__(Bench)
    bench.root, bench.time = root, 1_000
    bench.store = Store.open(root)
    bench.work = Worktree(bench.store)
    id = bench.commit("after")
    files = bench.files(bench.snapshot_of(id))
    bench.store.close()
    with Store.open(root) as store:
        assert store.refs() == truth.refs | {"branch/main": Ref(id)}
        record = history.commit(store, id)
        assert record.parents == [truth.refs["branch/main"].id]
        for entry in files.values():
            store.get(Kind.ARTIFACT, entry.artifact)
        assert [id for id, _operation in store.operations()][1:] == truth.operations


def outcome(question: Callable[[], None]) -> Outcome:
    """Ask in a forked process, which may die of it."""
    pid = os.fork()
    if pid == 0:
        os._exit(_answer(question).value)
    status = os.waitpid(pid, 0)[1]
    return Outcome.KILLED if os.WIFSIGNALED(status) else Outcome(os.WEXITSTATUS(status))


def _answer(question: Callable[[], None]) -> Outcome:
    try:
        question()
    except Damaged as error:
        if "aq fsck --rebuild" in error.hints:
            return Outcome.DAMAGED
        if any(len(word.strip(":")) == 64 for word in error.message.split()):
            traceback.print_exc()
            return Outcome.NAMED
        traceback.print_exc()
        return Outcome.WRONG
    except (AqError, Exception):
        traceback.print_exc()
        return Outcome.WRONG
    return Outcome.RIGHT
