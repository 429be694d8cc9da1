"""Lines of two or three versions of a text side by side: what is equal, and three-way merges.

Invariant: a merge takes what only one side changed; lines that both changed, or that meet, are a
conflict, as in git. Source: Khanna, Kunal, Pierce, "A formal investigation of diff3", 2007.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple, TypeVar

L = TypeVar("L", str, bytes)
_JUNK_FROM: Final = 10_000
"""Lines: of longer texts those that are everywhere are no anchors, or it takes minutes."""


class Run(NamedTuple):
    """Equal lines: first line in the new text, first line in the old one, length."""

    new: int
    old: int
    length: int


def matching_lines(old: Sequence[L], new: Sequence[L]) -> list[Run]:
    """Runs of equal lines, in order on both sides."""
    same = min(len(old), len(new))
    head = next((at for at in range(same) if old[at] != new[at]), same)
    tail = next((at for at in range(same - head) if old[-1 - at] != new[-1 - at]), same - head)
    middle = old[head : len(old) - tail], new[head : len(new) - tail]
    matcher = SequenceMatcher(None, *middle, autojunk=max(map(len, middle)) > _JUNK_FROM)
    found = [Run(0, 0, head)]
    found += [Run(head + to, head + at, size) for at, to, size in matcher.get_matching_blocks()]
    found.append(Run(len(new) - tail, len(old) - tail, tail))
    return [one for one in found if one.length]


class Clash(NamedTuple):
    """Lines that both sides changed: the first one's number in ours, and what each version has there."""

    line: int
    base: list[bytes]
    ours: list[bytes]
    theirs: list[bytes]


def merge_lines(
    base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]
) -> tuple[list[bytes], list[Clash]]:
    """The merged lines, and where the sides clash; there the lines of ours stand."""
    merged: list[bytes] = []
    clashes: list[Clash] = []
    at = [0, 0, 0]
    for start, mine, other, length in _shared(base, ours, theirs):
        parts = [
            list(side[a:b]) for side, a, b in zip((base, ours, theirs), at, (start, mine, other), strict=True)
        ]
        before, left, right = parts
        if right == before or left == right:
            merged += left
        elif left == before:
            merged += right
        else:
            clashes.append(Clash(at[1], before, left, right))
            merged += left
        merged += base[start : start + length]
        at = [start + length, mine + length, other + length]
    return merged, clashes


def _shared(
    base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]
) -> Iterator[tuple[int, int, int, int]]:
    """Runs that all three have: first line in base, ours and theirs, and length; then the three ends."""
    left, right = matching_lines(base, ours), matching_lines(base, theirs)
    a = b = 0
    while a < len(left) and b < len(right):
        one, other = left[a], right[b]
        start = max(one.old, other.old)
        stop = min(one.old + one.length, other.old + other.length)
        if start < stop:
            yield start, one.new + start - one.old, other.new + start - other.old, stop - start
        if one.old + one.length <= other.old + other.length:
            a += 1
        else:
            b += 1
    yield len(base), len(ours), len(theirs), 0
