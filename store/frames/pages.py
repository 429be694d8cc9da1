"""The pages of LMDB's data file, looked at one by one: what a flipped bit does to them is found here.

Invariant: the file is read with `pread`, never through a map, so that no damage can stop the process;
what passes can be read and written by LMDB. What keys and values mean is not known here.
Layout: `mdb.c` of LMDB 0.9 (data format 1), in the byte order of this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import le
from struct import Struct
from sys import byteorder
from typing import Final, NamedTuple

META_BYTES: Final = 152
USED: Final = 1
FREE: Final = 2
_META_MAGIC: Final = 0xBEEFC0DE
_PAGE_LEAST: Final = 512
_PAGE_MOST: Final = 32_768
_HEADER: Final = 16
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_BIG: Final = 1
_INTEGER_KEYS: Final = 8
_NONE: Final = (1 << 64) - 1
_DEPTH_MOST: Final = 32
_meta = Struct("=II8xQ")
_tree = Struct("=IHHQQQQQ")
_ends = Struct("=QQ")
_header = Struct("=QHHHH")
_node = Struct("=HHHH")
_u32 = Struct("=I")
_overflow = Struct("=Q2xHI")
_u64 = Struct("=Q")

Read = Callable[[int, int], bytes]
"""Size and offset to bytes of the data file; fewer at its end."""


class Tree(NamedTuple):
    """One of the two trees that a meta page names; `root` is None where it is empty."""

    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int | None


class Meta(NamedTuple):
    """What a meta page says: the state of the file after one transaction.

    Where it could not be written, LMDB puts its old number and size back, beside the new trees.
    """

    page: int
    free: Tree
    main: Tree
    last: int
    transaction: int

    @property
    def size(self) -> int:
        """Bytes of all pages that were ever taken; the last ones may be free, and not in the file."""
        return (self.last + 1) * self.page

    @property
    def is_likely(self) -> bool:
        """Whether these trees can lie in such a file."""
        return all(map(_is_likely, (self.free, self.main), (self.last, self.last)))


class BadPage(Exception):
    """Why the file is not what LMDB wrote."""


def metas(read: Read) -> list[Meta]:
    """Both meta pages. Raises BadPage where one is damaged, or they are not of neighbouring transactions."""
    start = read(META_BYTES, 0)
    size = _u32.unpack_from(start, 40)[0] if len(start) == META_BYTES else 0
    if not _PAGE_LEAST <= size <= _PAGE_MOST or size & (size - 1):
        raise BadPage("data.mdb has no meta page")
    found = [_read_meta(data, number) for number, data in enumerate((start, read(META_BYTES, size)))]
    older, newer = sorted(found, key=lambda meta: meta.transaction)
    if not newer.is_likely:  # the other may name trees that never were: see `Meta`
        raise BadPage("a meta page of data.mdb is damaged")
    if newer.transaction and (
        newer.transaction - older.transaction != 1 or newer is not found[newer.transaction & 1]
    ):
        raise BadPage("the meta pages of data.mdb do not follow each other")
    if older.page != newer.page:
        raise BadPage("the meta pages of data.mdb differ in the size of a page")
    return found


def newest(found: list[Meta]) -> Meta:
    """The meta page that counts."""
    return max(found, key=lambda meta: meta.transaction)


def _read_meta(data: bytes, number: int) -> Meta:
    if len(data) < META_BYTES or _meta.unpack_from(data, 16)[:2] != (_META_MAGIC, 1):
        raise BadPage("a meta page of data.mdb is damaged")
    page, _pad, flags, _lower, _upper = _header.unpack_from(data)
    last, transaction = _ends.unpack_from(data, 136)
    trees = []
    for offset in (40, 88):
        _psize, kind, depth, branches, leaves, overflows, entries, root = _tree.unpack_from(data, offset)
        trees.append(Tree(kind, depth, branches, leaves, overflows, entries, None if root == _NONE else root))
    found = Meta(_u32.unpack_from(data, 40)[0], trees[0], trees[1], last, transaction)
    if page != number or flags != _META or last < 1:
        raise BadPage("a meta page of data.mdb is damaged")
    if trees[0].flags & _INTEGER_KEYS != _INTEGER_KEYS or trees[1].flags:
        raise BadPage("a meta page of data.mdb is damaged")
    return found


def _is_likely(tree: Tree, last: int) -> bool:
    if tree.root is None:
        return not (tree.depth or tree.branches or tree.leaves or tree.overflows or tree.entries)
    pages = tree.branches + tree.leaves + tree.overflows
    return 2 <= tree.root <= last and 1 <= tree.depth <= _DEPTH_MOST and tree.leaves > 0 and pages < last


def check(read: Read, meta: Meta) -> bytearray:
    """Both trees as of a meta page, and the list of free pages. Raises BadPage.

    Returns for each page whether it is USED, FREE, or unknown to both (0). The transaction must
    be kept from being overwritten meanwhile: by a read transaction, or a lock.
    """
    taken = bytearray(meta.last + 1)
    taken[0] = taken[1] = USED
    for tree, name in ((meta.main, "tree"), (meta.free, "list of free pages")):
        look = _Look(read, meta, tree, taken)
        if tree.root is not None:
            look.page(tree.root, tree.depth, None, None)
        if look.met != [tree.branches, tree.leaves, tree.overflows, tree.entries]:
            raise BadPage(f"the {name} of data.mdb is not as large as its meta page says")
    return taken


class _Look:
    """One pass over a tree. `taken` has a byte for each page of the file that was met."""

    def __init__(self, read: Read, meta: Meta, tree: Tree, taken: bytearray) -> None:
        self.read = read
        self.size = meta.page
        self.last = meta.last
        self.taken = taken
        self.is_free_list = bool(tree.flags & _INTEGER_KEYS)
        self.met = [0, 0, 0, 0]  # branches, leaves, overflows, entries

    def page(self, number: int, depth: int, low: bytes | None, high: bytes | None) -> None:
        """A page and what lies below it; its keys are at least `low` and below `high`."""
        self._take(number)
        data = self.read(self.size, number * self.size)
        if len(data) < self.size:
            raise _behind(number)
        kind = _BRANCH if depth > 1 else _LEAF
        found, _pad, flags, lower, upper = _header.unpack_from(data)
        places = memoryview(data)[_HEADER : max(lower, _HEADER)]
        if (found, flags) != (number, kind) or not lower <= upper <= self.size or lower & 1:
            raise _damaged(number)
        offsets = places.cast("H").tolist()
        if len(offsets) < (2 if kind == _BRANCH else 1) or not all(
            upper <= at <= self.size - 8 for at in offsets
        ):
            raise _damaged(number)
        if kind == _LEAF:
            self.met[1] += 1
            self.met[3] += len(offsets)
            self._order(number, self._leaf(number, data, offsets, upper), low, high)
            return
        self.met[0] += 1
        keys, children = self._branch(number, data, offsets, upper)
        self._order(number, keys, low, high)
        for child, start, end in zip(children, [low, *keys], [*keys, high], strict=True):
            self.page(child, depth - 1, start, end)

    def _take(self, number: int, count: int = 1) -> None:
        if number < 2 or number + count - 1 > self.last:
            raise BadPage(f"data.mdb names a page {number}, which it does not have")
        if any(self.taken[number : number + count]):
            raise BadPage(f"page {number} of data.mdb is used twice")
        self.taken[number : number + count] = b"\1" * count

    def _leaf(self, number: int, data: bytes, offsets: list[int], upper: int) -> list[bytes]:
        """The keys of a leaf, whose nodes fill it to the end; what lies in other pages is looked at."""
        keys, used, unpack, end = [], 0, _node.unpack_from, self.size
        for at in offsets:
            low, high, flags, size = unpack(data, at)
            start, length = at + 8 + size, low | high << 16
            stored = 8 if flags == _BIG else length
            if flags > _BIG or not size or start + stored > end:
                raise _damaged(number)
            keys.append(data[at + 8 : start])
            used += (9 + size + stored) & ~1
            if flags:
                self._overflow(_u64.unpack_from(data, start)[0], length)
            elif self.is_free_list:
                self._free(data[start : start + length])
        if used != end - upper:
            raise _damaged(number)
        return keys

    def _branch(
        self, number: int, data: bytes, offsets: list[int], upper: int
    ) -> tuple[list[bytes], list[int]]:
        """The keys between the children of a branch, and the children's pages."""
        keys, children, used = [], [], 0
        for at in offsets:
            low, high, higher, size = _node.unpack_from(data, at)
            children.append(low | high << 16 | higher << 32)
            keys.append(data[at + 8 : at + 8 + size])
            used += (9 + size) & ~1
            if at + 8 + size > self.size:
                raise _damaged(number)
        if used != self.size - upper or not all(keys[1:]):
            raise _damaged(number)
        return keys[1:], children

    def _order(self, number: int, keys: list[bytes], low: bytes | None, high: bytes | None) -> None:
        """The keys ascend, and lie where the page above says."""
        if self.is_free_list and all(len(key) == 8 for key in keys):
            keys = [_big_endian(key) for key in keys]
            low, high = low and _big_endian(low), high and _big_endian(high)
        if any(map(le, keys[1:], keys)) or (low and keys[0] < low) or (high and keys[-1] >= high):
            raise BadPage(f"the keys on page {number} of data.mdb are in disorder")

    def _overflow(self, number: int, length: int) -> None:
        """Pages that hold one value; those of the free list are read."""
        count = (_HEADER - 1 + length) // self.size + 1
        self._take(number, count)
        head = self.read(_HEADER, number * self.size)
        if len(head) < _HEADER or not self.read(1, (number + count) * self.size - 1):
            raise _behind(number)
        if _overflow.unpack(head) != (number, _OVERFLOW, count):
            raise _damaged(number)
        self.met[2] += count
        if self.is_free_list:
            self._free(self.read(length, number * self.size + _HEADER))

    def _free(self, value: bytes) -> None:
        """One value of the free list: how many pages, and which."""
        count = _u64.unpack_from(value)[0] if len(value) >= 8 and len(value) % 8 == 0 else len(value)
        if count >= len(value) // 8 and count:
            raise BadPage("the list of free pages of data.mdb is damaged")
        for page in memoryview(value)[8 : 8 + count * 8].cast("Q"):
            self._take(page)
            self.taken[page] = FREE


def _damaged(number: int) -> BadPage:
    return BadPage(f"page {number} of data.mdb is damaged")


def _behind(number: int) -> BadPage:
    return BadPage(f"page {number} lies behind the end of data.mdb")


def _big_endian(key: bytes) -> bytes:
    return int.from_bytes(key, byteorder).to_bytes(8, "big")
