"""Rows of Arrow arrays, by their places or by a mask.

Invariant: what `take` and `filter` of Arrow should give. Up to 26 at least they forget that a fixed list in
another one may be a slice, and take what lies before it, or beyond the end of its memory.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import types as is_

Values = TypeVar("Values", pa.Array, pa.ChunkedArray)


def taken(values: Values, at: pa.Array) -> Values:
    """The values at these places, null where a place is null."""
    return _whole(values).take(at)


def places(rows: npt.NDArray[np.int64]) -> pa.Array:
    """Places for `taken`, none of them null. Arrow's own way from numpy imports pandas."""
    found = np.ascontiguousarray(rows, "<i8")
    return pa.Array.from_buffers(pa.int64(), len(found), [None, pa.py_buffer(found)])


def kept(values: Values, mask: pa.Array) -> Values:
    """The values for which the mask is true."""
    return _whole(values).filter(mask)


def _whole(values: Values) -> Values:
    """The values in arrays of their own, where Arrow does not find them in a slice."""
    if not _is_misread(values.type):
        return values
    if isinstance(values, pa.ChunkedArray):
        return pa.chunked_array([_copied(chunk) for chunk in values.chunks], values.type)
    return _copied(values)


def _copied(array: pa.Array) -> pa.Array:
    return pa.concat_arrays([array, array.slice(0, 0)])


def _is_misread(kind: pa.DataType) -> bool:
    """Whether there is a fixed list of fixed lists anywhere in a type."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_misread(kind.storage_type)
    if is_.is_fixed_size_list(kind) and is_.is_fixed_size_list(kind.value_type):
        return True
    return any(_is_misread(kind.field(at).type) for at in range(kind.num_fields))
