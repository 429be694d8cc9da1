"""Nothing to do is told without importing the user's code, and only where running would find the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.repo import Repo
from msgspec.structs import replace

from tests.pipeline.repository import create

FLOW = """
import os
from pathlib import Path
import aq

os.write(2, b"imported\\n")
LIMIT = 2

@aq.op
def double(x: str, times: int) -> int:
    return int(x) * times * LIMIT

@aq.op
def again(x: int) -> int:
    return x + len(Path("extra.txt").read_text())

@aq.metric(better="higher")
def size(x) -> float:
    return float(x)

@aq.flow
def f(times: int = 3):
    size(again(double(aq.read("n.txt"), times)))
"""
OTHER = """
import aq

@aq.op
def more(x) -> int:
    return x + 1

@aq.flow
def g():
    more(aq.read("f/again"))
"""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "n.txt").write_text("7")
    (tmp_path / "extra.txt").write_text("ab")
    monkeypatch.chdir(tmp_path)
    return create(tmp_path)


class Looks:
    """Runs, and whether the code was imported for it."""

    def __init__(self, repo: Repo, capfd: pytest.CaptureFixture[str]) -> None:
        self.repo, self.capfd = repo, capfd

    def run(self, target: str | None = None, **asked: Any) -> tuple[str, bool]:
        self.capfd.readouterr()
        done = self.repo.run(target, **asked)
        return done.status, "imported" in self.capfd.readouterr().err


@pytest.fixture
def looks(repo: Repo, capfd: pytest.CaptureFixture[str]) -> Looks:
    found = Looks(repo, capfd)
    assert found.run("flow.py") == ("committed", True)
    assert found.run("flow.py") == ("unchanged", False)
    return found


def test_all_ways_to_ask_for_nothing(looks: Looks) -> None:
    events: list[dict[str, Any]] = []
    done = looks.repo.run(on_event=events.append)
    assert [(one["step"], one["status"]) for one in events] == [
        ("f/double", "reused"),
        ("f/again", "reused"),
        ("f/size", "reused"),
    ]
    assert done.steps.reused == 3
    assert done.metrics == {"f/size": 44.0}
    assert done.commit == looks.repo.log()[0].id
    assert looks.repo.runs()[0].run == done.run
    assert looks.repo.runs()[0].status == "unchanged"
    assert looks.run("flow.py:f") == ("unchanged", False)
    planned = looks.repo.run(dry_run=True)
    assert [one.action for one in planned.steps] == ["reuse"] * 3  # type: ignore[union-attr]


def write(path: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text(text) and None


def replaced(old: str, new: str) -> Callable[[Path], None]:
    return write("flow.py", FLOW.replace(old, new))


def made(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).mkdir()


EDITS: dict[str, tuple[Callable[[Path], None], str, bool]] = {
    "a comment": (write("flow.py", "# new\n" + FLOW), "unchanged", False),
    "touched": (lambda root: os.utime(root / "n.txt", (1, 1)), "unchanged", False),
    "code touched": (lambda root: os.utime(root / "flow.py", (1, 1)), "unchanged", False),
    "the same bytes anew": (write("n.txt", "7"), "unchanged", False),
    "data": (write("n.txt", "8"), "committed", True),
    "a hidden read": (write("extra.txt", "abc"), "committed", True),
    "code": (replaced("* LIMIT", "* LIMIT * 1"), "committed", True),
    "a constant": (replaced("LIMIT = 2", "LIMIT = 5"), "committed", True),
    "a default of the flow": (replaced("times: int = 3", "times: int = 4"), "committed", True),
    "a module that hides an import": (write("os.py", "raise SystemExit"), "unchanged", False),
    "an unused file": (write("other.py", "x = 1"), "unchanged", False),
    "the mode of a source": (lambda root: (root / "n.txt").chmod(0o755), "committed", True),
    "a new op": (replaced("    size(", "    double.named('d2')('4', 1)\n    size("), "committed", True),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit(looks: Looks, name: str) -> None:
    edit, status, imported = EDITS[name]
    edit(looks.repo.root)
    assert looks.run() == (status, imported)
    assert looks.run() == ("unchanged", False)


def test_a_link_that_leads_elsewhere(looks: Looks) -> None:
    root = looks.repo.root
    (root / "m.txt").write_text("8")
    (root / "link.txt").symlink_to("n.txt")
    replaced('"n.txt"', '"link.txt"')(root)
    assert looks.run() == ("committed", True)
    (root / "link.txt").unlink()
    (root / "link.txt").symlink_to("m.txt")
    (flow,) = looks.repo.status().flows
    reasons = [(one.step, one.exact, one.reasons[0].detail) for one in flow.stale if one.exact]
    assert reasons == [("f/double", True, "link.txt leads elsewhere")]
    assert looks.run() == ("committed", True)
    assert looks.run() == ("unchanged", False)


def test_what_makes_a_run_do_more(looks: Looks) -> None:
    assert looks.run(force=True) == ("unchanged", True)
    assert looks.run(commit=False) == ("uncommitted", True)
    assert looks.run(tag="t") == ("unchanged", True), "HEAD gets the tag"
    assert looks.run(params={"times": "4"}) == ("committed", True)
    assert looks.run(params={"times": "4"}) == ("unchanged", False)
    assert looks.run() == ("unchanged", False), "the params of the last run are kept"
    assert looks.run("flow.py") == ("committed", True), "a file is run with its defaults"


def test_a_second_flow_that_reads_the_first(looks: Looks) -> None:
    (looks.repo.root / "other.py").write_text(OTHER)
    assert looks.run("other.py") == ("committed", False)
    done = looks.repo.run()
    assert [(one.flow, one.status) for one in done] == [("f", "unchanged"), ("g", "unchanged")]
    (looks.repo.root / "n.txt").write_text("9")
    assert [one.status for one in looks.repo.run()] == ["committed", "committed"]


def test_another_flow_of_the_file_that_never_ran(looks: Looks) -> None:
    (looks.repo.root / "flow.py").write_text(FLOW + OTHER.replace("import aq\n", ""))
    assert looks.run("flow.py:f") == ("unchanged", False)
    assert [one.status for one in looks.repo.run("flow.py")] == ["unchanged", "committed"]
    assert looks.run("flow.py:f") == ("unchanged", False)
    assert looks.run() == ("unchanged", False)


def test_an_op_that_is_never_reused(looks: Looks) -> None:
    replaced("@aq.op\ndef double", "@aq.op(cache='never')\ndef double")(looks.repo.root)
    looks.run()
    assert looks.run() == ("unchanged", True)


def test_a_variable_and_a_package(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"MODE": "a"}
    looks.repo.context = replace(looks.repo.context, environ=environ)
    replaced("def again(x: int) -> int:\n", "def again(x: int) -> int:\n    os.environ.get('MODE')\n")(
        looks.repo.root
    )
    assert looks.run() == ("committed", True)
    assert looks.run() == ("unchanged", False)
    environ["OTHER"] = "b"
    assert looks.run() == ("unchanged", False)
    environ["MODE"] = "b"
    assert looks.run()[1]


def test_nothing_heavy_is_imported(looks: Looks) -> None:
    heavy = "pandas pyarrow numpy zstandard flow importlib.metadata"
    heavy += " aq.pipeline.run.running aq.pipeline.code.syntax aq.pipeline.code.load"
    code = (
        "import sys, aq; r = aq.open('.'); d = r.run(); assert d.status == 'unchanged', d.status\n"
        f"print([m for m in {heavy.split()} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=looks.repo.root, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
