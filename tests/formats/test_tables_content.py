"""Segments, chunks and ids of tables: what is shared, what is bounded, what is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from aq.formats.errors import Damaged, NotFound, Unstorable, UsageError
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.records import encode
from aq.formats.tables import decode_table, encode_table, summarise_table, table_parts, to_arrow, to_native
from aq.formats.tables.table import reader

MIB = 1024 * 1024


class Store(MemoryObjects):
    """Objects in a dict that counts what is new and what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.new = 0
        self.read: list[Digest] = []

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        count = len(self.objects)
        digest = super().put(kind, data, base=base)
        self.new += len(data) if len(self.objects) > count else 0
        return digest

    def get(self, kind: Kind, id: bytes) -> bytes:
        self.read.append(Digest(id))
        return super().get(kind, id)

    def added(self, table: Any, **options: Any) -> int:
        """New bytes for one more table."""
        self.new = 0
        encode_table(table, self, **options)
        return self.new


def id_of(table: Any, **options: Any) -> str:
    store = MemoryObjects()
    return put_record(store, encode_table(table, store, **options).artifact).hex()


def events(rows: int = 60_000) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows) * 7, unit="s"),
            "who": pd.array([f"user {n}" for n in random.integers(0, 500, rows)], dtype="str"),
            "value": random.normal(size=rows),
            "count": random.integers(0, 1000, rows),
        }
    )


def small() -> pa.Table:
    return pa.table({"i": [1, None, 3], "s": ["a", "b", None], "f": [1.5, float("nan"), -0.0]})


