"""Starting up is a feature: what is imported, and how much it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import Shell

HEAVY = {"pandas", "pyarrow", "numpy", "zstandard", "rich", "plotext", "pathspec", "pyfastcdc", "asyncio"}
HEAVY |= {"importlib.metadata", "sklearn", "statistics", "unittest"}
LIGHT = [
    "--help",
    "--version",
    "help runs",
    "log",
    "log --metric small/score",
    "log --json",
    "status",
    "status --json",
]
LIGHT += ["branch", "tag", "ops", "ls", "show", "metrics", "runs", "config"]


SLOW = {"dataclasses", "difflib", "html", "json", "socket", "tomllib"}
SLOW |= {"aq.store.commits.reach", "aq.pipeline.run.running", "aq.pipeline.step.execution"}
"""A millisecond each, or more: what is typed all day has better ways."""

FLOW = """
import aq

@aq.metric(better="higher")
def score(text: str) -> float:
    return float(text)

@aq.flow
def small():
    score(aq.read("number.txt"))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Commits of a file, a value and a run; a tag; a file changed since."""
    shell = Shell(tmp_path_factory.mktemp("startup"))
    shell.aq("init")
    shell.commit("a.txt", "one\n", "first")
    shell.aq("tag", "add", "v1")
    given = "import aq; aq.open().commit({'score': aq.metric(0.5, better='higher')}, message='given')"
    subprocess.run([sys.executable, "-c", given], cwd=shell.folder, check=True)
    shell.write("flow.py", FLOW)
    shell.write("number.txt", "0.5")
    shell.aq("run", "flow.py")
    shell.write("a.txt", "two\n")
    return shell


CODE = """
import sys
from aq.cli.main import invoke
from aq.cli.session import Session
assert invoke(sys.argv[1:], Session()) == 0
print(*sys.modules, file=sys.stderr)
"""


def imported(folder: Path, *words: str) -> set[str]:
    """The modules that are loaded after `aq WORDS...`."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stderr.split())


@pytest.mark.parametrize("line", LIGHT)
def test_what_does_not_compute_loads_nothing_heavy(line: str, repository: Shell) -> None:
    assert not imported(repository.folder, *line.split()) & HEAVY


def test_only_the_command_that_is_called_is_loaded(repository: Shell) -> None:
    loaded = {name for name in imported(repository.folder, "log") if name.startswith("aq.cli.")}
    assert "aq.cli.log" in loaded
    assert not loaded & {"aq.cli.run", "aq.cli.show", "aq.cli.bisect", "aq.cli.demo", "aq.cli.text_run"}
    overview = {name for name in imported(repository.folder, "--help") if name.startswith("aq.")}
    assert not [name for name in overview if name.startswith(("aq.store", "aq.pipeline"))]


@pytest.mark.parametrize("line", ["log", "status", "run"])
def test_what_is_typed_all_day_loads_nothing_slow(line: str, repository: Shell) -> None:
    assert not imported(repository.folder, *line.split()) & SLOW


ENDING = """
import atexit, sys
from aq.cli.main import main
atexit.register(print, "torn down")
main()
"""


def ends_slowly(folder: Path, *words: str) -> bool:
    argv = [sys.executable, "-c", ENDING, *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    return "torn down" in done.stdout + done.stderr


def test_a_process_is_torn_down_where_it_imported_code_of_the_user(repository: Shell) -> None:
    assert ends_slowly(repository.folder, "run", "-q", "--force")
    assert not ends_slowly(repository.folder, "run", "-q")
    assert not ends_slowly(repository.folder, "log")


UNCLOSED = """
import aq

class Left:
    def __init__(self):
        self.me = self

    def __del__(self):
        with open("left.txt", "w") as file:
            file.write("in a circle")

@aq.op
def write() -> int:
    Left()
    return 1

@aq.flow
def flow():
    write()
"""


def test_what_the_users_code_left_open_is_closed(repository: Shell) -> None:
    (repository.folder / "left.py").write_text(UNCLOSED)
    argv = [sys.executable, "-m", "aq", "run", "-q", "left.py"]
    subprocess.run(argv, cwd=repository.folder, check=True)
    assert (repository.folder / "left.txt").read_text() == "in a circle"


LEFT_OPEN = """
import atexit
import aq

LOG = open("left.log", "w")
atexit.register(lambda: LOG.write("end"))

@aq.op
def one() -> int:
    LOG.write("one ")
    return 1

@aq.op
def two() -> int:
    LOG.write("two ")
    return 2

@aq.flow
def flow():
    one(), two()
"""


def test_what_a_module_left_open_is_written(repository: Shell) -> None:
    """As Python does when it ends: behind the callbacks, which may still use it."""
    (repository.folder / "opened.py").write_text(LEFT_OPEN)
    argv = [sys.executable, "-m", "aq", "run", "-q", "opened.py"]
    subprocess.run(argv, cwd=repository.folder, check=True)
    assert (repository.folder / "left.log").read_text() == "one two end"
