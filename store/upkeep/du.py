"""`aq du`: where the bytes of a repository are, by ref, folder, flow and kind.

Invariant: bytes are those of frames as they lie in packs, with those that deltas are made from. What two of
a sort need counts for both, and as `own` for neither; nothing is read but nodes and records.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.packing.packs import Bases
from aq.formats.records import Artifact, Node
from aq.store.commits.reach import Item, Link, Role, Walk, entry_links
from aq.store.commits.refs import TRACKING
from aq.store.commits.snapshots import Origin, unpack
from aq.store.frames.bases import all_bases, with_bases
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from aq.store.system.paths import decode, show
from aq.store.upkeep.marking import horizon_of

HISTORY: Final = "history"
"""The name of all that is no part of an artifact: commits, snapshots, runs, steps, operations, summaries."""
Groups = dict[str, list[Link]]


class Share(NamedTuple):
    """What one of a sort needs. `own`: bytes of it that no other one of this sort needs."""

    name: str
    objects: int
    bytes: int
    own: int


class Usage(NamedTuple):
    """All of it, in bytes. `unreferenced`: what neither refs, operations nor runs need."""

    bytes: int
    objects: int
    unreferenced: int
    indexed: int
    refs: list[Share]
    paths: list[Share]
    flows: list[Share]
    kinds: list[Share]


class _Found(NamedTuple):
    """What a walk over everything has met."""

    reached: set[bytes]
    paths: Groups
    flows: Groups
    kinds: Groups


def usage(store: Store) -> Usage:
    """Count everything. Damaged objects count, and hide what only they refer to."""
    with store.index.look() as look:
        sizes = {id: decode_place(value).size for id, value in look.items("objects")}
        summaries = sum(decode_place(value).size for _id, value in look.items("summaries"))
        made = all_bases(look)
    found = _everything(store)
    found = found._replace(reached=with_bases(made, found.reached))
    kinds = _shares(store, sizes, made, found.kinds)
    reached = sum(sizes.get(id, 0) for id in found.reached)
    return Usage(
        bytes=store.bytes_on_disk(),
        objects=len(sizes),
        unreferenced=sum(sizes.values()) - reached,
        indexed=_file_size(f"{store.index.folder}/data.mdb"),
        refs=_shares(store, sizes, made, _refs(store)),
        paths=_shares(store, sizes, made, found.paths),
        flows=_shares(store, sizes, made, found.flows),
        kinds=[*kinds, _rest(store, sizes, made, found, reached, summaries)],
    )


def _file_size(path: str) -> int:
    with suppress(OSError):
        return os.path.getsize(path)
    return 0


def _refs(store: Store) -> Groups:
    return {
        name: [Link(Item(Kind.COMMIT, ref.id))]
        for name, ref in store.refs().items()
        if ref.id is not None and name != TRACKING
    }


def _everything(store: Store) -> _Found:
    """One walk from refs, operations and runs: entries by folder and flow, artifacts by kind."""
    found = _Found(set(), {}, {}, {})
    walk = Walk(store)
    for visit in walk.visit(_roots(store)):
        record = visit.record
        if isinstance(record, Artifact):
            found.kinds.setdefault(record.kind, []).append(Link(visit.item))
        elif isinstance(record, Node) and visit.item.role is Role.SNAPSHOT and not record.level:
            _note_entries(found, record)
    return found._replace(reached=walk.ids())


def _roots(store: Store) -> Iterable[Link]:
    for name, ref in store.refs().items():
        if ref.id is not None:
            yield Link(Item(Kind.CHUNK if name == TRACKING else Kind.COMMIT, ref.id))
    with suppress(Damaged):
        horizon = horizon_of(store)
        for id, operation in store.operations():
            expired = operation.sequence <= horizon
            yield Link(Item(Kind.OPERATION, id, Role.EXPIRED if expired else Role.PLAIN))
    for id in store.runs():
        yield Link(Item(Kind.RUN, id))


def _note_entries(found: _Found, node: Node) -> None:
    for path, value in zip(node.keys, node.values, strict=True):
        with suppress(Damaged):
            entry = unpack(value)
            first, slash, _rest = path.partition(b"/")
            name = show(decode(first)) + ("/" if slash else "")
            links = list(entry_links(path, entry))
            found.paths.setdefault(name, []).extend(links[:1])
            if entry.origin is Origin.MADE:
                found.flows.setdefault(show(decode(first)), []).extend(links)


def _shares(
    store: Store, sizes: Mapping[bytes, int], made: Mapping[bytes, Bases], groups: Groups
) -> list[Share]:
    """Each group's objects, the largest first; groups that begin at the same objects are walked once."""
    reached: dict[tuple[Link, ...], set[bytes]] = {}
    users: dict[bytes, int] = {}
    starts = {name: tuple(links) for name, links in groups.items()}
    for start in starts.values():
        if start not in reached:
            walk = Walk(store)
            for _visit in walk.visit(start):
                pass
            reached[start] = with_bases(made, walk.ids())
        for id in reached[start]:
            users[id] = users.get(id, 0) + 1
    shares = [_share(name, reached[start], users, sizes) for name, start in starts.items()]
    return sorted(shares, key=lambda share: (-share.bytes, share.name))


def _share(name: str, ids: set[bytes], users: Mapping[bytes, int], sizes: Mapping[bytes, int]) -> Share:
    own = sum(sizes.get(id, 0) for id in ids if users[id] == 1)
    return Share(name, len(ids), sum(sizes.get(id, 0) for id in ids), own)


def _rest(
    store: Store,
    sizes: Mapping[bytes, int],
    made: Mapping[bytes, Bases],
    found: _Found,
    reached: int,
    summaries: int,
) -> Share:
    """What is reached and is no part of an artifact, and the summaries beside it."""
    walk = Walk(store)
    for _visit in walk.visit(link for links in found.kinds.values() for link in links):
        pass
    parts = with_bases(made, walk.ids())
    left = reached - sum(sizes.get(id, 0) for id in parts) + summaries
    return Share(HISTORY, len(found.reached - parts), left, left)