def golden() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Tables whose ids must never change within format version 1."""
    labels = pd.Index([1, "a"], dtype=object)
    return {
        "arrow": (small(), {}),
        "arrow with a key": (small(), {"key": ["i"]}),
        "no rows": (small().slice(0, 0), {}),
        "segments": (pa.Table.from_pandas(events(), preserve_index=False), {}),
        "packed segments": (pa.table({"n": pa.array(range(50_000), pa.uint16())}), {}),
        "pandas": (events(100).set_index("at"), {}),
        "categories": (pd.DataFrame({"c": pd.Categorical(["b", None], ["b", "a"], ordered=True)}), {}),
        "objects": (pd.DataFrame([[1, None], ["x", {2: (3,)}]], columns=labels, dtype=object), {}),
        "wide": (pa.table({f"c{at}": [at] for at in range(300)}), {}),
    }


GOLDEN = {
    "arrow": "d54dfacebc5c5dd4881ab692e9b0e848f0837fd74488a4e727030c42ae7b4fa6",
    "arrow with a key": "eaf24dee23870bb36d7673cf971b9691e768065f64d9eb12fdb024524f229488",
    "no rows": "900510c0b0a32ab7181e96efbd3f9e25e71262a5a6ae81b1c815afa116eac549",
    "segments": "6a3727ff381225bd13db90e1b2c24dd925c57a345a12fabe8c1130d1a1ed6165",
    "packed segments": "434f4b327efffe83826b9b75505737822d7cea2605f3507156529b179074b77e",
    "pandas": "2fc531fab4047a06f7433dd1b433859b32a427fb48781719a884461fffbcbe71",
    "categories": "22b027b7a5ad0e1478c728d0efaae2513d1fc9603a2c2775d65e39cae29762dc",
    "objects": "ab4b27382a51277386a8b8e631f5ef81d40ca56a047de99cdfaae4b163a709ac",
    "wide": "5dd5ab07a9bb4da9711d1937717719edadacb5caca5d76d23f1b256a265b2df2",
}


def test_one_content_has_one_id(tmp_path: Path) -> None:
    frame = events()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    expected = id_of(table)
    batches = table.to_batches(max_chunksize=777)
    shifted = pa.concat_tables([table.slice(0, 5), table]).slice(5)
    coded = table.set_column(1, "who", table.column("who").dictionary_encode())
    recoded = pa.concat_tables([coded.slice(0, 100), coded.slice(100)]).unify_dictionaries()
    narrow = table.set_column(1, "who", table.column("who").cast(pa.string()))
    views = table.set_column(1, "who", table.column("who").cast(pa.string_view()))
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=5_000, compression="gzip")
    read = pq.read_table(tmp_path / "t.parquet")
    for other in (pa.Table.from_batches(batches), shifted, coded, recoded, narrow, views, read):
        assert id_of(other) == expected


def test_one_frame_has_one_id() -> None:
    frame = events(5_000)
    fragmented = frame[["at"]].copy()
    for name in frame.columns[1:]:
        fragmented[name] = frame[name]
    strided = pd.DataFrame(np.asfortranarray(np.arange(20).reshape(5, 4)))
    assert id_of(fragmented) == id_of(frame)
    assert id_of(frame.iloc[::2].iloc[:50]) == id_of(frame.iloc[::2].iloc[:50].copy())
    assert id_of(strided) == id_of(pd.DataFrame(np.arange(20).reshape(5, 4)))
    assert id_of(pd.concat([frame[:10], frame[10:]])) == id_of(frame)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[["who", "at", "value", "count"]],
        lambda frame: frame.iloc[::-1].reset_index(drop=True),
        lambda frame: frame.rename(columns={"who": "whom"}),
        lambda frame: frame.assign(value=frame["count"], count=frame["value"]),
        lambda frame: frame.astype({"count": "Int64"}),
        lambda frame: frame.astype({"count": "int64[pyarrow]"}),
        lambda frame: frame.astype({"who": "category"}),
        lambda frame: frame.assign(at=frame["at"].dt.tz_localize("UTC")),
        lambda frame: frame.assign(at=frame["at"].astype("M8[s]")),
        lambda frame: frame.set_index("at", drop=False),
        lambda frame: frame.set_axis(pd.RangeIndex(1, len(frame) + 1)),
        lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
        lambda frame: pd.concat([frame, frame.tail(1)], ignore_index=True),
    ],
)
def test_another_content_or_container_has_another_id(change: Any) -> None:
    frame = events(3_000)
    assert id_of(change(frame)) != id_of(frame)


def test_categories_count_with_order_and_unused_ones() -> None:
    def column(categories: list[str], *, ordered: bool = False) -> str:
        return id_of(pd.DataFrame({"c": pd.Categorical(["a", "b"], categories, ordered=ordered)}))

    assert (
        len(
            {
                column(["a", "b"]),
                column(["b", "a"]),
                column(["a", "b", "c"]),
                column(["a", "b"], ordered=True),
            }
        )
        == 4
    )


def test_the_last_cell_of_many_counts() -> None:
    frame = events(100_000)
    other = frame.copy()
    other.loc[99_999, "count"] += 1
    assert id_of(frame) != id_of(other)


def test_a_key_is_part_of_the_id_and_decides_the_cuts() -> None:
    frame = events()
    assert id_of(frame, key=["at"]) != id_of(frame)
    artifact = encode_table(frame, MemoryObjects(), key=["who", "at"]).artifact
    assert (artifact.type["key"], artifact.type["cut"]) == (["who", "at"], [1, 0])
    with pytest.raises(NotFound, match="'nobody' is not in the table; it has at, who"):
        encode_table(frame, MemoryObjects(), key=["nobody"])
    with pytest.raises(UsageError, match="twice"):
        encode_table(frame, MemoryObjects(), key=["at", "at"])


@pytest.mark.parametrize(
    ("columns", "cut"),
    [
        (["value", "count", "who", "at"], [3]),
        (["value", "count", "who"], [1, 2]),
        (["value", "serial", "who"], [1]),
        (["value", "name", "serial"], [1]),
        (["value", "flag"], [0]),
        (["flag"], [0]),
    ],
)
def test_cut_columns_are_chosen_by_type_and_distinct_values(columns: list[str], cut: list[int]) -> None:
    frame = events().assign(flag=True, serial=range(60_000), name=lambda frame: frame.index.astype(str))
    assert encode_table(frame[columns], MemoryObjects()).artifact.type["cut"] == cut


def test_segments_keep_their_bounds() -> None:
    store = MemoryObjects()
    artifact = encode_table(events(200_000), store).artifact
    sizes = [segment.stop - segment.start for segment in reader(artifact, store).segments]
    assert sum(sizes) == artifact.type["rows"] == 200_000
    assert min(sizes[:-1]) >= 2_048
    assert max(sizes) <= 32_768
    assert 5_000 < np.mean(sizes) < 16_000


def test_a_constant_key_still_cuts() -> None:
    store = MemoryObjects()
    artifact = encode_table(pa.table({"k": pa.array([1] * 100_000)}), store, key=["k"]).artifact
    assert max(segment.stop - segment.start for segment in reader(artifact, store).segments) <= 32_768


def test_appended_rows_cost_themselves_and_a_tail() -> None:
    store, frame = Store(), events(200_000)
    everything = store.added(frame.iloc[:190_000])
    assert store.added(frame) < 0.2 * everything


def test_rows_inserted_deleted_or_changed_in_one_place_cost_their_segments() -> None:
    store, frame = Store(), events(200_000)
    everything = store.added(frame)
    gone = frame.drop(index=range(50_000, 50_100)).reset_index(drop=True)
    assert store.added(gone) < 0.15 * everything
    changed = frame.copy()
    changed.loc[70_000:70_100, "value"] += 1
    assert store.added(changed) < 0.05 * everything


def test_a_column_added_or_rescaled_costs_that_column() -> None:
    store, frame = Store(), events(200_000)
    store.added(frame)
    column = 200_000 * 8
    assert store.added(frame.assign(value=frame.value / 60)) < 1.05 * column
    assert store.added(frame.assign(more=frame.value * 2)) < 1.05 * column
    assert store.added(frame[["at", "who", "value"]]) < 0.02 * column


def test_a_wide_row_is_one_chunk() -> None:
    frame = pd.DataFrame([list(range(5_000))], columns=[f"column {at}" for at in range(5_000)])
    store = Store()
    artifact = encode_table(frame, store).artifact
    compress = zstandard.ZstdCompressor(1).compress
    pieces = [encode(artifact), *(data for _, data in store.objects.values())]
    assert sum(len(compress(piece)) for piece in pieces) < 20_000
    assert len(pieces) < 5
    pd.testing.assert_frame_equal(to_native(artifact, store), frame)


def test_many_columns_of_few_rows_come_back() -> None:
    frame = pd.DataFrame(np.arange(300_000).reshape(60, 5_000))
    store = Store()
    artifact = encode_table(frame, store).artifact
    assert len(store.objects) < 10
    pd.testing.assert_frame_equal(to_native(artifact, store), frame)


def test_long_texts_bound_their_segments() -> None:
    texts = [chr(65 + at % 26) * MIB for at in range(21)]
    store = MemoryObjects()
    table = pa.table({"n": range(21), "text": texts})
    artifact = encode_table(table, store).artifact
    sizes = [segment.stop - segment.start for segment in reader(artifact, store).segments]
    assert sizes == [3] * 7
    assert max(len(data) for _, data in store.objects.values()) <= 4 * MIB
    assert to_arrow(artifact, store).equals(table)


def test_a_huge_value_is_a_list_of_chunks() -> None:
    table = pa.table(
        {"n": [1, 2, 3], "blob": [b"a", b"b" * (9 * MIB), b"c"], "l": [[1], list(range(10)), []]}
    )
    store = MemoryObjects()
    artifact = encode_table(table, store).artifact
    assert max(len(data) for _, data in store.objects.values()) <= 4 * MIB
    assert to_arrow(artifact, store).equals(table)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({}),
        pa.table({"a": pa.array([], pa.int8()), "s": pa.array([], pa.string())}),
        pa.table({"a": [1, 2, 3]}).select([]),
        pa.table({"n": pa.nulls(70_000)}),
        pa.table({"a": [[]] * 70_000}),
    ],
)
def test_empty_shapes_come_back(table: pa.Table) -> None:
    store = MemoryObjects()
    encoded = encode_table(table, store)
    back = to_arrow(encoded.artifact, store)
    assert (back.num_rows, back.column_names) == (table.num_rows, table.column_names)
    assert back.to_pylist() == table.to_pylist()
    assert summarise_table(encoded.artifact, store) == encoded.summary


def test_columns_and_rows_are_read_without_the_rest() -> None:
    store, frame = Store(), events(200_000)
    artifact = encode_table(frame, store).artifact
    store.read.clear()
    part = decode_table(artifact, store, columns=["count", "at"], rows=(100_000, 100_010))
    assert part.to_pandas().equals(frame[["count", "at"]].iloc[100_000:100_010].reset_index(drop=True))
    assert len(store.read) < 12
    with pytest.raises(NotFound, match="no column 'x'"):
        decode_table(artifact, store, columns=["x"])
    assert decode_table(artifact, store, rows=(199_999, 10**9)).num_rows == 1
    assert decode_table(artifact, store, rows=(10, 5)).num_rows == 0


def test_every_object_of_a_table_is_among_its_parts() -> None:
    store = Store()
    big = pd.Categorical([f"{at:040}" for at in range(60_000)])
    frame = events().assign(c=big, blob=pd.Series([b"x" * (5 * MIB)] + [b""] * 59_999, dtype=object))
    artifact = encode_table(frame, store).artifact
    assert {bytes(id) for _, id in table_parts(artifact, store)} == set(store.objects)


def test_damage_is_told_apart_from_a_bug() -> None:
    store, frame = MemoryObjects(), events()
    artifact = encode_table(frame, store).artifact
    chunks = [id for id, (kind, _) in store.objects.items() if kind is Kind.CHUNK]
    kind, data = store.objects[chunks[3]]
    for wrong in (data[:-8], data[8:], b"", data + bytes(8)):
        store.objects[chunks[3]] = kind, wrong
        with pytest.raises(Damaged):
            to_arrow(artifact, store)


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(Unstorable, match="a list is no table"):
        encode_table([1, 2], MemoryObjects())
    with pytest.raises(Unstorable, match="'a' is there more than once"):
        encode_table(pa.table([[1], [2]], names=["a", "a"]), MemoryObjects())


def test_a_text_that_is_not_utf8_is_refused_with_column_and_rows() -> None:
    wrong = pa.array([b"a", b"\xff"], pa.binary()).view(pa.string())
    with pytest.raises(Unstorable, match="column 's', rows 0 to 1: a text is not UTF-8"):
        encode_table(pa.table({"s": wrong}), MemoryObjects())


def test_a_summary_is_what_pandas_says() -> None:
    frame = events(50_000)
    frame.loc[5:9, "value"] = np.nan
    summary = encode_table(frame, MemoryObjects()).summary
    at, who, value, count = summary["columns"]
    assert summary["rows"] == 50_000
    assert (value["nulls"], value["min"], value["max"]) == (5, frame.value.min(), frame.value.max())
    assert value["mean"] == pytest.approx(frame.value.mean())
    assert value["std"] == pytest.approx(frame.value.std())
    assert count["mean"] == pytest.approx(frame["count"].mean())
    assert (who["type"], who["min"], who["max"]) == ("string", frame.who.min(), frame.who.max())
    assert (at["min"], at["max"]) == ("2024-01-01T00:00:00", "2024-01-05T01:13:13")
    few = encode_table(pa.table({"c": ["x", "y", "x", None]}), MemoryObjects()).summary
    assert few["columns"] == [
        {"name": "c", "type": "string", "nulls": 1, "min": "x", "max": "y", "distinct": 2}
    ]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_ids(name: str) -> None:
    table, options = golden()[name]
    assert id_of(table, **options) == GOLDEN[name]


def test_the_summary_does_not_depend_on_how_segments_come() -> None:
    """Segments of nothing but NaN or null, and numbers whose mean drifts, in groups and one by one."""
    rows, store = 120_000, MemoryObjects()
    drifting = np.arange(rows) * 1e9 + np.random.default_rng(1).normal(size=rows)
    hole = (np.arange(rows) > 30_000) & (np.arange(rows) < 70_000)
    table = pa.table(
        {
            "id": np.arange(rows),
            "nan": np.where(hole, np.nan, drifting),
            "null": pa.array(drifting, mask=hole),
            "both": pa.array(np.where(hole[::-1], np.nan, drifting), mask=hole),
            "flag": pa.array(hole, mask=hole[::-1]),
            "half": pa.array((drifting % 1_000).astype(np.float16)),
        }
    )
    encoded = encode_table(table, store)
    assert summarise_table(encoded.artifact, store) == encoded.summary
    found = {column["name"]: column for column in encoded.summary["columns"]}
    kept = drifting[~hole]
    for name in ("nan", "null"):
        assert found[name]["nulls"] == np.count_nonzero(hole)
        assert found[name]["mean"] == pytest.approx(kept.mean(), rel=1e-12)
        assert found[name]["std"] == pytest.approx(kept.std(ddof=1), rel=1e-12)
        assert (found[name]["min"], found[name]["max"]) == (kept.min(), kept.max())


def test_the_first_segment_that_cannot_be_stored_is_named() -> None:
    texts = [f"{number:08}".encode() for number in range(60_000)]
    texts[41_000] = b"\xff"
    storage = pa.array(texts, pa.binary())
    broken = pa.Array.from_buffers(pa.string(), len(storage), storage.buffers())
    with pytest.raises(
        Unstorable, match=r"column 'text', rows (\d+) to (\d+): a text is not UTF-8"
    ) as caught:
        encode_table(pa.table({"id": np.arange(60_000), "text": broken}), MemoryObjects())
    first, last = map(int, re.findall(r"\d+", str(caught.value))[:2])
    assert first <= 41_000 <= last < first + 32_768
