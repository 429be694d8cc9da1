"""polars frames go into tables and come back as they were."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from aq.formats.errors import Unstorable
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact, decode, encode
from aq.formats.tables import encode_table, to_arrow, to_native, to_pandas, to_polars

COLUMNS = {
    "int": pl.Series([1, None]),
    "uint8": pl.Series([1, 2], dtype=pl.UInt8),
    "int128": pl.Series([-(2**126), None], dtype=pl.Int128),
    "float": pl.Series([1.5, float("nan")]),
    "bool": pl.Series([True, None]),
    "string": pl.Series(["a", None]),
    "long string": pl.Series(["a" * 100, ""]),
    "binary": pl.Series([b"x", None]),
    "categorical": pl.Series(["a", None], dtype=pl.Categorical),
    "named categories": pl.Series(["b", "a"], dtype=pl.Categorical(pl.Categories("towns", "maps", pl.UInt8))),
    "enum": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
    "date": pl.Series([dt.date(2020, 1, 1), None]),
    "time": pl.Series([dt.time(1, 2), None]),
    "datetime": pl.Series([dt.datetime.fromisoformat("2020-01-01"), None]),
    "zoned": pl.Series([dt.datetime.fromisoformat("2020-01-01"), None]).cast(
        pl.Datetime("ns", "Europe/Paris")
    ),
    "duration": pl.Series([dt.timedelta(1), None]),
    "decimal": pl.Series([Decimal("1.5"), None]),
    "list": pl.Series([[1], None]),
    "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    "struct": pl.Series([{"a": 1, "b": "x"}, None]),
    "null": pl.Series([None, None]),
    "list of categories": pl.Series([["a"], None], dtype=pl.List(pl.Categorical)),
    "struct of enum": pl.Series([{"e": "a"}, None], dtype=pl.Struct({"e": pl.Enum(["b", "a"])})),
}


def stored(table: object) -> tuple[Artifact, MemoryObjects]:
    store = MemoryObjects()
    return decode(Artifact, encode(encode_table(table, store).artifact)), store


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_as_it_was(name: str) -> None:
    frame = pl.DataFrame({name: COLUMNS[name]})
    artifact, store = stored(frame)
    back = to_native(artifact, store)
    assert back.schema == frame.schema
    assert back[name].to_list()[1:] == frame[name].to_list()[1:] or name == "float"
    assert back.equals(frame)
    assert encode(stored(back)[0]) == encode(artifact)


def test_arrow_and_polars_share_their_content() -> None:
    frame = pl.DataFrame({name: COLUMNS[name] for name in ("int", "string", "list")})
    mine, store = stored(frame)
    other, _ = stored(frame.to_arrow())
    assert mine.data == other.data
    assert mine.type["columns"] == other.type["columns"]
    assert to_polars(other, store).equals(frame)
    assert to_arrow(mine, store).to_pylist() == frame.to_dicts()
    assert next(iter(to_pandas(mine, store)["string"])) == "a"


def test_python_objects_and_lazy_frames_are_refused() -> None:
    with pytest.raises(Unstorable, match="column 'o'"):
        encode_table(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), MemoryObjects())
    with pytest.raises(Unstorable, match="collect"):
        encode_table(pl.LazyFrame({"a": [1]}), MemoryObjects())


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("us", "+05:30"),
        pa.list_(pa.timestamp("ns", "posix/Europe/Paris")),
        pa.list_(pa.list_(pa.string()), 0),
        pa.binary(0),
    ],
)
def test_a_type_that_polars_lacks_is_refused_without_a_word_of_its_own(
    kind: pa.DataType, capfd: pytest.CaptureFixture[str]
) -> None:
    artifact, store = stored(pa.table({"t": pa.nulls(1, kind)}))
    with pytest.raises(Unstorable, match=r"^column 't': polars has no .*; read it as Arrow$"):
        to_polars(artifact, store)
    assert capfd.readouterr().err == ""


def test_an_empty_frame_keeps_its_columns() -> None:
    frame = pl.DataFrame(schema={"a": pl.Int8, "c": pl.Categorical, "s": pl.String})
    artifact, store = stored(frame)
    assert to_native(artifact, store).schema == frame.schema
    assert to_arrow(artifact, store).schema == pa.schema({"a": pa.int8(), "c": pa.string(), "s": pa.string()})
