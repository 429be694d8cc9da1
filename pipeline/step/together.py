"""Results of some rows and results made before, put together in the order of the rows that they are of.

Invariant: what comes of it is what the whole would have given, or None where that cannot be told. A table
is stored from its segments without being loaded; an array, or a frame of Python objects, is made in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aq.formats.artifacts import values
from aq.formats.classes import library_of
from aq.formats.errors import Unstorable
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.pipeline.step.execution import StepStore
from aq.pipeline.step.returns import Drawn, stored

if TYPE_CHECKING:
    from aq.formats.comparing.sides import Rows
    from aq.formats.dataframes.columns import Columns


class Tables(NamedTuple):
    """The table of now, the one before, what was made of that, and for each row of now where its result lies.

    `order` counts what was made before, then what is made now.
    """

    now: Artifact
    old: Artifact
    made: Artifact
    order: Rows


def length(made: Artifact) -> int | None:
    """How many rows a result has; None for one without rows."""
    if made.kind == "table":
        from aq.formats.columns.described import described

        return described(made).rows
    if made.format == "array" and made.type["shape"]:
        return int(made.type["shape"][0])
    return None


def is_plain(table: Artifact) -> bool:
    """Whether a frame's index is told by columns, or only counts the rows from 0."""
    from aq.formats.columns.described import described

    part = described(table).pandas
    index = None if part is None else part.index
    return index is None or not (index.multi or index.range is not None)


def as_value(result: Any, store: StepStore) -> Any:
    """A result in memory; the table that a generator gave is loaded."""
    if isinstance(result, Drawn):
        return values.decode(get_record(store, Artifact, result.id), store)
    return result


def put_together(tables: Tables, piece: Any, result: Any, store: StepStore) -> Any | None:
    """The whole result, or where it is stored; None where what was made of the piece does not fit.

    `piece`: the new rows, `result`: what was made of them; both None where there are none.
    """
    if tables.made.kind != "table":
        return _array(tables, result, store)
    if not _keeps_index(tables, piece, result):
        return None
    columns = None
    if result is not None:
        columns = _columns(result, len(piece), tables.made, store)
        if columns is None:
            return None
    from aq.formats.comparing.stitched import stitched

    table = stitched(tables.made, tables.order, columns, store, store)
    if table is not None:
        return stored(store, table)
    return _frame(tables, result, store) if _are_alike(tables.made, columns) else None


def _columns(result: Any, rows: int, made: Artifact, store: StepStore) -> Columns | None:
    from aq.formats.columns.described import described
    from aq.formats.tables.table import as_columns

    try:
        columns = as_columns(result, store, described(made).key)
    except Unstorable:
        return None
    return columns if columns.rows == rows else None


def _keeps_index(tables: Tables, piece: Any, result: Any) -> bool:
    """Whether a result has the index of its input, as the one before had."""
    from aq.formats.columns.described import described

    made = described(tables.made)
    if made.pandas is None:
        return True
    if _index(tables.made) != _index(tables.old):
        return False
    return result is None or (_is_pandas(result) and bool(result.index.equals(piece.index)))


def _index(table: Artifact) -> list[Any]:
    """Names, types and dtypes of the levels of an index; nothing for one that only counts the rows."""
    from aq.formats.columns.described import described

    found = described(table)
    part = None if found.pandas is None else found.pandas.index
    if part is None:
        return []
    levels = [(found.columns[at][1], found.dtypes.get(at)) for at in part.levels]
    return [part.names, part.range, part.multi, levels]


def _array(tables: Tables, result: Any, store: StepStore) -> Any | None:
    import numpy as np

    before: Any = values.decode(tables.made, store)
    if result is None:
        return before[tables.order]
    is_array = type(result) is np.ndarray
    if not is_array or result.dtype != before.dtype or result.shape[1:] != before.shape[1:]:
        return None
    count = int((tables.order >= len(before)).sum())
    return np.concatenate([before, result])[tables.order] if len(result) == count else None


def _are_alike(made: Artifact, columns: Columns | None) -> bool:
    """Whether two frames differ in nothing but values and what dtypes say of these."""
    if columns is None:
        return True
    one, other = ({**about.get("pandas", {})} for about in (made.type, columns.container))
    for name in ("dtypes", "markers"):
        one.pop(name, None), other.pop(name, None)
    return one == other


def _frame(tables: Tables, result: Any, store: StepStore) -> Any | None:
    """A frame or series whose dtypes say something about all of its values."""
    import pandas as pd
    from aq.formats.tables import to_pandas

    before: Any = values.decode(tables.made, store)
    if not _is_pandas(before) or (result is not None and not _fits(before, result)):
        return None
    parts = [before] if result is None else [before, result]
    together = pd.concat(parts, ignore_index=True).take(tables.order)
    together.index = to_pandas(tables.now, store, columns=[]).index
    return together


def _fits(before: Any, result: Any) -> bool:
    """Whether two frames or series can stand below one another and be of the same type as one."""
    if type(before) is not type(result):
        return False
    if hasattr(result, "columns"):
        return bool(before.columns.equals(result.columns) and list(before.dtypes) == list(result.dtypes))
    return bool(before.dtype == result.dtype)


def _is_pandas(value: Any) -> bool:
    return library_of(type(value)) == "pandas" and hasattr(value, "iloc")
