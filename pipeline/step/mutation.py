"""Did an op change an input in place? A fast look at its decoded inputs, before and after.

Invariant: never an identity and never needed for correctness, since each op gets values of its own;
it only finds what would surprise outside aq. Values that are dear to look at are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import xxhash
from aq.formats.classes import library_of

_OBJECTS_MOST: Final = 200_000


def look(values: Mapping[str, Any]) -> dict[str, int]:
    """A checksum of each value that can be changed in place and is cheap to read."""
    found: dict[str, int] = {}
    for name, value in values.items():
        parts = _parts(value)
        if parts is not None:
            hasher = xxhash.xxh3_64()
            for part in parts:
                hasher.update(part)
            found[name] = hasher.intdigest()
    return found


def changed(before: Mapping[str, int], values: Mapping[str, Any]) -> list[str]:
    """The names whose values are no longer what they were."""
    now = look({name: values[name] for name in before})
    return [name for name in before if now.get(name) != before[name]]


def _parts(value: Any) -> Iterator[Any] | None:
    module = library_of(type(value))
    if module == "pandas" and hasattr(value, "columns"):
        return _frame(value)
    if module == "numpy" and hasattr(value, "ndim"):
        return _array(value)
    if type(value) in (list, dict):
        return _plain(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.nn.Module | torch.Tensor):
        return _tensors(value if isinstance(value, torch.Tensor) else value.state_dict())
    return None


def _frame(frame: Any) -> Iterator[Any]:
    yield repr([*frame.columns]).encode("utf-8", "backslashreplace")
    if hasattr(frame.index, "codes"):  # a MultiIndex has no array of its own
        yield from (part for codes in frame.index.codes for part in _array(codes))
    else:
        yield from _column(frame.index.array)
    for position in range(frame.shape[1]):
        yield from _column(frame.iloc[:, position].array)


def _column(column: Any) -> Iterator[Any]:
    """The memory of a column: its Arrow buffers, codes, values and mask, or the array itself."""
    yield str(column.dtype).encode()
    arrow = getattr(column, "_pa_array", None)
    if arrow is not None:
        for chunk in arrow.chunks:
            yield from (memoryview(buffer) for buffer in chunk.buffers() if buffer is not None)
        return
    for name in ("_codes", "_data", "_mask", "_ndarray"):
        part = getattr(column, name, None)
        if type(part).__module__ == "numpy" and part is not None:
            yield from _array(part)


def _array(array: Any) -> Iterator[Any]:
    import numpy as np

    yield f"{array.dtype} {array.shape}".encode()
    if array.dtype.hasobject:
        if array.size <= _OBJECTS_MOST:
            yield np.fromiter(map(id, array.flat), dtype=np.uint64, count=array.size).data
    elif array.size:
        yield np.ascontiguousarray(array).view(np.uint8).data


def _tensors(held: Any) -> Iterator[Any]:
    """The elements of a tensor of torch, or of all that a module holds."""
    from aq.formats.models.torch_values import elements

    for name, tensor in held.items() if hasattr(held, "items") else [("", held)]:
        yield f"{name} {getattr(tensor, 'dtype', '')} {getattr(tensor, 'shape', '')}".encode()
        data = elements(tensor)
        if data is not None:
            yield data


def _plain(value: Any) -> Iterator[Any]:
    from aq.formats.artifacts import json_values

    yield json_values.dump(value) or b""
