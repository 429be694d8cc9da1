"""Flows typed into a notebook, by a real IPython in a process of its own; scripts and consoles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.loads(sys.stdin.read()):
    done = shell.run_cell(cell, store_history=True, silent=False)
    if done.error_before_exec or done.error_in_exec:
        error = done.error_before_exec or done.error_in_exec
        print("ERROR", type(error).__name__, error, getattr(error, "hint", ""))
        break
"""
RUN = """
done = repo.run(delays)
print('STEPS', done.status, done.steps.run, done.steps.reused, repo.get('delays/second').load())
"""
CELLS = [
    "import numpy as np\nimport aq\nfrom near import shift as move\nrepo = aq.open()",
    "LIMIT = 2 * 50\nNAMES = ['a', 'b']\nunused = object()",
    "class Model:\n    rate = 2\n    def apply(self, x):\n        return x * self.rate",
    "def helper(x: int) -> int:\n    df = x + LIMIT\n    return move(df)",
    "df = object()  # a local name of helper, and no part of the flow",
    "@aq.op\ndef first(n: int) -> int:\n    return helper(n) + len(NAMES)",
    "@aq.op\ndef second(x) -> float:\n    return float(np.sqrt(Model().apply(x)))",
    "@aq.flow\ndef delays(n: int = 3):\n    second(first(n))",
    RUN,
]


def notebook(folder: Path, cells: list[str]) -> list[str]:
    """What the cells print, run by IPython."""
    pytest.importorskip("IPython")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(cells), cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(("STEPS", "ERROR"))]


def aq(folder: Path, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "aq", *words, "--json"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "near.py").write_text("def shift(x):\n    return x + 1\n")
    aq(tmp_path, "init")
    return tmp_path


def test_a_notebook_by_the_rules_of_files(folder: Path) -> None:
    value = ((3 + 100 + 1 + 2) * 2) ** 0.5
    assert notebook(folder, CELLS) == [f"STEPS committed 2 0 {value}"]
    assert notebook(folder, CELLS) == [f"STEPS unchanged 0 2 {value}"], "another kernel, the same cells"
    assert aq(folder, "run")[-1]["status"] == "unchanged", "without any kernel"
    assert aq(folder, "repro", "HEAD")[0]["data"]["verdict"] == "identical"
    again = "def helper(x: int) -> int:\n    return move(x + LIMIT) + 1  # redefined in a cell"
    last = CELLS[-1]
    told = notebook(
        folder, [*CELLS[:-1], last, again, last, "LIMIT = 7", last, CELLS[3], "LIMIT = 100", last]
    )
    other = ((3 + 100 + 1 + 1 + 2) * 2) ** 0.5
    third = ((3 + 7 + 1 + 1 + 2) * 2) ** 0.5
    assert told == [
        f"STEPS unchanged 0 2 {value}",
        f"STEPS committed 2 0 {other}",
        f"STEPS committed 2 0 {third}",
        f"STEPS committed 0 2 {value}",
    ]


def test_a_comment_and_cells_run_in_another_order_are_hits(folder: Path) -> None:
    notebook(folder, CELLS)
    moved = [CELLS[0], CELLS[3] + "  # new", *CELLS[1:3], "", *CELLS[5:]]
    assert [one[:13] for one in notebook(folder, moved)] == ["STEPS unchang"]


def test_what_cannot_stand_in_a_file_is_named(folder: Path) -> None:
    cells = [
        "import aq, pandas as pd\ntable = pd.DataFrame({'a': [1]})\nrepo = aq.open()",
        "@aq.op\ndef first():\n    return len(table)",
        "@aq.flow\ndef f():\n    first()\nrepo.run(f)",
    ]
    (told,) = notebook(folder, cells)
    assert told.startswith("ERROR UsageError cell 2 uses table, a DataFrame of the notebook")
    (folder / "f_cells.py").write_text("x = 1\n")
    cells[1] = cells[1].replace("len(table)", "1")
    (told,) = notebook(folder, cells)
    assert "somebody else wrote it" in told


SEARCH = [
    "import aq\nfrom dataclasses import dataclass\nrepo = aq.open()",
    "@dataclass(frozen=True)\nclass Config:\n    depth: int\n    rate: float = 0.5",
    "@dataclass\nclass Fit:\n    config: Config\n    score: float",
    "DEPTHS = [1, 5, 3]",
    (
        "@aq.op\ndef fit(config: Config):\n    print('at', config.depth)\n"
        "    return Fit(config, config.depth * config.rate)"
    ),
    "@aq.op\ndef best(fits: list) -> float:\n    return max(one.score for one in fits)",
    "@aq.op\ndef sort(fits: dict) -> list:\n    return list(fits.values())",
    "@aq.flow\ndef search():\n    best(sort(aq.map(fit, {f'd{d}': Config(d) for d in DEPTHS})))",
]
SEARCHED = """
done = repo.run(search, jobs=JOBS)
print('STEPS', done.status, done.steps.run, done.steps.reused, repo.get('search/best').load())
"""


def test_a_map_of_values_that_cells_define(folder: Path) -> None:
    here, apart = (SEARCHED.replace("JOBS", jobs) for jobs in ("1", "2"))
    again = SEARCH[1].replace("0.5", "2.0")
    told = notebook(
        folder, [*SEARCH, here, here, "DEPTHS.append(7)", apart, again, apart, "DEPTHS.remove(7)", here]
    )
    assert told == [
        "STEPS committed 5 0 2.5",
        "STEPS unchanged 0 5 2.5",
        "STEPS committed 3 3 3.5",
        "STEPS committed 6 0 14.0",
        "STEPS committed 2 3 10.0",
    ], "a class that is typed anew stands before those that use it"
    (kept,) = notebook(folder, [SEARCH[0], "print('STEPS', repo.logs('search/fit/d5').text.strip())"])
    assert kept == "STEPS at 5"
    assert aq(folder, "run")[-1]["status"] == "unchanged"
    assert aq(folder, "run", "-j", "2", "--force")[-1]["status"] == "unchanged", "the same ids elsewhere"


SCRIPT = """
import aq

@aq.op
def one(n: int) -> int:
    return n + 1

@aq.flow
def f(n: int = 1):
    one(n)

if __name__ == "__main__":
    print(aq.open().run(f).status)
"""


def test_a_script_that_runs_its_own_flow(folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(SCRIPT)

    def run(*words: str, typed: str | None = None) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, capture_output=True, text=True, input=typed, check=False
        )
        return (done.stdout + done.stderr).strip()

    assert run("script.py") == "committed"
    assert run("script.py") == "unchanged"
    script.write_text(SCRIPT.replace("n + 1", "n + 2"))
    assert run("script.py") == "committed"
    assert "unchanged" in run("-i", "script.py", typed="print(aq.open().run(f).status)\n")
    typed = "import aq\n@aq.op\ndef g(): return 1\n\n@aq.flow\ndef h(): g()\n\naq.open().run(h)\n"
    assert "its source is not to be had" in run("-i", "-q", typed=typed)
