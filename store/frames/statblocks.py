"""The stat database: rows about files, a block of neighbours at a time (docs/format.md, section 6).

Invariant: a file's row lies in the last block of its folder whose name does not follow the file's; what
breaks this is not found, which costs reading a file, never more. Knows no folder of the disk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from aq.store.system.stats import STAT_SIZE
from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from aq.store.frames.index import Change, Look

DATABASE: Final = "stat"
ENTRY_SIZE: Final = 38
ROW_SIZE: Final = STAT_SIZE + ENTRY_SIZE
FOLDER_KEY_SIZE: Final = 16
_SPLIT_BEYOND: Final = 256
_FILES: Final = 128  # of a block that was split: one changed file writes some 12 KiB anew
_COMPARED: Final = 64  # items at once: one change among thousands costs some tens of comparisons
_count = Struct("<I")
_checksum = Struct("<Q")


class Rows(NamedTuple):
    """Files of one folder, in ascending order: their names, their packed stats and entries joined.

    `stats` and `entries` are empty where the files are to be forgotten.
    """

    folder: bytes
    names: list[bytes]
    stats: bytes
    entries: bytes

    def between(self, first: bytes, last: bytes) -> Rows:
        """Those of the files from one name to another one."""
        begin, end = bisect_left(self.names, first), bisect_right(self.names, last)
        return self if end - begin == len(self.names) else self.part(begin, end)

    def part(self, begin: int, end: int) -> Rows:
        """Some of the files, by their numbers."""
        stats = self.stats[begin * STAT_SIZE : end * STAT_SIZE]
        entries = self.entries[begin * ENTRY_SIZE : end * ENTRY_SIZE]
        return Rows(self.folder, self.names[begin:end], stats, entries)

    def each(self) -> Iterator[tuple[bytes, bytes]]:
        """Name and stat ‖ entry of each file."""
        for number, name in enumerate(self.names):
            yield name, self.row(number)

    def row(self, number: int) -> bytes:
        """stat ‖ entry of one file."""
        stat = self.stats[number * STAT_SIZE : (number + 1) * STAT_SIZE]
        return stat + self.entries[number * ENTRY_SIZE : (number + 1) * ENTRY_SIZE]


def joined(folder: bytes, rows: Iterable[tuple[bytes, bytes]]) -> Rows:
    """Rows out of names, ascending, each with its stat ‖ entry."""
    pairs = list(rows)
    stats = b"".join([row[:STAT_SIZE] for _, row in pairs])
    return Rows(folder, [name for name, _ in pairs], stats, b"".join([row[STAT_SIZE:] for _, row in pairs]))


def differing(a: bytes, b: bytes, size: int) -> Iterator[int]:
    """The numbers of the items of `size` bytes that differ between two runs of equally many."""
    if a == b:
        return
    step = _COMPARED * size
    for begin in range(0, len(a), step):
        if a[begin : begin + step] != b[begin : begin + step]:
            for at in range(begin, min(begin + step, len(a)), size):
                if a[at : at + size] != b[at : at + size]:
                    yield at // size


def encode(rows: Rows) -> bytes:
    """The value of a block, checksum and all: nothing but this cache says which file holds what."""
    body = b"".join((_count.pack(len(rows.names)), rows.stats, rows.entries, b"/".join(rows.names)))
    return body + _checksum.pack(xxh3_64_intdigest(body))


def decode(key: bytes, value: bytes) -> Rows | None:
    """The rows of a block; None where this is none. A value of one bare row is what aq once wrote."""
    folder, name = key[:FOLDER_KEY_SIZE], key[FOLDER_KEY_SIZE:]
    if len(value) == ROW_SIZE:
        return Rows(folder, [name], value[:STAT_SIZE], value[STAT_SIZE:])
    last = len(value) - _checksum.size
    if last < _count.size or _checksum.unpack_from(value, last)[0] != xxh3_64_intdigest(value[:last]):
        return None
    count = _count.unpack_from(value)[0]
    middle = _count.size + count * STAT_SIZE
    end = middle + count * ENTRY_SIZE
    names = value[end:last].split(b"/")
    if len(names) != count or end > last:
        return None
    return Rows(folder, names, value[_count.size : middle], value[middle:end])


def of_folder(look: Look, folder: bytes) -> Rows:
    """All rows of a folder, by the key of the folder."""
    blocks = [decode(key, value) for key, value in look.items(DATABASE, prefix=folder)]
    found = [block for block in blocks if block is not None]
    if len(found) == 1:
        return found[0]
    names = [name for block in found for name in block.names]
    stats, entries = b"".join([b.stats for b in found]), b"".join([b.entries for b in found])
    return Rows(folder, names, stats, entries)


def row_of(look: Look, folder: bytes, name: bytes) -> bytes | None:
    """stat ‖ entry of one file, or None."""
    block = _block_of(look, folder, name)
    return None if block is None else dict(block[1].each()).get(name)


def update(change: Change, learned: Iterable[Rows]) -> None:
    """Set rows, or drop those of files to be forgotten."""
    for rows in learned:
        begin, total = 0, len(rows.names)
        while begin < total:
            block = _block_of(change, rows.folder, rows.names[begin])
            start, old = (rows.folder, None) if block is None else block
            behind = next(change.items(DATABASE, prefix=rows.folder, start=start + b"\0"), None)
            end = total
            if behind is not None:
                end = max(bisect_left(rows.names, behind[0][FOLDER_KEY_SIZE:], begin), begin + 1)
            _write(change, start, _merged(old, rows.part(begin, end)))
            begin = end


def drop(change: Change, dead: set[bytes]) -> None:
    """Forget all files whose artifact is one of these."""
    for key, value in list(change.items(DATABASE)):
        block = decode(key, value)
        if block is None:
            change.delete(DATABASE, key)
            continue
        kept = [one for one in block.each() if one[1][STAT_SIZE + 3 : -3] not in dead]
        if len(kept) < len(block.names):
            _write(change, key, joined(block.folder, kept))


def _block_of(look: Look, folder: bytes, name: bytes) -> tuple[bytes, Rows] | None:
    """Key and rows of the block in which a file's row lies or would lie."""
    found = next(look.before(DATABASE, folder + name + b"\0"), None)
    if found is None or not found[0].startswith(folder):
        return None
    return found[0], decode(*found) or Rows(folder, [], b"", b"")


def _merged(old: Rows | None, new: Rows) -> Rows:
    if new.stats and (old is None or set(new.names).issuperset(old.names)):
        return new
    kept = dict(old.each()) if old is not None else {}
    if new.stats:
        kept.update(new.each())
    else:
        for name in new.names:
            kept.pop(name, None)
    return joined(new.folder, sorted(kept.items()))


def _write(change: Change, start: bytes, rows: Rows) -> None:
    """Put rows in place of the block at the key `start`, in blocks of a fair size."""
    if not rows.names:
        change.delete(DATABASE, start)
        return
    total = len(rows.names)
    step = total if total <= _SPLIT_BEYOND else _FILES
    for begin in range(0, total, step):
        key = rows.folder + rows.names[begin] if begin else start
        change.put(DATABASE, key, encode(rows.part(begin, begin + step)))
