"""Metrics as values: one number, or a flat dict of them, and which direction is better.

Invariant: a stored metric holds plain ints and floats only, so that it reads the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

from aq.formats.artifacts import json_values
from aq.formats.contents.files import INLINE_BELOW
from aq.formats.errors import Unstorable, UsageError
from aq.formats.records import Artifact

_DIRECTIONS: Final = frozenset({"higher", "lower", ""})
_INTEGERS: Final = range(-(2**63), 2**63)
Numbers = int | float | dict[str, int | float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured number, or a flat dict of them; `better` is "higher", "lower", or one of these an entry."""

    value: Any
    better: str | Mapping[str, str] = ""


def encode_metric(metric: Metric, at: str) -> tuple[Artifact, dict[str, Any]]:
    """The artifact of a metric and its summary. Raises Unstorable where it holds no numbers."""
    value = numbers(metric.value, at)
    better = _directions(metric.better or "", value, at)
    text = json_values.dump(value)
    if text is None or len(text) >= INLINE_BELOW:
        raise Unstorable(f"{at or 'the metric'} is too large: a metric has at most some thousand numbers")
    artifact = Artifact(kind="value", format="metric", size=len(text), type={"better": better}, data=text)
    return artifact, {"value": value, "better": better}


def numbers(value: Any, at: str) -> Numbers:
    """The value in plain ints and floats. Raises Unstorable."""
    if isinstance(value, Mapping):
        if not value:
            raise Unstorable(f"{at or 'the metric'} is an empty dict", hint="return at least one number")
        return {_name(name, at): _number(item, f"{at} → [{name!r}]") for name, item in value.items()}
    return _number(value, at)


def _name(name: object, at: str) -> str:
    if type(name) is not str or not name:
        raise Unstorable(f"{at or 'the metric'} has an entry named {name!r}: names are texts")
    return name


def _number(value: Any, at: str) -> int | float:
    if type(value) is float or (type(value) is int and value in _INTEGERS):
        return value
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, bool) or not _is_number(value):
        what = f"{type(value).__name__} ({value!r:.40})"
        raise Unstorable(
            f"{at or 'the metric'} is no number but a {what}",
            hint="return a float, an int or a flat dict of them",
        )
    if isinstance(value, int) and value in _INTEGERS:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        raise Unstorable(f"{at or 'the metric'} is larger than any float: return its logarithm") from None


def _is_number(value: object) -> bool:
    kind = type(value)
    return isinstance(value, Real) or (kind.__module__, kind.__name__) == ("decimal", "Decimal")


def _directions(better: str | Mapping[str, str], value: Numbers, at: str) -> str | dict[str, str]:
    if isinstance(better, str):
        given = {"": better}
    else:
        given = dict(better)
        unknown = [name for name in given if not isinstance(value, dict) or name not in value]
        if unknown:
            raise UsageError(f"{at or 'the metric'}: better= names {unknown[0]!r}, which is no entry of it")
    for direction in given.values():
        if direction not in _DIRECTIONS:
            raise UsageError(f"better={direction!r} is unknown", hint='better="higher" or better="lower"')
    return better if isinstance(better, str) else given
