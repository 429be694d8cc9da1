"""Tables that nobody wrote: whatever a record or a chunk holds, reading it ends in a table or an AqError."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from aq.formats.comparing.compare import compare_tables
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact, decode, encode
from aq.formats.tables import encode_table, summarise_table, table_parts, to_arrow, to_native
from hypothesis import given, settings, strategies as st


class Store(MemoryObjects):
    """As a real store: what is not there is damage."""

    def get(self, kind: Kind, id: bytes) -> bytes:
        try:
            return super().get(kind, id)
        except KeyError:
            raise Damaged("an object is missing") from None


def frame(rows: int) -> pd.DataFrame:
    """Some of everything that the type information describes."""
    objects = np.fromiter([None, float("nan"), "a", (1,), {"b": 2}] * (rows // 5), object, rows)
    return pd.DataFrame(
        {
            "n": range(rows),
            "f": np.linspace(0, 1, rows),
            "s": [f"text {at % 7}" for at in range(rows)],
            "c": pd.Categorical([f"{at % 300:060}" for at in range(rows)]),
            "o": pd.Series(objects, dtype=object),
            "p": pd.period_range("2020", periods=rows, freq="D"),
            "i": pd.arrays.IntervalArray.from_breaks(range(rows + 1)),
        },
        index=pd.MultiIndex.from_arrays([range(rows), ["x"] * rows], names=["a", None]),
    )


STORE = Store()
SMALL = encode_table(frame(10), STORE).artifact
LARGE = encode_table(frame(9_000), STORE, key=["n"]).artifact
scalars = (
    st.none() | st.integers(-2, 99) | st.integers(2**40, 2**62) | st.text(max_size=3) | st.binary(max_size=40)
)


def read_all(artifact: Artifact, store: Store) -> None:
    for read in (to_native, to_arrow, summarise_table, lambda a, s: list(table_parts(a, s))):
        try:
            read(artifact, store)
        except AqError:
            continue
    try:
        compare_tables(SMALL, artifact, store)
        compare_tables(artifact, LARGE, store)
    except AqError:
        return


def edited(value: Any, data: st.DataObject) -> Any:
    """The same with one thing inside it removed, doubled or replaced."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 9)):
        name = data.draw(st.sampled_from(sorted(value)))
        rest = {key: part for key, part in value.items() if key != name}
        return rest if not data.draw(st.integers(0, 5)) else rest | {name: edited(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 9)):
        at = data.draw(st.integers(0, len(value) - 1))
        middle = data.draw(st.sampled_from([[], [value[at]] * 2, None, None, None]))
        return value[:at] + ([edited(value[at], data)] if middle is None else middle) + value[at + 1 :]
    if isinstance(value, bytes) and value and data.draw(st.booleans()):
        return flipped(value, data)
    return data.draw(scalars | st.lists(scalars, max_size=3))


def flipped(value: bytes, data: st.DataObject) -> bytes:
    changed = bytearray(value)
    changed[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(changed)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([SMALL, LARGE]))
def test_any_record_is_read_or_refused(data: st.DataObject, artifact: Artifact) -> None:
    record = edited(msgspec.msgpack.decode(encode(artifact)), data)
    try:
        hostile = decode(Artifact, msgspec.msgpack.encode(record))
    except AqError:
        return
    read_all(hostile, STORE)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_object_is_read_or_refused(data: st.DataObject) -> None:
    store = Store()
    store.objects = dict(STORE.objects)
    name = data.draw(st.sampled_from(sorted(store.objects)))
    kind, content = store.objects[name]
    store.objects[name] = kind, flipped(content, data)
    read_all(LARGE, store)


@pytest.mark.parametrize("rows", [-1, 5, 2**40])
def test_rows_that_the_content_lacks_are_refused(rows: int) -> None:
    record = msgspec.msgpack.decode(encode(SMALL))
    record["type"]["rows"] = rows
    with pytest.raises(Damaged):
        to_arrow(decode(Artifact, msgspec.msgpack.encode(record)), STORE)
