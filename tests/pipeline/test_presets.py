"""Ready checks: what they find and keep as evidence, and that their false alarms are as rare as said."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import aq
import numpy as np
import pandas as pd
import pytest
from aq import checks
from aq.formats.comparing.drift import shift
from aq.formats.errors import UsageError
from hypothesis import given, strategies as st

from tests.pipeline.workshop import Workshop, reasons, states

FRAME = pd.DataFrame(
    {
        "id": [1, 2, 2, 4],
        "day": pd.to_datetime(["2026-03-01", "2026-03-02", None, "2026-03-03"]),
        "who": ["ann", "bob", None, "Eve"],
        "delay": [1.0, -7.0, None, 90.0],
    }
)


def found(check: Any, *tables: Any, **more: Any) -> Any:
    return check(*tables, **more)


@pytest.mark.parametrize(
    ("check", "failing"),
    [
        (checks.nulls(), [2]),
        (checks.nulls("id"), []),
        (checks.nulls("who", "delay"), [2]),
        (checks.unique("id"), [1, 2]),
        (checks.unique("id", "who"), []),
        (checks.unique(), []),
        (checks.between("delay", low=0), [1]),
        (checks.between("delay", 0, 60), [1, 3]),
        (checks.between("delay", high=90), []),
        (checks.between("day", high=pd.Timestamp("2026-03-02")), [3]),
        (checks.isin("who", ["ann", "bob"]), [3]),
        (checks.isin("id", {1, 2, 4}), []),
        (checks.matches("who", "[a-z]+"), [3]),
        (checks.matches("who", "[a-z]"), [0, 1, 3]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_rows_that_do_not_hold_are_counted_and_kept(check: Any, failing: list[int]) -> None:
    one = found(check, FRAME)
    assert one.passed == (not failing)
    assert (one.rows, one.of) == (len(failing), 4)
    if failing:
        pd.testing.assert_frame_equal(one.evidence, FRAME.iloc[failing])
    else:
        assert one.evidence is None


def test_a_share_of_the_rows_may_be_let_through() -> None:
    one = found(checks.nulls("who", at_most=0.25), FRAME)
    assert one.passed and one.value == 0.25 and one.bound == 0.25 and len(one.evidence) == 1
    assert not found(checks.nulls("who", at_most=0.2), FRAME).passed


def test_a_table_without_rows_has_none_that_fails() -> None:
    empty = FRAME.iloc[:0]
    for check in (
        checks.nulls(),
        checks.unique("id"),
        checks.between("delay", 0),
        checks.matches("who", "x"),
    ):
        assert found(check, empty).passed


@pytest.mark.parametrize(
    ("limits", "passed", "bound"),
    [
        ({"at_least": 4}, True, 4),
        ({"at_least": 5}, False, 5),
        ({"at_most": 3}, False, 3),
        ({"at_least": 1, "at_most": 3}, False, 3),
        ({"at_least": 1, "at_most": 4}, True, 1),
    ],
)
def test_rows_are_counted(limits: dict[str, int], passed: bool, bound: int) -> None:
    one = found(checks.rows(**limits), FRAME)
    assert (one.passed, one.value, one.bound) == (passed, 4.0, bound)


def test_a_schema_is_compared_by_name_and_dtype() -> None:
    wanted = {name: str(dtype) for name, dtype in FRAME.dtypes.items()}
    assert found(checks.schema(wanted), FRAME).passed
    assert found(checks.schema(), FRAME, FRAME.iloc[:1]).passed
    one = found(checks.schema({**wanted, "id": "float64", "more": "int64"}), FRAME.drop(columns="who"))
    assert not one.passed and one.value == 3
    assert one.evidence.to_dict("records") == [
        {"column": "id", "wanted": "float64", "found": "int64"},
        {"column": "who", "wanted": wanted["who"], "found": ""},
        {"column": "more", "wanted": "int64", "found": ""},
    ]
    assert not found(checks.schema({"id": "int64"}), FRAME).passed
    assert found(checks.schema({"id": "int64"}, extra=True), FRAME).passed


def test_freshness_is_the_age_of_the_latest_time() -> None:
    now = datetime.now(UTC)
    frame = pd.DataFrame({"at": [now - timedelta(hours=30), now - timedelta(days=9)]})
    assert found(checks.fresh("at", "2 days"), frame).passed
    assert not found(checks.fresh("at", "1 day"), frame).passed
    one = found(checks.fresh("day", "36 hours"), FRAME, as_of=date(2026, 3, 4))
    assert not one.passed and one.value == 48 * 3600 and one.bound == "36 hours"
    assert found(checks.fresh("day", "36 hours"), FRAME, as_of="2026-03-04T12:00:00").passed
    assert not found(checks.fresh("day", "1 day"), FRAME.iloc[2:3]).passed


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: checks.rows(), "at_least= or at_most="),
        (lambda: checks.nulls(at_most=7), "share of the rows"),
        (lambda: checks.between("x"), "low or a high"),
        (lambda: checks.isin("x", "abc"), "a list of values, not 'abc'"),
        (lambda: checks.matches("x", "("), "no regular expression"),
        (lambda: checks.fresh("x", "soon"), "no length of time"),
        (lambda: checks.drift(alarm=0), "between 0 and 1"),
        (lambda: checks.unique("x", severity="fatal"), "severity"),  # type: ignore[arg-type]
        (lambda: found(checks.unique("x"), FRAME), "no column 'x'; it has id, day"),
        (lambda: found(checks.between("who", 1), FRAME), "does not compare"),
        (lambda: found(checks.schema(), FRAME), "second table"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        make()
    assert "\n" not in caught.value.message


def sample(seed: int, size: int = 2_000, move: float = 0.0) -> pd.DataFrame:
    source = np.random.default_rng(seed)
    start = pd.Timestamp("2026-01-01", tz="Europe/Berlin")
    return pd.DataFrame(
        {
            "number": source.normal(move, 1, size),
            "count": pd.array(source.poisson(3, size), dtype="Int64"),
            "missing": np.where(source.random(size) < 0.3 + move / 2, np.nan, source.random(size)),
            "text": source.choice(["a", "b", "c"], size, p=[0.5 + move / 4, 0.3, 0.2 - move / 4]),
            "flag": source.random(size) < 0.5 + move / 2,
            "time": start + pd.to_timedelta(source.integers(0, 1000 + int(500 * move), size), "h"),
        }
    )


def test_drift_tells_which_columns_moved_and_how_far() -> None:
    one = found(checks.drift(), sample(1, move=0.8), sample(2))
    assert not one.passed
    assert set(one.evidence["column"]) == {"number", "missing", "text", "flag", "time"}
    assert one.bound == 0.1 and one.value == one.evidence["psi"].max()
    assert found(checks.drift("count"), sample(1, move=0.8), sample(2)).passed
    assert found(checks.drift(), sample(1), sample(2)).passed


def test_a_small_shift_of_many_rows_is_no_drift_and_a_large_one_of_few_may_be_chance() -> None:
    assert found(checks.drift("number"), sample(1, 50_000, 0.05), sample(2, 50_000)).passed
    few = found(checks.drift("number"), sample(1, 20), sample(3, 20))
    assert few.passed and few.value > 0.1


@pytest.mark.parametrize("size", [60, 1_000])
def test_false_alarms_of_the_test_of_chance_are_as_rare_as_said(size: int) -> None:
    """Pairs of samples of one population: p below 1 % in at most 1 % of them, but for luck (5 sigma)."""
    source = np.random.default_rng(size)
    numbers = texts = 0
    for _ in range(2_000):
        a, b = pd.Series(source.normal(size=size)), pd.Series(source.normal(size=size))
        numbers += shift(a, b).p_value < 0.01
    for _ in range(500):
        c, d = (pd.Series(source.choice(list("abcdefgh"), size)) for _ in range(2))
        texts += shift(c, d).p_value < 0.01
    assert numbers <= 20 + 5 * 20**0.5
    assert texts <= 5 + 5 * 5**0.5


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5), st.text(max_size=2), st.booleans()), max_size=30))
def test_a_column_has_not_moved_from_itself(values: list[Any]) -> None:
    series = pd.Series(values, dtype=object)
    assert shift(series, series)[0] == 0.0
    assert shift(series, series).p_value >= 0.5


def test_a_pandera_schema_is_a_check_whose_failure_cases_are_kept(delays: Workshop) -> None:
    pytest.importorskip("pandera.pandas")
    head = (
        "import pandera.pandas as pa\n\nclass Delays(pa.DataFrameModel):\n    delay: int = pa.Field(le=3)\n\n"
    )
    delays.replace("LIMIT = 100", head + "LIMIT = 100")
    delays.replace("enough(mean(table))", "mean(table); aq.checks.pandera(Delays)(table)")
    done = delays.run()
    assert done.checks == {"delays/Delays": "failed"}
    assert done.violations == ({"check": "delays/Delays", "value": None, "bound": None, "rows": 1},)
    (case,) = delays.value(done, "delays/Delays/rows").to_dict("records")
    assert (case["column"], case["failure_case"], case["index"]) == ("delay", "5", 1)
    delays.replace("le=3", "le=9")
    assert delays.run().checks == {"delays/Delays": "passed"}
    with pytest.raises(UsageError, match="needs a pandera schema, not a dict"):
        checks.pandera({})


def test_in_a_flow_they_gate_keep_evidence_and_are_reused(delays: Workshop) -> None:
    delays.replace(
        "enough(mean(table))",
        "mean(table); aq.checks.between('delay', high=3)(table); aq.checks.unique('name')(table)",
    )
    done = delays.run()
    assert done.checks == {"delays/between_delay": "failed", "delays/unique_name": "passed"}
    assert done.gated
    assert done.violations == ({"check": "delays/between_delay", "value": None, "bound": None, "rows": 1},)
    evidence = delays.value(done, "delays/between_delay/rows")
    assert evidence.to_dict("records") == [{"delay": 5, "name": "b"}]
    again = delays.run()
    assert states(again)["between_delay"] == states(again)["unique_name"] == "reused"
    delays.replace("high=3", "high=30")
    assert reasons(delays.run(), "between_delay") == [("param", "high: 3 → 30")]


def test_they_are_offered_beside_the_decorators() -> None:
    assert aq.checks is checks
    assert set(aq.__all__) >= {"check", "checks"}
