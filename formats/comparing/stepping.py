"""The rows of some segments of two versions, lined up by some columns.

Invariant: what is found is what all hashes at once would give; read are some segments at a time, both sides
together, because chunks that are made from each other are unpacked once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from aq.formats.columns.rowhash import Words
from aq.formats.comparing.sequence import Aligned, align
from aq.formats.comparing.sides import Column, Side, hashes_of_both
from aq.formats.tables.content import Segment

_BATCH: Final = 16


def in_step(
    before: Side, left: Sequence[Segment], after: Side, right: Sequence[Segment], columns: Sequence[Column]
) -> Aligned:
    """Line up the rows of these segments; positions are among them."""
    starts = iter(range(0, max(len(left), len(right)), _BATCH))

    def more() -> tuple[Words, Words]:
        start = next(starts, None)
        if start is None:
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        stop = start + _BATCH
        return hashes_of_both(before, left[start:stop], after, right[start:stop], columns)

    return align(more)
