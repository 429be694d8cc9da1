"""The pieces that text answers are made of."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from aq.cli.text import (
    Cell,
    View,
    ago,
    aligned,
    columns,
    cut,
    duration,
    moment,
    number,
    signed,
    size,
    visible,
    when,
    width,
)
from aq.cli.text_check import seen
from aq.cli.text_metric import cells, spark
from hypothesis import given, strategies as st


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.9514321, "0.9514"),
        (-0.102, "−0.102"),
        (27004, "27,004"),
        (3.0, "3"),
        (1234.5678, "1235"),
        (1e-7, "1e−07"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (True, "True"),
        ("text", "text"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


def test_differences_carry_their_sign() -> None:
    assert (signed(-0.1023), signed(0.5), signed(0.0)) == ("−0.102", "+0.5", "+0")


@given(st.lists(st.none() | st.floats(), max_size=8))
def test_any_series_can_be_shown(values: list[float | None]) -> None:
    assert len(aligned(values)) == len(values) == len(list(cells([(True, value) for value in values])))


@given(st.lists(st.none() | st.just(math.nan) | st.floats(-1e9, 1e9), max_size=8))
def test_a_series_is_aligned_on_its_decimals(values: list[float | None]) -> None:
    texts = aligned(values)
    assert len(texts) == len(values)
    finite = [t for t, v in zip(texts, values, strict=True) if v is not None and math.isfinite(v)]
    if any("." in text for text in finite) and max(abs(v or 0) for v in values if v == v) > 1e-5:
        assert len({len(text.partition(".")[2]) for text in finite}) == 1


def test_sizes_and_durations() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 << 20, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]
    assert [duration(s) for s in (0.0, 0.04, 1.24, 59.94, 75, 7500)] == [
        "0.00 s",
        "0.04 s",
        "1.2 s",
        "59.9 s",
        "1 min 15 s",
        "2 h 5 min",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3600, "in the future"),
        (0, "just now"),
        (42, "42 seconds ago"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (86400 * 6, "6 days ago"),
        (86400 * 13, "13 days ago"),
        (86400 * 14, "2 weeks ago"),
        (86400 * 70, "2 months ago"),
        (86400 * 400, "1 year ago"),
    ],
)
def test_relative_times(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_times_are_relative_on_a_terminal_only() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    then = (now - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    assert when(View(terminal=True, now=now.timestamp()), then) == "2 hours ago"
    assert when(View(now=now.timestamp()), then) == "2026-03-01T10:00:00Z"
    assert moment("2026-03-01T10:00:00.123456789Z") == moment("2026-03-01T10:00:00.123456Z")


def test_columns_are_aligned_and_empty_ones_vanish() -> None:
    rows = [["a", "", Cell("1", right=True), "x"], ["long", "", Cell("1,000", right=True), "y"]]
    assert list(columns(View(), rows)) == ["a         1  x", "long  1,000  y"]
    assert list(columns(View(width=9), [["a", "a long text"]])) == ["a  a lon…"]
    assert list(columns(View(), [])) == []


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=6))
def test_columns_align_whatever_the_script(rows: list[tuple[str, str]]) -> None:
    marked = [[a.replace("|", ""), Cell(f"|{b}")] for a, b in rows]
    assert len({width(line[: line.index("|")]) for line in columns(View(), marked)}) <= 1


def test_colour_changes_no_width() -> None:
    plain, painted = View(), View(color=True)
    rows = [[Cell("ab", "good"), "x"], [Cell("abc", "bad"), "y"]]
    assert [width(line) for line in columns(painted, rows)] == [width(line) for line in columns(plain, rows)]
    assert "\x1b" not in "".join(columns(plain, rows)) and "\x1b" in "".join(columns(painted, rows))


@given(st.text())
def test_no_text_can_steer_a_terminal(text: str) -> None:
    left = visible(text)
    assert "\x1b" not in left.replace("\x1b[", "") or "\x1b[" in text
    assert all(c in "\n\t\x1b" or not (ord(c) < 32 or 127 <= ord(c) < 160) for c in left)


def test_what_could_steer_a_terminal_is_made_visible() -> None:
    assert visible("a\x1b]0;title\x07b\rc") == "a\\x1b]0;title\\x07b\\x0dc"
    assert visible("\x1b[31mred\x1b[0m\ttab\n") == "\x1b[31mred\x1b[0m\ttab\n"
    assert visible("\x1b[2Jcleared") == "\\x1b[2Jcleared"


def test_cutting_keeps_what_fits() -> None:
    assert (cut("abcdef", 6), cut("abcdefg", 6)) == ("abcdef", "abcde…")


def marks(*values: float | None) -> str:
    return "".join(mark.text or "." for _, _, mark in cells([(v is not None, v) for v in values]))


def test_a_drop_is_marked_and_noise_is_not() -> None:
    assert marks(0.950, 0.951, 0.951, 0.953, 0.849, 0.844) == "....▼."
    assert marks(0.950, 0.951, None, 0.953, 0.849) == "....▼"
    assert marks(414, 333, 260, 280, 242) == "....."
    assert marks(418, 350, 323, 2030, 1790) == "...▲."
    assert marks(0.9, 0.8) == ".▼"
    assert marks(0.9, 0.9001) == ".."
    assert marks() == "" and marks(None, None) == ".."


def test_missing_values_are_dashes_and_start_no_difference() -> None:
    series = [(False, None), (True, 0.5), (True, None)]
    shown = [(value.text, delta.text) for value, delta, _ in cells(series)]
    assert shown == [("–", ""), ("0.5000", ""), ("nan", "")]


def test_sparklines() -> None:
    assert spark([0.0, 0.5, 1.0, None, 0.0]) == "▁▅█ ▁" or spark([0.0, 0.5, 1.0, None, 0.0]) == "▁▄█ ▁"
    assert spark([]) == spark([None]) == "" and spark([2.0, 2.0]) == "▁▁"


def test_what_a_check_judged_by_a_time_span_is_one() -> None:
    assert seen(79_200.0, "36 hours", None) == "22 h 0 min (bound: 36 hours)"
    assert seen(0.5, 0.75, 3) == "0.5 (bound: 0.75), 3 rows"
    assert seen(None, "36 hours", None) == "(bound: 36 hours)"
