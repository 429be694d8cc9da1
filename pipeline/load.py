"""`Project`: a folder of user code, loaded from the very bytes that are digested.

Invariant: within one project a file is read once, and what runs is what was read. While a project
is entered, `sys.modules` holds its modules and no other project's; leaving puts back what was
there. Module names follow the path from the root (docs/format.md, section 10).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import format_exception_only
from types import ModuleType
from typing import Final, Self

from aq.formats.errors import AqError, NotFound, OpFailed, UsageError
from aq.pipeline.frames import last_place, one_line, trimmed
from aq.pipeline.importing import ProjectFinder
from aq.pipeline.resolving import candidates
from aq.pipeline.syntax import Source

IGNORED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
"""Folders that never hold code of a project, besides hidden ones and virtual environments."""


class Project:
    """The user's code under `root`: a work tree, or an exported commit.

    `exclude` says of a path from the root whether it is no part of the project.
    """

    def __init__(self, root: Path, *, exclude: Callable[[str], bool] | None = None) -> None:
        self.root = Path(os.path.realpath(root))
        self.exclude = exclude
        self.memo: dict[object, object] = {}
        self.names: set[str] = set()
        self.modules: dict[str, ModuleType] = {}
        self.loaders: dict[str, str] = {}
        self.loading: list[str] = []
        self._prefix = str(self.root).rstrip(os.sep) + os.sep
        self._folder = ""
        self._data: dict[str, bytes] = {}
        self._sources: dict[str, Source] = {}
        self._environments: dict[str, bool] = {}
        self._own: dict[str, dict[str, ModuleType]] = {}
        self._foreign: dict[str, ModuleType] = {}
        self._depth = 0
        self._finder = ProjectFinder(self)
        self._path: list[str] = []

    # --- what belongs to it

    def relative(self, file: str | Path) -> str | None:
        """The path from the root, `/`-separated; None for what is no part of the project."""
        text = os.path.normpath(str(file))
        if not text.startswith(self._prefix):
            text = os.path.realpath(text)
            if not text.startswith(self._prefix) and text != str(self.root):
                return None
        path = text[len(self._prefix) :].replace(os.sep, "/")
        return None if self._is_ignored(path) else path

    def holds(self, file: str | Path) -> bool:
        """Whether a file or folder is part of the project."""
        return self.relative(file) is not None

    def _is_ignored(self, path: str) -> bool:
        parts = path.split("/")
        if any(part in IGNORED or (part.startswith(".") and part != ".") for part in parts):
            return True
        folder = ""
        for part in parts[:-1]:
            folder = f"{folder}/{part}" if folder else part
            if self._is_environment(folder):
                return True
        return bool(path) and self.exclude is not None and self.exclude(path)

    def _is_environment(self, folder: str) -> bool:
        known = self._environments.get(folder)
        if known is None:
            there = self.root / folder
            known = (there / "pyvenv.cfg").is_file() or (there / "conda-meta").is_dir()
            self._environments[folder] = known
        return known

    def is_project(self, module: ModuleType | str) -> bool:
        """Whether a module, or the name of a loaded one, is the project's own code."""
        found = sys.modules.get(module) if isinstance(module, str) else module
        if not isinstance(found, ModuleType):
            return False
        if getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
            folders = list(found.__path__)  # a folder without __init__.py
            return bool(folders) and all(self.holds(one) for one in folders)
        return self.file_of(found) is not None

    def file_of(self, module: ModuleType) -> str | None:
        """The path of a module's source from the root; None for a module from elsewhere."""
        name, file = module.__name__, getattr(module, "__file__", None)
        if name == "aq" or name.startswith("aq.") or not file or not file.endswith(".py"):
            return None
        return self.relative(file)

    def module_name(self, file: str | Path) -> str:
        """`flows/flights.py` is `flows.flights`; a package is its folder; a plain `src/` is left out."""
        path = self.relative(file) or os.path.basename(file)
        parts = path.removesuffix(".py").split("/")
        if len(parts) > 1 and parts[-1] == "__init__":
            parts.pop()
        if len(parts) > 1 and parts[0] == "src" and self._plain_src() and not self._at_root(parts[1]):
            parts = parts[1:]
        return ".".join(part.replace(".", "_") for part in parts)

    def _plain_src(self) -> bool:
        return not (self.root / "src" / "__init__.py").exists()

    def _at_root(self, name: str) -> bool:
        return (self.root / name).is_dir() or (self.root / f"{name}.py").is_file()

    def search_folders(self) -> list[str]:
        """Where the modules of the project are looked for: beside the file that runs, then the root."""
        folders = [str(self.root / self._folder), str(self.root)]
        if self._plain_src() and (self.root / "src").is_dir():
            folders.append(str(self.root / "src"))
        folders += [one for one in sys.path if self._is_own_path(one)]
        return list(dict.fromkeys(folders))

    def _is_own_path(self, folder: str) -> bool:
        """An entry of `sys.path` below the root (an editable install), but not one that aq put there."""
        return folder.startswith(self._prefix) and folder not in self._path and self.holds(folder)

    def finds(self, name: str) -> bool:
        """Whether a module of this name is part of the project."""
        return any((self.root / one).is_file() for one in candidates(name, self.search_paths()))

    def search_paths(self) -> list[str]:
        """The search folders by their path from the root; "" is the root itself."""
        paths = (os.path.relpath(one, self.root).replace(os.sep, "/") for one in self.search_folders())
        return list(dict.fromkeys("" if one == "." else one for one in paths))

    # --- reading

    def read(self, file: str | Path) -> bytes:
        """The bytes of a project file, read once for the life of this object."""
        path = self.relative(file) or str(file)
        data = self._data.get(path)
        if data is None:
            data = self._data[path] = (self.root / path).read_bytes()
        return data

    def source(self, path: str) -> Source:
        """The parsed file at a path from the root."""
        found = self._sources.get(path)
        if found is None:
            found = self._sources[path] = Source(path, self.read(self.root / path))
        return found

    def loaded(self) -> dict[str, bytes]:
        """{path from the root: bytes} of the project modules that have been loaded."""
        paths = (self.file_of(module) for module in self.modules.values())
        return {path: self._data[path] for path in sorted(one for one in paths if one)}

    def path_of(self, module: str) -> str | None:
        """The path of a loaded module's file, by its name."""
        found = self.modules.get(module) or sys.modules.get(module)
        return self.file_of(found) if isinstance(found, ModuleType) else None

    def nested_imports(self) -> dict[str, set[str]]:
        """{path: files that were first loaded while this one was}."""
        found: dict[str, set[str]] = {}
        for name, outer in self.loaders.items():
            path, around = self.path_of(name), self.path_of(outer)
            if path is not None and around is not None:
                found.setdefault(around, set()).add(path)
        return found

    def python_files(self) -> Iterator[str]:
        """The paths of all Python files of the project, loaded or not, sorted."""
        for folder, folders, files in os.walk(self.root):
            prefix = os.path.relpath(folder, self.root).replace(os.sep, "/") + "/"
            prefix = "" if prefix == "./" else prefix
            folders[:] = sorted(one for one in folders if self._is_code_folder(prefix + one))
            for name in sorted(files):
                if name.endswith(".py") and not self._is_ignored(prefix + name):
                    yield prefix + name

    def _is_code_folder(self, path: str) -> bool:
        return not self._is_ignored(path) and not self._is_environment(path)

    # --- loading

    def load(self, file: str) -> ModuleType:
        """The module of a Python file (a path from the root, or absolute), run once.

        Raises NotFound, UsageError, or OpFailed where the file's own code fails.
        """
        path = self._python_file(file)
        name = self.module_name(self.root / path)
        with self:
            self._swap(os.path.dirname(path))
            try:
                return importlib.import_module(name)
            except AqError:
                raise
            except (Exception, SystemExit) as error:
                raise _failure(error, path, self.root) from error

    def _python_file(self, file: str) -> str:
        there = self.root / file
        path = self.relative(there)
        if path is None:
            raise UsageError(f"{file} is not part of the project in {self.root}")
        if not there.is_file():
            raise NotFound(f"no file {file}", hint=self._closest(path))
        if there.suffix != ".py":
            raise UsageError(f"{file} is not a Python file: a flow is defined in a .py file")
        return path

    def _closest(self, path: str) -> str:
        from difflib import get_close_matches
        from itertools import islice

        candidates = list(islice(self.python_files(), 1000))
        match = get_close_matches(path, candidates, 1) or get_close_matches(path + ".py", candidates, 1)
        return f"aq run {match[0]}" if match else ""

    @contextmanager
    def beside(self, file: str) -> Iterator[None]:
        """Within: imports look beside this file first, as they do when Python runs it as a script."""
        folder, before = os.path.dirname(self.relative(self.root / file) or file), self._folder
        with self:
            self._swap(folder)
            try:
                yield
            finally:
                self._swap(before)

    def _swap(self, folder: str) -> None:
        """Aliases hold for one folder: `import common` beside a/x.py is not that beside b/y.py."""
        if folder == self._folder:
            return
        own = {id(module): name for name, module in self.modules.items()}
        aliases = {
            name: module
            for name, module in sys.modules.items()
            if name in self.names and own.get(id(module), name) != name
        }
        self._own[self._folder] = aliases
        for name in aliases:
            del sys.modules[name]
        self._remove_path()
        self._folder = folder
        self._add_path()
        sys.modules.update(self._own.pop(folder, {}))

    # --- entering and leaving

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth > 1:
            return self
        if _entered:
            _entered[-1]._leave()
        _entered.append(self)
        self._come()
        return self

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._leave()
        _entered.remove(self)
        if _entered:
            _entered[-1]._come()

    def _come(self) -> None:
        """Take the place of modules of the same files or names that something else has loaded."""
        mine = self._own.pop("/", {})
        for name, module in list(sys.modules.items()):
            if name in mine or self.is_project(module):
                self._foreign[name] = sys.modules.pop(name)
        sys.modules.update(mine)
        sys.meta_path.insert(0, self._finder)
        self._add_path()

    def _leave(self) -> None:
        mine = {name: sys.modules[name] for name in self.names if name in sys.modules}
        for name in mine:
            del sys.modules[name]
        self._own["/"] = mine
        sys.modules.update(self._foreign)
        self._foreign = {}
        sys.meta_path.remove(self._finder)
        self._remove_path()

    def _add_path(self) -> None:
        self._path = [one for one in self.search_folders() if one not in sys.path]
        sys.path[:0] = self._path

    def _remove_path(self) -> None:
        for one in self._path:
            if one in sys.path:
                sys.path.remove(one)
        self._path = []


def _failure(error: BaseException, path: str, root: Path) -> OpFailed:
    """What is told when a user's file cannot be loaded; `trace` has the user's frames only."""
    trace = trimmed(error, root) if last_place(error, root) else "".join(format_exception_only(error))
    if isinstance(error, SyntaxError):
        file = Path(error.filename or path)
        shown = file.relative_to(root) if file.is_relative_to(root) else file
        result = OpFailed(f"{shown}:{error.lineno or 0} is not valid Python: {error.msg}")
    else:
        place = last_place(error, root) or path
        result = OpFailed(f"{path} cannot be loaded: {one_line(error)} ({place})")
    result.trace = trace.replace(f"{root}{os.sep}", "")
    return result


_entered: list[Project] = []
"""The projects that are entered, the innermost last: only its modules are in `sys.modules`."""
