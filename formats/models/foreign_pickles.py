"""Reads pickles that aq did not write, without executing them: as inert nodes, of every protocol.

Invariant: nothing is imported or called, whatever the opcodes say. What joblib puts between opcodes is
stepped over and kept as its place. Endless streams end: the number of opcodes has a bound.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from math import prod
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from aq.formats import arrays
from aq.formats.errors import Damaged
from aq.formats.python.pickle_reading import Global, Machine, Made, Outside, Pairs
from aq.formats.python.summaries import Tensor

_OPCODES_MOST: Final = 3_000_000
_HELD_MOST: Final = 1 << 30
"""Bytes of texts and arrays inside opcodes."""
_NESTED_MOST: Final = 16
_WRAPPER: Final = "joblib.numpy_pickle.NumpyArrayWrapper"
_RECONSTRUCT: Final = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_FROM_BUFFER: Final = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_SCALAR: Final = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_PUSHED: Final = frozenset({"INT", "LONG", "FLOAT", "STRING", "UNICODE"})
_BROKEN: Final = (
    ValueError, IndexError, TypeError, AttributeError, KeyError, EOFError, OverflowError, RecursionError,
)  # fmt: skip


class Raw(NamedTuple):
    """The elements of an array that lie in the file between opcodes."""

    start: int
    size: int
    order: str


class Elements(NamedTuple):
    """The elements of an array: its numpy dtype, whether in Fortran's order, and their bytes or place."""

    dtype: np.dtype[Any]
    fortran: bool
    data: bytes | Raw


def read_foreign(stream: BinaryIO, nested: int = 0) -> Any:
    """What a pickle would build, as nodes; the stream is left behind its end. Raises Damaged."""
    reader = _Reader(stream, nested)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if opcode.name == "STOP":
                return reader.machine.pop()
            if count > _OPCODES_MOST:
                raise Damaged("a pickle of too many steps")
            reader.step(opcode.name, argument)
    except _BROKEN as error:
        raise Damaged(f"a pickle cannot be read: {error}") from None
    raise Damaged("a pickle cannot be read: it has no end")


class _Reader:
    """The machine for aq's own pickles, with the opcodes that others write beside."""

    def __init__(self, stream: BinaryIO, nested: int) -> None:
        self.machine = machine = Machine()
        self._stream, self._nested = stream, nested
        self._memo: dict[Any, Any] = {}
        self._held = 0
        stack = machine.stack
        self._steps: dict[str, Callable[[Any], None]] = {
            "FRAME": lambda _: None,
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda at: stack.append(self._memo[at])),
            "DUP": lambda _: stack.append(stack[-1]),
            "LIST": lambda _: stack.append(list(machine.since_mark())),
            "DICT": lambda _: self._dict(machine.since_mark()),
            "GLOBAL": lambda name: stack.append(Global(*name.split(" ", 1))),
            "INST": lambda name: self._made(Global(*name.split(" ", 1)), machine.since_mark()),
            "OBJ": lambda _: self._object(machine.since_mark()),
            "PERSID": lambda name: stack.append(Outside(name)),
            "BYTEARRAY8": lambda data: stack.append(bytes(data)),
            "REDUCE": lambda _: stack.append(_scalar_or_call(*machine.last(2))),
            "BUILD": lambda _: self._build(),
        }

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        if isinstance(argument, (bytes, bytearray, str)):
            self._held += len(argument)
            if self._held > _HELD_MOST:
                raise Damaged("a pickle of too many bytes")
        action = self._steps.get(name)
        if action is not None:
            action(argument)
        elif name in _PUSHED:
            self.machine.stack.append(argument)
        else:
            self.machine.step(name, argument)

    def _put(self, at: Any) -> None:
        self._memo[at] = self.machine.stack[-1]

    def _dict(self, items: list[Any]) -> None:
        self.machine.stack.append(Pairs(list(zip(items[::2], items[1::2], strict=True))))

    def _made(self, function: Any, arguments: list[Any]) -> None:
        self.machine.stack.append(Made(function, tuple(arguments)))

    def _object(self, items: list[Any]) -> None:
        self._made(items[0], items[1:])

    def _build(self) -> None:
        self.machine.build()
        node = self.machine.stack[-1]
        if isinstance(node, Made) and str(node.function) == _WRAPPER:
            self._step_over(node)

    def _step_over(self, node: Made) -> None:
        """joblib's array: its elements follow, or a pickle of them where they are objects."""
        state = dict(node.state.items)
        dtype = dtype_of(state.get("dtype"))
        if dtype is None or dtype.hasobject:
            if self._nested > _NESTED_MOST:
                raise Damaged("pickles nest too deep")
            node.items = [read_foreign(self._stream, self._nested + 1)]
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._stream.seek(self._stream.read(1)[0], 1)
        size = prod(state["shape"]) * dtype.itemsize
        start = self._stream.tell()
        if min(state["shape"], default=0) < 0 or self._stream.seek(0, 2) < start + size:
            raise Damaged("an array ends too early")
        self._stream.seek(start + size)
        node.items = [Raw(start, size, str(state.get("order")))]


