"""What a commit of the folder changes in HEAD's snapshot: content goes in, edits and their tally come out.

Invariant: a path is edited only where its entry differs from HEAD's, and what an edit names is in the
sink. Moves no ref and writes no snapshot: that is `store.folder.worktree`'s matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from aq.formats.identity import Digest
from aq.formats.objects import Sink
from aq.formats.trees.prolly import map_get
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Mode, Tally, artifact_size
from aq.store.folder.content import State
from aq.store.folder.intake import Reading
from aq.store.folder.scan import Batch, Found
from aq.store.folder.statcache import size_of
from aq.store.system.paths import ancestors

if TYPE_CHECKING:
    from aq.store.folder.worktree import Worktree

Edits = dict[bytes, bytes | None]
"""Path → packed entry, or None where there is none any more."""


class _Begun(NamedTuple):
    """A batch on its way: what of it is known, and the rest, which is being read."""

    batch: Batch
    known: dict[bytes, State]
    unread: list[Found]
    reading: Reading


class Taking:
    """The edits of one commit. Call `take` for each place, then `finish`."""

    def __init__(self, work: Worktree, head: Digest, sink: Sink) -> None:
        self.edits: Edits = {}
        self._work, self._head = work, head
        self._added = self._changed = self._removed = self._growth = 0
        self._scan = work.scan(head, work.tracking())
        self._intake = work.intake(sink)

    @property
    def tally(self) -> Tally:
        """Of all edits so far."""
        return Tally(self._added, self._changed, self._removed, self._growth)

    def take(self, place: bytes) -> None:
        """Look at a path and all below it. Raises NotFound or UsageError if nothing there is tracked."""
        before = len(self.edits)
        gained = False
        for begun in self._begun(place):
            gained |= self._take(begun)
        if place and len(self.edits) == before:
            self._require_tracked(place)
        if place and gained:
            self._drop_files_above(place)

    def _begun(self, place: bytes) -> Iterator[_Begun]:
        """What there is to look at, some of it being read ahead."""
        waiting: deque[_Begun] = deque()
        for batch in self._scan.batches(place):
            waiting.append(self._begin(batch))
            while waiting and self._intake.is_full:
                yield waiting.popleft()
        yield from waiting

    def _begin(self, batch: Batch) -> _Begun:
        """Begin to read what is not known to be in the store."""
        start = len(batch.folder) + 1 if batch.folder else 0
        known = {found.path: state for found in batch.found if (state := self._known(found)) is not None}
        unread = [found for found in batch.found if found.stat is not None and found.path not in known]
        names = [found.path[start:] for found in unread]
        stats, heads = [found.stat or b"" for found in unread], [found.head for found in unread]
        return _Begun(batch, known, unread, self._intake.begin(batch.folder, names, stats, heads))

    def _take(self, begun: _Begun) -> bool:
        """Edit the paths of one folder; returns whether there is any file among what changed."""
        gained = False
        values, edits, link = self._scan.values, self.edits, int(Mode.SYMLINK)
        for (path, head, _, _), state in zip(begun.batch.found, self._states(begun), strict=True):
            entry = None if state is None else state[1]
            if entry is not None and path in values:
                raise self._work.taken(path)
            if entry == head:
                continue
            edits[path] = entry
            gained |= entry is not None
            if state is not None and head is None and state[1][37] != link:
                self._added += 1
                self._growth += size_of(state[0])
            else:
                self._count(head, state)
        return gained

    def _states(self, begun: _Begun) -> list[State | None]:
        """What each path holds now."""
        read = self._intake.end(begun.reading)
        if len(begun.unread) == len(begun.batch.found):
            return read
        states = {found.path: state for found, state in zip(begun.unread, read, strict=True)}
        return [begun.known.get(found.path) or states.get(found.path) for found in begun.batch.found]

    def _known(self, found: Found) -> State | None:
        """What a file holds whose stat is known and whose content is in the store."""
        if found.entry is None or found.stat is None or not self._work.store.has(found.entry[3:35]):
            return None
        return found.stat, found.entry

    def _count(self, head: bytes | None, state: State | None) -> None:
        if head is None:
            self._added += 1
        else:
            self._growth -= artifact_size(self._work.store, head[3:35])
            self._changed += state is not None
            self._removed += state is None
        if state is not None:
            stat, entry = state
            is_link = entry[37] == Mode.SYMLINK  # whose stat need not tell the length of its target
            store = self._work.store
            self._growth += artifact_size(store, entry[3:35]) if is_link else size_of(stat)

    def _drop_files_above(self, place: bytes) -> None:
        """Tracked files of HEAD where a folder lies now."""
        for folder in ancestors(place):
            value = map_get(self._work.store, self._head, folder)
            if value is not None and snapshots.is_file(value) and folder not in self.edits:
                self.edits[folder] = None
                self._count(value, None)

    def _require_tracked(self, place: bytes) -> None:
        """Raise unless HEAD has files at or below `place`."""
        known = snapshots.packed_entries(self._work.store, self._head, prefix=place)
        if not any(snapshots.is_file(value) for _, value in known):
            raise self._work.not_tracked(place, self._head)

    def finish(self) -> None:
        """Put what was read last."""
        self._intake.finish()
        self._work.cache.forget(self._scan.gone)
