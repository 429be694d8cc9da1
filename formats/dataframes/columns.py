"""A table on its way in or out: Arrow columns in order, and what its container needs beside them.

Invariant: names are unique; `container` is empty for Arrow, else one entry, `pandas` or `polars`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from aq.formats.columns.encodings import light_dictionaries
from aq.formats.columns.types import describe_field
from aq.formats.errors import Unstorable


class Columns(NamedTuple):
    """Names, values and number of rows; `container` goes into the artifact's type as it is.

    `given` are an Arrow table's own fields: their metadata may say more than the types of the values.
    """

    names: list[str]
    values: list[pa.ChunkedArray]
    rows: int
    container: dict[str, Any]
    given: Sequence[pa.Field] = ()

    @property
    def fields(self) -> Sequence[pa.Field]:
        """Name and type of each column as Arrow's field."""
        return self.given or [pa.field(*pair) for pair in zip(self.names, self.types, strict=True)]

    @property
    def types(self) -> list[pa.DataType]:
        """The Arrow type of each column's values."""
        return [values.type for values in self.values]


def from_arrow(table: pa.Table) -> Columns:
    """The columns of an Arrow table. Raises Unstorable on duplicate names."""
    refuse_duplicates(table.column_names)
    values = list(map(light_dictionaries, table.columns))
    return Columns(table.column_names, values, table.num_rows, {}, list(table.schema))


def described_fields(fields: Iterable[pa.Field]) -> list[list[Any]]:
    """Name and descriptor of each field. Raises Unstorable naming the one that has none."""
    found: list[list[Any]] = []
    for field in fields:
        try:
            found.append([field.name, describe_field(field)])
        except Unstorable as error:
            raise Unstorable(f"column {field.name!r}: {error.message}") from None
    return found


def refuse_duplicates(names: Sequence[object]) -> None:
    """Raises Unstorable naming the first name that is there twice."""
    seen: set[object] = set()
    for name in names:
        if name in seen:
            raise Unstorable(f"the column name {name!r} is there more than once")
        seen.add(name)
