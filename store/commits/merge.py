"""Three-way merges of snapshots: what two sides made of a common base, path by path.

Invariant: a path on which the sides agree, or that only one of them changed, is no conflict; every
other is one, unless `inside` brings both together, until it is answered. Reads the differences, not
the snapshots; pure. Moves no ref and no file. Made paths are not merged: `made` says whose stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from aq.formats.errors import UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Source, SourceAndSink
from aq.formats.trees.prolly import map_diff
from aq.store.commits import history, snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.system.paths import decode, show

DEEPEST: Final = 8
"""How many criss-crosses behind one another are followed before one of several bases must do."""
NEITHER: Final = Entry(Digest(bytes(32)), Origin.FILE)
"""In a base made of several: the path on which these conflict, equal to nothing that a side holds."""


Inside = Callable[[str, "Triple"], Entry | None]
"""Merges what two sides made of the content of a path; None where it cannot."""


class Side(StrEnum):
    """An answer to a conflict: one side's state, or what lies in the folder."""

    OURS = "ours"
    THEIRS = "theirs"
    TAKE = "take"


class Triple(NamedTuple):
    """One path in the base and on both sides; None where it is missing."""

    base: Entry | None
    ours: Entry | None
    theirs: Entry | None


class PathConflict(NamedTuple):
    """A path that both sides changed, each differently.

    `kind`, what ours / theirs did: change/change, add/add, change/delete, delete/change; file/folder and
    folder/file (of everything at and below the path); made: one side's flow makes it.
    """

    path: str
    kind: str
    states: Triple


