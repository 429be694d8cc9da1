"""Fingerprints of Python values: what stands for a value inside a step's key.

Invariant: equal fingerprints mean equal values, in type and content, in every process and under
every hash seed, however deep they nest. Code has none here: `foreign` names it, or it is refused.
numpy, pandas and pyarrow are imported only for values of theirs (docs/format.md, section 9).
"""

from __future__ import annotations

import enum
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final, NamedTuple, cast

from aq.formats.classes import library_of
from aq.formats.errors import Unstorable
from aq.formats.places import Place, placed
from aq.formats.python.leftovers import without_addresses
from aq.formats.python.reducing import global_name, reduction, refused
from aq.formats.showing import show
from blake3 import blake3

__all__ = ["fingerprint", "show"]

Foreign = Callable[[object], str | None]
Steps = Generator[tuple[Place, Any], bytes, bytes]
"""Makes one image: hands out each inner value with its place, is sent the image of it."""

LONG: Final = 1024
_FIRST: Final = b"aq value 1"
_NAN: Final = bytes.fromhex("000000000000f87f")
_LIBRARIES: Final = frozenset({"numpy", "pandas", "pyarrow", "polars"})
_KNOWN: Final = frozenset({*_LIBRARIES, *sys.stdlib_module_names, "dateutil", "pytz"})
_CODE: Final = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


def fingerprint(value: object, *, at: str = "", foreign: Foreign | None = None) -> str:
    """64 hexadecimal digits that stand for the value.

    `foreign` is asked about code, and about objects of other libraries and of the user: a text that
    identifies one, or None to have it reduced as `pickle` would. Without it these are refused:
    raises Unstorable with the place inside the value, which begins with `at`.
    """
    return blake3(_FIRST + _Images(foreign).image(value, at)).hexdigest()


def tagged(tag: bytes, content: bytes) -> bytes:
    """An image: a tag of one byte, the length of the content, the content."""
    return tag + struct.pack("<Q", len(content)) + content


def shortened(image: bytes) -> bytes:
    """The image, or where it is long its digest."""
    return image if len(image) <= LONG else tagged(b"#", blake3(image).digest())


def atom(value: object) -> bytes | None:
    """The image of a value that holds no others, else None."""
    make = _ATOMS.get(type(value))
    return None if make is None else shortened(make(value))


def _float(value: float) -> bytes:
    return _NAN if value != value else struct.pack("<d", value)


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


_ATOMS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: tagged(b"N", b"None"),
    type(...): lambda _: tagged(b"N", b"Ellipsis"),
    type(NotImplemented): lambda _: tagged(b"N", b"NotImplemented"),
    bool: lambda value: tagged(b"b", b"\1" if value else b"\0"),
    int: lambda value: tagged(b"i", b"%x" % value),
    float: lambda value: tagged(b"f", _float(value)),
    complex: lambda value: tagged(b"c", _float(value.real) + _float(value.imag)),
    str: lambda value: tagged(b"s", _text(value)),
    bytes: lambda value: tagged(b"y", value),
    bytearray: lambda value: tagged(b"Y", bytes(value)),
}


class _Frame(NamedTuple):
    """A value at work, and how far up the values inside the one around it led back."""

    value: object
    steps: Steps
    lowest: int


