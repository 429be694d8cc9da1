"""What using or loading an object leaves in it is no content: its id is the same before and after."""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from aq.formats.artifacts.values import decode, encode
from aq.formats.objects import MemoryObjects
from aq.formats.python.canonical import fingerprint

from tests.formats.test_pickles import back, identity

POINTS = np.random.default_rng(0).normal(size=(60, 2))


def by_name(code: object) -> str | None:
    """As ops are fingerprinted: code and classes by their names."""
    return f"{code.__module__}.{code.__qualname__}" if isinstance(code, type) or callable(code) else None


def unset(dtype: str) -> Any:
    """An array of pandas with a missing cell, below which lies what happened to lie there."""
    found = pd.array([1, 0, 1], dtype=dtype)
    found[1] = None
    found._data[1] = np.random.default_rng().integers(0, 2)
    return found


ARRAYS: dict[str, Callable[[], Any]] = {
    "times": lambda: pd.date_range("2024", periods=3),
    "times of a zone": lambda: pd.date_range("2024", periods=3, tz="Europe/Berlin"),
    "durations": lambda: pd.timedelta_range("1s", periods=3),
    "months": lambda: pd.period_range("2024", periods=3, freq="M"),
    "levels": lambda: pd.MultiIndex.from_product([["a"], pd.date_range("2024", periods=3)]),
    "integers": lambda: unset("Int64"),
    "floats": lambda: unset("Float32"),
    "booleans": lambda: unset("boolean"),
    "texts": lambda: pd.array(["a", None], dtype="str"),
    "of Arrow": lambda: pd.array([1, None], dtype="int64[pyarrow]"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_pandas_is_the_same_once_it_was_looked_at(name: str) -> None:
    value = {"of": ARRAYS[name]()}
    before = identity(value)
    loaded = back(value)
    for one in (value, loaded, pickle.loads(pickle.dumps(value))):
        repr(one), one["of"].dtype, len(one["of"]), list(one["of"])
        assert identity(one) == before == identity({"of": ARRAYS[name]()})
    assert repr(loaded) == repr(value)


def test_what_is_below_a_missing_cell_stays_out_and_the_array_as_it_was() -> None:
    array = unset("Int64")
    array._data[1] = 77
    assert identity([array]) == identity([unset("Int64")]) and array._data[1] == 77


@pytest.mark.parametrize("name", ["cKDTree", "KDTree"])
def test_a_tree_of_scipy_does_not_tell_where_it_lay(name: str) -> None:
    spatial = pytest.importorskip("scipy.spatial")
    tree, again = getattr(spatial, name)(POINTS), getattr(spatial, name)(POINTS.copy())
    loaded = back(tree)
    assert identity(tree) == identity(again) == identity(loaded)
    assert identity(tree) != identity(getattr(spatial, name)(POINTS + 1))
    found, expected = loaded.query(POINTS + 0.1, k=3), tree.query(POINTS + 0.1, k=3)
    assert np.array_equal(found, expected)
    assert (
        loaded.query_ball_point(POINTS[:5], 0.5).tolist() == tree.query_ball_point(POINTS[:5], 0.5).tolist()
    )


def test_vectorizers_and_binarizers_are_the_same_after_use() -> None:
    texts = pytest.importorskip("sklearn.feature_extraction.text")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    labels = [("a", "b"), ("c",)]
    for model, data in [
        (texts.HashingVectorizer(n_features=16), ["one two", "three"]),
        (preprocessing.MultiLabelBinarizer().fit(labels), labels),
        (texts.CountVectorizer(stop_words=["one"]).fit(["one two", "three"]), ["two three"]),
    ]:
        before = identity(model), fingerprint(model, foreign=by_name)
        loaded = back(model)
        expected = model.transform(data)
        assert (expected != loaded.transform(data)).sum() == 0
        for one in (model, loaded):
            assert (identity(one), fingerprint(one, foreign=by_name)) == before


def columns_first(array: np.ndarray[Any, Any]) -> msgspec.Raw:
    """As a type written in C is made again that takes no other order."""
    assert array.flags.fnc
    MADE.append(array)
    return msgspec.Raw()


MADE: list[Any] = []


def test_a_compiled_type_is_handed_its_arrays_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """`double[::1, :]` of Cython refuses all else: so did models of statsmodels' state space."""
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    monkeypatch.setitem(copyreg.dispatch_table, msgspec.Raw, lambda raw: (columns_first, (array,)))
    objects = MemoryObjects()
    stored = encode([msgspec.Raw(), array], objects)
    loaded = decode(stored.artifact, objects)
    assert np.array_equal(MADE.pop(), array) and np.array_equal(loaded[1], array)
    assert [tensor["shape"] for tensor in stored.summary["tensors"]] == [[2, 3]]


def test_a_fingerprint_leaves_out_the_address_of_stop_words() -> None:
    texts = pytest.importorskip("sklearn.feature_extraction.text")
    first = texts.TfidfVectorizer(stop_words=["one"]).fit(["one two", "three"])
    other = texts.TfidfVectorizer(stop_words=["one"]).fit(["one two", "three"])
    assert first._stop_words_id != other._stop_words_id
    assert fingerprint(first, foreign=by_name) == fingerprint(other, foreign=by_name)
