"""What one tool does with the tables, in a process of its own: `python -m beside.table_steps WHAT FOLDER …`.

Invariant: a step's time begins with the DataFrame in memory and everything imported, and ends where its
result is: durable, in memory, or told. Prints one JSON map: step → [wall seconds, CPU seconds, bytes].
"""

from __future__ import annotations

import io
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.feather
import pyarrow.parquet as pq

from beside import table_data
from beside.timing import disk_bytes

Steps = dict[str, list[Any]]
_ROUNDS = 5
_ENTRY = 8
"""What LMDB puts before a key and its value."""
COLUMN = "price"


class Clock:
    """Collects what steps cost; `store` is the folder whose growth counts, if there is one."""

    def __init__(self, store: Path | None = None) -> None:
        self.steps: Steps = {}
        self._store = store

    def __call__(self, step: str, do: Callable[[], Any]) -> Any:
        before = disk_bytes(self._store) if self._store else 0
        wall, cpu = time.perf_counter(), time.process_time()
        result = do()
        spent = [time.perf_counter() - wall, time.process_time() - cpu]
        self.steps[step] = [*spent, disk_bytes(self._store) - before if self._store else None]
        return result


def versions(folder: Path) -> list[pd.DataFrame]:
    """Both versions of the large table."""
    read = pyarrow.feather.read_table
    return [read(folder / f"{name}.arrow", memory_map=False).to_pandas() for name in ("v1", "v2")]


def parquet_bytes(frame: pd.DataFrame) -> int:
    """What the rows take as zstd Parquet."""
    stream = io.BytesIO()
    frame.to_parquet(stream, compression="zstd", index=False)
    return stream.tell()


def in_use(repo: Any) -> tuple[int, int]:
    """The bytes of all packs and of the entries of the index, and those of all packs and pages with entries.

    A page is divided when it is full, and half of each is then free for later entries. The file has some
    dozen pages to spare beside: LMDB never writes over a page that the last state needs.
    """
    with repo.store.index.look() as look:
        stat = look.txn.stat()
        entries = sum(_ENTRY + len(key) + len(value) for key, value in look.txn.cursor())
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    packs = repo.store.bytes_on_disk()
    return packs + entries, packs + pages * stat["psize"]


def run_aq(folder: Path) -> Steps:
    """Commit both versions, load, read one column, and compare the rows."""
    import aq

    first, second = versions(folder)
    with aq.init(folder / "aq") as repo:
        repo.commit({"warm": first[:9_000]}, message="warm")
        repo.commit({"warm": first[5:9_000]}, message="warm again")
        repo.get("warm").load()
        repo.diff("main~1", "main")
        clock = Clock(folder / "aq" / ".aq")
        clock("commit v1", lambda: repo.commit({"sales": first}, message="v1"))
        clock("commit v2", lambda: repo.commit({"sales": second}, message="v2"))
        small = clock("commit 1,000 rows", lambda: repo.commit({"small": first[:1_000]}, message="small"))
        assert small.created
        loaded = clock("load", lambda: repo.get("main~2:sales").load())
        pd.testing.assert_frame_equal(loaded[-1000:], first[-1000:])
        del loaded
        clock("load v2", lambda: repo.get("sales").load())
        clock("load as Arrow", lambda: repo.get("main~2:sales").to_arrow())
        clock("one column", lambda: repo.get("main~2:sales").load(columns=[COLUMN]))
        found = clock("row diff", lambda: repo.diff("main~2", "main~1"))
        rows = found.paths[0].detail["rows"]
        many = len(first) // 100
        assert many * 0.9 < rows["changed"] <= many == rows["added"], rows
    return clock.steps


def run_parquet(folder: Path) -> Steps:
    """Write each version to a zstd Parquet file, read the first, and one column of it."""
    first, second = versions(folder)
    path = folder / "v1.parquet"
    first[:9_000].to_parquet(folder / "warm.parquet", compression="zstd")
    pd.read_parquet(folder / "warm.parquet")
    clock = Clock()
    clock("commit v1", lambda: first.to_parquet(path, compression="zstd"))
    clock.steps["commit v1"][2] = path.stat().st_size
    clock("commit v2", lambda: second.to_parquet(folder / "v2.parquet", compression="zstd"))
    clock.steps["commit v2"][2] = (folder / "v2.parquet").stat().st_size
    small = folder / "small.parquet"
    clock("commit 1,000 rows", lambda: first[:1_000].to_parquet(small, compression="zstd"))
    clock.steps["commit 1,000 rows"][2] = small.stat().st_size
    clock("load", lambda: pd.read_parquet(path))
    clock("load v2", lambda: pd.read_parquet(folder / "v2.parquet"))
    clock("load as Arrow", lambda: pq.read_table(path))
    clock("one column", lambda: pd.read_parquet(path, columns=[COLUMN]))
    wanted = table_data.change(first, second)
    clock.steps["the change"] = [None, None, parquet_bytes(wanted)]
    return clock.steps


