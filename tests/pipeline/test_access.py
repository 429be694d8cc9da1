"""Columns and rows of a table without the rest, in every library and form."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aq.formats.columns.described import described
from aq.formats.contents.chunking import cut
from aq.formats.dataframes.missing import nan_as_null
from aq.formats.errors import AqError, NotFound, UsageError
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from aq.formats.tables.table import reader
from aq.pipeline.look import outputs
from aq.pipeline.repo import Repo
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from tests.pipeline.repository import create

ROWS = 40_000
PARTS: list[tuple[list[str] | None, slice | range | None]] = [
    (None, None),
    (["x"], None),
    (["name", "id"], slice(10, 13)),
    (None, slice(-3, None)),
    (["x"], range(20_000, 20_002)),
    ([], slice(0, 4)),
    (None, range(5, 5)),
    (["id"], slice(39_999, 50_000)),
]


def frame(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = rng.choice(["ada", "bob", None], rows)
    return pd.DataFrame({"id": np.arange(rows), "x": rng.normal(size=rows), "name": names})


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    root = tmp_path_factory.mktemp("access") / "r"
    with create(root) as made:
        table = frame()
        dated = table.set_index(pd.date_range("2020", periods=ROWS, freq="min", name="at"))
        values = {
            "plain": table,
            "dated": dated.assign(kind=pd.Categorical(table["name"]), count=table["id"].astype("Int32")),
            "nested": table.set_index(["id", "name"]),
            "shifted": table.set_index(pd.RangeIndex(7, 7 + 2 * ROWS, 2, name="n")),
            "arrow": pa.table({"id": range(9), "n": [None, *range(8)], "name": list("abcdefghi")}),
            "polars": pl.DataFrame({"x": [1.5, 2.5], "e": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"]))}),
            "number": 3,
        }
        table.to_parquet(root / "t.parquet", row_group_size=10_000)
        dated.to_parquet(root / "dated.parquet", row_group_size=10_000)
        table.to_csv(root / "t.csv", index=False)
        made.commit(values, message="values", keys={"plain": ["id"]})
        made.add(["t.parquet", "dated.parquet", "t.csv"])
        made.commit(message="files")
        yield made


def part_of(table: pd.DataFrame, columns: list[str] | None, rows: slice | range | None) -> pd.DataFrame:
    if columns is not None:
        table = table[columns]
    return table if rows is None else table.iloc[rows.start : rows.stop]


@pytest.mark.parametrize(("columns", "rows"), PARTS)
@pytest.mark.parametrize("path", ["plain", "dated", "shifted"])
def test_a_part_of_a_frame_is_what_pandas_would_take(
    repo: Repo, path: str, columns: list[str] | None, rows: slice | range | None
) -> None:
    found = repo.get(path)
    wanted = part_of(found.load(), columns, rows)
    got = found.to_pandas(columns=columns, rows=rows)
    if path == "dated":  # the frequency follows from the values of an index that is cut
        got.index.freq = wanted.index.freq
    pd.testing.assert_frame_equal(got, wanted)
    pd.testing.assert_frame_equal(found.load(columns=columns, rows=rows), got, check_freq=False)


@pytest.mark.parametrize(("columns", "rows"), PARTS)
@pytest.mark.parametrize("path", ["t.parquet", "dated.parquet", "t.csv"])
def test_a_part_of_a_file_is_what_its_library_would_read(
    repo: Repo, path: str, columns: list[str] | None, rows: slice | range | None
) -> None:
    found = repo.get(path)
    wanted = part_of(found.to_pandas(), columns, rows)
    pd.testing.assert_frame_equal(found.to_pandas(columns=columns, rows=rows), wanted, check_freq=False)
    if columns:
        start, stop, _ = slice(*(None, None) if rows is None else (rows.start, rows.stop)).indices(ROWS)
        arrow = found.to_arrow().select(columns).slice(start, max(0, stop - start))
        assert found.to_arrow(columns=columns, rows=rows).equals(arrow)
        assert found.to_polars(columns=columns, rows=rows).to_dict(as_series=False) == arrow.to_pydict()


def test_polars_and_arrow_keep_their_types_in_part(repo: Repo) -> None:
    part = repo.get("polars").load(columns=["e"], rows=slice(1, 2))
    assert part.equals(pl.DataFrame({"e": pl.Series(["b"], dtype=pl.Enum(["b", "a"]))}))
    assert repo.get("arrow").load(columns=["n"], rows=slice(0, 2)).to_pydict() == {"n": [None, 0]}


def test_what_is_not_asked_for_is_not_read(repo: Repo) -> None:
    """All chunks but those of one column in one segment could be gone."""
    artifact = repo.get("plain")
    content = reader(artifact.record, repo.store)
    allowed = {content.chunk_ids(segment)[1][1:] for segment in content.rows(20_000, 20_010)}
    asked: set[bytes] = set()

    class Watched:
        def get(self, kind: Kind, id: bytes) -> bytes:
            if kind is Kind.CHUNK:
                asked.add(bytes(id))
            return repo.store.get(kind, id)

    pieces = outputs.chunks(
        Watched(), artifact.record, "plain", "csv", columns=["x"], rows=slice(20_000, 20_010)
    )  # type: ignore[arg-type]
    assert len(b"".join(pieces).splitlines()) == 11
    assert asked == allowed
    assert len(content.segments) > 2


def test_a_column_of_a_parquet_file_costs_the_pieces_that_hold_it(tmp_path: Path) -> None:
    with create(tmp_path / "r") as repo:
        rng = np.random.default_rng(1)
        wide = pd.DataFrame({f"c{at}": rng.normal(size=100_000) for at in range(20)})
        wide.to_parquet(repo.root / "wide.parquet")
        repo.add(["wide.parquet"])
        repo.commit(message="m")
        read = 0
        get = repo.store.get

        def counted(kind: Kind, id: bytes) -> bytes:
            nonlocal read
            data = get(kind, id)
            read += len(data)
            return data

        repo.store.get = counted  # type: ignore[method-assign]
        artifact = repo.get("wide.parquet")
        pd.testing.assert_frame_equal(artifact.to_pandas(columns=["c7"]), wide[["c7"]])
        assert read < artifact.size / 4


@given(st.integers(-70, 70), st.integers(-70, 70))
def test_rows_mean_what_slices_mean(start: int, stop: int) -> None:
    from aq.pipeline.look.selection import span

    first, last = span(slice(start, stop), 50)
    assert list(range(50))[first:last] == list(range(50))[start:stop]


def test_wrong_parts_are_refused_with_what_there_is(repo: Repo) -> None:
    with pytest.raises(NotFound, match="no column 'y'; the table has id, x, name"):
        repo.get("plain").load(columns=["y"])
    with pytest.raises(NotFound, match="no column 'y'"):
        repo.get("t.parquet").to_pandas(columns=["y"])
    with pytest.raises(NotFound, match="no column 'y'"):
        repo.get("t.csv").to_arrow(columns=["y"])
    with pytest.raises(UsageError, match="steps"):
        repo.get("plain").load(rows=slice(0, 10, 2))
    with pytest.raises(UsageError, match="twice"):
        repo.get("plain").load(columns=["x", "x"])
    with pytest.raises(UsageError, match="is a file"):
        repo.get("t.csv").load(columns=["x"])
    with pytest.raises(UsageError, match="twice"):
        repo.get("t.parquet").to_pandas(columns=["x", "x"])
    with pytest.raises(UsageError, match="rows are counted"):
        repo.get("plain").load(rows=slice("a", None))
    with pytest.raises(UsageError, match="is a value, no table"):
        repo.get("number").load(rows=slice(0, 1))
    with pytest.raises(UsageError, match="is no table"):
        repo.cat("number", columns=["x"])


@pytest.mark.parametrize("path", ["plain", "dated", "nested", "shifted"])
@pytest.mark.parametrize("rows", [None, slice(100, 200)])
def test_an_exported_parquet_file_is_read_as_the_frame_that_it_was(
    repo: Repo, tmp_path: Path, path: str, rows: slice | None
) -> None:
    target = repo.get(path).save(tmp_path / "out.parquet", rows=rows)
    wanted = repo.get(path).to_pandas(rows=rows)
    got = pd.read_parquet(target)
    pd.testing.assert_frame_equal(
        got, wanted, check_freq=False, check_categorical=False, check_dtype=path != "dated"
    )
    assert target.read_bytes() == repo.cat(path, format="parquet", rows=rows)


def test_an_exported_file_has_the_categories_and_dtypes_of_the_frame(tmp_path: Path) -> None:
    words = pd.CategoricalDtype(["low", "high", "none of these"], ordered=True)
    frame = pd.DataFrame(
        {
            "level": pd.Series(["high", None, "low"] * 30_000, dtype=words),
            "code": pd.Categorical([3, 1, 3] * 30_000, categories=[3, 2, 1]),
            "when": pd.Series([0, 1, None] * 30_000).astype("datetime64[s]").astype("category"),
            "list": pd.Series([[1], [], None] * 30_000, dtype=pd.ArrowDtype(pa.list_(pa.int32()))),
        }
    )
    frame.index = pd.CategoricalIndex(["b", "a", "b"] * 30_000, categories=["b", "a"], name="kind")
    with create(tmp_path / "r") as repo:
        repo.commit({"t": frame})
        arrow = pd.read_feather(repo.get("t").save(tmp_path / "t.arrow"))
        parquet = pd.read_parquet(repo.get("t").save(tmp_path / "t.parquet"))
        part = repo.get("t").save(tmp_path / "p.parquet", columns=["level"], rows=slice(1, 2))
    plain = frame.assign(list=frame["list"].astype(object))
    for found, whole in ((arrow, ["level", "code", "when"]), (parquet, ["level"])):
        pd.testing.assert_frame_equal(found[whole], plain[whole])
        assert found["list"].iloc[0].tolist() == [1]
    assert parquet["code"].tolist() == frame["code"].tolist()
    assert pd.read_parquet(part)["level"].dtype == words
    assert pl.read_parquet(tmp_path / "t.parquet")["level"].to_list()[:3] == ["high", None, "low"]


def test_the_suffix_of_a_file_says_its_form_and_one_that_says_none_is_refused(
    repo: Repo, tmp_path: Path
) -> None:
    plain, wanted = repo.get("plain"), frame()
    read: dict[str, Any] = {
        "a.csv": pd.read_csv,
        "a": pd.read_csv,
        "a.parquet": pd.read_parquet,
        "a.PQ": pd.read_parquet,
        "a.arrow": pd.read_feather,
        "a.json": pd.read_json,
        "a.jsonl": lambda path: pd.read_json(path, lines=True),
        "a.ndjson": lambda path: pd.read_json(path, lines=True),
    }
    for name, reader_of in read.items():
        found = reader_of(plain.save(tmp_path / name))
        assert found["id"].equals(wanted["id"]) and found["name"].isna().sum() == wanted["name"].isna().sum()
    assert repo.cat("plain", format="jsonl", rows=slice(0, 0)) == b""
    for name in ("a.xlsx", "a.tsv", "a.csv.gz"):
        with pytest.raises(
            UsageError, match=rf"^no table is written as .{name.rpartition('.')[2]}: there are .csv, "
        ):
            plain.save(tmp_path / name)
        assert not (tmp_path / name).exists()
    part = repo.get("t.csv").save(tmp_path / "part.parquet", rows=slice(0, 2))
    assert len(pd.read_parquet(part)) == 2


def test_a_file_is_replaced_as_a_whole_and_as_it_was(repo: Repo, tmp_path: Path) -> None:
    plain, target = repo.get("plain"), tmp_path / "kept" / "a.csv"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o600)
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    plain.save(link)
    assert link.is_symlink() and len(pd.read_csv(target)) == len(frame())
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="is a folder"):
        plain.save(target.parent)
    with pytest.raises(UsageError, match="no folder"):
        plain.save(tmp_path / "no such" / "a.csv")
    assert [one.name for one in target.parent.iterdir()] == ["a.csv"]
    assert sorted(one.name for one in tmp_path.iterdir() if one.suffix == ".new") == []


def test_a_pipe_or_device_is_written_to_and_stays(repo: Repo, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        repo.get("plain").save(pipe)
        assert read.result() == repo.cat("plain", format="csv")
    assert pipe.is_fifo()
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(AqError, match=r"^no space left for "):
        repo.get("plain").save(full)
    assert Path("/dev/full").is_char_device()


def test_a_value_is_saved_under_no_name_that_says_otherwise(tmp_path: Path) -> None:
    with create(tmp_path / "r") as repo:
        repo.commit({"array": np.arange(3), "value": {"a": 1}, "set": frozenset([1]), "raw": b"a,b\n"})
        names = {"array": ".npy", "value": ".json", "set": ".pkl"}
        for path, only in names.items():
            with pytest.raises(UsageError, match=f"is written as {only}, not as .csv"):
                repo.get(path).save(tmp_path / "a.csv")
            for name in ("a.pt", "a.safetensors"):  # what torch.load and load_file refuse
                with pytest.raises(UsageError, match=f"is written as {only}, not as .[ps]"):
                    repo.get(path).save(tmp_path / name)
            for name in (only, ".bin", "", *([".joblib"] if only == ".pkl" else [])):
                assert repo.get(path).save(tmp_path / f"b{name}").read_bytes() == repo.get(path).bytes()
        assert repo.get("raw").save(tmp_path / "raw.csv").read_bytes() == b"a,b\n"
        for path in ("array", "set", "raw"):
            with pytest.raises(UsageError, match="has no json form"):
                repo.cat(path, format="json")
        assert repo.cat("value", format="json") == repo.cat("value") == b'{"a": 1}\n'
        with pytest.raises(UsageError, match="array is an array, no table"):
            repo.get("array").to_pandas()
        (repo.root / "plain.txt").write_text("x")
        repo.add(["plain.txt"])
        repo.commit(message="a text")
        with pytest.raises(UsageError, match=r"^plain.txt is no table by its name \(as .csv, .*are\)$"):
            repo.get("plain.txt").to_polars()


def test_a_class_of_the_project_is_told_from_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path / "r") as repo:
        (repo.root / "shop_models.py").write_text("class Model:\n    pass\n")
        monkeypatch.syspath_prepend(str(repo.root))
        repo.commit({"model": import_module("shop_models").Model()})
        monkeypatch.undo()
        monkeypatch.delitem(sys.modules, "shop_models")
        with pytest.raises(AqError, match="No module named 'shop_models'") as found:
            repo.get("model").load()
        assert found.value.hints == (f"export PYTHONPATH={repo.root}",)


def test_every_form_holds_the_part_that_is_asked_for(repo: Repo) -> None:
    parts: dict[str, Any] = {"columns": ["id", "n"], "rows": slice(0, 2)}
    assert repo.cat("arrow", **parts) == b"id,n\n0,\n1,0\n"
    assert json.loads(repo.cat("arrow", format="json", **parts)) == [{"id": 0, "n": None}, {"id": 1, "n": 0}]
    wanted = {"id": [0, 1], "n": [None, 0]}
    assert pq.read_table(io.BytesIO(repo.cat("arrow", format="parquet", **parts))).to_pydict() == wanted
    with pa.ipc.open_file(repo.cat("arrow", format="arrow", **parts)) as file:
        assert file.read_all().to_pydict() == wanted
    assert repo.cat("t.csv", columns=["id"], rows=slice(1, 3)) == b"id\n1\n2\n"
    assert repo.cat("t.parquet", columns=["id"], rows=slice(0, 1)) == b"id\n0\n"


def test_json_keeps_every_digit(tmp_path: Path) -> None:
    paris = pa.timestamp("ns", "Europe/Paris")
    table = pa.table(
        {
            "float": [0.1 + 0.2, 1e300, float("nan")],
            "int": [2**63 - 1, None, -1],
            "decimal": pa.array([Decimal("1.10"), None, Decimal(10) ** 30], pa.decimal256(40, 2)),
            "moment": pa.array([1, None, 10**18], paris),
            "time": pa.array([1, None, 2_000], pa.time64("ns")),
            "bytes": [b"\xff", None, b"a"],
            "list": [[0.1], None, [None]],
        }
    )
    with create(tmp_path / "r") as repo:
        repo.commit({"t": table})
        text = repo.cat("t", format="json").decode()
        times = repo.cat("t", columns=["time"]).decode().splitlines()
    rows = json.loads(text, parse_float=Decimal)
    assert [len(rows), rows[1]["float"]] == [3, Decimal("1e300")]
    assert [row["float"] for row in json.loads(text)] == [0.1 + 0.2, 1e300, None]
    assert [row["int"] for row in rows] == [2**63 - 1, None, -1]
    assert [str(row["decimal"]) for row in rows] == ["1.10", "None", f"1{'0' * 30}.00"]
    assert [row["moment"] for row in rows] == [
        "1970-01-01T00:00:00.000000001Z", None, "2001-09-09T01:46:40Z",
    ]  # fmt: skip
    assert [row["time"] for row in rows] == ["00:00:00.000000001", None, "00:00:00.000002000"]
    assert times == ["time", "00:00:00.000000001", '""', "00:00:00.000002000"]
    assert [row["bytes"] for row in rows] == ["/w==", None, "YQ=="]
    assert [row["list"] for row in rows] == [[Decimal("0.1")], None, [None]]


def test_times_of_a_frame_keep_their_nanoseconds(tmp_path: Path) -> None:
    kind = pd.ArrowDtype(pa.time64("ns"))
    frame = pd.DataFrame({"t": pd.array([1, None], kind)}, index=["a", "a"])
    with create(tmp_path / "r") as repo:
        repo.commit({"t": frame})
        assert repo.cat("t").decode() == ",t\na,00:00:00.000000001\na,\n"
        assert [row["t"] for row in json.loads(repo.cat("t", format="json"))] == ["00:00:00.000000001", None]
        pd.testing.assert_frame_equal(repo.get("t").load(), frame)


def test_json_has_what_a_frame_shows(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "period": pd.period_range("2020-01", periods=2, freq="M"),
            "mixed": [1, "a"],
            "word": pd.Categorical(["x", None]),
            "count": pd.array([2**60 + 1, None], "Int64"),
            3: [np.float32(0.5), np.float32("nan")],
        },
        index=pd.Index(["r", "s"], name="row"),
    )
    with create(tmp_path / "r") as repo:
        repo.commit({"t": frame, "one": frame["mixed"]})
        assert json.loads(repo.cat("t", format="json")) == [
            {"period": "2020-01", "mixed": 1, "word": "x", "count": 2**60 + 1, "3": 0.5, "row": "r"},
            {"period": "2020-02", "mixed": "a", "word": None, "count": None, "3": None, "row": "s"},
        ]
        wanted = [{"mixed": 1, "row": "r"}, {"mixed": "a", "row": "s"}]
        assert json.loads(repo.cat("one", format="json")) == wanted
        assert json.loads(repo.cat("t", format="json", columns=["count"], rows=slice(0, 0))) == []
        assert json.loads(repo.cat("t", format="json", columns=[])) == [{"row": "r"}, {"row": "s"}]
        assert json.loads(repo.cat("t", format="json", columns=["mixed"], rows=slice(1, 2))) == wanted[1:]


def test_a_file_opens_as_a_stream_that_seeks(repo: Repo) -> None:
    data = (repo.root / "t.parquet").read_bytes()
    with repo.get("t.parquet").open() as stream:
        for start, length in ((0, 10), (len(data) - 8, 8), (100_000, 300_000), (len(data), 5)):
            stream.seek(start)
            assert stream.read(length) == data[start : start + length]
        stream.seek(-4, io.SEEK_END)
        assert stream.read() == b"PAR1"
    with pytest.raises(UsageError, match="no file"):
        repo.get("plain").open()


def test_an_exported_file_shares_its_pages_after_rows_were_inserted(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(size=(500_000, 2)), columns=["a", "b"])
    more = pd.concat([table.iloc[:1_000], table.iloc[:7], table.iloc[1_000:]], ignore_index=True)
    with create(tmp_path / "r") as repo:
        sides = []
        for one in (table, more):
            repo.commit({"t": one}, message="m")
            sides.append([bytes(piece) for piece in cut(repo.cat("t", format="parquet"))])
    shared = sum(len(piece) for piece in sides[1] if piece in set(sides[0]))
    assert shared > 0.5 * sum(map(len, sides[1]))


BOUNDED = """
import sys
import aq, pyarrow, pandas
from tests.memory import peak

