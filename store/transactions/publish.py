"""Publication: steps (3) to (5) of the commit order (docs/format.md, section 4.5).

Invariant: after `publish` returns, the batch is durable and in the index; after it raises, no ref
has moved, except where the error says so. Nothing else writes to the journal or to LMDB but `stat`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import lmdb
from aq.formats.errors import AqError
from aq.formats.identity import Kind
from aq.formats.packing.packs import encode_frame
from aq.formats.records import Operation, encode
from aq.store.frames import bases, statblocks
from aq.store.frames.environment import Environment, Writing, explain
from aq.store.frames.group import Group
from aq.store.frames.index import Change, Collected, Index, Look, State
from aq.store.frames.journal import FolderLock, Journal
from aq.store.frames.objects import Batch
from aq.store.frames.packs import SEAL_AT, PackFiles
from aq.store.frames.pages import BadPage
from aq.store.transactions.recover import catch_up, new_only, register

_ROWS_PER_PAGE: Final = 15
_DATA_PER_PAGE: Final = 128 << 10
_ASIDE_LEAST, _ASIDE_MOST = 8, 128

Make = Callable[[Change, State, Group], Operation]
"""Checks what the caller expects of the refs, changes them in the index, and says what was done."""


class Published(NamedTuple):
    """The operation, if there was one, and how many bytes the journal grew by."""

    operation: bytes | None
    bytes: int


class Publisher:
    """Publishes batches, one at a time, under the locks: the `flock` on the packs first, then LMDB's own."""

    def __init__(self, index: Index, files: PackFiles) -> None:
        self.index = index
        self.files = files
        self.began = index.collected()
        """What collectors had done when the first thing was relied on."""
        self.may_stand = False
        """After a failure: whether journal or index may still tell of the batch, and so rely on its packs."""

    def publish(self, batch: Batch, make: Make | None = None) -> Published:
        """Publish a batch, with an operation if `make` is given. Raises Conflict, Temporary, AqError."""
        with FolderLock(self.files.folder):
            if not self.index.is_current():
                self.index.reopen()
            published = self._publish(batch, make)
            self._set_pages_aside(batch)
            return published

    def _set_pages_aside(self, batch: Batch) -> None:
        """After much data take the pages by which the next small publications would make the file grow."""
        rows, data = sum(len(pack.places) for pack in batch.packs), sum(pack.end for pack in batch.packs)
        count = min(rows // _ROWS_PER_PAGE, data // _DATA_PER_PAGE, _ASIDE_MOST)
        if count >= _ASIDE_LEAST:
            environment = self.index.environment
            with suppress(AqError, OSError, BadPage):  # what was published stays so
                try:
                    environment.set_aside(count)
                except lmdb.Error:
                    environment.reset()

    def _publish(self, batch: Batch, make: Make | None) -> Published:
        written: Published | None = None
        while True:
            attempt = _Attempt(self.index.environment, self.files, written, self.began)
            try:
                attempt.begin()
                if not attempt.is_followed():
                    attempt.write(batch, make)
                return attempt.commit()
            except lmdb.MapFullError:
                written = attempt.written
                attempt.end()
                self.index.environment.grow()
            except lmdb.Error as error:
                self.may_stand = attempt.take_back() or attempt.committing
                attempt.end()
                self.index.environment.reset()
                raise explain(error) from error
            except BaseException:
                self.may_stand = attempt.take_back() or attempt.committing
                raise
            finally:
                attempt.end()


class _Attempt:
    """One try under the locks. `written` is what an earlier try has made durable in the journal."""

    def __init__(
        self, environment: Environment, files: PackFiles, written: Published | None, began: Collected
    ) -> None:
        self.environment = environment
        self.began = began
        self.files = files
        self.written = written
        self.committing = False
        """Whether LMDB was asked to commit: from then on it may come back with the batch."""
        self._writing: Writing | None = None
        self._journal: Journal | None = None

    def begin(self) -> None:
        """Begin the transaction and follow the journal to its end."""
        self._writing = self.environment.writing()
        self._state, self._journal = catch_up(Change(self._writing.txn), self.files)

    def is_followed(self) -> bool:
        """Whether an earlier try's operation is in the index by now."""
        if self._writing is None or self.written is None or self.written.operation is None:
            return False
        return Change(self._writing.txn).get("objects", self.written.operation) is not None

    def write(self, batch: Batch, make: Make | None) -> None:
        """Put everything into the index, append the group to the journal."""
        assert self._writing is not None and self._journal is not None
        change = Change(self._writing.txn)
        if self._journal.end >= SEAL_AT:
            self._next_journal(self._journal)
        group = Group(change, self.files, batch.frames)
        state = _describe(change, self._state, group, batch, make)
        size = self._append(change, state, group, batch)
        self.written = Published(state.operation if make else None, size)

    def _append(self, change: Change, state: State, group: Group, batch: Batch) -> int:
        journal = self._journal
        assert journal is not None
        pieces, places = group.encode(journal)
        for pack in batch.packs:
            places += pack.places
            change.put("packs", pack.name, b"")
        runs = new_only(change, batch.runs)
        change.add_places(places)
        bases.require_followed(change, places)
        register(change, batch.steps, runs)
        if not _is_quiet(change, self.began):
            from aq.store.transactions.reliance import rely

            rely(change, group, places)
        statblocks.update(change, batch.stat)
        size = sum(map(len, pieces))
        end = journal.end + size
        change.set_state(state._replace(ordinal=journal.ordinal, end=end, journal=journal.name))
        if pieces:
            journal.append(pieces)
        return size

    def _next_journal(self, full: Journal) -> None:
        full.seal()
        self._journal = Journal.begin(self.files, full.ordinal + 1)
        full.close()

    def commit(self) -> Published:
        """Make LMDB follow. Raises lmdb.Error."""
        assert self._writing is not None
        self.committing = True
        writing, self._writing = self._writing, None
        writing.commit()
        return self.written or Published(None, 0)

    def take_back(self) -> bool:
        """After a failure, void our operation in the journal: LMDB may come back with it or without.

        Returns whether the journal still tells of our batch.
        """
        if self._journal is None:
            return False
        if self.written is not None and self.written.operation is not None:
            with suppress(AqError):  # the group stands: the next writer follows it
                self._journal.append(encode_frame(self._journal.seed, Kind.VOID, self.written.operation, b""))
            return True
        return self._journal.may_stand

    def end(self) -> None:
        """Give up the transaction if it is not committed, and let go of the journal."""
        if self._writing is not None:
            self._writing.abort()
            self._writing = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _is_quiet(look: Look, began: Collected) -> bool:
    """Whether nothing was swept since then and nothing is condemned: what is relied on is there."""
    return look.collected().swept == began.swept and next(look.items("condemned"), None) is None


def _describe(change: Change, state: State, group: Group, batch: Batch, make: Make | None) -> State:
    """Add the operation to the group; returns the state that it leads to."""
    if make is None:
        return state
    operation = make(change, state, group)
    group.name_packs([pack.name for pack in batch.packs])
    id = group.put_always(Kind.OPERATION, encode(operation))
    return state._replace(sequence=operation.sequence, operation=id, refs=operation.refs)
