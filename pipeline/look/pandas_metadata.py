"""What pandas looks for in the schema of a Parquet or Arrow file: which columns are the index, and dtypes.

Invariant: a frame that is exported and read with pandas has its index, its labels and its nullable
dtypes again. Left out where a column holds Python objects that only aq reads.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from aq.pipeline.look.exporting import Stored


def pandas_metadata(table: Stored, schema: pa.Schema) -> dict[bytes, bytes] | None:
    """The metadata of a schema that holds these columns; None for what came from no frame."""
    import pyarrow as pa
    from aq.formats.columns.described import described

    part = described(table.record).pandas
    if part is None or part.markers or any(dtype[:2] == ["object", "cells"] for _, dtype in part.dtypes):
        return None
    try:
        metadata = pa.Schema.from_pandas(table.frame(0, 0)).metadata[b"pandas"]
    except (pa.ArrowException, TypeError, ValueError):
        return None
    found = json.loads(metadata)
    if len(found["columns"]) != len(schema.names):
        return None
    _rename(found, schema.names)
    for column in found["columns"]:
        if not _is_dtype(column["numpy_type"]):
            column["numpy_type"] = "object"
    first, last = table.span
    for index in found["index_columns"]:
        if isinstance(index, dict):
            index["stop"] = index["start"] + (last - first) * index["step"]
    return {b"pandas": json.dumps(found, separators=(",", ":")).encode()}


def _is_dtype(name: str) -> bool:
    """Whether pandas knows its own dtype again by the name that it writes: of lists of Arrow it does not."""
    import pandas as pd

    try:
        return pd.api.types.pandas_dtype(name) is not None
    except (TypeError, ValueError, NotImplementedError):
        return False


def categories(table: Stored, schema: pa.Schema) -> dict[str, pa.DictionaryArray]:
    """The categories of a frame's columns that have such, in their order: a dictionary of no rows each."""
    import pandas as pd
    import pyarrow as pa
    from aq.formats.columns.described import described

    if described(table.record).pandas is None:
        return {}
    frame = table.frame(0, 0)
    levels = [frame.index.get_level_values(at) for at in range(len(schema) - frame.shape[1])]
    columns = [*(frame.iloc[:, at] for at in range(frame.shape[1])), *levels]
    found = {}
    for field, column in zip(schema, columns, strict=True):
        if isinstance(column.dtype, pd.CategoricalDtype) and not pa.types.is_nested(field.type):
            dictionary = pa.array(column.dtype.categories, field.type)
            codes = pa.array([], pa.int32())
            found[field.name] = pa.DictionaryArray.from_arrays(
                codes, dictionary, ordered=bool(column.dtype.ordered)
            )
    return found


def _rename(found: dict[str, Any], names: list[str]) -> None:
    """Name the fields as the schema does: the index comes last in both."""
    renamed = {}
    for column, name in zip(found["columns"], names, strict=True):
        renamed[column["field_name"]] = column["field_name"] = name
    found["index_columns"] = [
        index if isinstance(index, dict) else renamed[index] for index in found["index_columns"]
    ]
