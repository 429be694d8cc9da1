"""What a map left behind: its items by name, in its step and in the record of a run.

Invariant: an item is found through its map, FLOW/NAME/KEY through FLOW/NAME; it has no entry of its own in a
snapshot or a run, so that what these cost does not follow the number of items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aq.formats.objects import Source, get_record
from aq.formats.records import RunStep, Step, decode
from aq.formats.trees.prolly import list_items
from aq.store.commits.snapshots import items_of

Previous = Callable[[str], bytes | None]


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
