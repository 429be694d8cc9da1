"""A walk along first parents that notices when it is led in a circle.

Invariant: only planted bytes can do that: ids are hashes, but reading checks a frame's checksum alone. Memory
is one id. Source: Brent, An improved Monte Carlo factorization algorithm, 1980.
"""

from __future__ import annotations

from aq.formats.errors import Damaged


class Laps:
    """Told of each id on the way. Raises Damaged in the second round at the latest."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._mark = b""
        self._steps = 0
        self._limit = 2

    def step(self, id: bytes) -> None:
        """Note the next id."""
        if id == self._mark:
            raise Damaged(f"{self._what} {id.hex()} is its own ancestor", hint="aq fsck --full")
        self._steps += 1
        if self._steps == self._limit:
            self._mark, self._steps, self._limit = bytes(id), 0, 2 * self._limit
