"""Values and types of a table as a reader sees them: JSON's numbers, and short texts.

Invariant: every value has such a form, also moments that Python's calendar does not reach.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import types as is_

TEXT_MOST: Final = 80
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def shown(value: pa.Scalar) -> Any:
    """One value; None for null and for what JSON has no number for."""
    if not value.is_valid:
        return None
    if isinstance(value, pa.ExtensionScalar):
        value = value.value
    kind = value.type
    if is_.is_timestamp(kind) or is_.is_date(kind):
        return _moment(value)
    if is_.is_duration(kind):
        return _span(value.value, _PER_SECOND[kind.unit])
    if isinstance(value, pa.ListScalar) and len(value) > TEXT_MOST:
        return plain(_text(value))
    try:
        return plain(value.as_py())
    except (OverflowError, ValueError):  # a moment, or two fields of one name, which Python has no object for
        return plain(_text(value) if is_.is_nested(kind) else str(value.cast(pa.string())))


def _text(value: Any) -> str:
    """About what `str` of the Python object would be, each value inside as a reader sees it."""
    kind = value.type
    if not value.is_valid or not is_.is_nested(kind):
        return repr(shown(value))
    if is_.is_union(kind):
        return _text(value.value)
    if is_.is_struct(kind):
        parts = (f"{kind.field(at).name!r}: {_text(value[at])}" for at in range(kind.num_fields))
        return "{" + ", ".join(parts) + "}"
    return "[" + ", ".join(map(_text, value.values[:TEXT_MOST])) + "]"  # each takes a character at least


def _span(count: int, per_second: int) -> str:
    """A span of time as days, hours, minutes and seconds: `-1 d 1:30:00.5`."""
    seconds, fraction = divmod(abs(count), per_second)
    (minutes, second), digits = divmod(seconds, 60), len(str(per_second)) - 1
    (hours, minute), part = divmod(minutes, 60), f".{fraction:0{digits}}".rstrip("0") if fraction else ""
    days, hour = divmod(hours, 24)
    return f"{'-' if count < 0 else ''}{f'{days} d ' if days else ''}{hour}:{minute:02}:{second:02}{part}"


def _moment(value: Any) -> str:
    """ISO 8601 without trailing zeros; `Z` where there is a zone, since the value is UTC."""
    kind = value.type
    unit: Any = kind.unit if is_.is_timestamp(kind) else "D" if is_.is_date32(kind) else "ms"
    text = str(np.datetime64(value.value, unit))
    if unit == "D":
        return text
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return whole + (f".{fraction}" if fraction else "") + ("Z" if getattr(kind, "tz", None) else "")


def plain(value: Any) -> Any:
    """A Python value that JSON has a form for; long texts are cut."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= TEXT_MOST else text[: TEXT_MOST - 1] + "…"


def type_text(descriptor: Any) -> str:
    """A descriptor as a reader wants it: `list<string>`, `struct<a: int64>`."""
    match descriptor:
        case str():
            return descriptor
        case ["fixed_binary", size]:
            return f"binary({size})"
        case ["list", inner]:
            return f"list<{type_text(inner)}>"
        case ["fixed_list", size, inner]:
            return f"list<{type_text(inner)}>[{size}]"
        case ["struct", fields]:
            return f"struct<{', '.join(f'{name}: {type_text(inner)}' for name, inner in fields)}>"
        case ["map", key, item]:
            return f"map<{type_text(key)}, {type_text(item)}>"
        case ["union", members]:
            return f"union<{', '.join(type_text(member[2]) for member in members)}>"
        case ["extension", name, _, _]:
            return str(name)
    return str(descriptor)
