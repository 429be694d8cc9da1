"""The folder beside the store: what changed in it, and what a commit of it would hold.

Invariant: looking (`status`, `look`) puts nothing into the store; content enters it through
`snapshot` and `store_file` alone. What the stat cache learns is written with the next flush.
Writing into the folder is `store.folder.checkout`'s matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aq.formats.errors import AqError, Damaged, NotFound, Unstorable, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Sink, SourceAndSink, get_record
from aq.formats.records import Artifact
from aq.formats.trees.prolly import map_edit, map_get
from aq.store.commits import history, snapshots
from aq.store.commits.nearest import did_you_mean
from aq.store.commits.refs import TRACKING
from aq.store.commits.snapshots import Entry, Origin, Tally
from aq.store.folder import tracking
from aq.store.folder.content import SMALL, HashOnly, clock_of, earlier, read_state, stat_of
from aq.store.folder.intake import Intake
from aq.store.folder.scan import Batch, Found, Scan
from aq.store.folder.statcache import StatCache, mode_of, size_of
from aq.store.folder.taking import Edits, Taking
from aq.store.folder.tracking import Tracking
from aq.store.store import Store
from aq.store.system.paths import (
    decode,
    encode,
    from_user,
    outermost,
    relative,
    require_safe,
    show,
)

if TYPE_CHECKING:
    from aq.store.folder.checkout import PutBack, Rewrite, Rewriter
    from aq.store.folder.marks import Marks

Skip = Callable[[str], bool]


class Done:
    """How many files, and bytes of them, were read or written so far; other threads may look at it.

    `waits`: what has to end before anything is done, "" if nothing has.
    """

    __slots__ = ("bytes", "files", "waits")

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.waits = ""

    def count(self, files: int, size: int) -> None:
        """Add files of `size` bytes together."""
        self.files += files
        self.bytes += size


class WorkStatus(NamedTuple):
    """The folder against a snapshot: paths with added | changed | removed, untracked ones, notes.

    An untracked folder that holds nothing tracked is one path that ends in a slash.
    """

    changes: list[tuple[str, str]]
    untracked: list[str]
    notes: list[str]


class Worktree:
    """The folder of a store's repository. `done` counts files as they are read or written."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.done = Done()
        self.root = os.fsencode(store.root)
        self.cache = StatCache(store.index)
        self.begin()

    def begin(self) -> None:
        """Start to look anew: a file counts as settled if it was changed before this moment."""
        self._clock = clock_of(os.fspath(self.store.control / "tmp") if self.store.writable else None)

    def relative(self, path: str | Path, cwd: Path) -> str:
        """The repository path of what a user typed in `cwd`; "" is the root. Raises UsageError outside."""
        return relative(self.store.root, path, cwd)

    def tracking(self) -> Tracking:
        """The pending rules."""
        ref = self.store.refs().get(TRACKING)
        return tracking.load(self.store, ref.id if ref else None)

    def head(self) -> Digest:
        """HEAD's snapshot; the empty one before the first commit."""
        at = history.head(self.store).commit
        return snapshots.empty(self.store) if at is None else Digest(history.commit(self.store, at).snapshot)

    def scan(self, head: Digest, rules: Tracking, *, untracked: bool = False) -> Scan:
        """A pass over the folder."""
        self.begin()
        return Scan(self.store, head, self.root, self.cache, rules, untracked=untracked)

    # Looking

    def status(self, head: Digest) -> WorkStatus:
        """The folder against the snapshot `head`. Reads files whose stat is new, stores none."""
        scan = self.scan(head, self.tracking(), untracked=True)
        intake = self.intake(HashOnly())
        changes = [change for batch in scan.batches() for change in self._changes(batch, intake)]
        intake.finish()
        self.cache.forget(scan.gone)
        self.keep_cache()
        return WorkStatus(
            [(decode(path), kind) for path, kind in sorted(changes)],
            [decode(path) for path in sorted(scan.untracked)],
            scan.notes,
        )

    def _changes(self, batch: Batch, intake: Intake) -> Iterator[tuple[bytes, str]]:
        """The paths of one folder that differ from HEAD, and how."""
        kinds = {found.path: self._kind(found) for found in batch.found}
        unread = [found for found in batch.found if kinds[found.path] is None]
        start = len(batch.folder) + 1 if batch.folder else 0
        names = [found.path[start:] for found in unread]
        read = intake.read(batch.folder, names, [found.stat or b"" for found in unread])
        for found, state in zip(unread, read, strict=True):
            same = state is not None and state[1] == found.head
            kinds[found.path] = "" if same else "removed" if state is None else "changed"
        yield from ((path, kind) for path, kind in kinds.items() if kind)

    def _kind(self, found: Found) -> str | None:
        """How a path differs from HEAD, as far as that can be told without reading the file."""
        if found.stat is None:
            return "removed"
        if found.head is None:
            return "added"
        if found.entry is not None or mode_of(found.stat) != snapshots.unpack(found.head).mode:
            return "changed"
        size = size_of(found.stat)
        if size < SMALL:
            return None  # to read it costs no more than to look up how large it was
        return None if self._size(found.head) in (size, None) else "changed"

    def _size(self, entry: bytes) -> int | None:
        """The size of the file that an entry tells of; None where that is lost."""
        try:
            return get_record(self.store, Artifact, entry[3:35]).size
        except Damaged:
            return None

    def intake(self, sink: Sink) -> Intake:
        """What reads many files into `sink`."""
        return Intake(self.root, sink, self.cache, self._clock, self.done.count)

    def look(self, path: str) -> Entry | None:
        """What a file holds now, tracked or not, stored or not; None if there is no file."""
        self.begin()
        return self.current(encode(path))

    def current(self, path: bytes, sink: Sink | None = None) -> Entry | None:
        """The entry of the file as it lies in the folder; its content goes to `sink`, if given."""
        stat = stat_of(os.path.join(self.root, path))
        return None if stat is None else self.current_at(path, stat, sink)

    def current_at(self, path: bytes, stat: bytes, sink: Sink | None = None) -> Entry | None:
        """As `current`, of a file whose packed stat is known."""
        known = self.cache.entry(path, stat)
        if known is not None and (sink is None or self.store.has(known[3:35])):
            return snapshots.unpack(known)
        found = self._read(path, sink, large=size_of(stat) >= SMALL)
        return None if found is None else snapshots.unpack(found)

    def _read(self, path: bytes, sink: Sink | None, *, large: bool) -> bytes | None:
        """The packed entry of a file, read anew; a large one is stored beside HEAD's version."""
        clock = self._clock()
        like = None
        if sink is not None and large:
            with suppress(Damaged):
                like = earlier(self.store, map_get(self.store, self.head(), path))
        state = read_state(
            self.root,
            path,
            HashOnly() if sink is None else sink,
            lambda size: self.done.count(0, size),
            like=like,
        )
        if state is None:
            return None
        self.cache.learn(path, *state, clock)
        size = size_of(state[0])
        self.done.count(1, size if size < SMALL else 0)
        return state[1]

    def keep_cache(self, *, wait: bool = False) -> None:
        """Write what the stat cache learned by looking; not being able to is no error.

        Nor is a writer at work: it is waited for only with `wait`.
        """
        rows = self.cache.rows()
        if rows:
            with suppress(AqError):
                self.store.keep_stat(rows, wait=wait)

    # Storing

    def snapshot(self, head: Digest, *, paths: Sequence[str] | None = None) -> Digest:
        """The snapshot of `take`."""
        return self.take(head, paths=paths)[0]

    def take(self, head: Digest, *, paths: Sequence[str] | None = None) -> tuple[Digest, Tally]:
        """`head` with the content of the folder's tracked paths (or of those at and below `paths`).

        Made and given entries stay. Raises NotFound or UsageError on a path that is not tracked.
        """
        places = [b""] if paths is None else outermost(map(from_user, paths))
        edits, tally = self._edits(head, self.store, places)
        self.store.put_stat(self.cache.rows())
        return map_edit(self.store, head, ((path, edits[path]) for path in sorted(edits))), tally

    def changes_into(self, root: Digest, sink: SourceAndSink) -> dict[str, Entry | None]:
        """What a commit of the folder would change in the snapshot `root`; content goes to `sink`."""
        head = self.head()
        edits, _ = self._edits(head, sink, [b""])
        self.keep_cache()
        if root == head:
            return {decode(p): None if e is None else snapshots.unpack(e) for p, e in edits.items()}
        folder = map_edit(sink, head, sorted(edits.items()))
        found: dict[str, Entry | None] = {}
        for path, old, new in snapshots.changes(sink, root, folder):
            if new is not None and new.origin is Origin.FILE:
                found[path] = new
            elif old is not None and old.origin is Origin.FILE:
                found[path] = None
        return found

    def _edits(self, head: Digest, sink: Sink, places: Sequence[bytes]) -> tuple[Edits, Tally]:
        taking = Taking(self, head, sink)
        for place in places:
            taking.take(place)
        taking.finish()
        return taking.edits, taking.tally

    def store_file(self, path: str) -> Entry:
        """Put one file, tracked or not, and return its entry. Raises NotFound, Unstorable, Temporary."""
        self.begin()
        raw = encode(path)
        require_safe(raw)
        entry = self.current(raw, self.store)
        if entry is None:
            if os.path.lexists(os.path.join(self.root, raw)):
                raise Unstorable(f"{show(path)} is no file")
            raise self.missing(path, self.head())
        self.store.put_stat(self.cache.rows())
        return entry

    def missing(self, path: str, head: Digest) -> NotFound:
        """The error for a path that is not there, with the closest ones that are."""
        return NotFound(
            f"no path {show(path)}{did_you_mean(path, self._names(path, head))}", hint="aq status"
        )

    def not_tracked(self, path: bytes, head: Digest) -> UsageError:
        """The error for a path at and below which nothing is tracked."""
        if not os.path.lexists(os.path.join(self.root, path)):
            return self.missing(decode(path), head)
        name = show(decode(path)) or "."
        return UsageError(f"{name} is not tracked", hint=f"aq add {name}")

    def taken(self, path: bytes) -> UsageError:
        """The error for a file that has the path of a made or given value."""
        name = show(decode(path))
        return UsageError(
            f"{name} is a value in the store: no file can have its name", hint=f"aq show {name}"
        )

    def _names(self, path: str, head: Digest) -> Iterator[str]:
        folder = path.rpartition("/")[0]
        with suppress(OSError):
            for name in os.listdir(os.path.join(self.root, encode(folder))):
                yield f"{folder}/{decode(name)}" if folder else decode(name)
        for known, value in snapshots.packed_entries(self.store, head):
            if snapshots.is_file(value):
                yield decode(known)

    # Tracking

    def add(self, paths: Iterable[str], *, force: bool = False) -> Marks:
        """Rules that track files and folders; the caller sets ref `tracking`. Stores no content."""
        from aq.store.folder import marks

        return marks.adding(self, list(paths), force=force)

    def remove(self, paths: Iterable[str], *, delete: bool = False, apply: bool = True) -> Marks:
        """Rules that untrack; with `delete` the files go too, stored first.

        Without `apply` they go when the caller applies `rewrite`, after the operation that names `files`.
        """
        from aq.store.folder import marks

        found = marks.removing(self, list(paths), delete=delete)
        if found.rewrite is not None and apply:
            self._applied(found.rewrite)
        return found

    def prepare_delete(self, chosen: Sequence[bytes]) -> Rewrite:
        """What deleting files takes; their content is stored first."""
        return self._rewriter().without(chosen)

    # Writing into the folder

    def prepare_checkout(
        self, before: Digest, after: Digest, *, force: bool = False, skip: Skip | None = None
    ) -> Rewrite:
        """What moving the folder from one snapshot to another takes; nothing is written before `apply`.

        Raises Conflict where it would overwrite what `before` does not hold, unless `force`.
        """
        return self._rewriter().between(before, after, force=force, skip=skip)

    def prepare_restore(self, root: Digest, paths: Sequence[str], *, skip: Skip | None = None) -> Rewrite:
        """What making files and folders as in a snapshot takes; what it overwrites is stored first."""
        return self._rewriter().at(root, list(paths), skip=skip)

    def prepare_copy(self, path: str, artifact: Digest) -> Rewrite:
        """What writing an artifact over a file takes, tracked or not; what it overwrites is stored first."""
        return self._rewriter().one(path, artifact)

    def prepare_put_back(self, files: Digest, *, force: bool = False) -> Rewrite:
        """What taking back an operation's `files` takes. Raises Conflict where they changed since."""
        return self._rewriter().back(files, force=force)

    def checkout(
        self, before: Digest, after: Digest, *, force: bool = False, skip: Skip | None = None
    ) -> Rewrite:
        """`prepare_checkout`, made durable and applied."""
        return self._applied(self.prepare_checkout(before, after, force=force, skip=skip))

    def restore(self, root: Digest, paths: Sequence[str], *, skip: Skip | None = None) -> Rewrite:
        """`prepare_restore`, made durable and applied."""
        return self._applied(self.prepare_restore(root, paths, skip=skip))

    def put_back(self, files: Digest, *, force: bool = False) -> PutBack:
        """`prepare_put_back`, made durable and applied."""
        from aq.store.folder.checkout import PutBack

        done = self._applied(self.prepare_put_back(files, force=force))
        return PutBack(done.files, done.written, done.deleted)

    def _rewriter(self) -> Rewriter:
        from aq.store.folder.checkout import Rewriter

        return Rewriter(self)

    def _applied(self, rewrite: Rewrite) -> Rewrite:
        if rewrite.files is not None:
            self.store.flush()
        rewrite.apply()
        return rewrite

    def export(self, root: Digest, folder: Path, paths: Iterable[str] | None = None) -> None:
        """Write the tracked files of a snapshot (or these of them) into an empty folder elsewhere."""
        self._rewriter().export(root, folder, paths)
