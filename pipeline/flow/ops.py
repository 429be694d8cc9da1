"""The decorators `op`, `metric`, `check`, `flow`, and `read`: how a pipeline is written down.

Invariant: outside a flow a decorated function is the plain function. Inside one a call adds a step
to the active recorder and returns a handle; nothing runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from aq.formats import arguments
from aq.formats.errors import UsageError
from aq.pipeline.flow import partitions
from aq.pipeline.flow.options import Better, Options, Severity, of_arguments, one_of, valid_name

if TYPE_CHECKING:
    from typing import Unpack

    from aq.formats.artifacts.metric_values import Metric
    from aq.pipeline.flow import limits

P = ParamSpec("P")
R = TypeVar("R")


class Recorder(Protocol):
    """What a flow being traced offers to the calls inside it. `root`: the project's folder."""

    root: Path | None

    def call(self, op: Op[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add a step and return its handle."""

    def read(self, path: str, name: str | None, options: dict[str, Any]) -> Any:
        """Add a source and return its handle."""

    def expect(self, check: Op[..., Any]) -> None:
        """Note a check made by `bound`: it must be called before the flow ends."""


recorder: ContextVar[Recorder | None] = ContextVar("aq_recorder", default=None)
"""The flow that is being traced, if any."""

executing: ContextVar[str] = ContextVar("aq_executing", default="")
"""The name of the step that is being executed, if any."""

outside_reader: Callable[[str, str | None, dict[str, Any]], Any] | None = None
"""Gives `read` its value outside a flow; set by the package root, which knows repositories."""


class Op(Generic[P, R]):
    """A function of a pipeline. `role`: op | metric | check; `name`: the last part of its path.

    `preset` holds keyword arguments that every call gets, as the limits of a bound.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        role: str,
        options: Options,
        name: str | None = None,
        preset: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise UsageError(f"@aq.{role} decorates a function, not a {_kind(function)}")
        functools.update_wrapper(self, function)
        self.function = function
        self.role = role
        self.options = options
        self.preset = dict(preset or {})
        self.name = valid_name(_name(function) if name is None else name, role)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        filled: dict[str, Any] = {**self.preset, **kwargs}
        active = recorder.get()
        if active is None:
            return self.function(*args, **filled)
        return cast("R", active.call(self, args, filled))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(cast("Callable[..., Any]", self), instance)

    def named(self, name: str) -> Op[P, R]:
        """The same op under another name, for a second call in one flow."""
        return Op(self.function, role=self.role, options=self.options, name=name, preset=self.preset)

    def bound(
        self,
        *,
        below: float | None = None,
        above: float | None = None,
        key: str | None = None,
        severity: Severity = "error",
        name: str | None = None,
    ) -> Op[..., bool]:
        """A check, to be called with this metric's value: it fails below or above a number, and on NaN.

        `key` chooses one number of a metric that returns a dict.
        """
        if self.role != "metric":
            raise UsageError(f"only a metric has bounds; {self.name} is declared with @aq.{self.role}")
        for side, limit in (("below", below), ("above", above)):
            arguments.require(f"{self.name}.bound", side, "float | None", limit)
        arguments.require(f"{self.name}.bound", "key", "str | None", key)
        limits = {k: v for k, v in (("below", below), ("above", above), ("key", key)) if v is not None}
        if limits.keys() <= {"key"}:
            raise UsageError(f"{self.name}.bound needs below= or above=")
        options = Options(severity=one_of(severity, ("error", "warning"), "severity"))
        plain = f"{self.name}_{key}_holds" if key else f"{self.name}_holds"
        check = Op(within, role="check", options=options, name=plain if name is None else name, preset=limits)
        active = recorder.get()
        if active is not None:
            active.expect(check)
        return check

    def __reduce__(self) -> str:
        return str(self.function.__qualname__)

    def __repr__(self) -> str:
        return f"<aq.{self.role} {self.name}>"


class Flow(Generic[P, R]):
    """A function that wires ops together. Called outside a flow it is the plain function."""

    def __init__(
        self, function: Callable[P, R], *, name: str | None = None, partition: str | Sequence[str] = ()
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise UsageError(f"@aq.flow decorates a function, not a {_kind(function)}")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = valid_name(_name(function) if name is None else name, "flow")
        self.partition = partitions.declared(function, partition)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> str:
        return str(self.function.__qualname__)

    def __repr__(self) -> str:
        return f"<aq.flow {self.name}>"


def within(
    value: Any, *, below: float | None = None, above: float | None = None, key: str | None = None
) -> bool:
    """Whether a metric keeps its bounds. NaN keeps none."""
    number = value if key is None else value[key]
    fits = (below is None or number >= below) and (above is None or number <= above)
    return bool(fits and number == number)


@overload
def op(function: Callable[P, R], /) -> Op[P, R]: ...
@overload
def op(
    *,
    name: str | None = None,
    outputs: Sequence[str] = (),
    key: str | Sequence[str] = (),
    rowwise: bool = False,
    **running: Unpack[limits.Running],
) -> Callable[[Callable[P, R]], Op[P, R]]: ...
def op(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Declare a step of a pipeline.

    `name`: the last part of its path, instead of the function's name. `outputs`: the names of
    several results. `key`: columns that identify a row of the table it returns. `rowwise`: each
    output row depends on its own input row only. `retries`: further attempts after an exception,
    a limit that was passed, or a process that died. `timeout`: seconds, or "10 min", for each attempt.
    `memory`: bytes, or "4 GiB", that its process may have resident.
    `cache="never"`: run every time. `seed`: instead of the flow's. `version`: raise it to re-run.
    `variables`: environment variables that the code reads. `tags`: for people.
    """
    return _decorate("op", function, name, of_arguments("op", options))


@overload
def metric(function: Callable[P, R], /) -> Op[P, R]: ...
@overload
def metric(
    value: float | Mapping[str, float], /, *, better: Better | Mapping[str, Better] | None = None
) -> Metric: ...
@overload
def metric(
    *,
    name: str | None = None,
    better: Better | Mapping[str, Better] | None = None,
    was: str | None = None,
    **running: Unpack[limits.Running],
) -> Callable[[Callable[P, R]], Op[P, R]]: ...
def metric(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Declare a step that returns a number or a flat dict of numbers; or a number to commit by hand.

    `better`: which direction is an improvement, for all or by key. `was`: the name that this
    metric had before. The other arguments are those of `op`.
    """
    made = of_arguments("metric", options)
    if isinstance(function, Real | Mapping):
        from aq.formats.artifacts.metric_values import Metric

        return Metric(function, made.better or "")
    return _decorate("metric", function, name, made)


@overload
def check(function: Callable[P, R], /) -> Op[P, R]: ...
@overload
def check(
    *,
    name: str | None = None,
    severity: Severity = "error",
    **running: Unpack[limits.Running],
) -> Callable[[Callable[P, R]], Op[P, R]]: ...
def check(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Declare a step that returns a bool, or a Series of bool with one value a row.

    A failing check of severity `error` keeps the branch where it is; one of severity `warning`
    is only told. The other arguments are those of `op`.
    """
    return _decorate("check", function, name, of_arguments("check", options))


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *, name: str | None = None, partition: str | Sequence[str] = ()
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(function: Any = None, /, *, name: str | None = None, partition: str | Sequence[str] = ()) -> Any:
    """Declare a pipeline. Its parameters can be set with `-p NAME=VALUE`.

    `name`: the first part of its paths, instead of the function's name. `partition`: parameters whose
    values are the next parts, so that results for other values stay beside these.
    """
    if function is None:
        return lambda decorated: Flow(decorated, name=name, partition=partition)
    return Flow(function, name=name, partition=partition)


def read(path: str | PathLike[str], name: str | None = None, **options: Any) -> Any:
    """Read a file of the repository, or a path that another flow made.

    In a flow this is a source: the path is tracked, and what an op receives follows the op's
    annotation. `name` is the path under which a file from outside the repository is kept;
    `options` go to the parser. Outside a flow it returns the value.
    """
    arguments.require("aq.read", "path", "str | Path", path)
    arguments.require("aq.read", "name", "str | Path | None", name)
    text = str(path)
    active = recorder.get()
    if active is not None:
        return active.read(text, name, options)
    if executing.get():
        where = f"read it in the flow and hand it to {executing.get()}"
        raise UsageError(f"aq.read({text!r}) inside an op: {where}")
    if outside_reader is None:
        raise UsageError(f"aq.read({text!r}) needs a repository", hint="aq init")
    return outside_reader(text, name, options)


def flows_of(namespace: Mapping[str, Any], module: str | None = None) -> dict[str, Flow[..., Any]]:
    """The flows in a module's namespace by name, in order; with `module`, only those defined there."""
    found: dict[str, Flow[..., Any]] = {}
    for value in namespace.values():
        if not isinstance(value, Flow) or module not in (None, value.function.__module__):
            continue
        if found.setdefault(value.name, value) is not value:
            raise UsageError(f"two flows are named {value.name}: give one of them @aq.flow(name=…)")
    return found


def _decorate(role: str, function: Any, name: str | None, options: Options) -> Any:
    if function is None:
        return lambda decorated: Op(_unwrapped(decorated), role=role, options=options, name=name)
    return Op(_unwrapped(function), role=role, options=options, name=name)


def _unwrapped(function: Any) -> Any:
    if isinstance(function, Op | Flow):
        raise UsageError(f"{function!r} is decorated twice")
    return function


def _name(function: object) -> str:
    return str(getattr(function, "__name__", ""))


def _kind(value: object) -> str:
    return "class" if isinstance(value, type) else type(value).__name__
