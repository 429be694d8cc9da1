"""Arrays of numpy whose dtype another library defines: `ml_dtypes` (docs/format.md, section 9).

Invariant: as for other arrays: elements in C order, bit-exact, in a part of their own. `rebuild` stands in
stored pickles: it never changes. The library is imported only to load them.
"""

from __future__ import annotations

from typing import Any

from aq.formats.identity import Buffer
from aq.formats.models.dtypes import OTHERS
from aq.formats.python.reducing import Typed


def rebuild(data: Buffer, dtype: str, shape: Any) -> Any:
    """An array over `data`: the very memory where it is writable, else a copy. Raises ValueError."""
    import ml_dtypes
    import numpy as np

    if dtype not in OTHERS:
        raise ValueError(f"no dtype {dtype} of ml_dtypes")
    memory, kind = bytearray(data) if isinstance(data, bytes) else data, np.dtype(getattr(ml_dtypes, dtype))
    array: Any = np.ndarray(tuple(shape), kind, memory)
    if array.nbytes != len(memory) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {array.nbytes} bytes has {len(memory)}")
    return array


def recipe(value: Any) -> tuple[Any, ...] | None:
    """The call that rebuilds an array of such a dtype; None for all others."""
    import numpy as np

    name = value.dtype.name
    if name not in OTHERS or value.dtype.type.__module__ != "ml_dtypes":
        return None
    data: Buffer = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data if value.size else b""
    return rebuild, (Typed(data, name), name, tuple(value.shape))
