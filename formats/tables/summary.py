"""Statistics of each column, taken while the segments stream by: nulls, range, mean, spread.

Invariant: the result does not depend on encoding or slicing; every value in it fits in JSON.
It is derived and lies outside every id.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from aq.formats.columns import encodings, physical
from aq.formats.columns.shown import plain, shown, type_text
from aq.formats.columns.types import is_plain
from pyarrow import types as is_

DISTINCT_MOST: Final = 256
TEXTS_MOST: Final = 1 << 20
EACH: Final = 64
"""About how many bytes the statistics of a column take."""
ALWAYS: Final = 64 * 1024
Doubles = npt.NDArray[np.float64]


_SCRATCH: Final = 128 * 1024
_spare: list[tuple[Doubles, Doubles]] = []
"""Room for numbers that nobody uses now: fresh memory costs more than what is done in it."""


@contextmanager
def _scratch(count: int) -> Iterator[tuple[Doubles, Doubles]]:
    """Room for as many numbers, twice."""
    try:
        found = _spare.pop()
    except IndexError:
        found = np.empty(_SCRATCH), np.empty(_SCRATCH)
    if count <= _SCRATCH:
        yield found[0][:count], found[1][:count]
    else:
        yield np.empty(count), np.empty(count)
    _spare.append(found)


class Moments:
    """Count, mean, sum of squared deviations, least and greatest of numbers that arrive in blocks.

    Merging after Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm", 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0
        self.least = math.inf
        self.most = -math.inf

    def add(self, values: npt.NDArray[Any], starts: Sequence[int] = (0,)) -> None:
        """Take over the blocks that begin at these positions, of which some may be empty."""
        if not len(values):
            return
        bounds = [*(start for start, stop in pairwise((*starts, len(values))) if start < stop), len(values)]
        with _scratch(len(values)) as (doubles, shifted):
            if values.dtype == np.float64:
                doubles = values
            else:
                np.copyto(doubles, values, casting="unsafe")
            counts = np.diff(bounds)
            means = (np.add.reduceat(doubles, bounds[:-1]) / counts).tolist()
            for mean, start, stop in zip(means, bounds[:-1], bounds[1:], strict=True):
                np.subtract(doubles[start:stop], mean, out=shifted[start:stop])
            np.multiply(shifted, shifted, out=shifted)  # no BLAS: its threads wait for each other under load
            squares = np.add.reduceat(shifted, bounds[:-1]).tolist()
        for block in zip(counts.tolist(), means, squares, strict=True):
            self._merge(*block)
        self.least = min(self.least, values.min().item())
        self.most = max(self.most, values.max().item())

    def _merge(self, count: int, mean: float, squares: float) -> None:
        total, delta = self.count + count, mean - self.mean
        self.squares += squares + delta * delta * self.count * count / total
        self.mean += delta * count / total
        self.count = total

    @property
    def std(self) -> float:
        """The sample standard deviation; NaN below two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else math.nan


class _Column:
    """What is known of one column so far."""

    def __init__(self) -> None:
        self.nulls = 0
        self.nans = 0
        self.moments = Moments()
        self.range: tuple[Any, Any] | None = None
        self.seen: pa.Array | None = None
        self.counts_distinct = True

    def add(self, array: pa.Array, starts: Sequence[int]) -> None:
        if len(array) == 0:
            return
        if not (is_.is_dictionary(array.type) and is_plain(array.type.value_type)):
            array = encodings.plain(array)
        distinct = self._add_distinct(array)
        array = encodings.plain(array)
        kind = array.type
        self.nulls += array.null_count
        if is_.is_integer(kind) or is_.is_floating(kind) or is_.is_boolean(kind):
            self._add_numbers(array, starts)
        elif _is_ordered(kind):
            self._add_range(array if distinct is None else distinct)

    def _add_numbers(self, array: pa.Array, starts: Sequence[int]) -> None:
        if is_.is_boolean(array.type):
            array = array.cast(pa.uint8())
        valid = physical.validity(array)
        if valid is not None:
            array, starts = array.drop_null(), _kept(starts, valid)
        values = array.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                values = values.astype(np.float64, copy=False)
            if len(values) and np.isnan(values.min()):
                is_number = values == values
                self.nans += len(values) - int(np.count_nonzero(is_number))
                values, starts = values[is_number], _kept(starts, is_number)
        with np.errstate(invalid="ignore", over="ignore"):
            self.moments.add(values, starts)

    def _add_range(self, array: pa.Array) -> None:
        kind = array.type
        if is_.is_duration(kind):  # Arrow compares no durations: their counts it does
            found = pc.min_max(array.cast(pa.int64()))
            low, high = found["min"].cast(kind), found["max"].cast(kind)
        else:
            if is_.is_decimal(kind) and kind.bit_width < 128:  # Arrow compares only the wider ones
                array = array.cast(pa.decimal128(kind.precision, kind.scale))
            found = pc.min_max(array)
            low, high = found["min"], found["max"]
        if not low.is_valid:
            return
        if self.range is None:
            self.range = low, high
            return
        least, most = self.range
        self.range = (
            low if pc.less(low, least).as_py() else least,
            high if pc.less(most, high).as_py() else most,
        )

    def _add_distinct(self, array: pa.Array) -> pa.Array | None:
        """The distinct values of this block where these few are counted."""
        kind = array.type.value_type if is_.is_dictionary(array.type) else array.type
        if not self.counts_distinct or not _is_countable(kind):
            return None
        fresh = found = encodings.plain(array.unique()).unique()
        if self.seen is not None and len(fresh) <= DISTINCT_MOST:
            fresh = pa.concat_arrays([self.seen, fresh.cast(self.seen.type)]).unique()
        self.counts_distinct = len(fresh.drop_null()) <= DISTINCT_MOST and _text_bytes(fresh) <= TEXTS_MOST
        self.seen = fresh if self.counts_distinct else None
        return found

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = {"nulls": self.nulls + self.nans}
        if self.moments.count:
            moments = self.moments
            found |= {"min": plain(moments.least), "max": plain(moments.most)}
            found |= {"mean": plain(moments.mean), "std": plain(moments.std)}
        elif self.range is not None:
            found |= {"min": shown(self.range[0]), "max": shown(self.range[1])}
        if self.counts_distinct and self.seen is not None:
            found["distinct"] = len(self.seen.drop_null())
        return found


def _kept(starts: Sequence[int], kept: npt.NDArray[np.bool_]) -> list[int]:
    """Where blocks begin once only these values are left."""
    before = np.concatenate(([0], np.cumsum(kept)))
    found: list[int] = before[list(starts)].tolist()
    return found


def _text_bytes(array: pa.Array) -> int:
    """The bytes of all texts, so that long ones are not kept for being few."""
    if not physical.is_variable(array.type):
        return 0
    return len(physical.variable_values(array, physical.validity(array))[1])


def _is_countable(kind: pa.DataType) -> bool:
    return bool(is_.is_integer(kind) or physical.is_variable(kind))


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(is_.is_temporal(kind) and not is_.is_interval(kind)) or bool(
        is_.is_string(kind) or is_.is_large_string(kind) or is_.is_decimal(kind)
    )


class Summary:
    """Collects the columns of a table, some segments at a time: how many makes no difference."""

    def __init__(self, columns: Sequence[Any], hidden: Sequence[int] = ()) -> None:
        self.columns = columns
        self.found = {at: _Column() for at in range(len(columns)) if at not in set(hidden)}

    def add(self, at: int, array: pa.Array, starts: Sequence[int] = (0,)) -> None:
        """One column of the next segments, which begin at these of its rows."""
        column = self.found.get(at)
        if column is not None:
            column.add(array, starts)

    def result(self, rows: int, size: int) -> dict[str, Any]:
        """`{"rows": n, "columns": [{"name", "type", "nulls", "min", "max", "mean", "std", "distinct"}]}`.

        Without statistics where they would be longer than the table's `size` bytes: a row of thousands.
        """
        columns = []
        is_short = len(self.found) * EACH > max(ALWAYS, size)
        for at, column in self.found.items():
            name, kind = self.columns[at]
            told = {"nulls": column.nulls + column.nans} if is_short else column.result()
            columns.append({"name": name, "type": type_text(kind)} | told)
        return {"rows": rows, "columns": columns}
