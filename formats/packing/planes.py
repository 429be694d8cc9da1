"""Byte planes: the values of a table chunk, their first bytes together, then their second ones, and so on.

Invariant: `join(split(data)) == data` for every chunk that `shape` knows; lengths never change. Integers and
times differ in few of their bytes, so planes take half the time and space to compress. It looks at nothing
but the head of an array (docs/format.md, section 8.2) and decides nothing about codecs.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer

WIDTHS: Final = frozenset({2, 4, 8, 16})
_head = Struct("<IBBH")
_FIXED: Final = 1


class Shape(NamedTuple):
    """Where the values of a chunk begin and end, and how many bytes each has."""

    start: int
    stop: int
    width: int


def shape(data: Buffer) -> Shape | None:
    """The values of an array of a fixed width above one byte; None for every other chunk."""
    if len(data) < _head.size:
        return None
    count, layout, validity, width = _head.unpack_from(data)
    if layout != _FIXED or validity > 1 or width not in WIDTHS or not count:
        return None
    start = _head.size + (count + -count % 8 if validity else 0)
    stop = start + count * width
    return Shape(start, stop, width) if stop + -stop % 8 == len(data) else None


def split(data: Buffer, found: Shape) -> memoryview:
    """The chunk with its values as planes."""
    import numpy as np

    whole = np.frombuffer(data, np.uint8)
    out = np.empty_like(whole)
    out[: found.start], out[found.stop :] = whole[: found.start], whole[found.stop :]
    values = whole[found.start : found.stop].reshape(-1, found.width)
    np.copyto(out[found.start : found.stop].reshape(found.width, -1), values.T)
    return out.data


def join(data: Buffer, room: Callable[[int], memoryview]) -> memoryview:
    """The chunk again, in what `room` gives. Raises Damaged where its head tells of no such values."""
    import numpy as np

    found = shape(data)
    if found is None:
        raise Damaged("a frame of planes holds no array of a fixed width")
    view, out = memoryview(data), room(len(data))
    out[: found.start], out[found.stop :] = view[: found.start], view[found.stop :]
    planes = np.frombuffer(view[found.start : found.stop], np.uint8).reshape(found.width, -1)
    values = np.frombuffer(out[found.start : found.stop], np.uint8).reshape(-1, found.width)
    np.copyto(values, planes.T)  # in one call: each lets go of Python's lock and waits to have it back
    return out
