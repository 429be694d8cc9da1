"""Reads a pickle without executing it: what it would build, as inert nodes.

Invariant: nothing is imported or called, whatever the opcodes say; bytes that are no pickle of
aq's raise Damaged. Nodes may contain themselves: who walks them remembers where it was.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec
from aq.formats.errors import Damaged

_MARK: Final = object()
_BEGINNING: Final = 100
_BROKEN: Final = (ValueError, IndexError, TypeError, AttributeError, KeyError, EOFError)


class Global(msgspec.Struct, frozen=True, eq=False):
    """A function or class by name."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"


class Buffer(msgspec.Struct, frozen=True, eq=False):
    """The n-th buffer beside the opcodes."""

    index: int


class Outside(msgspec.Struct, frozen=True, eq=False):
    """Something that is stored elsewhere, under this name."""

    name: Any


class Pairs(msgspec.Struct, eq=False):
    """A dict."""

    items: list[tuple[Any, Any]] = []


class Group(msgspec.Struct, eq=False):
    """A set or frozenset, in stored order."""

    items: list[Any]
    frozen: bool = False


class Made(msgspec.Struct, eq=False):
    """What a call of `function` would return, with the state that it would be given."""

    function: Any
    arguments: Any
    state: Any = None
    items: list[Any] = []
    pairs: Pairs = msgspec.field(default_factory=Pairs)


def read_pickle(opcodes: bytes) -> Any:
    """The value as nodes: atoms, lists and tuples as themselves, the rest as the classes above."""
    machine = Machine()
    try:
        for opcode, argument, _ in pickletools.genops(opcodes):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (
        ValueError,
        IndexError,
        TypeError,
        AttributeError,
        KeyError,
        EOFError,
        UnicodeDecodeError,
    ) as error:
        raise Damaged(f"a pickle cannot be read: {error}") from None
    raise Damaged("a pickle cannot be read: it has no end")


def read_beginning(opcodes: bytes) -> Any:
    """The outermost object as far as the first opcodes make it, or the callable that will make it."""
    machine = Machine()
    try:
        for opcode, argument, _ in islice(pickletools.genops(opcodes), _BEGINNING):
            machine.step(opcode.name, argument)
        return machine.stack[0]
    except _BROKEN as error:
        raise Damaged(f"a pickle cannot be read: {error}") from None


def is_written(name: str) -> bool:
    """Whether aq writes opcodes of this name."""
    return name in _WRITTEN


class Machine:
    """The stack machine of pickle, restricted to what aq writes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self.buffers = 0
        self.steps: dict[str, Callable[[Any], None]] = {
            "NONE": lambda _: self.stack.append(None),
            "NEWTRUE": lambda _: self.stack.append(True),
            "NEWFALSE": lambda _: self.stack.append(False),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_DICT": lambda _: self.stack.append(Pairs()),
            "EMPTY_SET": lambda _: self.stack.append(Group([])),
            "MARK": lambda _: self.stack.append(_MARK),
            "POP": lambda _: self.pop(),
            "POP_MARK": lambda _: self.drop_mark(),
            "PROTO": lambda _: None,
            "READONLY_BUFFER": lambda _: None,
            "MEMOIZE": lambda _: self.memo.append(self.stack[-1]),
            "BINGET": lambda index: self.stack.append(self.memo[index]),
            "LONG_BINGET": lambda index: self.stack.append(self.memo[index]),
            "TUPLE": lambda _: self.stack.append(tuple(self.since_mark())),
            "TUPLE1": lambda _: self.stack.append(tuple(self.last(1))),
            "TUPLE2": lambda _: self.stack.append(tuple(self.last(2))),
            "TUPLE3": lambda _: self.stack.append(tuple(self.last(3))),
            "FROZENSET": lambda _: self.stack.append(Group(self.since_mark(), frozen=True)),
            "APPEND": lambda _: self.append(self.last(1)),
            "APPENDS": lambda _: self.append(self.since_mark()),
            "ADDITEMS": lambda _: self.append(self.since_mark()),
            "SETITEM": lambda _: self.set_items(self.last(2)),
            "SETITEMS": lambda _: self.set_items(self.since_mark()),
            "STACK_GLOBAL": lambda _: self.stack_global(),
            "REDUCE": lambda _: self.stack.append(Made(*self.last(2))),
            "NEWOBJ": lambda _: self.stack.append(Made(*self.last(2))),
            "NEWOBJ_EX": lambda _: self.stack.append(Made(*self.last(3)[:2])),
            "BUILD": lambda _: self.build(),
            "NEXT_BUFFER": lambda _: self.next_buffer(),
            "BINPERSID": lambda _: self.stack.append(Outside(self.pop())),
        }

    def step(self, name: str, argument: Any) -> None:
        """One opcode. What is not in the table pushes its argument: a number, a text, bytes."""
        action = self.steps.get(name)
        if action is not None:
            action(argument)
        elif name.startswith(("BIN", "SHORT_BIN", "LONG", "BYTEARRAY")) and argument is not None:
            self.stack.append(argument)
        else:
            raise ValueError(f"opcode {name} is none that aq writes")

    def pop(self) -> Any:
        """The top of the stack."""
        return self.stack.pop()

    def last(self, count: int) -> list[Any]:
        """The last items, removed."""
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def since_mark(self) -> list[Any]:
        """The items above the last mark, removed with it."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def drop_mark(self) -> None:
        """Forget the items above the last mark."""
        self.since_mark()

    def append(self, items: list[Any]) -> None:
        """Extend the list, set or object below."""
        top = self.stack[-1]
        (top if isinstance(top, list) else top.items).extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Extend the dict or object below."""
        top = self.stack[-1]
        pairs = top.pairs if isinstance(top, Made) else top
        pairs.items.extend(zip(items[::2], items[1::2], strict=True))

    def build(self) -> None:
        """Give the object below its state."""
        (state,) = self.last(1)
        self.stack[-1].state = state

    def stack_global(self) -> None:
        """Push what the two texts below name."""
        module, name = self.last(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a global has no name")
        self.stack.append(Global(module, name))

    def next_buffer(self) -> None:
        """Push the next buffer."""
        self.stack.append(Buffer(self.buffers))
        self.buffers += 1


_ATOMS: Final = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_WRITTEN: Final = frozenset(("STOP", *_ATOMS.split(), *Machine().steps))
