"""Segments of a new table that lead: those after them may store their texts as words of theirs.

Invariant: this decides about space alone, never about content or ids. Leaders are stored before what leans
on them, in full (the store takes none that was there before as something else): no row of bases grows.
"""

from __future__ import annotations

from collections.abc import Sequence

from aq.formats.identity import Kind, object_id
from aq.formats.packing.growth import VARIABLE, layout_of, rows_of
from aq.formats.packing.packs import NEW_ID


class Leading:
    """The chunks of texts of the segment that leads: the first one, then each that is twice as long."""

    def __init__(self) -> None:
        self._rows = 0
        self._leaders: dict[int, bytes] = {}
        self.is_needed = False
        """Whether the segment that was given last leads, and is to be stored before the next one is given."""

    def bases(self, _start: int, blobs: Sequence[bytes]) -> list[bytes | None]:
        """For each column of a segment what its texts may be words of; None of others, and where it leads."""
        texts = [at for at, blob in enumerate(blobs) if layout_of(blob) == VARIABLE]
        if texts and rows_of(blobs[texts[0]]) >= 2 * self._rows:
            self._rows = rows_of(blobs[texts[0]])
            self._leaders = {at: NEW_ID + object_id(Kind.CHUNK, blobs[at]) for at in texts}
            self.is_needed = True
            return [None] * len(blobs)
        return [self._leaders.get(at) for at in range(len(blobs))]
