"""Figures of matplotlib as results: one PNG whoever draws it, and no step draws on another one's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

FLOW = """
import aq
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure
from pathlib import Path

@aq.op
def curve(height: float):
    figure, axes = pyplot.subplots(figsize=(3, 2), dpi=50)
    axes.plot([0, 1, 2], [0, height, 0])
    return figure

@aq.op(outputs=("figure", "count"))
def bars(heights: list):
    figure = Figure(figsize=(1, 1), dpi=40)
    figure.subplots().bar(range(len(heights)), heights)
    return figure, len(heights)

@aq.op
def beginning(figure: Path) -> str:
    return figure.read_bytes()[1:4].decode()

@aq.flow
def plots(height: float = 1.0):
    beginning(curve(height))
    bars([1, 2, 3])
"""
ON_WHAT_IS_OPEN = """
import aq
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot

@aq.op
def drawn(k: int):
    pyplot.gcf().set_size_inches(1, 1)
    pyplot.plot([0, k], [k, 0])
    return pyplot.gcf()

@aq.op
def saved(k: int):
    pyplot.gcf().set_size_inches(1, 1)
    pyplot.plot([0, k], [k, 0])
    path = aq.Path("figure.png")
    pyplot.savefig(path, metadata={"Software": None})
    return path

@aq.flow
def f(ks: list[int] = [1, 2, 3]):
    aq.map(drawn, ks)
    aq.map(saved, ks)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "flow.py").write_text(FLOW)
    return create(tmp_path)


def ids(repo: Repo, rev: str = "HEAD") -> dict[str, str]:
    return {one.path: one.id for one in repo.ls(rev) if one.origin == "made"}


def test_a_figure_is_stored_as_a_png_that_can_be_looked_at(repo: Repo) -> None:
    assert repo.run("flow.py")[0].status == "committed"
    shown: Any = repo.show("HEAD:plots/curve")
    assert shown.kind == "file" and shown.summary == {
        "text": False,
        "image": "png",
        "width": 150,
        "height": 100,
    }
    data = repo.cat("HEAD:plots/curve")
    assert data.startswith(b"\x89PNG\r\n") and data.endswith(b"IEND\xaeB`\x82") and b"Matplotlib" not in data
    assert repo.get("plots/curve").load() == data
    assert repo.get("plots/beginning").load() == "PNG" and repo.get("plots/bars/count").load() == 3
    shown = repo.show("HEAD:plots/bars/figure")
    assert (shown.summary["width"], shown.summary["height"]) == (40, 40)
    copy = repo.get("plots/curve").save(repo.root / "copy.png")
    assert (repo.root / "copy.png").read_bytes() == data and copy is not False


def test_the_same_figure_is_the_same_artifact_wherever_it_is_drawn(repo: Repo) -> None:
    repo.run("flow.py")
    first = ids(repo)
    assert repo.run("flow.py", force=True)[0].status == "unchanged"
    (again,) = repo.run("flow.py", force=True, jobs=2)
    assert again.steps.run == 3 and again.status == "unchanged" and ids(repo, again.run) == first
    repo.run("flow.py", params={"height": 2})
    found = {one.path: one.change for one in repo.diff("HEAD~1", "HEAD").paths}
    assert found == {"plots/curve": "changed", "plots/beginning": "provenance"}
    assert repo.repro("HEAD").verdict == "identical"


def test_no_step_draws_on_what_another_one_left_open(repo: Repo) -> None:
    (repo.root / "flow.py").write_text(ON_WHAT_IS_OPEN)
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.figure(7).subplots().plot([1, 2], [4, 3])
    repo.run("flow.py")
    assert pyplot.get_fignums() == [7], "those of an op are closed, all others are let be"
    assert len(pyplot.gcf().axes[0].lines) == 1
    pyplot.close(7)
    together = {name: repo.get(name).id for name in ("f/drawn/3", "f/saved/3")}
    repo.run("flow.py", params={"ks": [3]}, force=True)
    assert {name: repo.get(name).id for name in together} == together
