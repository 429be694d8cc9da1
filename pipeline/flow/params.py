"""A flow's parameters: texts become values of the annotated types before anything runs.

Invariant: `parse(as_text(value))` gives the value again, so that a recorded run can be called
again. The type is the annotation's, else the default's, else text.
"""

from __future__ import annotations

import datetime as dates
import difflib
import enum
import inspect
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import PurePath
from shlex import quote
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

from aq.formats.errors import NotFound, UsageError
from aq.pipeline.flow import hints, redacted
from aq.pipeline.flow.ops import Flow

_BOOLS: Final = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_NONES: Final = ("none", "null")
_ORDER: Final = (int, float, Decimal, bool, dates.date, dates.datetime)
_REQUIRED: Final = inspect.Parameter.empty


class Bound(NamedTuple):
    """Values to call the flow with; the same as texts; and the texts that were given explicitly.

    In `texts` and `given`, which are recorded, a mark stands for a secret; `secrets` has the texts
    of those given. What names a partition counts as given: another default is another partition.
    """

    values: dict[str, Any]
    texts: dict[str, str]
    given: dict[str, str]
    secrets: dict[str, str]


class Parameter(NamedTuple):
    """One parameter of a flow. `types` are its alternatives, none where nothing tells."""

    name: str
    types: tuple[Any, ...]
    default: Any
    optional: bool