def run_polars(folder: Path) -> Steps:
    """Read, and compare by a hash of each row and a join on the key."""
    import polars as pl

    def diff() -> tuple[int, int]:
        sides = [pl.read_parquet(folder / f"{name}.parquet") for name in ("v1", "v2")]
        hashed = [side.select("id", hash=side.hash_rows()) for side in sides]
        both = hashed[0].join(hashed[1], on="id", how="full", coalesce=True)
        return both.filter(pl.col("hash").ne_missing(pl.col("hash_right"))).height, both.height

    clock = Clock()
    pl.read_parquet(folder / "warm.parquet")
    clock("load", lambda: pl.read_parquet(folder / "v1.parquet"))
    clock("one column", lambda: pl.read_parquet(folder / "v1.parquet", columns=[COLUMN]))
    clock("row diff", diff)
    return clock.steps


def run_duckdb(folder: Path) -> Steps:
    """Read one column, and compare by a full join on the key."""
    import duckdb

    first, second = (f"read_parquet('{folder / name}.parquet')" for name in ("v1", "v2"))
    columns = [name for name in pq.read_schema(folder / "v1.parquet").names if name != "id"]
    differs = " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in columns)
    join = f"SELECT count(*) FROM {first} a FULL JOIN {second} b ON a.id = b.id"
    where = f"WHERE a.id IS NULL OR b.id IS NULL OR {differs}"
    clock = Clock()
    with duckdb.connect() as database:
        database.execute("SELECT 1").fetchall()
        clock("one column", lambda: database.execute(f"SELECT {COLUMN} FROM {first}").fetchnumpy())
        clock("row diff", lambda: database.execute(f"{join} {where}").fetchall())
    return clock.steps


def run_edits(folder: Path) -> Steps:
    """The new bytes of each edit of one table, committed with nothing but the table before it."""
    import aq

    frame = pyarrow.feather.read_table(folder / "edits.arrow", memory_map=False).to_pandas()
    steps: Steps = {}
    for name, edited, column in table_data.edits(frame):
        with aq.init(folder / "edits") as repo:
            clock = Clock(folder / "edits" / ".aq")
            clock("table", lambda repo=repo: repo.commit({"sales": frame}, message="before"))
            clock(name, lambda repo=repo, edited=edited: repo.commit({"sales": edited}, message="after"))
            steps |= clock.steps
            if column is not None:
                alone = clock("alone", lambda repo=repo, one=edited[[column]]: repo.commit({"alone": one}))
                assert alone.created
                steps[name].append(clock.steps["alone"][2])
        shutil.rmtree(folder / "edits")
    return steps


def run_real(folder: Path, number: str, path: str) -> Steps:
    """Each append of a real set: growth of the files, its rows as zstd Parquet, new bytes as in `in_use`."""
    import aq

    steps: Steps = {}
    with aq.init(folder / "real") as repo:
        clock = Clock(folder / "real" / ".aq")
        for at, (frame, fresh) in enumerate(table_data.REAL[int(number)].versions(Path(path))):
            before = in_use(repo)
            clock("append", lambda frame=frame, at=at: repo.commit({"rows": frame}, message=str(at)))
            new = [now - then for now, then in zip(in_use(repo), before, strict=True)]
            steps[str(at)] = [*clock.steps["append"], parquet_bytes(fresh), *new]
    shutil.rmtree(folder / "real")
    return steps | whole_at_once(folder, frame)


def whole_at_once(folder: Path, frame: pd.DataFrame) -> Steps:
    """All rows in one commit, loaded as Arrow, beside one zstd Parquet file; the median of some rounds."""
    import aq

    path, rounds = folder / "whole.parquet", []
    for _ in range(_ROUNDS):
        with aq.init(folder / "whole") as repo:
            clock = Clock(folder / "whole" / ".aq")
            repo.commit({"warm": frame[:9_000]}, message="warm")
            clock("commit", lambda repo=repo: repo.commit({"rows": frame}, message="all"))
            clock("write", lambda: frame.to_parquet(path, compression="zstd", index=False))
            clock("load", lambda repo=repo: repo.get("rows").to_arrow())
            clock("read", lambda: pq.read_table(path))
        rounds.append(clock.steps | {"parquet": [0.0, 0.0, path.stat().st_size]})
        shutil.rmtree(folder / "whole")
    path.unlink()
    return {
        step: [None if None in told else statistics.median(told) for told in zip(*found, strict=True)]
        for step in rounds[0]
        if (found := [one[step] for one in rounds])
    }


def run_models(folder: Path, count: str) -> Steps:
    """Versions of a model of which one layer changes each time: bytes of each version, and of the layer."""
    import aq

    weights = table_data.model()
    size = list(weights.values())[-1].nbytes
    steps: Steps = {}
    with aq.init(folder / "models") as repo:
        clock = Clock(folder / "models" / ".aq")
        clock("first", lambda: repo.commit({"model": weights}, message="first"))
        for at in range(int(count)):
            weights = table_data.tuned(weights, at)
            clock("version", lambda at=at, weights=weights: repo.commit({"model": weights}, message=str(at)))
            steps[str(at)] = [*clock.steps["version"], size]
    shutil.rmtree(folder / "models")
    return steps


RUNNERS: dict[str, Callable[..., Steps]] = {
    "aq": run_aq,
    "parquet": run_parquet,
    "polars": run_polars,
    "duckdb": run_duckdb,
    "edits": run_edits,
    "real": run_real,
    "models": run_models,
}

if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    print(json.dumps(RUNNERS[what](Path(folder), *rest)))
