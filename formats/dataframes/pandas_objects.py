"""Object columns of pandas: Python objects of one type as an Arrow column, any others as cells.

Invariant: what comes back has the same types and values, and the same missing marker (None, NaN,
NA, NaT) in each row. Where Arrow's type for some objects would lose any of it, cells are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from aq.formats.columns.zones import read_zone, zone_text
from aq.formats.dataframes.cells import read_cell, write_cell
from aq.formats.errors import Damaged, Unstorable

Objects = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_] | None

MARKERS: Final[list[tuple[str, object]]] = [
    ("", None),
    ("None", None),
    ("nan", np.nan),
    ("NA", pd.NA),
    ("NaT", pd.NaT),
]
"""Names and objects of the missing markers; the position is the code in a marker column."""

MIXED: Final = "mixed"
_NAN: Final = 2
_MARKER_TYPES: Final[dict[type, int]] = {type(None): 1, type(pd.NA): 3, type(pd.NaT): 4}
_PLAIN: Final[dict[type, tuple[str, pa.DataType]]] = {
    str: ("str", pa.large_string()),
    bytes: ("bytes", pa.large_binary()),
    bool: ("bool", pa.bool_()),
    float: ("float", pa.float64()),
    date: ("date", pa.date32()),
    timedelta: ("timedelta", pa.duration("us")),
}
_NUMPY: Final = "biuf"


class ObjectColumn(NamedTuple):
    """An object column as Arrow values (null where missing), what they were, and the markers.

    `missing` is empty, one marker's name, or `mixed`: then `markers` has a code for each row.
    """

    values: pa.Array
    kind: str
    missing: str
    markers: pa.Array | None


def write_objects(values: Objects, where: str) -> ObjectColumn:
    """Map an object column. Raises Unstorable naming `where` and the row of what nothing maps."""
    left = set(map(type, values))
    codes = np.zeros(len(values), np.uint8)
    for kind in left & set(_MARKER_TYPES):
        codes[_rows(values, partial(_is_exactly, kind))] = _MARKER_TYPES[kind]
    left -= set(_MARKER_TYPES)
    if float in left and left != {float}:
        # NaN among floats is a value; among anything else it is pandas's mark for a missing one.
        is_float = _rows(values, partial(_is_exactly, float))
        is_nan = _rows(values, lambda value: type(value) is float and value != value)
        codes[is_nan] = _NAN
        left -= {float} if (is_nan == is_float).all() else set()
    names = [MARKERS[code][0] for code in np.unique(codes[codes != 0])]
    array, found = _convert(values, codes != 0 if names else None, left, where)
    missing = names[0] if len(names) == 1 else MIXED if names else ""
    return ObjectColumn(array, found, missing, pa.array(codes) if missing == MIXED else None)


def read_objects(
    values: pa.ChunkedArray, kind: str, missing: str, markers: pa.ChunkedArray | None
) -> Objects:
    """The objects that `write_objects` mapped. Raises Damaged on an unknown kind."""
    objects = _restore(values, kind)
    if missing == MIXED and markers is not None:
        codes = markers.to_numpy()
        for code in range(1, len(MARKERS)):
            objects[codes == code] = MARKERS[code][1]
    elif missing:
        objects[values.is_null().to_numpy()] = dict(MARKERS)[missing]
    return objects


def _is_exactly(kind: type, value: object) -> bool:
    return type(value) is kind


def _rows(values: Objects, test: Callable[[Any], bool]) -> npt.NDArray[np.bool_]:
    return np.fromiter(map(test, values), bool, len(values))


def _convert(values: Objects, absent: Mask, types: set[type], where: str) -> tuple[pa.Array, str]:
    try:
        found = _as_arrow(values, absent, types)
    except (pa.ArrowException, ArithmeticError, ValueError, TypeError):
        found = None
    return found or (_as_cells(values, absent, where), "cells")


def _as_arrow(values: Objects, absent: Mask, types: set[type]) -> tuple[pa.Array, str] | None:
    """The values in an Arrow type that keeps all of them, or None."""
    if not types:
        return pa.nulls(len(values)), "null"
    if len(types) > 1:
        return None
    only = next(iter(types))
    if only in _PLAIN:
        kind, arrow = _PLAIN[only]
        return pa.array(values, arrow, mask=absent, from_pandas=False), kind
    if only is int:
        return _integers(values, absent), "int"
    present = values if absent is None else values[~absent]
    if only in (datetime, time):
        if any(value.tzinfo is not None or value.fold for value in present):
            return None
        arrow = pa.timestamp("us") if only is datetime else pa.time64("us")
        return pa.array(values, arrow, mask=absent, from_pandas=False), only.__name__
    if only in (list, tuple, dict, Decimal):
        array = pa.array(values, mask=absent, from_pandas=False)
        found = _pylist(array if absent is None else array.filter(pa.array(~absent)))
        given = map(list, present) if only is tuple else present
        return (array, only.__name__) if all(map(_same, given, found)) else None
    if only is np.ndarray:
        return _number_arrays(values, present, absent)
    if issubclass(only, np.generic):
        return _number_scalars(values, present, absent)
    return None


def _integers(values: Objects, absent: Mask) -> pa.Array:
    try:
        return pa.array(values, pa.int64(), mask=absent, from_pandas=False)
    except (OverflowError, pa.ArrowException):
        return pa.array(values, pa.uint64(), mask=absent, from_pandas=False)


def _number_arrays(values: Objects, present: Objects, absent: Mask) -> tuple[pa.Array, str] | None:
    dtypes = {value.dtype for value in present}
    dtype = next(iter(dtypes))
    if len(dtypes) > 1 or not _is_plain(dtype) or any(value.ndim != 1 for value in present):
        return None
    lengths = np.zeros(len(values) + 1, np.int64)
    lengths[1:][slice(None) if absent is None else ~absent] = [len(value) for value in present]
    mask = None if absent is None else pa.array(absent)
    offsets, elements = pa.array(np.cumsum(lengths)), pa.array(np.concatenate(present))
    return pa.LargeListArray.from_arrays(offsets, elements, mask=mask), f"ndarray {dtype.str}"


def _number_scalars(values: Objects, present: Objects, absent: Mask) -> tuple[pa.Array, str] | None:
    dtype = present[0].dtype
    if not _is_plain(dtype):
        return None
    numbers = np.zeros(len(values), dtype)
    numbers[slice(None) if absent is None else ~absent] = list(present)
    return pa.array(numbers, mask=absent, from_pandas=False), f"scalar {dtype.str}"


def _is_plain(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in _NUMPY and dtype.isnative and dtype.itemsize <= 8


def _same(left: object, right: object) -> bool:
    """Whether two objects have the same types and values all through, dicts in the same order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        # Arrow makes plain texts of all keys.
        is_plain = {str}.issuperset(map(type, left)) and list(left) == list(right)
        return is_plain and all(map(_same, left.values(), right.values()))
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, (datetime, time)) and isinstance(right, (datetime, time)):
        zones = left.tzinfo, right.tzinfo
        return left == right and left.fold == right.fold and _is_same_zone(*zones)
    return left == right or (left != left and right != right)


