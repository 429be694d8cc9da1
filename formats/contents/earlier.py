"""The earlier version of a file beside a new one: which old pieces each new piece probably resembles.

Invariant: this decides about space alone, never about content or ids; a wrong guess costs bytes. Both
versions are in step where pieces are equal or cut alike; what lies between two such places is like what
lay between them, as seen from either. It reads the list of old pieces, as far as needed, and no piece.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from aq.formats.contents.chunking import LONGEST
from aq.formats.errors import Damaged
from aq.formats.identity import Digest
from aq.formats.packing.packs import BASES_MOST

if TYPE_CHECKING:
    from aq.formats.contents.files import Piece

REACH: Final = 3 << 20
"""Bytes from a place where both are in step within which pieces are compared with what lay there."""
_AHEAD: Final = 2 << 30
_KNOWN_MOST: Final = 1 << 17
"""Old pieces that are kept in mind, of some 32 GiB: what lies behind them has no bases."""
_AWAY: Final = 2_048
_LEAST: Final = 1_024
_IN_A_ROW: Final = 3
_OF_ONE_KIND: Final = 64


class Near(NamedTuple):
    """Old pieces that, one after the other, hold what a new one probably resembles.

    `shifts`: guesses at where its first byte would lie in them; `sure`: whether both are cut alike.
    """

    ids: tuple[bytes, ...]
    shifts: tuple[int, ...]
    sure: bool


class _Step(NamedTuple):
    """A place where both versions are in step: its offset in the new one and in the old one."""

    new: int
    old: int


class Earlier:
    """The old pieces of a file of `size` bytes, and how far the new version has come beside them.

    `sure`: whether pieces that are cut alike mostly are alike; numbers of a model seldom are.
    """

    def __init__(self, pieces: Iterator[Piece], size: int, *, sure: bool = True) -> None:
        self._rest, self._size, self._sure = pieces, size, sure
        self._lock = Lock()
        self._ids: list[Digest] = []
        self._starts = [0]  # and where the last one ends
        self._places: dict[bytes, int] = {}
        self._pairs: dict[tuple[int, int], list[int]] = {}
        self._step, self._new, self._next = _Step(0, 0), 0, 0

    def guess(self, offset: int, room: int) -> tuple[int, list[int]]:
        """How the new version is cut from `offset` on if it goes on like the old one, as far as that begins.

        The number of the first old piece, and the lengths of those that would begin within `room` bytes. Only
        such as have more than the longest piece behind their begin: what is left decides about others.
        """
        with self._lock:
            old = offset - self._step.new + self._step.old
            self._know(old + room + LONGEST + 1)
            first = at = bisect_left(self._starts, old)
            lengths: list[int] = []
            if at < len(self._ids) and self._starts[at] == old:
                most = min(old + room, self._size - LONGEST)
                while at < len(self._ids) and self._starts[at] < most and self._length(at) <= LONGEST:
                    lengths.append(self._length(at))
                    at += 1
            return first, lengths

    def holds(self, number: int, ids: Sequence[bytes]) -> bool:
        """Whether the old pieces from this number on have these ids."""
        return list(ids) == self._ids[number : number + len(ids)]

    def near(self, ids: Sequence[bytes], lengths: Sequence[int], *, ended: bool) -> list[Near | None]:
        """For each of the next new pieces what it resembles; `ended`: whether the file ends with them."""
        with self._lock:
            return self._near(ids, lengths, ended=ended)

    def _near(self, ids: Sequence[bytes], lengths: Sequence[int], *, ended: bool) -> list[Near | None]:
        found: list[Near | None] = [None] * len(ids)
        offsets, begin = list(accumulate(lengths, initial=self._new)), 0
        for number, id in enumerate(ids):
            at = self._equal(id, offsets[number])
            if at is not None:
                self._between(found, offsets, begin, number, _Step(offsets[number], self._starts[at]))
                self._pass(offsets[number + 1], at)
                begin = number + 1
        self._between(found, offsets, begin, len(ids), _Step(offsets[-1], self._size) if ended else None)
        self._new = offsets[-1]
        return found

    def _pass(self, new: int, at: int) -> None:
        """Both versions are in step behind the old piece `at`."""
        self._step, self._next = _Step(new, self._starts[at + 1]), at + 1

    def _equal(self, id: bytes, new: int) -> int | None:
        """The old piece that is the new one at offset `new`."""
        if self._next == len(self._ids):
            self._know(self._starts[-1] + 1)
        if self._next < len(self._ids) and self._ids[self._next] == id:
            return self._next
        self._know(new - self._step.new + self._step.old + _AHEAD)
        return self._places.get(id)

    def _know(self, offset: int) -> None:
        """Read the list of old pieces up to an offset."""
        while self._starts[-1] < offset and len(self._ids) < _KNOWN_MOST:
            try:
                piece = next(self._rest, None)
            except Damaged:  # what cannot be read resembles nothing
                piece = None
            if piece is None:
                self._rest = iter(())
                return
            at = len(self._ids)
            self._ids.append(piece.id)
            self._starts.append(self._starts[-1] + piece.length)
            self._places.setdefault(piece.id, at)
            if at:
                pair = self._length(at - 1) >> 9, piece.length >> 9
                self._pairs.setdefault(pair, []).append(at - 1)

    def _between(
        self, found: list[Near | None], offsets: list[int], begin: int, end: int, to: _Step | None
    ) -> None:
        """Find what new pieces between two places in step resemble; behind them lies `to`, where known."""
        for number in range(begin, end):
            at = self._alike(offsets, number, end)
            if at is not None:
                self._guess(found, offsets, begin, number, _Step(offsets[number], self._starts[at]))
                found[number] = Near((self._ids[at],), (0,), sure=self._sure)
                self._pass(offsets[number + 1], at)
                begin = number + 1
        self._guess(found, offsets, begin, end, to)

    def _alike(self, offsets: list[int], number: int, end: int) -> int | None:
        """An old piece that begins and ends as a new one does, or is the first of some as long as these."""
        begin, length = offsets[number], offsets[number + 1] - offsets[number]
        expected = begin - self._step.new + self._step.old
        at = bisect_right(self._starts, expected + _AWAY) - 1
        is_there = at < len(self._ids) and abs(self._starts[at] - expected) <= _AWAY
        if is_there and abs(self._length(at) - length) <= length >> 7:
            return at
        if number + _IN_A_ROW > end:
            return None
        wanted = [offsets[each + 1] - offsets[each] for each in range(number, number + _IN_A_ROW)]
        some = [at for at in self._beginning(*wanted[:2]) if self._are(at, wanted)]
        return min(some, key=lambda at: abs(at - self._next), default=None)

    def _beginning(self, one: int, two: int) -> Iterator[int]:
        """Old pieces about as long as `one`, followed by one about as long as `two`."""
        for first in range((one >> 9) - 1, (one >> 9) + 2):
            for second in range((two >> 9) - 1, (two >> 9) + 2):
                places = self._pairs.get((first, second), ())
                if len(places) <= _OF_ONE_KIND:
                    yield from places

    def _length(self, at: int) -> int:
        return self._starts[at + 1] - self._starts[at]

    def _are(self, at: int, lengths: list[int]) -> bool:
        """Whether old pieces have nearly these lengths."""
        return at + len(lengths) <= len(self._ids) and all(
            abs(self._length(at + number) - length) <= 64 + (length >> 11)
            for number, length in enumerate(lengths)
        )

    def _guess(
        self, found: list[Near | None], offsets: list[int], begin: int, end: int, to: _Step | None
    ) -> None:
        """What pieces resemble of which nothing is known but their neighbours."""
        step = self._step
        if to is not None and to.old < step.old:
            to = None  # something was moved
        for number in range(begin, end):
            shifts = []
            if offsets[number] - step.new < REACH:
                shifts.append(step.old - step.new)
            if to is not None and to.new - offsets[number + 1] < REACH:
                shifts.append(to.old - to.new)
            if shifts:
                limits = step.old, self._size if to is None else to.old
                found[number] = self._covering(offsets[number : number + 2], set(shifts), limits)

    def _covering(self, span: list[int], shifts: set[int], limits: tuple[int, int]) -> Near | None:
        """The old pieces that lie where a new one does when it is shifted, those first that cover most."""
        covered: dict[int, int] = {}
        firsts: list[tuple[int, int]] = []
        for shift in sorted(shifts):
            low, high = max(span[0] + shift, limits[0]), min(span[1] + shift, limits[1])
            at = max(bisect_right(self._starts, low) - 1, 0)
            while at < len(self._ids) and self._starts[at] < high:
                size = min(high, self._starts[at + 1]) - max(low, self._starts[at])
                if size >= _LEAST:
                    covered[at] = covered.get(at, 0) + size
                    firsts.append((at, span[0] + shift - self._starts[at]))
                at += 1
        if not covered:
            return None
        chosen = sorted(sorted(covered, key=lambda at: -covered[at])[:BASES_MOST])
        before = dict(zip(chosen, accumulate(map(self._length, chosen), initial=0), strict=False))
        places = {before[at] + away for at, away in firsts if at in before}
        return Near(tuple(self._ids[at] for at in chosen), tuple(sorted(places)), sure=False)
