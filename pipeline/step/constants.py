"""Values that a flow gives its ops itself: how they enter a step's key.

Invariant: equal texts mean values that the op cannot tell apart. Code inside a value (a function, a
lambda, a partial) is followed like the op's own; what cannot be compared never gives the same twice.
"""

from __future__ import annotations

import datetime
import enum
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from pathlib import PurePath
from typing import Any, Final

import msgspec
from aq.formats.classes import library_of
from aq.formats.errors import Unstorable
from aq.formats.python import canonical
from aq.pipeline.code.fingerprint import Fingerprint, argument as code_inside, installed
from aq.pipeline.code.load import Project
from aq.pipeline.flow import redacted
from aq.pipeline.flow.graph import Argument, Constant, Graph, build, leaves

_SCALARS: Final = (
    *(type(None), bool, int, float, str, bytes, Decimal, PurePath, enum.Enum),
    *(datetime.date, datetime.time, datetime.timedelta),
)
_NOTHING: Final = Fingerprint()
_SELF_EVIDENT: Final = (enum.Enum, PurePath, Decimal, datetime.date, datetime.time, datetime.timedelta)
_SHOWN: Final = 8
_LONGEST: Final = 60


def described(
    graph: Graph, name: str, argument: Argument, at: str, project: Project, environ: Mapping[str, str]
) -> tuple[str, Fingerprint]:
    """The text of an argument in `Step.params`, and what the code inside it reaches. A secret shows as the
    mark of one: by its name, or because a param of the flow that is one is in it.

    An argument with artifacts inside is told by its nesting: each artifact is the text `input`.
    """
    value = build("", argument, lambda place, leaf: "input")
    shown = _shown(graph, name, argument.value) if isinstance(argument, Constant) else _count(argument)
    try:
        return f"{shown} {canonical.fingerprint(value, at=at)}", _libraries(value, project)
    except Unstorable as error:
        digest, reached = code_inside(value, project, environ=environ)
        return f"{shown} {digest}", _placed(reached, name, error)


def _placed(reached: Fingerprint, name: str, error: Unstorable) -> Fingerprint:
    """What an argument reaches, with its name and the place inside it in what is said of it."""
    inside = error.message.partition(": ")[0].partition(" → ")[2]
    place = f"argument {name!r}"
    if inside and "cannot be compared" in error.message:
        place += f" → {inside}"
    opaque = [re.sub("^an argument ", lambda _: f"{place} ", line) for line in reached.opaque]
    return msgspec.structs.replace(reached, opaque=opaque)


def _libraries(value: Any, project: Project) -> Fingerprint:
    """The library whose methods an op may call on a value: none for Python's own."""
    if type(value) in (list, tuple, set, frozenset, dict):
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        return merged(*(_libraries(item, project) for item in inside))
    top = library_of(type(value))
    if top == "builtins" or top in sys.stdlib_module_names:
        return _NOTHING
    return Fingerprint(packages=installed(project).versions([top]))


def _shown(graph: Graph, name: str, value: Any) -> str:
    known = {
        text
        for param, given in graph.params.items()
        if redacted.is_secret(param, given)
        for _, text in redacted.texts_in(param, given)
    }
    return redacted.PLAIN_MARK if redacted.is_secret(name, value, known) else shown_as(value)


def plain(value: Any, *, at: str, name: str = "") -> str:
    """The text of a value without code in it, or the mark of a secret. Raises Unstorable."""
    shown = redacted.PLAIN_MARK if redacted.is_secret(name, value) else shown_as(value)
    return f"{shown} {canonical.fingerprint(value, at=at)}"


def shown_as(value: Any) -> str:
    """A value in few words, for people: `6`, `'a'`, `DataFrame 3×2`, `clean()`. No address, no digest."""
    if isinstance(value, _SCALARS):
        return _cut(str(value) if isinstance(value, _SELF_EVIDENT) else repr(value))
    if type(value) in (list, tuple, set, frozenset, dict):
        return _container(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__qualname__}()"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} {'×'.join(map(str, shape))}"
    return type(value).__name__


def _container(value: Any) -> str:
    items = [*value.items()] if isinstance(value, dict) else [(item,) for item in value]
    short = len(items) <= _SHOWN and all(isinstance(part, _SCALARS) for item in items for part in item)
    if not short:
        return f"{type(value).__name__} of {len(items)}"
    if isinstance(value, set | frozenset):
        return _cut("{" + ", ".join(sorted(shown_as(item) for item in value)) + "}")
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _count(argument: Argument) -> str:
    found = sum(1 for _ in leaves("", argument))
    return f"{found} input{'s' * (found != 1)}"


def merged(*parts: Fingerprint) -> Fingerprint:
    """Everything that any of them reaches."""
    found = [part for part in parts if part is not _NOTHING and part != _NOTHING]
    return reduce(or_, found[1:], found[0]) if found else _NOTHING
