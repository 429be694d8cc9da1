"""Ready checks of tables, `aq.checks`: rows, nulls, keys, ranges, sets, patterns, schema, freshness, drift.

Invariant: pure functions of their arguments (only `fresh` without `as_of` looks at the clock, so it runs
every time). A missing value is judged by `nulls` alone. What fails is told as rows, number and bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from aq.formats import arguments
from aq.formats.errors import UsageError, with_article
from aq.pipeline.flow.measures import Finding
from aq.pipeline.flow.ops import Op
from aq.pipeline.flow.options import Options, Severity

if TYPE_CHECKING:
    import pandas as pd

VERSION: Final = "1"
"""Part of the key of every ready check: raised when one of them judges differently."""
PSI: Final = 0.1
"""The usual least index of a shift worth knowing of."""
ALARM: Final = 0.001


def rows(
    at_least: int | None = None,
    at_most: int | None = None,
    *,
    severity: Severity = "error",
    name: str = "rows",
) -> Op[..., Any]:
    """A check that a table has at least and at most so many rows."""
    for side, given in (("at_least", at_least), ("at_most", at_most)):
        arguments.require("aq.checks.rows", side, "float | None", given)
    if at_least is None and at_most is None:
        raise UsageError("aq.checks.rows needs at_least= or at_most=")
    return _made(_rows, name, severity, at_least=at_least, at_most=at_most)


def nulls(
    *columns: str, at_most: float = 0.0, severity: Severity = "error", name: str | None = None
) -> Op[..., Any]:
    """A check that at most a share of the rows (0 to 1) lacks a value in one of these columns (or in any)."""
    name = name or _named("nulls", columns)
    return _made(_nulls, name, severity, columns=list(columns), at_most=_share(at_most))


def unique(*columns: str, severity: Severity = "error", name: str | None = None) -> Op[..., Any]:
    """A check that no two rows agree in all of these columns (in all columns)."""
    return _made(_unique, name or _named("unique", columns), severity, columns=list(columns))


def between(
    column: str,
    low: Any = None,
    high: Any = None,
    *,
    at_most: float = 0.0,
    severity: Severity = "error",
    name: str | None = None,
) -> Op[..., Any]:
    """A check that at most a share of the rows has a value below `low` or above `high`."""
    if low is None and high is None:
        raise UsageError("aq.checks.between needs a low or a high end")
    name = name or _named("between", (column,))
    return _made(_between, name, severity, column=column, low=low, high=high, at_most=_share(at_most))


def isin(
    column: str,
    values: Collection[Any],
    *,
    at_most: float = 0.0,
    severity: Severity = "error",
    name: str | None = None,
) -> Op[..., Any]:
    """A check that at most a share of the rows has another value than these."""
    arguments.require("aq.checks.isin", "values", "Collection[Any]", values)
    name, kept = name or _named("isin", (column,)), list(dict.fromkeys(values))
    return _made(_isin, name, severity, column=column, values=kept, at_most=_share(at_most))


def matches(
    column: str,
    pattern: str,
    *,
    at_most: float = 0.0,
    severity: Severity = "error",
    name: str | None = None,
) -> Op[..., Any]:
    """A check that at most a share of the rows has a text that a regular expression does not wholly match."""
    arguments.require("aq.checks.matches", "pattern", "str", pattern)
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"aq.checks.matches: {pattern!r} is no regular expression: {error}") from None
    name = name or _named("matches", (column,))
    return _made(_matches, name, severity, column=column, pattern=pattern, at_most=_share(at_most))


def schema(
    columns: Mapping[str, str] | None = None,
    *,
    extra: bool = False,
    severity: Severity = "error",
    name: str = "schema",
) -> Op[..., Any]:
    """A check that a table has these columns of these dtypes, as pandas names them, in any order.

    Without `columns` it is called with two tables, and the first must have the columns of the second.
    With `extra` the table may have more of them.
    """
    arguments.require("aq.checks.schema", "columns", "Mapping[str, Any] | None", columns)
    wanted = None if columns is None else dict(columns)
    return _made(_schema, name, severity, columns=wanted, extra=extra)


def fresh(column: str, within: str, *, severity: Severity = "error", name: str | None = None) -> Op[..., Any]:
    """A check that the latest time in a column is at most so long ago, as in "36 hours" or "2 days".

    Call it with the table, and with `as_of=` (a time, or a date, whose end counts) to judge it by another
    moment than now. Times without a zone are taken as UTC. Without `as_of` it runs every time.
    """
    _duration(within)
    name = name or _named("fresh", (column,))
    options = Options(severity=severity, cache="never")
    return Op(_fresh, role="check", options=options, name=name, preset={"column": column, "within": within})


def drift(
    *columns: str,
    alarm: float = ALARM,
    psi: float = PSI,
    severity: Severity = "error",
    name: str | None = None,
) -> Op[..., Any]:
    """A check, called with a table and a reference, that columns (all in both) are distributed alike.

    A column fails where its population stability index is at least `psi` and the difference is more than
    chance: `alarm` is the rate of false alarms of the whole check where both tables are samples of one
    population. The reference may be `aq.read("v1:flow/table")`, which pins a revision.
    """
    arguments.require("aq.checks.drift", "psi", "float", psi)
    if not isinstance(alarm, Real) or not 0 < alarm < 1:
        raise UsageError("aq.checks.drift needs an alarm rate between 0 and 1")
    name = name or _named("drift", columns)
    return _made(_drift, name, severity, columns=list(columns), alarm=float(alarm), psi=float(psi))


def pandera(schema: Any, *, severity: Severity = "error", name: str | None = None) -> Op[..., Any]:
    """A check that a table conforms to a pandera schema: a DataFrameSchema, or a DataFrameModel class.

    The evidence is pandera's table of failure cases.
    """
    if not callable(getattr(schema, "validate", None)):
        given = with_article(type(schema).__name__)
        raise UsageError(f"aq.checks.pandera needs a pandera schema, not {given}")
    called = name or getattr(schema, "name", None) or getattr(schema, "__name__", None) or "schema"
    return _made(_pandera, _named(str(called), ()), severity, schema=schema)


def _made(function: Callable[..., Any], name: str, severity: Severity, **preset: Any) -> Op[..., Any]:
    if severity not in ("error", "warning"):
        raise UsageError(f"severity must be error or warning, not {severity!r}")
    return Op(function, role="check", options=Options(severity=severity), name=name, preset=preset)


def _named(what: str, columns: Collection[str]) -> str:
    """What a check is called by default: it and its columns, as far as they can stand in a name."""
    return re.sub(r"[^\w.+-]+", "_", "_".join((what, *map(str, columns))))


def _share(at_most: float) -> float:
    if not isinstance(at_most, Real) or not 0 <= at_most <= 1:
        raise UsageError(f"at_most is a share of the rows, 0 to 1, not {at_most!r}")
    return float(at_most)


# What they do


def _rows(table: pd.DataFrame, at_least: int | None, at_most: int | None) -> Finding:
    count = len(table)
    few, many = at_least is not None and count < at_least, at_most is not None and count > at_most
    bound = at_most if many or at_least is None else at_least
    return Finding(passed=not (few or many), value=float(count), bound=bound)


def _nulls(table: pd.DataFrame, columns: list[str], at_most: float) -> Finding:
    return _tolerated(table, _of(table, columns).isna().any(axis=1), at_most)


def _unique(table: pd.DataFrame, columns: list[str]) -> Finding:
    chosen = _of(table, columns)
    try:
        twice = chosen.duplicated(keep=False)
    except TypeError:  # lists and the like
        twice = chosen.astype(str).duplicated(keep=False)
    return _tolerated(table, twice, 0.0)


def _between(table: pd.DataFrame, column: str, low: Any, high: Any, at_most: float) -> Finding:
    import pandas as pd

    values = _of(table, [column])[column]
    outside = pd.Series(False, index=values.index)
    try:
        if low is not None:
            outside |= (values < low).fillna(False).astype(bool)
        if high is not None:
            outside |= (values > high).fillna(False).astype(bool)
    except TypeError:
        raise UsageError(f"{column} is {values.dtype} and does not compare with {low!r}, {high!r}") from None
    return _tolerated(table, outside, at_most)


def _isin(table: pd.DataFrame, column: str, values: list[Any], at_most: float) -> Finding:
    found = _of(table, [column])[column]
    return _tolerated(table, ~found.isin(values) & found.notna(), at_most)


def _matches(table: pd.DataFrame, column: str, pattern: str, at_most: float) -> Finding:
    texts = _of(table, [column])[column]
    fits = texts.dropna().astype(str).str.fullmatch(pattern)
    return _tolerated(table, ~fits.reindex(texts.index, fill_value=True).astype(bool), at_most)


def _tolerated(table: pd.DataFrame, failing: Any, at_most: float) -> Finding:
    count, total = int(failing.sum()), len(table)
    share = count / total if total else 0.0
    evidence = table[failing.to_numpy(dtype=bool)] if count else None
    value, bound = (share, at_most) if at_most else (None, None)
    return Finding(passed=share <= at_most, rows=count, of=total, value=value, bound=bound, evidence=evidence)


def _schema(
    table: pd.DataFrame,
    reference: pd.DataFrame | None = None,
    *,
    columns: dict[str, str] | None,
    extra: bool,
) -> Finding:
    import pandas as pd

    if (columns is None) == (reference is None):
        raise UsageError("aq.checks.schema needs either columns= or a second table to compare with")
    wanted = columns if columns is not None else _dtypes(reference)
    has = _dtypes(table)
    wrong = [(name, wanted.get(name, ""), has.get(name, "")) for name in {**wanted, **has}
             if wanted.get(name) != has.get(name) and not (extra and name not in wanted)]  # fmt: skip
    evidence = pd.DataFrame(wrong, columns=["column", "wanted", "found"]) if wrong else None
    return Finding(passed=not wrong, value=float(len(wrong)), bound=0.0, evidence=evidence)


def _dtypes(table: Any) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in table.dtypes.items()}


def _fresh(table: pd.DataFrame, column: str, within: str, as_of: Any = None) -> Finding:
    import pandas as pd

    times = pd.to_datetime(_of(table, [column])[column], utc=True)
    latest = times.max()
    if latest is pd.NaT:
        return Finding(passed=False, bound=within)
    age = _moment(as_of) - latest
    return Finding(passed=bool(age <= _duration(within)), value=age.total_seconds(), bound=within)


def _moment(as_of: Any) -> Any:
    import pandas as pd

    if as_of is None:
        return pd.Timestamp(datetime.now(UTC))
    is_day = (isinstance(as_of, str) and len(as_of) == 10) or (
        isinstance(as_of, date) and not isinstance(as_of, datetime)
    )
    moment = pd.to_datetime(as_of, utc=True)
    return moment + pd.Timedelta(days=1) if is_day else moment


def _duration(text: str) -> Any:
    import pandas as pd

    try:
        found = pd.Timedelta(text)
    except ValueError:
        found = pd.NaT
    if found is pd.NaT or found <= pd.Timedelta(0):
        raise UsageError(f'{text!r} is no length of time: write it as "36 hours" or "2 days"')
    return found


def _drift(
    table: pd.DataFrame, reference: pd.DataFrame, columns: list[str], alarm: float, psi: float
) -> Finding:
    import pandas as pd
    from aq.formats.comparing.drift import shift

    chosen = columns or [str(name) for name in table.columns if name in reference.columns]
    if not chosen:
        raise UsageError("both tables have no column in common")
    now, then = _of(table, chosen), _of(reference, chosen)
    found = [(name, *shift(then[name].array, now[name].array)) for name in chosen]
    made = pd.DataFrame(found, columns=["column", "psi", "ks", "p_value"])
    moved = made[(made["psi"] >= psi) & (made["p_value"] < alarm / len(chosen))]
    return Finding(
        passed=moved.empty, value=float(made["psi"].max()), bound=psi, evidence=None if moved.empty else moved
    )


def _pandera(table: pd.DataFrame, schema: Any) -> Finding:
    from pandera.errors import SchemaErrors

    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        cases = cases.assign(failure_case=cases["failure_case"].astype(str))
        failing = int(cases["index"].dropna().nunique())
        return Finding(passed=False, rows=failing or None, of=len(table), evidence=cases)
    return Finding(passed=True, of=len(table))


def _of(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """These columns of a table. Raises UsageError for one that it has not."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns[:12]))
        raise UsageError(f"the table has no column {missing[0]!r}; it has {there}")
    return table[columns] if columns else table
