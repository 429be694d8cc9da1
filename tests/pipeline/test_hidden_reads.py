"""Files that ops read behind aq's back: found by running them, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from aq.formats.objects import get_record
from aq.formats.records import Step

from tests.pipeline.workshop import Workshop, reasons, states

READERS = {
    "open": "open(PATH).read()",
    "os.open": "os.read(os.open(PATH, os.O_RDONLY), 100)",
    "Path": "pathlib.Path(PATH).read_text()",
    "pandas csv": "pd.read_csv(PATH).to_csv()",
    "pandas csv, pyarrow": "pd.read_csv(PATH, engine='pyarrow').to_csv()",
    "numpy": "str(np.genfromtxt(PATH, delimiter=',', skip_header=1))",
    "polars": "pl.read_csv(PATH).write_csv()",
    "polars, lazily": "pl.scan_csv(PATH).collect().write_csv()",
    "pyarrow csv": "pyarrow.csv.read_csv(PATH).to_pandas().to_csv()",
    "pyarrow memory map": "pa.memory_map(PATH).read().decode()",
    "linecache": "''.join(linecache.getlines(PATH))",
    "glob": "''.join(open(one).read() for one in sorted(glob.glob('data/*.csv')))",
    "json": "str(json.load(open('data/n.json')))",
    "sqlite": "str(sqlite3.connect('data/n.db').execute('select * from t').fetchall())",
    "parquet by pandas": "pd.read_parquet('data/n.parquet').to_csv()",
    "parquet by pyarrow": "pq.read_table('data/n.parquet').to_pandas().to_csv()",
    "parquet by polars": "pl.read_parquet('data/n.parquet').write_csv()",
    "parquet dataset": "pq.ParquetDataset('data/n.parquet').read().to_pandas().to_csv()",
    "parquet by pyarrow.dataset": "ds.dataset('data/n.parquet').to_table().to_pandas().to_csv()",
    "open for update": "open(PATH, 'r+').read()",
    "numpy memmap": "bytes(np.memmap(PATH, dtype='u1'))",
    "asked whether it is there": "os.path.exists('data/maybe.txt')",
    "asked by Path": "pathlib.Path('data/maybe.txt').is_file()",
    "asked for its size": "os.path.getsize('data/sized')",
    "asked by a pattern": "glob.glob('*/maybe.txt')",
    "asked where a link leads": "os.readlink('data/link')",
    "walk by descriptors": "sorted(name for _, _, names, _ in os.fwalk('data/many') for name in names)",
    "duckdb, SQL": "str(duckdb.sql(\"select * from 'data/a.csv'\").fetchall())",
    "duckdb, SQL of a connection": "duckdb.connect().execute('from read_csv(\\'data/a.c*\\')').fetchall()",
    "duckdb, method": "duckdb.connect().read_csv(PATH).fetchall()",
    "duckdb under another name": "sql(\"select * from 'data/a.csv'\").fetchall()",
    "polars under another name": "read_csv(PATH).write_csv()",
    "polars, SQL": "pl.sql(\"select * from read_csv('data/a.csv')\").collect().write_csv()",
    "polars, URL": "pl.read_csv('file://' + os.path.abspath(PATH)).write_csv()",
    "polars schema": "list(pl.read_parquet_schema('data/other.parquet'))",
    "pyarrow stream": "pa.input_stream(PATH).read()",
    "by a process that is forked": "forked(PATH)",
    "named to a program": "subprocess.run(['cat', PATH], capture_output=True).stdout",
    "named in a line for the shell": "os.popen('cat <data/a.csv | tr a b').read()",
}
WRITER = """
import os, sqlite3, sys
import pandas as pd
n = int(sys.argv[1])
pd.DataFrame({"a": [n, 2]}).to_csv("data/a.csv", index=False)
pd.DataFrame({"a": [n, 2]}).to_parquet("data/n.parquet")
pd.DataFrame({f"a{n}": [n, 2]}).to_parquet("data/other.parquet")
open("data/sized", "w").write("x" * n)
for name in ("data/maybe.txt", "data/link", "data/many/1", "data/many/3"):
    if os.path.lexists(name):
        os.remove(name)
if n == 3:
    open("data/maybe.txt", "w").close()
os.symlink(str(n), "data/link")
os.makedirs("data/many", exist_ok=True)
open(f"data/many/{n}", "w").close()
open("data/n.json", "w").write(str(n))
if os.path.exists("data/n.db"):
    os.remove("data/n.db")
