"""The process that executes old code: whose fault an end without a result is, and what it says meanwhile."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from aq.formats.errors import AqError, Damaged, Refused
from aq.pipeline.prove.replay import converse

from tests.pipeline.repository import create

FLOW = """
import os, sys
import aq

if os.path.exists({flag!r}):
    {fault}

@aq.op
def load(text: str) -> float:
    return float(text)

@aq.metric(better="higher")
def score(load: float) -> float:
    return load

@aq.flow
def f():
    score(load(aq.read("x.txt")))
"""


def other_side(folder: Path, script: str) -> object:
    with tempfile.TemporaryFile() as said:
        return converse([sys.executable, "-c", script], folder, b"{}", said, lambda event: None)


@pytest.mark.parametrize("error", [Damaged, Refused])
def test_what_is_not_the_codes_fault_is_raised_as_what_it_is(tmp_path: Path, error: type[AqError]) -> None:
    told = {"error": {"kind": error.kind, "message": "it is broken", "hints": ["aq fsck"]}}
    with pytest.raises(error, match="it is broken") as caught:
        other_side(tmp_path, f"print({json.dumps(told)!r})")
    assert caught.value.hint == "aq fsck"


def test_a_bug_of_the_other_side_is_a_bug_here(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "aq.pipeline.prove.replay"]
    with tempfile.TemporaryFile() as said, pytest.raises(RuntimeError, match="required field"):
        converse(command, tmp_path, b"{}", said, lambda event: None)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise ValueError('mine')", "mine"),
        ("os._exit(3)", "ended early"),
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("sys.exit('enough')", "enough"),
    ],
)
def test_old_code_that_fails_is_skipped_with_its_reason(tmp_path: Path, fault: str, said: str) -> None:
    flag, root = tmp_path / "flag", tmp_path / "project"
    root.mkdir()
    (root / "flow.py").write_text(FLOW.format(flag=str(flag), fault=fault))
    repo = create(root)
    ids = []
    for value in (1.0, 0.9, 0.2, 0.1):
        (root / "x.txt").write_text(str(value))
        if value in (1.0, 0.1):
            repo.run("flow.py")
        else:
            repo.commit(message=str(value))
        ids.append(repo.log()[0].id)
    flag.touch()
    found = repo.bisect("score", f"{ids[0]}..{ids[-1]}")
    reasons = [probe.detail for probe in found.path if probe.source == "skipped"]
    assert found.verdict == "inconclusive" and len(reasons) == 2
    assert all(said in reason for reason in reasons), reasons


def test_much_said_on_import_stops_nothing(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "x.txt").write_text("1")
    (tmp_path / "flow.py").write_text(FLOW.format(flag=str(flag), fault="print('said ' * 100_000)"))
    repo = create(tmp_path)
    repo.run("flow.py")
    flag.touch()
    assert repo.repro("HEAD").verdict == "identical"
