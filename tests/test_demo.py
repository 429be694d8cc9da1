"""The demo: refuses what it must, and tells the whole story, shortened, in real processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AQ = (sys.executable, "-P", "-m", "aq")


def aq(*argv: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*AQ, *argv], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def data(*argv: str, cwd: Path) -> Any:
    return json.loads(aq("--json", *argv, cwd=cwd).stdout)["data"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("precious")
    done = aq("demo", "mine", cwd=tmp_path, code=2)
    assert done.stderr == "error: mine exists and is not empty\nhint: aq demo another-folder\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["work.txt"]
    error = json.loads(aq("demo", "mine", "--json", cwd=tmp_path, code=2).stderr)["error"]
    assert error["message"] == "mine exists and is not empty"


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    script = "import sys; sys.modules['sklearn'] = None; from aq.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == 'error: the demo needs scikit-learn\nhint: pip install "aqstore[demo]"\n'
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a shortened demo, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "flights", aq("demo", "--quick", "flights", cwd=folder).stdout


def clean_auc(folder: Path) -> list[float]:
    (series,) = data("metrics", "clean_auc", cwd=folder).values()
    return [point["value"] for point in series]


def test_the_metric_falls_two_months_late_and_recovers(told: tuple[Path, str]) -> None:
    february, august, september, october, november, repaired = clean_auc(told[0])
    assert min(february, august, repaired) > 0.94
    assert min(september, october) > 0.93
    assert november < 0.86


def test_bisect_names_november(told: tuple[Path, str]) -> None:
    folder, printed = told
    found = data("bisect", "clean_auc", "2013-02..2013-11", cwd=folder)
    assert found["culprit"]["message"] == "November"
    assert found["evaluations"]["computed"] == 0
    assert "November" in printed.split("$ aq bisect clean_auc")[1].split("$ aq")[0]


def test_diff_shows_the_unit(told: tuple[Path, str]) -> None:
    (path,) = data("diff", "2013-08..2013-09", "--", "delays/flights", cwd=told[0])["paths"]
    guesses = {column["name"]: column.get("guess") for column in path["detail"]["columns"]}
    assert "hours" in guesses["dep_delay"]


def test_the_repair_reused_what_lies_before_it(told: tuple[Path, str]) -> None:
    steps = {step["step"]: step["status"] for step in data("show", "HEAD", cwd=told[0])["run"]["steps"]}
    assert steps["delays/flights"] == steps["delays/weather"] == "reused"
    assert steps["delays/features"] == steps["delays/model"] == "run"


def test_octobers_predictions_can_be_made_again(told: tuple[Path, str]) -> None:
    proof = data("repro", "2013-10:delays/predictions", cwd=told[0])
    assert proof["verdict"] == "identical"
    assert proof["first_difference"] is None


def bare(text: str) -> list[str]:
    """The lines without what differs from demo to demo: ids, times, where `main` is."""
    text = re.sub(r"\b[0-9a-f]{8,64}\b|\d{4}-\d\d-\d\dT[\d:]+Z|main, ", "", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_readme_shows_what_the_demo_prints(told: tuple[Path, str]) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    (excerpt,) = re.findall(r"^```text\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    shown = [line for line in bare(excerpt) if line != "…" and "December" not in line]
    printed = iter(bare(told[1]))
    assert len(shown) > 10
    assert [line for line in shown if line not in printed] == [], "each line, in this order"


def test_it_ends_with_what_to_try_next(told: tuple[Path, str]) -> None:
    folder, printed = told
    tried = printed.split("Try there:\n")[1].strip().splitlines()
    assert tried[0].strip() == "cd flights"
    for line in (re.split(r"\s{2,}", line.strip())[0] for line in tried[1:]):
        if not line.startswith(("aq run", "aq undo")):
            aq(*line.removeprefix("aq ").split(" | ")[0].split(), cwd=folder)


def test_nothing_is_left_to_do(told: tuple[Path, str]) -> None:
    status = data("status", cwd=told[0])
    assert status["changes"] == [] and status["untracked"] == []
    assert all(flow["stale"] == [] for flow in status["flows"])
    assert aq("run", "-n", cwd=told[0]).returncode == 0


def test_every_line_was_printed_as_it_can_be_typed(told: tuple[Path, str]) -> None:
    typed = [line[2:] for line in told[1].splitlines() if line.startswith("$ ")]
    assert typed[:4] == ["aq init", "python feed.py 2013-01", "aq add .", 'aq commit -m "January: data only"']
    assert "aq repro 2013-10:delays/predictions" in typed
