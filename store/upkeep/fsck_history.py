"""Whether operations are one history and came after what they name (docs/format.md, I8–I10, I14, I27).

Invariant: what was stored again after a loss, or moved by a collector, is not taken for disorder: where
the packs show that such a thing may have happened, their order says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record
from aq.formats.records import Operation
from aq.store.commits.reach import Item, Link, Role
from aq.store.commits.snapshots import Origin, pack_touched, unpack_touched
from aq.store.frames.index import Look
from aq.store.store import Store
from aq.store.system import paths
from aq.store.upkeep.findings import Finding

_ORDERED: Final = frozenset((Kind.OPERATION, Kind.COMMIT))


class OrderCheck:
    """Whether what an operation or a commit names was written before it (I9).

    `ordinals`: those of the journals, by name; empty where their order says nothing.
    """

    def __init__(self, store: Store, ordinals: Mapping[bytes, int]) -> None:
        self._store = store
        self._ordinals = ordinals

    def problem(self, item: Item, link: Link) -> str:
        """What is wrong with a reference, or ""."""
        if not self._ordinals or item.kind not in _ORDERED or item.role is Role.EXPIRED:
            return ""
        mine, other = self._at(item.id), self._at(link.item.id)
        if mine is None or other is None or other < mine:
            return ""
        return f"it was written before {link.item.kind.name.lower()} {link.item.id.hex()}, which it names"

    def _at(self, id: bytes) -> tuple[int, int] | None:
        """Ordinal and offset of an object that lies in a journal."""
        place = self._store.index.place(id)
        ordinal = None if place is None else self._ordinals.get(place.pack)
        return None if ordinal is None or place is None else (ordinal, place.offset)


class CondemnedCheck:
    """Whether what counts refers to nothing that is to be swept (I14)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.index.look() as look:
            self._condemned = {id for id, _when in look.condemned()}
        self._suspect: list[tuple[Item, bytes]] = []

    def note(self, item: Item, link: Link) -> None:
        """One reference."""
        if link.item.id in self._condemned and item.id not in self._condemned:
            self._suspect.append((item, link.item.id))

    def findings(self) -> Iterator[Finding]:
        """What still is so: a publication may have revived some of it since."""
        with self._store.index.look() as look:
            found = [(item, other) for item, other in self._suspect if _is_swept_under(look, item.id, other)]
        for item, other in found:
            detail = f"it refers to {other.hex()}, which is about to be swept"
            yield Finding(item.kind.name.lower(), item.id, detail, "")


def _is_swept_under(look: Look, id: bytes, other: bytes) -> bool:
    """Whether an object that stays refers to one that is condemned."""
    return look.get("condemned", other) is not None and look.get("condemned", id) is None


def chain_findings(store: Store, told: Sequence[bytes]) -> Iterator[Finding]:
    """The operations form one chain, and the journals tell of no other ones. `told`: theirs, oldest first."""
    chain: dict[Digest, int] = {}
    above: int | None = None
    try:
        for id, operation in store.operations():
            if above is not None and operation.sequence != above - 1:
                yield Finding("operation", id, f"number {operation.sequence} stands before {above}", "")
            above = chain[id] = operation.sequence
            if not operation.parents and operation.sequence != 1:
                yield Finding("operation", id, f"number {operation.sequence} has none before it", "")
    except Damaged:
        return  # the operation is named by itself
    newest = max(chain.values(), default=0)
    for id in map(Digest, told):
        if id not in chain and _number(store, id) <= newest:
            yield Finding("operation", id, "it is in the journals, but not in the history", "")


def _number(store: Store, id: bytes) -> int:
    try:
        return get_record(store, Operation, id).sequence
    except Damaged:
        return 1 << 64


def touched_problem(path: bytes, value: bytes) -> str:
    """What is wrong with an entry of an operation's `files`, or ""."""
    shown = paths.show(paths.decode(path))
    reason = paths.problem(path)
    if reason:
        return f"path {shown} {reason}"
    try:
        touched = unpack_touched(value)
    except Damaged:
        return ""  # its references could not be followed either, which is told
    if pack_touched(touched) != value:
        return f"what it says of {shown} is not in canonical form"
    if any(entry is not None and entry.origin is not Origin.FILE for entry in touched):
        return f"{shown} is no file of the folder"
    return ""
