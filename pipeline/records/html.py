"""Records as HTML, for notebooks: a small table, nested records as nested tables.

Invariant: every text is escaped, whatever a message or a path holds; nothing is loaded.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

import msgspec

ITEMS_MOST: Final = 50
TEXT_MOST: Final = 400


def table(title: str, record: msgspec.Struct) -> str:
    """A record as an HTML table with a caption."""
    return f"<table><caption>{escape(title)}</caption>{_rows(msgspec.to_builtins(record))}</table>"


def _rows(fields: dict[str, Any]) -> str:
    shown = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    return "".join(
        f"<tr><th>{escape(str(key))}</th><td>{cell(value)}</td></tr>" for key, value in shown.items()
    )


def cell(value: Any) -> str:
    """One value: a nested table, a list, or escaped text, cut where it is long."""
    if isinstance(value, dict):
        return f"<table>{_rows(value)}</table>"
    if isinstance(value, list) and all(type(item) in (int, float) for item in value):
        return escape(
            ", ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value[:ITEMS_MOST])
        )
    if isinstance(value, list) and value and all(_are_alike(value[0], item) for item in value):
        return _grid(value)
    if isinstance(value, list):
        items = "".join(f"<li>{cell(item)}</li>" for item in value[:ITEMS_MOST])
        more = f"<li>and {len(value) - ITEMS_MOST} more</li>" if len(value) > ITEMS_MOST else ""
        return f"<ul>{items}{more}</ul>"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if len(text) > TEXT_MOST:
        text = text[: TEXT_MOST - 1] + "…"
    return f"<pre>{escape(text)}</pre>" if "\n" in text else escape(text)


def _are_alike(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys() != set()


def _grid(records: list[dict[str, Any]]) -> str:
    """Records of the same fields, a line each: columns and tensors above all."""
    names = sorted(records[0], key=lambda name: name != "name")
    head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
    lines = ["".join(f"<td>{cell(record[name])}</td>" for name in names) for record in records[:ITEMS_MOST]]
    more = len(records) - ITEMS_MOST
    rest = f"<tr><td>and {more} more</td></tr>" if more > 0 else ""
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}{rest}</table>"
