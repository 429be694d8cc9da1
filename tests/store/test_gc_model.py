"""A store beside a model made of dicts: commits, drops, collections, crashes and rebuilds in any order."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from aq.formats.errors import Temporary
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Commit
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Origin
from aq.store.store import Store
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, collect
from aq.store.upkeep.mend import mend
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.store.test_gc import bytes_of, file_of

NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(0, 9)


def content(number: int) -> bytes:
    """Inline, chunked, or large enough for a pack of its own."""
    return random.Random(number).randbytes((10, 5_000, 70_000, 1_100_000)[number % 4])


class Collecting(RuleBasedStateMachine):
    """`branches`: content numbers by path, for each. `waiting`: what a second writer has not published."""

    @initialize()
    def begin(self) -> None:
        """A new repository."""
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.store = Store.create(self.root, time=1, user="ada")
        self.other: Store | None = None
        self.waiting: tuple[Digest, dict[str, int]] | None = None
        self.branches: dict[str, dict[str, int]] = {}
        self.time = 1

    def tick(self) -> int:
        """Half a day passes."""
        self.time += DAY // 2
        return self.time

    def snapshot(self, store: Store, files: dict[str, int]) -> Digest:
        """A commit of these contents, put but not published."""
        made: dict[str, Entry | None] = {}
        for path, number in files.items():
            made[path] = Entry(put_record(store, file_of(store, content(number))), Origin.FILE)
        root = snapshots.edit(store, snapshots.empty(store), made)
        return put_record(store, Commit(snapshot=root, time=self.time, author="a", message="m"))

    def publish(self, store: Store, name: str, commit: Digest | None) -> None:
        """Move a branch."""
        move = store.transaction("test", time=self.tick(), user="ada")
        move.set(f"branch/{name}", None if commit is None else Ref(commit))
        move.commit()

    @rule(name=NAMES, files=st.dictionaries(NAMES, NUMBERS, min_size=1))
    def commit(self, name: str, files: dict[str, int]) -> None:
        """All at once."""
        self.publish(self.store, name, self.snapshot(self.store, files))
        self.branches[name] = files

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        """What only this branch has becomes garbage, in time."""
        if name in self.branches:
            self.publish(self.store, name, None)
            del self.branches[name]

    @rule(files=st.dictionaries(NAMES, NUMBERS, min_size=1), flush=st.booleans())
    def put(self, files: dict[str, int], flush: bool) -> None:
        """Another writer begins, and takes its time."""
        self.other = self.other or Store.open(self.root)
        self.waiting = self.snapshot(self.other, files), files
        if flush:
            self.other.flush()

    @rule(name=NAMES)
    def finish(self, name: str) -> None:
        """It publishes what it began before any number of collections, or is told to try again."""
        if self.other is None or self.waiting is None:
            return
        commit, files = self.waiting
        try:
            self.publish(self.other, name, commit)
        except Temporary:
            self.publish(self.other, name, self.snapshot(self.other, files))
        self.branches[name] = files
        self.waiting = None

    @rule()
    def die(self) -> None:
        """The other writer is gone without a word."""
        if self.other is not None:
            self.other.close()
            self.other = self.waiting = None

    @rule(retention=st.sampled_from([0, 1, 5]), grace=st.sampled_from([0, 1, 3]))
    def collect(self, retention: int, grace: int) -> None:
        """With any retention and grace."""
        collect(self.store, now=self.tick(), user="ada", retention=retention * DAY, grace=grace * DAY)

    @rule()
    def reopen(self) -> None:
        """As the next process does."""
        self.store.close()
        self.store = Store.open(self.root)

    @rule()
    def rebuild(self) -> None:
        """The index is lost and made again."""
        self.die()
        self.store.close()
        assert mend(self.root) == []
        self.store = Store.open(self.root)

    @invariant()
    def holds(self) -> None:
        """Each branch has what the model has, byte by byte; nothing is damaged."""
        if not hasattr(self, "store"):
            return
        refs = {name: ref for name, ref in self.store.refs().items() if name.startswith("branch/")}
        assert refs.keys() == {f"branch/{name}" for name in self.branches}
        for name, files in self.branches.items():
            tip: Any = refs[f"branch/{name}"].id
            found = dict(snapshots.entries(self.store, get_record(self.store, Commit, tip).snapshot))
            assert found.keys() == files.keys()
            for path, number in files.items():
                assert b"".join(bytes_of(self.store, found[path])) == content(number)
        assert fsck(self.store, full=True).problems == []

    def teardown(self) -> None:
        """Close what is open."""
        if hasattr(self, "store"):
            self.die()
            self.store.close()
            self.folder.cleanup()


TestCollecting = Collecting.TestCase
TestCollecting.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
