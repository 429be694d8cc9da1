"""Which columns differ, told from ids: as comparing the values tells, or nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from aq.formats.objects import MemoryObjects
from aq.formats.tables.alike import differing_columns
from aq.formats.tables.table import encode_table
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = 20_000
BASE = pd.DataFrame(
    {"id": np.arange(ROWS), **{f"x{at}": np.random.default_rng(at).normal(size=ROWS) for at in range(3)}}
)
edits = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, 3), st.sampled_from([0.0, -0.0, 5.0, np.nan]))
)


@settings(max_examples=25)
@given(edits, st.sampled_from([0, 0, 0, 1]))
def test_columns_that_are_not_named_are_equal_to_the_bit(
    cells: list[tuple[int, int, float]], fewer: int
) -> None:
    now = BASE.copy()
    for row, column, value in cells:
        now.iloc[row, column] = value if column else int(np.nan_to_num(value))
    now = now.iloc[: ROWS - fewer]
    store = MemoryObjects()
    found = differing_columns(*(encode_table(one, store).artifact for one in (BASE, now)), store)
    if fewer:
        assert found is None
    elif found is not None:
        bits = [BASE.to_numpy().view("u8"), now.to_numpy().view("u8")]
        differ = [at for at in range(4) if (bits[0][:, at] != bits[1][:, at]).any()]
        assert found == differ
    else:
        assert any(column == 0 for _, column, _ in cells), "the cut follows the first column"
