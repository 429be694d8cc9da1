"""The opcodes of a pickle as they are written, and the memo that goes with them.

Invariant: immutables are remembered by what they are, everything else by which object it is, so
that a stream does not tell how often equal texts, tuples or numbers were shared in memory.
It knows no object's inside: that is the pickler's.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

from aq.formats.identity import Buffer
from aq.formats.python.reducing import is_immutable, recipe, reduction

_PARTS_MOST: Final = 64
_DEPTH_MOST: Final = 16
_GLOBALS: Final = frozenset({type, FunctionType, BuiltinFunctionType})


class Tape:
    """Opcodes written so far. `direct` holds the writers of the types that have no inside."""

    def __init__(self) -> None:
        self.out = bytearray(pickle.PROTO + b"\x05")
        self._memo: dict[int, tuple[int, object]] = {}
        self._known: dict[Any, int] = {}
        self._texts: dict[str, int] = {}
        self._depths: dict[int, tuple[int, object]] = {}
        self._count = 0
        self._numpy: Any = sys.modules.get("numpy")
        self.direct: dict[type, Callable[[Any], None]] = {
            type(None): lambda _: self.write(pickle.NONE),
            bool: lambda value: self.write(pickle.NEWTRUE if value else pickle.NEWFALSE),
            int: self._int,
            float: lambda value: self.write(pickle.BINFLOAT + struct.pack(">d", value)),
            str: self.text,
        }

    def write(self, data: Buffer) -> None:
        """Append opcodes."""
        self.out += data

    def sized(self, data: Buffer, short: bytes, middle: bytes, long: bytes) -> None:
        """Append data with the opcode for its length: of one, four or eight bytes."""
        size = len(data)
        if size < 256:
            self.out += short + bytes((size,))
        elif size < 1 << 32:
            self.out += middle + struct.pack("<I", size)
        else:
            self.out += long + struct.pack("<Q", size)
        self.out += data

    def text(self, value: str) -> None:
        """A string: in full the first time."""
        index = self._texts.get(value)
        if index is not None:
            self.fetch(index)
            return
        data = value.encode("utf-8", "surrogatepass")
        self.sized(data, pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8)
        self.out += pickle.MEMOIZE
        self._texts[value] = self._count
        self._count += 1

    def _int(self, value: int) -> None:
        if 0 <= value < 256:
            self.out += pickle.BININT1 + bytes((value,))
        elif 0 <= value < 65_536:
            self.out += pickle.BININT2 + struct.pack("<H", value)
        elif -(1 << 31) <= value < 1 << 31:
            self.out += pickle.BININT + struct.pack("<i", value)
        else:
            data = pickle.encode_long(value)
            if len(data) < 256:
                self.out += pickle.LONG1 + bytes((len(data),)) + data
            else:
                self.out += pickle.LONG4 + struct.pack("<i", len(data)) + data

    def fetch(self, index: int) -> None:
        """Push what has this memo index."""
        if index < 256:
            self.out += pickle.BINGET + bytes((index,))
        else:
            self.out += pickle.LONG_BINGET + struct.pack("<I", index)

    def seen(self, value: object) -> int | None:
        """The memo index of this very object."""
        entry = self._memo.get(id(value))
        return None if entry is None else entry[0]

    def memoise(self, value: object, key: Any = None) -> None:
        """Give what is on top of the unpickler's stack the next memo index; `value` is kept alive."""
        self.out += pickle.MEMOIZE
        self._memo[id(value)] = self._count, value
        if key is not None:
            self._known[key] = self._count
        self._count += 1

    def fetch_equal(self, value: object, key: Any) -> bool:
        """Push an immutable that equals one written before; False where there is none."""
        index = None if key is None else self._known.get(key)
        if index is None:
            return False
        self.fetch(index)
        self._memo[id(value)] = index, value
        return True

    def knows(self, key: Any) -> bool:
        """Whether an immutable of this key was written."""
        return key is not None and key in self._known

    def learn(self, value: object) -> None:
        """Remember by its key an immutable that was memoised by identity."""
        key = self.key(value)
        if key is not None:
            self._known.setdefault(key, self._memo[id(value)][0])

    def key(self, value: Any) -> Any:
        """What an immutable is, in terms of what was written; None where that cannot be said (yet).

        Tuples and frozensets of more than 64 parts or nested too deep, and all that is mutable, have none.
        """
        kind = type(value)
        if kind is bytes:
            return kind, value
        if kind is tuple or kind is frozenset:
            if len(value) > _PARTS_MOST or self._is_deep(value):
                return None
            keys = self._keys(value)
            return None if keys is None else (kind, *keys) if kind is tuple else (kind, frozenset(keys))
        call = (recipe(value) or reduction(value)) if self.is_value(value) else ""
        if isinstance(call, str):
            return None
        states: list[Any] = []
        for state in call[2:]:
            states += [dict, *state, *state.values()] if type(state) is dict else [state]
        keys = self._keys([call[0], *call[1], *states])
        return None if keys is None else (object, len(call[1]), *keys)

    def _is_deep(self, value: Any, left: int = _DEPTH_MOST) -> bool:
        """Whether tuples and frozensets nest deeper than `left` in one."""
        known = self._depths.get(id(value))
        if known is not None:
            return known[0] > left
        if left == 0:
            return True
        deepest = 0
        for part in value:
            if type(part) is tuple or type(part) is frozenset:
                if self._is_deep(part, left - 1):
                    return True
                deepest = max(deepest, self._depths[id(part)][0])
        self._depths[id(value)] = deepest + 1, value
        return False

    def _keys(self, parts: Iterable[Any]) -> list[Any] | None:
        keys = []
        for part in parts:
            key = self._part_key(part)
            if key is None:
                return None
            keys.append(key)
        return keys

    def _part_key(self, part: Any) -> Any:
        kind = type(part)
        if kind is float:
            return kind, struct.pack("<d", part)
        if kind in self.direct or kind in _GLOBALS:
            return kind, part
        if kind is tuple and not part:
            return (kind,)
        index = self.seen(part)
        if index is None:
            key = self.key(part)
            index = None if key is None else self._known.get(key)
            if index is not None:
                self._memo[id(part)] = index, part
        return index

    def is_value(self, value: object) -> bool:
        """Whether the object is an immutable of a library: equal ones can stand for each other."""
        numpy = self._numpy
        if numpy is not None and isinstance(value, (numpy.generic, numpy.dtype)):
            return True
        return is_immutable(type(value))