def dtype_of(node: Any) -> np.dtype[Any] | None:
    """The numpy dtype that a node would make, of objects too; None for any other node."""
    match node:
        case Made(Global(module="numpy", name="dtype"), (str() as text, *_), state=state):
            state = state if isinstance(state, tuple) else ()
            if len(state) > 5 and isinstance(state[3], tuple):
                return _structure(state)
            order = state[1] if len(state) > 1 and state[1] in ("<", ">") else ""
            return np.dtype(f"{order}{text}" if len(text) < 32 else "O")
        case _:
            return None


def _structure(state: tuple[Any, ...]) -> np.dtype[Any]:
    held, names = dict(state[4].items), [str(name) for name in state[3]]
    formats = [dtype_of(held[name][0]) for name in names]
    return np.dtype(
        {
            "names": names,
            "formats": ["O" if one is None else one for one in formats],
            "offsets": [held[name][1] for name in names],
            "itemsize": state[5],
        }
    )


def foreign_tensor(name: str, node: Any) -> Tensor | None:
    """The tensor that a call of numpy's or joblib's makes; its data are `Elements`."""
    if not (isinstance(node, Made) and isinstance(node.function, Global)):
        return None
    try:
        found = _elements(str(node.function), node)
    except _BROKEN:
        return None
    if found is None:
        return None
    elements, shape = found
    described = arrays.describe(elements.dtype)
    size = elements.data.size if isinstance(elements.data, Raw) else len(elements.data)
    if described is None or prod(shape) * elements.dtype.itemsize != size:
        return None
    return Tensor(name.removeprefix("."), described, shape, elements)


def _elements(function: str, node: Made) -> tuple[Elements, tuple[int, ...]] | None:
    dtype: Any = None
    if function in _RECONSTRUCT and isinstance(node.state, tuple) and len(node.state) == 5:
        _, shape, dtype, fortran, data = node.state
    elif function in _FROM_BUFFER and len(node.arguments) == 4:
        data, dtype, shape, order = node.arguments
        fortran = order == "F"
    elif function == _WRAPPER and node.items and isinstance(node.items[0], Raw):
        state = dict(node.state.items)
        data, dtype, shape = node.items[0], state["dtype"], state["shape"]
        fortran = data.order == "F"
    plain, known = as_bytes(data) if dtype is not None else None, dtype_of(dtype)
    if known is None or known.hasobject or plain is None or not all(type(n) is int for n in shape):
        return None
    return Elements(known, bool(fortran), plain), tuple(shape)


def as_bytes(data: Any) -> bytes | Raw | None:
    """Bytes as pickles write them: as they are, or before protocol 3 as a text."""
    match data:
        case Raw() | bytes():
            return data
        case str():
            return data.encode("latin-1")
        case Made(Global(module="_codecs", name="encode"), (str() as text, *_)):
            return text.encode("latin-1")
        case Made(Global(module="__builtin__" | "builtins", name="bytes"), ()):
            return b""
        case _:
            return None


def _scalar_or_call(function: Any, arguments: Any) -> Any:
    """The number or text of a numpy scalar; what else is called, as a node."""
    if str(function) in _SCALAR and len(arguments) == 2:
        known, plain = dtype_of(arguments[0]), as_bytes(arguments[1])
        if known is not None and not known.hasobject and isinstance(plain, bytes):
            found = np.frombuffer(plain, known)[0].item()
            return found if isinstance(found, (bool, int, float, str)) else str(found)
    return Made(function, arguments)
