"""`aq://` through fsspec's own tests for reading, and as pandas, pyarrow, DuckDB and Dask open it."""

from __future__ import annotations

import pickle
import posixpath
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from aq.formats.errors import NotARepository
from aq.pipeline.filesystem import AqFileSystem
from aq.pipeline.repo import Repo
from fsspec.tests import abstract

from tests.pipeline.repository import create

FRAME = pd.DataFrame({"id": range(1000), "x": [0.5] * 1000, "s": ["a", "b"] * 500})


@pytest.fixture(autouse=True)
def registered() -> None:
    fsspec.register_implementation("aq", AqFileSystem, clobber=True)


class Committing(AqFileSystem):
    """As a test of fsspec's writes, it is committed to the repository."""

    cachable = False

    def __init__(self, repo: Any = None, **options: Any) -> None:
        super().__init__(repo=repo, **options)
        self._own = self._repo

    def pipe(self, path: str, value: bytes) -> None:  # type: ignore[override]
        place = self._own.root / path.removeprefix("HEAD/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(value)
        self._own.add([place])
        self._own.commit(message=path)

    def touch(self, path: str, **_: Any) -> None:
        self.pipe(path, b"")

    def makedirs(self, path: str, **_: Any) -> None:
        """Folders come with their files."""

    mkdir = makedirs

    def rm(self, path: str, **_: Any) -> None:
        self._own.remove([self._own.root / path.removeprefix("HEAD/")], delete=True)
        self._own.commit(message="rm")


class TestGet(abstract.AbstractGetTests, abstract.AbstractFixtures):
    """What fsspec asks of any file system: files, folders, globs and lists come out where they should."""

    @pytest.fixture
    def fs(self, tmp_path: Path) -> Iterator[AqFileSystem]:
        with create(tmp_path / "r") as repo:
            (repo.root / "first").write_text("1")
            repo.add(["first"])
            repo.commit(message="first")
            fs = Committing(repo=repo.root)
            fs._own = repo
            yield fs

    @pytest.fixture
    def fs_path(self) -> str:
        return "HEAD"

    @pytest.fixture
    def fs_join(self) -> Any:
        return posixpath.join

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """Two commits: a Parquet and a CSV file and a table, then the table with other values."""
    with create(tmp_path / "r") as made:
        (made.root / "data").mkdir()
        FRAME.to_parquet(made.root / "data" / "f.parquet")
        FRAME.to_csv(made.root / "data" / "f.csv", index=False)
        made.add(["data"])
        made.commit(message="files")
        made.commit({"sales": FRAME, "deep/er/n": 3}, message="values", keys={"sales": ["id"]})
        made.commit({"sales": FRAME.assign(x=1.5)}, message="other values", keys={"sales": ["id"]})
        made.branch("add", "feature/one", at="HEAD~1")
        monkeypatch.chdir(made.root / "data")
        yield made


def test_pandas_polars_and_pyarrow_open_tables_and_files(repo: Repo) -> None:
    pd.testing.assert_frame_equal(pd.read_parquet("aq://main~1/sales"), FRAME)
    pd.testing.assert_frame_equal(pd.read_parquet("aq://main/sales.parquet"), FRAME.assign(x=1.5))
    pd.testing.assert_frame_equal(pd.read_csv("aq://feature/one/sales.csv"), FRAME)
    pd.testing.assert_frame_equal(pd.read_csv("aq://main~2/data/f.csv"), FRAME)
    pd.testing.assert_frame_equal(pd.read_parquet("aq://main/data/f.parquet", columns=["x"]), FRAME[["x"]])
    fs = fsspec.filesystem("aq")
    assert pq.read_table("main/sales", filesystem=fs).num_rows == 1000
    found = ds.dataset("main/data/f.parquet", filesystem=fs).to_table(filter=ds.field("id") < 3)
    assert found["id"].to_pylist() == [0, 1, 2]
    with fsspec.open("aq://main/sales.arrow") as stream:
        assert pl.read_ipc(stream.read()).height == 1000


def test_duckdb_queries_any_revision(repo: Repo) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as base:
        base.register_filesystem(fsspec.filesystem("aq"))
        old, new = ("aq://main~1/sales.parquet", "aq://main/sales.parquet")
        query = f"select sum(b.x - a.x) from '{old}' a join '{new}' b using (id)"
        assert base.execute(query).fetchone() == (1000.0,)


@pytest.mark.slow
def test_dask_reads_in_its_workers(repo: Repo) -> None:
    dataframe = pytest.importorskip("dask.dataframe")
    found = dataframe.read_parquet("aq://main~1/sales", storage_options={"repo": str(repo.root)})
    assert found["id"].sum().compute() == sum(range(1000))


def test_names_from_refs_down_to_paths(repo: Repo) -> None:
    fs = fsspec.filesystem("aq", repo=repo.root)
    assert fs.ls("", detail=False) == ["HEAD", "feature", "main"]
    assert fs.ls("aq://feature", detail=False) == ["feature/one"]
    assert fs.ls("main", detail=False) == ["main/data", "main/deep", "main/sales"]
    assert fs.find("main") == ["main/data/f.csv", "main/data/f.parquet", "main/deep/er/n", "main/sales"]
    assert fs.glob("main/**/*.csv") == ["main/data/f.csv"]
    assert [one[0] for one in fs.walk("main/deep")] == ["main/deep", "main/deep/er"]
    assert fs.isdir("main/deep") and fs.isfile("main/deep/er/n") and not fs.exists("main/nothing")
    assert fs.cat("main/deep/er/n") == b"3\n" and fs.cat_file("main/data/f.csv", 0, 4) == b"id,x"
    commit = repo.log()[0].id
    assert fs.ls(commit[:10], detail=False)[0] == f"{commit[:10]}/data"
    for wrong in ("nothing/x", "main/nothing", "main/data/f.csv/x"):
        with pytest.raises(FileNotFoundError):
            fs.info(wrong)
    with pytest.raises(IsADirectoryError):
        fs.open("main/data")
    with pytest.raises(OSError, match="read-only"):
        fs.open("main/x", "wb")
    with pytest.raises(OSError, match="read-only"):
        fs.rm("main/sales")


def test_sizes_keys_and_times(repo: Repo) -> None:
    fs = fsspec.filesystem("aq", repo=repo.root)
    for path in ("main/sales", "main/sales.csv", "main/data/f.csv", "main/deep/er/n"):
        data = fs.cat(path)
        assert fs.info(path)["size"] == fs.size(path) == len(data)
        assert data == fsspec.filesystem("aq", repo=repo.root).cat(path)
    listed = {one["name"]: one for one in fs.ls("main")}
    assert listed["main/sales"]["size"] == fs.size("main/sales")
    assert fs.ukey("main/sales") != fs.ukey("main~1/sales") and fs.ukey("main/sales") != fs.ukey(
        "main/sales.csv"
    )
    assert fs.ukey("main/data/f.csv") == fs.ukey("main~1/data/f.csv") == repo.get("data/f.csv").id
    times = [entry.time[:19] for entry in repo.log()]
    assert fs.modified("main/sales").isoformat()[:19] == times[0]
    assert fs.modified("main/data/f.csv").isoformat()[:19] == times[2]
    with fs.open("main/sales") as stream:
        stream.seek(-4, 2)
        assert stream.read() == b"PAR1" and stream.tell() == stream.size


def test_it_goes_to_other_processes_and_threads(repo: Repo) -> None:
    fs = pickle.loads(pickle.dumps(fsspec.filesystem("aq")))
    data = fs.cat("main/data/f.parquet")
    with fs.open("main/data/f.parquet") as one, fs.open("main/data/f.parquet") as other:
        assert one.read(10) == other.read(10) == data[:10]
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(
            lambda at: fs.cat_file("main/data/f.parquet", at, at + 999), range(0, len(data), 999)
        )
        assert b"".join(parts) == data


THREAD = """
from threading import Event, Thread
from time import sleep
import fsspec

def read(file):
    file.read(1)
    reading.set()
    sleep(0.05)
    print("done", flush=True)

reading = Event()
Thread(target=read, args=[fsspec.open("aq://main/data/f.csv").open()], daemon=True).start()
reading.wait()
"""
KEPT = "import fsspec; kept = fsspec.open('aq://main/data/f.csv').open(); print(kept.read(2))"


@pytest.mark.parametrize(("code", "told"), [(THREAD, "done\n"), (KEPT, "b'id'\n")], ids=["thread", "kept"])
def test_a_process_ends_after_the_threads_that_read(repo: Repo, code: str, told: str) -> None:
    """Arrow's threads abort a process that ends while they still hold a file."""
    done = subprocess.run([sys.executable, "-c", code], cwd=repo.root, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == (told, "", 0)


@pytest.mark.slow
def test_scripts_that_read_columns_end_well(repo: Repo) -> None:
    code = "import pandas as pd; x = pd.read_parquet('aq://main/sales', columns=['id'])"
    for _ in range(20):
        done = subprocess.run([sys.executable, "-c", code], cwd=repo.root, capture_output=True, text=True)
        assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("cache", ["simplecache", "filecache"])
def test_it_stands_behind_the_caches_of_fsspec(repo: Repo, tmp_path: Path, cache: str) -> None:
    options: dict[str, Any] = {cache: {"cache_storage": str(tmp_path / "cache")}}
    for path in ("main/data/f.csv", "main/sales"):
        with fsspec.open(f"{cache}::aq://{path}", **options) as stream:
            assert stream.read(3) == fsspec.filesystem("aq").cat(path)[:3]
            stream.seek(100)
            assert stream.read(50) == fsspec.filesystem("aq").cat(path)[100:150]


def test_outside_a_repository_it_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(NotARepository) as found:
        fsspec.filesystem("aq", repo=tmp_path)
    assert found.value.hints == ('storage_options={"repo": "FOLDER"}',)


def test_the_entry_point_names_it() -> None:
    project = tomllib.loads((Path(__file__).parent.parent.parent / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["aq"].partition(":")
    assert getattr(import_module(module), name) is AqFileSystem
