"""Snapshots: maps from path to entry, the content of a commit.

Invariant: an entry has one encoding (docs/format.md, section 6); whatever else a hostile
snapshot holds raises Damaged when it is read. Knows no folder and no history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from typing import Final, NamedTuple

import msgspec
from aq.formats.errors import Damaged
from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source, SourceAndSink, get_record
from aq.formats.records import Artifact, MappedItem, Step, decode as decode_record
from aq.formats.trees.prolly import build_map, list_items, map_diff, map_edit, map_get, map_items, map_runs
from aq.store.system.paths import decode, encode


class Origin(IntEnum):
    """Where a path's content comes from."""

    FILE = 0
    MADE = 1
    GIVEN = 2


class Mode(IntEnum):
    """How a tracked file lies in the folder."""

    FILE = 0
    EXEC = 1
    SYMLINK = 2


class Entry(NamedTuple):
    """What a snapshot says about one path."""

    artifact: Digest
    origin: Origin
    step: Digest | None = None
    mode: Mode = Mode.FILE


class Touched(NamedTuple):
    """What a command did to one path of the folder; None is no file."""

    before: Entry | None
    after: Entry | None


class Tally(NamedTuple):
    """How many paths differ between two snapshots, and by how many logical bytes the second is larger."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    growth: int = 0


PathChange = tuple[str, Entry | None, Entry | None]
"""A path with its entry before and after; None where the snapshot lacks it."""

PackedTouched = tuple[bytes | None, bytes | None]
"""As `Touched`, with packed entries of tracked files."""

_Raw = tuple[bytes, int, bytes | None, int]
_HEAD: Final = b"\x94\xc4\x20"
_FILE_TAILS: Final = {bytes((0, 0xC0, mode)): mode for mode in Mode}
_TAILS: Final = {mode: tail for tail, mode in _FILE_TAILS.items()}
FILE_ENTRY_SIZE: Final = 38
_PAIR: Final = b"\x92"
_NIL: Final = b"\xc0"
_decoder = msgspec.msgpack.Decoder(_Raw)
_touched = msgspec.msgpack.Decoder(tuple[_Raw | None, _Raw | None])


def pack(entry: Entry) -> bytes:
    """The bytes of an entry."""
    return msgspec.msgpack.encode(_raw(entry))


def pack_file(artifact: bytes, mode: Mode) -> bytes:
    """The bytes of a tracked file's entry."""
    return _HEAD + artifact + _TAILS[mode]


def _raw(entry: Entry) -> _Raw:
    step = None if entry.step is None else bytes(entry.step)
    return bytes(entry.artifact), int(entry.origin), step, int(entry.mode)


def unpack(value: bytes) -> Entry:
    """Read an entry. Raises Damaged on anything that `pack` does not write."""
    if is_file(value):
        return Entry(Digest(value[3:35]), Origin.FILE, None, _FILE_TAILS[value[35:]])
    try:
        entry = _entry(_decoder.decode(value))
    except (msgspec.DecodeError, ValueError) as error:
        raise Damaged(f"a snapshot's entry cannot be read: {error}") from None
    if pack(entry) != value:
        raise Damaged("a snapshot's entry is not in canonical form")
    return entry


def _entry(raw: _Raw) -> Entry:
    """Raises ValueError where the parts do not go together."""
    origin, mode = Origin(raw[1]), Mode(raw[3])
    step = None if raw[2] is None else Digest(raw[2])
    if (step is None) != (origin is not Origin.MADE) or (mode and origin is not Origin.FILE):
        raise ValueError(f"an entry of origin {origin.name.lower()} does not go with its step and mode")
    return Entry(Digest(raw[0]), origin, step, mode)


def is_file(value: bytes) -> bool:
    """Whether a packed entry is that of a tracked file."""
    return len(value) == FILE_ENTRY_SIZE and value[:3] == _HEAD and value[35:] in _FILE_TAILS


def are_files(values: Sequence[bytes]) -> bool:
    """Whether all packed entries are those of tracked files; much faster than one by one."""
    count, column = len(values), b"".join(values)
    if set(map(len, values)) - {FILE_ENTRY_SIZE}:
        return False
    fixed = ((0, 0x94), (1, 0xC4), (2, 0x20), (35, 0), (36, 0xC0))
    if any(column[at::FILE_ENTRY_SIZE] != bytes((byte,)) * count for at, byte in fixed):
        return False
    return max(column[37::FILE_ENTRY_SIZE], default=0) <= max(Mode)


def pack_touched(touched: Touched) -> bytes:
    """The bytes of one entry in an operation's `files`."""
    pair = [None if entry is None else _raw(entry) for entry in touched]
    return msgspec.msgpack.encode(pair)


def unpack_touched(value: bytes) -> Touched:
    """Read one entry of an operation's `files`. Raises Damaged."""
    try:
        before, after = _touched.decode(value)
        return Touched(before and _entry(before), after and _entry(after))
    except (msgspec.DecodeError, ValueError) as error:
        raise Damaged(f"a record of an overwritten file cannot be read: {error}") from None


def join_touched(before: bytes | None, after: bytes | None) -> bytes:
    """As `pack_touched`, from packed entries."""
    return _PAIR + (before or _NIL) + (after or _NIL)


