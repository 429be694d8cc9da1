"""Maps in a repository: many at once, ended in the middle, collected, rebuilt, read by others, looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aq.pipeline.repo import Repo

from tests.cli.shell import Shell
from tests.pipeline.repository import create

HEAD = "import os, pathlib\nimport aq\nimport pandas as pd\nHERE = pathlib.Path(__file__).parent\n"
FLOW = """
    COUNT = 4

    @aq.op
    def names() -> list:
        return [f"part {number}" for number in range(COUNT)]

    @aq.op(retries=1)
    def load(name: str, by: int) -> pd.DataFrame:
        print("loading", name)
        with (HERE / "notes.txt").open("a") as file:
            file.write(f"{name} {os.getpid()}\\n")
        return pd.DataFrame({"name": [name], "by": [by]})

    @aq.op
    def rows(table) -> int:
        return len(table)

    @aq.op
    def together(tables: pd.DataFrame, counts: list) -> pd.DataFrame:
        return tables.assign(counts=counts)

    @aq.metric(better="higher")
    def score(table) -> dict:
        return {name: float(by) for name, by in zip(table["name"], table["by"])}

    @aq.flow
    def f(by: int = 2):
        tables = aq.map(load, names(), by=by)
        score(together(tables, aq.map(rows, tables)))
"""


def write(repo: Repo, source: str = FLOW) -> None:
    (repo.root / "flow.py").write_text(HEAD + dedent(source), "utf-8")


def edit(repo: Repo, old: str, new: str) -> None:
    text = (repo.root / "flow.py").read_text("utf-8")
    assert old in text
    (repo.root / "flow.py").write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    with create(tmp_path / "r") as found:
        write(found)
        yield found


def processes(repo: Repo) -> list[str]:
    return [line.rpartition(" ")[2] for line in (repo.root / "notes.txt").read_text().splitlines()]


def test_workers_do_items_and_the_commit_is_the_same(repo: Repo, tmp_path: Path) -> None:
    repo.run("flow.py", jobs=2)
    assert len(processes(repo)) == 4
    with create(tmp_path / "other") as other:
        write(other)
        other.run("flow.py")
        mine, theirs = (
            {one.path: one.id for one in each.ls() if one.origin == "made"} for each in (repo, other)
        )
    assert mine == theirs
    assert sorted(mine) == ["f/load", "f/names", "f/rows", "f/score", "f/together"]
    edit(repo, "COUNT = 4", "COUNT = 6")
    done = repo.run(jobs=2)[0]
    assert len(processes(repo)) == 6
    assert (done.steps.run, done.steps.reused) == (7, 8)
    assert repo.log()[0].metrics["f/score.part 5"] == 2.0


def test_an_interrupted_map_keeps_the_items_that_ended(repo: Repo) -> None:
    edit(repo, 'print("loading", name)', "if (HERE / name).exists(): raise KeyboardInterrupt")
    (repo.root / "part 2").touch()
    with pytest.raises(KeyboardInterrupt):
        repo.run("flow.py")
    (run,) = repo.runs()
    assert run.status == "failed"
    (told,) = [one for one in repo.steps("run:last") if one.step == "f/load"]
    assert (told.status, told.counts) == ("cancelled", {"run": 2, "cancelled": 2})
    assert repo.logs("f/load/part_1").status == "run"
    (repo.root / "part 2").unlink()
    done = repo.run("flow.py")[0]
    assert (done.steps.run, done.steps.reused) == (8, 3)


def test_what_a_map_made_outlives_collecting_and_rebuilding(repo: Repo) -> None:
    repo.run("flow.py")
    edit(repo, "COUNT = 4", "COUNT = 5")
    repo.run()
    repo.gc()
    repo.fsck(rebuild=True)
    assert not repo.fsck(full=True).problems
    assert [frame["name"][0] for frame in repo.get("HEAD~1:f/load").load()] == [f"part {n}" for n in range(4)]
    assert repo.get("f/load/part_4").load()["by"].tolist() == [2]
    assert repo.run()[0].status == "unchanged"


def test_an_item_is_a_path_for_other_flows_and_for_people(repo: Repo) -> None:
    repo.run("flow.py")
    (repo.root / "other.py").write_text(
        "import aq\n@aq.op\ndef half(count: int) -> int:\n    return count * 5\n"
        "@aq.flow\ndef g():\n    half(aq.read('f/rows/part_3'))\n"
        "    aq.map(half.named('each'), aq.read('f/rows'))\n"
    )
    repo.run("other.py")
    assert repo.get("g/half").load() == 5
    assert repo.get("g/each").load() == [5, 5, 5, 5]
    assert all(one.path.startswith("g/each/item-") for one in repo.ls("HEAD:g/each")[1:])
    assert repo.get("rows/part_3").path == "f/rows/part_3"
    assert repo.status().flows[0].stale == []
    made: Any = repo.lineage("f/rows/part_3")
    assert made.inputs[0].path == "f/load/part_3"
    assert [one.path for one in made.inputs[0].inputs] == ["f/names"]
    used: Any = repo.lineage("f/load/part_3", downstream=True)
    assert {"f/together", "f/rows"} <= {one.path for one in used.used_by}
    assert repo.logs("f/load/part_3").text == "loading part 3\n"
    assert [one.path for one in repo.ls("HEAD:f/rows")] == ["f/rows", *(f"f/rows/part_{n}" for n in range(4))]
    shown: Any = repo.show("HEAD:f/rows")
    assert shown.summary == {"type": "list", "length": 4, "items": [f"part_{n}" for n in range(4)]}


def test_a_difference_names_the_items(repo: Repo) -> None:
    repo.run("flow.py")
    edit(repo, "range(COUNT)", "range(1, COUNT + 1)")
    repo.run()
    (load,) = [one for one in repo.diff("HEAD~1..HEAD").paths if one.path == "f/load"]
    assert load.detail["items"] == {"added": ["part_4"], "removed": ["part_0"], "changed": []}


def test_a_failed_item_is_tried_again_and_named(repo: Repo) -> None:
    edit(repo, 'print("loading", name)', 'print("loading", name)\n    assert name != "part 1"')
    done = repo.run("flow.py", keep_going=True)[0]
    assert done.status == "failed" and done.steps.failed == 1
    assert done.error is not None and done.error["step"] == "f/load/part_1"
    assert repo.logs("f/load/part_1").text.count("loading part 1") == 2
    assert "f/load/part_1  failed" in repo.logs("f/load").text


def test_a_map_is_a_line_for_people_and_items_for_programs(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", HEAD + dedent(FLOW))
    first = shell.aq("run", "flow.py")
    lines = [line for line in first.err.splitlines() if line.startswith("f/load")]
    assert len(lines) == 1 and "4 ran" in lines[0]
    shell.write("flow.py", HEAD + dedent(FLOW).replace("COUNT = 4", "COUNT = 5"))
    planned = shell.aq("run", "-n").out.splitlines()
    assert [line.split()[:2] for line in planned] == [
        ["f/names", "run"], ["f/load", "run"], ["f/rows", "run"], ["f/together", "run"], ["f/score", "run"],
    ]  # fmt: skip
    events = shell.aq("run", "--json").events
    states = {one["step"]: one["status"] for one in events if one["event"] == "step"}
    assert states["f/load/part_4"] == "run" and states["f/load/part_3"] == "reused"
    assert "f/load" not in states and events[-1]["steps"]["total"] == 13
    again = shell.data("run", "-n")["steps"]
    assert len(again) == 13 and {one["action"] for one in again} == {"reuse"}
