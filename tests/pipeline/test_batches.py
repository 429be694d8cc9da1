"""Ops that give their table in batches: the same artifact as in one piece, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.artifacts import values
from aq.formats.errors import Unstorable
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.tables import encode_table
from aq.formats.tables.streamed import encode_batches
from hypothesis import given, settings, strategies as st

from tests.pipeline.workshop import Workshop, states


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """Mixed columns; the text ones are of very different lengths."""
    random = np.random.default_rng(seed)
    ids = np.arange(rows) * 7
    text = np.array(["x" * int(n) for n in random.integers(0, 40, 50)], dtype=object)
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(ids, unit="s")
    return pd.DataFrame({"id": ids, "x": random.normal(size=rows), "t": times, "s": text[ids % 50]})


def pieces(table: Any, sizes: list[int]) -> Iterator[Any]:
    start = 0
    for size in sizes:
        yield table.iloc[start : start + size] if hasattr(table, "iloc") else table.slice(start, size)
        start += size
    if start < len(table) or not sizes:
        yield table.iloc[start:] if hasattr(table, "iloc") else table.slice(start)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.sampled_from([0, 1, 5_000, 65_535, 65_537, 120_000]),
    sizes=st.lists(st.sampled_from([0, 1, 900, 20_000, 50_000]), max_size=6),
    key=st.sampled_from([[], ["id"], ["s"]]),
    kind=st.sampled_from(["pandas", "arrow"]),
)
def test_batches_are_the_table_that_they_make_up(
    rows: int, sizes: list[int], key: list[str], kind: str
) -> None:
    whole = frame(rows)
    table = pa.Table.from_pandas(whole, preserve_index=False) if kind == "arrow" else whole
    apart, together = MemoryObjects(), MemoryObjects()
    streamed = encode_batches(pieces(table, sizes), apart, key=key)
    expected = encode_table(table, together, key=key)
    assert put_record(apart, streamed.artifact) == put_record(together, expected.artifact)
    assert streamed.summary == expected.summary
    assert apart.objects.keys() == together.objects.keys()


OTHERS: list[tuple[Callable[[pd.DataFrame], Any], str]] = [
    (lambda f: f.rename(columns={"x": "y"}), r"batch 2 has other columns \(id, y, t, s\) than the first"),
    (lambda f: f.assign(x="text"), r"batch 2 has .*string in column 'x' where there is double in the first"),
    (lambda f: f.set_index("id"), "batch 2 has other columns"),
    (lambda _f: 3, "batch 2: a int is no table"),
]


@pytest.mark.parametrize(("change", "message"), OTHERS)
def test_a_batch_that_is_not_like_the_first_is_refused(
    change: Callable[[pd.DataFrame], Any], message: str
) -> None:
    with pytest.raises(Unstorable, match=message):
        encode_batches(iter([frame(10), change(frame(10))]), MemoryObjects())


def test_no_batch_at_all_is_refused() -> None:
    with pytest.raises(Unstorable, match="no table at all"):
        encode_batches(iter(()), MemoryObjects())


FLOW = """
    import pathlib

    @aq.op
    def rows(count: int):
        for start in range(count):
            print("batch", start)
            yield pd.DataFrame({"k": range(start * 10, start * 10 + 10)})

    @aq.op(outputs=("table", "count"))
    def both(rows: pd.DataFrame):
        return (rows.iloc[at:at + 5] for at in range(0, len(rows), 5)), len(rows)

    @aq.op
    def fails(both: pd.DataFrame):
        yield both
        raise ValueError("in the midst")

    @aq.op
    def reads():
        yield pd.DataFrame({"a": [int((pathlib.Path(__file__).parent / "n.txt").read_text())]})

    @aq.flow
    def f(count: int = 4):
        table, _ = both(rows(count))
        reads()
        fails(table)
"""


def test_a_generator_runs_as_the_op_does(shop: Workshop) -> None:
    shop.write(FLOW)
    (shop.root / "n.txt").write_text("5")
    done = shop.run(keep_going=True)
    assert states(done) == {"rows": "run", "both": "run", "reads": "run", "fails": "failed"}
    assert list(shop.value(done, "f/rows")["k"]) == list(range(40))
    assert shop.value(done, "f/both/table").equals(shop.value(done, "f/rows"))
    assert shop.value(done, "f/both/count") == 40
    logs = {one.name: one.log for one in done.steps}
    assert shop.log(logs["f/rows"]) == "".join(f"batch {at}\n" for at in range(4))
    (failure,) = done.failures
    assert failure.error == "ValueError: in the midst" and "flow.py" in failure.trace
    (shop.root / "n.txt").write_text("6")
    assert states(shop.run(keep_going=True))["reads"] == "run"


LARGE = """
import sys, resource
from pathlib import Path
import numpy as np, pandas as pd
from aq.formats.tables.streamed import encode_batches
from aq.formats.objects import put_record
from aq.store.store import Store
store = Store.open(Path(sys.argv[1]))
def batches(count):
    for at in range(count):
        keys = np.arange(at * 100_000, at * 100_000 + 100_000)
        yield pd.DataFrame({"k": keys, "x": np.random.rand(100_000)})
encode_batches(batches(3), store)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encode_batches(batches(150), store)
store.flush()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(shop: Workshop) -> None:
    """240 MB in batches of 1.6 MB."""
    command = [sys.executable, "-c", LARGE, str(shop.root)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 96 << 10, done.stdout  # KiB


def test_values_know_a_table_by_its_batches(shop: Workshop) -> None:
    shop.write(FLOW)
    (shop.root / "n.txt").write_text("5")
    done = shop.run(keep_going=True)
    whole = pd.DataFrame({"k": range(40)})
    assert values.encode(whole, shop.store).id == done.artifacts["f/rows"].artifact
