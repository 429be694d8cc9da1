"""How far two samples of a column lie apart: population stability index and Kolmogorov–Smirnov distance.

Invariant: pure functions of the samples; missing values are a class of their own for PSI and left out
of KS. Both are 0 for equal samples and say nothing of chance; `shift` does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from aq.formats.comparing.units import ks_distance

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
    return _index(*_number_classes(before, after))


def _number_classes(before: Floats, after: Floats) -> tuple[list[int], list[int]]:
    """How many values of each sample lie between deciles of `before`; how many are missing comes last."""
    known = before[~np.isnan(before)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    places = (np.searchsorted(edges, sample, "left") for sample in (before, after))
    left, right = (_counts(place, sample, len(edges) + 2)
                   for place, sample in zip(places, (before, after), strict=True))  # fmt: skip
    return left, right


def _counts(classes: npt.NDArray[np.int64], sample: Floats, size: int) -> list[int]:
    found = np.bincount(np.where(np.isnan(sample), size - 1, classes), minlength=size)
    return [int(count) for count in found]


def text_psi(before: Sequence[str | None], after: Sequence[str | None]) -> float:
    """PSI over the commonest values of `before`, all others being one class and missing ones another."""
    return _index(*_text_classes(before, after))


def _text_classes(before: Sequence[str | None], after: Sequence[str | None]) -> tuple[list[int], list[int]]:
    common = {text for text, _ in Counter(text for text in before if text is not None).most_common(BINS)}

    def counts(sample: Sequence[str | None]) -> list[int]:
        found = Counter(text if text is None or text in common else False for text in sample)
        return [found[one] for one in [*sorted(common), None, False]]

    return counts(before), counts(after)


def _index(before: Sequence[int], after: Sequence[int]) -> float:
    if not sum(before) or not sum(after):
        return 0.0
    p, q = (np.maximum(np.array(counts) / sum(counts), _RARE) for counts in (before, after))
    return float(np.sum((q - p) * np.log(q / p)))


def ks(before: Floats, after: Floats) -> float | None:
    """The greatest gap between both distributions, 0 to 1; None where one sample holds no number."""
    left, right = (np.sort(sample[np.isfinite(sample)]) for sample in (before, after))
    return ks_distance(left, right) if len(left) and len(right) else None


class Shift(NamedTuple):
    """How far two samples of a column lie apart, and how often chance alone moves as much (0 to 1)."""

    psi: float
    ks: float | None
    p_value: float


def shift(before: Any, after: Any) -> Shift:
    """Compare two samples of a column: pandas arrays or Series of one dtype, or of any two.

    `p_value` is asymptotic: of the chi-square test of homogeneity over the classes of PSI and, for numbers,
    of the two-sample Kolmogorov–Smirnov test too, the smaller one doubled (Bonferroni).
    """
    left, right = _numbers(before), _numbers(after)
    if left is None or right is None:
        classes = _text_classes(_texts(before), _texts(after))
        return Shift(_index(*classes), None, _homogeneity(*classes))
    classes = _number_classes(left, right)
    gap, chance = ks(left, right), _homogeneity(*classes)
    if gap is not None:
        sizes = (int(np.isfinite(sample).sum()) for sample in (left, right))
        chance = min(1.0, 2 * min(chance, _smirnov(gap, *sizes)))
    return Shift(_index(*classes), gap, chance)


def _numbers(sample: Any) -> Floats | None:
    """A sample as floats, NaN where it has none; None where it is neither of numbers nor of times."""
    import pandas as pd

    series, types = pd.Series(sample), pd.api.types
    if types.is_bool_dtype(series) or isinstance(series.dtype, pd.CategoricalDtype):
        return None
    if types.is_numeric_dtype(series) and not types.is_complex_dtype(series):
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if types.is_datetime64_any_dtype(series) or types.is_timedelta64_dtype(series):
        counted = series.astype("int64").to_numpy(dtype=np.float64)
        return np.where(series.isna().to_numpy(), np.nan, counted)
    return None


def _texts(sample: Any) -> list[str | None]:
    import pandas as pd

    series = pd.Series(sample)
    return [None if gone else str(one) for one, gone in zip(series, series.isna(), strict=True)]


def _homogeneity(before: Sequence[int], after: Sequence[int]) -> float:
    """How often two samples of one population differ as much in their classes: the chi-square test.

    Source of the tail: Wilson and Hilferty, The distribution of chi-square, PNAS 17 (1931).
    """
    a, b = np.array(before, dtype=float), np.array(after, dtype=float)
    n, m, filled = a.sum(), b.sum(), (a + b) > 0
    freedom = int(filled.sum()) - 1
    if not n or not m or freedom < 1:
        return 1.0
    a, b = a[filled], b[filled]
    square = float(np.sum((a * math.sqrt(m / n) - b * math.sqrt(n / m)) ** 2 / (a + b)))
    spread = 2 / (9 * freedom)
    return 0.5 * math.erfc(float((square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(2 * spread))


def _smirnov(gap: float, n: int, m: int) -> float:
    """How often two samples of one population are as far apart: the asymptotic Kolmogorov distribution.

    Source: Stephens, JRSS B 32 (1970), for the correction to finite samples.
    """
    root = math.sqrt(n * m / (n + m))
    reach = (root + 0.12 + 0.11 / root) * gap
    if reach < 0.3:
        return 1.0
    terms = (math.exp(-2 * k * k * reach * reach) * (1 if k % 2 else -1) for k in range(1, 30))
    return min(1.0, max(0.0, 2 * sum(terms)))
