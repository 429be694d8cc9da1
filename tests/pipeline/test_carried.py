"""What inputs bring along, and what is seen of inputs that an op changed."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.artifacts import values
from aq.formats.errors import Damaged
from aq.formats.objects import MemoryObjects
from aq.formats.python import pickles
from aq.pipeline.code.load import Project
from aq.pipeline.step import mutation
from aq.pipeline.step.carried import Carried, globals_in
from hypothesis import given, strategies as st
from hypothesis.extra import pandas as frames


class Colour(enum.Enum):
    RED = 1


class Thing:
    def __init__(self, inside: Any) -> None:
        self.inside = inside


def globals_of(value: object) -> set[tuple[str, str]]:
    store = MemoryObjects()
    artifact = values.encode(value, store).artifact
    assert artifact.format == "pickle"
    return globals_in(bytes(next(pickles.stored_parts(artifact, store))))


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({1, 2}, set()),
        (Thing([1]), {(__name__, "Thing")}),
        (Thing(Thing(Colour.RED)), {(__name__, "Thing"), (__name__, "Colour")}),
        (collections.OrderedDict(a=1), {("collections", "OrderedDict")}),
        ((decimal.Decimal("1.5"), datetime.date(2026, 1, 1)), {("decimal", "Decimal"), ("datetime", "date")}),
        (collections.Counter("aab"), {("collections", "Counter")}),
        (Thing, {(__name__, "Thing")}),
    ],
)
def test_the_names_in_a_pickle_are_found_without_calling_them(
    value: object, names: set[tuple[str, str]]
) -> None:
    found = globals_of(value)
    assert names <= found
    assert {module for module, _ in found - names} <= {"copyreg", "builtins"}


def test_a_model_names_all_its_parts() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit([[1.0], [2.0]], [0, 1])
    found = {name for _, name in globals_of(model)}
    assert {"Pipeline", "StandardScaler", "LogisticRegression"} <= found


def test_hostile_opcodes_call_nothing(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    hostile = b"\x80\x05cposix\nsystem\n(X" + len(f"touch {target}").to_bytes(4, "little")
    hostile += f"touch {target}".encode() + b"tR."
    assert globals_in(hostile) == {("posix", "system")}
    assert not target.exists()


@given(st.binary(max_size=64))
def test_no_bytes_do_more_than_raise(data: bytes) -> None:
    with contextlib.suppress(Damaged):
        globals_in(data)


def brought(value: object, form: Any = "native") -> dict[str, str]:
    store = MemoryObjects()
    encoded = values.encode(value, store)
    return Carried(Project(Path(__file__).parent), store).by(encoded.id, encoded.artifact, form).packages


def test_each_kind_of_input_brings_its_library() -> None:
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [1]})
    assert brought(frame)["pandas"] == pd.__version__
    assert brought(frame, "arrow") == {"pyarrow": pa.__version__}
    assert "polars" in brought(frame, "polars")
    assert "numpy" in brought(np.arange(3))
    assert {"scikit-learn", "scipy", "numpy"} <= brought(LinearRegression().fit([[1]], [1])).keys()
    assert "pandas" in brought({"table": frame, "more": {1}})
    assert brought([1, "a", {"b": None}]) == {}
    assert brought({datetime.date(2026, 1, 1)}) == {}


# --- mutation


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.0, None, 3.0],
            "s": ["a", "b", "c"],
            "o": pd.Series([1, "x", None], dtype=object),
            "c": pd.Categorical(["u", "v", "u"]),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "t": pd.date_range("2026-01-01", periods=3, tz="UTC"),
            "w": pd.array(["x", "y", "z"], dtype="string[pyarrow]"),
        }
    )


def _set(column: str, value: Any) -> Any:
    def change(table: pd.DataFrame) -> None:
        table.loc[1, column] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("i", 9),
        _set("f", 9.0),
        _set("s", "z"),
        _set("o", "z"),
        _set("c", "u"),
        _set("n", 5),
        _set("w", None),
        _set("t", pd.Timestamp("2027-01-01", tz="UTC")),
        _set("w", "q"),
        lambda table: table.insert(0, "new", 1),
        lambda table: table.pop("i"),
        lambda table: setattr(table, "columns", list("abcdefgh")),
        lambda table: setattr(table, "index", [5, 6, 7]),
    ],
)
def test_a_table_changed_in_place_is_seen(change: Any) -> None:
    loaded = {"table": frame()}
    before = mutation.look(loaded)
    assert mutation.changed(before, loaded) == []
    change(loaded["table"])
    assert mutation.changed(before, loaded) == ["table"]


def _append(value: list[Any]) -> None:
    value.append(1)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (np.zeros((2, 3)), lambda array: array.__setitem__((1, 1), 5)),
        (np.zeros((4, 4))[::2], lambda array: array.__setitem__((1, 1), 5)),
        (np.array([1, "a"], dtype=object), lambda array: array.__setitem__(0, 2)),
        ([1, [2]], lambda value: value[1].append(3)),
        ({"a": {"b": 1}}, lambda value: value["a"].update(b=2)),
        (pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])), _set("a", 3)),
    ],
)
def test_other_values_changed_in_place_are_seen(value: Any, change: Any) -> None:
    before = mutation.look({"x": value})
    assert mutation.changed(before, {"x": value}) == []
    if isinstance(value, pd.DataFrame):
        value.iloc[0, 0] = 9
    else:
        change(value)
    assert mutation.changed(before, {"x": value}) == ["x"]


def test_values_that_cannot_change_or_are_dear_are_not_looked_at() -> None:
    loaded = {"a": pa.table({"a": [1]}), "b": "text", "c": 1.5, "d": Thing(1), "e": (1, 2), "f": None}
    assert mutation.look(loaded) == {}


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)  # pandas refuses lone surrogates


@given(frames.data_frames([frames.column("a", dtype=float), frames.column("b", elements=TEXTS)]))
def test_looking_changes_nothing_and_is_repeatable(table: pd.DataFrame) -> None:
    copy = table.copy(deep=True)
    before = mutation.look({"t": table})
    assert mutation.changed(before, {"t": table}) == []
    pd.testing.assert_frame_equal(table, copy)
