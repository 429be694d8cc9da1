"""Columns of another type in the later version: compared by what a reader would call the same value."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.comparing.casting import cast_between, cast_for_comparing
from aq.formats.comparing.changed import changed_rows
from aq.formats.comparing.compare import compare_tables
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from hypothesis import given, strategies as st

STORE = MemoryObjects()
ROWS = 120
NUMBERS = np.arange(ROWS)
HOURS = pa.array(NUMBERS * 3_600_000_000_000, pa.timestamp("ns"))
DAYS = pa.array(NUMBERS.astype("int32"), pa.int32()).cast(pa.date32())
CENTS = pa.array([decimal.Decimal(at) / 100 for at in range(ROWS)], pa.decimal128(20, 2))
HUGE = pa.array([2**60 + at for at in range(ROWS)])


def diff(before: Any, after: Any) -> dict[str, Any]:
    return compare_tables(*(encode_table(one, STORE).artifact for one in (before, after)), STORE)


def of_column(before: pa.Array, after: pa.Array) -> dict[str, Any]:
    return diff(*(pa.table({"id": NUMBERS, "x": one}) for one in (before, after)))


def texts(values: pa.Array) -> pa.Array:
    return pa.array([str(value) for value in values.to_pylist()])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HOURS, HOURS.cast(pa.timestamp("us"))),
        (HOURS, HOURS.cast(pa.timestamp("s", "Asia/Tokyo"))),
        (HOURS, texts(HOURS.cast(pa.timestamp("s")))),
        (DAYS, DAYS.cast(pa.timestamp("s"))),
        (DAYS.cast(pa.date64()), texts(DAYS)),
        (pa.array(NUMBERS * 1_000, pa.duration("ns")), pa.array(NUMBERS, pa.duration("us"))),
        (pa.array(NUMBERS.astype("int32"), pa.time32("s")), pa.array(NUMBERS * 10**6, pa.time64("us"))),
        (HUGE, HUGE.cast(pa.uint64())),
        (CENTS, pa.array(NUMBERS / 100)),
        (CENTS, CENTS.cast(pa.decimal256(40, 5))),
        (pa.array(NUMBERS), pa.array([decimal.Decimal(at) for at in range(ROWS)], pa.decimal128(20, 0))),
        (pa.array(NUMBERS / 2), pa.array([f"{at / 2:.2f}" for at in range(ROWS)])),
        (pa.array(NUMBERS % 2 == 0), texts(pa.array(NUMBERS % 2 == 0))),
        (pa.array(NUMBERS % 2 == 0), pa.array((NUMBERS % 2 == 0).astype("uint64"))),
        (pa.array([None, *range(1, ROWS)]), pa.array(["", *map(str, range(1, ROWS))])),
        (pa.array(np.where(NUMBERS > 9, NUMBERS, np.nan)), pa.array([None] * 10 + list(range(10, ROWS)))),
    ],
    ids=lambda values: str(values.type),
)
def test_a_value_is_the_same_in_another_type(before: pa.Array, after: pa.Array) -> None:
    for found in (of_column(before, after), of_column(after, before)):
        assert [one["name"] for one in found["schema"]["retyped"]] == ["x"]
        assert (found["rows"]["changed"], found["columns"]) == (0, [])


def replaced(values: pa.Array, at: int, value: Any) -> pa.Array:
    return pa.concat_arrays([values[:at], pa.array([value], values.type), values[at + 1 :]])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HUGE, replaced(HUGE.cast(pa.uint64()), 7, 2**60 + 8)),
        (CENTS, replaced(CENTS.cast(pa.decimal128(38, 2)), 7, decimal.Decimal("123456789012345678.91"))),
        (HOURS, replaced(HOURS.cast(pa.timestamp("us")), 7, 1)),
        (HOURS, replaced(HOURS.cast(pa.timestamp("s")), 7, 253_402_300_799)),
        (HOURS, replaced(texts(HOURS.cast(pa.timestamp("s"))), 7, "n/a")),
        (pa.array(NUMBERS / 2), replaced(pa.array([f"{at / 2:.2f}" for at in range(ROWS)]), 7, "n/a")),
    ],
    ids=lambda values: str(values.type),
)
def test_one_value_that_differs_is_one(before: pa.Array, after: pa.Array) -> None:
    for found in (of_column(before, after), of_column(after, before)):
        assert found["rows"]["changed"] == 1
        assert [one["row"] for one in found["sample"]] == [7]


def test_whole_numbers_that_became_floats_lost_digits() -> None:
    found = of_column(HUGE, HUGE.cast(pa.float64(), safe=False))
    assert found["rows"]["changed"] == ROWS - 1  # 2**60 has a float


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1), st.sampled_from(["s", "ms", "us"]))
def test_moments_are_the_same_in_a_finer_unit_if_it_reaches_them(counts: list[int], unit: str) -> None:
    values = pa.array(counts, pa.timestamp(unit))
    cast = cast_between(values.type, pa.timestamp("ns"))
    assert cast is not None
    found = cast_for_comparing(pa.chunked_array([values]), cast).cast(pa.int64()).to_pylist()
    times = 10 ** (9 - 3 * ["s", "ms", "us"].index(unit))
    most = (2**63 - 1) // times
    for count, one in zip(counts, found, strict=True):
        assert one == count * times if abs(count) <= most else abs(one) == 2**63 - 1


def test_missing_values_are_the_same_in_all_containers_and_dtypes() -> None:
    frame = pd.DataFrame({"id": NUMBERS, "x": np.where(NUMBERS % 7 == 0, np.nan, NUMBERS / 4)})
    others = [frame.convert_dtypes(), frame.astype({"x": "float64[pyarrow]"}), pa.Table.from_pandas(frame)]
    for after in others:
        assert diff(frame, after)["rows"]["changed"] == 0


def test_what_is_no_finite_number_is_shown() -> None:
    before = pa.table({"id": NUMBERS, "x": pa.array([None, *range(1, ROWS)], pa.float64())})
    after = before.set_column(1, "x", pa.array([np.nan, np.inf, -np.inf, *range(3, ROWS)]))
    found = diff(before, after)
    assert [one["to"] for one in found["sample"]] == [{"x": "nan"}, {"x": "inf"}, {"x": "-inf"}]
    [column] = found["columns"]
    assert (column["before"]["infinite"], column["after"]["infinite"]) == (0, 2)
    assert (column["before"]["nulls"], column["after"]["nulls"]) == (1, 1)


def test_a_sample_and_rows_written_out_have_the_values_of_each_type() -> None:
    before = pa.table({"id": NUMBERS, "x": NUMBERS})
    after = before.set_column(1, "x", replaced(texts(pa.array(NUMBERS)), 7, "seven"))
    [shown] = diff(before, after)["sample"]
    assert (shown["from"], shown["to"]) == ({"x": 7}, {"x": "seven"})
    made = (encode_table(one, STORE).artifact for one in (before, after))
    assert changed_rows(*made, STORE)["x"].to_pylist() == ["7", "seven"]


@pytest.mark.parametrize(
    ("change", "guess"),
    [
        (lambda x: x.round(1), "rounded to 1 decimal place?"),
        (lambda x: x.round(), "rounded to whole numbers?"),
        (np.trunc, "cut to whole numbers?"),
        (lambda x: x.astype("float32"), "rounded to 32 bits?"),
        (lambda x: x * 1.0005, "× 1.0005?"),
        (lambda x: x * (1 + 1e-9), None),
    ],
)
def test_numbers_that_lost_digits_are_not_multiplied(change: Any, guess: str | None) -> None:
    x = np.random.default_rng(3).normal(20, 4, ROWS)
    [column] = of_column(pa.array(x), pa.array(change(x)))["columns"]
    assert column["guess"] == guess


def test_nested_values_have_no_form() -> None:
    before = pa.array([{"a": at} for at in range(ROWS)])
    after = pa.array([{"a": at, "b": at} for at in range(ROWS)])
    assert [one["guess"] for one in of_column(before, after)["columns"]] == [None]


def test_a_moment_as_text_is_in_no_case() -> None:
    before = pa.array([f"2026-01-01T{at % 24:02}:{at // 24:02}:00Z" for at in range(ROWS)])
    [column] = of_column(before, pa.array([one[:10] + " " + one[11:-1] for one in before.to_pylist()]))[
        "columns"
    ]
    assert column["guess"] is None


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(4)])
def test_bytes_that_are_no_text_differ_from_it(kind: pa.DataType) -> None:
    before = pa.array([f"{at:04}" for at in range(ROWS)])
    values = [one.encode() for one in before.to_pylist()]
    after = pa.array([b"\xff\xfe\xff\xfe", *values[1:-1], None], kind)
    for pair in (before, after), (after, before):
        [column] = of_column(*pair)["columns"]
        assert column["changed_rows"] == 2


def test_moments_that_python_has_not_are_compared_inside_lists() -> None:
    days = pa.array([2**31 - 1, *range(1, ROWS)], pa.int32()).cast(pa.date32())
    before = pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), days)
    texts = [str(value) for value in before[1:].to_pylist()]
    [column] = of_column(before, pa.array(["[far]", *texts]))["columns"]
    assert column["changed_rows"] == 1
