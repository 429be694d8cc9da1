"""What a broken repository is made of, for the cases of `test_fsck_invariants`.

Invariant: a case writes well-formed objects through the lowest writer there is, and breaks one thing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Artifact, Operation, Step
from aq.formats.trees.prolly import build_map
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.frames.index import State
from aq.store.transactions.publish import Make
from aq.store.upkeep.findings import Problem
from aq.store.upkeep.fsck import fsck

from tests.store.folder import Bench


class Broken(NamedTuple):
    """What is said of the damage: a part of the detail, and who has it."""

    detail: str
    id: str | None = None
    path: str | None = None
    full: bool = False
    commit: bool = False


Break = Callable[[Bench], Broken]
CASES: dict[str, list[Break]] = {}


def breaks(number: str) -> Callable[[Break], Break]:
    """Register a case of an invariant."""

    def register(case: Break) -> Break:
        CASES.setdefault(number, []).append(case)
        return case

    return register


def found_in(bench: Bench, *, full: bool) -> list[Problem]:
    bench.store.flush()
    return fsck(bench.store, full=full, step_key=key_of).problems


def key_of(step: Step) -> bytes:
    """What the layer above would say, which alone knows keys."""
    return bytes([1] * 32) if step.op == "odd" else step.key


def commit_of(bench: Bench, artifact: Digest, path: str = "data/odd", **entry: object) -> str:
    """HEAD with one more path, which holds an artifact."""
    held = Entry(artifact, Origin.GIVEN)._replace(**entry)  # type: ignore[arg-type]
    root = snapshots.edit(bench.store, bench.work.head(), {path: held})
    return bench.commit_snapshot(root).hex()


def put(bench: Bench, **fields: object) -> Digest:
    return put_record(bench.store, Artifact(**{"kind": "value", **fields}))  # type: ignore[arg-type]


def given(bench: Bench, detail: str, *, full: bool = False, **fields: object) -> Broken:
    """An artifact that is wrong, committed."""
    id = put(bench, **fields)
    commit_of(bench, id)
    return Broken(detail, id.hex(), "data/odd", full, commit=True)


def tree(bench: Bench, entries: list[tuple[bytes, bytes]], detail: str) -> Broken:
    """A commit of a snapshot that is wrong."""
    root = build_map(bench.store, entries)
    bench.commit_snapshot(root)
    return Broken(detail, root.hex(), commit=True)


def publish(bench: Bench, make: Make) -> Digest:
    """One operation as `make` writes it."""
    return bench.store._commit(make)


def operation(state: State, **fields: object) -> Operation:
    told = {"sequence": state.sequence + 1, "time": 1, "command": "odd", "refs": state.refs}
    parents = {"parents": [state.operation]}
    return Operation(**{**told, **parents, **fields})  # type: ignore[arg-type]


def pack_with(bench: Bench, size: int = 1_300_000) -> Path:
    """A sealed data pack, which a commit needs."""
    bench.write("data/big.bin", bytes(range(256)) * 10 + random.Random(3).randbytes(size))
    bench.add("data")
    bench.commit()
    (name, _value) = bench.store.index.items("packs")[0]
    return bench.root / ".aq/packs" / f"{name.hex()}.pack"


FILE = {"kind": "file", "format": "bytes", "size": 1, "data": b"x"}


def listed(bench: Bench, *steps: Step) -> list[Digest]:
    found = [put_record(bench.store, step) for step in steps]
    bench.store.flush()
    return found
