"""Objects that are made of plainer ones: paths, fractions, ranges, arrays of objects, tables in a cell.

Invariant: `made(*parts_of(x))` has the type and value of x, and the parts have a cell (`cells`). Names
are looked up in a list: nothing is imported by name, and no class of a user is among them.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Callable
from datetime import timezone
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from aq.formats import arrays
from aq.formats.columns.zones import read_zone, zone_text
from aq.formats.errors import Unstorable

Made = tuple[str, Callable[[Any], object], Callable[[Any], object]]


def parts_of(value: object) -> tuple[str, object] | None:
    """The name of a kind and what an object of it is made of; None where there is no such kind."""
    if isinstance(value, np.ndarray) and value.dtype == object and type(value) is np.ndarray:
        return "objects", (value.shape, list(value.flat))
    found = _KINDS.get(type(value))
    if found is None:
        found = next((made for kind, made in _FAMILIES if isinstance(value, kind)), None)
    if found is None:
        return None
    name, parts, _ = found
    return name, parts(value)


def made(name: str, parts: Any) -> object:
    """The object of this kind. Raises KeyError on an unknown one."""
    return _MAKERS[name](parts)


def _path(kind: type[pathlib.PurePath]) -> Made:
    def make(text: str) -> object:
        try:
            return kind(text)
        except NotImplementedError:  # a path of the other system: the same text, without its files
            return kind.__mro__[1](text)

    return kind.__name__, str, make


def _array_parts(array: Any) -> object:
    described = arrays.describe(array.dtype)
    if described is None:
        raise Unstorable(f"nothing maps an array of dtype {array.dtype}")
    return _lists(described), array.shape, bytes(arrays.c_bytes(array))


def _make_array(parts: Any) -> Any:
    described, shape, data = parts
    return np.frombuffer(data, _made_dtype(described)).reshape(shape).copy()


def _made_dtype(described: Any) -> np.dtype[Any]:
    dtype = arrays.plain_dtype(described)
    if dtype is None:
        raise ValueError("not a plain dtype")
    return dtype


def _lists(described: Any) -> Any:
    return [_lists(part) for part in described] if isinstance(described, tuple) else described


def _make_objects(parts: Any) -> Any:
    shape, items = parts
    return np.fromiter(items, object, len(items)).reshape(shape)


def _make_masked(parts: Any) -> object:
    data, mask, fill = parts
    return np.ma.MaskedArray(data, mask, fill_value=fill)


def _dtype_parts(dtype: Any) -> object:
    described = arrays.describe(dtype)
    if described is None:
        raise Unstorable(f"nothing maps the dtype {dtype}")
    return _lists(described)


def _offset_parts(offset: Any) -> object:
    words = {name: value for name, value in offset.kwds.items() if name != "calendar" and value is not None}
    parts = type(offset).__name__, offset.n, offset.normalize, words
    try:
        if _make_offset(parts) == offset:
            return parts
    except (TypeError, ValueError, AttributeError):
        pass
    raise Unstorable(f"nothing maps the frequency {offset!r}")


def _make_offset(parts: Any) -> Any:
    name, n, normalize, words = parts
    kind = getattr(pd.offsets, name)
    if not issubclass(kind, pd.offsets.BaseOffset):
        raise ValueError(f"{name} is no frequency")
    return kind(n, normalize=normalize, **words) if normalize else kind(n, **words)


def _table_parts(table: Any) -> object:
    from aq.formats.objects import MemoryObjects
    from aq.formats.records import encode
    from aq.formats.tables.table import encode_table

    store = MemoryObjects()
    record = encode(encode_table(table, store).artifact)
    return record, [(int(kind), bytes(data)) for kind, data in store.objects.values()]


def _make_table(parts: Any) -> Any:
    from aq.formats.identity import Kind
    from aq.formats.objects import MemoryObjects
    from aq.formats.records import Artifact, decode
    from aq.formats.tables.table import to_native

    store = MemoryObjects()
    record, objects = parts
    for kind, data in objects:
        store.put(Kind(kind), data)
    return to_native(decode(Artifact, record), store)


_SCALAR: Final[Made] = (
    "void",
    lambda value: _array_parts(np.asarray(value)),
    lambda parts: _make_array(parts)[()],
)
_PATHS: Final = (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
_KINDS: dict[type, Made] = {
    bytearray: ("bytearray", bytes, bytearray),
    Fraction: ("Fraction", lambda value: value.as_integer_ratio(), lambda parts: Fraction(*parts)),
    range: ("range", lambda value: (value.start, value.stop, value.step), lambda parts: range(*parts)),
    slice: ("slice", lambda value: (value.start, value.stop, value.step), lambda parts: slice(*parts)),
    type(...): ("ellipsis", lambda _: None, lambda _: ...),
    collections.OrderedDict: ("OrderedDict", dict, collections.OrderedDict),
    collections.Counter: ("Counter", dict, collections.Counter),
    collections.deque: (
        "deque",
        lambda value: (list(value), value.maxlen),
        lambda parts: collections.deque(*parts),
    ),
    timezone: ("zone", zone_text, read_zone),
    ZoneInfo: ("zone", zone_text, read_zone),
    np.ndarray: ("array", _array_parts, _make_array),
    np.void: _SCALAR,
    np.longdouble: _SCALAR,
    np.clongdouble: _SCALAR,
    np.ma.MaskedArray: (
        "masked",
        lambda value: (value.data, np.ma.getmaskarray(value), value.fill_value),
        _make_masked,
    ),
    pd.DataFrame: ("table", _table_parts, _make_table),
    pd.Series: ("table", _table_parts, _make_table),
}
_KINDS |= {kind: _path(kind) for kind in _PATHS}
_FAMILIES: Final[list[tuple[type, Made]]] = [
    (np.dtype, ("dtype", _dtype_parts, _made_dtype)),
    (pd.offsets.BaseOffset, ("offset", _offset_parts, _make_offset)),
    (
        pd.Index,
        ("Index", lambda index: pd.DataFrame(index=index), lambda frame: frame.index),
    ),
    (
        pd.api.extensions.ExtensionArray,
        ("extension array", lambda array: pd.Series(array), lambda series: series.array),
    ),
]
_MAKERS: Final = {name: make for name, _, make in [*_KINDS.values(), *(made for _, made in _FAMILIES)]} | {
    "objects": _make_objects
}