with sqlite3.connect("data/n.db") as base:
    base.execute("create table t (a int)")
    base.execute("insert into t values (?)", (n,))
"""


def aq(folder: Path, *words: str, env: dict[str, str] | None = None, code: int = 0) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "aq", *words, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ran(events: list[dict[str, Any]]) -> dict[str, str]:
    return {one["step"].partition("/")[2]: one["status"] for one in events if one.get("event") == "step"}


def test_every_reader_is_seen_and_its_file_counts(tmp_path: Path) -> None:
    """One flow with an op a reader, run in processes of their own, the files changed in between."""
    ops = "".join(
        f"@aq.op\ndef step{at}():\n    return {text.replace('PATH', repr('data/a.csv'))}\n"
        for at, text in enumerate(READERS.values())
    )
    calls = "".join(f"    step{at}()\n" for at in range(len(READERS)))
    (tmp_path / "flow.py").write_text(
        "import glob, json, linecache, os, pathlib, sqlite3\nimport aq\n"
        "import multiprocessing, subprocess\n"
        "def forked(path):\n    with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "        return pool.map(pathlib.Path.read_text, [pathlib.Path(path)])\n"
        "import duckdb, numpy as np, pandas as pd, polars as pl\n"
        "from duckdb import sql\nfrom polars import read_csv\n"
        "import pyarrow as pa, pyarrow.csv, pyarrow.dataset as ds, pyarrow.parquet as pq\n"
        f"{ops}@aq.flow\ndef f():\n    other()\n{calls}@aq.op\ndef other():\n    return 1\n"
    )
    (tmp_path / "data").mkdir()

    def write(n: int) -> None:
        subprocess.run([sys.executable, "-c", WRITER, str(n)], cwd=tmp_path, check=True)

    def kept() -> list[Any]:
        show = "import aq; r = aq.open(); print([r.get(f'f/step{k}').load() for k in range(int(N))])"
        show = show.replace("N", str(len(READERS)))
        done = subprocess.run([sys.executable, "-c", show], cwd=tmp_path, capture_output=True, text=True)
        found: list[Any] = eval(done.stdout)
        return found

    names = {f"step{at}": name for at, name in enumerate(READERS)}
    write(1)
    aq(tmp_path, "init")
    assert set(ran(aq(tmp_path, "run", "flow.py")).values()) == {"run"}
    first = kept()
    assert set(ran(aq(tmp_path, "run", "flow.py")).values()) == {"reused"}
    write(3)
    stale = aq(tmp_path, "status")[0]["data"]["flows"][0]["stale"]
    told = {one["step"].partition("/")[2] for one in stale if one["exact"]}
    now = ran(aq(tmp_path, "run"))
    assert {names[step] for step, state in now.items() if state == "reused" and step in names} == set()
    assert now["other"] == "reused"
    assert told == set(names)
    assert all(one != two for one, two in zip(first, kept(), strict=True))
    write(1)
    assert set(ran(aq(tmp_path, "run")).values()) == {"reused"}, "back to what was seen before"
    assert kept() == first


CONFIG = """
    import json, os
    from functools import lru_cache

    @lru_cache
    def config():
        with open(os.path.join(os.path.dirname(__file__), "settings.json")) as file:
            return json.load(file)

    @aq.op
    def first():
        return config()["a"]

    @aq.op
    def second(x):
        return config()["a"] + x

    @aq.op
    def third():
        return 3

    @aq.flow
    def f():
        second(first())
        third()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.chdir(tmp_path)
    return Workshop(tmp_path)


def test_a_file_kept_in_memory_counts_for_all_that_use_it(shop: Workshop) -> None:
    shop.write(CONFIG)
    (shop.root / "settings.json").write_text('{"a": 1}')
    done = shop.run()
    assert shop.value(done, "f/second") == 2
    (shop.root / "settings.json").write_text('{"a": 5}')
    again = shop.run()
    assert states(again) == {"first": "run", "second": "run", "third": "reused"}
    assert shop.value(again, "f/second") == 10
    assert reasons(again, "first") == [("data", "settings.json changed (read by itself)")]


