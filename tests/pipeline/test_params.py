"""Parameters: texts to typed values and back, and what is refused before anything runs."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pytest
from aq.formats.errors import NotFound, UsageError
from aq.pipeline.flow.ops import flow
from aq.pipeline.flow.params import Parameter, accept, as_text, bind, parameters, parse
from hypothesis import given, strategies as st


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Level(enum.StrEnum):
    LOW = "low"


def single(annotation: Any) -> Callable[[], None]:
    def body(x) -> None:  # type: ignore[no-untyped-def]
        pass

    body.__annotations__ = {"x": annotation}
    return body


def bound(annotation: Any, value: Any) -> Any:
    return bind(flow(single(annotation)), {"x": value}).values["x"]


CASES: list[tuple[Any, str, Any]] = [
    (int, "8", 8),
    (int, "-1_000", -1000),
    (float, "8", 8.0),
    (float, "1e-3", 0.001),
    (bool, "true", True),
    (bool, "No", False),
    (bool, "0", False),
    (str, "08", "08"),
    (str, "none", "none"),
    (str | None, "none", None),
    (str | None, '"none"', "none"),
    (str | None, "", ""),
    (Optional[int], "None", None),  # noqa: UP045
    (Optional[int], "3", 3),  # noqa: UP045
    (int | str, "3", 3),
    (int | str, "three", "three"),
    (int | bool, "true", True),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 2, "x"], "2", 2),
    (Literal["a", None], "none", None),
    (Colour, "RED", Colour.RED),
    (Colour, "b", Colour.BLUE),
    (Level, "low", Level.LOW),
    (dt.date, "2026-03-01", dt.date(2026, 3, 1)),
    (dt.datetime, "2026-03-01T12:30Z", dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)),
    (dt.date | dt.datetime, "2026-03-01", dt.date(2026, 3, 1)),
    (Path, "data/a.csv", Path("data/a.csv")),
    (Decimal, "0.10", Decimal("0.10")),
    (list[int], "1,2, 3", [1, 2, 3]),
    (list[int], "[1, 2]", [1, 2]),
    (list[int], "", []),
    (list[str], "a,b", ["a", "b"]),
    (list[dt.date], "2026-01-01,2026-02-01", [dt.date(2026, 1, 1), dt.date(2026, 2, 1)]),
    (list[list[int]], "[[1], [2, 3]]", [[1], [2, 3]]),
    (tuple[int, ...], "1,2", (1, 2)),
    (tuple[int, str], "1,x", (1, "x")),
    (set[str], "b,a", {"a", "b"}),
    (list, "a,b", ["a", "b"]),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (Annotated[int, "rows"], "7", 7),
]


@pytest.mark.parametrize(("annotation", "text", "value"), CASES)
def test_a_text_becomes_a_value_of_the_annotated_type(annotation: Any, text: str, value: Any) -> None:
    found = bound(annotation, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("annotation", "text", "value"), CASES)
def test_the_canonical_text_gives_the_value_again(annotation: Any, text: str, value: Any) -> None:
    parameter = parameters(flow(single(annotation)))["x"]
    assert parse(as_text(value, parameter), parameter) == value


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "six"),
        (int, "6.0"),
        (float, "x"),
        (bool, "maybe"),
        (int, "none"),
        (Literal["a", "b"], "c"),
        (Colour, "GREEN"),
        (dt.date, "2026-13-01"),
        (list[int], "1,x"),
        (tuple[int, int], "1"),
        (dict[str, int], "[1]"),
        (dict, "{"),
        (Decimal, "x"),
        (complex, "1"),
    ],
)
def test_a_text_that_does_not_fit_is_a_usage_error(annotation: Any, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        bound(annotation, text)
    assert caught.value.exit_code == 2
    assert f"x={text!r}" in caught.value.message


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [(float, 8, 8.0), (int, np.int64(3), 3), (float, np.float32(0.5), 0.5), (Colour, Colour.RED, Colour.RED)],
)
def test_values_from_python_are_taken_where_they_fit(annotation: Any, value: Any, expected: Any) -> None:
    found = bound(annotation, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, True),
        (int, 1.0),
        (bool, 1),
        (str, 3),
        (int, None),
        (dt.date, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_values_from_python_of_another_type_are_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(UsageError, match="is no"):
        bound(annotation, value)


def test_without_annotation_the_default_tells_the_type_and_else_it_is_text() -> None:
    @flow
    def body(a, depth=6, rate=0.5, deep=False, name="x", columns=("a",), since=None):  # type: ignore[no-untyped-def]
        pass

    given_texts = {"a": "1", "depth": "7", "rate": "1", "deep": "yes", "columns": "b,c", "since": "2026"}
    values = bind(body, given_texts).values
    assert values == {
        "a": "1",
        "depth": 7,
        "rate": 1.0,
        "deep": True,
        "name": "x",
        "columns": ("b", "c"),
        "since": "2026",
    }
    assert type(values["rate"]) is float


def test_an_annotation_that_cannot_be_resolved_falls_back_to_the_default() -> None:
    @flow
    def body(day: NoSuchType = dt.date(2026, 1, 1)) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    assert bind(body, {"day": "2026-02-01"}).values == {"day": dt.date(2026, 2, 1)}


def test_given_texts_are_kept_apart_from_defaults() -> None:
    @flow
    def body(depth: int = 6, rate: float = 0.5) -> None:
        pass

    result = bind(body, {"rate": "1"})
    assert result.values == {"depth": 6, "rate": 1.0}
    assert result.texts == {"depth": "6", "rate": "1.0"}
    assert result.given == {"rate": "1.0"}
    assert bind(body, result.given) == result


def test_an_unknown_name_is_not_found_and_the_nearest_is_hinted() -> None:
    @flow
    def body(depth: int = 6) -> None:
        pass

    with pytest.raises(NotFound, match="body has no parameter 'dept'") as caught:
        bind(body, {"dept": "3"})
    assert "did you mean depth?" in caught.value.message
    assert (caught.value.hint or "").endswith("test_params.py:body -p depth=3")
    with pytest.raises(NotFound, match=r"no parameter 'zzz' \(there are depth\)"):
        bind(body, {"zzz": "3"})
    with pytest.raises(NotFound, match="empty has no parameters"):
        bind(flow(name="empty")(lambda: None), {"x": "1"})


def test_a_missing_value_names_the_flag() -> None:
    with pytest.raises(UsageError, match="the parameter x of body has no value") as caught:
        bind(flow(single(int)), {})
    assert "-p x=" in (caught.value.hint or "")


def test_a_value_that_does_not_fit_is_hinted_as_the_default_is_written() -> None:
    @flow
    def body(n: int, label: str | None = "two words", depth: int = 6, key: float = 0.5) -> None:
        pass

    for texts, hint in [
        ({"depth": "x"}, "body -p depth=6"),
        ({"n": "1.5"}, "body -p n=VALUE"),
        ({"label": 3, "n": 1}, "body -p label='two words'"),
    ]:
        with pytest.raises(UsageError, match="is no") as caught:
            bind(body, texts)
        assert (caught.value.hint or "").endswith(hint)


def test_a_value_that_no_text_can_carry_is_refused_though_a_default_may_be_one() -> None:
    class Settings:
        pass

    settings = Settings()

    @flow
    def body(settings: Settings = settings) -> None:
        pass

    assert bind(body, {}).values == {"settings": settings}
    with pytest.raises(UsageError, match="cannot be written as text"):
        bind(body, {"settings": Settings()})


scalars = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(),
    st.dates(),
    st.datetimes(),
    st.lists(st.integers()),
    st.lists(st.text()),
    st.tuples(st.text(), st.integers()),
    st.dictionaries(st.text(), st.integers()),
)


@given(scalars, st.booleans())
def test_every_value_survives_its_text(value: Any, optional: bool) -> None:
    annotation: Any = type(value)
    if type(value) is list:
        annotation = list[type(value[0])] if value else list[int]  # type: ignore[misc]
    if type(value) is tuple:
        annotation = tuple[str, int]
    parameter = Parameter("x", (annotation,), None, optional)
    assert parse(as_text(value, parameter), parameter) == value
    assert accept("f", parameter, as_text(value, parameter)) == value
