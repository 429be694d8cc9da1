"""Partitions as parts of paths: every text comes back, stays one safe part, and sorts as what it is."""

from __future__ import annotations

import datetime as dates

import pytest
from aq.formats import partitions
from aq.formats.errors import UsageError
from aq.store.system.paths import check
from hypothesis import given, strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HOSTILE = (
    "",
    ".",
    "..",
    "...",
    "a/b",
    "../../etc",
    "a=b",
    "x:y",
    "*",
    "%2F",
    "\0",
    "\n",
    "é",
    "e\u0301",
    "ﬀ",
)


@given(TEXTS | st.sampled_from(HOSTILE))
def test_a_text_comes_back_from_one_safe_part(text: str) -> None:
    part = partitions.component("month", text)
    assert partitions.parsed(part) == ("month", text)
    path = f"delays/{part}/auc"
    check(path)
    assert part.count("=") == 1 and ".." not in part and not set(part) & set("/:*?\0\n")
    assert partitions.split(path) == (f"delays/{part}", "auc")
    assert partitions.general(path) == "delays/auc"
    assert partitions.step_of(f"{path}/train") == path


@given(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
def test_two_texts_are_two_parts(texts: list[str]) -> None:
    assert partitions.escaped(texts[0]) != partitions.escaped(texts[1])


def test_bytes_that_are_no_text_come_back_and_lone_surrogates_are_refused() -> None:
    name = b"\xff-raw".decode("utf-8", "surrogateescape")
    assert partitions.parsed(partitions.component("m", name)) == ("m", name)
    with pytest.raises(UsageError, match="no valid text"):
        partitions.component("m", "\ud800")
    with pytest.raises(UsageError, match="too long"):
        partitions.component("m", "x" * 255)


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=16), max_size=8))
def test_numbers_sort_by_size(numbers: list[float]) -> None:
    plain = [number for number in numbers if "e" not in str(number)]
    spaces = [f"f/{partitions.component('n', str(number))}" for number in plain]
    found = [
        partitions.typed(partitions.values(space)["n"]) for space in sorted(spaces, key=partitions.order)
    ]
    assert found == sorted(plain)


@given(st.lists(st.dates(), max_size=8))
def test_dates_sort_by_time(days: list[dates.date]) -> None:
    spaces = [f"f/{partitions.component('day', day.isoformat())}" for day in days]
    found = [partitions.values(space)["day"] for space in sorted(spaces, key=partitions.order)]
    assert found == [day.isoformat() for day in sorted(days)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9", 9),
        ("-3.5", -3.5),
        ("03", "03"),
        ("1e5", "1e5"),
        ("2026-03", "2026-03"),
        ("2026-03-01", dates.date(2026, 3, 1)),
        ("2026-13-01", "2026-13-01"),
        ("true", True),
        ("none", None),
        ("nan", "nan"),
    ],
)
def test_what_a_text_reads_as(text: str, value: object) -> None:
    found = partitions.typed(text)
    assert found == value and type(found) is type(value)


def test_instants_of_two_zones_sort_by_time() -> None:
    late, early = "2026-03-01T01:00:00+00:00", "2026-03-01T02:00:00+05:00"
    spaces = [f"f/{partitions.component('at', text)}" for text in (late, early)]
    assert sorted(spaces, key=partitions.order) == spaces[::-1]


def test_patterns() -> None:
    two = "sales/country=de/month=2026-03"
    assert partitions.matches(two, "sales/*") and partitions.matches(two, "sales/country=de/*")
    assert partitions.matches(two, "sales/*/month=2026-03") and partitions.matches(two, "sales/country=d*/*")
    assert not partitions.matches(two, "sales/country=fr/*") and not partitions.matches(two, "other/*")
    assert not partitions.matches(two, "sales/country=de")
    assert partitions.pattern_of("sales/*/month=2026-03/scores/f1") == ("sales/*/month=2026-03", "scores/f1")
    assert partitions.agreeing([two], {"country": "de"}) == [two]
    assert partitions.agreeing([two], {"country": "fr"}) == []
