"""`aq.Repo` beside a model made of dicts: every command, from two processes' eyes, with crashes between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from aq.formats.errors import AqError
from aq.formats.identity import Digest
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo
from aq.pipeline.step.keys import step_key
from aq.store.commits import history
from aq.store.folder import tracking
from aq.store.store import Store
from aq.store.system import disk
from aq.store.upkeep.fsck import fsck
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.faults.model import NEW, Entry, Model, Refused, three_way
from tests.store.scenario import in_child

SECOND = 10**9
DAY = 86_400 * SECOND
START = 1_750_000_000 * SECOND

FILES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d-x", "e/a.pyc", "e/f/a", "venv/a"])
PLACES = FILES | st.sampled_from(["", "d", "d/e", "e", "venv"])
VALUES = st.sampled_from(["v/x", "v/y", "w"])
NAMES = st.sampled_from(["main", "one", "two"])
TAGS = st.sampled_from(["t1", "t2"])
NUMBERS = st.integers(0, 99)
"""Choices among what is there, which may depend on the thread that a kill met first; draws must not."""
KILLABLE = st.sampled_from(["add", "commit", "remove", "restore", "switch", "undo", "value"])
LARGE = random.Random(5).randbytes(200_000)
CONTENTS = {
    "nothing": b"",
    "1": b"1",
    "2": b"2",
    "33": b"33",
    "chunks": LARGE,
    "more chunks": LARGE[:90_000] + b"!" + LARGE[90_000:],
}
DATA = st.sampled_from([*CONTENTS])

Do = Callable[[Repo], Any]
Expect = Callable[[Model], None]


def control_of(mode: str) -> int:
    return 0o755 if mode == "exec" else 0o644


def put(path: Path, entry: Entry | None) -> None:
    """Make a file of the folder as an entry says."""
    if path.is_symlink() or path.exists():
        path.unlink()
    if entry is None:
        return
    data, mode = entry
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "symlink":
        path.symlink_to(os.fsdecode(data))
    else:
        path.write_bytes(data)
        path.chmod(control_of(mode))


def lying(root: Path) -> dict[str, Entry]:
    """Every file of the folder."""
    found: dict[str, Entry] = {}
    for folder, folders, names in os.walk(root):
        if folder == str(root):
            folders.remove(".aq")
        for name in names:
            path = Path(folder, name)
            place = str(path.relative_to(root))
            if path.is_symlink():
                found[place] = os.fsencode(os.readlink(path)), "symlink"
            else:
                found[place] = path.read_bytes(), "exec" if path.stat().st_mode & 0o100 else "file"
    return found


class Machine(RuleBasedStateMachine):
    """`repos`: two that look at one folder, as two processes would."""

    @initialize()
    def begin(self) -> None:
        shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.root = Path(tempfile.mkdtemp(prefix="aq-model-", dir=shared))
        self.time = START
        self.context = Context(
            now=lambda: self.time, offset=lambda now: 0, cwd=self.root, user="ada@x", author="Ada"
        )
        Repo.create(self.root, self.context).close()
        self.repos = [self.open(), self.open()]
        self.model = Model()
        self.checked: set[str] = set()
        self.write_some({"a": "1", "b": "2", "d/a": "33", "d/b": "chunks", "e/f/a": "nothing"})
        self.add(False, "", False)
        self.commit(False)
        self.create(True, "one")
        self.write_some({"a": "2", "d/e/a": "1"})
        self.commit_some(True, ["a"])
        self.name(False, "tag", "t1")
        self.switch_to(True, "main", force=False)
        self.write_some({"d/b": "1", "d-x": "2"})

    def write_some(self, files: dict[str, str]) -> None:
        for path, data in files.items():
            self.write(path, data, False)

    def open(self) -> Repo:
        return Repo(Store.open(self.root), self.context)

    def close(self) -> None:
        for repo in self.repos:
            repo.close()

    def teardown(self) -> None:
        if hasattr(self, "repos"):
            self.close()
            shutil.rmtree(self.root)

    def tick(self) -> None:
        self.time += SECOND

    # One command

    def perform(self, second: bool, do: Do, expect: Expect, *, finishing: bool = False) -> Any:
        """Do it here and in the model; both succeed, or both refuse and nothing has changed.

        `finishing`: the command first finishes what a killed one has left of the folder.
        """
        self.tick()
        if finishing:
            self.model.finish()
        after, refused = self.model.copy(), None
        try:
            expect(after)
        except Refused as error:
            refused = error
        try:
            done = do(self.repos[second])
        except AqError as error:
            assert refused is not None, f"it should not be refused: {error}"
            assert error.exit_code == refused.exit_code
            if refused.paths is not None:
                conflicts = error.result.conflicts  # type: ignore[attr-defined]
                assert {one.path for one in conflicts} == refused.paths
            return None
        assert refused is None, f"it should be refused with {refused}"
        self.adopt(after)
        return done

    def adopt(self, after: Model) -> None:
        """The model's next state; a commit that was made gets its id."""
        self.model = named(after, self.refs(), self.repos[0])

    def refs(self) -> dict[str, object]:
        """As the model writes them."""
        store = self.repos[0].store
        found: dict[str, object] = {}
        for name, ref in store.refs().items():
            found[name] = ref.target if ref.id is None else str(Digest(ref.id))
            if name == "tracking":
                rules = tracking.load(store, ref.id).rules
                found[name] = tuple(sorted((os.fsdecode(path), rule) for path, rule in rules.items()))
        return found

    # The folder

    @rule(path=FILES, data=DATA, executable=st.booleans())
    def write(self, path: str, data: str, executable: bool) -> None:
        entry = CONTENTS[data], "exec" if executable else "file"
        put(self.root / path, entry)
        self.model.folder[path] = entry

    @rule(path=FILES, to=st.sampled_from([b"a", b"nowhere"]))
    def link(self, path: str, to: bytes) -> None:
        put(self.root / path, (to, "symlink"))
        self.model.folder[path] = to, "symlink"

    @rule(path=FILES)
    def delete(self, path: str) -> None:
        if self.model.folder.pop(path, None) is not None:
            (self.root / path).unlink()

    @rule(path=FILES, to=FILES)
    def rename(self, path: str, to: str) -> None:
        if path in self.model.folder:
            (self.root / to).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.root / path, self.root / to)
            self.model.folder[to] = self.model.folder.pop(path)

    @rule(path=FILES)
    def chmod(self, path: str) -> None:
        data, mode = self.model.folder.get(path, (b"", "symlink"))
        if mode != "symlink":
            mode = "file" if mode == "exec" else "exec"
            (self.root / path).chmod(control_of(mode))
            self.model.folder[path] = data, mode

    # Recording

    @rule(second=st.booleans(), place=PLACES, force=st.booleans())
    def add(self, second: bool, place: str, force: bool) -> None:
        name, is_folder = str(self.root / place), (self.root / place).is_dir()
        self.perform(
            second,
            lambda r: r.add([name], force=force),
            lambda m: m.add(place, force=force, is_folder=is_folder),
        )

    @rule(second=st.booleans(), place=PLACES, delete=st.booleans())
    def remove(self, second: bool, place: str, delete: bool) -> None:
        name = str(self.root / place)
        self.perform(
            second,
            lambda r: r.remove([name], delete=delete),
            lambda m: m.remove(place, delete=delete),
            finishing=True,
        )

    @rule(second=st.booleans())
    def commit(self, second: bool) -> None:
        self.perform(
            second, lambda r: r.commit(message="all"), lambda m: m.commit(m.next_head()), finishing=True
        )

    @rule(second=st.booleans(), files=st.dictionaries(FILES, DATA, min_size=1, max_size=3))
    def write_and_commit(self, second: bool, files: dict[str, str]) -> None:
        self.write_some(files)
        self.commit(second)

    @rule(second=st.booleans(), places=st.lists(PLACES, min_size=1, max_size=2))
    def commit_some(self, second: bool, places: list[str]) -> None:
        names = [str(self.root / place) for place in places]
        self.perform(
            second,
            lambda r: r.commit(names, message="some"),
            lambda m: m.commit_paths(places),
            finishing=True,
        )

    @rule(second=st.booleans(), values=st.dictionaries(VALUES, st.integers(0, 3), min_size=1))
    def commit_values(self, second: bool, values: dict[str, int]) -> None:
        entries = {path: (b"%d" % value, "given") for path, value in values.items()}

        def expect(model: Model) -> None:
            model.commit(model.head | entries, keep_rules=True)

        self.perform(second, lambda r: r.commit(values, message="values"), expect)

    @rule(second=st.booleans(), path=VALUES)
    def remove_value(self, second: bool, path: str) -> None:
        self.perform(
            second, lambda r: r.remove([path]), lambda m: m.remove(path, delete=False), finishing=True
        )

    # Branches

    @rule(second=st.booleans(), name=NAMES)
    def create(self, second: bool, name: str) -> None:
        self.perform(second, lambda r: r.switch(name, create=True), lambda m: m.create(name), finishing=True)

    @rule(second=st.booleans(), number=NUMBERS, force=st.booleans())
    def switch(self, second: bool, number: int, force: bool) -> None:
        self.switch_to(second, self.some_revision(number), force=force)

    def switch_to(self, second: bool, name: str, *, force: bool) -> None:
        self.perform(
            second,
            lambda r: r.switch(name, force=force),
            lambda m: m.switch(name, force=force),
            finishing=True,
        )

    def some_revision(self, number: int) -> str:
        """The current branch, any other, a tag, or a commit that something reaches."""
        refs = self.model.refs
        names = [name.partition("/")[2] for name in refs if name.startswith(("branch/", "tag/"))]
        commits = sorted({id for name in names for id in self.model.ancestors(self.tip(name))})
        known = [*names, *commits, self.model.branch or self.model.at or "main"]
        return known[number % len(known)]

    def tip(self, name: str) -> str:
        refs = self.model.refs
        return str(refs.get(f"branch/{name}") or refs.get(f"tag/{name}") or name)

    @rule(second=st.booleans(), noun=st.sampled_from(["branch", "tag"]), name=NAMES | TAGS)
    def name(self, second: bool, noun: str, name: str) -> None:
        if name not in (("main", "one", "two") if noun == "branch" else ("t1", "t2")):
            return
        self.perform(second, lambda r: getattr(r, noun)("add", name), lambda m: m.name(noun, name))

    @rule(second=st.booleans(), noun=st.sampled_from(["branch", "tag"]), name=NAMES | TAGS)
    def unname(self, second: bool, noun: str, name: str) -> None:
        self.perform(second, lambda r: getattr(r, noun)("remove", name), lambda m: m.unname(noun, name))

    @rule(
        second=st.booleans(), name=NAMES | TAGS, answered=st.booleans(), numbers=st.lists(NUMBERS, max_size=9)
    )
    def merge(self, second: bool, name: str, answered: bool, numbers: list[int]) -> None:
        model = self.model
        if self.tip(name) not in model.commits or model.at is None:
            return
        bases = model.bases(model.at, other := self.tip(name))
        if len(bases) > 1:
            return
        answers: dict[str, str] = {}
        if answered and not {model.at, other} & {*bases}:
            theirs = model.commits[other].files
            conflicts = three_way(model.commits[bases[0]].files if bases else {}, model.head, theirs)[1]
            for path, number in zip(sorted(conflicts), cycle(numbers or [0])):
                given = "given" in (model.head.get(path, "  ")[1], theirs.get(path, "  ")[1])
                answers[path] = SIDES[number % (3 - given)]
        sides = {side: [str(self.root / p) for p in answers if answers[p] == side] for side in SIDES}
        self.perform(
            second, lambda r: r.merge(name, **sides), lambda m: m.merge(other, answers), finishing=True
        )

    @rule(second=st.booleans(), place=PLACES, number=NUMBERS)
    def restore(self, second: bool, place: str, number: int) -> None:
        name = self.some_revision(number)
        if self.tip(name) in self.model.commits:
            self.perform(
                second,
                lambda r: r.restore([str(self.root / place)], from_=name),
                lambda m: m.restore(place, self.tip(name)),
                finishing=True,
            )

    @rule(second=st.booleans())
    def undo(self, second: bool) -> None:
        self.perform(second, lambda r: r.undo(), lambda m: m.undo())

    # Keeping

    @rule(second=st.booleans(), later=st.sampled_from([0, DAY // 12, 40 * DAY]))
    def gc(self, second: bool, later: int) -> None:
        self.time += later
        done = self.repos[second].gc()
        if done.expired:
            self.model.done("gc", {})
        self.checked.clear()

    @rule()
    def reopen(self) -> None:
        self.close()
        self.repos = [self.open(), self.open()]

    @rule(second=st.booleans())
    def forget(self, second: bool) -> None:
        """A process ends with things in hand that it has not published."""
        work = self.repos[second].worktree
        work.snapshot(work.head())
        self.repos[second].close()
        self.repos[second] = self.open()

    @rule()
    def rebuild(self) -> None:
        self.close()
        with self.open() as repo:
            assert repo.fsck(rebuild=True).problems == []
        self.repos = [self.open(), self.open()]
        self.checked.clear()
        self.model.unfinished.clear()

    @rule()
    def sound(self) -> None:
        assert fsck(self.repos[0].store, full=True, step_key=step_key).problems == []

    # Crashes

    @rule(chosen=KILLABLE, number=NUMBERS, point=st.integers(0, 16))
    def crash(self, chosen: str, number: int, point: int) -> None:
        """A process is killed at its n-th change of the disk: all of the command has happened, or nothing."""
        do, expect = self.killable(self.some_revision(number))[chosen]
        self.tick()
        after = self.model.copy()
        if chosen not in ("undo", "add", "value"):
            after.finish()
        try:
            expect(after)
        except Refused:
            return
        self.close()
        status = in_child(lambda: self.killed(do, point))
        self.repos = [self.open(), self.open()]
        if os.WIFSIGNALED(status):
            self.settle(after)
        else:
            assert status == 0
            self.adopt(after)

    def killable(self, name: str) -> dict[str, tuple[Do, Expect]]:
        place = str(self.root)
        return {
            "commit": (lambda r: r.commit(message="all"), lambda m: m.commit(m.next_head())),
            "undo": (lambda r: r.undo(), lambda m: m.undo()),
            "restore": (lambda r: r.restore([place]), lambda m: m.restore("", m.at)),
            "add": (lambda r: r.add([place]), lambda m: m.add("", force=False, is_folder=True)),
            "remove": (lambda r: r.remove([place], delete=True), lambda m: m.remove("", delete=True)),
            "value": (
                lambda r: r.commit({"v/x": 9}),
                lambda m: m.commit(m.head | NINE, keep_rules=True),
            ),
            "switch": (lambda r: r.switch(name, force=True), lambda m: m.switch(name, force=True)),
        }

    def killed(self, do: Do, point: int) -> None:
        seen = 0

        def hook(call: str, path: str) -> None:
            nonlocal seen
            seen += 1
            if seen > point:
                os.kill(os.getpid(), signal.SIGKILL)

        with self.open() as repo, disk.observed(hook):
            do(repo)

    def settle(self, after: Model) -> None:
        """Take the state that is there, which must be the old or the new one, each file of the folder too."""
        found, before = self.refs(), self.model
        finished = before.copy()
        finished.finish()
        operations = sum(1 for _one in self.repos[0].store.operations()) - 1
        assert operations in (len(before.log), len(after.log))
        if operations == len(after.log):
            self.adopt(after)
        assert found == self.model.refs
        there, old = lying(self.root), before.folder
        for path in {*there, *old, *after.folder}:
            assert there.get(path) in (old.get(path), finished.folder.get(path), after.folder.get(path))
        self.model.folder = there
        rows = self.repos[0].store.index.items("meta", prefix=b"rewriting ")
        places = [int.from_bytes(key[-8:], "big") - 2 for key, _holder in rows]
        self.model.unfinished = {place: self.model.log[place].files for place in places}

    # What must hold

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "repos"):
            return
        model = self.model
        repo = self.repos[len(model.log) % 2]
        assert self.refs() == model.refs
        assert lying(self.root) == model.folder
        status = repo.status()
        assert (status.branch, status.head) == (model.branch, model.at)
        assert {one.path: one.change for one in status.changes} == model.changes()
        assert set(status.untracked) == model.untracked()
        commands = [one.command for one in repo.ops(6)]
        assert commands == [*[one.command for one in reversed(model.log)], "init"][:6]
        for name in model.refs:
            if name.startswith(("branch/", "tag/")):
                self.agrees_on(repo, name.partition("/")[2])
        if model.at is not None:
            self.agrees_on(repo, model.at)

    def agrees_on(self, repo: Repo, name: str) -> None:
        """The history of a revision, and all content that was not looked at before."""
        model, tip = self.model, self.tip(name)
        log = list(repo.log(name))
        assert {one.id for one in log} == model.ancestors(tip) and len({one.id for one in log}) == len(log)
        seen: set[str] = set()
        for one in log:
            assert tuple(one.parents) == model.commits[one.id].parents and not seen & {*one.parents}
            seen.add(one.id)
        for depth, id in enumerate(model.first_parents(tip)):
            date = (EPOCH + timedelta(microseconds=model.commits[id].time // 1_000)).isoformat()
            at = next(i for i in model.first_parents(tip) if model.commits[i].time <= model.commits[id].time)
            if depth < 3 and not name.startswith(tip):
                assert repo.show(f"{name}~{depth}").id == id
                assert repo.show(f"{name}@{{{date}}}").id == at
            if id not in self.checked:
                self.checked.add(id)
                self.holds(repo, id)

    def holds(self, repo: Repo, id: str) -> None:
        """Every path of a commit, byte by byte."""
        files = self.model.commits[id].files
        entries = {one.path: one for one in repo.ls(id)}
        assert entries.keys() == files.keys()
        for path, (data, mode) in files.items():
            artifact = repo.get(f"{id}:{path}")
            if mode == "given":
                assert entries[path].origin == "given" and artifact.load() == int(data)
            else:
                assert entries[path].mode == mode and artifact.bytes() == data


SIDES = ("ours", "theirs", "take")
NINE = {"v/x": (b"9", "given")}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def named(model: Model, refs: Mapping[str, object], repo: Repo) -> Model:
    """The model with the id of the commit that was made in place of NEW."""
    if NEW not in model.commits:
        return model
    id = next(str(refs[name]) for name, value in model.refs.items() if value == NEW)
    shown = repo.store.refs()
    assert id in {str(ref.id) for ref in shown.values()}
    time = history.commit(repo.store, bytes.fromhex(id)).time
    commit = model.commits.pop(NEW)
    assert id not in model.commits
    model.commits[id] = commit._replace(time=time)
    assert all(model.commits[parent].time <= time for parent in commit.parents)
    model.refs = {name: id if value == NEW else value for name, value in model.refs.items()}
    model.log[-1] = model.log[-1]._replace(after=dict(model.refs))
    return model


TestRepo = Machine.TestCase
TestRepo.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("point", range(2, 6))
def test_what_a_killed_command_took_from_the_condemned_is_taken(point: int) -> None:
    """Its journal tells of rules that a collector had condemned; they were about to be swept for all that."""
    state = Machine()
    try:
        state.begin()
        state.remove(delete=False, place="a", second=False)
        state.gc(later=40 * DAY, second=False)
        state.crash(chosen="add", number=0, point=point)
        state.agrees()
        state.sound()
    finally:
        state.teardown()


@pytest.mark.soak
class TestRepoForLong(Machine.TestCase):  # type: ignore[misc, name-defined]
    """The same for an hour or two."""

    settings = settings(max_examples=3_000, stateful_step_count=60, deadline=None)
