"""What the elements of a tensor are, whichever library names them (docs/format.md, section 9).

Invariant: a dtype that numpy has is numpy's own text in little endian (`<f4`), another one a name
(`bfloat16`); both mean one thing in every library. Neither torch nor ml_dtypes is needed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aq.formats import arrays
from aq.formats.identity import Buffer

if TYPE_CHECKING:
    import numpy as np

NUMPY: Final = {
    "bool": "|b1",
    "uint8": "|u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "complex64": "<c8",
    "complex128": "<c16",
}
"""The common names of numpy's dtypes."""


class _Float8(NamedTuple):
    """A float of one byte. `finite`: it has no infinities; `unsigned_zero`: 0x80 is NaN."""

    exponent: int
    bias: int
    finite: bool
    unsigned_zero: bool


_FLOAT8: Final = {
    "float8_e4m3fn": _Float8(4, 7, True, False),
    "float8_e5m2": _Float8(5, 15, False, False),
    "float8_e4m3fnuz": _Float8(4, 8, True, True),
    "float8_e5m2fnuz": _Float8(5, 16, True, True),
}
_PAIRS: Final = "float4_e2m1fn_x2"
OTHERS: Final = {"bfloat16": 2, "complex32": 4, "float8_e8m0fnu": 1, _PAIRS: 1, **dict.fromkeys(_FLOAT8, 1)}
"""Names of dtypes that numpy lacks, and bytes an element."""


def text_of(name: str) -> str | None:
    """The text that stands for a dtype by its common name (`float32`, `bfloat16`), or None."""
    return NUMPY.get(name) or (name if name in OTHERS else None)


def name_of(text: str) -> str | None:
    """The common name of a text that `text_of` gave."""
    return text if text in OTHERS else _NAMES.get(text)


_NAMES: Final = {text: name for name, text in NUMPY.items()}


def size_of(dtype: Any) -> int:
    """Bytes an element. Raises as numpy does where it is no dtype."""
    known = OTHERS.get(dtype) if isinstance(dtype, str) else None
    return arrays.dtype_of(dtype).itemsize if known is None else known


def numbers(data: Buffer, dtype: Any) -> np.ndarray[Any, Any] | None:
    """The elements as a flat array that numpy can reckon with; None where they are no numbers."""
    import numpy as np

    if isinstance(dtype, str) and dtype in OTHERS:
        return _converted(data, dtype)
    kind = arrays.dtype_of(dtype)
    if kind.itemsize == 0 or kind.kind not in "biufc":
        return None
    return np.frombuffer(data, kind)


def norm(data: Buffer, dtype: Any) -> float | None:
    """The Euclidean norm of the elements, None where they are no finite numbers."""
    found = numbers(data, dtype)
    return None if found is None else arrays.norm(found)


def _converted(data: Buffer, name: str) -> np.ndarray[Any, Any]:
    import numpy as np

    if name == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if name == "complex32":
        return np.frombuffer(data, "<f2")
    if name == _PAIRS:
        both = np.frombuffer(data, "u1")
        return np.take(_table(name), np.stack([both & 15, both >> 4], axis=-1).reshape(-1))
    return np.take(_table(name), np.frombuffer(data, "u1"))


@cache
def _table(name: str) -> np.ndarray[Any, Any]:
    import numpy as np

    if name == "float8_e8m0fnu":
        found = [2.0 ** (byte - 127) for byte in range(255)] + [float("nan")]
    elif name == _PAIRS:  # OCP Microscaling Formats 1.0, 2023: E2M1
        halves = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
        found = [*halves, *(-half for half in halves)]
    else:
        found = [_float8(byte, _FLOAT8[name]) for byte in range(256)]
    return np.array(found)


def _float8(byte: int, kind: _Float8) -> float:
    """Source: Micikevicius et al., FP8 formats for deep learning, 2022; `fnuz` as in LLVM's APFloat."""
    width = 7 - kind.exponent
    sign, exponent, fraction = -1.0 if byte & 128 else 1.0, (byte & 127) >> width, byte & (1 << width) - 1
    if kind.unsigned_zero and byte == 128:
        return float("nan")
    if kind.finite and not kind.unsigned_zero and byte & 127 == 127:
        return float("nan")
    if not kind.finite and exponent == (1 << kind.exponent) - 1:
        return float("nan") if fraction else sign * float("inf")
    scale = 2.0 ** (max(exponent, 1) - kind.bias)
    return sign * scale * (fraction / (1 << width) + (exponent > 0))
