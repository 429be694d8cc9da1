"""Flows that pin what they read to a revision: beside what is there now, and after the revision has moved."""

from __future__ import annotations

from pathlib import Path

import aq
import pytest

FLOWS = """
import aq

@aq.op
def total(text: str) -> float:
    return float(len(text))

@aq.flow
def demo():
    total(aq.read("x.txt"))

@aq.op
def less(now: float, old: float) -> float:
    return now - old

@aq.flow
def pinned():
    less(aq.read("demo/total"), aq.read("v1:total"))
"""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> aq.Repo:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text(FLOWS)
    (tmp_path / "x.txt").write_text("1")
    repo = aq.init(tmp_path)
    repo.run("flow.py:demo", tag="v1")
    (tmp_path / "x.txt").write_text("123")
    repo.run("flow.py")
    return repo


def test_a_run_knows_what_its_pins_were(repo: aq.Repo) -> None:
    assert repo.get("pinned/less").load() == 2.0
    assert repo.repro("HEAD:pinned/less").verdict == "identical"
    repo.tag("remove", "v1")
    assert repo.repro("HEAD:pinned/less").verdict == "identical"


def test_a_pin_that_moves_is_seen_without_importing(repo: aq.Repo) -> None:
    assert [one.status for one in repo.run()] == ["unchanged", "unchanged"]
    repo.tag("remove", "v1")
    repo.tag("add", "v1", at="HEAD")
    stale = [one for flow in repo.status().flows for one in flow.stale]
    assert [(one.step, one.reasons[0].detail) for one in stale] == [("pinned/less", "v1:demo/total changed")]
    assert [one.status for one in repo.run()] == ["unchanged", "committed"]
    assert repo.get("pinned/less").load() == 0.0
    repo.tag("remove", "v1")
    assert [one.reasons[0].detail for one in repo.status().flows[-1].stale] == ["v1:demo/total is gone"]
    with pytest.raises(aq.AqError, match="v1"):
        repo.run()