def parameters(flow: Flow[..., Any]) -> dict[str, Parameter]:
    """The parameters that can be set, in order."""
    annotated = hints.resolve(flow.function)
    found: dict[str, Parameter] = {}
    for name, parameter in inspect.signature(flow.function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(f"the parameter {name} of {flow.name} has no name to be set by: remove the '/'")
        declared = annotated.get(name)
        optional = parameter.default is None or _allows_none(declared)
        found[name] = Parameter(name, _types(declared, parameter.default), parameter.default, optional)
    return found


def _types(declared: Any, default: Any) -> tuple[Any, ...]:
    known = () if declared is None else tuple(hints.members(declared))
    if known and not any(isinstance(member, str) or member is Any for member in known):
        return known
    return _types_of_default(default)


def bind(flow: Flow[..., Any], given: Mapping[str, Any]) -> Bound:
    """Fill in a flow's parameters. Texts are parsed, other values checked.

    Raises NotFound for an unknown name, UsageError for a value that does not fit or is missing.
    """
    known = parameters(flow)
    for name in given:
        if name not in known:
            raise _unknown(flow, name, given[name], list(known))
        if isinstance(given[name], str) and redacted.is_mark(given[name]):
            raise UsageError(
                f"{flow.name} ran with {name}, a secret that is not recorded", hint=f"aq run -p {name}=VALUE"
            )
    explicit = {name: _accepted(flow, known[name], value) for name, value in given.items()}
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        if name not in explicit and parameter.default is _REQUIRED:
            raise UsageError(
                f"the parameter {name} of {flow.name} has no value", hint=_command(flow, f"-p {name}=VALUE")
            )
        values[name] = explicit.get(name, parameter.default)
    clear = {name: as_text(value, known[name]) for name, value in values.items()}
    secret = {name for name, value in values.items() if redacted.is_secret(name, value)}
    texts = {name: redacted.mark(text) if name in secret else text for name, text in clear.items()}
    return Bound(
        values,
        texts,
        {name: texts[name] for name in {**explicit, **dict.fromkeys(flow.partition)}},
        {name: clear[name] for name in explicit if name in secret},
    )


def _accepted(flow: Flow[..., Any], parameter: Parameter, value: Any) -> Any:
    """As `accept`; the hint shows how a value is written, by the default."""
    try:
        return accept(flow.name, parameter, value)
    except UsageError as error:
        name, default = parameter.name, parameter.default
        is_shown = default is not _REQUIRED and not redacted.is_secret(name, default)
        text = as_text(default, parameter) if is_shown else "VALUE"
        text = "VALUE" if text.startswith("<") else quote(text)
        raise UsageError(error.message, hint=_command(flow, f"-p {name}={text}")) from None


def _unknown(flow: Flow[..., Any], name: str, value: Any, known: list[str]) -> NotFound:
    close = difflib.get_close_matches(name, known, n=1)
    if not known:
        return NotFound(f"{flow.name} has no parameters, so no {name!r}", hint=_command(flow))
    if close:
        shown = "VALUE" if redacted.is_secret(close[0], value) else as_text(value)
        hint = _command(flow, f"-p {close[0]}={shown}")
        return NotFound(f"{flow.name} has no parameter {name!r} (did you mean {close[0]}?)", hint=hint)
    hint = _command(flow, f"-p {known[0]}=VALUE")
    return NotFound(f"{flow.name} has no parameter {name!r} (there are {', '.join(known)})", hint=hint)


def _command(flow: Flow[..., Any], rest: str = "") -> str:
    file = flow.function.__module__.replace(".", "/")
    return f"aq run {file}.py:{flow.name} {rest}".strip()


def _allows_none(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return "None" in annotation or "Optional" in annotation
    return any(part in (None, type(None)) for part in get_args(annotation))


def _types_of_default(default: Any) -> tuple[Any, ...]:
    if default is _REQUIRED or default is None:
        return ()
    kind: Any = type(default)
    if kind not in (list, tuple, set, frozenset) or not default:
        return (kind,)
    kinds = {type(item) for item in default}
    inner: Any = kinds.pop() if len(kinds) == 1 else str
    return (kind[inner, ...] if kind is tuple else kind[inner],)


def accept(flow: str, parameter: Parameter, value: Any) -> Any:
    """A value or text as the parameter's type. Raises UsageError naming flow, parameter and type."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    try:
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            return parse(value, parameter)
        return _check(value, parameter)
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        reason = f": {error}" if isinstance(error, _Reason) else ""
        shown = redacted.PLAIN_MARK if redacted.is_secret(parameter.name, value) else repr(value)
        raise UsageError(f"{flow}: {parameter.name}={shown} is no {_describe(parameter)}{reason}") from None


class _Reason(ValueError):
    """A ValueError whose text is meant for people."""


def parse(text: str, parameter: Parameter) -> Any:
    """Read a text as the parameter's type. Raises ValueError, KeyError or ArithmeticError."""
    if parameter.optional and text.strip().lower() in _NONES:
        return None
    return _first(text, parameter.types or (str,), optional=parameter.optional)


def _first(text: str, types: tuple[Any, ...], *, optional: bool) -> Any:
    """The first type that takes the text: numbers before names, plain text last."""
    ranked = sorted(types, key=lambda m: _ORDER.index(m) if m in _ORDER else len(_ORDER) + (m is str))
    for member in ranked[:-1]:
        try:
            return _read(text, member)
        except (ValueError, KeyError, ArithmeticError):
            continue
    return _unquoted(text) if ranked[-1] is str and optional else _read(text, ranked[-1])


def _unquoted(text: str) -> str:
    """Of an optional text: `"none"` in quotes is the word, not None."""
    inner = text[1:-1]
    return inner if text == f'"{inner}"' and inner.strip().lower() in _NONES else text


def _read(text: str, member: Any) -> Any:
    origin = get_origin(member) or member
    if origin is Literal:
        return _one_of(text, get_args(member))
    if not isinstance(origin, type):
        return text
    if issubclass(origin, enum.Enum):
        return _member(text, origin)
    if origin in (list, tuple, set, frozenset):
        return _sequence(text, member, origin)
    if issubclass(origin, PurePath):
        return origin(text)
    reader = _READERS.get(origin)
    if reader is None:
        raise _Reason(f"a {origin.__name__} cannot be written as text: commit it and aq.read it")
    return reader(text)


def _bool(text: str) -> bool:
    return _BOOLS[text.strip().lower()]


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise _Reason("write it as JSON")
    return found


_READERS: Final[dict[type, Callable[[str], Any]]] = {
    str: str,
    bool: _bool,
    int: int,
    float: float,
    Decimal: Decimal,
    dict: _mapping,
    dates.date: lambda text: dates.date.fromisoformat(text.strip()),
    dates.datetime: lambda text: dates.datetime.fromisoformat(text.strip()),
    dates.time: lambda text: dates.time.fromisoformat(text.strip()),
}


def _one_of(text: str, allowed: tuple[Any, ...]) -> Any:
    for value in allowed:
        try:
            if _read(text, type(value)) == value:
                return value
        except (ValueError, KeyError):
            continue
    raise _Reason(f"use {', '.join(map(str, allowed))}")


def _member(text: str, cls: type[enum.Enum]) -> enum.Enum:
    if text in cls.__members__:
        return cls[text]
    for member in cls:
        if text == str(member.value):
            return member
    raise _Reason(f"use {', '.join(member.name for member in cls)}")


def _sequence(text: str, member: Any, origin: Any) -> Any:
    """A JSON array, or values between commas."""
    if text.lstrip().startswith("["):
        parts = [part if isinstance(part, str) else json.dumps(part) for part in json.loads(text)]
    else:
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
    width = hints.tuple_width(member)
    if width is not None and width != len(parts):
        raise _Reason(f"{len(parts)} values where {width} are needed")
    return origin(_element(part, hints.inside(member, index)) for index, part in enumerate(parts))


def _element(text: str, annotation: Any) -> Any:
    types = () if annotation is None else tuple(hints.members(annotation))
    return _first(text, types or (str,), optional=False)


def _check(value: Any, parameter: Parameter) -> Any:
    """A value from Python: of the type, or an int where a float is meant."""
    if value is None and parameter.optional:
        return None
    for member in parameter.types:
        origin = get_origin(member) or member
        if origin is Literal and any(type(value) is type(a) and value == a for a in get_args(member)):
            return value
        if isinstance(origin, type) and _is_a(value, origin):
            _read_back(value, member)
            return value
    if float in parameter.types and type(value) is int:
        return float(value)
    raise TypeError(value)


def _is_a(value: Any, cls: type) -> bool:
    if isinstance(value, bool) or cls is dates.date:
        return type(value) is cls
    return isinstance(value, cls)


def _read_back(value: Any, member: Any) -> None:
    """A recorded run must be able to pass the value again."""
    if _read(as_text(value), member) != value and value == value:
        raise _Reason("it cannot be written as text")


def _describe(parameter: Parameter) -> str:
    names = [
        str(member) if get_origin(member) or not isinstance(member, type) else member.__name__
        for member in parameter.types
    ]
    return " or ".join(names) or "text (annotate the parameter)"


def as_text(value: Any, parameter: Parameter | None = None) -> str:
    """The canonical text of a value, as `-p NAME=` takes it."""
    if value is None:
        return "none"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = parameter is not None and parameter.optional and value.strip().lower() in _NONES
        return f'"{value}"' if quoted else value
    if isinstance(value, dates.date | dates.time):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return json.dumps(sorted(as_text(item) for item in value), ensure_ascii=False)
    if isinstance(value, list | tuple):
        return json.dumps([_plain(item) for item in value], ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=as_text)
    return str(value) if isinstance(value, int | float | Decimal | PurePath) else f"<{type(value).__name__}>"


def _plain(item: Any) -> Any:
    if isinstance(item, str) or type(item) in (int, float, bool) or isinstance(item, list | tuple | dict):
        return item
    return as_text(item)
