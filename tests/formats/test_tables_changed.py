"""The rows in which two tables differ, beside a comparison by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.comparing.changed import changed_rows
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from hypothesis import given, settings, strategies as st

BASE = pd.DataFrame({"id": range(100), "x": np.arange(100.0), "name": [f"n{i}" for i in range(100)]})


def rows(before: pd.DataFrame, after: pd.DataFrame, key: tuple[str, ...] = ("id",)) -> pa.Table:
    objects = MemoryObjects()
    sides = [encode_table(frame, objects, key=key).artifact for frame in (before, after)]
    return changed_rows(*sides, objects)


def test_before_stands_next_to_after() -> None:
    after = BASE.copy()
    after.loc[[5, 50], "x"] = [0.5, 0.25]
    after.loc[5, "name"] = "new"
    after = pd.concat(
        [after.drop(index=[7]), pd.DataFrame({"id": [100], "x": [1.0], "name": ["m"]})], ignore_index=True
    )
    assert rows(BASE, after).to_pylist() == [
        {"aq_change": "removed", "aq_row": 7, "id": 7, "x": 7.0, "name": "n7"},
        {"aq_change": "before", "aq_row": 5, "id": 5, "x": 5.0, "name": "n5"},
        {"aq_change": "after", "aq_row": 5, "id": 5, "x": 0.5, "name": "new"},
        {"aq_change": "before", "aq_row": 50, "id": 50, "x": 50.0, "name": "n50"},
        {"aq_change": "after", "aq_row": 49, "id": 50, "x": 0.25, "name": "n50"},
        {"aq_change": "added", "aq_row": 99, "id": 100, "x": 1.0, "name": "m"},
    ]


def test_columns_that_one_version_lacks() -> None:
    after = BASE.assign(y=1).drop(columns="name")
    after.loc[3, "x"] = -1.0
    first, second = rows(BASE, after).to_pylist()
    assert first == {"aq_change": "before", "aq_row": 3, "id": 3, "x": 3.0, "y": None, "name": "n3"}
    assert second == {"aq_change": "after", "aq_row": 3, "id": 3, "x": -1.0, "y": 1, "name": None}


@pytest.mark.parametrize("kind", ["int32", "str", "float32"])
def test_retyped_columns(kind: str) -> None:
    after = BASE.assign(x=BASE["x"].astype(kind))
    after.loc[4, "name"] = "other"
    found = rows(BASE, after)
    assert {row["id"] for row in found.to_pylist()} >= {4}
    assert found.column_names == ["aq_change", "aq_row", "id", "x", "name"]


def test_equal_and_empty_tables() -> None:
    assert rows(BASE, BASE).num_rows == 0
    assert rows(BASE.iloc[:0], BASE.iloc[:0]).num_rows == 0
    assert set(rows(BASE, BASE.iloc[:0])["aq_change"].to_pylist()) == {"removed"}


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_applying_the_changes_gives_the_new_table(data: st.DataObject) -> None:
    def frame(name: str) -> pd.DataFrame:
        ids = data.draw(st.sets(st.integers(0, 30)), name)
        return pd.DataFrame(
            {"id": sorted(ids), "x": [data.draw(st.integers(0, 2)) for _ in ids]}, dtype="int64"
        )

    before, after = frame("before"), frame("after")
    found: dict[int, Any] = {row["id"]: row["x"] for _, row in before.iterrows()}
    for row in rows(before, after).to_pylist():
        if row["aq_change"] in ("removed", "before"):
            assert found.pop(row["id"]) == row["x"]
        else:
            found[row["id"]] = row["x"]
    assert found == {row["id"]: row["x"] for _, row in after.iterrows()}