def test_touched_and_rewritten_with_the_same_bytes_is_a_hit(shop: Workshop) -> None:
    shop.write(CONFIG)
    settings = shop.root / "settings.json"
    settings.write_text('{"a": 1}')
    shop.run()
    os.utime(settings, (1, 1))
    assert set(states(shop.run()).values()) == {"reused"}
    settings.unlink()
    settings.write_text('{"a": 1}')
    assert set(states(shop.run()).values()) == {"reused"}


ODD = """
    import os, pathlib, sys, tempfile, threading

    @aq.op
    def optional():
        try:
            return pathlib.Path("extra.txt").read_text()
        except FileNotFoundError:
            return "none"

    @aq.op
    def scratch():
        with open("scratch.txt", "w") as file:
            file.write(str(os.getpid()))
        return len(pathlib.Path("scratch.txt").read_text()) > 0

    @aq.op
    def threaded():
        found = []
        worker = threading.Thread(target=lambda: found.append(pathlib.Path("thread.txt").read_text()))
        worker.start()
        worker.join()
        return found[0]

    @aq.op
    def listing():
        return len(os.listdir("many"))

    @aq.op
    def making():
        import duckdb

        if not os.path.exists("made"):
            os.mkdir("made")
        with duckdb.connect("made.duckdb") as base:
            base.execute("create or replace table t as select random()")
            return len(base.execute("select * from t").fetchall())

    @aq.op
    def outside():
        return pathlib.Path(OUTSIDE).read_text()

    @aq.op
    def importing():
        import colorsys, near
        return near.X

    @aq.flow
    def f():
        optional(); scratch(); threaded(); listing(); making(); outside(); importing()
"""


