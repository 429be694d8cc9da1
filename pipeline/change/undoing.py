"""The operation log, and taking operations back.

Invariant: an undo is an operation like any other: it sets the refs to what they were before the
operation that it takes back, and writes the files back that this one overwrote. Undoing an undo
is redo. Operations that moved no ref and no file are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from aq.formats.errors import AqError, Conflict
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Operation
from aq.pipeline.records import times
from aq.pipeline.records.results import OperationEntry, RefMove, Undone
from aq.store.commits import refs as ref_format
from aq.store.commits.refs import Ref
from aq.store.folder import unfinished
from aq.store.folder.unfinished import carry_out
from aq.store.store import Store
from aq.store.transactions import following

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo
    from aq.store.folder.checkout import Rewrite

Refs = Mapping[str, Ref]


def ops(repo: Repo, limit: int | None) -> list[OperationEntry]:
    """Operations, newest first."""
    found: list[OperationEntry] = []
    for id, operation in repo.store.operations():
        if limit is not None and len(found) >= limit:
            break
        found.append(
            OperationEntry(
                id=str(id),
                sequence=operation.sequence,
                time=times.text(operation.time),
                user=operation.user,
                command=operation.command,
                description=operation.description,
                argv=operation.argv,
                refs=moves(_before(repo.store, operation), ref_format.read(repo.store, operation.refs)),
                undoes=operation.undoes,
            )
        )
    return found


def _before(store: Store, operation: Operation) -> Refs:
    if not operation.parents:
        return {}
    return ref_format.read(store, get_record(store, Operation, operation.parents[0]).refs)


def moves(before: Refs, after: Refs) -> list[RefMove]:
    """What changed between two states of the refs."""
    return [
        RefMove(name=name, from_=_text(before.get(name)), to=_text(after.get(name)))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _text(ref: Ref | None) -> str | None:
    if ref is None:
        return None
    return str(ref.id) if ref.id is not None else ref.target


def undo(repo: Repo) -> Undone:
    """Take back the newest operation that did something. Raises AqError where there is none."""
    with unfinished.held(repo.worktree, alone=True):
        if unfinished.is_pending(repo.store):
            _files_back(repo, _last_effective(repo.store)[1])  # refused before anything is finished
        with suppress(AqError):  # where the folder refuses, what was done of it is taken back
            unfinished.finish(repo.worktree)  # so that taking this back in turn brings all of it
        return _undone(repo)


def _files_back(repo: Repo, operation: Operation) -> Rewrite | None:
    """What taking an operation's files back takes. Raises Conflict where they changed since."""
    return repo.worktree.prepare_put_back(Digest(operation.files)) if operation.files else None


def _undone(repo: Repo) -> Undone:
    store = repo.store
    id, operation = _last_effective(store)
    before = _before(store, operation)
    after = ref_format.read(store, operation.refs)
    if store.refs() != after:
        raise Conflict("another command changed the refs in the meantime", hint=["aq ops", "aq undo"])
    description = f"undo {operation.command}" + (
        f": {operation.description}" if operation.description else ""
    )
    change = repo.transaction("undo", description)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            change.set(name, before.get(name), expect=after.get(name))
    change.undoes = operation.sequence
    # the folder follows once the operation is durable, so that another undo can take even half of it back
    back = _files_back(repo, operation)
    new = carry_out(repo.worktree, change, back) if back else change.commit()
    following.drop(store.index, operation.sequence)
    return Undone(
        operation=str(new),
        undone=str(id),
        description=description,
        refs=moves(after, before),
        written=back.written if back else [],
        deleted=back.deleted if back else [],
    )


def _last_effective(store: Store) -> tuple[Digest, Operation]:
    for id, operation in store.operations():
        if not operation.parents:
            break
        if operation.files is not None or _before(store, operation) != ref_format.read(store, operation.refs):
            return id, operation
    raise AqError("nothing to undo: the repository is as `aq init` left it", hint="aq ops")
