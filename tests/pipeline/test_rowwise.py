"""`rowwise=True`: new rows alone run, and the result is that of the whole."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from aq.formats.identity import Digest
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.records import Artifact, Step
from aq.formats.tables import to_pandas
from aq.pipeline.step import returns, rowwise
from aq.pipeline.step.handed import Handed
from aq.pipeline.step.inputs import Input
from hypothesis import given, settings, strategies as st

from tests.pipeline.repository import create
from tests.pipeline.workshop import Workshop, states

FLOW = """
    from pathlib import Path

    RATE = 3

    def log(table):
        with open("calls.log", "a") as file:
            file.write(f"{len(table)}\\n")

    @aq.op
    def load(text: pd.DataFrame) -> pd.DataFrame:
        return text

    @aq.op(rowwise=True)
    def predict(table: pd.DataFrame, more: int) -> pd.DataFrame:
        log(table)
        return pd.DataFrame({"id": table["id"], "y": table["x"] * RATE + more})

    @aq.op(rowwise=True)
    def series(table):
        return (table["x"] > 2).rename("big")

    @aq.op(rowwise=True)
    def array(table):
        return table["x"].to_numpy() * 2

    @aq.flow
    def f(more: int = 1):
        table = load(aq.read("t.csv"))
        predict(table, more)
        series(table)
        array(table)
