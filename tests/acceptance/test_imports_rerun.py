"""Edits around imports and variables: what `aq run` says after one is what `aq run --force` makes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aq
import pytest


@dataclass(frozen=True)
class Edit:
    """`flow`: the body of flow.py without its flow; `then`: files (None: gone) and variables of the edit."""

    flow: str
    files: dict[str, str] = field(default_factory=dict)
    then: dict[str, str | None] = field(default_factory=dict)
    variable: str | None = None


MAKER = """import other
def __getattr__(name):
    if name[0] == '_': raise AttributeError
    return other.make(name)
"""
FAST = "try:\n    from fast import go\nexcept ImportError:\n    def go(): return 'slow'\n"
READ = "import os\n@aq.op\ndef op(): return "
OF_LIB = "import lib\n@aq.op\ndef op(): return lib.X\n"
GETTER = "import os\ndef get(name): return os.environ.get(name)\n"

EDITS = {
    "a name that __getattr__ of a module makes": Edit(
        "from lib import word\n@aq.op\ndef op(): return word\n",
        {"lib.py": MAKER, "other.py": "def make(name): return name + '1'\n"},
        {"other.py": "def make(name): return name + '2'\n"},
    ),
    "modules listed by pkgutil": Edit(
        "import importlib, pkgutil, plug\nnames = [one.name for one in pkgutil.iter_modules(plug.__path__)]\n"
        "found = [importlib.import_module('plug.' + name) for name in names]\n"
        "@aq.op\ndef op(): return [one.go() for one in found]\n",
        {"plug/__init__.py": "", "plug/p1.py": "def go(): return 1\n"},
        {"plug/p2.py": "def go(): return 2\n"},
    ),
    "an optional module that begins to fail": Edit(
        FAST + "@aq.op\ndef op(): return go()\n",
        {"fast.py": "def go(): return 'fast'\n"},
        {"fast.py": "import nowhere_at_all\ndef go(): return 'fast'\n"},
    ),
    "a name that an optional module has no longer": Edit(
        FAST + "@aq.op\ndef op(): return go()\n",
        {"fast.py": "from lib import a\ndef go(): return 'fast'\n", "lib.py": "a = 1\n"},
        {"fast.py": "from lib import a, b\ndef go(): return 'fast'\n"},
    ),
    "a file that an import asks for": Edit(
        "import os\nHAS = os.path.exists('extra.csv')\n@aq.op\ndef op(): return HAS\n",
        then={"extra.csv": "a"},
    ),
    "a file that a flow asks for": Edit(
        "import pathlib\n@aq.op\ndef op(x=None): return x\n"
        "@aq.flow\ndef f():\n    op(pathlib.Path('extra.csv').exists())\n",
        then={"extra.csv": "a"},
    ),
    "a table that DuckDB reads on import": Edit(
        OF_LIB,
        {"lib.py": "import duckdb\nX = duckdb.sql(\"from 'a.csv'\").fetchall()\n", "a.csv": "a\n1\n"},
        {"a.csv": "a\n2\n"},
    ),
    "a variable by a helper": Edit(
        "import lib\n@aq.op\ndef op(): return lib.get('AQ_TEST_VARIABLE')\n", {"lib.py": GETTER}, variable="2"
    ),
    "a variable by a helper, on import": Edit(
        OF_LIB,
        {"lib.py": "from settings import get\nX = get('AQ_TEST_VARIABLE')\n", "settings.py": GETTER},
        variable="2",
    ),
    "a variable by a name in a global": Edit(
        "NAME = 'AQ_TEST_VARIABLE'\n" + READ + "os.environ.get(NAME)\n", variable="2"
    ),
    "whether there is a variable": Edit(READ + "'AQ_TEST_VARIABLE' in os.environ\n", variable="2"),
    "a variable out of a copy": Edit(READ + "dict(os.environ).get('AQ_TEST_VARIABLE')\n", variable="2"),
    "a variable among all": Edit(
        READ + "[v for k, v in os.environ.items() if k == 'AQ_TEST_VARIABLE']\n", variable="2"
    ),
    "a variable by a keyword": Edit(READ + "os.getenv(key='AQ_TEST_VARIABLE')\n", variable="2"),
}


def write(root: Path, files: dict[str, str | None] | dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text or "")


def value(repo: aq.Repo, **asked: Any) -> tuple[str, str]:
    """(what became of the step, its value)."""
    events: list[dict[str, Any]] = []
    (done,) = repo.run("flow.py", on_event=events.append, **asked)
    (state,) = [one["status"] for one in events if one["event"] == "step"]
    return state, repr(repo.get(f"{done.run}:f/op").load())


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = EDITS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AQ_TEST_VARIABLE", raising=False)
    flow = "" if "@aq.flow" in edit.flow else "@aq.flow\ndef f():\n    op()\n"
    write(tmp_path, {"flow.py": "import aq\n" + edit.flow + flow, **edit.files})
    repo = aq.init(tmp_path)
    before = value(repo)
    assert value(repo) == ("reused", before[1])
    assert value(repo, commit=False) == ("reused", before[1]), "with the code imported"
    write(tmp_path, edit.then)
    if edit.variable:
        monkeypatch.setitem(os.environ, "AQ_TEST_VARIABLE", edit.variable)
    assert [one.flow for one in repo.status().flows if one.stale] == ["f"]
    after = value(repo)
    assert after == ("run", value(repo, force=True, commit=False)[1])
    assert after[1] != before[1]