class _Images:
    """Makes images. Objects that it has seen stay alive, so that their ids stay theirs."""

    def __init__(self, foreign: Foreign | None) -> None:
        self._foreign = foreign
        self._done: dict[int, tuple[bytes, object]] = {}
        self._open: dict[int, int] = {}
        self._lowest = sys.maxsize
        self._stack: list[_Frame] = []

    def image(self, value: object, at: str) -> bytes:
        """The image of a value, at most 1,024 bytes or so long. Raises Unstorable with the place."""
        places: list[Place] = []
        try:
            made = self._begin(value)
            while self._stack:
                del places[len(self._stack) - 1 :]
                try:
                    place, inner = self._stack[-1].steps.send(cast(bytes, made))
                except StopIteration as stop:
                    made = self._end(shortened(stop.value))
                else:
                    places.append(place)
                    made = self._begin(inner)
        except Unstorable as error:
            raise placed(error, at, places) from error.__cause__
        return cast(bytes, made)

    def _begin(self, value: object) -> bytes | None:
        """The image of a value that is simple, known or at work already; None where work on it began."""
        simple = atom(value)
        if simple is not None:
            return simple
        key = id(value)
        done = self._done.get(key)
        if done is not None:
            return done[0]
        if key in self._open:
            self._lowest = min(self._lowest, self._open[key])
            return tagged(b"^", struct.pack("<Q", len(self._open) - self._open[key]))
        self._stack.append(_Frame(value, self._steps(value), self._lowest))
        self._open[key] = len(self._open)
        self._lowest = sys.maxsize
        return None

    def _end(self, made: bytes) -> bytes:
        """Close the value at work. Where nothing inside led back above it, its image holds anywhere."""
        value, _, outer = self._stack.pop()
        depth = self._open.pop(id(value))
        if self._lowest >= depth:
            self._done[id(value)] = made, value
            self._lowest = sys.maxsize
        self._lowest = min(self._lowest, outer)
        return made

    def _steps(self, value: Any) -> Steps:
        kind = type(value)
        containers = _CONTAINERS.get(kind)
        if containers is not None:
            return containers(value)
        library = library_of(kind)
        if library in _LIBRARIES:
            from aq.formats.python import canonical_columns

            steps = canonical_columns.steps(value, library)
            if steps is not None:
                return steps
        return self._code(value) if isinstance(value, _CODE) else self._object(value, library)

    def _named(self, value: object) -> bytes | None:
        text = None if self._foreign is None else self._foreign(value)
        return None if text is None else tagged(b"x", _text(text))

    def _code(self, value: Any) -> Steps:
        """Code as the hook names it; without one, only what comes with Python, and library classes."""
        yield from ()
        named = self._named(value)
        if named is not None:
            return named
        home = (getattr(value, "__module__", None) or "").partition(".")[0]
        if isinstance(value, type) and home in _KNOWN:
            return _global(value)
        of_python = isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType)
        if of_python and home in _KNOWN - _LIBRARIES:
            return _global(value)
        what = {type: "class", ModuleType: "module"}.get(type(value), "function")
        raise Unstorable(f"the {what} {getattr(value, '__qualname__', value.__name__)} is code, not a value")

    def _object(self, value: Any, library: str) -> Steps:
        """Any other object: as the hook names it, else its class and its reduction."""
        named = self._named(value)
        if named is not None:
            return named
        if (self._foreign is None and library not in _KNOWN) or type(value) is object:
            raise refused(value, None, "cannot be compared")
        if isinstance(value, enum.Enum):
            return tagged(b"o", (yield "", type(value)) + (yield "", value.name) + (yield "", value.value))
        answer = _native(value, library) or reduction(value, "cannot be compared")
        if isinstance(answer, str):
            if self._foreign is None and library in _LIBRARIES:
                raise Unstorable(f"{answer} of {library} is code, not a value")
            return _global(value, answer)
        function, arguments, state, items, pairs = (list(answer) + [None] * 3)[:5]
        try:
            images = [self._by_name(type(value)), self._by_name(function)]
        except Unstorable as error:
            raise refused(value, None, "cannot be compared") from error
        for at, argument in enumerate(arguments):
            images.append(self._by_name(argument) if isinstance(argument, type) else (yield at, argument))
        images.append((yield from _state(state)) if state is not None else b"")
        images.append((yield from _sequence(b"l", items or ())))
        images.append((yield from _pairs(b"d", pairs or ())))
        return tagged(b"o", b"".join(images))

    def _by_name(self, code: Any) -> bytes:
        """What an object is made by: as the hook names it, else by its global name."""
        return self._named(code) or _global(code)


def _native(value: Any, library: str) -> tuple[Any, ...] | None:
    """What a tensor of torch is made of: its own reduction tells where it lies in memory."""
    if library != "torch":
        return None
    from aq.formats.models.torch_values import in_full

    return in_full(value)


def _global(value: Any, name: str | None = None) -> bytes:
    return tagged(b"g", _text(":".join(global_name(value, name))))


def _sequence(tag: bytes, values: Iterable[Any]) -> Steps:
    images = []
    for at, item in enumerate(values):
        images.append(atom(item) or (yield at, item))
    return tagged(tag, b"".join(images))


def _pairs(tag: bytes, pairs: Iterable[tuple[Any, Any]], *, attributes: bool = False) -> Steps:
    images = []
    for key, item in pairs:
        first = atom(key) or (yield "", key)
        images.append(first + (atom(item) or (yield (f".{key}" if attributes else (key,)), item)))
    return tagged(tag, b"".join(sorted(images)))


def _group(tag: bytes, values: Iterable[Any]) -> Steps:
    images = []
    for item in values:
        images.append(atom(item) or (yield "{}", item))
    return tagged(tag, b"".join(sorted(images)))


def _state(state: Any) -> Steps:
    if type(state) is dict:
        return (yield from _pairs(b"d", without_addresses(state).items(), attributes=True))
    return (yield "", state)


def made_of(kind: type, *parts: Any) -> Steps:
    """An object as its class and what it was made of."""
    images = [_global(kind)]
    for part in parts:
        images.append((yield "", part))
    return tagged(b"o", b"".join(images))


_CONTAINERS: Final[dict[type, Callable[[Any], Steps]]] = {
    list: lambda value: _sequence(b"l", value),
    tuple: lambda value: _sequence(b"t", value),
    dict: lambda value: _pairs(b"d", value.items()),
    set: lambda value: _group(b"S", value),
    frozenset: lambda value: _group(b"F", value),
    OrderedDict: lambda value: made_of(OrderedDict, list(value.items())),
    MappingProxyType: lambda value: made_of(MappingProxyType, dict(value)),
}
