"""Every kind of value survives the store, equal ones have equal ids, and summaries never unpickle."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import math
import pathlib
import pickle
import re
import uuid
from typing import Any

import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from aq.formats.artifacts.values import Metric, decode, encode, encode_file, file_bytes, summarise
from aq.formats.errors import AqError, Unstorable, UsageError
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.records import Artifact
from blake3 import blake3
from hypothesis import given, strategies as st

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=5)
    ),
    max_leaves=30,
)


def same(a: Any, b: Any) -> bool:
    """Equal in value and in every type inside; NaN equals NaN, 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(map(repr, a)) == list(map(repr, b)) and all(map(same, a.values(), b.values()))
    if isinstance(a, np.ma.MaskedArray):
        return bool(a.dtype == b.dtype and (a.mask == b.mask).all() and (a.data == b.data).all())
    if isinstance(a, np.ndarray):
        equal_nan = a.dtype.kind in "fc"
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=equal_nan)
    return bool(a == b)


def round_trip(value: Any) -> tuple[Any, Any]:
    """(the encoded value, the decoded value), with the summary checked on the way."""
    objects = MemoryObjects()
    encoded = encode(value, objects)
    assert get_record(objects, Artifact, encoded.id) == encoded.artifact
    assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)
    return encoded, decode(encoded.artifact, objects)


@given(PLAIN)
def test_plain_values_survive_as_json(value: Any) -> None:
    encoded, back = round_trip(value)
    assert encoded.artifact.format == "json"
    assert same(value, back)


@pytest.mark.parametrize(
    ("value", "kind", "format"),
    [
        (None, "value", "json"),
        (1, "value", "json"),
        (b"", "value", "raw"),
        (b"x" * 100_000, "value", "raw"),
        ("x" * 100_000, "value", "json"),
        ((1, 2), "value", "pickle"),
        ({1: 2}, "value", "pickle"),
        (np.float64(0.5), "value", "array"),
        (np.arange(6).reshape(2, 3), "array", "array"),
        (np.zeros(0), "array", "array"),
        (np.array(["a", None], object), "array", "pickle"),
        (np.ma.masked_array([1, 2], [True, False]), "array", "pickle"),
        (decimal.Decimal("1.50"), "value", "pickle"),
        (fractions.Fraction(1, 3), "value", "pickle"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "value", "pickle"),
        (uuid.UUID(int=5), "value", "pickle"),
        (pathlib.PurePosixPath("a/b"), "value", "pickle"),
        (re.compile("a+"), "value", "pickle"),
        (collections.OrderedDict(b=1, a=2), "value", "pickle"),
        (collections.Counter("aab"), "value", "pickle"),
        (collections.deque([1, 2], 3), "value", "pickle"),
        ({1, "a", None, (1, 2)}, "value", "pickle"),
        (frozenset({"a", 1.5}), "value", "pickle"),
        (bytearray(b"x" * 70_000), "value", "pickle"),
        ([b"x" * 70_000, b"x" * 70_000], "value", "pickle"),
        (range(3), "value", "pickle"),
        (1j, "value", "pickle"),
        ("\ud800", "value", "pickle"),
        (1 << 4000, "value", "pickle"),
        (1 << 400, "value", "json"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, set | frozenset) else str(value)[:30],
)
def test_each_kind_of_value(value: Any, kind: str, format: str) -> None:
    encoded, back = round_trip(value)
    assert (encoded.artifact.kind, encoded.artifact.format) == (kind, format)
    assert same(value, back)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        (b"1", "1"),
        (0.0, -0.0),
        ([1], (1,)),
        ({1}, frozenset({1})),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (None, math.nan),
        (np.float32(1), np.float64(1)),
        (1, np.int64(1)),
    ],
    ids=str,
)
def test_different_values_have_different_ids(one: Any, other: Any) -> None:
    assert round_trip(one)[0].id != round_trip(other)[0].id


