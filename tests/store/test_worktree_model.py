"""A random life of a folder beside a model made of dicts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from aq.formats.errors import Conflict, UsageError
from aq.formats.identity import Digest
from aq.store.commits.refs import Ref
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.store.folder import Bench

FILES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d-x", "e/a.pyc", "e/f/a", "venv/a"])
PATHS = FILES | st.sampled_from(["d", "d/e", "e", "venv", "."])
DATA = st.sampled_from([b"1", b"2", b"33"])


def above(path: str) -> list[str]:
    """The folders above a path, closest first, the root as ""."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(len(parts), -1, -1)] if path else []


def ignored(path: str) -> bool:
    return path.endswith(".pyc") or path == "venv" or path.startswith("venv/")


class Model:
    """The folder, HEAD and the pending rules, read word for word from docs/format.md."""

    def __init__(self) -> None:
        self.folder: dict[str, bytes] = {}
        self.head: dict[str, bytes] = {}
        self.rules: dict[str, str] = {}
        self.commits: list[tuple[Digest, dict[str, bytes]]] = []

    def rule(self, path: str) -> str | None:
        return next((self.rules[p] for p in [path, *above(path)] if p in self.rules), None)

    def tracked(self, path: str) -> bool:
        found = self.rule(path)
        if found is None or (found == "+" and ignored(path)):
            return path in self.head and found != "-"
        return found != "-"

    def inside(self, names: dict[str, bytes] | set[str], path: str) -> set[str]:
        return {name for name in names if not path or name == path or name.startswith(path + "/")}

    def next_head(self) -> dict[str, bytes]:
        return {path: data for path, data in self.folder.items() if self.tracked(path)}

    def changes(self) -> dict[str, str]:
        after = self.next_head()
        found = {path: "removed" for path in self.head if path not in after}
        found |= {path: "added" for path in after if path not in self.head}
        return found | {p: "changed" for p, d in after.items() if p in self.head and d != self.head[p]}

    def untracked(self) -> set[str]:
        return {self.shown(path) for path in self.folder if not self.tracked(path) and not ignored(path)}

    def shown(self, path: str) -> str:
        """The path, or the outermost folder above it that holds nothing tracked."""
        for folder in reversed(above(path)):
            if folder and not (
                self.rule(folder) in ("+", "!")
                or any(other.startswith(folder + "/") for other in {*self.rules, *self.head})
            ):
                return folder + "/"
        return path


class FolderMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="aq-model-"))
        self.bench = Bench(self.root)
        self.model = Model()

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.store.close()
            shutil.rmtree(self.root)

    @rule(path=FILES, data=DATA)
    def write(self, path: str, data: bytes) -> None:
        self.bench.write(path, data)
        self.model.folder[path] = data

    @rule(path=FILES)
    def unlink(self, path: str) -> None:
        if self.model.folder.pop(path, None) is not None:
            (self.root / path).unlink()

    @rule(path=PATHS, force=st.booleans())
    def add(self, path: str, force: bool) -> None:
        model, name = self.model, path.removeprefix(".")
        before = {p for p in [*model.folder, *model.head] if model.tracked(p)}
        exists = not name or (self.root / name).exists()
        if not exists or (ignored(name) and not force and name not in model.head):
            try:
                self.bench.add(path, force=force)
            except UsageError:
                return
            raise AssertionError(f"{path} was added")
        added = self.bench.add(path, force=force)
        model.rules = {p: r for p, r in model.rules.items() if name != p and name not in above(p)}
        if force or (self.root / name).is_dir() or name not in model.head or model.rule(name) is not None:
            model.rules[name] = "!" if force else "+"
        after = {p for p in [*model.folder, *model.head] if model.tracked(p)}
        assert set(added) == model.inside(after - before, name)

    @rule(path=PATHS, delete=st.booleans())
    def remove(self, path: str, delete: bool) -> None:
        model, name = self.model, path.removeprefix(".")
        gone = {p for p in model.inside({*model.folder, *model.head}, name) if model.tracked(p)}
        try:
            assert set(self.bench.remove(path, delete=delete)) == gone
        except UsageError:
            assert not gone
            return
        model.rules = {p: r for p, r in model.rules.items() if name != p and name not in above(p)}
        if model.rule(name) in ("+", "!") or model.inside(model.head, name):
            model.rules[name] = "-"
        if delete:
            model.folder = {p: d for p, d in model.folder.items() if p not in gone}

    @rule()
    def commit(self) -> None:
        model = self.model
        head = model.next_head()
        id = self.bench.commit()
        model.head, model.rules = head, {}
        model.commits.append((id, head))

    @precondition(lambda self: self.model.commits)
    @rule(data=st.data(), force=st.booleans())
    def switch(self, data: st.DataObject, force: bool) -> None:
        model = self.model
        id, after = data.draw(st.sampled_from(model.commits))
        differ = {p for p in {*model.head, *after} if model.head.get(p) != after.get(p)}
        unsaved = {
            p
            for p in differ
            if p in model.folder and model.folder[p] not in (model.head.get(p), after.get(p))
        }
        before = dict(model.folder)
        try:
            done = self.bench.checkout(id, force=force)
        except Conflict:
            assert unsaved and not force
            assert self.bench.lying() == before
            return
        assert force or not unsaved
        for path in differ:
            model.folder.pop(path, None)
            if path in after:
                model.folder[path] = after[path]
        model.head = after
        assert self.bench.lying() == model.folder
        if done.files is not None and data.draw(st.booleans()):
            self.undo_switch(done.files, before, id)

    def undo_switch(self, files: Digest, before: dict[str, bytes], id: Digest) -> None:
        """Taking the switch back, and that again."""
        again = self.bench.work.put_back(files)
        assert self.bench.lying() == before and again.files is not None
        self.bench.work.put_back(again.files)
        self.bench.refs({"branch/main": Ref(id)})

    @rule()
    def reopen(self) -> None:
        self.bench.reopen()

    @invariant()
    def the_folder_and_status_are_the_models(self) -> None:
        if hasattr(self, "bench"):
            assert self.bench.lying() == self.model.folder
            status = self.bench.status()
            assert dict(status.changes) == self.model.changes()
            assert set(status.untracked) == self.model.untracked()


TestFolder = FolderMachine.TestCase
TestFolder.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
