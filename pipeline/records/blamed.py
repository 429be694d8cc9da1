"""The records of `blame`.

Invariant: as in `pipeline.records.results`: field names are the JSON keys, ids full hexadecimal. Every id in
`ranges`, `columns` and `items` is a key of `commits`; None stands for what is older than was asked for.
"""

from __future__ import annotations

from typing import Any

from aq.pipeline.records.results import Result


class Author(Result, frozen=True, kw_only=True):
    """What is told of a commit."""

    author: str
    time: str
    message: str


class Range(Result, frozen=True, kw_only=True):
    """Rows or lines in a run that one commit brought: first and last number, counted from 0.

    `key`: the table's key of the first row and of the last one, {} without one. `text`: the lines.
    """

    commit: str | None
    first: int
    last: int
    key: dict[str, Any]
    text: list[str]


class ColumnBlame(Result, frozen=True, kw_only=True):
    """The last change of a column: added | retyped | renamed | changed, and how many `rows` it touched."""

    name: str
    commit: str | None
    change: str
    rows: int


class ItemBlame(Result, frozen=True, kw_only=True):
    """The last change of one entry of a document or model; `name` is empty for a value as a whole."""

    name: str
    commit: str | None
    value: Any


class Blame(Result, frozen=True, kw_only=True):
    """Which commit last changed each part of a path. `by`: rows | lines | items, whichever is filled.

    `rows` counts rows or lines; `column` is the one that was asked for.
    """

    path: str
    kind: str
    revision: str
    by: str
    rows: int
    key: list[str]
    column: str | None
    ranges: list[Range]
    columns: list[ColumnBlame]
    items: list[ItemBlame]
    commits: dict[str, Author]