@given(st.binary(max_size=200_000))
def test_files_stream_back(data: bytes) -> None:
    objects = MemoryObjects()
    encoded = encode_file(io.BytesIO(data), None, objects)
    assert (encoded.artifact.kind, encoded.artifact.format, encoded.artifact.size) == (
        "file",
        "bytes",
        len(data),
    )
    assert b"".join(file_bytes(encoded.artifact, objects)) == data
    assert decode(encoded.artifact, objects, as_="bytes") == data
    assert summarise(encoded.artifact, objects) == encoded.summary


def test_metrics_hold_plain_numbers() -> None:
    encoded, back = round_trip(Metric(np.float64(0.93), better="higher"))
    assert back == 0.93
    assert type(back) is float
    assert encoded.artifact.format == "metric"
    assert encoded.artifact.type == {"better": "higher"}
    assert round_trip(Metric({"f1": 1, "loss": math.nan}, better={"loss": "lower"}))[1]["f1"] == 1
    for wrong in (True, "0.9", {}, {"a": {"b": 1}}, [1], {1: 2}):
        with pytest.raises(Unstorable):
            encode(Metric(wrong), MemoryObjects())
    for better in ("up", {"f2": "higher"}):
        with pytest.raises(UsageError):
            encode(Metric({"f1": 1}, better=better), MemoryObjects())


def test_pickles_and_arrays_export_as_files() -> None:
    objects = MemoryObjects()
    value = {"w": np.arange(50_000.0), "names": ("a", "b"), "raw": b"y" * 70_000}
    back = pickle.loads(decode(encode(value, objects).artifact, objects, as_="bytes"))
    assert same(value, back)
    array = np.arange(12, dtype=">i4").reshape(3, 4)
    back = np.load(io.BytesIO(decode(encode(array, objects).artifact, objects, as_="bytes")))
    assert same(array, back)


def test_a_form_that_does_not_fit_is_a_usage_error() -> None:
    objects = MemoryObjects()
    artifact = encode(1, objects).artifact
    for form in ("pandas", "parquet"):
        with pytest.raises(UsageError):
            decode(artifact, objects, as_=form)


def test_tables_are_known_by_their_class() -> None:
    objects = MemoryObjects()
    frame = pd.DataFrame({"id": [1, 2], "s": ["x", None]})
    for value in (
        frame,
        frame["s"],
        pa.table({"a": [1]}),
        pa.record_batch({"a": [1]}),
        pl.DataFrame({"a": [1]}),
    ):
        encoded = encode(value, objects)
        assert (encoded.artifact.kind, encoded.artifact.format) == ("table", "table")
        assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)
    artifact = encode(frame, objects, key=["id"]).artifact
    pd.testing.assert_frame_equal(decode(artifact, objects), frame)
    assert decode(artifact, objects, as_="arrow").column_names == ["id", "s"]
    assert decode(artifact, objects, as_="polars")["id"].to_list() == [1, 2]
    with pytest.raises(UsageError):
        decode(artifact, objects, as_="bytes")
    with pytest.raises(UsageError, match="given is no table"):
        encode(1, objects, key=["id"], at="given")
    with pytest.raises(Unstorable, match=r"^argument 'x': .*'a'"):
        encode(pd.DataFrame([[1, 2]], columns=["a", "a"]), objects, at="argument 'x'")
    with pytest.raises(Unstorable, match=r"^argument 'x': a LazyFrame is a plan"):
        encode(pl.DataFrame({"a": [1]}).lazy(), objects, at="argument 'x'")


