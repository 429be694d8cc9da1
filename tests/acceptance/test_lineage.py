"""Lineage names what was really read, also where several paths hold the same content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aq.tests.cli.shell import Shell

FLOW = """
import aq

@aq.op
def left(text: str):
    return len(text)

@aq.op
def right(text: str):
    return len(text)

@aq.op
def both(left, right):
    return [left, right]

@aq.metric
def alone(right):
    return right

@aq.flow
def pair():
    a, b = left(aq.read("a.txt")), right(aq.read("b.txt"))
    both(a, b)
    alone(b)
"""


def shape(node: Any) -> Any:
    return {node["path"]: [shape(one) for one in node["inputs"]]}


def test_equal_contents_keep_their_own_paths(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("p.py", FLOW)
    shell.write("a.txt", "same")
    shell.write("b.txt", "same")
    shell.aq("run", "p.py")
    a, b = {"pair/left": [{"a.txt": []}]}, {"pair/right": [{"b.txt": []}]}
    assert shape(shell.data("lineage", "pair/both")) == {"pair/both": [a, b]}
    assert shape(shell.data("lineage", "pair/alone")) == {"pair/alone": [b]}
    used = {
        path: [use["path"] for use in shell.data("lineage", path, "--downstream")["used_by"]]
        for path in ("a.txt", "b.txt")
    }
    assert used == {"a.txt": ["pair/both", "pair/left"], "b.txt": ["pair/alone", "pair/both", "pair/right"]}
    steps = {step["step"]: step["inputs"] for step in shell.data("steps")}
    assert (steps["pair/left"], steps["pair/both"]) == (["a.txt"], ["pair/left", "pair/right"])
    shell.write("b.txt", "other")
    stale = shell.data("status")["flows"][0]["stale"]
    assert [(one["step"], one["exact"]) for one in stale] == [
        ("pair/right", True),
        ("pair/alone", False),
        ("pair/both", False),
    ]
