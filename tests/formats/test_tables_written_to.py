"""Frames from the store are the reader's own: any cell can be written, and no other reader sees it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.dataframes.pandas_columns import read_column
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table, to_native, to_pandas

ROWS = 3
COLUMNS: dict[str, Callable[[], object]] = {
    "int": lambda: np.arange(ROWS),
    "int8": lambda: np.arange(ROWS, dtype="i1"),
    "float": lambda: np.arange(ROWS) / 2,
    "bool": lambda: np.arange(ROWS) > 1,
    "complex": lambda: np.arange(ROWS) * 1j,
    "moments": lambda: pd.date_range("2026", periods=ROWS),
    "zoned": lambda: pd.date_range("2026", periods=ROWS, tz="Europe/Paris"),
    "of UTC": lambda: pd.date_range("2026", periods=ROWS, tz="UTC"),
    "of seconds": lambda: pd.date_range("2026", periods=ROWS, tz="UTC", unit="s"),
    "spans": lambda: pd.timedelta_range("1D", periods=ROWS),
    "periods": lambda: pd.period_range("2026", periods=ROWS, freq="M"),
    "intervals": lambda: pd.interval_range(0, ROWS),
    "categories": lambda: pd.Categorical(list("abc")),
    "Int64": lambda: pd.array([1, None, 3], "Int64"),
    "boolean": lambda: pd.array([True, None, False], "boolean"),
    "Float32": lambda: pd.array([1, None, 3], "Float32"),
    "texts": lambda: ["a", "b", "c"],
    "string": lambda: pd.array(["a", None, "c"], "string"),
    "Arrow": lambda: pd.array([1, None, 3], "int64[pyarrow]"),
    "objects": lambda: pd.Series([Decimal(1), None, "x"], dtype=object),
    "lists": lambda: pd.Series([[1], [2], [3]], dtype=object),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("rows", [ROWS, 3 * 10_000])
def test_any_cell_of_a_loaded_frame_can_be_written(name: str, rows: int) -> None:
    repeated = pd.Series(COLUMNS[name]()).iloc[np.arange(rows) % ROWS].reset_index(drop=True)
    frame, store = pd.DataFrame({"x": repeated, "key": np.arange(rows) * 2.0}), MemoryObjects()
    artifact = encode_table(frame, store).artifact
    loaded, wanted = to_native(artifact, store), frame.copy(deep=True)
    for one in (loaded, wanted):
        one.at[0, "x"] = frame.at[2, "x"]
        if name != "lists":
            one.loc[one["key"] > 2, "x"] = frame.at[0, "x"]
        one["key"] += 1
    pd.testing.assert_frame_equal(loaded, wanted)
    pd.testing.assert_frame_equal(to_native(artifact, store), frame)


@pytest.mark.parametrize("table", [{"x": [1.5, 2.5]}, {"x": [1, 2], "y": [1.5, 2.5]}])
def test_so_can_those_of_an_arrow_table_and_of_an_index_made_a_column(table: dict[str, list[float]]) -> None:
    store = MemoryObjects()
    loaded = to_pandas(encode_table(pa.table(table), store).artifact, store)
    loaded.loc[0, "x"] = 7
    assert loaded["x"].to_list()[0] == 7
    indexed = pd.DataFrame(table).set_index("x", drop=False).rename_axis("index")
    moved = to_native(encode_table(indexed, store).artifact, store).reset_index()
    moved.loc[0, "index"] = 7
    assert moved["index"].to_list()[0] == 7


def test_values_that_lie_in_memory_made_for_them_are_written_where_they_are() -> None:
    """A frame that was gathered from many chunks is not copied once more."""
    buffer = pa.allocate_buffer(8 * 100)
    np.frombuffer(buffer, np.int64)[:] = np.arange(100)
    for kind, wanted in ((pa.int64(), "<i8"), (pa.timestamp("us"), "<M8[us]")):
        values = pa.chunked_array([pa.Array.from_buffers(kind, 100, [None, buffer])]).slice(10, 50)
        column = read_column(values, None, MemoryObjects())
        assert (column.dtype, column.flags.writeable) == (np.dtype(wanted), True)
        assert column.ctypes.data == buffer.address + 80
        assert column.astype(np.int64).tolist() == list(range(10, 60))


def test_values_that_lie_in_a_chunk_of_the_store_are_copied() -> None:
    stored = np.arange(100).tobytes()
    values = pa.Array.from_buffers(pa.int64(), 100, [None, pa.py_buffer(stored)])
    column = read_column(pa.chunked_array([values]), None, MemoryObjects())
    column[:] = 0
    assert stored == np.arange(100).tobytes()