"""


def write(shop: Workshop, rows: list[tuple[int, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "x"]).astype({"id": "int64", "x": "float64"})
    frame.to_csv(shop.root / "t.csv", index=False)
    return frame


def calls(shop: Workshop) -> list[int]:
    log = shop.root / "calls.log"
    found = [int(line) for line in log.read_text().split()] if log.exists() else []
    log.unlink(missing_ok=True)
    return found


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.chdir(tmp_path)
    made = Workshop(tmp_path)
    made.write(FLOW)
    return made


ROWS = [(i, float(i % 7)) for i in range(40)]


@pytest.mark.parametrize(
    ("now", "ran"),
    [
        ([(i, x + 1 if i in (3, 30) else x) for i, x in ROWS], [2]),
        ([*ROWS, (40, 1.0), (41, 2.0)], [2]),
        (ROWS[5:20] + ROWS[25:], []),
        ([*ROWS[:10], (99, 9.0), *ROWS[10:]], [1]),
        (ROWS[::-1], []),
        ([(i, x + 1) for i, x in ROWS], [40]),
        ([(i, float("nan") if i == 5 else x) for i, x in ROWS], [1]),
        ([(i, -0.0 if i == 0 else x) for i, x in ROWS], [1]),
        ([*ROWS, *ROWS[:3]], [3]),
    ],
)
def test_only_new_rows_run(shop: Workshop, now: list[tuple[int, float]], ran: list[int]) -> None:
    write(shop, ROWS)
    shop.run()
    assert calls(shop) == [40]
    frame = write(shop, now)
    done = shop.run()
    assert states(done)["predict"] == "run"
    assert calls(shop) == ran
    wanted = pd.DataFrame({"id": frame["id"], "y": frame["x"] * 3 + 1})
    pd.testing.assert_frame_equal(shop.value(done, "f/predict"), wanted)
    pd.testing.assert_series_equal(shop.value(done, "f/series"), (frame["x"] > 2).rename("big"))
    np.testing.assert_array_equal(shop.value(done, "f/array"), frame["x"].to_numpy() * 2)
    again = shop.run(force=True)
    assert calls(shop) == [len(now)], "forced, it is called with all rows"
    assert again.artifacts["f/predict"].artifact == done.artifacts["f/predict"].artifact
    if ran not in ([], [40]):
        assert f"f/predict ran on {ran[0]:,} of {len(now):,} rows" in done.notes


def test_it_runs_whole_where_looking_for_rows_would_take_as_long(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowwise, "_FREE", 0)
    monkeypatch.setattr(rowwise, "_WORTH", 0)
    write(shop, ROWS)
    shop.run()
    write(shop, ROWS[::-1])
    done = shop.run()
    assert calls(shop) == [40, 40]
    told = "f/predict ran whole: to look for the rows that it had before would take about as long"
    assert told in done.notes


def test_what_it_took_for_all_rows_stays_known(shop: Workshop) -> None:
    write(shop, ROWS)
    (whole,) = [one for one in shop.run().steps if one.name == "f/predict"]
    for more in (1, 2):
        write(shop, [*ROWS, *((100 + k, 1.0) for k in range(more))])
        (step,) = [one for one in shop.run().steps if one.name == "f/predict"]
        assert step.step is not None and step.seconds != whole.seconds
        assert (shop.store.summary(step.step) or {})["whole"] == whole.seconds
    assert calls(shop) == [40, 1, 1]


def test_other_code_params_or_inputs_run_on_the_whole(shop: Workshop) -> None:
    write(shop, ROWS)
    shop.run()
    calls(shop)
    shop.run({"more": 2})
    assert calls(shop) == [40]
    shop.replace("RATE = 3", "RATE = 4")
    write(shop, [*ROWS, (40, 1.0)])
    shop.run({"more": 2})
    assert calls(shop) == [41]


def test_a_file_that_it_reads_counts_for_rows_taken_over(shop: Workshop) -> None:
    shop.replace("* RATE", "* int(Path('rate.txt').read_text())")
    (shop.root / "rate.txt").write_text("2")
    write(shop, ROWS)
    shop.run()
    write(shop, ROWS[:30])
    done = shop.run()
    calls(shop)
    (step,) = [shop.step(one) for one in done.steps if one.name == "f/predict"]
    assert set(step.hidden) == {"rate.txt"}, "no row ran, and yet it depends on it"
    (shop.root / "rate.txt").write_text("5")
    write(shop, ROWS[:31])
    again = shop.run()
    assert calls(shop) == [31]
    assert shop.value(again, "f/predict")["y"].tolist() == [x * 5 + 1 for _, x in ROWS[:31]]


cells = st.tuples(st.integers(0, 3), st.sampled_from([0.0, -0.0, 1.0, float("nan")]), st.sampled_from("abc"))
KINDS: list[Any] = ["default", "named", "text", "float", "counted", "levels"]


class Objects(MemoryObjects):
    """A store in memory, with what is known of artifacts."""

    def __init__(self) -> None:
        super().__init__()
        self.summaries: dict[bytes, dict[str, Any]] = {}

    def summary(self, id: bytes) -> dict[str, Any] | None:
        return self.summaries.get(id)

    def put_summary(self, id: bytes, value: dict[str, Any]) -> None:
        self.summaries[id] = value


def require_whole(old: Any, now: Any, op: Any, key: tuple[str, ...] = (), seconds: float = math.inf) -> str:
    """What comes of a table by pieces is what comes of the whole, by id; returns the note.

    `seconds`: how long rows are looked for.
    """
    store: Any = Objects()
    ids = [returns.put(store, value, key if at else (), "t") for at, value in enumerate((old, op(old)))]
    before, made = (get_record(store, Artifact, id) for id in ids)
    record = get_record(store, Artifact, returns.put(store, now, (), "t"))
    given = {"t": Input("t", "t", Digest(bytes(32)), "pandas")}
    handed = Handed(given, lambda one: to_pandas(record, store), "t")
    source = rowwise.sources(record, before, made, store, seconds)
    whole = isinstance(source, rowwise.Whole)
    earlier = source if whole else rowwise.Earlier("t", record, before, made, source, {})
    done = rowwise.call(earlier, handed, store, "f/op", lambda values: op(values["t"]))
    found = returns.put(store, done.result, key, "t")
    other = Objects()
    assert found == returns.put(other, op(to_pandas(record, store)), key, "t")
    assert store.summary(found) == other.summary(found)
    return done.note


def features(table: Any) -> Any:
    told = {"y": table["a"] + table["b"], "z": table["c"] + "!", "sign": np.signbit(table["b"])}
    return pd.DataFrame(told)


def objects(table: Any) -> Any:
    """Dtypes of objects say something about all values: whether one is missing, and how."""
    found = table[["a"]].copy()
    found["o"] = pd.Series(
        [None if a == 0 else a if a == 1 else str(a) for a in table["a"]], table.index, object
    )
    return found


OPS: list[Any] = [
    features,
    objects,
    lambda table: table,
    lambda table: table["d"],
    lambda table: table["b"].rename(None) * 2,
    lambda table: table["b"].to_numpy(),
    lambda table: table[["a", "b"]].to_numpy(),
    lambda table: pa.table({"a": table["a"].to_numpy(), "n": pa.nulls(len(table))}),
    lambda table: pl.DataFrame({"c": table["c"].to_list()}, schema={"c": pl.Categorical}),
    lambda table: table[["a"]].astype("Int16").where(table["a"] > 0),
    lambda table: table.reset_index(drop=True)[["b"]],
    lambda table: table[table["a"] > 0],
    lambda table: len(table),
]


@settings(max_examples=100)
@given(
    st.lists(cells, max_size=9),
    st.lists(cells, max_size=9),
    st.sampled_from(KINDS),
    st.sampled_from(OPS),
    st.sampled_from([math.inf, math.inf, 1e-6, 0]),
)
def test_pieces_are_the_whole(old: list[Any], now: list[Any], index: str, op: Any, seconds: float) -> None:
    """Any two tables, in each kind of index; a result by pieces is the result of the whole."""

    def frame(rows: list[Any]) -> pd.DataFrame:
        made = pd.DataFrame(rows, columns=["a", "b", "c"]).astype({"a": "int32", "b": "float64", "c": "str"})
        made["d"] = pd.Categorical(made["c"], categories=list("abc"))
        made.loc[made["a"] == 3, "d"] = None
        if index in ("default", "counted"):
            return made if index == "default" else made.set_index(pd.RangeIndex(5, 5 + len(made)))
        if index == "levels":
            return made.set_index(["a", "c"], drop=False).rename_axis(["k", "l"])
        return made.set_index(pd.Index(made[{"named": "a", "text": "c", "float": "b"}[index]], name="k"))

    note = require_whole(frame(old), frame(now), op, seconds=seconds)
    counts = index != "default" and isinstance(frame(now).index, pd.RangeIndex)  # as pandas makes of 2, 1, 0
    is_taken = repr(old) == repr(now) and old and op is features and not counts
    if is_taken and index in ("default", "named", "text", "float"):
        assert note == f"f/op ran on 0 of {len(now)} rows"


@pytest.mark.parametrize("key", [(), ("id",)])
@pytest.mark.parametrize("op", [OPS[2], OPS[3], OPS[5]])
def test_a_large_result_is_stitched(op: Any, key: tuple[str, ...]) -> None:
    """More rows than one segment has: some updated, deleted, inserted."""
    draw = np.random.default_rng(0)
    old = pd.DataFrame({"id": np.arange(50_000), "b": draw.normal(size=50_000)})
    old["d"] = pd.Categorical(draw.choice(["x", "y"], 50_000))
    now = old.drop(index=np.arange(20_000, 20_010))
    now.loc[now["id"] % 7_000 == 0, "b"] = np.nan
    now = pd.concat([now, old[:5].assign(id=-1)], ignore_index=True)
    if op(old) is not old:
        key = ()
    assert require_whole(old, now, op, key) == "f/op ran on 13 of 49,995 rows"
    mixed = now.sample(frac=1, random_state=1).reset_index(drop=True)
    assert require_whole(old, mixed, op, key) == "f/op ran on 13 of 49,995 rows"
    assert require_whole(old, mixed, op, key, seconds=0) == (
        "f/op ran whole: to look for the rows that it had before would take about as long"
    )


BIG = """
    @aq.op(rowwise=True)
    def predict(table: pd.DataFrame) -> pd.DataFrame:
        with open("calls.log", "a") as file:
            file.write(f"{len(table)}\\n")
        return pd.DataFrame({"id": table["id"], "y": table["x0"] * 2 + table["x1"]})

    @aq.flow
    def f():
        predict(aq.read("t.parquet"))