def test_what_would_read_rows_later_is_refused_with_the_call_that_reads_them(tmp_path: pathlib.Path) -> None:
    """A dataset pickles as the names of its files, and so does a Dask frame of some."""
    table = pa.table({"a": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    files = pyarrow.dataset.dataset(tmp_path / "a.parquet")
    for plan, call in (
        (table.to_reader(), "call .read_all() on it first"),
        (files, "call .to_table() on it first"),
        (pyarrow.dataset.dataset([files]), "call .to_table() on it first"),
        (files.scanner(), "call .to_table() on it first"),
        (dask.dataframe.read_parquet(tmp_path / "a.parquet"), "call .compute() on it first"),
        (dask.dataframe.read_parquet(tmp_path / "a.parquet")["a"].sum(), "call .compute() on it first"),
        (dask.array.ones(3), "call .compute() on it first"),
        (dask.delayed(len)("abc"), "call .compute() on it first"),
    ):
        with pytest.raises(Unstorable, match="is a plan, not data") as caught:
            encode({"deep": [plan]}, MemoryObjects())
        assert caught.value.hint == call


@pytest.mark.parametrize(
    "artifact",
    [
        Artifact(kind="value", format="json", size=1, data=b"{"),
        Artifact(kind="value", format="json", size=1, data=b"[" * 100_000),
        Artifact(kind="value", format="json", size=1, data=b"9" * 5_000),
        Artifact(kind="value", format="json", size=1, data=b"\xff"),
        Artifact(kind="array", format="array", size=1, data=b"12"),
        Artifact(kind="array", format="array", size=1, data=b"12", type={"dtype": "<f8", "shape": [1]}),
        Artifact(kind="array", format="array", size=1, data=b"12", type={"dtype": "|O", "shape": [1]}),
        Artifact(
            kind="array", format="array", size=1, data=b"12", type={"dtype": "nonsense", "shape": [1 << 60]}
        ),
        Artifact(kind="array", format="array", size=1, data=b"", type={"dtype": "|u1", "shape": [-1]}),
        Artifact(kind="value", format="pickle", size=1, data=b""),
        Artifact(kind="value", format="pickle", size=1, data=b"\x90"),
        Artifact(kind="value", format="pickle", size=1, data=b"\x91\xc4\x02\x80\x05"),
        Artifact(kind="value", format="of the future", size=1, data=b""),
    ],
    ids=str,
)
def test_what_aq_does_not_write_is_an_error_of_aq(artifact: Artifact) -> None:
    for read in (decode, summarise):
        if artifact.format != "of the future" or read is decode:
            with pytest.raises(AqError):
                read(artifact, MemoryObjects())


NOISE = blake3(b"").digest(length=6_000_000)
GOLDEN: dict[str, tuple[Any, str]] = {
    "json": (
        {"depth": 6, "rate": 0.1, "names": ["é", None, True]},
        "c36a58a851099718faa15735145c730a76f51f6cf74cd0a0b9a82fc4f6d20bdc",
    ),
    "long text": ("text " * 50_000, "6aa92f1d2ad5de2c3d0bf90a84e716fdc5b7e60de92126fcfe0d669522b4a77c"),
    "raw": (NOISE[:300_000], "6ffa1c6516d56c8ab12d000a6ac563ae49e6781d4593a474e7734da57f827cbd"),
    "metric": (
        Metric({"auc": 0.93, "n": 10}, better={"auc": "higher"}),
        "ddc3d8cb0c814e2678769cd832ff4f341d5c73336c4dce0eb9aac4370d6fe567",
    ),
    "scalar": (np.float32(0.5), "141d77e56a420b992fa9d9e4667e55fad8e48afec4e5eb61d621bf3291ee008f"),
    "array": (
        np.frombuffer(NOISE[:30_000], ">i2").reshape(100, 150),
        "d53ca38787cd616bd35c1c34e351e0abbbc14645bb3d1815ef3a90e6fd6b4149",
    ),
    "long array": (
        np.frombuffer(NOISE, "u1"),
        "ee9c4603648e7d2bfec859f311c4530eec2ac6565d479d059c110b7b743cac23",
    ),
    "pickle": (
        {"w": np.frombuffer(NOISE[:200_000], "<u4"), "names": ("a", "b"), 1: {2, 3}},
        "834d8f4b7ad30a475fb72beb5d4a7e626a93c5cc1dad9984154183f8bcf9105a",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_ids(name: str) -> None:
    value, digits = GOLDEN[name]
    assert str(encode(value, MemoryObjects()).id) == digits


def test_the_golden_id_of_a_file() -> None:
    assert (
        str(encode_file(io.BytesIO(NOISE), None, MemoryObjects()).id)
        == "a47e7f763c6a6d6c9e8ec37ad9c4888a13642b536b0b5a8a210651d5f62325be"
    )
