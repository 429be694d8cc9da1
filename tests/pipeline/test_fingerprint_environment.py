"""Fingerprints beyond the project's files: packages, variables, notebooks, values without a name."""

from __future__ import annotations

import gc
import importlib
import json
import linecache
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from aq.pipeline.code.fingerprint import Fingerprint, argument, fingerprint
from aq.pipeline.code.load import Project
from aq.pipeline.code.packages import Packages
from aq.pipeline.history import environment

WORKER = Path(__file__).with_name("fingerprint_worker.py")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def of(root: Path, text: str, **options: Any) -> Fingerprint:
    """The fingerprint of `op` in main.py."""
    (root / "main.py").write_text(dedent(text))
    with Project(root) as project:
        return fingerprint(project.load("main.py").op, project, **options)


def key(made: Fingerprint) -> tuple[Mapping[str, str], ...]:
    return made.code, made.values, made.packages, made.variables


# --- packages


def install(
    site: Path, name: str, version: str, requires: str = "", text: str = "", module: str = ""
) -> None:
    module = module or name
    for old in site.glob(f"{name}-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires.splitlines())
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\nText\n"
    )
    (info / "RECORD").write_text(f"{module}/__init__.py,,\n{name}-{version}.dist-info/METADATA,,\n")
    (site / module).mkdir(exist_ok=True)
    (site / module / "__init__.py").write_text(text)


def seen(root: Path, site: Path, text: str) -> dict[str, Any]:
    """The fingerprint of `op` in a fresh process that has the folder on its path."""
    (root / "main.py").write_text(dedent(text) + "\ndef flow(): return op\n")
    listed = root.parent / "list.json"
    listed.write_text(json.dumps([[str(root), "main.py"]]))
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, str(WORKER), str(listed)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)[0]
    return made


