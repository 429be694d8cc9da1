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
    first, last = table.span
    for index in found["index_columns"]:
        if isinstance(index, dict):
            index["stop"] = index["start"] + (last - first) * index["step"]
    return {b"pandas": json.dumps(found, separators=(",", ":")).encode()}


def _rename(found: dict[str, Any], names: list[str]) -> None:
    """Name the fields as the schema does: the index comes last in both."""
    renamed = {}
    for column, name in zip(found["columns"], names, strict=True):
        renamed[column["field_name"]] = column["field_name"] = name
    found["index_columns"] = [
        index if isinstance(index, dict) else renamed[index] for index in found["index_columns"]
    ]
