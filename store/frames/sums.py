"""Checksums of the pages of the index, in a file beside it: LMDB has none.

Invariant: they are a claim about one transaction, and one that only accuses: where they are missing,
of another transaction or damaged themselves, nothing follows; where a page in use differs from its sum,
the page is damaged. Written whenever a process that wrote to the index closes it.
"""

from __future__ import annotations

import os
from array import array
from struct import Struct
from typing import Final, NamedTuple

from aq.store.system import disk
from xxhash import xxh3_64_intdigest

NAME: Final = "sums"
BYTES_MOST: Final = 64 << 20
"""The longest index that has sums: to read 64 MiB takes 12 ms at each opening."""
_AT_ONCE: Final = 1 << 20
_MAGIC: Final = b"aq sums1"
_head = Struct("<8sQII")  # magic, transaction, bytes of a page, pages
_checksum = Struct("<Q")


class Sums(NamedTuple):
    """The XXH3 of each page as of `transaction`; that of the other meta page says nothing."""

    transaction: int
    page: int
    pages: array[int]


def take(fd: int, transaction: int, page: int) -> Sums:
    """The sums of the file as it is. A read transaction must keep others from writing over its pages."""
    pages: array[int] = array("Q")
    buffer = memoryview(bytearray(_AT_ONCE))
    offset = 0
    while size := os.preadv(fd, (buffer,), offset):
        size -= size % page
        pages.extend([xxh3_64_intdigest(buffer[at : at + page]) for at in range(0, size, page)])
        offset += size
        if not size:
            break  # half a page at the end
    return Sums(transaction, page, pages)


def differing(then: Sums, now: Sums) -> list[int]:
    """The pages that are not as they were; those behind the end of either do not count."""
    other_meta = (then.transaction + 1) & 1
    if then.pages == now.pages:
        return []
    pairs = enumerate(zip(then.pages, now.pages, strict=False))
    return [number for number, (old, new) in pairs if old != new and number != other_meta]


def load(folder: str) -> Sums | None:
    """The sums that lie beside the index in `folder`, or None."""
    try:
        with open(os.path.join(folder, NAME), "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return None
    if len(data) < _head.size:
        return None
    magic, transaction, page, count = _head.unpack_from(data)
    end = _head.size + 8 * count
    if magic != _MAGIC or len(data) < end + _checksum.size:
        return None
    if _checksum.unpack_from(data, end)[0] != xxh3_64_intdigest(memoryview(data)[:end]):
        return None
    pages: array[int] = array("Q")
    pages.frombytes(data[_head.size : end])
    return Sums(transaction, page, _native(pages))


def store(folder: str, sums: Sums) -> None:
    """Write them, over the old ones: half-written ones have no checksum that holds. Raises Refused."""
    head = _head.pack(_MAGIC, sums.transaction, sums.page, len(sums.pages))
    data = head + _native(sums.pages).tobytes()
    path = os.path.join(folder, NAME)
    try:
        fd = disk.open_existing(path)
    except FileNotFoundError:
        fd = disk.create(path)
    try:
        disk.write_at(fd, data + _checksum.pack(xxh3_64_intdigest(data)), 0, path=path)
    finally:
        os.close(fd)


def _native(pages: array[int]) -> array[int]:
    """Little-endian numbers as this machine's, or the other way round."""
    if memoryview(Struct("=H").pack(1))[0]:
        return pages
    swapped = pages[:]
    swapped.byteswap()
    return swapped
