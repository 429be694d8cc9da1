"""Rows of a table as JSON: one object a row, each on a line.

Invariant: numbers have all their digits, decimals and integers beyond 64 bits too; moments are ISO 8601 to
the nanosecond, those of a zone in UTC; bytes are base64. What JSON has no number for is null, as what is
missing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aq.formats.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def json_rows(names: Sequence[str], frame: pd.DataFrame, between: bytes = b",\n") -> bytes:
    """The rows of a frame, and what stands between them; `names` are its columns', then its index levels'."""
    import msgspec

    levels = [frame.index.get_level_values(at) for at in range(len(names) - frame.shape[1])]
    columns = [_values(frame.iloc[:, at]) for at in range(frame.shape[1])] + [_values(one) for one in levels]
    encode = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number").encode
    rows = zip(*columns, strict=True) if columns else [()] * len(frame)
    try:
        return between.join(encode(dict(zip(names, row, strict=True))) for row in rows)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the table cannot be written as json: it holds a text that is no Unicode ({error})"
        ) from None


def _values(column: Any) -> list[Any]:
    """Python's values, None for what is missing."""
    missing = column.isna()
    found = column.tolist()
    return (
        [None if gone else value for gone, value in zip(missing, found, strict=True)]
        if missing.any()
        else found
    )


def _plain(value: Any) -> Any:
    """What JSON has for a value of pandas, numpy or Python that msgspec does not know."""
    import numpy as np
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        if value.tzinfo is None:
            return value.isoformat()
        return value.tz_convert("UTC").tz_localize(None).isoformat() + "Z"
    if isinstance(value, pd.Timedelta):
        return value.isoformat()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