with aq.open(sys.argv[1]) as repo:
    table = repo.get("t")
    list(table.chunks("arrow", rows=slice(0, 10)))
    before = peak()
    size = sum(map(len, table.chunks("arrow")))
print(size >> 20, (peak() - before) >> 20)
"""


@pytest.mark.slow
def test_a_table_leaves_a_piece_at_a_time(tmp_path: Path) -> None:
    with create(tmp_path / "r") as repo:
        rng = np.random.default_rng(3)
        repo.commit({"t": pd.DataFrame({name: rng.normal(size=700_000) for name in "abcdefgh"})})
    argv = [sys.executable, "-c", BOUNDED, str(tmp_path / "r")]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, cwd=root, check=True, capture_output=True, text=True)
    size, megabytes = map(int, done.stdout.split())
    assert size > 40
    assert megabytes < 24


def test_what_is_missing_in_a_frame_is_null_outside(tmp_path: Path) -> None:
    """With NaN in its place the mean of a column is NaN to SQL and polars; pandas itself exports nulls."""
    column = [1.0, float("nan"), 3.0]
    whole = pd.DataFrame({"x": column, "f": np.array(column, "f4"), "s": ["a", None, "c"]})
    whole["n"] = pd.array([1.0, 2.0, None], "Float64")
    whole["a"] = pd.Series(pa.array(column), dtype=pd.ArrowDtype(pa.float64()))
    expected = pa.Table.from_pandas(whole, preserve_index=False)
    with create(tmp_path / "r") as repo:
        repo.commit({"t": whole, "pa": pa.table({"x": column})})
        saved = pq.read_table(repo.get("t").save(tmp_path / "t.parquet"))
        piped = pa.ipc.open_file(repo.get("t").save(tmp_path / "t.arrow")).read_all()
        for found in (saved, piped, repo.get("t").to_arrow(), repo.get("t").to_polars().to_arrow()):
            assert [one.null_count for one in found.columns] == [one.null_count for one in expected.columns]
        assert repo.get("t").to_arrow(columns=["x"], rows=slice(1, 2))["x"].null_count == 1
        assert repo.get("pa").to_arrow()["x"].null_count == 0  # what Arrow holds stays as it is
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), whole)
        pd.testing.assert_frame_equal(repo.get("t").load(), whole)


def test_a_frame_for_polars_is_refused_as_any_table_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path / "r") as repo:
        repo.commit({"t": pd.DataFrame({"x": [1.0]})})
        monkeypatch.setitem(sys.modules, "polars", None)
        with pytest.raises(UsageError, match="polars is not installed"):
            repo.get("t").to_polars()


@given(
    values=arrays(st.sampled_from(["f2", "f4", "f8"]), st.integers(0, 30), elements=st.floats(width=16)),
    skipped=st.integers(0, 3),
)
def test_nan_is_null_as_arrow_makes_it(values: np.ndarray, skipped: int) -> None:
    table = pa.table({"x": values}).slice(skipped)
    found = nan_as_null(table, described(encode_table(pd.DataFrame({"x": values}), MemoryObjects()).artifact))
    found.validate(full=True)
    assert found["x"].equals(pa.chunked_array([pa.array(values[skipped:], from_pandas=True)]))
