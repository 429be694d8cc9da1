"""Plain Python values as JSON text (docs/format.md, section 9).

Invariant: `load(dump(value))` equals the value in every type and in the order of its dicts, and
equal values have equal text. What JSON cannot hold so is no plain value: the pickler takes it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aq.formats.errors import Damaged

DEPTH_MOST: Final = 100
VALUES_MOST: Final = 10_000_000
_INT_BITS_MOST: Final = 3_300
_TEXT: Final = frozenset({str})
_CONTAINERS: Final = frozenset({list, dict})
_PLAIN: Final = frozenset({type(None), bool, int, float, str, list, dict})

_write = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_read = json.JSONDecoder().decode


def dump(value: object) -> bytes | None:
    """The canonical text of a plain value, or None where the value is not plain."""
    if not is_plain(value):
        return None
    try:
        return _write(value).encode()
    except UnicodeEncodeError:
        return None


def load(text: bytes) -> Any:
    """The value of a text that `dump` wrote. Raises Damaged on what it would not write."""
    try:
        return _read(text.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged(f"a JSON value cannot be read: {error}") from None


def is_plain(value: object) -> bool:
    """Whether JSON holds the value as it is: exact types, text keys, bounded depth and number of values.

    A container that occurs often is looked at once a level, and counted as often as it occurs.
    """
    level: dict[int, tuple[Any, int]] = {0: ((value,), 1)}
    total = 0
    for _ in range(DEPTH_MOST + 1):
        below: dict[int, tuple[Any, int]] = {}
        for container, times in level.values():
            total += times * len(container)
            items = _items(container)
            if items is None or total > VALUES_MOST:
                return False
            for item in items:
                below[id(item)] = item, below.get(id(item), (item, 0))[1] + times
        if not below:
            return True
        level = below
    return False


def _items(container: Any) -> list[Any] | None:
    """The lists and dicts inside a container, or None where something in it is not plain."""
    children = container
    if type(container) is dict:
        if not _TEXT.issuperset(map(type, container)):
            return None
        children = container.values()
    kinds = set(map(type, children))
    if not kinds <= _PLAIN:
        return None
    if int in kinds and any(type(child) is int and child.bit_length() > _INT_BITS_MOST for child in children):
        return None
    if kinds.isdisjoint(_CONTAINERS):
        return []
    return [child for child in children if type(child) in _CONTAINERS]
