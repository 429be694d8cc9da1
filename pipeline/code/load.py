"""`Project`: a folder of user code, loaded from the very bytes that are digested.

Invariant: within one project a file is read once, and what runs is what was read. While a project
is entered, `sys.modules` holds its modules and no other project's; leaving puts back what was
there. Module names follow the path from the root (docs/format.md, section 10).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from traceback import format_exception_only
from types import CodeType, ModuleType
from typing import Self

from aq.formats.errors import AqError, NotFound, OpFailed, UsageError
from aq.pipeline.code.effects import imports_name
from aq.pipeline.code.frames import last_place, one_line, trimmed
from aq.pipeline.code.hidden_reads import plain_id
from aq.pipeline.code.importing import ProjectFinder
from aq.pipeline.code.tree import RESERVED, CodeTree
from blake3 import blake3


class Project:
    """The user's code under `root`: a work tree, or an exported commit.

    `exclude` says of a path from the root whether it is no part of the project; `given` are its files, where
    it is not what lies in the folder. `files`: its Python files; `modules`: those loaded; `looked`: what they
    read elsewhere, listed, or found missing while they were (as in `hidden_reads`); `loaders`: which module's
    import first loaded which. `file_id` gives the id of a file's content, for files that ops read by
    themselves; `before` the bytes of a file at the flow's last run, for reasons.
    """

    def __init__(
        self,
        root: Path,
        *,
        exclude: Callable[[str], bool] | None = None,
        given: Mapping[str, bytes] | None = None,
    ) -> None:
        self.files = CodeTree(root, exclude, given)
        self.root = self.files.root
        self.memo: dict[object, object] = {}
        self.names: set[str] = set()
        self.modules: dict[str, ModuleType] = {}
        self.loaders: dict[str, str] = {}
        self.loading: list[str] = []
        self.reads: dict[str, set[str]] = {}
        self.looked: dict[str, str] = {}
        self.forced: set[str] = set()
        self.file_id: Callable[[str], str] = plain_id
        self.before: Callable[[str], bytes | None] = lambda path: None
        self._folder = ""
        self._aliases: dict[str, dict[str, ModuleType]] = {}
        self._mine: dict[str, ModuleType] = {}
        self._foreign: dict[str, ModuleType] = {}
        self._depth = 0
        self._finder = ProjectFinder(self)
        self._path: list[str] = []

    # --- its modules

    def is_project(self, module: ModuleType | str) -> bool:
        """Whether a module, or the name of a loaded one, is the project's own code."""
        found = sys.modules.get(module) if isinstance(module, str) else module
        if not isinstance(found, ModuleType):
            return False
        if getattr(found, "__file__", None) is None and hasattr(found, "__path__"):
            folders = list(found.__path__)  # a folder without __init__.py
            return bool(folders) and all(self.files.holds(one) for one in folders)
        return self.file_of(found) is not None

    def file_of(self, module: ModuleType) -> str | None:
        """The path of a module's source from the root; None for a module from elsewhere."""
        name, file = module.__name__, getattr(module, "__file__", None)
        if name == "aq" or name.startswith("aq.") or not file or not file.endswith(".py"):
            return None
        path = self.files.relative(file)
        return path if path is not None and self.files.has(path) else None  # None inside an archive

    def path_of(self, module: str) -> str | None:
        """The path of a loaded module's file, by its name."""
        found = self.modules.get(module) or sys.modules.get(module)
        return self.file_of(found) if isinstance(found, ModuleType) else None

    def loaded(self) -> dict[str, bytes]:
        """{path from the root: bytes} of what the code needs to be loaded again elsewhere.

        The modules that have been loaded, those that they import for a type checker or elsewhere alone,
        and the files that they read while they were.
        """
        paths = {path for module in self.modules.values() if (path := self.file_of(module))}
        paths |= self._named_by(paths)
        paths |= {path for found in self.reads.values() for path in found if self.files.has(path)}
        return {path: self.files.read(self.root / path) for path in sorted(paths)}

    def _named_by(self, paths: Iterable[str]) -> set[str]:
        """The files that import statements of these, and of those files in turn, name."""
        from aq.pipeline.code.resolving import import_paths

        found: set[str] = set()
        waiting, folders = set(paths), self.search_paths()
        while waiting:
            path = waiting.pop()
            found.add(path)
            source = self.files.source(path)
            if source.is_valid:
                waiting |= set(import_paths(source, folders, self.files.has)) - found
        return found

    def read_on_import(self, name: str) -> dict[str, str]:
        """{path: digest} of the files that a module read while it was imported."""
        found = sorted(path for path in self.reads.get(name, ()) if self.files.has(path))
        return {path: blake3(self.files.read(self.root / path)).hexdigest() for path in found}

    def nested_imports(self) -> dict[str, set[str]]:
        """{path: files that were first loaded while this one was}."""
        found: dict[str, set[str]] = {}
        for name, outer in self.loaders.items():
            path, around = self.path_of(name), self.path_of(outer)
            if path is not None and around is not None:
                found.setdefault(around, set()).add(path)
        return found

    def holds(self, file: str | Path) -> bool:
        """Whether a file or folder is part of the project."""
        return self.files.holds(file)

    def read(self, file: str | Path) -> bytes:
        """The bytes of a file of the project, read once for the life of this object."""
        return self.files.read(file)

    def python_files(self) -> Iterator[str]:
        """The paths of all its Python files, loaded or not."""
        return self.files.python_files()

    # --- where modules are looked for

    def search_paths(self) -> list[str]:
        """Beside the file that runs, then the root, then `src`; as paths from the root, "" being it."""
        paths = [self._folder, "", *(["src"] if self.files.has_plain_src() else [])]
        return list(dict.fromkeys([*paths, *self.folders_on_path()]))

    def folders_on_path(self) -> list[str]:
        """The folders of the project that `sys.path` has by itself, as paths from the root."""
        return [path for one in sys.path if (path := self._own_entry(one)) is not None]

    def _own_entry(self, entry: str) -> str | None:
        """An entry of `sys.path` below the root (an editable install), but not one that aq put there."""
        if entry in self._path or not entry.startswith(self.files.prefix):
            return None
        return self.files.relative(entry)

    def search_folders(self) -> list[str]:
        """The same as folders of the machine."""
        return [str(self.root / one) if one else str(self.root) for one in self.search_paths()]

    def finds(self, name: str) -> bool:
        """Whether a module of this name, or a folder without `__init__.py`, is part of the project."""
        paths = self.search_paths()
        return self.files.finds(name, paths) is not None or self.files.has_folder(name, paths)

    def make_room(self, code: CodeType, file: str) -> None:
        """Set aside modules of the names that code imports and that are files of the project.

        Raises UsageError where such a name is reserved: which of the two is meant would be left to
        chance, since Python has its own already.
        """
        waiting = [code]
        while waiting:
            one = waiting.pop()
            waiting += [inner for inner in one.co_consts if isinstance(inner, CodeType)]
            for top in sorted({name.partition(".")[0] for name in one.co_names} - {"aq"}):
                is_taken = top in RESERVED or (top in sys.modules and not self.is_project(top))
                own = self.files.finds(top, self.search_paths()) if is_taken else None
                path = self.files.relative(file)
                if own is None or path is None or not imports_name(self.files.source(path), top):
                    continue
                if top in RESERVED:
                    what = "a module that Python or aq needs, and a file of the project"
                    hint = f"mv {own} {own.replace(top, 'my_' + top, 1)}"
                    raise UsageError(f"{path} imports {top}, which is {what}: {own}", hint=hint)
                self._set_aside(top)

    def _set_aside(self, name: str) -> None:
        for one in [key for key in sys.modules if key == name or key.startswith(name + ".")]:
            self._foreign.setdefault(one, sys.modules.pop(one))

    # --- loading

    def load(self, file: str) -> ModuleType:
        """The module of a Python file (a path from the root, or absolute), run once.

        Raises NotFound, UsageError, or OpFailed where the file's own code fails.
        """
        path = self._python_file(file)
        name = self.files.module_name(self.root / path)
        if outer := _loading.get():
            where = 'if __name__ == "__main__":'
            raise UsageError(f"{outer} runs a flow when it is imported: put that under {where}")
        with self, _loaded(path):
            self._swap(os.path.dirname(path))
            try:
                return self._import(name)
            except (AqError, KeyboardInterrupt):
                raise
            except BaseException as error:
                raise _failure(error, path, self.root) from error

    def _import(self, name: str) -> ModuleType:
        """Import a file by its own name: that, and the folders around it, are the project's."""
        parts = name.split(".")
        outer = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        for one in outer:
            if one in sys.modules and not self.is_project(one):
                self._set_aside(one)
        self.forced.update(outer)
        return importlib.import_module(name)

    def _python_file(self, file: str) -> str:
        there = self.root / file
        path = self.files.relative(there)
        if path is None:
            raise UsageError(f"{file} is not part of the project in {self.root}", hint="aq help runs")
        if not self.files.holds_file(there):
            folder = f"{file or '.'} is a folder: a flow is defined in a .py file"
            what = folder if there.is_dir() else f"no file {file}"
            raise NotFound(what, hint=self._closest(path))
        if there.suffix != ".py":
            what = "is not a Python file: a flow is defined in a .py file"
            raise UsageError(f"{file} {what}", hint=self._closest(path))
        return path

    def _closest(self, path: str) -> str:
        from difflib import get_close_matches
        from itertools import islice

        known = list(islice(self.python_files(), 1000))
        names = [path, f"{path}.py"] if path.strip("./") else []
        match = [near for name in names for near in get_close_matches(name, known, 1)]
        match = match or [one for one in known if b"flow" in self.files.read(self.root / one)]
        return f"aq run {match[0]}" if match else "aq help run"

    # --- one folder beside which files run

    @contextmanager
    def beside(self, file: str) -> Iterator[None]:
        """Within: entered, and imports look beside this file first, as for a script that Python runs."""
        folder, before = os.path.dirname(self.files.relative(self.root / file) or file), self._folder
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
        self._aliases[self._folder] = aliases
        for name in aliases:
            del sys.modules[name]
        self._remove_path()
        self._folder = folder
        self._add_path()
        sys.modules.update(self._aliases.pop(folder, {}))

    # --- entering and leaving

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
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
        for name, module in list(sys.modules.items()):
            if name in self._mine or self.is_project(module):
                self._foreign[name] = sys.modules.pop(name)
        sys.modules.update(self._mine)
        self._mine = {}
        sys.meta_path.insert(0, self._finder)
        self._add_path()

    def _leave(self) -> None:
        self._mine = {name: sys.modules[name] for name in self.names if name in sys.modules}
        for name in self._mine:
            del sys.modules[name]
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


@contextmanager
def _loaded(path: str) -> Iterator[None]:
    token = _loading.set(path)
    try:
        yield
    finally:
        _loading.reset(token)


_loading: ContextVar[str] = ContextVar("_loading", default="")
"""The file that is being run as a module: loading another one from there would never end."""
_entered: list[Project] = []
"""The projects that are entered, the innermost last: only its modules are in `sys.modules`."""
