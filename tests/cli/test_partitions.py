"""Partitions as a person or a script meets them: real commands, their JSON and exit codes."""

from __future__ import annotations

from pathlib import Path

from tests.cli.shell import Shell

FLOW = """
import os
import aq

os.write(2, b"imported\\n")

@aq.op
def rows(text: str, month: str) -> int:
    return text.split().count(month)

@aq.metric(better="higher")
def size(rows) -> float:
    return float(rows)

@aq.check
def some(size: float) -> bool:
    return size > 0

@aq.flow(partition="month")
def sales(month: str):
    some(size(rows(aq.read("log.txt"), month)))
"""


def test_partitions_from_the_first_run_to_the_last(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "log.txt").write_text("jan jan feb")
    shell.aq("init")
    none = shell.aq("run", "flow.py", code=2)
    assert "month of sales has no value" in none.err and "-p month=VALUE" in none.err
    shell.aq("run", "flow.py", "-p", "month=jan")
    added = shell.aq("run", "-p", "month=feb", "--json").events[-1]
    assert (added["status"], added["partition"]) == ("committed", "month=feb")
    assert added["metrics"] == {"sales/month=feb/size": 1.0}
    assert (
        shell.aq("run", "-p", "month=mar", code=3).out.splitlines()[-3].startswith("sales/month=mar: gated")
    )
    done = shell.aq("run", "--json")
    assert [one.get("status") for one in done.events] == ["reused"] * 3 + ["unchanged"]
    assert "imported" not in done.err and "1 other partition of sales" in str(done.events[-1]["notes"])
    series = shell.aq("metrics", "size", "--json").data
    assert [[point["value"] for point in series[f"sales/month={m}/size"]] for m in ("feb", "jan")] == [
        [1.0],
        [2.0, 2.0],
    ]
    (tmp_path / "log.txt").write_text("jan jan jan feb")
    status = shell.aq("status", "--json")
    assert "imported" not in status.err
    assert [(one["flow"], one["partition"], bool(one["stale"])) for one in status.data["flows"]] == [
        ("sales", "month=feb", True),
        ("sales", "month=jan", True),
    ]
    shell.aq("run")
    assert shell.aq("cat", "sales/*/size").out.split() == ['{"feb":', "1.0,", '"jan":', "3.0}"]
    assert shell.aq("bisect", "size", "HEAD~1..HEAD", "--json").data["metric"] == "sales/size"
    shell.aq("remove", "sales/month=feb")
    assert [one["path"] for one in shell.aq("ls", "HEAD:sales", "--json").data] == [
        f"sales/month=jan/{name}" for name in ("rows", "size", "some")
    ]
