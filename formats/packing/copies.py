"""Copies and insertions: bytes as pieces of a base and what is new between them (docs/format.md, 4.2).

Invariant: `follow(copies_of(data, base), base)` is `data`. Meant for few edits, each found with some
comparisons and searches at the speed of memory; where there are many it gives up quickly.
Source of the idea: the delta encoding of Git's packs; instructions and search are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer

NEEDLE: Final = 48
"""Bytes that must agree for both sides to count as being in step again."""
_SKIPS: Final = (0, 4, 8, 16, 24, 40, 64, 96, 160, 256, 416, 672)
_COPY_LEAST: Final = 8
_BEHIND: Final = 256
_AHEAD: Final = 4_096
_NEAR, _SURE = 64, 96
_EDITS_LEAST: Final = 32
_EDIT_EACH: Final = 2_048
"""Bytes of the data: as many edits as it has of these are looked for, and `_EDITS_LEAST` in any case."""
_LOST_MOST: Final = 4
_MANY, _EARLY = 4, 6  # that part of these edits in that part of the data foretells too many
_MANY_LEAST: Final = 24  # fewer may just lie close together at the front
_FIRST_STEP: Final = 512
_SHORT: Final = 64
_STEP_MOST: Final = 65_536
_GRID: Final = 4_096
_WORD: Final = 8
_STEADY: Final = 4  # where more than that part of all words differs, something was moved


def copies_of(data: bytes, base: bytes, most: int, shifts: Sequence[int] = ()) -> bytes | None:
    """The instructions that make `data` of `base`; None where they are many, or more than `most` bytes.

    `shifts`: guesses at where in the base the first byte of the data would lie.
    """
    out = Instructions()
    at = lost = edits = 0
    allowed = most_edits(len(data))
    there = max(0, min(shifts, default=0))
    while at < len(data):
        same = _common(data, at, base, there)
        if same >= _COPY_LEAST or not at:
            out.copy(there, same)
        else:
            out.insert(data[at : at + same])
        at, there = at + same, there + same
        if at == len(data):
            break
        found = _in_step(data, at, base, there) or _on_grid(data, at, base, shifts)
        found = found or _anywhere(data, at, base)
        if found is None:
            lost, shifts = lost + 1, ()
            skip = min(_SKIPS[-1], len(data) - at)
            found = at + skip, there + skip
        edits += 1
        if edits == max(allowed // _MANY, _MANY_LEAST) and at < len(data) // _EARLY:
            return None
        out.insert(data[at : found[0]])
        at, there = found
        if lost > _LOST_MOST or edits > allowed or out.size > most:
            return None
    written = out.finish()
    return written if len(written) <= most else None


def edits_in_place(data: bytes, base: bytes) -> list[tuple[int, int]] | None:
    """Where words of eight bytes differ, as runs; None where many do, or the lengths: out of step."""
    import numpy as np

    if len(data) != len(base) or len(data) % _WORD:
        return None
    mine, theirs = (np.frombuffer(one, "<u8") for one in (data, base))
    differs = np.flatnonzero(mine != theirs)
    if len(differs) > len(mine) // _STEADY:
        return None
    is_first = np.append(True, np.diff(differs) != 1)[: len(differs)]
    starts, stops = differs[is_first], differs[np.append(is_first[1:], True)[: len(differs)]] + 1
    return list(zip((_WORD * starts).tolist(), (_WORD * stops).tolist(), strict=True))


def edited(data: bytes, edits: Sequence[tuple[int, int]]) -> bytes:
    """The instructions for these edits in place."""
    out, at = Instructions(), 0
    for start, stop in edits:
        out.copy(at, start - at)
        out.insert(data[start:stop])
        at = stop
    out.copy(at, len(data) - at)
    return out.finish()


def most_edits(size: int) -> int:
    """How many are worth instructions of their own in so many bytes."""
    return max(_EDITS_LEAST, size // _EDIT_EACH)


def _common(data: bytes, at: int, base: bytes, there: int) -> int:
    """How many bytes are equal from here on."""
    most, done, step = min(len(data) - at, len(base) - there), 0, _FIRST_STEP
    while done < most:
        size = min(step, most - done)
        start, other = at + done, there + done
        if data[start : start + size] != base[other : other + size]:
            return done + _first_difference(data[start : start + size], base[other : other + size])
        done, step = done + size, min(step * 4, _STEP_MOST)
    return max(done, 0)


def _first_difference(one: bytes, other: bytes) -> int:
    low, high = 0, len(one)
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _in_step(data: bytes, at: int, base: bytes, there: int) -> tuple[int, int] | None:
    """The nearest positions close behind an edit from where both sides agree again, or None.

    Far from there, and for a short while only, they may agree by chance, as lengths of texts do: then those
    from where they agree longest.
    """
    best, most = None, 0
    for skip in _SKIPS:
        start = at + skip
        if start + NEEDLE > len(data):
            return (len(data), there) if best is None else _begin(data, at, best[0], base, best[1])
        found = base.find(data[start : start + NEEDLE], max(0, there - _BEHIND), start - at + there + _AHEAD)
        if found < 0:
            continue
        is_near = abs(found - start - there + at) <= _NEAR
        if is_near or data[start : start + _SURE] == base[found : found + _SURE]:
            return _begin(data, at, start, base, found)
        same = _common(data, start, base, found)
        if same > most:
            best, most = (start, found), same
    return None if best is None else _begin(data, at, best[0], base, best[1])


def _on_grid(data: bytes, at: int, base: bytes, shifts: Sequence[int]) -> tuple[int, int] | None:
    """The nearest positions further on from where both sides agree under one of the guesses, or None."""
    for start in range(at, len(data) - NEEDLE + 1, _GRID):
        needle = data[start : start + NEEDLE]
        for shift in shifts:
            if start + shift >= 0 and base.startswith(needle, start + shift):
                return _begin(data, at, start, base, start + shift)
    return None


def _anywhere(data: bytes, at: int, base: bytes) -> tuple[int, int] | None:
    """Where in the base the next bytes lie, or None."""
    found = base.find(data[at : at + NEEDLE])
    return None if found < 0 else (at, found)


def _begin(data: bytes, at: int, start: int, base: bytes, found: int) -> tuple[int, int]:
    """Where the bytes that agree at `start` and `found` begin to agree, not before `at`."""
    most = min(start - at, found)
    size = min(most, _SHORT)
    while size:
        if data[start - size : start] == base[found - size : found]:
            start, found, most = start - size, found - size, most - size
            size = min(most, 2 * size)
        else:
            size //= 2
            most = min(most, 2 * size)
    return start, found


def shares(data: bytes, base: bytes, shifts: Sequence[int]) -> bool:
    """Whether some bytes of the data are found in the base: by the guesses, else somewhere."""
    if _on_grid(data, 0, base, shifts) is not None:
        return True
    places = (len(data) * part // 16 for part in (5, 11))
    return any(data[place : place + NEEDLE] in base for place in places if place + NEEDLE <= len(data))


class Instructions:
    """Instructions being written: numbers as LEB128, positions relative to where the last copy ended."""

    def __init__(self) -> None:
        self._done, self._new, self._end = bytearray(), bytearray(), 0

    @property
    def size(self) -> int:
        return len(self._done) + len(self._new)

    def insert(self, data: bytes) -> None:
        self._new += data

    def copy(self, start: int, size: int) -> None:
        if size:
            self._flush()
            away = start - self._end
            self._number(size << 1 | 1)
            self._number(away << 1 if away >= 0 else ~away << 1 | 1)
            self._end = start + size

    def finish(self) -> bytes:
        self._flush()
        return bytes(self._done)

    def _flush(self) -> None:
        if self._new:
            self._number(len(self._new) << 1)
            self._done += self._new
            self._new.clear()

    def _number(self, value: int) -> None:
        while value > 127:
            self._done.append(value & 127 | 128)
            value >>= 7
        self._done.append(value)


def follow(instructions: bytes, base: Buffer, length: int) -> bytes:
    """Make the `length` bytes again. Raises Damaged where the instructions lead elsewhere."""
    return b"".join(pieces(instructions, base, length))


def pieces(instructions: bytes, base: Buffer, length: int) -> list[Buffer]:
    """What the `length` bytes are put together from. Raises Damaged as `follow` does."""
    out: list[Buffer] = []
    size, at, there = 0, 0, 0
    view = memoryview(base)
    while at < len(instructions):
        number, at = _number(instructions, at)
        count = number >> 1
        size += count
        if size > length:
            break
        if number & 1:
            away, at = _number(instructions, at)
            there += ~(away >> 1) if away & 1 else away >> 1
            if there < 0 or there + count > len(base):
                raise Damaged("a delta copies from outside of its base")
            out.append(view[there : there + count])
            there += count
        else:
            out.append(instructions[at : at + count])
            at += count
    if size != length or at != len(instructions):
        raise Damaged(f"a delta does not make the {length} bytes it should")
    return out


def copied(instructions: bytes) -> list[tuple[int, int, int]]:
    """What is copied: from where in the data, from where in the base, how many bytes. Raises Damaged."""
    found, size, at, there = [], 0, 0, 0
    while at < len(instructions):
        number, at = _number(instructions, at)
        count = number >> 1
        if number & 1:
            away, at = _number(instructions, at)
            there += ~(away >> 1) if away & 1 else away >> 1
            found.append((size, there, count))
            there += count
        else:
            at += count
        size += count
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number of at most five bytes, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise Damaged("a delta holds a number that does not end")
