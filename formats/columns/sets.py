"""Row numbers and hashes as sets: arrays of distinct values, ascending.

Invariant: what comes out is such a set; `common` and `without` want sets. By sorting alone: numpy's own
`unique` finds integers with a hash table, which takes a hundred times as long for a hundred thousand.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Each value once."""
    ordered = np.sort(values, axis=None)
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]


def common(left: npt.NDArray[Number], right: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """What both hold."""
    found: npt.NDArray[Any] = np.intersect1d(left, right, assume_unique=True)
    return found


def without(left: npt.NDArray[Number], right: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """What only the left one holds."""
    found: npt.NDArray[Any] = np.setdiff1d(left, right, assume_unique=True)
    return found
