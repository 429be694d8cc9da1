from __future__ import annotations

import importlib
import os
import pickle
import py_compile
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from aq.formats.errors import NotFound, OpFailed, UsageError
from aq.pipeline.code.load import Project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def write(root: Path, **files: str) -> None:
    """`flows__near` is flows/near.py; `pkg____init__` is pkg/__init__.py."""
    for name, text in files.items():
        path = root / (name.replace("____", "/__").replace("__init__", "<>").replace("__", "/") + ".py")
        path = Path(str(path).replace("<>", "__init__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_a_module_is_named_by_its_path_from_the_root(root: Path) -> None:
    write(
        root, flows__main="import near\n", flows__near="K = 1\n", pkg____init__="", pkg__a="", src__lib__b=""
    )
    with Project(root) as project:
        assert project.load("flows/main.py").__name__ == "flows.main"
        assert project.load("pkg/__init__.py").__name__ == "pkg"
        assert project.load("pkg/a.py").__name__ == "pkg.a"
        assert project.load("src/lib/b.py").__name__ == "lib.b"
        assert project.load(str(root / "pkg" / "a.py")) is project.load("pkg/a.py")


def test_a_file_has_one_module_under_all_its_names(root: Path) -> None:
    text = "import near\nfrom flows import near as same\nfrom . import near as third\n"
    write(root, flows__main=text, flows__near="import flows.main\nclass C: pass\n")
    with Project(root) as project:
        main = project.load("flows/main.py")
    assert main.near is main.same is main.third
    assert main.near.__name__ == main.near.__spec__.name == main.near.C.__module__ == "flows.near"


def test_every_file_is_read_once_and_what_was_read_is_what_runs(root: Path) -> None:
    write(root, main="import lib\nclass A: pass\n", lib="K = 1\n")
    with Project(root) as project:
        project.read(root / "lib.py")
        write(root, lib="K = 2\n")
        assert project.load("main.py").lib.K == 1
        assert project.loaded() == {"lib.py": b"K = 1\n", "main.py": b"import lib\nclass A: pass\n"}
    with Project(root) as project:
        assert project.load("main.py").lib.K == 2


def test_no_cache_of_bytecode_is_read_or_written(root: Path) -> None:
    """An edit of the same size in the same second with a warm cache: what importlib itself misses."""
    write(root, main="import lib\n", lib="K = 1\n")
    py_compile.compile(str(root / "lib.py"), doraise=True)
    before = (root / "lib.py").stat()
    cache = sorted((root / "__pycache__").iterdir())
    write(root, lib="K = 2\n")
    os.utime(root / "lib.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    plain = subprocess.run([sys.executable, "-c", "import lib; print(lib.K)"], cwd=root, capture_output=True)
    assert plain.stdout.strip() == b"1", "Python itself no longer falls for it: drop this test"
    with Project(root) as project:
        assert project.load("main.py").lib.K == 2
    assert sorted((root / "__pycache__").iterdir()) == cache


def test_projects_in_one_process_do_not_mix(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    write(root, main="import lib\nclass C: k = lib.K\n", lib="K = 1\n")
    write(old, main="import lib\nclass C: k = lib.K\n", lib="K = 2\n")
    before = sys.modules.get("main")
    with Project(root) as new:
        main = new.load("main.py")
        data = pickle.dumps(main.C())
        with Project(old) as other:
            assert other.load("main.py").C.k == 2
            assert type(pickle.loads(data)).k == 2
        assert type(pickle.loads(data)) is main.C
        assert sys.modules["lib"].K == 1
        with new:
            assert new.load("main.py") is main
    assert sys.modules.get("main") is before
    assert "lib" not in sys.modules
    assert not any(str(root) in entry or str(old) in entry for entry in sys.path)


def test_a_pickle_of_a_project_class_loads_again(root: Path) -> None:
    write(root, flows__main="from near import Model\n", flows__near="class Model: k = 1\n")
    with Project(root) as project:
        data = pickle.dumps(project.load("flows/main.py").Model())
    with Project(root):
        assert pickle.loads(data).k == 1
    script = f"import pickle; print(pickle.loads({data!r}).k)"
    plain = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert plain.stdout.strip() == "1", plain.stderr


def test_modules_imported_in_another_way_come_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, aq_test_main="K = 1\n")
    monkeypatch.syspath_prepend(str(root))
    plain = importlib.import_module("aq_test_main")
    with Project(root) as project:
        own = project.load("aq_test_main.py")
        assert own is not plain
        assert sys.modules["aq_test_main"] is own
    assert sys.modules.pop("aq_test_main") is plain


def test_two_files_each_with_a_neighbour_of_one_name(root: Path) -> None:
    late = "def f():\n    import common\n    return common.K\n"
    write(root, a__x="import common\n" + late, b__y="import common\n" + late)
    write(root, a__common="K = 'a'\n", b__common="K = 'b'\n")
    with Project(root) as project:
        x, y = project.load("a/x.py"), project.load("b/y.py")
        assert (x.common.K, y.common.K) == ("a", "b")
        with project.beside("a/x.py"):
            assert x.f() == "a"
            with project.beside("b/y.py"):
                assert y.f() == "b"
            assert x.f() == "a"


def test_imports_inside_functions_work_after_loading(root: Path) -> None:
    write(root, flows__main="def f():\n    import near\n    return near.K\n", flows__near="K = 1\n")
    with Project(root) as project:
        assert project.load("flows/main.py").f() == 1


def test_what_lies_in_an_environment_is_no_project_code(root: Path) -> None:
    write(root, main="", venv__lib__a="", site__a="", node_modules__a="", _hidden__a="", lib__a="")
    (root / "venv" / "pyvenv.cfg").write_text("")
    (root / "_hidden").rename(root / ".hidden")
    (root / "site").rename(root / "site-packages")
    project = Project(root, exclude=lambda path: path.startswith("lib/"))
    assert list(project.python_files()) == ["main.py"]
    assert not project.holds(root / "venv" / "lib" / "a.py")
    assert not project.holds(root.parent / "a.py")
    with pytest.raises(UsageError, match="not part of the project"):
        project.load("venv/lib/a.py")


def test_folders_named_like_aqs_own_do_not_disturb_it(root: Path) -> None:
    write(root, store____init__="K = 1\n", pipeline="K = 2\n", formats="raise ImportError\n")
    write(root, main="import aq, store, pipeline\nfrom aq.store.system import paths\n")
    with Project(root) as project:
        main = project.load("main.py")
    assert (main.store.K, main.pipeline.K) == (1, 2)
    assert main.aq.__name__ == "aq"


@pytest.mark.parametrize("name", ["calendar", "msgspec"])
def test_a_name_that_is_taken_is_refused(root: Path, name: str) -> None:
    importlib.import_module(name)
    write(root, main=f"def f():\n    import {name}\n", other="x = 1\nx.real\n")
    (root / f"{name}.py").write_text("K = 1\n")
    with Project(root) as project:
        assert project.load("other.py").x == 1
        assert project.load(f"{name}.py").__name__ == f"{name}_"
        assert sys.modules[name].__file__ != str(root / f"{name}.py")
        with pytest.raises(UsageError, match=f"main.py imports {name}, .*: {name}.py") as caught:
            project.load("main.py")
    assert caught.value.hint == f"mv {name}.py my_{name}.py"


def test_files_beside_a_module_can_be_read(root: Path) -> None:
    text = "import importlib.resources, pkgutil\n"
    text += "A = importlib.resources.files('pkg').joinpath('data.txt').read_text()\n"
    text += "B = pkgutil.get_data('pkg', 'data.txt')\n"
    write(root, pkg____init__="", main=text)
    (root / "pkg" / "data.txt").write_text("hello")
    with Project(root) as project:
        main = project.load("main.py")
    assert (main.A, main.B) == ("hello", b"hello")


def test_asserts_are_kept_without_python_O(root: Path) -> None:
    write(root, main="def f():\n    assert False, 'kept'\n")
    script = "import sys; from pathlib import Path; from aq.pipeline.code.load import Project\n"
    script += "with Project(Path(sys.argv[1])) as p: p.load('main.py').f()"
    done = subprocess.run([sys.executable, "-O", "-c", script, str(root)], capture_output=True, text=True)
    assert "AssertionError: kept" in done.stderr


def test_a_traceback_shows_the_lines_that_ran(root: Path) -> None:
    write(root, main="def f():\n    return 1 / 0\n")
    with Project(root) as project:
        main = project.load("main.py")
        write(root, main="# an edit\n# while it\n# runs\n")
        with pytest.raises(ZeroDivisionError) as caught:
            main.f()
    assert "return 1 / 0" in "".join(traceback.format_exception(caught.value))


# --- bad input


def test_a_file_that_does_not_exist(root: Path) -> None:
    write(root, flows__flights="")
    with pytest.raises(NotFound, match=r"no file flows/fligths\.py") as caught:
        Project(root).load("flows/fligths.py")
    assert caught.value.hint == "aq run flows/flights.py"


@pytest.mark.parametrize("file", ["data.csv", ".", "nope.py"])
def test_what_is_no_python_file_leads_to_one_that_has_a_flow(root: Path, file: str) -> None:
    (root / "data.csv").write_text("a,b\n")
    with pytest.raises((UsageError, NotFound)) as nothing:
        Project(root).load(file)
    assert nothing.value.hint == "aq help run"
    write(root, zzz="X = 1", main="import aq\n\n@aq.flow\ndef f(): ...\n")
    with pytest.raises((UsageError, NotFound)) as caught:
        Project(root).load(file)
    assert caught.value.hint == "aq run main.py"


@pytest.mark.parametrize("text", ["x = (\n", "x = 1\n\tx = 2\n", "a\0b\n", "x = '\n"])
def test_a_syntax_error(root: Path, text: str) -> None:
    write(root, main="import lib\n", lib=text)
    with pytest.raises(OpFailed, match=r"^lib\.py:\d+ is not valid Python: |null bytes") as caught:
        Project(root).load("main.py")
    assert "aq/pipeline" not in caught.value.trace
    assert str(root) not in caught.value.trace
    assert "lib.py" in caught.value.trace
    assert caught.value.exit_code == 1


def test_an_exception_on_import(root: Path) -> None:
    write(root, main="import lib\n\nlib.f()\n", lib="import json\ndef f():\n    json.loads('{')\n")
    with pytest.raises(OpFailed) as caught:
        Project(root).load("main.py")
    assert caught.value.message.startswith("main.py cannot be loaded: JSONDecodeError: Expecting property")
    assert caught.value.message.endswith("(lib.py:3)")
    assert [line.strip() for line in caught.value.trace.splitlines() if "File" in line] == [
        'File "main.py", line 3, in <module>',
        'File "lib.py", line 3, in f',
    ]


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import sys; sys.exit()", "raise KeyError"])
def test_a_file_that_ends_the_process(root: Path, text: str) -> None:
    write(root, main=text)
    before = sys.modules.get("main")
    with pytest.raises(OpFailed, match=r"main\.py cannot be loaded: (SystemExit|KeyError)"):
        Project(root).load("main.py")
    assert sys.modules.get("main") is before


def test_a_module_that_fails_once_is_tried_again(root: Path) -> None:
    write(root, main="import lib\n", lib="import no_such_module_anywhere\n")
    project = Project(root)
    for _ in range(2):
        with pytest.raises(OpFailed, match="no_such_module_anywhere"):
            project.load("main.py")
    assert project.loaded() == {}


def test_a_folder_named_like_a_module_of_python(root: Path) -> None:
    write(root, code__train="import near\nclass Model: pass\n", code__near="K = 1\n")
    with Project(root) as project:
        train = project.load("code/train.py")
        assert train.__name__ == "code_.train"
        assert type(pickle.loads(pickle.dumps(train.Model()))) is train.Model
        assert "train" not in dir(importlib.import_module("code"))


def test_a_name_that_something_else_has_loaded(root: Path) -> None:
    """`main` and `tests` exist in the process that runs these tests."""
    write(root, tests__flow="import conftest\nfrom tests.near import K\n", tests__near="K = 1\n")
    write(root, tests__conftest="K = 2\n")
    before = sys.modules["tests"]
    with Project(root) as project:
        flow = project.load("tests/flow.py")
        assert (flow.K, flow.conftest.K) == (1, 2)
    assert sys.modules["tests"] is before


def test_a_file_that_runs_its_own_flow_on_import_is_told_where_to_put_that(root: Path) -> None:
    """`python train.py` would load train.py, which would load train.py, and so on."""
    write(
        root,
        train="from pathlib import Path\nfrom aq.pipeline.code.load import Project\n"
        "Project(Path(__file__).parent).load('train.py')\n",
        other="K = 1\n",
    )
    with Project(root) as project, pytest.raises(UsageError, match=r"train\.py runs a flow when .*__main__"):
        project.load("train.py")
    with Project(root) as project:
        assert project.load("other.py").K == 1
