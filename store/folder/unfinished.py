"""Rewrites of the folder that were recorded and not finished: their command was killed, stopped or refused.

Invariant: the row of an operation with `files` is in the index from the moment that the operation counts
until the folder has followed it. It is a hint: a rebuilt index has none, and the folder differs from HEAD.
Who records the folder or writes into it does so in a `turn`, which begins with what was left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from aq.formats.errors import Damaged
from aq.formats.identity import Digest
from aq.formats.records import Operation
from aq.store.commits import snapshots
from aq.store.folder.folders import is_real_folder
from aq.store.system import holding
from aq.store.system.paths import ancestors, link_above
from aq.store.transactions import following

if TYPE_CHECKING:
    from aq.store.folder.checkout import Rewrite
    from aq.store.folder.worktree import Worktree
    from aq.store.store import Store
    from aq.store.transactions.transaction import Transaction

Touched = dict[bytes, snapshots.PackedTouched]


class Unfinished(NamedTuple):
    """An operation whose files do not all lie in the folder, and those that are still as before."""

    operation: Operation
    files: Touched

    @property
    def note(self) -> str:
        """What a command says that has finished it."""
        return f"finished what was interrupted: {_what(self.operation)}, {self._count} written or deleted"

    @property
    def warning(self) -> str:
        """What a command says that changes nothing."""
        later = "the next commit, switch, merge, restore, remove or run finishes it, aq undo takes it back"
        return f"{_what(self.operation)} was interrupted: {self._count} still as before ({later})"

    @property
    def _count(self) -> str:
        return f"{len(self.files)} file{'s' * (len(self.files) != 1)}"


def _what(operation: Operation) -> str:
    return f"{operation.command} {operation.description}".rstrip()


def carry_out(work: Worktree, transaction: Transaction, rewrite: Rewrite) -> Digest:
    """Commit a transaction and let the folder follow it, in a `turn` alone; returns the operation's id."""
    transaction.files = rewrite.files
    id = transaction.commit()
    rewrite.apply()
    if rewrite.files is not None and transaction.sequence is not None:
        following.end(work.store.index, transaction.sequence)
    return id


@contextmanager
def turn(work: Worktree, *, alone: bool) -> Iterator[list[str]]:
    """Hold the folder, with nothing in it left unfinished; notes of what was finished. Raises Temporary.

    `alone`: to write into it; without, others may record it meanwhile.
    """
    notes: list[str] = []
    for is_last in (False, True):  # whoever was waited for may have died
        with held(work, alone=alone):
            if alone:
                notes += finish(work)
            if is_last or not following.sequences(work.store.index):
                yield notes
                return
        with held(work, alone=True):
            notes += finish(work)


def held(work: Worktree, *, alone: bool) -> AbstractContextManager[None]:
    """The folder as it is, whatever was left of it. Raises Temporary."""

    def waits(text: str) -> None:
        work.done.waits = text

    return holding.held(str(work.store.control), alone=alone, waits=waits)


def warnings(work: Worktree) -> list[str]:
    """What of the folder others have left undone, or are doing just now."""
    rows = following.sequences(work.store.index)
    if not rows:
        return []
    with suppress(Damaged):
        if holding.is_held_alone(str(work.store.control)):
            return [
                f"{_what(one)} is at work: what it has not written yet is as before"
                for one in _of(work.store, rows)
            ]
        return [one.warning for one in _left(work, rows) if one.files]
    return []


def is_pending(store: Store) -> bool:
    """Whether the folder has not followed some operation yet."""
    return bool(following.sequences(store.index))


def _left(work: Worktree, rows: set[int]) -> list[Unfinished]:
    operations = list(_of(work.store, rows))
    return [Unfinished(one, _as_before(work, one)) for one in reversed(operations)]


def finish(work: Worktree) -> list[str]:
    """Write and delete what dead commands have not: files that are as they were. What was done, as notes.

    Files that were changed since stay as they are, and so does what is lost. Raises AqError where the folder
    refuses. To be called in a `turn` alone.
    """
    rows = following.sequences(work.store.index)
    if not rows or not work.store.writable:
        return []
    try:
        left = _left(work, rows)
    except Damaged:
        return []
    notes = []
    for one in left:
        rows.discard(one.operation.sequence)
        if one.files:
            notes.append(_finished(work, one))
        following.end(work.store.index, one.operation.sequence)
    for sequence in rows:  # that name no such operation
        following.end(work.store.index, sequence)
    return notes


def _finished(work: Worktree, one: Unfinished) -> str:
    from aq.store.folder.checkout import Rewrite

    try:
        Rewrite(work, one.files, []).apply()
    except Damaged as error:
        return f"{one.note}, but {error.message}"
    return one.note


def _of(store: Store, rows: set[int]) -> Iterator[Operation]:
    """The operations of these rows, newest first."""
    for _id, operation in store.operations():
        if operation.sequence in rows and operation.files is not None:
            yield operation
        if operation.sequence <= min(rows):
            return


def _as_before(work: Worktree, operation: Operation) -> Touched:
    assert operation.files is not None
    left: Touched = {}
    try:
        for path, (before, after) in snapshots.touched(work.store, operation.files):
            if before != after and link_above(work.root, path) is None and _lies(work, path) == before:
                left[path] = before, after
    except Damaged:
        return {}  # collected: it is older than anything can be taken back
    return {path: states for path, states in left.items() if _has_place(work, path, left)}


def _lies(work: Worktree, path: bytes) -> bytes | None:
    entry = work.current(path)
    return None if entry is None else snapshots.pack(entry)


def _has_place(work: Worktree, path: bytes, left: Touched) -> bool:
    """Whether what is written comes to lie in a folder, and in place of nothing but the file before it."""
    if left[path][1] is None:
        return True
    full = os.path.join(work.root, path)
    if left[path][0] is None and os.path.lexists(full) and not _goes(work, path, left):
        return False
    for folder in ancestors(path):
        is_free = not os.path.lexists(os.path.join(work.root, folder))
        if not (is_free or is_real_folder(work.root, folder) or (folder in left and left[folder][1] is None)):
            return False
    return True


def _goes(work: Worktree, folder: bytes, left: Touched) -> bool:
    """Whether everything in a folder is deleted too."""
    for place, _folders, names in os.walk(os.path.join(work.root, folder)):
        for name in names:
            path = os.path.relpath(os.path.join(place, name), work.root)
            if path not in left or left[path][1] is not None:
                return False
    return is_real_folder(work.root, folder)
