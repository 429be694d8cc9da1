"""Arrays that grow: the rows behind an earlier array, and arrays made of several (docs/format.md, 8.2).

Invariant: `tail` is canonical for the rows it holds, and what `joined` tells makes exactly its `data`. Only
arrays of fixed width and of texts or binaries are known here, and segments packed of such, by nothing but
their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from aq.formats.identity import Buffer
from aq.formats.packing.copies import Instructions, follow

FIXED: Final = 1
VARIABLE: Final = 2
_head: Final = Struct("<IBBH")
HEAD: Final = _head.size
"""Bytes that an array begins with: how many rows it has, and how they lie."""
_packed: Final = Struct("<II")
_COLUMNS_MOST: Final = 4_096


class Array(NamedTuple):
    """Where the parts of an array lie in its bytes; `width`: of its values, 0 for texts."""

    rows: int
    layout: int
    width: int
    has_nulls: bool
    lengths: int
    body: int
    end: int
    stop: int


class Run(NamedTuple):
    """An array and its bytes, and where in its object it begins."""

    array: Array
    view: memoryview
    offset: int


def array_of(data: Buffer) -> Array | None:
    """The array that these bytes are; None where they are none of the two layouts."""
    found = array_at(memoryview(data))
    return found if found is not None and found.stop == len(data) else None


def array_at(view: memoryview) -> Array | None:
    """The array that these bytes begin with."""
    if len(view) < _head.size:
        return None
    rows, layout, nulls, width = _head.unpack_from(view)
    if nulls > 1 or layout not in (FIXED, VARIABLE) or (layout == FIXED) != (width > 0):
        return None
    lengths = _head.size + (padded(rows) if nulls else 0)
    if layout == FIXED:
        body, end = lengths, lengths + rows * width
    else:
        body = lengths + padded(4 * rows)
        if body > len(view):
            return None
        end = body + _sum(view[lengths : lengths + 4 * rows])
    found = Array(rows, layout, width, bool(nulls), lengths, body, end, padded(end))
    return found if found.stop <= len(view) else None


def _columns(data: Buffer) -> Iterator[Run]:
    """The array that these bytes are, or those that are packed in them (docs/format.md, 8.3)."""
    view = memoryview(data)
    array = array_of(view)
    if array is not None:
        yield Run(array, view, 0)
    rows, at, sizes = _packed_in(view) or (0, 0, ())
    for size in sizes[:_COLUMNS_MOST]:
        array = array_of(view[at : at + size])
        if array is not None and array.rows == rows:
            yield Run(array, view[at : at + size], at)
        at += size


def rows_of(data: Buffer) -> int:
    """How many rows an array has."""
    return int(_head.unpack_from(data)[0])


def layout_of(data: Buffer) -> int:
    """How an array lies."""
    return int(_head.unpack_from(data)[1])


def is_packed(data: Buffer) -> bool:
    """Whether these bytes lie as a segment packed into one chunk does."""
    return _packed_in(memoryview(data)) is not None


def _packed_in(view: memoryview) -> tuple[int, int, tuple[int, ...]] | None:
    """How many rows a packed segment has, where its arrays begin, and their sizes."""
    if len(view) < _packed.size:
        return None
    rows, count = _packed.unpack_from(view)
    at = _packed.size + padded(4 * count)
    if not rows or at > len(view):
        return None
    sizes = Struct(f"<{count}I").unpack_from(view, _packed.size)
    return (rows, at, sizes) if at + sum(sizes) == len(view) else None


def padded(size: int) -> int:
    """The next multiple of 8."""
    return size + -size % 8


def _sum(lengths: memoryview) -> int:
    import numpy as np

    return int(np.frombuffer(lengths, "<u4").sum(dtype=np.uint64))


def tail(data: Buffer, earlier: Buffer) -> bytes | None:
    """The array of the rows of `data` behind those of `earlier`, where it begins with these."""
    view = memoryview(data)
    whole = array_of(view)
    if whole is not None:
        for run in _columns(earlier):
            if 0 < run.array.rows < whole.rows and _agrees(view, whole, run, 0, 0):
                return _behind(view, whole, run.array.rows, run.array.end - run.array.body)
    return None


def _agrees(view: memoryview, whole: Array, run: Run, rows: int, body: int) -> bool:
    """Whether an array has the values that follow in the whole one after so many rows and bytes."""
    part, mine = run.array, run.view
    if part[1:3] != whole[1:3] or rows + part.rows > whole.rows or part.has_nulls > whole.has_nulls:
        return False
    start, size = whole.body + body, part.end - part.body
    if view[start : start + size] != mine[part.body : part.end]:
        return False
    if whole.layout == VARIABLE:
        start = whole.lengths + 4 * rows
        if view[start : start + 4 * part.rows] != mine[part.lengths : part.lengths + 4 * part.rows]:
            return False
    valid = mine[_head.size : _head.size + part.rows] if part.has_nulls else b"\1" * part.rows
    return not whole.has_nulls or view[_head.size + rows : _head.size + rows + part.rows] == valid


def _behind(view: memoryview, whole: Array, rows: int, size: int) -> bytes:
    """The array of the rows after the first ones, whose bodies take `size` bytes."""
    valid = bytes(view[_head.size + rows : _head.size + whole.rows]) if whole.has_nulls else b""
    if 0 not in valid:
        valid = b""
    parts = [_head.pack(whole.rows - rows, whole.layout, bool(valid), whole.width), valid]
    if whole.layout == VARIABLE:
        parts.append(bytes(view[whole.lengths + 4 * rows : whole.lengths + 4 * whole.rows]))
    parts.append(bytes(view[whole.body + size : whole.end]))
    return b"".join(part + bytes(-len(part) % 8) for part in parts)


def joined(data: Buffer, pieces: Sequence[bytes]) -> bytes | None:
    """The instructions (codec 3) that make an array of what these hold of its rows, in order; else None."""
    view = memoryview(data)
    whole, runs, rows, body, before = array_of(view), list[Run](), 0, 0, 0
    if whole is None:
        return None
    for piece in pieces:
        fits = (run for run in _columns(piece) if _agrees(view, whole, run, rows, body))
        run = next(fits, None)
        if run is None:
            return None
        runs.append(run._replace(offset=before + run.offset))
        rows, body = rows + run.array.rows, body + run.array.end - run.array.body
        before += len(piece)
    told = _told(view, whole, runs)
    right = rows == whole.rows and follow(told, b"".join(pieces), len(view)) == view
    return told if right else None


def _told(view: memoryview, whole: Array, runs: Sequence[Run]) -> bytes:
    """The instructions that copy head, validity, lengths and bodies."""
    out = Instructions()
    out.insert(bytes(view[: _head.size]))
    if whole.has_nulls:
        for array, _view, offset in runs:
            if array.has_nulls:
                out.copy(offset + _head.size, array.rows)
            else:
                out.insert(b"\1" * array.rows)
        out.insert(bytes(-whole.rows % 8))
    if whole.layout == VARIABLE:
        for array, _view, offset in runs:
            out.copy(offset + array.lengths, 4 * array.rows)
        out.insert(bytes(-4 * whole.rows % 8))
    for array, _view, offset in runs:
        out.copy(offset + array.body, array.end - array.body)
    out.insert(bytes(-whole.end % 8))
    return out.finish()
