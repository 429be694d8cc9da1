"""Text of a difference between two tables: schema, rows, columns with the unit guess, a sample.

Invariant: a column's figures stand before → after; a guess is printed as a question, and first, where
no narrow terminal cuts it; sampled rows show both sides of the cells that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aq.cli.text import MINUS, Cell, Row, View, columns, listed, number
from aq.cli.text_show import CELL, value
from aq.formats.showing import apart

_STATISTICS: Final = ("mean", "std", "min", "max", "nulls", "infinite", "distinct")
_CELLS: Final = 6


def table_diff(detail: Mapping[str, Any], view: View) -> Iterator[str]:
    """What differs between two versions of a table."""
    yield from _schema(detail.get("schema") or {}, view)
    yield from _rows(detail.get("rows") or {}, view)
    if detail.get("other"):
        yield f"    also: {', '.join(detail['other'])}"
    found = detail.get("columns") or []
    if found:
        yield from _columns(found, view)
    yield from _sample(detail.get("sample") or [], view)


def _schema(schema: Mapping[str, Any], view: View) -> Iterator[str]:
    rows: list[Row] = []
    rows += [[Cell("+", "good"), _name(one), Cell(_type(one), "dim")] for one in schema.get("added") or ()]
    rows += [[Cell("−", "bad"), _name(one), Cell(_type(one), "dim")] for one in schema.get("removed") or ()]
    for word in ("retyped", "renamed"):
        for one in schema.get(word) or ():
            old, new = one.get("from"), one.get("to")
            evidence = f" ({one['evidence']})" if one.get("evidence") else ""
            told = f"{word}: {old} → {new}{evidence}"
            rows.append([Cell("~", "warn"), str(one.get("name", old)), Cell(told, "dim")])
    yield from columns(view, rows, indent=4)


def _name(one: Any) -> str:
    return str(one.get("name")) if isinstance(one, Mapping) else str(one)


def _type(one: Any) -> str:
    return str(one.get("type") or "") if isinstance(one, Mapping) else ""


def _rows(rows: Mapping[str, Any], view: View) -> Iterator[str]:
    counted = listed([(rows.get(word) or 0, word) for word in ("added", "removed", "changed")])
    before, after = rows.get("from"), rows.get("to")
    if counted or before != after:
        span = f"{number(before)} → {number(after)}" if before != after else f"of {number(after)}"
        yield f"    rows: {counted or 'none changed'} ({span})"
    if rows.get("reordered"):
        yield "    rows: in another order"


def _columns(found: Sequence[Mapping[str, Any]], view: View) -> Iterator[str]:
    shown = [fact for fact in _STATISTICS if any(_pair(column, fact) for column in found)]
    guessed = any(column.get("guess") for column in found)
    shifted = any(_shift(column) for column in found)
    head = ["column", *(["guess"] if guessed else []), "rows", *(["shift"] if shifted else []), *shown]
    rows: list[Row] = [[Cell(word, "dim") for word in head]]
    for column in found:
        guess = str(column.get("guess") or "")
        name = Cell(str(column.get("name")), "warn" if guess else "")
        figures = [*([_shift(column)] if shifted else []), *(_pair(column, fact) for fact in shown)]
        rows.append([name, *([Cell(guess, "warn")] if guessed else []), _compared(column), *figures])
    yield from columns(view, rows, indent=4)


def _compared(column: Mapping[str, Any]) -> str:
    """Which rows the figures of a column are about: changed ones, or added ones beside those before."""
    if column.get("rows") == "added":
        return "before → added"
    return f"{number(column.get('changed_rows'))} changed"


def _shift(column: Mapping[str, Any]) -> str:
    """How far the distribution of these cells moved."""
    found = column.get("shift")
    if not isinstance(found, Mapping) or found.get("psi") is None:
        return ""
    return f"PSI {found['psi']:.2f}" + (f", KS {found['ks']:.2f}" if found.get("ks") is not None else "")


def _pair(column: Mapping[str, Any], fact: str) -> str:
    """A statistic before → after, "" where it is the same or not known."""
    old, new = _statistic(column, "before", fact), _statistic(column, "after", fact)
    if old == new:
        return ""
    return _change(old, new)


def _change(old: Any, new: Any) -> str:
    """Both sides; where short ones look alike with more digits, or with what surrounds the difference."""
    shown = value(old), value(new)
    if isinstance(old, float) and isinstance(new, float) and shown[0] == shown[1]:
        shown = _digits(old, new)
    elif isinstance(old, str) and isinstance(new, str):
        if shown[0] == shown[1]:
            around = apart(old, new, CELL)
            shown = value(around[0]), value(around[1])
        if any(text.strip() != text or not text for text in shown):
            shown = f"“{shown[0]}”", f"“{shown[1]}”"
    return f"{shown[0]} → {shown[1]}"


def _digits(old: float, new: float) -> tuple[str, str]:
    """Two numbers with the digits that it takes to tell them apart."""
    for digits in range(5, 18) if old != new else ():
        shown = number(old, digits), number(new, digits)
        if shown[0] != shown[1]:
            return shown
    return str(old).replace("-", MINUS), str(new).replace("-", MINUS)


def _statistic(column: Mapping[str, Any], side: str, fact: str) -> Any:
    found = column.get(side)
    return found.get(fact) if isinstance(found, Mapping) else None


def _sample(sample: Sequence[Mapping[str, Any]], view: View) -> Iterator[str]:
    """Sampled rows: which they are, then for each cell that differs both sides."""
    rows: list[Row] = []
    for one in sample:
        change = str(one.get("change", ""))
        before, after = one.get("from") or {}, one.get("to") or {}
        names = list(dict.fromkeys([*before, *after]))
        if not before or not after:
            whole = list((before or after).items())[:_CELLS]
            cells = ", ".join(f"{name}={value(item)}" for name, item in whole)
        else:
            cells = ", ".join(f"{n}: {_change(before.get(n), after.get(n))}" for n in names[:_CELLS])
        rows.append([Cell(change, "dim"), _key(one), cells])
    if rows:
        yield f"    {view.paint('sample', 'dim')}"
        yield from columns(view, rows, indent=6)


def _key(one: Mapping[str, Any]) -> str:
    """Which row it is: its key, else its number and cells that did not change."""
    known = one.get("key") or one.get("same") or {}
    told = " ".join(f"{name}={value(item)}" for name, item in known.items())
    return told if one.get("key") else f"row {one.get('row')}  {told}".rstrip()
