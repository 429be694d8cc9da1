"""Pickles that run code when they are loaded: nothing but loading them does (I36)."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aq.formats.errors import AqError
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Artifact, Step
from aq.pipeline.repo import Repo
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin

from tests.faults.test_hostile_history import open_repo
from tests.store.folder import Bench

LOOKS: dict[str, Callable[[Repo], object]] = {
    "show commit": lambda repo: repo.show("HEAD"),
    "show value": lambda repo: repo.show("HEAD:flow/bad"),
    "show given": lambda repo: repo.show("HEAD:given"),
    "diff": lambda repo: repo.diff("HEAD~1", "HEAD"),
    "log": lambda repo: list(repo.log()),
    "ls": lambda repo: repo.ls(),
    "status": lambda repo: repo.status(),
    "lineage": lambda repo: repo.lineage("flow/bad"),
    "fsck": lambda repo: repo.fsck(full=True),
    "du": lambda repo: repo.du(),
    "gc": lambda repo: repo.gc(dry_run=True),
    "metrics": lambda repo: repo.metrics(),
}


class Bomb:
    """Makes a folder when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


def opcodes(canary: Path, *, own: bool) -> bytes:
    """A pickle as Python writes it, or made of none but the opcodes that aq writes."""
    if not own:
        return pickle.dumps(Bomb(canary))
    text = str(canary).encode()
    made = b"\x80\x05\x8c\x05posix\x94\x8c\x05mkdir\x94\x93\x94\x8c" + bytes([len(text)]) + text
    return made + b"\x94\x85\x94R\x94."


@pytest.mark.parametrize("own", [True, False], ids=["opcodes of aq", "of Python"])
def test_only_loading_executes(tmp_path: Path, own: bool) -> None:
    canary = tmp_path / "canary"
    bomb = opcodes(canary, own=own)
    pickle.loads(bomb)
    assert canary.exists(), "it does go off when it is loaded"
    canary.rmdir()
    bench = Bench(tmp_path / "repo")
    bench.commit("first")
    data = msgspec.msgpack.encode([bomb])
    id = put_record(bench.store, Artifact(kind="model", format="pickle", size=len(bomb), data=data))
    step = put_record(bench.store, Step(key=bytes(32), op="f", outputs=[("", bytes(id))]))
    committed(bench, id, step)
    bench.store.close()
    repo = open_repo(tmp_path / "repo")
    try:
        for look in LOOKS.values():
            try:
                look(repo)
            except AqError as error:
                assert not own and "none that aq writes" in error.message
            assert not canary.exists()
        told = [problem.id for problem in repo.fsck().problems]
        assert (id.hex() in told) is not own
    finally:
        repo.close()


def committed(bench: Bench, id: Digest, step: Digest) -> None:
    """The value at a made and at a given path."""
    entries = {"flow/bad": Entry(id, Origin.MADE, step), "given": Entry(id, Origin.GIVEN)}
    bench.commit_snapshot(snapshots.edit(bench.store, bench.work.head(), entries))