"""


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        (lambda one: one.assign(x0=one["x0"].where(one["id"] % 300 != 0, -1.0)), 100),
        (lambda one: one.assign(x0=one["x0"].where(one["id"] % 300 != 0, -0.0)), 100),
        (lambda one: one.assign(x3=one["x3"].where(one["id"] != 7, np.nan)), 1),
        (lambda one: one.assign(x0=one["x1"], x1=one["x0"]), 30_000),
        (lambda one: one.assign(x0=np.roll(one["x0"], 1)), 30_000),
        (lambda one: one.iloc[::-1].reset_index(drop=True), 0),
        (lambda one: pd.concat([one.iloc[100:], one.iloc[:50]], ignore_index=True), 0),
        (lambda one: one.assign(x1=one["x1"].astype("float32")), 30_000),
    ],
)
def test_a_large_table_is_read_where_its_columns_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, ran: int
) -> None:
    """Segments that are chunks of each column: changes in place, others, another order, other types."""
    monkeypatch.chdir(tmp_path)
    shop = Workshop(tmp_path)
    shop.write(BIG)
    columns = {f"x{at}": np.random.default_rng(at).normal(size=30_000) for at in range(5)}
    frame = pd.DataFrame({"id": np.arange(30_000), **columns})
    frame.to_parquet("t.parquet")
    shop.run()
    calls(shop)
    now = change(frame)
    now.to_parquet("t.parquet")
    done = shop.run()
    assert sum(calls(shop)) == ran
    told = shop.value(done, "f/predict")
    pd.testing.assert_frame_equal(told, pd.DataFrame({"id": now["id"], "y": now["x0"] * 2 + now["x1"]}))
    assert np.array_equal(np.signbit(told["y"]), np.signbit(now["x0"] * 2 + now["x1"]))


def test_objects_are_compared_with_their_types() -> None:
    before = pd.DataFrame({"a": np.array([1, 2, 3, "x"], dtype=object)})
    now = pd.DataFrame({"a": np.array([True, 2, 3, "x"], dtype=object)})
    assert require_whole(before, now, lambda table: table["a"].map(repr)) == "f/op ran on 1 of 4 rows"


def test_no_step_before(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        shop = Workshop(Path(folder))
        assert rowwise.earlier(shop.store, Step(key=b"", op="m:f"), None, {}, shop.root) == rowwise.Whole()


LIAR = """
import aq
import pandas as pd

