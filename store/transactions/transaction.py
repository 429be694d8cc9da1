"""The one shape of every change of refs: collect, compare, swap, record one operation.

Invariant: either all changes of a transaction happen, with one operation that says so, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import EllipsisType

from aq.formats.errors import Conflict, Damaged
from aq.formats.identity import Digest
from aq.formats.packing.packs import NO_ID
from aq.formats.records import Operation
from aq.formats.trees.prolly import build_map, map_get
from aq.formats.trees.prolly_edit import map_edit
from aq.store.commits.refs import Ref, check_name, decode_ref, encode_ref
from aq.store.frames.group import Group
from aq.store.frames.index import Change, State
from aq.store.transactions import following
from aq.store.transactions.publish import Make


class Transaction:
    """Changes to be made together. `files`, `undoes`, `horizon`: see `records.Operation`."""

    def __init__(
        self,
        publish: Callable[[Make], Digest],
        command: str,
        *,
        time: int,
        user: str,
        argv: Sequence[str] = (),
        description: str = "",
    ) -> None:
        self.files: Digest | None = None
        self.undoes: int | None = None
        self.horizon = 0
        self.description = description
        self.sequence: int | None = None
        """The operation's number, once it is committed."""
        self._publish = publish
        self._command = command
        self._time = time
        self._user = user
        self._argv = list(argv)
        self._runs: list[bytes] = []
        self._changes: dict[str, Ref | None] = {}
        self._expected: dict[str, Ref | None] = {}

    def set(self, name: str, value: Ref | None, *, expect: Ref | EllipsisType | None = ...) -> None:
        """Give the ref a value, or remove it (None). `expect` is what it must still be; `...` is anything.

        Raises UsageError on a name that no ref may have.
        """
        check_name(name)
        self._changes[name] = value
        if not isinstance(expect, EllipsisType):
            self._expected[name] = expect

    def add_run(self, run: bytes) -> None:
        """Name a run that this operation publishes."""
        self._runs.append(bytes(run))

    def commit(self) -> Digest:
        """Do it durably; returns the operation's id. Raises Conflict where an expectation fails."""
        return self._publish(self._make)

    def _make(self, change: Change, state: State, group: Group) -> Operation:
        for name, expected in self._expected.items():
            found = _held(change, state, group, name.encode())
            if (None if found is None else decode_ref(name, found)) != expected:
                raise _conflict(name)
        self.sequence = state.sequence + 1
        if self.files is not None:
            following.begin(change, self.sequence)
        return Operation(
            sequence=self.sequence,
            time=self._time,
            command=self._command,
            refs=self._new_refs(change, state, group),
            parents=[] if state.operation == NO_ID else [state.operation],
            argv=self._argv,
            user=self._user,
            runs=self._runs,
            files=self.files,
            undoes=self.undoes,
            description=self.description,
            horizon=self.horizon,
        )

    def _new_refs(self, change: Change, state: State, group: Group) -> Digest:
        edits: list[tuple[bytes, bytes | None]] = []
        for name, value in sorted((name.encode(), value) for name, value in self._changes.items()):
            new = None if value is None else encode_ref(value)
            edits.append((name, new))
            if new is None:
                change.delete("refs", name)
            else:
                change.put("refs", name, new)
        if state.refs != NO_ID:
            with suppress(Damaged):  # the map is lost with the pack that held it: the index knows all refs
                return map_edit(group, state.refs, edits)
        return build_map(group, list(change.items("refs")))


def _held(change: Change, state: State, group: Group, name: bytes) -> bytes | None:
    """A ref by the last operation; the index has it too, for when the map is lost."""
    if state.refs != NO_ID:
        with suppress(Damaged):
            return map_get(group, state.refs, name)
    return change.get("refs", name)


def _conflict(name: str) -> Conflict:
    short = name.split("/", 1)[-1]
    error = Conflict(f"{short} was moved by someone else in the meantime", hint="aq log")
    error.ref = name
    return error
