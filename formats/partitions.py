"""Partitions as parts of paths: `delays/country=de/month=2026-03/auc`.

Invariant: a part after the flow's name that holds "=" names a partition, no other does: names of flows,
ops and outputs hold none. `component` and `parsed` are each other's inverse for every text, and what
`component` gives is one safe part of a path. docs/format.md, section 6, has the escaping.
"""

from __future__ import annotations

import datetime as dates
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from aq.formats.errors import UsageError

PART_MOST: Final = 255
_ALL_DEEP: Final = 2
_ESCAPED: Final = frozenset("%/=:*?[]{}\\\"'<>|~^#")
_CATEGORIES: Final = frozenset(("Cc", "Zl", "Zp"))
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+([+-][0-9:]+)?)?")
Value = int | float | bool | dates.date | dates.datetime | str | None


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


def agreeing(spaces: Iterable[str], wanted: Mapping[str, str]) -> list[str]:
    """Those spaces whose values are the wanted ones, as far as these say."""
    return [
        space
        for space in spaces
        if all(wanted.get(name, text) == text for name, text in values(space).items())
    ]


def matches(space: str, pattern: str) -> bool:
    """Whether a partition is meant by a pattern, in which * stands for any text without "/"."""
    parts, wanted = space.split("/"), pattern.split("/")
    if len(wanted) == _ALL_DEEP and wanted[1] == "*":
        wanted = [wanted[0], *("*" for _ in parts[1:])]
    return len(parts) == len(wanted) and all(map(_fits, parts, wanted))


def _fits(part: str, wanted: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), part, re.DOTALL) is not None


def pattern_of(path: str) -> tuple[str, str]:
    """What stands for partitions in a path with *, and what follows: `delays/*`, `predictions`."""
    parts = path.split("/")
    end = 1
    while end < len(parts) and ("=" in parts[end] or "*" in parts[end]):
        end += 1
    return "/".join(parts[:end]), "/".join(parts[end:])


def typed(text: str) -> Value:
    """What a text reads as: an int or float in plain digits, a date or time in ISO form, true, false, none;
    all else, and a number that is not written as Python writes it (`03`), is the text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if (found := _NUMBER.fullmatch(text)) is not None:
        number = float(text) if found[2] else int(text)
        return number if str(number) == text else text
    if (found := _TIME.fullmatch(text)) is not None:
        try:
            return dates.datetime.fromisoformat(text) if found[1] else dates.date.fromisoformat(text)
        except ValueError:
            pass
    return text


_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "none": None}


def order(space: str) -> tuple[tuple[int, float, str], ...]:
    """What partitions are sorted by, value by value: numbers by size, times by the instant, texts by their
    code points; nothing comes first.
    """
    return tuple(_place(typed(text), text) for text in values(space).values())


def _place(value: Value, text: str) -> tuple[int, float, str]:
    if value is None:
        return 0, 0, ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, value, text
    if isinstance(value, dates.datetime) and value.tzinfo is not None:
        return 2, 0, value.astimezone(dates.UTC).replace(tzinfo=None).isoformat()
    return 2, 0, text
