"""Where the columns that cut a table changed, rows are lined up by those that did not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from aq.formats.comparing.compare import compare_tables
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table

STORE = MemoryObjects()
ZONE = "+1 h: another time zone?"
HOUR = pd.Timedelta("1h")


def diff(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
    made = [encode_table(frame.reset_index(drop=True), STORE).artifact for frame in (before, after)]
    return compare_tables(made[0], made[1], STORE)


def counts(found: dict[str, Any]) -> tuple[int, int, dict[str, int]]:
    told = {column["name"]: column["changed_rows"] for column in found["columns"]}
    return found["rows"]["removed"], found["rows"]["added"], told


def power(rows: int, seed: int = 5) -> pd.DataFrame:
    """By the minute, as the feed of a meter."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "at": pd.date_range("2006-12-16", periods=rows, freq="min"),
            "kilowatts": random.gamma(2, 1, rows).round(3),
            "volts": random.normal(240, 3, rows).round(2),
            "rooms": random.choice(["kitchen", "laundry", "none"], rows),
        }
    )


@pytest.mark.parametrize("rows", [40, 900, 30_000])
@pytest.mark.parametrize("start", [0, 0.5])
def test_a_clock_that_was_set_changes_one_column(rows: int, start: float) -> None:
    before, first = power(rows), int(start * rows)
    after = before.assign(at=before["at"].where(before.index < first, before["at"] + HOUR))
    found = diff(before, after)
    assert counts(found) == (0, 0, {"at": rows - first})
    assert found["columns"][0]["guess"] == ZONE


def test_rows_gone_and_new_ones_beside_a_clock_that_was_set() -> None:
    before = power(30_000)
    after = pd.concat([before.drop(index=[7, 8, 20_000]), power(30_005).iloc[30_000:]])
    found = diff(before, after.assign(at=after["at"] + HOUR))
    assert counts(found) == (3, 5, {"at": 29_997})


def test_a_series_of_one_value_may_be_shifted_too() -> None:
    before = power(30_000)[["at", "kilowatts"]].assign(kilowatts=np.arange(30_000) / 7)
    assert counts(diff(before, before.assign(at=before["at"] + HOUR))) == (0, 0, {"at": 30_000})
    random = np.random.default_rng(1)
    estimated = before.assign(kilowatts=random.normal(size=30_000))
    assert counts(diff(before, estimated)) == (0, 0, {"kilowatts": 30_000})


@pytest.mark.parametrize("rows", [12, 700, 20_000])
def test_columns_that_were_made_anew_leave_rows_what_they_are(rows: int) -> None:
    random = np.random.default_rng(rows)
    before = power(rows).drop(columns="at")
    after = before.assign(volts=random.normal(240, 3, rows), rooms=random.choice(["a", "b"], rows))
    assert counts(diff(before, after)) == (0, 0, {"volts": rows, "rooms": rows})


def test_codes_that_were_given_anew_pair_no_rows_by_chance() -> None:
    random, rows = np.random.default_rng(1), 20_000
    codes = random.integers(0, 200, (2, rows))
    before = pd.DataFrame(
        {"code": codes[0], "shop": random.integers(0, 50, rows), "x": random.normal(size=rows)}
    )
    assert counts(diff(before, before.assign(code=codes[1]))) == (
        0,
        0,
        {"code": int((codes[0] != codes[1]).sum())},
    )


@pytest.mark.parametrize("rows", [50, 20_000])
def test_another_month_has_other_rows(rows: int) -> None:
    """Their hours of the day and days of the week are those of the month before, in the same order."""
    before, after = power(rows), power(rows, seed=6).assign(at=lambda frame: frame["at"] + rows * HOUR / 60)
    frames = [
        frame.assign(hour=frame["at"].dt.hour, day=frame["at"].dt.day_of_week, holiday=False, country="FR")
        for frame in (before, after)
    ]
    assert counts(diff(*frames))[:2] == (rows, rows)


def test_rows_in_another_order_are_no_others() -> None:
    before = power(20_000)
    found = diff(before, before.sort_values("kilowatts", kind="stable"))
    assert counts(found) == (0, 0, {}) and found["rows"]["reordered"]