@aq.op(rowwise=True)
def centre(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"y": table["x"] - MEAN})

@aq.flow
def f():
    centre(aq.read("t.csv"))
"""


@pytest.mark.parametrize(("mean", "status"), [("3", "committed"), ("table['x'].mean()", "failed")])
def test_verify_finds_an_op_that_looks_at_other_rows(tmp_path: Path, mean: str, status: str) -> None:
    (tmp_path / "flow.py").write_text(LIAR.replace("MEAN", mean))
    (tmp_path / "t.csv").write_text("x\n1\n2\n3\n4\n")
    with create(tmp_path) as repo:
        assert repo.run("flow.py").status == "committed"
        (tmp_path / "t.csv").write_text("x\n1\n2\n3\n9\n")
        done = repo.run("flow.py", verify=True)
        assert done.status == status
        if status == "failed":
            assert "is declared rowwise" in (done.error or {})["message"]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("option", ["", ", cache='never'"])
def test_an_op_that_is_to_run_anew_gets_all_rows(tmp_path: Path, jobs: int, option: str) -> None:
    text = LIAR.replace("MEAN", "table['x'].mean()").replace("rowwise=True", f"rowwise=True{option}")
    (tmp_path / "flow.py").write_text(text)
    (tmp_path / "t.csv").write_text("x\n1\n2\n3\n4\n")
    with create(tmp_path) as repo:
        repo.run("flow.py", jobs=jobs)
        (tmp_path / "t.csv").write_text("x\n1\n2\n3\n10\n")
        repo.run("flow.py", jobs=jobs, force=not option)
        assert repo.get("HEAD:f/centre").load()["y"].tolist() == [-3, -2, -1, 6]


@pytest.mark.parametrize(("limits", "jobs"), [(", timeout=60, retries=1", 1), ("", 2)])
def test_verify_also_looks_at_what_runs_in_another_process(tmp_path: Path, limits: str, jobs: int) -> None:
    text = LIAR.replace("MEAN", "table['x'].mean()").replace("rowwise=True", f"rowwise=True{limits}")
    (tmp_path / "flow.py").write_text(text)
    (tmp_path / "t.csv").write_text("x\n1\n2\n3\n4\n")
    with create(tmp_path) as repo:
        assert repo.run("flow.py", jobs=jobs).status == "committed"
        (tmp_path / "t.csv").write_text("x\n1\n2\n3\n9\n")
        done = repo.run("flow.py", verify=True, jobs=jobs)
        assert done.status == "failed" and "is declared rowwise" in (done.error or {})["message"]
