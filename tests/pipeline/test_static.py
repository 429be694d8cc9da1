"""Staleness told from files alone; the table of code_cases is compared in test_fingerprint."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aq.pipeline.code import environs, static
from aq.pipeline.code.fingerprint import fingerprint
from aq.pipeline.code.load import Project
from aq.pipeline.code.static import StaticChange, compare_static, snapshot_static

FLOW = """
    import aq
    import helpers
    from settings import DEPTH
    WINDOW = 3
    NAMES = {"a": 1}
    COMPUTED = helpers.compute()

    @aq.op
    def features(table, k=WINDOW):
        "Doc."
        return helpers.clean(table) * k + len(NAMES)

    @aq.op(retries=1)
    def train(table) -> dict:
        return {"depth": DEPTH + COMPUTED, "rows": helpers.clean(table)}

    @aq.op(version="1")
    def alone(table: int):
        return table

    def wire(table):
        return train(features(table))

    @aq.flow
    def delays(window: int = 3):
        return alone(wire(window))
"""
HELPERS = """
    def clean(table): return table + 1
    def compute(): return inner()
    def inner(): return 7
    def unused(): return 1
"""
FILES = {"flow.py": FLOW, "helpers.py": HELPERS, "settings.py": "DEPTH = 6\nOTHER = 1\n"}
STEPS = ("features", "train", "alone")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


@pytest.fixture
def recorded(root: Path) -> dict[str, Any]:
    with Project(root) as project:
        flow = project.load("flow.py")
        made = snapshot_static(flow.delays, {f"delays/{one}": getattr(flow, one) for one in STEPS}, project)
    found: dict[str, Any] = json.loads(json.dumps(made))
    return found


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))


def look(root: Path, recorded: dict[str, Any], **options: Any) -> list[StaticChange]:
    def read(path: str) -> bytes | None:
        return (root / path).read_bytes() if (root / path).is_file() else None

    return compare_static(recorded, read, **options)


def told(found: list[StaticChange]) -> set[tuple[str | None, bool, str]]:
    return {(one.step and one.step.removeprefix("delays/"), one.exact, one.detail) for one in found}


def test_nothing_changed(root: Path, recorded: dict[str, Any]) -> None:
    assert look(root, recorded) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("flow.py", '"Doc."', '"Other."'),
        ("flow.py", "import aq", "# note\nimport aq"),
        ("flow.py", "return table\n", "return (table)\n"),
        ("helpers.py", "def unused(): return 1", "def unused(): return 2"),
        ("helpers.py", "def unused(): return 1\n", "def more(): return 1\n"),
        ("settings.py", "OTHER = 1", "OTHER = 2"),
        ("settings.py", "OTHER = 1", "import json"),
        ("flow.py", "WINDOW = 3", "WINDOW = 3  # days"),
    ],
)
def test_what_concerns_no_step(root: Path, recorded: dict[str, Any], file: str, old: str, new: str) -> None:
    edit(root, file, old, new)
    assert look(root, recorded) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("flow.py", "return table\n", "return table + 1\n", {("alone", True, "alone() changed")}),
        (
            "helpers.py",
            "table + 1",
            "table + 2",
            {("features", True, "clean() changed"), ("train", True, "clean() changed")},
        ),
        ("flow.py", "WINDOW = 3", "WINDOW = 4", {("features", True, "WINDOW changed")}),
        ("flow.py", 'NAMES = {"a": 1}', 'NAMES = {"a": 1, "b": 2}', {("features", True, "NAMES changed")}),
        ("settings.py", "DEPTH = 6", "DEPTH = 8", {("train", True, "DEPTH changed")}),
        ("settings.py", "DEPTH = 6", "DEPTH = 3 * 2", {("train", False, "DEPTH changed")}),
        (
            "helpers.py",
            "return 7",
            "return 8",
            {(None, False, "inner of helpers.py changed, which an import may use")},
        ),
        ("flow.py", "alone(wire(window))", "wire(window)", {(None, False, "delays() changed")}),
        ("flow.py", "train(features(table))", "train(table)", {(None, False, "wire() changed")}),
        ("flow.py", "window: int = 3", "window: int = 4", {(None, False, "delays() changed")}),
        ("flow.py", "table: int", "table: str", {("alone", False, "how alone() is declared changed")}),
        ("flow.py", "retries=1", "retries=2", {("train", False, "how train() is declared changed")}),
        ("flow.py", 'version="1"', 'version="2"', {("alone", False, "how alone() is declared changed")}),
        ("flow.py", "-> dict", "-> list", {("train", False, "how train() is declared changed")}),
    ],
)
def test_what_an_edit_makes_stale(
    root: Path,
    recorded: dict[str, Any],
    file: str,
    old: str,
    new: str,
    expected: set[tuple[str | None, bool, str]],
) -> None:
    edit(root, file, old, new)
    assert expected <= told(look(root, recorded))
    exact = {one.step for one in look(root, recorded) if one.exact}
    assert exact == {f"delays/{step}" for step, is_exact, _ in expected if is_exact}


def test_a_literal_that_something_else_overrides_is_inexact(root: Path) -> None:
    edit(root, "flow.py", "import aq\n", "import aq\nimport settings\nsettings.DEPTH = 9\n")
    edit(root, "flow.py", "from settings import DEPTH\n", "")
    edit(root, "flow.py", "DEPTH + COMPUTED", "settings.DEPTH + COMPUTED")
    with Project(root) as project:
        flow = project.load("flow.py")
        made = snapshot_static(flow.delays, {"delays/train": flow.train}, project)
    edit(root, "settings.py", "DEPTH = 6", "DEPTH = 7")
    assert told(look(root, made)) >= {("train", False, "DEPTH changed")}
    assert not any(one.exact for one in look(root, made))


def test_a_file_that_is_gone_or_broken(root: Path, recorded: dict[str, Any]) -> None:
    (root / "helpers.py").unlink()
    assert told(look(root, recorded)) == {(None, False, "helpers.py is gone")}
    (root / "helpers.py").write_text("def (\n")
    assert told(look(root, recorded)) == {(None, False, "helpers.py is not valid Python")}


@pytest.mark.parametrize("new", ["helpers/__init__.py", "settings/__init__.py"])
def test_a_new_file_that_hides_another(root: Path, recorded: dict[str, Any], new: str) -> None:
    (root / new).parent.mkdir()
    (root / new).write_text("")
    assert told(look(root, recorded)) == {(None, False, f"{new} is new and is imported instead")}


def test_a_new_import_runs_other_files(root: Path, recorded: dict[str, Any]) -> None:
    (root / "more.py").write_text("import numpy\nnumpy.seterr(all='raise')\n")
    assert look(root, recorded) == []
    edit(root, "helpers.py", "def clean", "import more\ndef clean")
    assert told(look(root, recorded)) == {(None, False, "helpers.py imports other files")}


def test_what_runs_on_import_changed(root: Path, recorded: dict[str, Any]) -> None:
    edit(root, "settings.py", "OTHER = 1", "OTHER = 1\nprint('hello')")
    assert told(look(root, recorded)) == {(None, False, "code that runs on import of settings.py changed")}


def test_another_minor_of_python(root: Path, recorded: dict[str, Any]) -> None:
    recorded["python"] = "3.10"
    now = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert told(look(root, recorded)) == {(step, True, f"python 3.10 → {now}") for step in STEPS}


def test_a_record_without_groups(root: Path, recorded: dict[str, Any]) -> None:
    steps = {name: recorded["groups"][at] for name, at in recorded["steps"].items()}
    first = {**recorded, "version": 1, "steps": steps}
    del first["groups"]
    assert look(root, first) == look(root, recorded) == []
    edit(root, "settings.py", "DEPTH = 6", "DEPTH = 7")
    assert look(root, first) == look(root, recorded) != []


def test_a_record_of_another_version(root: Path, recorded: dict[str, Any]) -> None:
    assert told(look(root, {**recorded, "version": 3})) == {(None, False, "another aq recorded the run")}
    assert told(look(root, {})) == {(None, False, "another aq recorded the run")}


def test_packages_and_variables(root: Path) -> None:
    edit(root, "flow.py", "return table\n", "import os, sklearn; return os.environ['A'], sklearn\n")
    with Project(root) as project:
        flow = project.load("flow.py")
        fingerprint(flow.alone, project, environ={})
        made = snapshot_static(flow.delays, {"delays/alone": flow.alone}, project)
    step = made["groups"][made["steps"]["delays/alone"]]
    assert {"numpy", "scikit-learn", "scipy"} <= step["packages"].keys()
    assert told(look(root, made)) == {
        ("alone", False, "it reads environment variables"),
        (None, False, "its import reads environment variables"),
    }
    assert told(look(root, made, environ={})) == set()
    step["variables"]["A"] = "0"
    step["packages"]["numpy"] = "1.0"
    now = environs.packages_now().installed["numpy"].version
    assert told(look(root, made, environ={})) == {
        ("alone", True, f"numpy 1.0 → {now}"),
        ("alone", True, "the variable A changed"),
    }


def test_code_that_may_run_anything(root: Path) -> None:
    edit(root, "flow.py", "return table\n", "return eval('table')\n")
    with Project(root) as project:
        flow = project.load("flow.py")
        made = snapshot_static(flow.delays, {"delays/alone": flow.alone}, project)
        files = list(project.python_files())
    assert told(look(root, made)) == {("alone", False, "it runs code that cannot be followed")}
    assert look(root, made, python_files=lambda: files) == []
    edit(root, "helpers.py", "def unused(): return 1", "def unused(): return 2")
    changed = {("alone", True, "it may run any code of the project, which changed")}
    assert told(look(root, made, python_files=lambda: files)) == changed
    edit(root, "helpers.py", "def unused(): return 2", "def unused(): return 1")
    (root / "new.py").write_text("x = 1\n")
    assert told(look(root, made, python_files=lambda: [*files, "new.py"])) == changed


def test_a_fingerprint_that_reaches_more_than_the_op(root: Path) -> None:
    """A class in a pickled input: only the fingerprint that was used knows of it."""
    (root / "models.py").write_text("class Model:\n    def predict(self): return 1\n")
    edit(root, "flow.py", "import helpers\n", "import helpers, models\n")
    with Project(root) as project:
        flow = project.load("flow.py")
        reached = fingerprint(flow.alone, project) | fingerprint(flow.models.Model, project)
        steps = {"delays/alone": flow.alone}
        made = snapshot_static(flow.delays, steps, project, reached={"delays/alone": reached})
    edit(root, "models.py", "return 1", "return 2")
    assert told(look(root, made)) == {("alone", True, "Model.predict() changed")}


def test_looking_is_quick_and_imports_nothing(root: Path, recorded: dict[str, Any]) -> None:
    look(root, recorded)
    took = []
    for _ in range(5):
        environs._known.clear()
        began = time.process_time()
        assert look(root, recorded) == []
        took.append(time.process_time() - began)
    assert min(took) < 0.01
    script = "import sys, json; from aq.pipeline.code.static import compare_static\n"
    script += (
        "from pathlib import Path\nread = lambda p: Path(p).read_bytes() if Path(p).is_file() else None\n"
    )
    script += "print(compare_static(json.load(sys.stdin), read))\n"
    script += "heavy = {'pandas', 'pyarrow', 'numpy', 'importlib.metadata', 'ast', 'inspect'}\n"
    script += "print(sorted(heavy & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, input=json.dumps(recorded), capture_output=True, text=True
    )
    assert done.stdout == "[]\n[]\n", done.stderr
    assert static.snapshot_static is snapshot_static


def test_what_an_import_reads_counts_too(root: Path) -> None:
    text = "import json, os\nfrom pathlib import Path\nHERE = Path(__file__).parent\n"
    text += (
        "SETTINGS = json.loads((HERE / 'settings.json').read_text())\nHOME = os.environ.get('AQ_TEST_HOME')\n"
    )
    text += "(HERE / 'out.txt').write_text('x')\n"
    (root / "settings.json").write_text('{"k": 1}')
    (root / "settings.py").write_text(text + "DEPTH = SETTINGS['k']\n")
    with Project(root) as project:
        flow = project.load("flow.py")
        before = fingerprint(flow.train, project, environ={})
        made = snapshot_static(flow.delays, {"delays/train": flow.train}, project)
        assert sorted(project.loaded()) == ["flow.py", "helpers.py", "settings.json", "settings.py"]
    assert look(root, made, environ={}) == []
    assert told(look(root, made)) == {(None, False, "its import reads environment variables")}
    assert told(look(root, made, environ={"AQ_TEST_HOME": "x"})) == {
        (None, False, "the variable AQ_TEST_HOME changed")
    }
    (root / "settings.json").write_text('{"k": 2}')
    assert told(look(root, made, environ={})) == {
        (None, False, "settings.json, which is read on import, changed")
    }
    with Project(root) as project:
        after = fingerprint(project.load("flow.py").train, project, environ={})
    assert after.values["flow:DEPTH"] != before.values["flow:DEPTH"]


def test_a_file_that_an_effect_reads_is_in_the_key(root: Path) -> None:
    (root / "settings.py").write_text(
        "import decimal\ndecimal.setcontext(decimal.Context(int(open('p').read())))\n"
    )
    (root / "flow.py").write_text("import settings\ndef op(x): return x\n")
    (root / "p").write_text("5")
    found = []
    for precision in ("5", "6", "5"):
        (root / "p").write_text(precision)
        script = "import sys; from pathlib import Path; from aq.pipeline.code.load import Project\n"
        script += "from aq.pipeline.code.fingerprint import fingerprint\nwith Project(Path('.')) as p:\n"
        script += "    made = fingerprint(p.load('flow.py').op, p)\nprint(made.code, made.values)"
        done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[2] != found[1]


def test_a_value_that_cannot_be_compared_is_always_stale(root: Path) -> None:
    edit(root, "settings.py", "OTHER = 1", "LINES = (line for line in ())")
    edit(root, "flow.py", "return table\n", "from settings import LINES; return LINES\n")
    with Project(root) as project:
        flow = project.load("flow.py")
        made = snapshot_static(flow.delays, {"delays/alone": flow.alone}, project)
    assert told(look(root, made)) == {("alone", True, "LINES cannot be compared between runs")}


def test_a_clock_read_on_import_is_never_called_current(root: Path) -> None:
    edit(root, "settings.py", "DEPTH = 6", "from datetime import datetime\nDEPTH = datetime.now().year")
    with Project(root) as project:
        flow = project.load("flow.py")
        steps = {"delays/train": flow.train, "delays/alone": flow.alone}
        made = snapshot_static(flow.delays, steps, project)
    assert told(look(root, made)) == {("train", False, "DEPTH may be another value on each import")}
