"""What a publication relies on is there, and is condemned no more (docs/format.md, 4.9).

Invariant: what is not condemned refers to nothing that is condemned or gone. Looked at under the lock of
the writers, and only where a collector has been at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aq.formats.errors import Damaged, Temporary
from aq.formats.identity import Kind
from aq.formats.objects import Source, get_record
from aq.formats.packing.packs import NO_ID, Place
from aq.formats.records import TYPES, Operation, decode
from aq.formats.trees.prolly import map_diff, map_items
from aq.store.commits.reach import Item, Role, links, ref_links
from aq.store.commits.refs import decode_ref
from aq.store.frames.index import Change, Condemned
from aq.store.frames.place_rows import bases_in

_RECORDS: Final = (Kind.ARTIFACT, Kind.STEP, Kind.RUN, Kind.COMMIT, Kind.OPERATION)


AT_BIRTH: Final = (1 << 63) - 1
"""The time of what was condemned when it was published; the next collector gives it another one."""


def rely(change: Change, source: Source, places: Sequence[tuple[bytes, Place]]) -> None:
    """Take new objects, all that they refer to, and the bases of deltas, from the condemned.

    Nodes that no new record leads to are condemned at birth: who refers to them later looks at them again.
    Raises Temporary where something was swept that the writer had met: a second try stores it again.
    """
    new = {id: Kind(place.kind) for id, place in places if place.kind < Kind.SUMMARY}
    for id in new:
        change.delete("condemned", id)
    stack = [Item(kind, id) for id, kind in new.items() if kind in _RECORDS]
    stack += [
        item for id, kind in new.items() if kind is Kind.OPERATION for item in _named(change, source, id)
    ]
    stack += [Item(Kind.CHUNK, base) for _id, place in places for base in place.bases]
    seen: set[tuple[bytes, Role]] = set()
    while stack:
        item = stack.pop()
        if (item.id, item.role) in seen:
            continue
        seen.add((bytes(item.id), item.role))
        if item.id not in new:
            place = change.get("objects", item.id)
            if place is None:
                what = f"{item.kind.name.lower()} {item.id.hex()}"
                raise Temporary(f"{what} was collected in the meantime; nothing was changed")
            if change.get("condemned", item.id) is None:
                continue
            change.delete("condemned", item.id)
            stack += [Item(Kind.CHUNK, base) for base in bases_in(place)]
        stack += _referred(source, item)
    met = {id for id, _role in seen}
    waiting = [id for id, kind in new.items() if kind is Kind.NODE and id not in met]
    change.condemn(waiting, Condemned(change.collected().generation + 1, AT_BIRTH))


def _named(change: Change, source: Source, operation: bytes) -> list[Item]:
    """What an operation's refs hold and the current ones do not.

    Its map may be one that the log keeps, or share nodes with it, although what these name is gone.
    """
    state = change.state()
    if state is None or state.refs == NO_ID:
        return []
    refs = get_record(source, Operation, operation).refs
    try:
        changed = [(name, new) for name, _old, new in map_diff(source, state.refs, refs)]
    except Damaged:  # the current map is lost with the pack that held it
        changed = list(map_items(source, refs))
    return [
        link.item
        for name, new in ((key.decode("utf-8", "replace"), new) for key, new in changed if new is not None)
        for link in ref_links(name, decode_ref(name, new))
    ]


def _referred(source: Source, item: Item) -> list[Item]:
    if item.kind is Kind.CHUNK:
        return []
    record = decode(TYPES[item.kind], source.get(item.kind, item.id))
    return [link.item for link in links(item, record)]
