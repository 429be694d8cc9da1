"""Merges of tables beside a reference made of dicts: {key: {column: value}}."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from aq.formats.comparing.merge_columns import Conflict
from aq.formats.comparing.merging import TableMerge, merge_tables
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact, encode
from aq.formats.tables import encode_table, to_native
from hypothesis import given, strategies as st

Table = dict[int, dict[str, int]]
MEMORY = MemoryObjects()


def table(frame: Any, *key: str) -> Artifact:
    return encode_table(frame, MEMORY, key=key).artifact


def merged(base: Any, ours: Any, theirs: Any, *key: str) -> Any:
    """The merged value, or the conflicts; the other way round it must be the same."""
    artifacts = [table(one, *key) for one in (base, ours, theirs)]
    found = merge_tables(*artifacts, MEMORY)
    back = merge_tables(artifacts[0], artifacts[2], artifacts[1], MEMORY)
    if isinstance(found, TableMerge):
        assert isinstance(back, TableMerge)
        built = found.build(MEMORY, MEMORY).artifact
        assert encode(built) == encode(back.build(MEMORY, MEMORY).artifact)
        return to_native(built, MEMORY)
    assert not isinstance(back, TableMerge) and len(back) == len(found)
    return found


def frame(rows: Table) -> pa.Table:
    columns = ["id", "x", "y"]
    return pa.table(
        {
            name: pa.array([{"id": key, **row}[name] for key, row in rows.items()], pa.int64())
            for name in columns
        }
    )


ROW = st.fixed_dictionaries({"x": st.integers(0, 2), "y": st.integers(0, 2)})
TABLES = st.dictionaries(st.integers(0, 9), ROW, max_size=8)
EDITS = st.dictionaries(
    st.integers(0, 9), st.one_of(st.none(), st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)))
)


def edited(rows: Table, edits: dict[int, dict[str, int] | None]) -> Table:
    found = {key: dict(row) for key, row in rows.items()}
    for key, edit in edits.items():
        if edit is None:
            found.pop(key, None)
        else:
            found[key] = {"x": 0, "y": 0, **found.get(key, {}), **edit}
    return found


def reference(base: Table, ours: Table, theirs: Table) -> Table | set[tuple[int, str | None]]:
    """The merged rows, or the keys and columns in conflict."""
    found: Table = {}
    conflicts: set[tuple[int, str | None]] = set()
    for key in {*base, *ours, *theirs}:
        old, mine, other = (one.get(key) for one in (base, ours, theirs))
        if mine is None or other is None:
            kept = other if mine is None else mine
            if old is None:
                found[key] = kept or {}
            elif kept is not None and kept != old:
                conflicts.add((key, None))
            continue
        found[key] = {}
        for name in "xy":
            before = None if old is None else old[name]
            a, b = mine[name], other[name]
            if a != b and before not in (a, b):
                conflicts.add((key, name))
            found[key][name] = b if a == before else a
    return conflicts or found


@given(TABLES, EDITS, EDITS)
def test_rows_and_cells_merge_as_dicts_do(base: Table, mine: Any, other: Any) -> None:
    ours, theirs = edited(base, mine), edited(base, other)
    found = merged(*map(frame, (base, ours, theirs)), "id")
    wanted = reference(base, ours, theirs)
    if isinstance(wanted, dict):
        assert {row.pop("id"): row for row in found.to_pylist()} == wanted
    else:
        assert {(one.key["id"], one.column) for one in found} == wanted


def sales(rows: int = 6) -> pd.DataFrame:
    return pd.DataFrame({"id": range(rows), "x": np.arange(rows) / 2, "s": list("abcdef") * (rows // 6)})


def test_appended_rows_come_in_the_order_of_the_key() -> None:
    base = sales()
    extra = pd.DataFrame({"id": [6, 9], "x": [1.0, 2.0], "s": ["y", "z"]})
    ours = pd.concat([base, extra], ignore_index=True)
    theirs = pd.concat([base, extra.assign(id=[7, 8])], ignore_index=True)
    found = merged(base, ours, theirs, "id")
    assert found["id"].tolist() == list(range(10))
    pd.testing.assert_frame_equal(merged(base, ours, ours, "id"), ours)


def test_columns_added_renamed_removed_and_retyped_on_one_side() -> None:
    base = sales()
    ours = base.assign(new=base["x"] * 2, x=base["x"].where(base["id"] != 2, 9.0))
    theirs = base.rename(columns={"s": "text"}).astype({"id": "int32"})
    found = merged(base, ours, theirs, "id")
    assert [one.kind for one in found] == ["key"]  # it has another type
    theirs = base.rename(columns={"s": "text"})[["id", "text", "x"]]
    wanted = ours.rename(columns={"s": "text"})[["id", "text", "x", "new"]]
    pd.testing.assert_frame_equal(merged(base, ours, theirs, "id"), wanted)
    pd.testing.assert_frame_equal(merged(base, ours, base.drop(columns="s"), "id"), ours.drop(columns="s"))
    short = base.assign(s=base["s"].astype("category"))
    pd.testing.assert_frame_equal(merged(base, ours, short, "id"), ours.assign(s=short["s"]))


def test_conflicts_of_columns_are_listed() -> None:
    base = sales()
    touched = base.assign(s=["z", *base["s"][1:]])
    more = pd.concat([base, base.iloc[:1].assign(id=77)], ignore_index=True)
    cases: list[tuple[pd.DataFrame, pd.DataFrame, Conflict]] = [
        (base.drop(columns="s"), touched, Conflict("column", "s", None, None, "removed", "changed")),
        (base.assign(n=1), base.assign(n=2), Conflict("column", "n", None, None, "added", "added")),
        (base.assign(n=1), more, Conflict("column", "n", None, None, "added", "rows without it added")),
        (
            base.assign(s=base["s"].astype("category")),
            touched,
            Conflict("column", "s", None, None, "retyped", "changed"),
        ),
        (
            base.rename(columns={"s": "t"}),
            base.rename(columns={"s": "u"}),
            Conflict("column", "s", None, "s", "t", "u"),
        ),
    ]
    for ours, theirs, wanted in cases:
        assert merged(base, ours, theirs, "id") == [wanted]
    found = merged(base, base.assign(n=1.5), more, "id")
    assert found["n"].isna().tolist() == [False] * 6 + [True]


def test_cells_and_rows_in_conflict_say_what_each_side_has() -> None:
    base = sales()
    ours = base.assign(x=base["x"].where(base["id"] != 2, 7.5)).drop(index=[4])
    theirs = base.assign(x=base["x"].where(base["id"] != 2, 8.5)).assign(s=["a", "b", "c", "d", "E", "f"])
    found = merged(base, ours.reset_index(drop=True), theirs, "id")
    assert found == [
        Conflict("row", None, {"id": 4}, None, "removed", "changed"),
        Conflict("cell", "x", {"id": 2}, 1.0, 7.5, 8.5),
    ]


def test_an_order_of_one_side_holds_and_two_orders_are_a_conflict() -> None:
    base = sales()
    turned = base.iloc[::-1].reset_index(drop=True)
    edited = pd.concat([base.assign(x=0.0), base.iloc[:1].assign(id=50)], ignore_index=True)
    found = merged(base, turned, edited, "id")
    assert found["id"].tolist() == [5, 50, 4, 3, 2, 1, 0] and found["x"].tolist()[2:] == [0.0] * 5
    other = base.iloc[[1, 0, 2, 3, 4, 5]].reset_index(drop=True)
    assert [one.kind for one in merged(base, turned, other, "id")] == ["table"]


def test_an_index_and_what_pandas_keeps_are_merged() -> None:
    base = sales().assign(id=[0, 1, 2, 3, 5, 8]).set_index("id")
    base.attrs = {"unit": "m"}
    ours, theirs = base.copy(), base.copy()
    ours.loc[1, "x"] = -1.0
    theirs.loc[2, "s"] = "new"
    theirs.attrs = {"unit": "km"}
    found = merged(base, ours, theirs, "id")
    assert (found.loc[1, "x"], found.loc[2, "s"], found.index.name, found.attrs) == (
        -1.0,
        "new",
        "id",
        {"unit": "km"},
    )
    ours.attrs = {"unit": "mile"}
    assert [one.kind for one in merged(base, ours, theirs, "id")] == ["table"]


def test_polars_keeps_its_dtypes() -> None:
    base = pl.DataFrame({"id": [1, 2, 3], "e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"]))})
    ours = base.with_columns(e=pl.Series(["b", "b", "a"], dtype=pl.Enum(["a", "b"])))
    found = merged(base, ours, base.filter(pl.col("id") != 3), "id")
    assert found.equals(ours.filter(pl.col("id") != 3))


@pytest.mark.parametrize("rows", [40, 60_000])
def test_without_a_key_rows_merge_by_what_cuts_the_table(rows: int) -> None:
    rng = np.random.default_rng(0)
    base = pd.DataFrame({"at": pd.date_range("2020", periods=rows, freq="min"), "x": rng.normal(size=rows)})
    ours, theirs = base.copy(), base.drop(index=[7]).reset_index(drop=True)
    ours.loc[3, "x"] = 1.0
    found = merged(base, ours, theirs)
    if rows < 100:
        assert [one.kind for one in found] == ["key"]
    else:
        pd.testing.assert_frame_equal(found, ours.drop(index=[7]).reset_index(drop=True), check_freq=False)


def test_only_segments_that_differ_are_looked_at() -> None:
    rng = np.random.default_rng(1)
    base = pd.DataFrame({"id": range(60_000), **{name: rng.normal(size=60_000) for name in "abc"}})
    ours, theirs = base.copy(), base.copy()
    ours.loc[100, "a"] = 1.0
    theirs.loc[50_000, "b"] = 1.0
    artifacts = [table(one, "id") for one in (base, ours, theirs)]
    read: set[bytes] = set()

    class Watched(MemoryObjects):
        def get(self, kind: Any, id: bytes) -> bytes:
            if kind.name == "CHUNK":
                read.add(bytes(id))
            return MEMORY.get(kind, id)

    found = merge_tables(*artifacts, Watched())
    assert isinstance(found, TableMerge)
    assert len(read) <= 6
    both = to_native(found.build(MEMORY, MEMORY).artifact, MEMORY)
    assert (both.loc[100, "a"], both.loc[50_000, "b"]) == (1.0, 1.0)


def rows_of(*rows: tuple[int, int]) -> pa.Table:
    return pa.table({"id": [one for one, _ in rows], "x": [other for _, other in rows]})


def test_rows_of_one_key_are_told_apart_by_nothing() -> None:
    """One side removed the first row with the key 1, the other the second: neither is there any more."""
    base = rows_of((1, 1), (1, 2), (3, 3))
    found = merged(base, rows_of((1, 2), (3, 3)), rows_of((1, 1), (3, 3)), "id")
    assert [(one.kind, one.key) for one in found] == [("key", {"id": 1})]
    ours, theirs = rows_of((1, 1), (1, 2), (3, 4)), rows_of((1, 1), (1, 2), (3, 3), (5, 5))
    assert merged(base, ours, theirs, "id")["x"].to_pylist() == [1, 2, 4, 5]


def test_a_key_that_a_side_declares_names_rows() -> None:
    base, ours, theirs = sales(), sales(), sales()
    ours.loc[1, "x"], theirs.loc[4, "x"] = 9.0, 8.0
    plain, keyed = table(base), [table(ours, "id"), table(theirs)]
    [refused] = merge_tables(plain, table(ours), table(theirs), MEMORY)  # type: ignore[misc]
    assert (refused.kind, refused.column) == ("key", "id")
    for sides in (keyed, keyed[::-1], [keyed[0], table(theirs, "id")]):
        found = merge_tables(plain, *sides, MEMORY)
        assert isinstance(found, TableMerge)
        built = found.build(MEMORY, MEMORY).artifact
        assert to_native(built, MEMORY)["x"].tolist() == [0, 9, 1, 1.5, 8, 2.5]
        assert built.type["key"] == ["id"]
    other = merge_tables(plain, keyed[0], table(theirs, "s"), MEMORY)
    assert [one.kind for one in other] == ["key"]  # type: ignore[union-attr]
    twice = base.assign(id=7)
    assert [one.kind for one in merge_tables(table(twice), keyed[0], table(theirs), MEMORY)] == ["key"]  # type: ignore[union-attr]


def test_a_key_that_was_not_declared_again_names_rows_still() -> None:
    """Who forgot `keys=` had a merge that no answer but a whole side could settle."""
    base, ours, theirs = sales(), sales(), sales()
    ours.loc[1, "x"], theirs.loc[4, "x"] = 9.0, 8.0
    for sides, key in (
        ([table(ours, "id"), table(theirs)], ["id"]),
        ([table(ours), table(theirs, "id")], ["id"]),
        ([table(ours), table(theirs)], []),
    ):
        found = merge_tables(table(base, "id"), *sides, MEMORY)
        assert isinstance(found, TableMerge)
        built = found.build(MEMORY, MEMORY).artifact
        assert to_native(built, MEMORY)["x"].tolist() == [0, 9, 1, 1.5, 8, 2.5]
        assert built.type.get("key", []) == key
    twice = table(theirs.assign(id=7))
    assert [one.kind for one in merge_tables(table(base, "id"), table(ours, "id"), twice, MEMORY)] == ["key"]  # type: ignore[union-attr]
