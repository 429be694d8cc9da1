"""What an index of pandas has beside its values: frequency, and levels of which some rows are missing.

Invariant: what comes back is the index that went in, to `assert_index_equal`'s strictest. Categories
and levels that no row uses are no part of a MultiIndex's content, as slicing leaves them behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from aq.formats.columns.picking import taken
from aq.formats.dataframes.pandas_columns import (
    Freq,
    Written,
    read_column,
    with_freq,
    write_column,
    write_freq,
)
from aq.formats.objects import Sink, Source
from pyarrow import types as is_


def write_level(index: pd.Index, at: int, where: str, sink: Sink) -> Written:
    """One level of an index as a column. Raises Unstorable."""
    if not isinstance(index, pd.MultiIndex):
        return write_column(index.array, where, sink)
    values, level, codes = index.get_level_values(at), index.levels[at], np.asarray(index.codes[at])
    if values.dtype == level.dtype or not (codes < 0).any():
        return write_column(values.array, where, sink)
    # pandas has floats or objects for integers of which some are missing: the level keeps its type.
    written = write_column(level.array, where, sink)
    if not _keeps_type(written.dtype, written.values.type):
        return write_column(values.array, where, sink)
    places = pa.array(codes.astype(np.int64), mask=codes < 0)
    return written._replace(values=pa.chunked_array([taken(written.values.combine_chunks(), places)]))


def _keeps_type(dtype: Any, kind: pa.DataType) -> bool:
    """Whether nulls in a column of this dtype can only be missing rows of a level."""
    return dtype[0] == "interval" if dtype else bool(is_.is_integer(kind) or is_.is_boolean(kind))


def read_level(values: pa.ChunkedArray, dtype: Any, source: Source, markers: pa.ChunkedArray | None) -> Any:
    """What `pd.MultiIndex.from_arrays` takes for one level: an index, or a categorical of few of its rows."""
    if values.null_count and _keeps_type(dtype, values.type):
        present = read_column(values.drop_null(), dtype, source)
        places, level = pd.factorize(pd.Index(present, dtype=present.dtype, copy=False), sort=True)
        codes = np.full(len(values), -1, np.int64)
        codes[values.is_valid().to_numpy()] = places
        return codes, level
    array = read_column(values, dtype, source, markers)
    return pd.Index(array, dtype=array.dtype, copy=False)


def level_freqs(index: pd.Index) -> list[list[Any]]:
    """Number and frequency of each level that has one, where the rows that are there still have it."""
    found = []
    for at, level in enumerate(index.levels if isinstance(index, pd.MultiIndex) else []):
        freq = write_freq(level)
        if freq is not None:
            codes = np.unique(index.codes[at])
            try:
                with_freq(level.take(codes[codes >= 0]), freq)
            except ValueError:
                continue
            found.append([at, freq])
    return found


def multi_index(levels: list[Any], names: list[Any], freqs: list[tuple[int, Freq]]) -> pd.MultiIndex:
    """The MultiIndex of levels as `read_level` gives them."""
    whole = [pd.Index(np.zeros(len(level[0]))) if isinstance(level, tuple) else level for level in levels]
    index = pd.MultiIndex.from_arrays(whole, names=names)
    for at, level in enumerate(levels):
        if isinstance(level, tuple):
            index = index.set_codes(level[0], level=at, verify_integrity=False).set_levels(level[1], level=at)
    for at, freq in freqs:
        index = index.set_levels(with_freq(index.levels[at], freq), level=at)
    return index
