"""Partitions as parts of paths: `delays/country=de/month=2026-03/auc`.

Invariant: a part after the flow's name that holds "=" names a partition, no other does: names of flows,
ops and outputs hold none. `component` and `parsed` are each other's inverse for every text, and what
`component` gives is one safe part of a path. docs/format.md, section 6, has the escaping.
"""

from __future__ import annotations

import datetime as dates
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote

from aq.formats.errors import UsageError

PART_MOST: Final = 255
_ESCAPED: Final = frozenset("%/=:*?[]{}\\\"'<>|~^#")
_CATEGORIES: Final = frozenset(("Cc", "Zl", "Zp"))
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "date": dates.date.fromisoformat,
    "datetime": dates.datetime.fromisoformat,
    "time": dates.time.fromisoformat,
}
KINDS: Final = frozenset(_READERS)
"""The types of values that sort, and stand in a table, as what they are."""


def component(name: str, text: str) -> str:
    """One part of a path for a param and its text. Raises UsageError for what no path can hold."""
    part = f"{name}={escaped(text)}"
    try:
        size = len(part.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise UsageError(f"{name}={text!r} is no valid text, so it cannot name a partition") from None
    if size > PART_MOST:
        raise UsageError(f"{name}={text[:40]}… is too long to name a partition: {PART_MOST} bytes at most")
    return part


def escaped(text: str) -> str:
    """The text with %XX for what means something in a path, a revision or a pattern."""
    safe = "".join(_percent(char) if _is_special(char) else char for char in text)
    while ".." in safe:
        safe = safe.replace("..", ".%2E")
    return safe


def _is_special(char: str) -> bool:
    return char in _ESCAPED or unicodedata.category(char) in _CATEGORIES


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def parsed(part: str) -> tuple[str, str]:
    """The param and the text that `component` made a part of."""
    name, _, value = part.partition("=")
    return name, unquote(value, errors="surrogateescape")


def split(path: str) -> tuple[str, str]:
    """The space of a made path, FLOW or FLOW/NAME=VALUE/…, and what follows it."""
    parts = path.split("/")
    end = 1
    while end < len(parts) and "=" in parts[end]:
        end += 1
    return "/".join(parts[:end]), "/".join(parts[end:])


def space_of(path: str) -> str:
    """FLOW, or FLOW/NAME=VALUE/… of a made path: where one run's results lie."""
    return split(path)[0]


def step_of(path: str) -> str:
    """The step that made a path: its space and the part after it."""
    space, rest = split(path)
    return f"{space}/{rest.partition('/')[0]}"


def flow_of(path: str) -> str:
    """The flow of a path or a space."""
    return path.partition("/")[0]


def general(path: str) -> str:
    """A path without its partition: `delays/auc`."""
    space, rest = split(path)
    return f"{flow_of(space)}/{rest}" if rest else path


def values(space: str) -> dict[str, str]:
    """{param: text} of a space; {} where it is no partition."""
    return dict(parsed(part) for part in space.split("/")[1:])


def names(space: str) -> tuple[str, ...]:
    """The params that partition a space."""
    return tuple(values(space))


def of_flow(spaces: Iterable[str], flow: str) -> list[str]:
    """Those spaces that belong to a flow."""
    return [space for space in spaces if flow_of(space) == flow]


def typed(text: str, kind: str) -> Any:
    """The value behind a text of one of KINDS, None where there is none; of any other kind the text."""
    if kind not in _READERS:
        return text
    if text == "none":
        return None
    try:
        return _READERS[kind](text)
    except (ValueError, KeyError, ArithmeticError):
        return text


def order(space: str, kinds: Mapping[str, str]) -> tuple[Any, ...]:
    """What spaces are sorted by: value by value, numbers and times as such; missing ones first."""
    return tuple(_place(text, kinds.get(name, "")) for name, text in values(space).items())


def _place(text: str, kind: str) -> tuple[int, float | Decimal, str]:
    value = typed(text, kind)
    if value is None:
        return 0, 0, ""
    if isinstance(value, bool | int | float | Decimal):
        return 1, value, text
    if isinstance(value, dates.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dates.UTC)
        return 1, (aware - _EPOCH) // dates.timedelta(microseconds=1), text
    return 2, 0, text


_EPOCH: Final = dates.datetime(1970, 1, 1, tzinfo=dates.UTC)