def split_touched(value: bytes) -> PackedTouched:
    """As `unpack_touched`, but strict: anything but tracked files and None raises Damaged."""
    begin = 2 if value[1:2] == _NIL else 1 + FILE_ENTRY_SIZE
    before, after = value[1:begin], value[begin:]
    if value[:1] != _PAIR or not all(each == _NIL or is_file(each) for each in (before, after)):
        raise Damaged("a record of an overwritten file cannot be read")
    return (None if before == _NIL else before), (None if after == _NIL else after)


def empty(sink: Sink) -> Digest:
    """The snapshot without paths."""
    return build_map(sink, [])


def get_entry(source: Source, root: bytes, path: str) -> Entry | None:
    """What a snapshot says about `path`, or None; of an item of a map (FLOW/NAME/KEY), what its map says."""
    value = map_get(source, root, encode(path))
    return unpack(value) if value is not None else _item(source, root, path)


def _item(source: Source, root: bytes, path: str) -> Entry | None:
    """An item is found through the step of its map."""
    above, _, key = path.rpartition("/")
    below = items_below(source, root, above) if "/" in above else ()
    return next((entry for name, entry in below if name == key), None)


def items_below(source: Source, root: bytes, path: str) -> Iterator[tuple[str, Entry]]:
    """(key, entry) of each item of a map whose result lies at `path`, in their order."""
    value = map_get(source, root, encode(path))
    entry = None if value is None else unpack(value)
    if entry is None or entry.step is None:
        return
    step = get_record(source, Step, entry.step)
    output = next((at for at, (_, id) in enumerate(step.outputs) if id == entry.artifact), 0)
    for one in items_of(source, step):
        if output < len(one.outputs):
            yield one.key, Entry(Digest(one.outputs[output][0]), Origin.MADE, Digest(one.step))


def items_of(source: Source, step: Step) -> Iterator[MappedItem]:
    """The items of a map's step, in their order."""
    if step.items is not None:
        yield from (decode_record(MappedItem, one) for one in list_items(source, step.items))


def entries(source: Source, root: bytes, *, prefix: str = "") -> Iterator[tuple[str, Entry]]:
    """All paths, in the order of their bytes.

    With `prefix` "a/b" that path and what lies below it, with "a/b/" only what lies below it.
    """
    folder = encode(prefix)
    below = map_items(source, root, prefix=folder)
    found = below if folder[-1:] == b"/" else packed_entries(source, root, prefix=folder)
    for path, value in found:
        yield decode(path), unpack(value)


def packed_entries(source: Source, root: bytes, *, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """As `entries`, undecoded."""
    if prefix:
        own = map_get(source, root, prefix)
        if own is not None:
            yield prefix, own
        prefix += b"/"
    yield from map_items(source, root, prefix=prefix)


def file_runs(source: Source, root: bytes, prefix: bytes) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Paths and packed entries of the tracked files at and below a path, in order, some at a time."""
    own = map_get(source, root, prefix) if prefix else None
    runs = map_runs(source, root, prefix=prefix + b"/" if prefix else b"")
    for keys, values in runs if own is None else chain([([prefix], [own])], runs):
        if are_files(values):
            yield keys, values
        else:
            kept = [number for number, value in enumerate(values) if is_file(value)]
            yield [keys[number] for number in kept], [values[number] for number in kept]


def edit(objects: SourceAndSink, root: bytes, changes: Mapping[str, Entry | None]) -> Digest:
    """The snapshot after setting entries, or dropping those that are None."""
    packed = {encode(path): None if entry is None else pack(entry) for path, entry in changes.items()}
    return map_edit(objects, root, sorted(packed.items()))


def changes(source: Source, before: bytes, after: bytes) -> Iterator[PathChange]:
    """Paths whose entries differ, in order. Reads O(differences · log paths) nodes."""
    for path, old, new in map_diff(source, before, after):
        yield decode(path), None if old is None else unpack(old), None if new is None else unpack(new)


def tally(source: Source, before: bytes, after: bytes) -> Tally:
    """What makes the difference. Reads the artifact of every path that differs."""
    added = changed = removed = growth = 0
    for _, old, new in map_diff(source, before, after):
        added += old is None
        removed += new is None
        changed += old is not None and new is not None
        growth += 0 if new is None else artifact_size(source, unpack(new).artifact)
        growth -= 0 if old is None else artifact_size(source, unpack(old).artifact)
    return Tally(added, changed, removed, growth)


def artifact_size(source: Source, id: bytes) -> int:
    """The logical bytes of an artifact; 0 where it is lost."""
    try:
        return get_record(source, Artifact, id).size
    except Damaged:
        return 0


def build_touched(sink: Sink, files: Mapping[bytes, PackedTouched]) -> Digest | None:
    """The root of an operation's `files`, or None where nothing was touched."""
    if not files:
        return None
    return build_map(sink, ((path, join_touched(*both)) for path, both in sorted(files.items())))


def touched(source: Source, root: bytes) -> Iterator[tuple[bytes, PackedTouched]]:
    """Read an operation's `files`."""
    for path, value in map_items(source, root):
        yield path, split_touched(value)
