"""Single Python objects as bytes: labels, and cells of object columns that Arrow has no type for.

Invariant: `read_cell(write_cell(x))` has the type and value of x; equal bytes mean equal values.
A tag byte, then the payload (docs/format.md, section 8.6). No class is imported, nothing is unpickled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np
import pandas as pd
from aq.formats.columns.zones import read_zone, zone_text
from aq.formats.dataframes.cell_kinds import made, parts_of
from aq.formats.errors import Damaged, Unstorable

_I64: Final = struct.Struct("<q")
_F64: Final = struct.Struct("<d")
_LENGTH: Final = struct.Struct("<I")
_NAN: Final = bytes.fromhex("000000000000f87f")
_PLAIN_ARRAYS: Final = "biufcmMSU"
_LONG_DOUBLES: Final = "gG"
_UNREADABLE: Final = (
    ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, SyntaxError, TypeError,
    ValueError, np.ma.MAError, struct.error,
)  # fmt: skip
"""What bytes that no aq wrote can lead to, in Python and in the libraries that make the objects."""
DEEPEST: Final = 64

Tagged = tuple[bytes, bytes]


def write_cell(value: object, depth: int = 0) -> bytes:
    """The bytes of one object. Raises Unstorable where its type, or one inside it, has no tag."""
    if depth > DEEPEST:
        raise Unstorable(f"it nests deeper than {DEEPEST} levels")
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    items = _CONTAINERS.get(type(value))
    if items is not None:
        parts = [write_cell(item, depth + 1) for item in _flat(value)]
        if items in b"ez":
            parts.sort()
        return items + _LENGTH.pack(len(parts)) + b"".join(parts)
    if isinstance(value, np.ndarray) and type(value) in (np.ndarray, np.memmap) and _is_plain(value.dtype):
        shape = ",".join(map(str, value.shape))
        return b"a" + _texts(value.dtype.str, shape) + _sized(np.ascontiguousarray(value).tobytes())
    if isinstance(value, np.generic) and _is_plain(value.dtype):
        return b"n" + _texts(value.dtype.str) + _sized(value.tobytes())
    found = parts_of(value)
    if found is not None:
        return b"k" + _texts(found[0]) + write_cell(found[1], depth + 1)
    raise Unstorable(f"nothing maps an object of type {type(value).__qualname__}")


def read_cell(data: bytes | memoryview) -> Any:
    """The object that `write_cell` wrote. Raises Damaged on other bytes."""
    reader = _Reader(bytes(data))
    try:
        value = reader.cell(0)
    except _UNREADABLE as error:
        raise Damaged(f"a table's cell cannot be read: {error}") from None
    if reader.at != len(reader.data):
        raise Damaged("a table's cell has bytes too many")
    return value


def _is_plain(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in _PLAIN_ARRAYS and dtype.char not in _LONG_DOUBLES


def _flat(value: Any) -> Iterable[object]:
    if type(value) is dict:
        return (part for entry in value.items() for part in entry)
    return value  # type: ignore[no-any-return]


def _sized(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _texts(*texts: str) -> bytes:
    return b"".join(_sized(text.encode("utf-8", "surrogatepass")) for text in texts)


def _int(value: int) -> bytes:
    if -(2**63) <= value < 2**63:
        return b"i" + _I64.pack(value)
    return b"I" + _sized(value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _float(value: float) -> bytes:
    return _NAN if value != value else _F64.pack(value)


def _moment(value: Any) -> bytes:
    naive = value.replace(tzinfo=None, fold=0)
    return _texts(naive.isoformat(), zone_text(value.tzinfo), str(value.fold))


def _timestamp(value: pd.Timestamp) -> bytes:
    naive = value.tz_convert("UTC").tz_localize(None) if value.tz is not None else value
    return _texts(value.unit, zone_text(value.tz)) + _I64.pack(int(naive.asm8.view("i8")))


def _period(value: pd.Period) -> bytes:
    return _texts(value.freqstr) + _I64.pack(value.ordinal)


def _interval(value: pd.Interval) -> bytes:
    return _texts(value.closed) + write_cell(value.left) + write_cell(value.right)


def _timedelta(value: timedelta) -> bytes:
    return struct.pack("<qqq", value.days, value.seconds, value.microseconds)


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda value: b"N",
    type(pd.NA): lambda value: b"A",
    type(pd.NaT): lambda value: b"T",
    bool: lambda value: b"t" if value else b"f",
    int: _int,
    float: lambda value: b"d" + _float(value),
    complex: lambda value: b"c" + _float(value.real) + _float(value.imag),
    str: lambda value: b"s" + _texts(value),
    bytes: lambda value: b"b" + _sized(value),
    Decimal: lambda value: b"D" + _texts(str(value)),
    date: lambda value: b"y" + _texts(value.isoformat()),
    datetime: lambda value: b"Y" + _moment(value),
    time: lambda value: b"h" + _moment(value),
    timedelta: lambda value: b"H" + _timedelta(value),
    UUID: lambda value: b"U" + value.bytes,
    pd.Timestamp: lambda value: b"S" + _timestamp(value),
    pd.Timedelta: lambda value: b"L" + _texts(value.unit) + _I64.pack(int(value.asm8.view("i8"))),
    pd.Period: lambda value: b"p" + _period(value),
    pd.Interval: lambda value: b"v" + _interval(value),
}
_CONTAINERS: Final[dict[type, bytes]] = {list: b"l", tuple: b"u", dict: b"m", set: b"e", frozenset: b"z"}
_CONSTANTS: Final[dict[bytes, object]] = {b"N": None, b"A": pd.NA, b"T": pd.NaT, b"t": True, b"f": False}


class _Reader:
    """A position in the bytes of a cell."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise ValueError("cut short")
        self.at += size
        return part

    def sized(self) -> bytes:
        return self.take(_LENGTH.unpack(self.take(4))[0])

    def text(self) -> str:
        return self.sized().decode("utf-8", "surrogatepass")

    def int64(self) -> int:
        return int(_I64.unpack(self.take(8))[0])

    def float64(self) -> float:
        value = float(_F64.unpack(self.take(8))[0])
        return value if value == value else np.nan  # which sets and names of axes compare by identity

    def cell(self, depth: int) -> Any:
        tag = self.take(1)
        if depth > DEEPEST:
            raise ValueError("nested too deep")
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in b"lumez":
            items = [self.cell(depth + 1) for _ in range(_LENGTH.unpack(self.take(4))[0])]
            if tag == b"m":
                return dict(zip(items[::2], items[1::2], strict=True))
            return {b"l": list, b"u": tuple, b"e": set, b"z": frozenset}[tag](items)
        if tag == b"k":
            return made(self.text(), self.cell(depth + 1))
        return _READERS[tag](self)

    def array(self) -> np.ndarray[Any, Any]:
        dtype, shape = _plain_dtype(self.text()), self.text()
        flat = np.frombuffer(self.sized(), dtype)
        return flat.reshape([int(size) for size in shape.split(",") if size]).copy()

    def scalar(self) -> np.generic:
        dtype, data = _plain_dtype(self.text()), self.sized()
        if dtype.kind in "SU":  # numpy would cut zeros off their end, and reads none that are empty
            data = data[: dtype.itemsize]  # of an empty one numpy gives a zero
            endian = "be" if dtype.byteorder == ">" else "le"
            text = data if dtype.kind == "S" else data.decode(f"utf-32-{endian}", "surrogatepass")
            return dtype.type(text)  # type: ignore[no-any-return]
        return np.frombuffer(data, dtype)[0]  # type: ignore[no-any-return]

    def moment(self, kind: Any) -> Any:
        naive, zone, fold = kind.fromisoformat(self.text()), read_zone(self.text()), int(self.text())
        return naive.replace(tzinfo=zone, fold=fold)

    def timestamp(self) -> pd.Timestamp:
        unit, text = self.text(), self.text()
        found = pd.Timestamp(np.datetime64(self.int64(), unit))  # type: ignore[call-overload]
        # A key makes the zone that this pandas takes by default.
        zone = read_zone(text) if text.startswith("@") else text
        return found if not text else found.tz_localize("UTC").tz_convert(zone)

    def timedelta(self) -> pd.Timedelta:
        unit = self.text()
        return pd.Timedelta(np.timedelta64(self.int64(), unit))  # type: ignore[call-overload]

    def interval(self) -> pd.Interval:
        closed = self.text()
        return pd.Interval(self.cell(1), self.cell(1), closed)