def test_a_reachable_package_counts_and_an_unreachable_one_does_not(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    install(site, "alpha", "1.0", requires="beta (>=1)\ngamma>=2; extra == 'more'")
    install(site, "beta", "1.0")
    install(site, "gamma", "1.0")
    text = "import alpha, gamma\ndef op(x): return alpha\ndef other(x): return gamma\n"
    before = seen(root, site, text)
    assert before["packages"] == {"alpha": "1.0", "beta": "1.0"}
    install(site, "gamma", "2.0")
    assert seen(root, site, text) == before
    install(site, "beta", "1.1")
    assert seen(root, site, text)["packages"] == {"alpha": "1.0", "beta": "1.1"}
    install(site, "alpha", "1.1", requires="beta")
    assert seen(root, site, text)["packages"] == {"alpha": "1.1", "beta": "1.1"}


ADDS = """
import pandas as pd, polars as pl
@pd.api.extensions.register_dataframe_accessor("tidy")
class Tidy:
    def __init__(self, table): self.table = table
@pl.api.register_expr_namespace("tidily")
class Tidily:
    def __init__(self, expr): self.expr = expr
def tidied(self): return self
pd.Series.tidied = tidied
"""


def test_a_package_that_only_adds_to_tables_counts_where_that_is_used(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    install(site, "tidying", "1.0", text=ADDS)
    for body, is_used in (("x.tidily.of()", True), ("x.tidied().tidy", True), ("x.tied()", False)):
        text = f"import pandas as pd, tidying\ndef op(x): return {body}\n"
        assert ("tidying" in seen(root, site, text)["packages"]) == is_used, body


@pytest.mark.parametrize(
    "body",
    [
        "import a_module\n    return a_module",
        "from a_module import K\n    return K",
        "import a_module.sub as s",
    ],
)
def test_a_package_imported_inside_the_op_need_not_be_loaded(root: Path, tmp_path: Path, body: str) -> None:
    site = tmp_path / "site-packages"
    install(site, "Some_Dist", "3.1", text="K = 1\n", module="a_module")
    made = seen(root, site, f"def op(x):\n    {body}\n")
    assert made["packages"] == {"some-dist": "3.1"}
    loaded = seen(root, site, f"import a_module\ndef op(x):\n    {body}\n")
    assert loaded["packages"] == made["packages"]
    assert loaded["values"] == made["values"]


def test_packages_reached_by_a_value_count(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    install(site, "alpha", "1.0", text="class A:\n    k = 1\ndef f(): return A()\n")
    for text in (
        "from alpha import f\ndef op(x): return f()",
        "from alpha import f\na = f()\ndef op(x): return a",
    ):
        assert seen(root, site, text)["packages"] == {"alpha": "1.0"}
    base = "import alpha\nclass B(alpha.A): pass\ndef op(x): return B()"
    assert seen(root, site, base)["packages"] == {"alpha": "1.0"}


def test_a_local_package_counts_by_its_files(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "tools").mkdir(parents=True)
    (elsewhere / "tools" / "__init__.py").write_text("import single\nK = 1\n")
    (elsewhere / "single.py").write_text("K = 1\n")
    text = "import tools\ndef op(x): return tools.K\n"
    before = seen(root, elsewhere, text)
    assert sorted(before["packages"]) == ["local:single", "local:tools"]
    assert seen(root, elsewhere, text) == before
    (elsewhere / "single.py").write_text("K = 2\n")
    after = seen(root, elsewhere, text)
    assert after["packages"]["local:single"] != before["packages"]["local:single"]
    assert after["packages"]["local:tools"] == before["packages"]["local:tools"]
    (elsewhere / "tools" / "new.py").write_text("")
    assert seen(root, elsewhere, text)["packages"]["local:tools"] != before["packages"]["local:tools"]


def test_an_editable_package_counts_by_version_and_files(root: Path, tmp_path: Path) -> None:
    source, site = tmp_path / "work", tmp_path / "site-packages"
    (source / "tools").mkdir(parents=True)
    (source / "tools" / "__init__.py").write_text("K = 1\n")
    install(site, "my-tools", "0.1", module="unrelated")
    info = site / "my-tools-0.1.dist-info"
    (info / "direct_url.json").write_text(json.dumps({"url": f"file://{source}"}))
    text = f"import sys\nsys.path.append({str(source)!r})\nimport tools\ndef op(x): return tools.K\n"
    before = seen(root, site, text)["packages"]["my-tools"]
    assert before.startswith("0.1+")
    (source / "tools" / "__init__.py").write_text("K = 2\n")
    assert seen(root, site, text)["packages"]["my-tools"] != before


def test_versions_come_from_the_names_of_folders(tmp_path: Path) -> None:
    install(tmp_path, "Scikit_Learn", "1.5.2", module="sklearn")
    (tmp_path / "old-0.3-py3.11.egg-info").mkdir()
    (tmp_path / "bare.egg-info").mkdir()
    (tmp_path / "bare.egg-info" / "PKG-INFO").write_text("Name: bare\nVersion: 2\n")
    packages = Packages([str(tmp_path), str(tmp_path / "none")])
    found = {name: one.version for name, one in packages.installed.items()}
    assert found == {"scikit-learn": "1.5.2", "old": "0.3", "bare": "2"}
    assert packages.providers("sklearn") == ("scikit-learn",)
    assert packages.providers("nothing") == ()
    before = packages.everything()
    install(tmp_path, "Scikit_Learn", "1.5.3", module="sklearn")
    assert Packages([str(tmp_path)]).everything() != before


def test_the_versions_are_those_of_importlib_metadata() -> None:
    from importlib.metadata import version

    made = Packages().versions(["pandas", "sklearn", "numpy", "json", "aq"])
    assert {"pandas", "numpy", "scikit-learn", "scipy", "python-dateutil", "pyarrow"} <= made.keys()
    assert made == {name: version(name) for name in made}


# --- environment variables


def test_an_environment_variable_is_listed_and_counts_where_it_is_known(root: Path) -> None:
    text = (
        "import os\ndef op(x): return os.environ['A'], os.environ.get('B'), os.getenv('C', 1), os.environ\n"
    )
    made = of(root, text)
    assert made.variables == {}
    assert [line for line in made.opaque if "environment" in line] == [
        "main:op reads the environment variable A",
        "main:op reads the environment variable B",
        "main:op reads the environment variable C",
        "main:op reads environment variables",
    ]
    one, two = of(root, text, environ={"A": "secret"}), of(root, text, environ={"A": "other", "D": "1"})
    assert one.variables.keys() == two.variables.keys() == {"A", "B", "C"}
    assert one.variables["A"] != two.variables["A"]
    assert one.variables["B"] == "unset"
    assert "secret" not in json.dumps(one.variables)


# --- values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("G = (i for i in range(3))", "main:G is a generator"),
        ("G = memoryview(b'a')", "main:G is a memoryview"),
        ("G = {'a': [iter(zip())], 'b': (i for i in ())}", "main:G is a generator"),
        ("class C: pass\nG = C()\nG.f = (i for i in ())", "main:G is a generator"),
        ("G = []\nfor _ in range(100_000): G = [G]", "main:G nests too deep"),
    ],
)
def test_what_cannot_be_compared_never_gives_the_same_twice(root: Path, text: str, told: str) -> None:
    text += "\ndef op(x): return G\n"
    one, two = of(root, text), of(root, text)
    assert one.values["main:G"] != two.values["main:G"]
    assert any(told in line for line in one.opaque), one.opaque


def test_a_value_that_an_import_draws_by_lot_never_hits(root: Path) -> None:
    text = "import random, time\nK = random.SystemRandom().random()\nT = time.time_ns()\n"
    text += "def op(x): return K, T\n"
    one, two = of(root, text), of(root, text)
    assert one.values["main:K"] != two.values["main:K"]
    assert one.values["main:T"] != two.values["main:T"]


def test_the_standard_streams_are_always_the_same(root: Path) -> None:
    text = "import sys, logging\nout = sys.stdout\nhandler = logging.StreamHandler(sys.stderr)\n"
    made = of(root, text + "def op(x): return out, handler\n")
    assert made.opaque == []
    assert key(of(root, text + "def op(x): return out, handler\n")) == key(made)


def test_a_mutable_default_that_a_call_changed(root: Path) -> None:
    (root / "main.py").write_text("def op(x, seen=[]):\n    seen.append(x)\n    return len(seen)\n")
    with Project(root) as project:
        op = project.load("main.py").op
        before = fingerprint(op, project)
        op(1)
        after = fingerprint(op, project)
    assert before.values != after.values
    assert before.opaque == ["main:op changes its mutable default seen from call to call"]


def test_a_global_that_a_call_changed(root: Path) -> None:
    (root / "main.py").write_text("K = {}\ndef op(x):\n    K[x] = 1\n    return len(K)\n")
    with Project(root) as project:
        main = project.load("main.py")
        before = fingerprint(main.op, project)
        main.op(1)
        after = fingerprint(main.op, project)
        main.K.clear()
        again = fingerprint(main.op, project)
    assert before.values != after.values
    assert key(again) == key(before)
    assert before.opaque == ["main:op changes the global K, which outlives the step"]


def test_a_context_variable_that_an_op_sets_outlives_it(root: Path) -> None:
    (root / "main.py").write_text(
        "import contextvars\nV = contextvars.ContextVar('v')\ndef op(x):\n    V.set(x)\n    return x\n"
    )
    with Project(root) as project:
        made = fingerprint(project.load("main.py").op, project)
    assert made.opaque == ["main:op changes the global V, which outlives the step"]


def test_the_same_function_name_in_two_modules(root: Path) -> None:
    (root / "a.py").write_text("def op(x): return x\n")
    (root / "b.py").write_text("def op(x): return x\n")
    with Project(root) as project:
        a, b = (fingerprint(project.load(f"{name}.py").op, project) for name in "ab")
    assert list(a.code) == ["a:op"]
    assert list(b.code) == ["b:op"]


def test_two_fingerprints_join_without_loss(root: Path) -> None:
    text = """
        def make(k):
            def inner(x): return x + k
            return inner
        one, two = make(1), make(2)
        f, g = lambda x: x + 1, lambda x: x + 2
        op = one
    """
    of(root, text)
    with Project(root) as project:
        main = project.load("main.py")
        made = {name: fingerprint(getattr(main, name), project) for name in ("one", "two", "f", "g")}
    assert made["one"] | made["two"] == made["two"] | made["one"]
    assert made["one"] | made["two"] not in (made["one"], made["two"])
    assert made["f"] | made["g"] not in (made["f"], made["g"])
    assert made["one"] | made["one"] == made["one"]


def test_arguments_with_code_are_told_apart_when_exchanged(root: Path) -> None:
    text = """
        def make(k):
            def inner(x): return x + k
            return inner
        def f(): return lambda x: x + 1
        def g(): return lambda x: x + 2
        one, two, three = make(1), make(2), {"a": [f()]}
        op = None
    """
    (root / "main.py").write_text(dedent(text))
    with Project(root) as project:
        main = project.load("main.py")
        tokens = [
            argument(one, project)[0] for one in (main.one, main.two, main.f(), main.g(), main.three, main)
        ]
        assert len(set(tokens)) == len(tokens)
        assert all(len(one) == 64 for one in tokens)
        assert argument(main.make(1), project) == argument(main.one, project)
        assert sorted(argument(main.three, project)[1].code) == ["main:f.<locals>.<lambda>"]


def test_a_function_of_a_library_as_the_op(root: Path) -> None:
    made = of(root, "from sklearn.metrics import roc_auc_score as op\n")
    assert {"scikit-learn", "numpy"} <= made.packages.keys()
    assert made.opaque == []
    assert not made.code
    assert of(root, "from json import dumps as op\n").packages == {}
    assert of(root, "op = len\n").code == {}


# --- notebooks, and modules that something else has loaded


def run_cell(number: int, text: str) -> None:
    """Define things in `__main__` as a notebook does: the source lies in linecache alone."""
    name = f"<ipython-input-{number}-0123456789ab>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), sys.modules["__main__"].__dict__)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_a_function_redefined_in_a_notebook_cell(root: Path, notebook: Any) -> None:
    project = Project(root)
    run_cell(1, "K = 1\ndef clean(x):\n    return x + K\n")
    run_cell(2, "# a cell\ndef op(x):\n    return clean(x)\n")
    first = fingerprint(notebook.op, project)
    assert sorted(first.code) == ["__main__:clean", "__main__:op"]
    run_cell(3, "def clean(x):  # the same again\n    return x + K\n")
    assert key(fingerprint(notebook.op, project)) == key(first)
    run_cell(4, "def clean(x):\n    return x - K\n")
    second = fingerprint(notebook.op, project)
    assert second.code["__main__:clean"] != first.code["__main__:clean"]
    assert second.code["__main__:op"] == first.code["__main__:op"]
    run_cell(5, "K = 2")
    assert fingerprint(notebook.op, project).values != second.values


def test_a_class_and_a_lambda_of_a_notebook(root: Path, notebook: Any) -> None:
    project = Project(root)
    run_cell(1, "class Model:\n    def f(self): return 1\n")
    run_cell(2, "g = lambda x: Model().f()\nop = lambda x: g(x)\n")
    first = fingerprint(notebook.op, project)
    run_cell(1, "class Model:\n    def f(self): return 2\n")
    assert key(fingerprint(notebook.op, project)) != key(first)


def test_a_module_edited_after_it_was_imported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the code in memory, not what the file says by now."""
    (root / "aq_test_edited.py").write_text("def op(x): return x + 1\n")
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    main = importlib.import_module("aq_test_edited")
    try:
        before = fingerprint(main.op, Project(root))
        assert before.opaque == []
        (root / "aq_test_edited.py").write_text("def op(x): return x + 2\n")
        edited = fingerprint(main.op, Project(root))
        assert "is not what its file says now" in edited.opaque[0]
        importlib.reload(main)
        reloaded = fingerprint(main.op, Project(root))
    finally:
        del sys.modules["aq_test_edited"]
    assert len({str(one.code) for one in (before, edited, reloaded)}) == 3


# --- cost

FLOW = "import aq, helpers\nimport pandas as pd\n" + "".join(
    f"""
K{n} = {n}

@aq.op
def op{n}(table: pd.DataFrame, window: int = {n}) -> pd.DataFrame:
    "One of ten."
    rows = helpers.clean(table[table["a"] > K{n}])
    rows["b"] = [row * window + helpers.LIMIT for row in rows["a"]]
    return helpers.Scaler(window).apply(rows)
"""
    for n in range(10)
)
HELPERS = """
LIMIT = 3

def clean(table):
    return other(table).dropna()

def other(table):
    return table[table.a < LIMIT]

class Scaler:
    def __init__(self, k): self.k = k
    def apply(self, table): return table / self.k
"""


def test_ten_ops_of_a_small_project_take_no_time(root: Path) -> None:
    (root / "flow.py").write_text(FLOW)
    (root / "helpers.py").write_text(HELPERS)
    took = []
    for _ in range(5):
        with Project(root) as project:
            flow = project.load("flow.py")
            ops = [getattr(flow, f"op{n}") for n in range(10)]
            gc.collect()
            began = time.process_time()
            found = [fingerprint(one, project) for one in ops]
            took.append(time.process_time() - began)
    assert all(len(one.code) == 6 for one in found)
    assert min(took) < 0.02


def test_the_environment_is_what_the_metadata_of_each_distribution_says() -> None:
    from importlib.metadata import distributions

    told: dict[str, str] = {}
    for one in distributions():
        told.setdefault(one.metadata["Name"].lower().replace("_", "-"), one.version)
    assert environment.capture()["packages"] == dict(sorted(told.items()))


@pytest.mark.parametrize(
    "metadata",
    ["Metadata-Version: 2.1\nName: Odd.Name_x\nVersion: 1.0.post1+local.2\n\nVersion: 9\n", "", None],
)
def test_a_distribution_is_named_as_it_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metadata: str | None
) -> None:
    """By its folder only where its metadata are gone."""
    info = tmp_path / "odd_name_x-1.0.post1.dist-info"
    info.mkdir()
    if metadata is not None:
        (info / "METADATA").write_text(metadata)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    told = {"odd.name-x": "1.0.post1+local.2"} if metadata else {"odd-name-x": "1.0.post1"}
    assert environment.capture()["packages"] == told
