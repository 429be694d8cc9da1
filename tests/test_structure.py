"""The rules of the building: layers, packages, sizes, the public surface, what may be imported when."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("formats", "store", "pipeline", "cli")
# The rooms of a layer by floors, the lowest first: what lies in one imports nothing from a floor above; those
# of one floor may know each other. "" is the layer's root.
FLOORS = {
    "formats": (
        "",
        "packing",
        "trees",
        "contents",
        "columns",
        "python models dataframes tables",
        "comparing",
        "artifacts",
    ),
    "store": ("system", "commits", "frames", "transactions", "", "folder", "upkeep"),
    "pipeline": (
        "records",
        "code",
        "flow",
        "step",
        "processes",
        "history",
        "look",
        "change",
        "run",
        "prove",
        "",
    ),
}
LINES_MOST_FILE = 400
LINES_MOST_TESTS = 600
LINES_MOST_FUNCTION = 50

# What only cli/ and the root __init__.py may touch.
OUTSIDE = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "os.chdir",
    "os.environ",
    "os.environb",
    "os.getcwd",
    "os.getenv",
    "os.getlogin",
    "os.putenv",
    "pathlib.Path.cwd",
    "pathlib.Path.home",
    "sys.argv",
    "sys.stderr",
    "sys.stdin",
    "sys.stdout",
    "time.localtime",
    "time.time",
    "time.time_ns",
}
OUTSIDE_CALLS = {"print", "input", "breakpoint"}

# Exceptions, each with its reason.
ALLOWED = {
    ("pipeline/step/capture.py", "sys.stderr"): "flushes what an op wrote before its output is put back",
    ("pipeline/step/capture.py", "sys.stdout"): "flushes what an op wrote before its output is put back",
    (
        "pipeline/processes/matching.py",
        "os.environ",
    ): "a worker compares its variables with those of a step",
    ("pipeline/processes/worker.py", "sys.argv"): "the entry point of a process: which socket, and whose",
    (
        "pipeline/flow/presets.py",
        "datetime.datetime.now",
    ): "data is as old as it is when checked",
    (
        "pipeline/prove/replay.py",
        "pathlib.Path.cwd",
    ): "entry point of a process: its folder is an argument",
    ("pipeline/prove/replay.py", "sys.stdin"): "entry point of a process: its input is an argument",
    ("store/system/stats.py", "sys.argv"): "entry point of a process: its folder is an argument",
}

HEAVY = {
    "asyncio",
    "importlib.metadata",
    "numpy",
    "pandas",
    "pathspec",
    "plotext",
    "polars",
    "pyarrow",
    "pyfastcdc",
    "rich",
    "sklearn",
    "zstandard",
}
PUBLIC = [
    "AqError",
    "Artifact",
    "Commit",
    "Conflict",
    "Diff",
    "Path",
    "Repo",
    "__version__",
    "check",
    "checks",
    "flow",
    "init",
    "map",
    "metric",
    "op",
    "open",
    "read",
]


def sources(*layers: str) -> Iterator[Path]:
    """The Python files of some layers; of all of them, and the root's, if none is named."""
    for layer in layers or LAYERS:
        yield from sorted((ROOT / layer).rglob("*.py"))
    if not layers:
        yield from sorted(ROOT.glob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def imported(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every module that a file imports, anywhere in it; `from aq.store import x` also as `aq.store.x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")
            if node.module == "aq":
                yield from ((node, f"aq.{alias.name}") for alias in node.names)


def test_layers_import_only_downward() -> None:
    faults = []
    for rank, layer in enumerate(LAYERS):
        for path in sources(layer):
            for node, name in imported(parsed(path)):
                parts = name.split(".")
                if parts[0] == "aq" and len(parts) > 1 and parts[1] in LAYERS[rank + 1 :]:
                    faults.append(f"{place(path, node)}: {layer} imports {name}")
    assert not faults, "\n".join(faults)


def runtime_imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """`imported`, but for what only annotations need: the parts of a face name its type."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    return imported(tree)


def floor(layer: str, name: str) -> int:
    """The floor on which a room lies; a name that is no room's is that of a file at the layer's root."""
    floors = [rooms.split() or [""] for rooms in FLOORS[layer]]
    found = [rank for rank, rooms in enumerate(floors) if name in rooms]
    return found[0] if found else floors.index([""])


def test_rooms_import_only_downward() -> None:
    faults = []
    for layer in FLOORS:
        for path in sources(layer):
            own = floor(layer, path.parent.name)
            for node, name in runtime_imports(parsed(path)):
                if name.startswith(f"aq.{layer}.") and floor(layer, name.split(".")[2]) > own:
                    faults.append(f"{place(path, node)}: imports {name}")
    assert not faults, "\n".join(faults)


def test_every_room_is_on_a_floor() -> None:
    for layer, floors in FLOORS.items():
        folders = {init.parent.name for init in (ROOT / layer).glob("*/__init__.py")}
        assert folders == set(" ".join(floors).split())


def test_the_package_is_imported_by_its_name_only() -> None:
    faults = []
    for path in sources():
        for node, name in imported(parsed(path)):
            if name.startswith(".") or name.split(".")[0] in LAYERS:
                faults.append(f"{place(path, node)}: {name!r} is not `aq.…`")
    assert not faults, "\n".join(faults)


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`time.time` for an expression that says so, whatever the modules are called in this file."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value, names)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def bound_names(tree: ast.Module) -> dict[str, str]:
    """What the names that a file imports stand for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return names


def test_only_cli_knows_terminal_environment_folder_and_clock() -> None:
    faults = []
    for path in sources("formats", "store", "pipeline"):
        tree = parsed(path)
        names = bound_names(tree)
        for node in ast.walk(tree):
            name = dotted(node, names) if isinstance(node, ast.Name | ast.Attribute) else ""
            touched = name in OUTSIDE and not isinstance(getattr(node, "ctx", None), ast.Store)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name, touched = node.func.id, touched or node.func.id in OUTSIDE_CALLS
            if touched and (str(path.relative_to(ROOT)), name) not in ALLOWED:
                faults.append(f"{place(path, node)}: {name}")
    assert not faults, "\n".join(faults)


def test_no_exception_is_allowed_in_vain() -> None:
    for file, name in ALLOWED:
        assert name.rsplit(".", 1)[-1] in (ROOT / file).read_text("utf-8"), f"{file} no longer needs {name}"


def test_the_guard_sees_what_it_forbids() -> None:
    text = "import time as t, os\nfrom datetime import datetime as d\nt.time(); os.environ['x']; d.now()"
    tree = ast.parse(text)
    names = bound_names(tree)
    seen = {dotted(node, names) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)}
    assert {"time.time", "os.environ", "datetime.datetime.now"} <= seen & OUTSIDE


def test_packages_are_the_folders_on_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = {"aq"}
    for layer in LAYERS:
        for init in (ROOT / layer).rglob("__init__.py"):
            folders.add(".".join(("aq", *init.parent.relative_to(ROOT).parts)))
    assert sorted(listed) == sorted(folders)
    homeless = {path.parent for path in sources() if not (path.parent / "__init__.py").exists()}
    assert not homeless, f"folders of code without __init__.py: {homeless}"


def test_the_public_surface_is_pinned() -> None:
    import aq

    assert sorted(aq.__all__) == sorted(PUBLIC)
    for name in aq.__all__:
        assert getattr(aq, name) is not None


def code_files() -> Iterator[Path]:
    yield from sources()
    for folder in ("benchmarks", "examples", "tests"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_files_fit_on_some_screens() -> None:
    """A table of cases is data, and may be as long as it likes."""
    long = []
    for path in code_files():
        lines, tests = path.read_bytes().count(b"\n"), "tests" in path.relative_to(ROOT).parts
        most = LINES_MOST_TESTS if tests else LINES_MOST_FILE
        if lines > most and not path.stem.endswith("_cases"):
            long.append(f"{path.relative_to(ROOT)}: {lines} lines, {most} at most")
    assert not long, "\n".join(long)


def test_functions_fit_on_one_screen() -> None:
    long = []
    for path in code_files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LINES_MOST_FUNCTION:
                    long.append(f"{place(path, node)}: {node.name} has {lines} lines")
    assert not long, "\n".join(long)


def test_no_module_is_a_grab_bag() -> None:
    assert not [
        path for path in sources() if path.stem in ("utils", "util", "helpers", "helper", "misc", "common")
    ]


def heavy_after(*argv: str, folder: Path) -> set[str]:
    """The heavy modules that are loaded once `aq ARGV` has run; `import aq` alone without arguments."""
    script = (
        "import sys\nimport aq\n"
        "if sys.argv[1:]:\n    from aq.cli.main import invoke\n    from aq.cli.session import Session\n"
        "    assert invoke(sys.argv[1:], Session()) == 0\n"
        f"print('loaded', *(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    word, *found = done.stderr.splitlines()[-1].split()
    assert word == "loaded"
    return set(found)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with two commits and a file changed since."""
    folder = tmp_path_factory.mktemp("light")
    for argv in (["init"], ["add", "a.txt"], ["commit", "-m", "one"]):
        (folder / "a.txt").write_text(" ".join(argv))
        subprocess.run([sys.executable, "-m", "aq", *argv], cwd=folder, check=True, capture_output=True)
    (folder / "a.txt").write_text("later")
    return folder


def test_import_aq_is_light(tmp_path: Path) -> None:
    assert heavy_after(folder=tmp_path) == set()


@pytest.mark.parametrize("command", ["--help", "--version", "log", "status", "run --help", "log --json"])
def test_daily_commands_start_light(command: str, repository: Path) -> None:
    assert heavy_after(*command.split(), folder=repository) == set()


def test_a_users_own_modules_do_not_disturb(tmp_path: Path) -> None:
    for layer in LAYERS:
        (tmp_path / f"{layer}.py").write_text("raise RuntimeError('the wrong module')")
    (tmp_path / "store.py").unlink()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    (tmp_path / "script.py").write_text(
        "import aq, aq.cli.main, aq.pipeline.repo\nprint(aq.init('r').status().branch)"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "main"), done.stderr
