"""The operation log: what each command did to the refs, newest first.

Invariant: operations form one chain by their first parents; the newest is the index's current one.
"""

from __future__ import annotations

from collections.abc import Iterator

from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.packing.packs import NO_ID
from aq.formats.records import Operation
from aq.store.commits import refs
from aq.store.commits.laps import Laps
from aq.store.commits.refs import Ref


def walk(source: Source, newest: bytes) -> Iterator[tuple[Digest, Operation]]:
    """Operations from `newest` back to the first. Raises Damaged."""
    id, laps = newest, Laps("operation")
    while id != NO_ID:
        laps.step(id)
        operation = get_record(source, Operation, id)
        yield Digest(id), operation
        id = operation.parents[0] if operation.parents else NO_ID


def refs_after(source: Source, operation: Operation) -> dict[str, Ref]:
    """All refs as an operation left them. Raises Damaged."""
    return refs.read(source, operation.refs)