def _is_same_zone(left: tzinfo | None, right: tzinfo | None) -> bool:
    """Whether one library made both, under one key: Arrow makes all moments of a column those of one zone."""
    if type(left) is not type(right):
        return False
    return left == right or zone_text(left) == zone_text(right)


def _pylist(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Python's objects; their zones are those of the standard library, which not every Arrow takes."""
    found: list[Any] = values.to_pylist()
    return list(map(_with_zones, found)) if "tz=" in str(values.type) else found


def _with_zones(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_with_zones, value))
    if isinstance(value, dict):
        return {key: _with_zones(one) for key, one in value.items()}
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(read_zone(zone_text(value.tzinfo)))
    return value


def _as_cells(values: Objects, absent: Mask, where: str) -> pa.Array:
    cells: list[bytes | None] = []
    for row, value in enumerate(values):
        try:
            cells.append(None if absent is not None and absent[row] else write_cell(value))
        except Unstorable as error:
            raise Unstorable(f"{where}, row {row}: {error.message}") from None
    return pa.array(cells, pa.large_binary())


def _restore(values: pa.ChunkedArray, kind: str) -> Objects:
    name, _, dtype = kind.partition(" ")
    found: Iterator[object]
    if name == "cells":
        found = (None if cell is None else read_cell(cell) for cell in values.to_pylist())
    elif name == "tuple":
        found = (None if cell is None else tuple(cell) for cell in _pylist(values))
    elif name in _TO_PYLIST:
        found = iter(_pylist(values))
    elif name == "scalar":
        is_float = np.dtype(dtype).kind == "f"  # whose nulls are NaN to numpy; not every Arrow fills halves
        filled = values if is_float else values.fill_null(np.dtype(dtype).type(0))
        numbers = filled.to_numpy().astype(dtype)
        found = iter(list(numbers))
    elif name == "ndarray":
        lists = (row.values for piece in values.chunks for row in piece)
        found = (None if row is None else row.to_numpy(zero_copy_only=False).astype(dtype) for row in lists)
    else:
        raise Damaged(f"a table has object columns of the unknown kind {kind!r:.40}")
    return np.fromiter(found, object, len(values))


_TO_PYLIST: Final = {"null", "int", "datetime", "time", "list", "dict", "Decimal"} | {
    kind for kind, _ in _PLAIN.values()
}
