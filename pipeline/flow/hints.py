"""What a function's annotations say: resolved types, the form of an input, the number of outputs.

Invariant: never imports what an annotation names. An annotation that cannot be resolved (an
import under TYPE_CHECKING, a class of a closed scope) stays text and is judged by that text.
"""

from __future__ import annotations

import ast
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from aq.formats.classes import library_of

Form = Literal[
    "native", "pandas", "arrow", "polars", "path", "bytes", "str", "document",
    "each pandas", "each arrow", "each polars", "each path", "each bytes", "each str",
]  # fmt: skip
"""How an input is handed over; `each …` the items of a collection."""
EACH: Final[dict[Form, Form]] = {
    "pandas": "each pandas",
    "arrow": "each arrow",
    "polars": "each polars",
    "path": "each path",
    "bytes": "each bytes",
    "str": "each str",
}
TABLES: Final[frozenset[Form]] = frozenset({"pandas", "arrow", "polars"})
_BY_CLASS: Final[dict[tuple[str, str], Form]] = {
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "arrow",
    ("polars", "DataFrame"): "polars",
}
_BY_NAME: Final[dict[str, Form]] = {
    "DataFrame": "pandas",
    "Table": "arrow",
    "Path": "path",
    "PurePath": "path",
    "bytes": "bytes",
    "str": "str",
    "dict": "document",
    "list": "document",
}


def resolve(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function by parameter name, and `return`."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # any error that the user's own annotation expressions raise
        raw = getattr(function, "__annotations__", {})
        return {name: _evaluate(value, function) for name, value in raw.items()}


def _evaluate(annotation: Any, function: Callable[..., Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except Exception:  # stays text: see the invariant
        return annotation


def members(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, through Optional, Union, Annotated and aliases, None left out."""
    if isinstance(annotation, str):
        yield from _textual_members(annotation)
    elif get_origin(annotation) is Annotated:
        yield from members(get_args(annotation)[0])
    elif get_origin(annotation) in (typing.Union, types.UnionType):
        for part in get_args(annotation):
            yield from members(part)
    elif hasattr(annotation, "__supertype__"):  # typing.NewType
        yield from members(annotation.__supertype__)
    elif type(annotation).__name__ == "TypeAliasType":  # the `type` statement, Python 3.12
        yield from members(annotation.__value__)
    elif annotation is not type(None) and annotation is not None:
        yield annotation


def _textual_members(text: str) -> Iterator[str]:
    try:
        tree: ast.expr = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return
    yield from _parts(tree)


def _parts(tree: ast.expr) -> Iterator[str]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        yield from _parts(tree.left)
        yield from _parts(tree.right)
    elif isinstance(tree, ast.Subscript) and _last_name(tree.value) in ("Optional", "Union", "Annotated"):
        inner = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        for part in inner[:1] if _last_name(tree.value) == "Annotated" else inner:
            yield from _parts(part)
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield from _textual_members(tree.value)
    elif not (isinstance(tree, ast.Constant) and tree.value is None):
        yield ast.unparse(tree)


def _last_name(tree: ast.expr) -> str:
    return tree.attr if isinstance(tree, ast.Attribute) else tree.id if isinstance(tree, ast.Name) else ""


def form(annotation: Any) -> Form:
    """The form in which a parameter of this annotation wants its input; the first alternative that says."""
    for member in members(annotation):
        found = _textual_form(member) if isinstance(member, str) else _class_form(member)
        if found != "native":
            return found
    return "native"


def _class_form(member: Any) -> Form:
    """By the names of the class and its bases, so that neither pandas nor polars is imported for it."""
    cls = get_origin(member) or member
    if not isinstance(cls, type):
        return "native"
    if issubclass(cls, PurePath):
        return "path"
    if cls in (bytes, str):
        return "bytes" if cls is bytes else "str"
    if cls in (dict, list):
        return "document"
    for base in cls.__mro__:
        found = _BY_CLASS.get((library_of(base), base.__name__))
        if found:
            return found
    return "native"


def _textual_form(member: str) -> Form:
    dotted = member.partition("[")[0].strip()
    prefix, _, name = dotted.rpartition(".")
    if name == "DataFrame" and prefix in ("pl", "polars"):
        return "polars"
    return _BY_NAME.get(name, "native")


def of_items(annotation: Any) -> Form:
    """The form of a parameter that may get a collection: of all of it, or of the items of a list or dict."""
    whole = form(annotation)
    if whole != "document":
        return whole
    inner = inside(annotation, "" if _is_dict(annotation) else 0)
    return whole if inner is None else EACH.get(form(inner), whole)


def _is_dict(annotation: Any) -> bool:
    first = next(members(annotation), None)
    return (
        first.lower().startswith("dict") if isinstance(first, str) else (get_origin(first) or first) is dict
    )


def inside(annotation: Any, key: int | str) -> Any:
    """The annotation of an element of a list, tuple or dict that is annotated so; None where unknown."""
    for member in members(annotation):
        found = get_args(member) if not isinstance(member, str) else _textual_arguments(member)
        if not found:
            continue
        origin = get_origin(member)
        is_tuple = origin is tuple or (isinstance(member, str) and member.lower().startswith("tuple"))
        if is_tuple and isinstance(key, int) and found[-1] not in (Ellipsis, "..."):
            return found[key] if key < len(found) else None
        return found[0] if isinstance(key, int) else found[-1]
    return None


def _textual_arguments(member: str) -> tuple[str, ...]:
    tree = ast.parse(member, mode="eval").body
    if not isinstance(tree, ast.Subscript):
        return ()
    inner = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    return tuple(ast.unparse(part) for part in inner)


def tuple_width(annotation: Any) -> int | None:
    """How many outputs a return annotation declares: the length of a fixed `tuple[…]`, else None."""
    found = list(members(annotation))
    if len(found) != 1:
        return None
    member = found[0]
    if isinstance(member, str):
        if member.partition("[")[0].rpartition(".")[2].lower() != "tuple":
            return None
        parts: tuple[Any, ...] = _textual_arguments(member)
    elif get_origin(member) is tuple:
        parts = get_args(member)
    else:
        return None
    return None if not parts or parts[-1] in (Ellipsis, "...") or parts == ("()",) else len(parts)
