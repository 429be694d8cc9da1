"""Params as JSON has them: a number as a number, a list as a list, all else as its text.

Invariant: the text alone decides what a run was called with (`pipeline.flow.params`); this is how it looks.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any, Final

from aq.formats.records import Run
from aq.pipeline.flow.redacted import is_mark

_DEPTH_MOST: Final = 32
_INT_MOST: Final = 2**63 - 1
_TEXTS: Final = (str, PurePath, Enum)


def typed(
    values: Mapping[str, Any], texts: Mapping[str, str], partition: Container[str] = ()
) -> dict[str, Any]:
    """The values that JSON has a type of its own for: numbers, truth, nothing, lists and maps of these.
    Those for which `texts` has the mark of a secret are left out.

    Of `partition` also those that are texts, so that a text of digits is told from a number.
    """
    found = {
        name: value
        for name, value in values.items()
        if not isinstance(value, str) and not is_mark(texts[name]) and _is_json(value)
    }
    told = {name: texts[name] for name in values if name in partition and isinstance(values[name], _TEXTS)}
    return {**found, **told}


def _is_json(value: Any, depth: int = 0) -> bool:
    if depth > _DEPTH_MOST:
        return False
    if type(value) is list:
        return all(_is_json(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _is_json(item, depth + 1) for key, item in value.items())
    if type(value) is int:
        return abs(value) <= _INT_MOST
    return value is None or type(value) in (bool, str) or (type(value) is float and isfinite(value))


def shown(run: Run, texts: Mapping[str, str]) -> dict[str, Any]:
    """Params of a recorded run: typed where the run recorded that, else as text."""
    return {name: run.typed.get(name, text) for name, text in texts.items()}
