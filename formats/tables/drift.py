"""How far two samples of a column lie apart: population stability index and Kolmogorov–Smirnov distance.

Invariant: pure functions of the samples; missing values are a class of their own for PSI and left out
of KS. Both are 0 for equal samples; neither says whether the difference matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from aq.formats.tables.units import ks_distance

Floats = npt.NDArray[np.float64]

BINS: Final = 10
"""Classes of equal weight before; the usual number for PSI."""
_RARE: Final = 1e-4
"""The least share of a class: an empty one would make the index infinite."""


def number_psi(before: Floats, after: Floats) -> float:
    """PSI over deciles of `before`, NaN being one class more.

    Source: Siddiqi, Credit Risk Scorecards, 2006: the sum over classes of (p − q) · ln(p ÷ q). Below 0.1
    is usually read as stable, above 0.25 as shifted.
    """
    known = before[~np.isnan(before)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    return _index(*(_counts(np.searchsorted(edges, sample, "left"), sample, len(edges) + 2)
                    for sample in (before, after)))  # fmt: skip


def _counts(classes: npt.NDArray[np.int64], sample: Floats, size: int) -> list[int]:
    found = np.bincount(np.where(np.isnan(sample), size - 1, classes), minlength=size)
    return [int(count) for count in found]


def text_psi(before: Sequence[str | None], after: Sequence[str | None]) -> float:
    """PSI over the commonest values of `before`, all others being one class and missing ones another."""
    common = {text for text, _ in Counter(text for text in before if text is not None).most_common(BINS)}

    def counts(sample: Sequence[str | None]) -> list[int]:
        found = Counter(text if text is None or text in common else False for text in sample)
        return [found[one] for one in [*sorted(common), None, False]]

    return _index(counts(before), counts(after))


def _index(before: Sequence[int], after: Sequence[int]) -> float:
    if not sum(before) or not sum(after):
        return 0.0
    p, q = (np.maximum(np.array(counts) / sum(counts), _RARE) for counts in (before, after))
    return float(np.sum((q - p) * np.log(q / p)))


def ks(before: Floats, after: Floats) -> float | None:
    """The greatest gap between both distributions, 0 to 1; None where one sample holds no number."""
    left, right = (np.sort(sample[np.isfinite(sample)]) for sample in (before, after))
    return ks_distance(left, right) if len(left) and len(right) else None
