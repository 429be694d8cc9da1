"""Tracing: run a flow's function with handles in place of data, and get its graph.

Invariant: the order of calls is a topological order, since a handle exists only after the call
that made it: a graph has no cycle. Nothing of an op's body runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from aq.formats.errors import AqError, OpFailed, UsageError
from aq.pipeline.code.frames import caller, last_place, one_line, trimmed
from aq.pipeline.code.native_reads import original
from aq.pipeline.flow import hints, mapping, partitions
from aq.pipeline.flow.graph import Argument, Constant, Graph, Group, Node, Output, Read, fresh
from aq.pipeline.flow.handles import Handle, leaf_of, outputs_of
from aq.pipeline.flow.ops import Flow, Op, recorder

_CONTAINERS: Final = (list, tuple, dict)
_PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None)})


def trace(flow: Flow[..., Any], params: Mapping[str, Any], *, root: Path | None = None) -> Graph:
    """The graph of a flow called with these values (see `params.bind`).

    `root` shortens the file names in messages. Raises UsageError for a flow that is not one: no
    op, a name twice, wrong arguments; OpFailed where the flow's own code raises.
    """
    tracing = Tracing(flow, root, partitions.space(flow, params))
    token = recorder.set(tracing)
    try:
        flow.function(**params)
    except (AqError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _failed(flow, error, root) from error
    finally:
        recorder.reset(token)
    return tracing.graph(params)


def _failed(flow: Flow[..., Any], error: BaseException, root: Path | None) -> OpFailed:
    where = last_place(error, root)
    failure = OpFailed(f"the flow {flow.name} failed at {where}: {one_line(error)}")
    failure.trace = trimmed(error, root)
    return failure


class _Face(NamedTuple):
    """The parameters and the annotations of a function, which is held so that its id stays its own."""

    signature: inspect.Signature
    annotated: Mapping[str, Any]
    function: object


class Tracing:
    """The recorder of one flow."""

    def __init__(self, flow: Flow[..., Any], root: Path | None, space: str) -> None:
        self.flow = flow
        self.root = root
        self.space = space
        self.nodes: dict[str, Node] = {}
        self.reads: list[Read] = []
        self.expected: dict[int, tuple[Op[..., Any], str]] = {}
        self._faces: dict[int, _Face] = {}

    def call(self, op: Op[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle:
        """Add a step. Raises UsageError where the arguments do not fit or the name is taken."""
        return self._add(op, args, kwargs, caller(self.root))

    def map(self, op: Op[..., Any], items: Any, shared: dict[str, Any]) -> Handle:
        """Add a step that calls an op once for each item. Raises UsageError for what cannot be."""
        where = caller(self.root)
        each = mapping.parameter(op, shared, where)
        if not isinstance(items, Handle):
            items = mapping.spread(items, f"{where}: aq.map({op.name}, …)")
        is_first = next(iter(self._face(op).signature.parameters)) == each
        given = {**op.preset, **shared} if is_first else {**op.preset, **shared, each: items}
        return self._add(op, (items,) if is_first else (), given, where, each)

    def _add(
        self, op: Op[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], where: str, each: str = ""
    ) -> Handle:
        name = f"{self.space}/{op.name}"
        self._refuse_taken(name, op, where)
        signature, annotated, _ = self._face(op)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{where} calls {op.name}{signature} with wrong arguments: {error}") from None
        bound.apply_defaults()
        arguments = {parameter: argument(value) for parameter, value in bound.arguments.items()}
        outputs = _outputs(op, annotated)
        node = Node(name, op, signature, arguments, outputs or ("",), where, each, annotated)
        if each:
            arguments[node.place] = arguments.pop(each)
        self.nodes[name] = node
        self.expected.pop(id(op), None)
        return Handle(Output(name), outputs, op if op.role == "metric" else None)

    def _face(self, op: Op[..., Any]) -> _Face:
        """What is looked at in a function; once, for many steps may be of one op."""
        function = op.function
        if id(function) not in self._faces:
            self._faces[id(function)] = _Face(inspect.signature(function), hints.resolve(function), function)
        return self._faces[id(function)]

    def _refuse_taken(self, name: str, op: Op[..., Any], where: str) -> None:
        taken = self.nodes.get(name)
        if taken is not None:
            raise UsageError(
                f"{where} adds {name} a second time (the first is at {taken.where})",
                hint=f'{op.function.__name__}.named("{op.name}_2")(…)',
            )

    def read(self, path: str, name: str | None, options: dict[str, Any]) -> Handle:
        """Add a source, or find the same one again."""
        if any(not isinstance(argument(value), Constant) for value in options.values()):
            raise UsageError(f"{caller(self.root)} reads {path!r} with an option that does not exist yet")
        for read in self.reads:
            if (read.path, read.name) == (path, name) and _same(read.options, options):
                return Handle(read)
        self.reads.append(Read(path, name, fresh(options), caller(self.root), len(self.reads)))
        return Handle(self.reads[-1])

    def expect(self, check: Op[..., Any]) -> None:
        """Note a check made in the flow: it counts for nothing until it is called."""
        self.expected[id(check)] = (check, caller(self.root))

    def graph(self, params: Mapping[str, Any]) -> Graph:
        """The finished graph. Raises UsageError for a flow with no op, or a bound never called."""
        for check, where in self.expected.values():
            metric = check.name.removesuffix("_holds")
            raise UsageError(
                f"{where} declares {check.name} but never calls it", hint=f"{metric}.bound(…)({metric}(…))"
            )
        if not self.nodes:
            raise UsageError(
                f"{self.flow.name} is a flow with no op: call a function decorated with @aq.op",
                hint="aq help run",
            )
        return Graph(self.flow, dict(params), tuple(self.nodes.values()), tuple(self.reads), self.space)


def argument(value: Any) -> Argument:
    """What a call was given: a constant, a handle, or a container with handles inside."""
    if isinstance(value, Handle):
        outputs = outputs_of(value)
        if not outputs:
            return leaf_of(value)
        return Group(tuple, tuple(range(len(outputs))), tuple(leaf_of(part) for part in value))
    if type(value) not in _CONTAINERS:
        _refuse_hidden(value)
        return Constant(fresh(original(value) or value))
    if type(value) is not dict and _PLAIN.issuperset(map(type, value)):  # ten thousand items of a map
        return Constant(type(value)(value))
    keys = tuple(value) if type(value) is dict else tuple(range(len(value)))
    items = tuple(argument(item) for item in (value.values() if type(value) is dict else value))
    if all(isinstance(item, Constant) for item in items):
        return Constant(fresh(value))
    return Group(type(value), keys, items)


def _refuse_hidden(value: Any) -> None:
    """A handle where it would not be found: in a set, a named tuple, a dict of a special kind, a partial."""
    inside: list[Any] = []
    if isinstance(value, partial):
        inside = [*value.args, *value.keywords.values()]
    elif isinstance(value, Mapping):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside = [*value]
    for item in inside:
        if isinstance(item, Handle):
            name, kind = leaf_of(item).path, type(value).__name__
            raise UsageError(
                f"{name} inside a {kind} does not exist yet: hand it over itself, or in a list, tuple or dict"
            )


def _outputs(op: Op[..., Any], annotated: Mapping[str, Any]) -> tuple[str, ...]:
    """The declared outputs: by name, else by the positions of a `tuple[…]` annotation, else none."""
    if op.options.outputs or op.role != "op":
        return op.options.outputs
    width = hints.tuple_width(annotated.get("return"))
    return () if width is None else tuple(str(position) for position in range(width))


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    try:
        return bool(dict(before) == dict(now))
    except Exception:  # options whose comparison raises, such as arrays: two sources
        return False
