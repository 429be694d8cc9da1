"""What values are cast to before they are compared, where a column is of another type in both versions.

Invariant: two values are equal then if a reader would call them so: whole numbers and decimals to the last
digit, moments and spans of time in any unit, a number or moment and its text, NaN and what is missing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from aq.formats.columns.physical import fixed_values, validity
from aq.formats.columns.shown import shown
from pyarrow import types as is_

_UNITS: Final = ("s", "ms", "us", "ns")
_FARTHEST: Final = (1 << 63) - 1
_DIGITS: Final = 76
"""Of the widest decimals."""
_DATE, _TIME, _ZONE = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d", r"(?:Z|[+-]00:?00)?"
_FORMS: Final = {
    "": (),
    "bool": ((r"^[tT](rue|RUE)$", "true"), (r"^[fF](alse|ALSE)$", "false")),
    "exact": (),
    "number": ((r"^(-?\d+\.\d*?)0+$", r"\1"), (r"^(-?\d+)\.$", r"\1"), ("^[nN]a[nN]$", "")),
    "moment": (
        (f"^({_DATE})$", r"\1 00:00:00"),
        (f"^({_DATE})[T ]({_TIME}){_ZONE}$", r"\1 \2:00"),
        (f"^({_DATE})[T ]({_TIME}:\\d\\d){_ZONE}$", r"\1 \2"),
        (f"^({_DATE})[T ]({_TIME}:\\d\\d\\.\\d*?)0*{_ZONE}$", r"\1 \2"),
        (r"^(.{19})\.$", r"\1"),
    ),
}
"""How texts come to look like those that Arrow makes of the other type."""


class Cast(NamedTuple):
    """The type that values of both versions are cast to; of texts their `form` is made one too."""

    kind: pa.DataType
    form: str = ""


def cast_between(before: pa.DataType, after: pa.DataType) -> Cast | None:
    """What makes values of two types comparable; None where they are as they stand."""
    kinds = before, after
    if before == after:
        return None
    if all(map(_is_exact, kinds)):
        return Cast(_exact(kinds))
    if all(map(_is_number, kinds)):
        return Cast(pa.float64())
    for is_one, make in ((_is_moment, pa.timestamp), (is_.is_duration, pa.duration)):
        if all(map(is_one, kinds)):
            return Cast(make(_finest(kinds)))
    if all(map(is_.is_time, kinds)):
        return Cast(pa.time64("ns"))
    forms = {"number": is_.is_floating, "moment": _is_moment, "bool": is_.is_boolean, "exact": _is_exact}
    return Cast(pa.string(), next((name for name, is_it in forms.items() if any(map(is_it, kinds))), ""))


def missing_alike(kind: pa.DataType) -> Cast | None:
    """The same for one type, where the versions have different words for what is missing."""
    return Cast(kind) if is_.is_floating(kind) else None


def cast_for_comparing(values: pa.ChunkedArray, cast: Cast | None) -> pa.ChunkedArray:
    """Values of one version as they are compared with those of the other."""
    if cast is None:
        return values
    kind = values.type
    try:
        if is_.is_floating(kind) and not is_.is_float16(kind):
            values = pc.if_else(pc.is_nan(values), pa.nulls(len(values), kind), values)
        if is_.is_string(cast.kind):
            return _texts(values, cast.form)
        return _numbers(values) if is_.is_float64(cast.kind) else _in_unit(values, cast.kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.chunked_array([pa.array(map(_told, values), pa.string())])


def _is_number(kind: pa.DataType) -> bool:
    return bool(_is_exact(kind) or is_.is_floating(kind))


def _is_exact(kind: pa.DataType) -> bool:
    return bool(is_.is_integer(kind) or is_.is_boolean(kind) or is_.is_decimal(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(is_.is_timestamp(kind) or is_.is_date(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_fixed_size_binary(kind))


def _exact(kinds: tuple[pa.DataType, ...]) -> pa.DataType:
    scales = [kind.scale for kind in kinds if is_.is_decimal(kind)]
    is_wide = bool(scales) or any(map(is_.is_uint64, kinds))
    return pa.decimal256(_DIGITS, max(0, 0, *scales)) if is_wide else pa.int64()


def _finest(kinds: tuple[pa.DataType, ...]) -> str:
    return max(map(_unit, kinds), key=_UNITS.index)


def _unit(kind: pa.DataType) -> str:
    return "s" if is_.is_date32(kind) else "ms" if is_.is_date64(kind) else str(kind.unit)


def _numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """As floats; a whole number that is none becomes the neighbour of the nearest, so that it differs."""
    if is_.is_decimal(values.type):
        return values.cast(pa.string()).cast(pa.float64())  # Arrow's own way is off by a bit
    found = values.cast(pa.float64(), safe=False)
    if not is_.is_integer(values.type) or values.type.bit_width < 64:
        return found
    beside = pc.not_equal(found.cast(values.type, safe=False), values)
    if not pc.any(beside).as_py():
        return found
    pieces = [_floats(one) for one in found.chunks]
    return pc.if_else(beside, pa.chunked_array([np.nextafter(one, np.inf) for one in pieces]), found)


def _in_unit(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """In another unit, or with more digits; moments that the unit does not reach are the farthest one."""
    if is_.is_boolean(values.type) or is_.is_date(values.type):
        values = values.cast(pa.int64() if is_.is_boolean(values.type) else pa.timestamp(_unit(values.type)))
    if not (is_.is_timestamp(kind) or is_.is_duration(kind)):
        return values.cast(kind)
    times = 1_000 ** (_UNITS.index(kind.unit) - _UNITS.index(values.type.unit))
    return pa.chunked_array([_scaled(one, times, kind) for one in values.chunks], kind)


def _scaled(values: pa.Array, times: int, kind: pa.DataType) -> pa.Array:
    valid = validity(values)
    counts, most = fixed_values(values, valid).view("<i8"), _FARTHEST // times
    scaled = np.clip(counts, -most, most) * times
    scaled = np.where(abs(counts) > most, np.sign(counts) * _FARTHEST, scaled) if times > 1 else counts
    return pa.array(scaled, pa.int64(), mask=None if valid is None else ~valid).cast(kind)


def _told(value: pa.Scalar) -> str | None:
    """A value as Python tells it, bytes as the text that they are; of those that are none, their numbers."""
    if not value.is_valid:
        return None
    try:
        found = value.as_py()
    except (OverflowError, ValueError):  # Python has no such moment
        found = shown(value)
    return found.decode("utf-8", "backslashreplace") if isinstance(found, bytes) else str(found)


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    return fixed_values(values, validity(values)).view("<f8")


def _texts(values: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """As texts; those that were texts in the form that the other version's have now."""
    is_texts = is_.is_string(values.type) or is_.is_large_string(values.type)
    if _is_moment(values.type):
        values = _in_unit(values, pa.timestamp(_unit(values.type)))  # in UTC, whatever the zone
    found = values.cast(pa.string(), safe=_is_bytes(values.type))  # bytes need not be a text
    if not form or not (is_texts or form == "moment"):
        return found
    for pattern, text in _FORMS[form]:
        found = pc.replace_substring_regex(found, pattern, text)
    return pc.if_else(pc.equal(found, ""), pa.nulls(len(found), pa.string()), found)
