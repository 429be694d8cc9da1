"""The graph of a traced flow: steps in topological order, their arguments, and what they read.

Invariant: frozen data, without a repository. An argument is a constant, a source, an output of an
earlier step, or a list, tuple or dict that holds some of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, Signature
from typing import Any

import msgspec
from aq.pipeline.flow.ops import Flow, Op
from msgspec.structs import replace


class Constant(msgspec.Struct, frozen=True):
    """A value that the flow gave itself."""

    value: Any


class Read(msgspec.Struct, frozen=True):
    """One `aq.read`: `path` as it was written, `name` where given, `options` of the parser."""

    path: str
    name: str | None
    options: Mapping[str, Any]
    where: str
    index: int

    @property
    def label(self) -> str:
        """The name under which people know the source."""
        return self.name or self.path


class Output(msgspec.Struct, frozen=True):
    """One output of an earlier step; `output` is empty where the step has only one."""

    step: str
    output: str = ""

    @property
    def path(self) -> str:
        """FLOW/NAME or FLOW/NAME/OUTPUT."""
        return f"{self.step}/{self.output}" if self.output else self.step


Leaf = Read | Output


class Group(msgspec.Struct, frozen=True):
    """A list, tuple or dict that holds sources or outputs. `keys` are positions, or the dict's keys."""

    kind: type
    keys: tuple[Any, ...]
    items: tuple[Argument, ...]


Argument = Constant | Read | Output | Group


class Node(msgspec.Struct, frozen=True):
    """One step: `name` is FLOW/NAME, `outputs` the names of its outputs ("" for a single one).

    Of a map `each` is the parameter that gets one item a call; the items stand under `place`. `annotated`:
    what the function is annotated with, see `hints.resolve`.
    """

    name: str
    op: Op[..., Any]
    signature: Signature
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]
    where: str
    each: str = ""
    annotated: Mapping[str, Any] = {}

    @property
    def role(self) -> str:
        """One of op, metric, check, map."""
        return "map" if self.each else self.op.role

    @property
    def place(self) -> str:
        """Where among the arguments the items of a map are: no parameter can be called so."""
        return f"each {self.each}"

    def leaves(self) -> Iterator[tuple[str, Leaf]]:
        """Every artifact among the arguments under its place, such as `frames[0]`."""
        for name, argument in self.arguments.items():
            yield from leaves(name, argument)

    def upstream(self) -> set[str]:
        """The names of the steps whose outputs this one takes."""
        return {leaf.step for _, leaf in self.leaves() if isinstance(leaf, Output)}

    def call(self, fill: Callable[[str, Leaf], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments, each artifact replaced by what `fill` gives for its place."""
        values = {name: build(name, argument, fill) for name, argument in self.arguments.items()}
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if name not in values:
                continue
            if parameter.kind is Parameter.VAR_POSITIONAL:
                args.extend(values[name])
            elif parameter.kind is Parameter.VAR_KEYWORD:
                kwargs.update(values[name])
            elif parameter.kind is Parameter.KEYWORD_ONLY:
                kwargs[name] = values[name]
            else:
                args.append(values[name])
        return tuple(args), kwargs


class Graph(msgspec.Struct, frozen=True):
    """A traced flow. `params` are the values that the flow function was called with; the names of
    its steps begin with `space`: the flow's name, and of a partition its values.
    """

    flow: Flow[..., Any]
    params: Mapping[str, Any]
    steps: tuple[Node, ...]
    reads: tuple[Read, ...]
    space: str

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.flow.name

    def up_to(self, names: Iterable[str]) -> Graph:
        """The part of the graph that these steps need, themselves included."""
        wanted = set(names)
        for node in reversed(self.steps):
            if node.name in wanted:
                wanted |= node.upstream()
        steps = tuple(node for node in self.steps if node.name in wanted)
        used = {leaf.index for node in steps for _, leaf in node.leaves() if isinstance(leaf, Read)}
        return replace(self, steps=steps, reads=tuple(read for read in self.reads if read.index in used))


def leaves(place: str, argument: Argument) -> Iterator[tuple[str, Leaf]]:
    """Every artifact inside an argument under its place."""
    if isinstance(argument, Group):
        for key, item in zip(argument.keys, argument.items, strict=True):
            yield from leaves(f"{place}[{key!r}]", item)
    elif not isinstance(argument, Constant):
        yield place, argument


def build(place: str, argument: Argument, fill: Callable[[str, Leaf], Any]) -> Any:
    """The value of an argument. Containers are made anew each time: an op may change its own."""
    if isinstance(argument, Constant):
        return fresh(argument.value)
    if isinstance(argument, Group):
        keyed = zip(argument.keys, argument.items, strict=True)
        items = [build(f"{place}[{key!r}]", item, fill) for key, item in keyed]
        return dict(zip(argument.keys, items, strict=True)) if argument.kind is dict else argument.kind(items)
    return fill(place, argument)


def fresh(value: Any) -> Any:
    """A copy of nested plain containers; anything else is itself."""
    if type(value) is dict:
        return {key: fresh(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(fresh(item) for item in value)
    return set(value) if type(value) is set else value
