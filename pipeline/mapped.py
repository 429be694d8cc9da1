"""What a map left behind: its items by name, in its step and in the record of a run.

Invariant: an item is found through its map, FLOW/NAME/KEY through FLOW/NAME; it has no entry of its own in a
snapshot or a run, so that what these cost does not follow the number of items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.prolly import list_items
from aq.formats.records import MappedItem, RunStep, Step, decode
from aq.store import snapshots
from aq.store.snapshots import Entry, Origin

Previous = Callable[[str], bytes | None]
ROLE: Final = "map"


def items_of(source: Source, step: Step) -> Iterator[MappedItem]:
    """The items of a map's step, in their order."""
    if step.items is not None:
        yield from (decode(MappedItem, one) for one in list_items(source, step.items))


def told_of(source: Source, one: RunStep) -> Iterator[RunStep]:
    """The records of the items that ran or failed in a run."""
    if one.items is not None:
        yield from (decode(RunStep, item) for item in list_items(source, one.items))


def through(source: Source, previous: Previous) -> Previous:
    """Finds the items of maps too: the step recorded last under FLOW/NAME/KEY."""
    known: dict[str, dict[str, bytes]] = {}

    def look(name: str) -> bytes | None:
        found = previous(name)
        if found is not None:
            return found
        above, _, key = name.rpartition("/")
        if above not in known:
            id = previous(above)
            step = None if id is None else get_record(source, Step, id)
            known[above] = {one.key: one.step for one in items_of(source, step)} if step else {}
        return known[above].get(key)

    return look


def entry(source: Source, root: bytes, path: str) -> Entry | None:
    """What lies under a path below a map's result, as if the snapshot had an entry for it."""
    above, _, key = path.rpartition("/")
    found = snapshots.get_entry(source, root, above) if above else None
    if found is None or found.origin is not Origin.MADE or found.step is None:
        return None
    step = get_record(source, Step, found.step)
    output = next((at for at, (_, id) in enumerate(step.outputs) if id == found.artifact), 0)
    one = next((one for one in items_of(source, step) if one.key == key), None)
    if one is None or output >= len(one.outputs):
        return None
    return Entry(Digest(one.outputs[output][0]), Origin.MADE, Digest(one.step))
