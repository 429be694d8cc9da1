"""What the results of metrics and checks mean.

Invariant: a check is a bool or one bool a row; anything else is an error that says so, nothing is
coerced from text, numbers or None. What a metric may be is said in `formats.artifacts.metric_values`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aq.formats.artifacts.metric_values import Numbers
from aq.formats.classes import library_of
from aq.formats.errors import UsageError

_PANDAS_BOOLS: Final = ("bool", "boolean", "bool[pyarrow]")


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of a check. `rows` of `of` rows failed, where it looked at rows.

    `value` is the number that it judged, `bound` the limit: the one that did not hold, if any.
    """

    passed: bool
    rows: int | None = None
    of: int | None = None
    value: float | None = None
    bound: float | str | None = None


class Finding(msgspec.Struct, frozen=True):
    """What a ready check found: more than a bool says. `evidence`: a table of what does not hold, or None."""

    passed: bool
    rows: int | None = None
    of: int | None = None
    value: float | None = None
    bound: float | str | None = None
    evidence: Any = None


def flat(name: str, value: Numbers) -> dict[str, float | None]:
    """`{"delays/auc": .93}`, or a path with a dot for each entry; NaN becomes None."""
    if isinstance(value, dict):
        return {f"{name}.{key}": _finite(item) for key, item in value.items()}
    return {name: _finite(value)}


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def verdict(
    result: Any, name: str, inputs: Mapping[str, Any], limits: Mapping[str, Any]
) -> tuple[Verdict, Any]:
    """A check's result and the failing rows, if there are any to show. Raises UsageError.

    `inputs` are the artifacts that the check was called with: a single number among them is what it
    judged, the first table of as many rows the evidence. `limits` are those of a bound.
    """
    if isinstance(result, Finding):
        fields = {name: getattr(result, name) for name in Verdict.__struct_fields__}
        return Verdict(**fields), result.evidence
    plain = result.item() if getattr(result, "shape", None) == () else result
    if isinstance(plain, bool):
        value = _judged(inputs, limits)
        return Verdict(passed=plain, value=value, bound=_limit(value, limits)), None
    rows = _booleans(result)
    if rows is None:
        shown = "None" if result is None else f"a {type(result).__name__}"
        raise UsageError(f"the check {name} must return a bool or a Series of bool, not {shown}")
    failing = int((~rows).sum())
    evidence = _evidence(rows, inputs) if failing else None
    return Verdict(passed=not failing, rows=failing, of=len(rows)), evidence


def _judged(inputs: Mapping[str, Any], limits: Mapping[str, Any]) -> float | None:
    found = [value[limits["key"]] if "key" in limits else value for value in inputs.values()]
    numeric = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
    return float(numeric[0]) if len(numeric) == 1 else None


def _limit(value: float | None, limits: Mapping[str, Any]) -> float | None:
    """The limit that the value passes; else the first that there is."""
    sides = {side: float(limits[side]) for side in ("below", "above") if limits.get(side) is not None}
    if value is not None and "above" in sides and value > sides["above"]:
        return sides["above"]
    return next(iter(sides.values()), None)


def _booleans(result: Any) -> Any:
    """One bool a row as a numpy array, missing values as False; None where it is nothing of the kind."""
    import numpy as np

    module = library_of(type(result))
    if module == "pyarrow" and str(getattr(result, "type", "")) == "bool":
        return np.asarray(result.fill_null(False).to_pylist(), dtype=bool)
    if module == "polars" and str(getattr(result, "dtype", "")) == "Boolean":
        return result.fill_null(False).to_numpy()
    if module == "pandas" and getattr(result, "ndim", 0) == 1 and str(result.dtype) in _PANDAS_BOOLS:
        return result.fillna(False).to_numpy(dtype=bool)
    if isinstance(result, np.ndarray) and result.ndim == 1 and result.dtype == np.bool_:
        return result
    return None


def _evidence(rows: Any, inputs: Mapping[str, Any]) -> Any:
    for value in inputs.values():
        module = library_of(type(value))
        if module not in ("pandas", "pyarrow", "polars") or not hasattr(value, "columns"):
            continue
        if len(value) == len(rows):
            return value[~rows] if module == "pandas" else value.filter((~rows).tolist())
    return None
