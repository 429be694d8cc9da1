"""A table on its way in or out: Arrow columns in order, and what its container needs beside them.

Invariant: names are unique; `container` is empty for Arrow, else one entry, `pandas` or `polars`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from aq.formats.errors import Unstorable


class Columns(NamedTuple):
    """Names, values and number of rows; `container` goes into the artifact's type as it is."""

    names: list[str]
    values: list[pa.ChunkedArray]
    rows: int
    container: dict[str, Any]


def from_arrow(table: pa.Table) -> Columns:
    """The columns of an Arrow table. Raises Unstorable on duplicate names."""
    refuse_duplicates(table.column_names)
    return Columns(table.column_names, table.columns, table.num_rows, {})


def refuse_duplicates(names: Sequence[object]) -> None:
    """Raises Unstorable naming the first name that is there twice."""
    seen: set[object] = set()
    for name in names:
        if name in seen:
            raise Unstorable(f"the column name {name!r} is there more than once")
        seen.add(name)
