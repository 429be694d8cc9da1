"""What callers hand to public functions, compared with the annotations before anything happens.

Invariant: an argument of another type than the signature names is a `UsageError` that says which one, what it
takes and what it got; a name that the signature does not have stays Python's own TypeError. Annotations
are read as the text that they are written as: nothing is imported for them, nothing converted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from functools import wraps
from importlib import import_module
from numbers import Integral, Real
from types import FunctionType
from typing import Any, Final, NamedTuple, TypeVar

from aq.formats.errors import UsageError, with_article

T = TypeVar("T")
_VARARGS: Final = 0x04
"""`inspect.CO_VARARGS`, without its module."""


class _Form(NamedTuple):
    """One alternative of an annotation: how it is told, and what fits."""

    told: str
    fits: Callable[[Any], bool]


def _is_path(value: Any) -> bool:
    """Whether it can be one: NUL, and half of a surrogate pair, are in no path."""
    try:
        return isinstance(value, str | os.PathLike) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_texts(value: Any) -> bool:
    return _is_several(value) and isinstance(value, Collection) and all(isinstance(one, str) for one in value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_row(value: Any) -> bool:
    """Whether it holds values in an order: names of columns need not be texts."""
    return _is_several(value) and isinstance(value, Collection) and not isinstance(value, Set)


def _is_true_or_false(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")  # numpy's


_FORMS: Final = {
    "None": _Form("None", lambda value: value is None),
    "str": _Form("a text", lambda value: isinstance(value, str)),
    "bool": _Form("True or False", _is_true_or_false),
    "int": _Form("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    "float": _Form("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "Path": _Form("a path", _is_path),
    "Paths": _Form("a path or several", lambda value: _is_path(value) or _is_several(value)),
    "Sequence[str]": _Form("a list of texts", lambda value: _is_texts(value) and not isinstance(value, Set)),
    "Collection[str]": _Form("a list of texts", _is_texts),
    "Collection[Any]": _Form("a list of values", lambda value: _is_several(value)),
    "Mapping[str, Any]": _Form("a dict", lambda value: isinstance(value, Mapping)),
    "Mapping[str, Sequence[str]]": _Form(
        "a dict from path to a list of columns",
        lambda value: _is_dict(value) and all(isinstance(one, str) or _is_row(one) for one in value.values()),
    ),
    "Rows": _Form("a slice or range", lambda value: isinstance(value, slice | range)),
    "OnEvent": _Form("a function", callable),
    "Flow[..., Any]": _Form("a flow", lambda value: type(value).__name__ == "Flow"),
}
UNCHECKED: Final = ("Any", "BinaryIO", "Executor | str | None")
"""Annotations of which the functions that get them say more."""


def _is_several(value: Any) -> bool:
    """Whether it holds some, and is no table, which holds the names of its columns."""
    is_one = isinstance(value, str | Mapping | bytes | bytearray) or hasattr(value, "columns")
    return isinstance(value, Iterable) and not is_one


def paths(given: Any) -> list[Any]:
    """One path or several as a list. Raises UsageError for what is no path among them."""
    found = [given] if _is_path(given) else list(given)
    for one in found:
        if not _is_path(one):
            raise UsageError(f"{_shown(one)} is no path: use texts and pathlib.Path")
    return found


def checked(**kinds: str) -> Callable[[type[T]], type[T]]:
    """Have each public method of a class look at its arguments first.

    `kinds`: the modules of the TypedDicts that `**rest: Unpack[NAME]` names, imported when there is a rest.
    """

    def check(owner: type[T]) -> type[T]:
        for name, value in list(vars(owner).items()):
            if isinstance(value, FunctionType) and not name.startswith("_"):
                setattr(owner, name, _checked(value, kinds))
        return owner

    return check


def _checked(function: FunctionType, kinds: Mapping[str, str]) -> Callable[..., Any]:
    code, wanted = function.__code__, function.__annotations__
    names = code.co_varnames[1 : code.co_argcount]
    rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if code.co_flags & _VARARGS else ""

    def of_rest(name: str) -> str:
        """The annotation of an argument that a TypedDict names."""
        for kind, module in kinds.items():
            if f"Unpack[{kind}]" in wanted.values():
                known = getattr(import_module(module), kind).__annotations__
                if name in known:
                    return str(known[name].__forward_arg__)
        raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}")

    @wraps(function)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        for name, value in zip(names, args, strict=False):
            require(function.__name__, name, wanted[name], value)
        for value in args[len(names) :] if rest else ():
            require(function.__name__, rest, wanted[rest], value)
        for name, value in kwargs.items():
            require(function.__name__, name, wanted.get(name) or of_rest(name), value)
        return function(self, *args, **kwargs)

    return method


def require(function: str, name: str, annotation: str, value: Any) -> None:
    """Raise UsageError for a value that does not fit an annotation."""
    if annotation in UNCHECKED:
        return
    parts = annotation.split(" | ")
    forms = [_FORMS[part] for part in parts if part != "str" or not {"Path", "Paths"} & {*parts}]
    if not any(form.fits(value) for form in forms):
        told = " or ".join(dict.fromkeys(form.told for form in forms))
        named = hasattr(value, "columns") and "Mapping[str, Any]" in parts
        hint = f'repo.{function}({{"NAME": table}})' if named else ""
        raise UsageError(f"{function}({name}=…) takes {told}, not {_shown(value)}", hint=hint)


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | bytes | None)


def _shown(value: Any) -> str:
    """`5 (int)`, of anything that is long to say its type."""
    kind = type(value).__name__
    if type(value) is dict and all(map(_is_plain, value.values())) and len(text := repr(value)) <= 60:
        return text
    if _is_plain(value) and len(text := repr(value)) <= 40:
        return f"{text} ({kind})" if value is not None else text
    return with_article(kind)