def _plain_dtype(text: str) -> np.dtype[Any]:
    dtype = np.dtype(text)
    if dtype.kind not in _PLAIN_ARRAYS:
        raise ValueError("not a plain dtype")
    return dtype


_READERS: Final[dict[bytes, Callable[[_Reader], Any]]] = {
    b"i": _Reader.int64,
    b"I": lambda reader: int.from_bytes(reader.sized(), "little", signed=True),
    b"d": _Reader.float64,
    b"c": lambda reader: complex(reader.float64(), reader.float64()),
    b"s": _Reader.text,
    b"b": _Reader.sized,
    b"D": lambda reader: Decimal(reader.text()),
    b"y": lambda reader: date.fromisoformat(reader.text()),
    b"Y": lambda reader: reader.moment(datetime),
    b"h": lambda reader: reader.moment(time),
    b"H": lambda reader: timedelta(*struct.unpack("<qqq", reader.take(24))),
    b"U": lambda reader: UUID(bytes=reader.take(16)),
    b"S": _Reader.timestamp,
    b"L": _Reader.timedelta,
    b"p": lambda reader: pd.Period(freq=reader.text(), ordinal=reader.int64()),
    b"v": _Reader.interval,
    b"a": _Reader.array,
    b"n": _Reader.scalar,
}