def test_what_is_absent_written_listed_or_elsewhere(shop: Workshop, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.txt"
    elsewhere.write_text("out")
    shop.write(f"    OUTSIDE = {str(elsewhere)!r}\n" + ODD)
    (shop.root / "near.py").write_text("X = 1\n")
    (shop.root / "thread.txt").write_text("t")
    (shop.root / "many").mkdir()
    (shop.root / "many" / "a").write_text("a")
    done = shop.run()
    hidden = {
        one.name.partition("/")[2]: sorted(get_record(shop.store, Step, one.step).hidden)
        for one in done.steps
        if one.step
    }
    assert hidden == {
        "optional": ["extra.txt"],
        "scratch": [],
        "threaded": ["thread.txt"],
        "listing": ["many/"],
        "making": [],
        "outside": [str(elsewhere)],
        "importing": [],
    }
    assert any(str(elsewhere) in note for note in done.notes)
    assert set(states(shop.run()).values()) == {"reused"}
    (shop.root / "extra.txt").write_text("there")
    (shop.root / "many" / "b").write_text("b")
    (shop.root / "other.txt").write_text("concerns nobody")
    elsewhere.write_text("new")
    again = shop.run()
    assert {n for n, state in states(again).items() if state == "run"} == {"optional", "listing", "outside"}
    assert reasons(again, "outside") == [("data", f"{elsewhere} changed (read by itself)")]
    assert reasons(again, "optional") == [("data", "extra.txt is new (read by itself)")]
    assert reasons(again, "listing") == [("data", "the files in many/ changed (read by itself)")]
    planned = {one.step: one.action for one in shop.plan()}
    assert set(planned.values()) == {"reuse"}


FAR = """
    import os, pathlib, subprocess, sys, tempfile
    import joblib, pandas as pd

    FAR = pathlib.Path(FOLDER)

    @aq.op
    def plain():
        return open(FAR / "a.csv").read()

    @aq.op
    def home():
        return pathlib.Path("~/a.csv").expanduser().read_text()

    @aq.op
    def hidden():
        return pd.read_csv(FAR / ".store" / "a.csv").to_csv()

    @aq.op
    def native():
        return pd.read_parquet(FAR / "a.parquet").to_csv()

    @aq.op
    def model():
        return joblib.load(FAR / "a.joblib")

    @aq.op
    def listing():
        return [one.name for one in sorted(FAR.glob("many/*.csv"))]

    @aq.op
    def absent():
        return (FAR / "none.txt").exists() or _try(FAR / "none.txt")

    def _try(path):
        try:
            return path.read_text()
        except FileNotFoundError:
            return "none"

    @aq.op
    def scratch():
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write(str(os.getpid()))
            file.flush()
            again = len(open(file.name).read()) > 0
        code = f"open({str(FAR / 'made.txt')!r}, 'w').write('x')"
        subprocess.run([sys.executable, "-c", code], check=True)
        made = (FAR / "made.txt").read_text()
        (FAR / "made.txt").unlink()
        return again, made

    @aq.op
    def system():
        list(open("/proc/self/stat"))
        list(open("/dev/null"))
        import zoneinfo, mimetypes
        mimetypes.init()
        return str(zoneinfo.ZoneInfo("Europe/Berlin"))

    @aq.flow
    def f():
        plain(); home(); hidden(); native(); model(); listing(); absent(); scratch(); system()
"""


def test_files_outside_the_folder_count_but_for_those_of_the_system(
    shop: Workshop, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path_factory.mktemp("far")
    monkeypatch.setenv("HOME", str(far))
    shop.write(f"    FOLDER = {str(far)!r}\n" + FAR)

    def write(n: int) -> None:
        (far / "many").mkdir(exist_ok=True)
        (far / ".store").mkdir(exist_ok=True)
        (far / "many" / f"{n}.csv").write_text("x")
        (far / "a.csv").write_text(f"a\n{n}\n")
        (far / ".store" / "a.csv").write_text(f"a\n{n}\n")
        pd.DataFrame({"a": [n]}).to_parquet(far / "a.parquet")
        joblib.dump(n, far / "a.joblib")

    write(1)
    done = shop.run()
    hidden = {
        one.name.partition("/")[2]: sorted(get_record(shop.store, Step, one.step).hidden)
        for one in done.steps
        if one.step
    }
    assert hidden == {
        "plain": [f"{far}/a.csv"],
        "home": [f"{far}/a.csv"],
        "hidden": [f"{far}/.store/a.csv"],
        "native": [f"{far}/a.parquet"],
        "model": [f"{far}/a.joblib"],
        "listing": [f"{far}/many/"],
        "absent": [f"{far}/none.txt"],
        "scratch": [],
        "system": [],
    }
    assert set(states(shop.run()).values()) == {"reused"}
    write(2)
    (far / "none.txt").write_text("there")
    again = shop.run()
    assert {name for name, state in states(again).items() if state == "reused"} == {"scratch", "system"}
    os.utime(far / "a.csv", (1, 1))
    assert set(states(shop.run()).values()) == {"reused"}


def test_a_file_outside_is_seen_without_importing_and_missed_by_a_reproduction(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    codes = tmp_path_factory.mktemp("far") / "codes.txt"
    codes.write_text("1")
    (tmp_path / "flow.py").write_text(
        "import aq\n\n@aq.op\ndef codes():\n"
        f"    return int(open({str(codes)!r}).read())\n\n"
        "@aq.op\ndef other():\n    return 1\n\n"
        "@aq.flow\ndef f():\n    codes()\n    other()\n"
    )
    aq(tmp_path, "init")
    assert set(ran(aq(tmp_path, "run", "flow.py")).values()) == {"run"}
    assert aq(tmp_path, "run")[-1]["status"] == "unchanged"
    assert aq(tmp_path, "repro", "HEAD")[0]["data"]["verdict"] == "identical"
    codes.write_text("2")
    stale = aq(tmp_path, "status")[0]["data"]["flows"][0]["stale"]
    assert [(one["step"], one["exact"]) for one in stale] == [("f/codes", True)]
    plan = aq(tmp_path, "run", "-n")[0]["data"]["steps"]
    assert {one["step"]: one["action"] for one in plan} == {"f/codes": "run", "f/other": "reuse"}
    for gone in (False, True):
        if gone:
            codes.unlink()
        told = aq(tmp_path, "repro", "HEAD", code=3)[0]["data"]
        first = told["first_difference"]
        assert first["step"] == "f/codes" and first["detail"].count("\n") == 0
        assert first["detail"].startswith(f"{codes} {'is gone' if gone else 'changed'}: ")
    codes.write_text("1")
    assert aq(tmp_path, "run")[-1]["status"] == "unchanged"


def test_programs_and_hosts_are_told(shop: Workshop) -> None:
    shop.write(
        """
        import socket, subprocess

        @aq.op
        def program():
            return subprocess.run(["cat", "flow.py"], capture_output=True).returncode

        @aq.op
        def network():
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", 9))

        @aq.flow
        def f():
            program()
            network()
        """
    )
    notes = shop.run().notes
    assert [note for note in notes if "starts cat" in note]
    assert [note for note in notes if "127.0.0.1:9" in note]
