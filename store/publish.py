"""Publication: steps (3) to (5) of the commit order (docs/format.md, section 4.5).

Invariant: after `publish` returns, the batch is durable and in the index; after it raises, no ref
has moved, except where the error says so. Nothing else writes to the journal or to LMDB but `stat`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import lmdb
from aq.formats.errors import AqError
from aq.formats.identity import Kind
from aq.formats.packs import encode_frame
from aq.formats.records import Operation, encode
from aq.store.environment import Environment, explain
from aq.store.group import Group
from aq.store.index import Change, Index, State
from aq.store.journal import FolderLock, Journal
from aq.store.objects import Batch, StatRow
from aq.store.packs import SEAL_AT, PackFiles
from aq.store.recover import catch_up, new_only, register

Make = Callable[[Change, State, Group], Operation]
"""Checks what the caller expects of the refs, changes them in the index, and says what was done."""


class Published(NamedTuple):
    """The operation, if there was one, and how many bytes the journal grew by."""

    operation: bytes | None
    bytes: int


class _Retry(Exception):
    """The index was rebuilt, or grew full: begin again."""


class Publisher:
    """Publishes batches, one at a time, under the locks."""

    def __init__(self, index: Index, files: PackFiles) -> None:
        self.index = index
        self.files = files
        self.may_stand = False
        """After a failure: whether the journal may still tell of the batch, and so rely on its packs."""

    def publish(self, batch: Batch, make: Make | None = None) -> Published:
        """Publish a batch, with an operation if `make` is given. Raises Conflict, Damaged, AqError."""
        written: Published | None = None
        while True:
            attempt = _Attempt(self.index.environment, self.files)
            try:
                attempt.lock()
                if not self.index.is_current():
                    raise _Retry
                if written is None or not attempt.has(written):
                    written = attempt.write(batch, make)
                attempt.commit()
                return written
            except _Retry:
                attempt.abort()
                self.index.reopen()
            except lmdb.MapFullError:
                written = attempt.written
                attempt.abort()
                self.index.environment.grow()
            except lmdb.Error as error:
                attempt.take_back()
                self.index.environment.reset()
                raise explain(error) from error
            finally:
                self.may_stand = attempt.may_stand
                attempt.abort()


class _Attempt:
    """One try under the locks: LMDB's own first, then the `flock` on the packs."""

    def __init__(self, environment: Environment, files: PackFiles) -> None:
        self.environment = environment
        self.files = files
        self.written: Published | None = None
        self._txn: lmdb.Transaction | None = None
        self._lock: FolderLock | None = None
        self._journal: Journal | None = None

    @property
    def may_stand(self) -> bool:
        """Whether our group is, or may be, in the journal."""
        return self._journal is not None and self._journal.may_stand

    def lock(self) -> None:
        """Take both locks."""
        self._txn = self.environment.begin(write=True)
        self._lock = FolderLock(self.files.folder)
        self._lock.take()

    def _change(self) -> Change:
        assert self._txn is not None
        return Change(self._txn)

    def has(self, published: Published) -> bool:
        """Whether an earlier attempt of ours, durable in the journal, is in the index now."""
        if published.operation is None:
            return False
        change = self._change()
        _state, self._journal = catch_up(change, self.files)
        return change.get("objects", published.operation) is not None

    def write(self, batch: Batch, make: Make | None) -> Published:
        """Catch up, put everything into the index, append the group to the journal."""
        change = self._change()
        if self._journal is None:
            state, self._journal = catch_up(change, self.files)
        else:
            state = change.state() or catch_up(change, self.files)[0]
        if self._journal.end >= SEAL_AT:
            self._next_journal()
        group = Group(change, self.files, batch.frames)
        state = _describe(change, state, group, batch, make)
        size = self._append(change, state, group, batch)
        self.written = Published(state.operation if make else None, size)
        return self.written

    def _append(self, change: Change, state: State, group: Group, batch: Batch) -> int:
        journal = self._journal
        assert journal is not None
        pieces, places = group.encode(journal)
        for pack in batch.packs:
            places += pack.places
            change.put("packs", pack.name, b"")
        runs = new_only(change, batch.runs)
        change.add_places(places)
        register(change, batch.steps, runs)
        _put_stat(change, batch.stat)
        size = sum(map(len, pieces))
        end = journal.end + size
        change.set_state(state._replace(ordinal=journal.ordinal, end=end, journal=journal.name))
        if pieces:
            journal.append(pieces)
        return size

    def _next_journal(self) -> None:
        old = self._journal
        assert old is not None
        old.seal()
        self._journal = Journal.begin(self.files, old.ordinal + 1)
        old.close()

    def commit(self) -> None:
        """Make LMDB follow. Raises lmdb.Error."""
        assert self._txn is not None
        txn, self._txn = self._txn, None
        txn.commit()

    def take_back(self) -> None:
        """Void the operation in the journal: LMDB failed, and may come back with or without it."""
        if self.written is None or self.written.operation is None or self._journal is None:
            return
        with suppress(AqError):  # the group stands: the next writer follows it
            self._journal.append(encode_frame(self._journal.seed, Kind.VOID, self.written.operation, b""))

    def abort(self) -> None:
        """Give everything back that is still held."""
        if self._txn is not None:
            self._txn.abort()
            self._txn = None
        if self._lock is not None:
            self._lock.free()
            self._lock = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _describe(change: Change, state: State, group: Group, batch: Batch, make: Make | None) -> State:
    """Add the operation to the group; returns the state that it leads to."""
    if make is None:
        return state
    operation = make(change, state, group)
    group.name_packs([pack.name for pack in batch.packs])
    id = group.put_always(Kind.OPERATION, encode(operation))
    return state._replace(sequence=operation.sequence, operation=id, refs=operation.refs)


def _put_stat(change: Change, rows: Iterable[StatRow]) -> None:
    values: dict[bytes, bytes] = {}
    for key, value in rows:
        if value is None:
            values.pop(key, None)
            change.delete("stat", key)
        else:
            values[key] = value
    change.put_many("stat", values.items())
