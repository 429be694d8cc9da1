"""Models on the screen: the same lines for a tracked file and for a value, hyperparameters before tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aq
import numpy as np
import pytest

from tests.cli.shell import Shell

SCRIPT = """
import pickle, aq, numpy as np
from sklearn.ensemble import RandomForestClassifier
rows = np.arange(60.0).reshape(20, 3) % 7
for trees in (3, 5):
    forest = RandomForestClassifier(trees, random_state=0).fit(rows, rows[:, 0] > 3)
    with aq.open() as repo:
        weights = {"first": np.ones((3, 4), "f4") * trees, "second": np.arange(5)}
        np.savez("weights.npz", **weights)
        open("forest.pkl", "wb").write(pickle.dumps(forest))
        repo.add(["weights.npz", "forest.pkl"])
        repo.commit(message="files")
        repo.commit({"forest": forest, "weights": weights, "alone": weights["first"]}, message="values")
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Two versions of models, each as files and as values. Read only."""
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path_factory.mktemp("models"))
    shell.aq("init")
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=shell.folder, check=True)
    return shell


def after(text: str, word: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return lines[lines.index(word) + 1 :]


@pytest.mark.parametrize("path", ["weights.npz", "weights"])
def test_tensors_have_a_line_each(shell: Shell, path: str) -> None:
    head, first, second = after(shell.aq("show", f"HEAD:{path}").out, "tensors")
    assert head.split() == ["name", "dtype", "shape", "norm", "digest"]
    assert first.split()[:6] == ["first", "float32", "3", "×", "4", "17.32"]
    assert second.split()[:3] == ["second", "int64", "5"]


def test_a_file_reads_like_a_value(shell: Shell) -> None:
    file, value = (shell.aq("show", f"HEAD:{path}").out for path in ("forest.pkl", "forest"))
    for first, behind in (("hyperparameters", "fitted"), ("fitted", "tensors")):
        told = [after(text, first) for text in (file, value)]
        one, other = (sorted(lines[: lines.index(behind)]) for lines in told)
        assert one == other
    assert "n_estimators" in value
    assert "trees" in value
    assert "record of" in value


def test_versions_differ_by_hyperparameters_counts_and_tensors(shell: Shell) -> None:
    lines = [line.strip() for line in shell.aq("diff", "HEAD~2..HEAD").out.splitlines()]
    for name in ("forest.pkl", "forest"):
        start = next(
            at for at, line in enumerate(lines) if line.startswith("changed") and f" {name} " in line
        )
        said = [line.split() for line in lines[start + 1 : start + 8]]
        assert ["n_estimators", "3", "→", "5", "(+2)"] in said
        assert ["trees", "3", "→", "5", "(+2)"] in said
    assert [line.split() for line in lines].count("first moved by 66.67% of its norm".split()) == 2


def test_a_file_that_is_no_model_any_more_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", first=np.ones((3, 4)))
    whole = (tmp_path / "weights.npz").read_bytes()
    with aq.init(tmp_path) as repo:
        for content in (whole, whole[:100], whole):
            (tmp_path / "weights.npz").write_bytes(content)
            repo.add(["weights.npz"])
            repo.commit(message="weights")
    shell = Shell(tmp_path)
    assert "    no longer a model: cannot be read as .npz\n" in shell.aq("diff", "HEAD~2..HEAD~1").out
    assert ", no longer a model\n" in shell.aq("diff", "--stat", "HEAD~2..HEAD~1").out
    assert "    a model now, which it was not: cannot be read as .npz" in shell.aq("diff", "HEAD~1..HEAD").out
    assert shell.data("show", "HEAD~1:weights.npz")["summary"]["unreadable"] == "cannot be read as .npz"


def test_what_differs_beside_tensors_is_counted(shell: Shell) -> None:
    assert "hyperparameters: 1 changed" in shell.aq("diff", "--stat", "HEAD~2..HEAD").out
