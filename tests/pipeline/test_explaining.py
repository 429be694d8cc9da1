"""Why a step runs, down to the line: `run -n` and `status` say what `run` then says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.code.places import Places
from aq.pipeline.code.syntax import Source
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create

FLOW = """
import aq
import pandas as pd
from parts import helper

LIMIT = 100
NAMES = {"a": [1, 2]}
BIG = 50 * LIMIT


@aq.op
def clean(flights: pd.DataFrame, n: int) -> pd.DataFrame:
    helper(n, BIG)
    return flights[flights["delay"] < LIMIT + len(NAMES["a"])]


@aq.metric(better="lower")
def mean(t) -> float:
    return float(t["delay"].mean())


@aq.flow
def f(n: int = 3):
    mean(clean(aq.read("a.csv"), n))
"""
PARTS = """
def helper(x, most):
    '''Text.'''
    if x > most:
        x = most
    for one in range(3):
        x += one
    return x
"""
LOOP = "    for one in range(3):\n        x += one\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "a.csv").write_text("delay\n1\n2\n300\n")
    found = create(tmp_path)
    assert found.run("flow.py").status == "committed"
    return found


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("parts.py", "x += one", "x += one + 1", "code: helper() changed (parts.py:7)"),
        ("parts.py", LOOP, "", "code: helper() changed (parts.py:6)"),
        ("parts.py", "'''Text.'''", "x = abs(x)  # more", "code: helper() changed (parts.py:3)"),
        ("parts.py", "def helper(x, most)", "def helper(x, most, *, y=0)", None),
        ("flow.py", "LIMIT = 100", "# higher\nLIMIT = 150", "code: LIMIT: 100 → 150 (flow.py:7)"),
        ("flow.py", "[1, 2]", "[1, 2, 3]", "code: NAMES: {'a': [1, 2]} → {'a': [1, 2, 3]} (flow.py:7)"),
        ("flow.py", "< LIMIT", "<= LIMIT", "code: clean() changed (flow.py:14)"),
        ("a.csv", "300\n", "300\n7\n8\n", "data: a.csv changed: 4 → 6 lines"),
        ("a.csv", "300\n", "30", "data: a.csv changed (4 lines as before)"),
        ("a.csv", "delay\n1\n2\n300\n", "delay", "data: a.csv changed: 4 → 1 line"),
    ],
)
def test_all_three_say_the_same(repo: Repo, file: str, old: str, new: str, told: str | None) -> None:
    path = repo.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    (flow,) = repo.status().flows
    told_of = [why for one in flow.stale if one.step == "f/clean" for why in one.reasons]
    status = [f"{why.kind}: {why.detail}" for why in told_of]
    planned: Any = repo.run(dry_run=True)
    plan = [f"{why.kind}: {why.detail}" for why in planned.steps[0].reasons]
    events: dict[str, list[str]] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            events[event["step"]] = [f"{why['kind']}: {why['detail']}" for why in event["reasons"]]

    repo.run(on_event=hear)
    assert plan == events["f/clean"]
    assert status[0] in plan
    if told is not None:
        assert told in plan
        assert status == [told]


def test_a_param_a_computed_global_and_several_at_once(repo: Repo) -> None:
    path = repo.root / "flow.py"
    path.write_text(path.read_text().replace("BIG = 50", "BIG = 60"))
    planned: Any = repo.run(params={"n": "4"}, dry_run=True)
    reasons = [(why.kind, why.detail) for why in planned.steps[0].reasons]
    assert reasons == [("code", "BIG changed (flow.py:8)"), ("param", "n: 3 → 4")]
    upstream = [(why.kind, why.detail) for why in planned.steps[1].reasons]
    assert upstream == [("upstream", "f/clean runs")]


def test_the_line_of_a_definition() -> None:
    def where(before: str, now: str) -> str:
        sources = {"m.py": Source("m.py", now.encode())}
        return Places(lambda path: before.encode(), sources.get).definition("m.py", "f")

    assert where("def f():\n    a\n    b\n", "# c\n\ndef f():\n    a  # d\n    c\n") == " (m.py:5)"
    assert where("def f():\n    a\n    b\n", "def f():\n    a\n") == " (m.py:2)"
    assert where("def f():\n    a\n", "def f():\n    a\n    b\n") == " (m.py:3)"
    assert where("def f(x=1):\n    a\n", "def f(x=2):\n    a\n") == " (m.py:1)"
    assert where("def f():\n  if a:\n    b\n", "def f():\n  if c:\n    b\n") == " (m.py:2)"
    assert where("def g(): 1", "def f(): 1") == ""
    assert where("def f(:", "def f(): 1") == ""


def test_a_file_read_in_two_forms_is_one_reason(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import aq\nimport pandas as pd\n\n@aq.op\ndef both(a: pd.DataFrame, b: str):\n    return len(b)\n\n"
        "@aq.flow\ndef f():\n    both(aq.read('a.csv'), aq.read('a.csv'))\n"
    )
    (tmp_path / "a.csv").write_text("x\n1\n")
    repo = create(tmp_path)
    repo.run("flow.py")
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    planned: Any = repo.run(dry_run=True)
    assert [why.detail for why in planned.steps[0].reasons] == ["a.csv changed: 2 → 3 lines"]
