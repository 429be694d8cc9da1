"""Numpy arrays: their dtype as plain data, their bytes in C order, figures of their elements (format.md, 9).

Invariant: arrays of equal dtype, shape and elements have equal bytes, whatever their strides,
padding or memory order; floats are bit-exact. numpy is imported only when an array is at hand.
`rebuild`, `rebuild_scalar`, `dtype_of`, `empty_objects` stand in stored pickles, by the name of this module
too: they never change. How an array is an artifact is in `formats.python.array_values`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aq.formats.identity import Buffer

if TYPE_CHECKING:
    import numpy as np

_PLAIN_KINDS: Final = frozenset("biufcmMSUV")
_LONG_DOUBLES: Final = frozenset("gG")
NO_DTYPE: Final = (
    TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, SyntaxError,
)  # fmt: skip
"""What numpy raises on a description that is none."""
_BLOCK: Final = 1 << 13
"""Elements looked at together: in cache, and too few for BLAS to start threads."""


@lru_cache(256)
def describe(dtype: np.dtype[Any]) -> Any:
    """A dtype as text or nested tuples, or None where its elements are not plain bytes."""
    if dtype.kind not in _PLAIN_KINDS or dtype.hasobject or dtype.isbuiltin == 2:
        return None
    if dtype.subdtype is not None:
        return None
    if dtype.names is None:
        return dtype.str
    try:
        fields = dtype.descr
    except ValueError:
        return None
    described = tuple(_describe_field(dtype, field) for field in fields)
    return None if None in described else described


def _describe_field(dtype: np.dtype[Any], field: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """(name, dtype) or (name, dtype, shape); padding has no name. None for a title or what is not plain."""
    name = field[0]
    if not isinstance(name, str):
        return None
    if not name:
        return field[:2]
    inner = dtype.fields[name][0]  # type: ignore[index]
    base = describe(inner.base)
    if base is None:
        return None
    return (name, base, inner.shape) if inner.shape else (name, base)


def dtype_of(described: Any) -> np.dtype[Any]:
    """The dtype that `describe` described."""
    import numpy as np

    if isinstance(described, str):
        return np.dtype(described)
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    size = 0
    for name, inner, *shape in described:
        field = dtype_of(inner)
        if shape:
            field = np.dtype((field, tuple(shape[0])))
        if name:
            names.append(name)
            formats.append(field)
            offsets.append(size)
        size += field.itemsize
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def plain_dtype(described: Any) -> np.dtype[Any] | None:
    """As `dtype_of` for what anybody may have written: None where it is no description by `describe`."""
    try:
        dtype = dtype_of(described)
        return dtype if _listed(describe(dtype)) == described else None
    except NO_DTYPE:
        return None


def _listed(described: Any) -> Any:
    """A description as msgpack gives it back."""
    return [_listed(part) for part in described] if isinstance(described, tuple) else described


def is_clean(data: Buffer, dtype: np.dtype[Any]) -> bool:
    """Whether all padding in these whole elements is zero."""
    import numpy as np

    return bytes(c_bytes(np.frombuffer(data, dtype))) == bytes(data)


def c_bytes(array: np.ndarray[Any, Any]) -> Buffer:
    """The elements in C order with all padding zero; a view of the array where that is possible."""
    import numpy as np

    if array.nbytes == 0:
        return b""
    plain = np.ascontiguousarray(array.view(np.ndarray) if type(array) is not np.ndarray else array)
    if has_padding(plain.dtype):
        clean = np.zeros(plain.shape, plain.dtype)
        _copy_fields(plain, clean)
        plain = clean
    return plain.reshape(-1).view(np.uint8).data


def has_padding(dtype: np.dtype[Any]) -> bool:
    """Whether some bytes of an element may hold anything at all."""
    base = dtype.base
    if base.names is None:
        return base.char in _LONG_DOUBLES
    fields = [base.fields[name][0] for name in base.names]  # type: ignore[index]
    return sum(field.itemsize for field in fields) < base.itemsize or any(map(has_padding, fields))


def _copy_fields(source: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> None:
    """Copy what the elements hold, and not the bytes between."""
    import numpy as np

    if source.dtype.names is not None:
        for name in source.dtype.names:
            _copy_fields(source[name], target[name])
        return
    target[...] = source
    if source.dtype.char in _LONG_DOUBLES and np.finfo(np.longdouble).nmant == 63:
        flat = np.ascontiguousarray(target).reshape(-1).view(np.uint8).reshape(-1, 16)
        flat[:, 10:] = 0
        target[...] = flat.reshape(-1).view(source.dtype).reshape(target.shape)


def rebuild(data: Buffer, dtype: Any, shape: Any) -> np.ndarray[Any, Any]:
    """An array over `data`: the very memory where it is writable, else a copy. Raises ValueError."""
    import numpy as np

    memory, kind = bytearray(data) if isinstance(data, bytes) else data, dtype_of(dtype)
    if kind.hasobject:
        raise ValueError("bytes are no objects: as pointers they would lead anywhere")
    array: np.ndarray[Any, Any] = np.ndarray(tuple(shape), kind, memory)
    if array.nbytes != len(memory) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {array.nbytes} bytes has {len(memory)}")
    return array


def rebuild_scalar(data: Buffer, dtype: Any) -> Any:
    """A numpy scalar from its bytes."""
    return rebuild(data, dtype, ())[()]


def empty_objects() -> np.ndarray[Any, Any]:
    """An array of Python objects, to be filled by its state."""
    import numpy as np

    return np.empty(0, object)


def objects_state(array: np.ndarray[Any, Any]) -> tuple[Any, ...] | None:
    """What `__setstate__` makes of `empty_objects()`: this array; None where it holds no objects."""
    if array.dtype.str != "|O":
        return None
    return 1, array.shape, array.dtype, False, list(array.flat)


def norm(array: np.ndarray[Any, Any]) -> float | None:
    """The Euclidean norm of the elements, or None where they are no finite numbers."""
    import numpy as np

    if array.dtype.kind not in "biufc":
        return None
    total = 0.0
    with np.errstate(all="ignore"):
        for block in _blocks(array):
            total += float(np.vdot(block, block).real)
    return float(np.sqrt(total)) if np.isfinite(total) else None


def statistics(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """min, max, mean and standard deviation of the finite elements, and how many others there are."""
    import numpy as np

    count, mean, spread, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    with np.errstate(all="ignore"):
        for block in _blocks(array):
            finite, total = block, float(block.sum())
            if not np.isfinite(total):
                finite = block[np.isfinite(block)]
                total = float(finite.sum())
            added = finite.size
            if not added:
                continue
            here = total / added
            shift, apart = here - mean, finite - here
            spread += float(np.dot(apart, apart)) + shift * shift * count * added / (count + added)
            count += added
            mean += shift * added / count
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not count:
        return {"not_finite": array.size}
    result = {"min": low, "max": high, "mean": mean, "std": float(np.sqrt(spread / count))}
    return {name: value for name, value in result.items() if np.isfinite(value)} | {
        "not_finite": array.size - count
    }


def _blocks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The elements in doubles (or complex doubles), a bounded number at a time."""
    import numpy as np

    flat = np.ascontiguousarray(array).reshape(-1)
    kind = np.complex128 if array.dtype.kind == "c" else np.float64
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(kind, copy=False)
