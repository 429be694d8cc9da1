"""Making the index again from the packs alone (docs/format.md, section 4.7).

Invariant: the folder `index/` is replaced whole, under the lock on the packs; the packs are only read.
What the index held beyond them (the stat cache) is gone, and costs one hashing of the folder. A pack that
a dead writer has left without an end is listed only if something published needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, count
from typing import Final, NamedTuple

import lmdb
from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record
from aq.formats.packing.packs import HEADER_SIZE, NAME_SIZE, PACKS, Header, Place
from aq.formats.records import Operation, Step
from aq.formats.trees.prolly import map_items
from aq.store.commits.reach import Item, Whole
from aq.store.frames.environment import Environment, explain, is_open
from aq.store.frames.group import Group
from aq.store.frames.index import Change, State
from aq.store.frames.journal import FolderLock
from aq.store.frames.pack_contents import read_header, read_places
from aq.store.frames.packs import MissingPack, PackFiles
from aq.store.frames.torn import is_torn, needed
from aq.store.frames.unopened import problem_before_opening
from aq.store.system import disk

_REGISTERED: Final = (Kind.STEP, Kind.RUN)
Places = list[tuple[bytes, Place]]


class _Judged(NamedTuple):
    """Data packs that are listed even if they have no end, and such that are not."""

    listed: set[bytes]
    garbage: set[bytes]


class _Undecided(Exception):
    """Packs without an end were tried: now it is known which of them count."""


class Rebuilt(NamedTuple):
    """What came out. `lost` counts newer operations whose refs could not be read, newest first."""

    objects: int
    operation: Digest
    lost: list[Digest]


def rebuild(
    control: str,
    *,
    always: bool = True,
    strict: bool = False,
    whole: bool = False,
    known: frozenset[bytes] = frozenset(),
) -> Rebuilt | None:
    """Make the index anew and put it in place; None if that was not needed.

    Without `always`, only if the index still cannot be opened once the lock is held. `strict` refuses
    to go back to an older operation. `whole` reads every frame and leaves out what does not hold.
    `known`: data packs that count, by an index that can still be asked.
    Raises Damaged where no operation can be read.
    """
    files = PackFiles(f"{control}/packs")
    folder = f"{control}/index"
    try:
        with FolderLock(files.folder):
            if not always and (is_open(folder) or not problem_before_opening(folder)):
                return None
            prepared = f"{control}/tmp/index-{os.getpid()}"
            disk.mkdir(f"{control}/tmp")
            disk.remove_tree(prepared)
            disk.mkdir(prepared)
            rebuilt = _fill(prepared, files, _Judged(set(known), set()), whole=whole)
            if strict and rebuilt.lost:
                raise _lost(rebuilt.lost)
            _swap(control, prepared)
            return rebuilt
    finally:
        files.close()


def _lost(operations: list[Digest]) -> Damaged:
    ids = ", ".join(id.short() for id in operations)
    return Damaged(f"the refs of the newest operations cannot be read: {ids}")


def _swap(control: str, prepared: str) -> None:
    folder, old = f"{control}/index", f"{control}/tmp/index-old-{os.getpid()}"
    disk.remove_tree(old)
    if os.path.isdir(folder):
        disk.rename(folder, old)
    disk.rename(prepared, folder)
    disk.fsync_folder(control)
    disk.remove_tree(old)


def _fill(folder: str, files: PackFiles, judged: _Judged, *, whole: bool) -> Rebuilt:
    environment = Environment(folder, readonly=False)
    environment.users = 1
    try:
        while True:
            try:
                with environment.begin(write=True) as txn:
                    return _index_all(Change(txn), files, judged, whole=whole)
            except _Undecided:
                continue
            except lmdb.MapFullError:
                environment.grow()
    except lmdb.Error as error:
        raise explain(error) from error
    finally:
        environment.close()


def _index_all(change: Change, files: PackFiles, judged: _Judged, *, whole: bool) -> Rebuilt:
    journals, packs = _sorted_packs(files)
    if not journals:
        raise Damaged("no journal is left: the refs of this repository are lost")
    deltas: Places = []
    groups, end = _read_journals(files, journals, deltas, whole=whole)
    published = {name for id, place in groups if place.kind == PACKS for name in _names(files, id, place)}
    torn = _torn(files, packs, published, judged)
    tables: dict[bytes, Places] = {}
    for name in packs:
        if name not in torn and name not in judged.garbage:
            tables[name] = _add_pack(change, files, name, deltas, whole=whole)
            change.put("packs", name, b"")
    change.add_places(groups)
    deltas = _add_deltas(change, files, deltas, whole=whole)
    for name in torn:
        _add_pack(change, files, name, deltas, whole=whole)
    deltas = _add_deltas(change, files, deltas, whole=whole)
    if not whole:
        change.add_places(deltas)  # a base is lost, as `fsck` will tell
    _register(change, files, _in_order(files, groups, tables))
    if torn:
        _judge(change, files, groups, torn, judged)
        raise _Undecided
    state = State(0, bytes(32), bytes(32), journals[-1].ordinal, end, journals[-1].name)
    return _follow(change, files, state, groups)


def _read_journals(
    files: PackFiles, journals: list[Header], deltas: Places, *, whole: bool
) -> tuple[Places, int]:
    """Their frames in order, and where the last one ends."""
    groups: Places = []
    end = HEADER_SIZE
    for header in journals:
        before = len(deltas)
        places = _read_places(files, header.name, deltas, whole=whole)
        groups += places
        ends = [place.offset + place.size for _id, place in chain(places, deltas[before:])]
        end = max(ends, default=HEADER_SIZE)
    return groups, end


def _torn(files: PackFiles, packs: list[bytes], published: set[bytes], judged: _Judged) -> list[bytes]:
    """Packs without an end of which it is not known yet whether anything needs them."""
    known = published | judged.listed | judged.garbage
    return [name for name in packs if name not in known and is_torn(files.path(name), name)]


def _judge(change: Change, files: PackFiles, groups: Places, torn: list[bytes], judged: _Judged) -> None:
    """Tell packs without an end that operations, steps or runs need from garbage."""
    objects = Group(change, files)
    roots = [Item(Kind.OPERATION, id) for id, _operation in _operations(objects, groups)]
    roots += [Item(Kind.RUN, id) for _key, id in change.items("runs")]
    roots += [Item(Kind.STEP, id) for _key, id in change.items("steps")]
    judged.listed.update(needed(change, objects, set(torn), roots))
    judged.garbage.update(set(torn) - judged.listed)


def _add_pack(change: Change, files: PackFiles, name: bytes, deltas: Places, *, whole: bool) -> Places:
    """Record the frames of a data pack; returns its steps and runs."""
    places = _read_places(files, name, deltas, whole=whole)
    change.add_places(places)
    return [(id, place) for id, place in places if place.kind in _REGISTERED]


def _read_places(files: PackFiles, name: bytes, deltas: Places, *, whole: bool) -> Places:
    """The frames of a pack, and apart from them deltas: their bases may follow. `whole`: those that hold."""
    places = read_places(files.path(name), name)
    deltas += [(id, place) for id, place in places if place.bases]
    full = [(id, place) for id, place in places if not place.bases]
    return [one for one in full if not whole or _holds(files, *one)]


def _holds(files: PackFiles, id: bytes, place: Place, base: bytes = b"") -> bool:
    try:
        files.read(id, place, base)
    except Damaged:
        return False
    return True


def _add_deltas(change: Change, files: PackFiles, deltas: Places, *, whole: bool) -> Places:
    """Put deltas into the index, those behind their bases that are deltas too; returns those without bases.

    Two writers may have stored two objects at once, each of them one as a delta of the other: so of several
    frames of an object the one counts that has the fewest bases in a row, or they would lie in a ring.
    """
    left = found = deltas
    while left and found:
        deltas, left, found = left, [], []
        for id, place in deltas:
            is_based = all(change.get("objects", base) is not None for base in place.bases)
            (found if is_based else left).append((id, place))
        change.add_places(
            one for one in found if not whole or _holds(files, *one, _bytes_of(change, files, one[1]))
        )
    return left


def _bytes_of(change: Change, files: PackFiles, place: Place) -> bytes:
    """What a delta is to be applied to; it was found to hold."""
    found = [(base, change.place(base, Kind.CHUNK)) for base in place.bases]
    return b"".join(files.read(id, one, _bytes_of(change, files, one)) for id, one in found if one)


def _sorted_packs(files: PackFiles) -> tuple[list[Header], list[bytes]]:
    """The journals in their order, and the names of the data packs."""
    headers = {name: read_header(files.path(name)) for name in files.names()}
    journals = [
        header for name, header in headers.items() if header and header.name == name and header.ordinal
    ]
    packs = [
        name for name, header in headers.items() if header and header.name == name and not header.ordinal
    ]
    for name, header in headers.items():
        if header is None:
            _guess(files, name, journals, packs)
    return sorted(journals, key=lambda header: header.ordinal), packs


def _guess(files: PackFiles, name: bytes, journals: list[Header], packs: list[bytes]) -> None:
    """Sort in a pack with a damaged header: its frames still hold, and only journals hold operations."""
    kinds = {place.kind for _id, place in read_places(files.path(name), name)}
    if Kind.OPERATION in kinds:
        taken = {header.ordinal for header in journals}
        journals.append(Header(name, next(number for number in count(1) if number not in taken)))
    elif kinds:
        packs.append(name)


def _in_order(files: PackFiles, groups: Places, tables: dict[bytes, Places]) -> Iterator[tuple[bytes, Place]]:
    """Steps and runs as they were published: data packs stand where a packs frame names them, others last."""
    for id, place in groups:
        if place.kind in _REGISTERED:
            yield id, place
        elif place.kind == PACKS:
            for name in _names(files, id, place):
                yield from tables.pop(name, [])
    for rest in tables.values():
        yield from rest


def _names(files: PackFiles, id: bytes, place: Place) -> list[bytes]:
    try:
        payload = files.read(id, place)
    except (Damaged, MissingPack):
        return []
    return [payload[at : at + NAME_SIZE] for at in range(0, len(payload), NAME_SIZE)]


def _register(change: Change, files: PackFiles, places: Iterator[tuple[bytes, Place]]) -> None:
    """Steps and runs all of whose parts are there: of others a collector has left some frames."""
    objects = Group(change, files)
    whole = Whole(objects, lambda id: change.get("objects", id) is not None)
    known: set[bytes] = set()
    for id, place in places:
        if id in known:
            continue
        if not whole.has(Item(Kind(place.kind), id)):
            change.put("lost", id, b"")
            continue
        known.add(id)
        if place.kind == Kind.RUN:
            change.add_run(id)
        else:
            change.add_step(get_record(objects, Step, id).key, id)


def _follow(change: Change, files: PackFiles, state: State, groups: Places) -> Rebuilt:
    """Make the newest operation current whose refs can be read."""
    objects = Group(change, files)
    operations = _operations(objects, groups)
    lost = []
    for id, operation in reversed(operations):
        try:
            refs = dict(map_items(objects, operation.refs))
        except Damaged:
            lost.append(Digest(id))
            continue
        change.put_many("refs", refs.items())
        change.set_state(state._replace(sequence=operation.sequence, operation=id, refs=operation.refs))
        return Rebuilt(sum(1 for _ in change.items("objects")), Digest(id), lost)
    raise Damaged("no operation can be read from any journal: the refs of this repository are lost")


def _operations(objects: Group, groups: Places) -> list[tuple[bytes, Operation]]:
    """The operations that count, oldest first."""
    found: list[tuple[bytes, Operation]] = []
    for id, place in groups:
        if place.kind == Kind.VOID and found and found[-1][0] == id:
            found.pop()
        if place.kind != Kind.OPERATION:
            continue
        try:
            operation = get_record(objects, Operation, id)
        except Damaged:
            continue
        if not found or operation.sequence > found[-1][1].sequence:
            found.append((id, operation))
    return found