class Merge(NamedTuple):
    """`edits` turn ours into the merged snapshot; `open` conflicts have no answer yet, `settled` ones had."""

    edits: dict[str, Entry | None]
    open: list[PathConflict]
    settled: list[PathConflict]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by path; the nearest, on a conflict's path or on a folder above it ("" is the root), counts.

    `look` stores what lies in the folder under a path and returns its entry, None where no file does.
    """

    sides: Mapping[str, Side] = field(default_factory=dict)
    look: Callable[[str], Entry | None] = lambda path: None

    def side(self, path: str) -> Side | None:
        """The answer for a path, if there is one."""
        place = path
        while place not in self.sides:
            if not place:
                return None
            place = place.rpartition("/")[0]
        return self.sides[place]

    def entry(self, side: Side, path: str, states: Triple) -> Entry | None:
        """What an answer puts at a path. Raises UsageError for a value, which lies in no folder."""
        if side is Side.OURS:
            return states.ours
        if side is Side.THEIRS:
            return states.theirs
        if any(state is not None and state.origin is not Origin.FILE for state in states[1:]):
            raise UsageError(f"{show(path)} lies only in the store: choose a side with --ours or --theirs")
        return self.look(path)


def merge(
    source: Source,
    base: bytes,
    ours: bytes,
    theirs: bytes,
    *,
    answers: Answers | None = None,
    made: Callable[[str], bool] = lambda path: False,
    inside: Inside = lambda path, states: None,
) -> Merge:
    """Merge three snapshots. `made` tells for a made path whether theirs stands instead of ours.

    `inside` is asked about paths that both sides changed, unless an answer names the very path.

    Reads O(differences from the base · log paths) nodes.
    """
    merging = _Merging(answers or Answers(), inside)
    for path, states in triples(source, base, ours, theirs):
        merging.add(path, states, theirs_made=made(path))
    merging.part_files_from_folders()
    edits = {
        path: entry
        for path, entry in merging.outcome.items()
        if entry != merging.states[path].ours and path not in merging.open
    }
    return Merge(edits, _in_order(merging.open), _in_order(merging.settled))


def triples(source: Source, base: bytes, ours: bytes, theirs: bytes) -> Iterator[tuple[str, Triple]]:
    """Every path that a side changed against the base, in order."""
    left, right = map_diff(source, base, ours), map_diff(source, base, theirs)
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            key, raw = a[0], (a[1], a[2], a[1])
            a = next(left, None)
        elif a is None or b[0] < a[0]:
            key, raw = b[0], (b[1], b[1], b[2])
            b = next(right, None)
        else:
            key, raw = a[0], (a[1], a[2], b[2])
            a, b = next(left, None), next(right, None)
        yield decode(key), Triple(*(None if one is None else snapshots.unpack(one) for one in raw))


def common_base(
    objects: SourceAndSink, bases: Sequence[bytes], inside: Inside = lambda path, states: None
) -> Digest:
    """The snapshot to merge against, from the best common ancestors of two commits.

    Several, after a criss-cross, are merged with one another first, recursively and in the order of
    their ids, as git's merge-recursive does; where they conflict, the base equals neither side. That
    snapshot is put into `objects`: give an `Overlay`.
    """
    return _base(objects, bases, DEEPEST, inside)


def _base(objects: SourceAndSink, bases: Sequence[bytes], depth: int, inside: Inside) -> Digest:
    if not bases:
        return snapshots.empty(objects)
    if depth == 0:
        bases = [max(bases, key=lambda id: (history.commit(objects, id).time, id))]
    bases = sorted(bases)
    root = _snapshot(objects, bases[0])
    for count, other in enumerate(bases[1:], 1):
        above = history.common_ancestors(objects, bases[:count], [other])
        below = _base(objects, above, depth - 1, inside)
        found = merge(objects, below, root, _snapshot(objects, other), inside=inside)
        neither = dict.fromkeys((conflict.path for conflict in found.open), NEITHER)
        root = snapshots.edit(objects, root, {**found.edits, **neither})
    return root


def _snapshot(source: Source, commit: bytes) -> Digest:
    return Digest(history.commit(source, commit).snapshot)


class _Merging:
    """The paths seen so far, what becomes of each, and the conflicts among them."""

    def __init__(self, answers: Answers, inside: Inside) -> None:
        self._answers = answers
        self._inside = inside
        self.states: dict[str, Triple] = {}
        self.outcome: dict[str, Entry | None] = {}
        self.open: dict[str, PathConflict] = {}
        self.settled: dict[str, PathConflict] = {}

    def add(self, path: str, states: Triple, *, theirs_made: bool) -> None:
        """Merge one path."""
        self.states[path] = states
        tracked = Triple(*(None if _is_made(state) else state for state in states))
        agreed, entry = _three_way(tracked)
        stands = states.theirs if theirs_made else states.ours
        result = stands if _is_made(stands) else None
        if not agreed and path not in self._answers.sides:
            entry = self._inside(path, tracked)
            agreed = entry is not None
        if not agreed:
            self._conflict(PathConflict(path, _kind(tracked), states))
        elif entry is not None and result is not None:
            self._conflict(PathConflict(path, "made", states))
        else:
            self.outcome[path] = entry or result

    def _conflict(self, conflict: PathConflict) -> None:
        path, side = conflict.path, self._answers.side(conflict.path)
        if side is None:
            self.open[path] = conflict
            self.outcome[path] = conflict.states.ours
        else:
            self.settled[path] = conflict
            self.outcome[path] = self._answers.entry(side, path, conflict.states)

    def part_files_from_folders(self) -> None:
        """Find files that would lie below another one: a conflict of everything at and below that one.

        Both were changed against the base, each by one side, since no side has such a pair.
        """
        present = {path for path in self.outcome if self._may_be_file(path)}
        clashing = {folder for path in present for folder in _above(path) if folder in present}
        inside: dict[str, list[str]] = {}
        for path, states in self.states.items() if clashing else ():
            tops = [place for place in (path, *_above(path)) if place in clashing]
            if tops and (_is_file(states.ours) or _is_file(states.theirs)):
                inside.setdefault(tops[-1], []).append(path)
        for top, paths in inside.items():
            self._part(top, paths)

    def _may_be_file(self, path: str) -> bool:
        waiting = self.open.get(path)
        found = [self.outcome[path]] if waiting is None else [waiting.states.ours, waiting.states.theirs]
        return any(_is_file(entry) for entry in found)

    def _part(self, top: str, paths: Sequence[str]) -> None:
        states = self.states[top]
        kind = "file/folder" if _is_file(states.ours) else "folder/file"
        side = self._answers.side(top)
        for path in paths:
            self.open.pop(path, None)
            self.outcome[path] = (
                self.states[path].ours if side is None else self._answers.entry(side, path, self.states[path])
            )
        found = self.open if side is None else self.settled
        found[top] = PathConflict(top, kind, states)


def _three_way(states: Triple) -> tuple[bool, Entry | None]:
    """Whether the sides can be brought together, and to what; content and executability apart."""
    base, ours, theirs = states
    if ours == theirs or theirs == base:
        return True, ours
    if ours == base:
        return True, theirs
    if base is None or ours is None or theirs is None or not all(map(_is_plain, (base, ours, theirs))):
        return False, None
    if ours.artifact != theirs.artifact and base.artifact not in (ours.artifact, theirs.artifact):
        return False, None
    artifact = theirs.artifact if ours.artifact == base.artifact else ours.artifact
    mode = theirs.mode if ours.mode == base.mode else ours.mode
    return True, Entry(artifact, Origin.FILE, None, mode)


def _kind(states: Triple) -> str:
    if states.base is None:
        return "add/add"
    if states.ours is None:
        return "delete/change"
    return "change/delete" if states.theirs is None else "change/change"


def _is_made(entry: Entry | None) -> bool:
    return entry is not None and entry.origin is Origin.MADE


def _is_file(entry: Entry | None) -> bool:
    return entry is not None and entry.origin is Origin.FILE


def _is_plain(entry: Entry) -> bool:
    return entry.origin is Origin.FILE and entry.mode is not Mode.SYMLINK


def _above(path: str) -> Iterator[str]:
    """The folders above a path, from the closest to the outermost."""
    while path := path.rpartition("/")[0]:
        yield path


def _in_order(conflicts: Mapping[str, PathConflict]) -> list[PathConflict]:
    return [conflicts[path] for path in sorted(conflicts)]
