"""A repository as plain dicts: what every command of `aq.Repo` should do, word for word from the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tests.store.test_worktree_model import above, ignored

Entry = tuple[bytes, str]
"""Content and mode: file | exec | symlink; for a given value its text and "given"."""
Files = dict[str, Entry]
Touched = Mapping[str, tuple[Entry | None, Entry | None]]
"""By path what lay in the folder before and after."""
NEW = "new"
"""The id of a commit that is being made."""


class Refused(Exception):
    """The command must fail, with this exit code, and change nothing."""

    def __init__(self, exit_code: int, paths: set[str] | None = None) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        self.paths = paths


class Commit(NamedTuple):
    parents: tuple[str, ...]
    files: Files
    time: int


class Operation(NamedTuple):
    """What one command did."""

    command: str
    before: Mapping[str, object]
    after: Mapping[str, object]
    files: Touched

    @property
    def did_something(self) -> bool:
        return bool(self.files) or self.before != self.after


def inside(names: Mapping[str, object] | set[str], place: str) -> set[str]:
    """The paths at and below a place; "" is the root."""
    return {name for name in names if not place or name == place or name.startswith(place + "/")}


def tracked_files(files: Files) -> Files:
    return {path: entry for path, entry in files.items() if entry[1] != "given"}


@dataclass
class Model:
    """`refs`: HEAD, branch/…, tag/… as texts, and `tracking`: the pending rules."""

    refs: dict[str, object] = field(default_factory=lambda: {"HEAD": "branch/main"})
    commits: dict[str, Commit] = field(default_factory=dict)
    folder: Files = field(default_factory=dict)
    log: list[Operation] = field(default_factory=list)
    unfinished: dict[int, Touched] = field(default_factory=dict)
    """By place in `log` what killed commands had still to write."""

    def copy(self) -> Model:
        return replace(
            self,
            refs=dict(self.refs),
            commits=dict(self.commits),
            folder=dict(self.folder),
            log=list(self.log),
            unfinished=dict(self.unfinished),
        )

    # Looking

    @property
    def branch(self) -> str | None:
        head = str(self.refs["HEAD"])
        return head.removeprefix("branch/") if head.startswith("branch/") else None

    @property
    def at(self) -> str | None:
        """HEAD's commit."""
        head = str(self.refs["HEAD"])
        return str(self.refs[head]) if head in self.refs else None if self.branch else head

    @property
    def head(self) -> Files:
        return self.commits[self.at].files if self.at else {}

    @property
    def rules(self) -> dict[str, str]:
        return dict(self.refs.get("tracking", ()))  # type: ignore[call-overload, no-any-return]

    def rule(self, path: str) -> str | None:
        return next((self.rules[p] for p in [path, *above(path)] if p in self.rules), None)

    def tracked(self, path: str) -> bool:
        found, known = self.rule(path), path in tracked_files(self.head)
        if found is None or (found == "+" and ignored(path)):
            return known and found != "-"
        return found != "-"

    def next_head(self) -> Files:
        """What a commit of the folder holds."""
        given = {path: entry for path, entry in self.head.items() if entry[1] == "given"}
        return given | {path: entry for path, entry in self.folder.items() if self.tracked(path)}

    def changes(self) -> dict[str, str]:
        before, after = self.head, self.next_head()
        found = dict.fromkeys(before.keys() - after.keys(), "removed")
        found |= dict.fromkeys(after.keys() - before.keys(), "added")
        return found | {p: "changed" for p in after.keys() & before.keys() if after[p] != before[p]}

    def untracked(self) -> set[str]:
        return {self._shown(path) for path in self.folder if not self.tracked(path) and not ignored(path)}

    def _shown(self, path: str) -> str:
        """The path, or the outermost folder above it that holds nothing tracked."""
        for folder in reversed(above(path)):
            held = inside({*self.rules, *tracked_files(self.head)}, folder) - {folder}
            if folder and self.rule(folder) not in ("+", "!") and not held:
                return folder + "/"
        return path

    def ancestors(self, id: str | None) -> set[str]:
        found: set[str] = set()
        stack = [id] if id else []
        while stack:
            one = stack.pop()
            if one not in found:
                found.add(one)
                stack += self.commits[one].parents
        return found

    def first_parents(self, id: str) -> Iterator[str]:
        yield id
        while self.commits[id].parents:
            id = self.commits[id].parents[0]
            yield id

    def bases(self, one: str, other: str) -> list[str]:
        """The best common ancestors."""
        common = self.ancestors(one) & self.ancestors(other)
        below = {
            id for base in common for parent in self.commits[base].parents for id in self.ancestors(parent)
        }
        return sorted(common - below)

    # Recording

    def finish(self) -> None:
        """What a command does first that records the folder or writes into it."""
        for place in sorted(self.unfinished):
            for path, (before, after) in self.unfinished.pop(place).items():
                if self.folder.get(path) == before and after is None:
                    self.folder.pop(path, None)
                elif self.folder.get(path) == before:
                    self.folder[path] = after

    def done(
        self, command: str, files: Mapping[str, tuple[Entry | None, Entry | None]], **refs: object
    ) -> None:
        """One operation: names with None go. The folder follows `files`."""
        before = dict(self.refs)
        for name, value in refs.items():
            self.refs.pop(name, None)
            if value is not None:
                self.refs[name] = value
        for path, (_old, new) in files.items():
            self.folder.pop(path, None)
            if new is not None:
                self.folder[path] = new
        self.log.append(Operation(command, before, dict(self.refs), dict(files)))

    def add(self, name: str, *, force: bool, is_folder: bool) -> None:
        known = tracked_files(self.head)
        if name not in self.folder and not is_folder:
            raise Refused(2)
        if ignored(name) and not force and name not in known:
            raise Refused(2)
        rules = {p: r for p, r in self.rules.items() if name != p and name not in above(p)}
        above_it = next((rules[p] for p in above(name) if p in rules), None)
        if force or is_folder or name not in known or above_it is not None:
            rules[name] = "!" if force else "+"
        if rules != self.rules:
            self.done("add", {}, tracking=tuple(sorted(rules.items())) or None)

    def remove(self, name: str, *, delete: bool) -> None:
        if self.head.get(name, (b"", ""))[1] == "given":
            files = {path: entry for path, entry in self.head.items() if path != name}
            return self.commit(files, "remove", keep_rules=True)
        gone = {p for p in inside({*self.folder, *tracked_files(self.head)}, name) if self.tracked(p)}
        if not gone:
            raise Refused(2)
        rules = {p: r for p, r in self.rules.items() if name != p and name not in above(p)}
        above_it = next((rules[p] for p in above(name) if p in rules), None)
        if above_it in ("+", "!") or inside(tracked_files(self.head), name):
            rules[name] = "-"
        files = {path: (self.folder[path], None) for path in gone & self.folder.keys()} if delete else {}
        return self.done("remove", files, tracking=tuple(sorted(rules.items())) or None)

    def commit(self, files: Files, command: str = "commit", *, keep_rules: bool = False) -> None:
        """A commit of these files on top of HEAD; nothing to commit is no error after the first one."""
        rules = {} if keep_rules else {"tracking": None}
        if files == self.head:
            if self.at is None:
                raise Refused(2)
            if not keep_rules and self.rules:
                self.done(command, {}, **rules)
            return
        self.commits[NEW] = Commit((self.at,) if self.at else (), dict(files), 0)
        name = str(self.refs["HEAD"]) if self.branch else "HEAD"
        self.done(command, {}, **{name: NEW}, **rules)

    def commit_paths(self, places: list[str]) -> None:
        after, files = self.next_head(), dict(self.head)
        for place in (p for p in places if not {*above(p)} & {*places}):
            changed = inside(self.changes(), place)
            if place and not changed and not inside(tracked_files(self.head), place):
                raise Refused(2)
            files = {p: e for p, e in files.items() if p not in changed}
            files |= {p: after[p] for p in changed if p in after}
        self.commit(files, keep_rules=True)

    # Moving

    def moved(
        self, before: Files, after: Files, *, force: bool = False
    ) -> dict[str, tuple[Entry | None, Entry | None]]:
        """What taking the folder from one snapshot to another changes; work in no commit is in the way."""
        before, after = tracked_files(before), tracked_files(after)
        differ = {p for p in {*before, *after} if before.get(p) != after.get(p)}
        lying = {p: self.folder.get(p) for p in differ}
        if not force and any(lying[p] not in (None, before.get(p), after.get(p)) for p in differ):
            raise Refused(4)
        return {p: (lying[p], after.get(p)) for p in differ if lying[p] != after.get(p)}

    def switch(self, name: str, *, force: bool = False) -> None:
        full = f"branch/{name}"
        if full not in self.refs and self.refs["HEAD"] == full:
            return
        goal = str(self.refs.get(full) or self.refs.get(f"tag/{name}") or name)
        files = self.moved(self.head, self.commits[goal].files, force=force)
        self.done("switch", files, HEAD=full if full in self.refs else goal)

    def create(self, name: str) -> None:
        if f"branch/{name}" in self.refs:
            raise Refused(4)
        new = {f"branch/{name}": self.at} if self.at else {}
        self.done("switch", {}, **new, HEAD=f"branch/{name}")

    def name(self, noun: str, name: str) -> None:
        if self.at is None:
            raise Refused(2)
        if f"{noun}/{name}" in self.refs:
            raise Refused(4)
        self.done(f"{noun} add", {}, **{f"{noun}/{name}": self.at})

    def unname(self, noun: str, name: str) -> None:
        if f"{noun}/{name}" not in self.refs:
            raise Refused(2)
        if self.refs["HEAD"] == f"{noun}/{name}":
            raise Refused(4)
        self.done(f"{noun} remove", {}, **{f"{noun}/{name}": None})

    def restore(self, place: str, id: str | None) -> None:
        source = tracked_files(self.commits[id].files) if id else {}
        if not inside(source, place):
            raise Refused(2)
        chosen = inside({*source, *tracked_files(self.head)}, place)
        pairs = {path: (self.folder.get(path), source.get(path)) for path in chosen}
        files = {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}
        if files:
            self.done("restore", files)

    def last_effective(self) -> Operation | None:
        return next((one for one in reversed(self.log) if one.did_something), None)

    def undo(self) -> None:
        last = self.last_effective()
        if last is None:
            raise Refused(1)
        place = self.log.index(last)
        if any(self.folder.get(path) not in (None, *states) for path, states in last.files.items()):
            raise Refused(4)
        self.finish()  # so that redo brings all of it
        files = {}
        for path, (before, _after) in last.files.items():
            lies = self.folder.get(path)
            if lies != before:
                files[path] = (lies, before)
        gone = dict.fromkeys(last.after.keys() - last.before.keys())
        self.done("undo", files, **gone, **last.before)
        self.unfinished.pop(place, None)

    def merge(self, other: str, answers: Mapping[str, str]) -> None:
        """`answers`: path → ours | theirs | take."""
        assert self.at is not None
        bases = self.bases(self.at, other)
        name = str(self.refs["HEAD"]) if self.branch else "HEAD"
        if other in bases:
            return
        theirs = self.commits[other].files
        if self.at in bases:
            if answers:
                raise Refused(2)
            self.done("merge", self.moved(self.head, theirs), **{name: other})
            return
        files, conflicts = three_way(self.commits[bases[0]].files if bases else {}, self.head, theirs)
        if answers.keys() - conflicts:
            raise Refused(2)
        if conflicts - answers.keys():
            raise Refused(4, conflicts - answers.keys())
        for path, side in answers.items():
            found = {"ours": self.head, "theirs": theirs, "take": self.folder}[side].get(path)
            files.pop(path, None)
            if found is not None:
                files[path] = found
        moved = self.moved(self.head, files)
        self.commits[NEW] = Commit((self.at, other), files, 0)
        self.done("merge", moved, **{name: NEW})


def three_way(base: Files, ours: Files, theirs: Files) -> tuple[Files, set[str]]:
    """The merged files, and the paths on which the sides cannot be brought together."""
    files, conflicts = {}, set()
    for path in {*base, *ours, *theirs}:
        old, mine, other = base.get(path), ours.get(path), theirs.get(path)
        if mine == other or other == old:
            result = mine
        elif mine == old:
            result = other
        else:
            result = _apart(old, mine, other)
            if result is None:
                conflicts.add(path)
                result = mine
        if result is not None:
            files[path] = result
    return files, conflicts


def _apart(old: Entry | None, mine: Entry | None, other: Entry | None) -> Entry | None:
    """Content and executability merged each for itself, where all three are plain files."""
    if old is None or mine is None or other is None:
        return None
    if not {old[1], mine[1], other[1]} <= {"file", "exec"}:
        return None
    if mine[0] != other[0] and old[0] not in (mine[0], other[0]):
        return None
    return (other[0] if mine[0] == old[0] else mine[0], other[1] if mine[1] == old[1] else mine[1])
