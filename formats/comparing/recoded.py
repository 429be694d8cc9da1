"""What may have happened to texts, cell by cell: values that have other names now.

Invariant: as in `units`, a guess is made only where nearly all pairs agree with it. Forms of texts,
which need no counterpart, are judged there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from aq.formats.comparing.units import AGREEING, Guess

NAMES_MOST: Final = 20
_TOLD_MOST: Final = 3
_CELLS_LEAST: Final = 10
"""Cells of each value, on average: fewer may have come to agree by chance."""


def guess_recoded(before: Sequence[str | None], after: Sequence[str | None]) -> Guess | None:
    """`android → Android?`: few values, each of which nearly always became the same other one."""
    counts = Counter(
        (old, new) for old, new in zip(before, after, strict=True) if old is not None and new is not None
    )
    became: dict[str, str] = {}
    for (old, new), _ in counts.most_common():
        became.setdefault(old, new)
    if not 0 < len(became) <= NAMES_MOST or counts.total() < _CELLS_LEAST * len(became):
        return None
    if sum(counts[pair] for pair in became.items()) < AGREEING * len(before):
        return None
    told = [f"{old} → {new}" for old, new in list(became.items())[:_TOLD_MOST]]
    return Guess(f"{', '.join(told)}{', …' if len(became) > _TOLD_MOST else ''}?")
