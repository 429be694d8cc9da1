"""Without a declared key a column that names the rows pairs them, and one that does not is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from aq.formats.comparing.changed import changed_rows
from aq.formats.comparing.compare import compare_tables
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table

STORE = MemoryObjects()


def diff(before: pd.DataFrame, after: pd.DataFrame, *key: str) -> dict[str, Any]:
    made = [encode_table(frame.reset_index(drop=True), STORE, key=key).artifact for frame in (before, after)]
    return compare_tables(made[0], made[1], STORE)


def counts(found: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    rows = {name: found["rows"][name] for name in ("added", "removed", "changed")}
    return rows, {column["name"]: column["changed_rows"] for column in found["columns"]}


def orders(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(rows)
    return pd.DataFrame(
        {
            "flag": random.random(rows) < 0.5,
            "order": [f"no {number}" for number in random.permutation(rows)],
            "carrier": random.choice(["AA", "DL", "UA"], rows),
            "when": pd.date_range("2026-01-01", periods=rows, freq="h"),
            "minutes": random.exponential(20, rows).round() + 1,
        }
    )


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(minutes=frame["minutes"] / 60, when=frame["when"] + pd.Timedelta("1D"))


@pytest.mark.parametrize("rows", [6, 400, 9_000])
def test_rows_that_changed_in_several_columns_are_found_by_their_name(rows: int) -> None:
    before = orders(rows)
    after = pd.concat([moved(before).drop(index=[1, 3]), orders(3).assign(order=["x", "y", "z"])])
    for new in (after, after.sample(frac=1, random_state=0)):
        found = diff(before, new)
        assert counts(found) == counts(diff(before, new, "order"))
        assert counts(found)[0] == {"added": 3, "removed": 2, "changed": rows - 2}
        guesses = {column["name"]: column["guess"] for column in found["columns"]}
        assert guesses == {"minutes": "× 0.0167: minutes → hours?", "when": "+24 h: another time zone?"}


def test_scattered_edits_are_those_that_a_key_tells() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        before = orders(40)
        after = before.drop(index=random.choice(40, 4, replace=False))
        for column in ("minutes", "carrier"):
            chosen = random.choice(after.index, 6, replace=False)
            after.loc[chosen, column] = 99.0 if column == "minutes" else "ZZ"
        after = pd.concat([after, orders(41).iloc[40:].assign(order="new")])
        assert counts(diff(before, after)) == counts(diff(before, after, "order"))


def test_rows_that_are_written_out_are_paired_alike() -> None:
    before, after = orders(10), moved(orders(10)).drop(index=[2])
    made = [encode_table(frame, STORE).artifact for frame in (before, after.reset_index(drop=True))]
    found = changed_rows(made[0], made[1], STORE).to_pandas()
    assert found["aq_change"].value_counts().to_dict() == {"before": 9, "after": 9, "removed": 1}
    paired = found[found["aq_change"] != "removed"]["order"]
    assert (paired[::2].to_numpy() == paired[1::2].to_numpy()).all()


def test_numbers_of_rows_that_are_counted_anew_name_none() -> None:
    before = orders(50).drop(columns="order")
    after = before.drop(index=[0, 1, 2])
    found = diff(before.assign(at=range(50)), after.assign(at=range(47)))
    assert counts(found) == ({"added": 0, "removed": 3, "changed": 47}, {"at": 47})


def test_moments_that_were_shifted_name_none() -> None:
    """They find another row a day later, which agrees with this one by chance alone."""
    before = orders(300).drop(columns="order")
    found = diff(before, moved(before).drop(index=[5, 6]))
    assert found["rows"]["changed"] < 100
    assert "minutes" in {column["name"] for column in found["columns"] if column["guess"]}
