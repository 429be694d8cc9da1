"""Shapes at the edge: what they cost in bytes, in memory and beside Parquet."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aq.formats.comparing.compare import compare_tables
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.formats.packing import codecs
from aq.formats.records import Artifact, encode
from aq.formats.tables import encode_table, to_arrow
from aq.formats.tables.table import reader

MIB = 1 << 20
MILLION = 1_000_000

SHAPES: dict[str, tuple[Callable[[], pa.Table], int]] = {
    "a row of 5,000 columns": (lambda: pa.table({f"column {at}": [at] for at in range(5_000)}), 20_000),
    "60 rows of 5,000 columns": (
        lambda: pa.table({f"column {at}": np.arange(60) * at for at in range(5_000)}),
        500_000,
    ),
    "a million of one number": (lambda: pa.table({"k": np.ones(MILLION, np.int64)}), 4_000),
    "a million of one text": (lambda: pa.table({"k": pa.array(["abc"] * MILLION)}), 4_000),
    "a million of nothing": (
        lambda: pa.table(
            {str(kind): pa.nulls(MILLION, kind) for kind in (pa.null(), pa.int64(), pa.string())}
        ),
        10_000,
    ),
    "no columns": (lambda: pa.table({"a": [1, 2, 3]}).select([]), 200),
    "no rows": (lambda: pa.table({"a": pa.array([], pa.int8()), "b": pa.array([], pa.string())}), 300),
    "one row group": (lambda: pa.table({"t": np.arange(MILLION), "x": np.arange(MILLION) / 7}), 9 * MIB),
}


def stored_size(table: Any, **options: Any) -> int:
    """Bytes of all objects as they lie in packs, and of the artifact's record."""
    store = MemoryObjects()
    artifact = encode_table(table, store, **options).artifact
    record = codecs.pack(codecs.Kind.ARTIFACT, encode(artifact))[1]
    return len(record) + sum(len(codecs.pack(kind, data)[1]) for kind, data in store.objects.values())


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_costs_no_more_than_it_should_and_comes_back(name: str) -> None:
    make, most = SHAPES[name]
    table = make()
    assert stored_size(table) < most
    store = MemoryObjects()
    artifact = encode_table(table, store).artifact
    assert to_arrow(artifact, store).equals(table)
    sizes = [segment.stop - segment.start for segment in reader(artifact, store).segments]
    assert max(sizes, default=0) <= 32_768


def cpu(work: Callable[[], Any]) -> float:
    """Processor seconds, the best of three."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


@pytest.mark.parametrize("name", ["a row of 5,000 columns", "one row group"])
def test_storing_takes_no_multiple_of_what_parquet_takes(name: str) -> None:
    table = SHAPES[name][0]()
    parquet = cpu(lambda: pq.write_table(table, io.BytesIO(), compression="zstd"))
    assert cpu(lambda: stored_size(table)) < 5 * parquet


def test_a_constant_key_costs_no_more_than_none() -> None:
    table = pa.table({"k": np.ones(200_000, np.int64), "v": np.arange(200_000.0)})
    assert stored_size(table, key=["k"]) < 1.2 * stored_size(table)


HEAVY = """
import sys
import pyarrow as pa
from aq.formats.identity import object_id
from aq.formats.tables import encode_table
from tests.memory import peak

class Nothing:
    def put(self, kind, data, *, base=None):
        return object_id(kind, data)

rows, form = int(sys.argv[1]), sys.argv[2]
letters = [pa.array([bytes([65 + at]) * (1 << 20)], pa.binary()) for at in range(26)]
texts = [letter.cast(pa.string()) for letter in letters]
if form == "chunks":
    column = pa.chunked_array([texts[at % 26] for at in range(rows)])
elif form == "views":
    column = pa.chunked_array([texts[at % 26].cast(pa.string_view()) for at in range(rows)])
elif form == "lists":
    numbers = [pa.array([list(range(at, at + 131_072))]) for at in range(26)]
    column = pa.chunked_array([numbers[at % 26] for at in range(rows)])
else:
    codes = pa.array([at % 26 for at in range(rows)], pa.int8())
    column = pa.chunked_array([pa.DictionaryArray.from_arrays(codes, pa.concat_arrays(texts))])
table = pa.table({"n": range(rows), "text": column})
encode_table(table.slice(0, 3), Nothing(), key=["text"])
before = peak()
artifact = encode_table(table, Nothing(), key=["text"]).artifact
assert artifact.size > rows << 20
print((peak() - before) >> 20)
"""


def grown(rows: int, form: str) -> int:
    """MiB of memory that storing so many rows of 1 MiB takes beyond what the table takes."""
    command = [sys.executable, "-c", HEAVY, str(rows), form]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    "form",
    ["chunks", "lists", *(pytest.param(form, marks=pytest.mark.slow) for form in ("views", "dictionary"))],
)
def test_long_texts_and_lists_are_stored_in_bounded_memory(form: str) -> None:
    assert grown(512, form) < 200


@pytest.mark.soak
@pytest.mark.parametrize("form", ["chunks", "views", "dictionary", "lists"])
def test_many_long_texts_and_lists_are_stored_in_bounded_memory(form: str) -> None:
    assert grown(8_192, form) < 250


def test_how_a_heavy_column_is_chunked_leaves_no_trace() -> None:
    texts = [chr(65 + at % 26) * (300_000 + at) for at in range(60)]
    plain = pa.array(texts)
    whole = encode_table(pa.table({"t": plain}), MemoryObjects(), key=["t"]).artifact
    for other in (
        pa.chunked_array([plain[at : at + 7] for at in range(0, 60, 7)]),
        plain.cast(pa.string_view()),
        plain.dictionary_encode(),
        pa.RunEndEncodedArray.from_arrays(list(range(1, 61)), plain),
    ):
        assert encode_table(pa.table({"t": other}), MemoryObjects(), key=["t"]).artifact == whole


def test_a_row_of_thousands_keeps_no_statistics_and_few_columns_do() -> None:
    wide = pd.DataFrame([range(5_000)])
    summary = encode_table(wide, MemoryObjects()).summary
    assert summary["columns"][7] == {"name": "7", "type": "int64", "nulls": 0}
    narrow = encode_table(wide.iloc[:, :900], MemoryObjects()).summary
    assert narrow["columns"][7]["max"] == 7


class Counting(MemoryObjects):
    """Objects that count how often they are read."""

    reads = 0

    def get(self, kind: Kind, id: bytes) -> bytes:
        self.reads += 1
        return super().get(kind, id)


def differing(width: int) -> tuple[Artifact, Artifact, Counting]:
    """Two tables of three rows and so many columns, of which the last differs."""
    store, numbers = Counting(), np.arange(3.0 * width).reshape(3, width)
    one = encode_table(pd.DataFrame(numbers), store).artifact
    numbers[:, -1] += 1
    return one, encode_table(pd.DataFrame(numbers), store).artifact, store


def test_comparing_reads_a_row_of_thousands_some_times_and_not_once_for_each_column() -> None:
    one, other, store = differing(500)
    found = compare_tables(one, other, store)
    assert found["rows"]["changed"] == 3
    assert store.reads < 100
