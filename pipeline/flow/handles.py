"""Handles: what the call of an op returns inside a flow, in place of data that does not exist yet.

Invariant: a handle can be handed on, and unpacked where its op declares several outputs. Whatever
else is done with one raises, with the file and line of the flow that did it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NoReturn

from aq.formats.errors import UsageError
from aq.pipeline.code.frames import caller
from aq.pipeline.flow.graph import Leaf, Output
from aq.pipeline.flow.ops import recorder


class Handle:
    """Stands for a value that a run will make or read: an output of a step, or a source."""

    __slots__ = ("_leaf", "_metric", "_outputs")

    def __init__(self, leaf: Leaf, outputs: tuple[str, ...] = (), metric: Any = None) -> None:
        self._leaf = leaf
        self._outputs = outputs
        self._metric = metric

    def __iter__(self) -> Iterator[Handle]:
        if not self._outputs or not isinstance(self._leaf, Output):
            _refuse(self, "iterates over it")
        step = self._leaf.step
        return iter([Handle(Output(step, output)) for output in self._outputs])

    def __getitem__(self, key: Any) -> Handle:
        if isinstance(key, int) and -len(self._outputs) <= key < len(self._outputs):
            return list(self)[key]
        if key not in self._outputs or not isinstance(self._leaf, Output):
            _refuse(self, f"takes [{key!r}] of it")
        return Handle(Output(self._leaf.step, key))

    def __len__(self) -> int:
        return len(self._outputs) if self._outputs else _refuse(self, "asks for its length")

    def bound(self, **limits: Any) -> Handle:
        """Check this metric's value: see `Op.bound`. Returns the metric again."""
        if self._metric is None:
            _refuse(self, "takes .bound of it")
        self._metric.bound(**limits)(self)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_repr_", "_ipython_")):
            raise AttributeError(name)
        _refuse(self, f"takes .{name} of it")

    def __repr__(self) -> str:
        name = self._leaf.path
        return f"<{name}: no data yet>"

    __hash__ = object.__hash__


def _refuse(handle: Handle, what: str) -> NoReturn:
    active = recorder.get()
    line = caller(None if active is None else active.root)
    name = leaf_of(handle).path
    raise UsageError(f"{line} {what}: the data of {name} does not exist yet; move this line into an op")


def leaf_of(handle: Handle) -> Leaf:
    """What a handle stands for."""
    found: Leaf = object.__getattribute__(handle, "_leaf")
    return found


def outputs_of(handle: Handle) -> tuple[str, ...]:
    """The declared outputs of a handle that stands for several."""
    found: tuple[str, ...] = object.__getattribute__(handle, "_outputs")
    return found


def _refusing(what: str) -> Any:
    def method(self: Handle, *_: Any) -> NoReturn:
        _refuse(self, what)

    return method


_BINARY: Final = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
)
_UNARY: Final = ("neg", "pos", "abs", "invert", "round")
_REFUSED: Final = {
    "asks whether it is true": ("bool",),
    "compares it": ("eq", "ne", "lt", "le", "gt", "ge"),
    "looks for something in it": ("contains",),
    "calculates with it": (*_BINARY, *(f"r{name}" for name in _BINARY), *_UNARY),
    "turns it into a number": ("int", "float", "complex", "index"),
    "turns it into an array": ("array", "arrow_c_stream", "dataframe"),
    "turns it into text": ("str", "format"),
    "calls it": ("call",),
    "changes it": ("setitem", "delitem"),
    "opens it": ("enter", "exit", "fspath"),
}
for _what, _names in _REFUSED.items():
    for _name in _names:
        setattr(Handle, f"__{_name}__", _refusing(_what))
