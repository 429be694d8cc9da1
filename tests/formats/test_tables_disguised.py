"""Equal values have equal bytes, words and ids, in whatever arrays they come."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from aq.formats.columns.encodings import encoded, plain, plain_type
from aq.formats.columns.layout import write_array, write_arrays
from aq.formats.columns.rowhash import words
from aq.formats.objects import MemoryObjects
from aq.formats.records import encode
from aq.formats.tables import encode_table, to_arrow
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.formats.disguises import disguised
from tests.formats.test_tables_layout import ARRAYS, nested


def check(array: pa.Array, seed: int) -> None:
    other = disguised(array, random.Random(seed))
    assert len(other) == len(array)
    assert write_array(other) == write_array(array)
    assert (words(other) == words(array)).all()
    id_, summary = id_of(array)
    assert id_of(other) == (id_, summary)
    assert plain(other).type == plain_type(other.type)
    again = encoded(plain(array), other.type)
    if again.type != array.type:
        again.validate(full=True)
    assert (again.type, write_array(again)) == (other.type, write_array(array))
    stops = sorted({1 + seed % len(array), 1 + seed // 2 % len(array), len(array)}) if len(array) else [0]
    spans = zip([0, *stops[:-1]], stops, strict=True)
    assert write_arrays(other, stops) == [write_array(array[start:stop]) for start, stop in spans]
    cut = seed % (len(array) + 1)
    assert id_of(pa.chunked_array([other[:cut], other[cut:]])) == (id_, summary)


def id_of(values: Any) -> tuple[bytes, dict[str, Any]]:
    store = MemoryObjects()
    encoded = encode_table(pa.table({"a": values}), store)
    back = to_arrow(encoded.artifact, store)
    back.validate(full=True)
    return encode(encoded.artifact), encoded.summary


@pytest.mark.parametrize("name", ARRAYS)
def test_every_type_in_every_disguise(name: str) -> None:
    for seed in range(6):
        check(ARRAYS[name], seed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(nested(), st.integers(0, 2**32))
def test_nested_values_in_every_disguise(array: pa.Array, seed: int) -> None:
    check(array, seed)


@pytest.mark.soak
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(nested(), st.integers(0, 2**32))
def test_nested_values_in_every_disguise_at_length(array: pa.Array, seed: int) -> None:
    check(array, seed)
