"""Some rows of a table as pandas: only the segments that hold them are read.

Invariant: dtypes, labels and attrs are those of the whole table; a default index counts from 0 anew, any
other one has the labels of these rows.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aq.formats.columns.described import Described, IndexPart, described as described_by
from aq.formats.comparing.sides import Rows, Side
from aq.formats.dataframes import pandas_frames
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables.table import to_pandas


def pandas_rows(artifact: Artifact, source: Source, rows: Rows) -> Any:
    """These rows, which ascend. Raises Damaged, Unstorable where pandas cannot hold the table."""
    found = described_by(artifact)
    if found.pandas is None:  # pandas's dtypes depend on all values
        return to_pandas(artifact, source).iloc[rows].reset_index(drop=True)
    side = Side(artifact, source, is_after=True)
    values = dict(enumerate(side.pick(range(len(found.columns)), rows)))
    return pandas_frames.to_pandas(_without_frequency(found), values, range(len(rows)), source)


def _without_frequency(found: Described) -> Described:
    """Some rows of an index need not have the frequency of all."""
    if found.pandas is None or found.pandas.index is None:
        return found
    index: IndexPart = msgspec.structs.replace(found.pandas.index, freq=None, freqs=[])
    return msgspec.structs.replace(found, pandas=msgspec.structs.replace(found.pandas, index=index))
