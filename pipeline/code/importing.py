"""How Python finds and runs the modules of a project: a finder and loaders of our own.

Invariant: a project module is compiled from the very bytes that its project holds and digests,
never from `__pycache__`, and nothing is written there. A file has one module object, named by its
path from the root; other names by which it can be imported are aliases of that one.
"""

from __future__ import annotations

import atexit
import importlib
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from aq.pipeline.code.import_reads import unwatch, watch
from aq.pipeline.code.tree import RESERVED

if TYPE_CHECKING:
    from aq.pipeline.code.load import Project

PYTHON: str = ".py"
_listeners: list[Callable[[], None]] = []
_ran: WeakSet[ModuleType] = WeakSet()


def tear_down() -> None:
    """Clear the modules that ran, private names first, as Python does with those that it knows at its end.

    Files that they left open are closed by it, and so written. Source: `_PyModule_ClearDict` of CPython.
    """
    for module in list(_ran):
        names = vars(module)
        for name in sorted(names, key=lambda name: name[:1] != "_" or name[:2] == "__"):
            if name != "__builtins__":
                names[name] = None


@contextmanager
def on_import(do: Callable[[], None]) -> Iterator[None]:
    """Within, `do` is called whenever a file of a project has run as a module."""
    _listeners.append(do)
    try:
        yield
    finally:
        _listeners.remove(do)


class ProjectFinder:
    """The first entry of `sys.meta_path` while a project is entered."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for what lies in the project; None for all else."""
        if name.startswith("aq.") or (path is None and name in RESERVED):
            return None
        last = name.rpartition(".")[2]
        if path is None and last.removesuffix("_") in RESERVED:
            last = last.removesuffix("_")
        folders = self.project.search_folders() if path is None else list(path)
        inside = [folder for folder in folders if self.project.files.holds(folder)]
        for folder in inside:
            for file in (Path(folder, last, "__init__.py"), Path(folder, last + PYTHON)):
                if self.project.files.holds_file(file):
                    return self.spec(name, file)
        found = None if name in self.project.forced else self.elsewhere(name, path, target)
        if found is not None and (found.origin or not inside):
            return found
        return self.namespace(name, [Path(folder, last) for folder in inside]) or found

    def elsewhere(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        """What the other finders say; a source file of the project is loaded our way all the same."""
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is None:
                continue
            files = self.project.files
            if spec.origin and spec.origin.endswith(PYTHON) and files.holds(spec.origin):
                if not files.holds_file(spec.origin):
                    continue  # it lies in the folder, and is none of the files that were given
                return self.spec(name, Path(spec.origin))
            if type(spec.loader) is SourceFileLoader and _was_edited_since(spec):
                spec.loader = Recompiled(spec.loader.name, spec.loader.path)
            return spec
        return None

    def spec(self, name: str, file: Path) -> ModuleSpec:
        """Under its own name a file is loaded; under any other the loaded module is handed out."""
        own = self.project.files.module_name(file)
        self.project.names.add(name)
        locations = [str(file.parent)] if file.name == "__init__.py" else None
        if name != own:
            alias: Any = AliasLoader(own)
            return ModuleSpec(name, alias, origin=str(file), is_package=locations is not None)
        loader: Any = SourceLoader(self.project, own, file)
        spec = spec_from_file_location(name, file, loader=loader, submodule_search_locations=locations)
        if spec is not None:
            spec.cached = None  # importlib's own default would be a file in __pycache__
        return spec  # type: ignore[return-value]

    def namespace(self, name: str, folders: list[Path]) -> ModuleSpec | None:
        """A folder without `__init__.py` is a package too."""
        found = [str(folder) for folder in folders if self.project.files.holds_folder(folder)]
        if not found:
            return None
        self.project.names.add(name)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = found
        return spec


class Recompiled(SourceFileLoader):
    """Runs a file outside the project from its source: what is kept of it in `__pycache__` is older.

    Python itself goes by the size and whole seconds, and so misses a second edit within one.
    """

    def get_code(self, fullname: str) -> CodeType:
        """From the bytes of the source as they are."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _was_edited_since(spec: ModuleSpec) -> bool:
    try:
        return os.stat(spec.cached or "").st_mtime_ns < os.stat(spec.origin or "").st_mtime_ns
    except OSError:  # nothing is kept
        return False


class SourceLoader:
    """Runs one file of a project as a module. `path`: where it lies."""

    def __init__(self, project: Project, name: str, path: Path) -> None:
        self.project = project
        self.name = name
        self.path = str(path)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Python's own module objects will do."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Compile the project's bytes of the file and run them."""
        code = self.get_code(self.name)
        project = self.project
        project.modules[self.name] = module
        if not _ran:
            atexit.register(tear_down)  # before any of theirs, so that it is called after them
        _ran.add(module)
        if project.loading:
            project.loaders[self.name] = project.loading[-1]
        project.loading.append(self.name)
        watch(project)
        try:
            exec(code, module.__dict__)
        except BaseException:
            project.modules.pop(self.name, None)
            raise
        finally:
            unwatch(module)
            project.loading.pop()
        for done in _listeners:
            done()

    def get_code(self, name: str) -> CodeType:
        """Asserts are always kept: `python -O` must not change a result behind aq's back."""
        data = self.project.files.read(self.path)
        try:
            code = compile(data, self.path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError) as error:
            if isinstance(error, SyntaxError) and error.filename:
                raise
            # a null byte has no place in Python's own words
            raise SyntaxError(str(error), (self.path, 1, 0, "")) from None
        lines = decode_source(data).splitlines(keepends=True)
        linecache.cache[self.path] = (len(data), None, lines, self.path)
        self.project.make_room(code, self.path)
        return code

    def get_source(self, name: str) -> str:
        """The text, for tracebacks and `inspect`."""
        return decode_source(self.project.files.read(self.path))

    def get_filename(self, name: str) -> str:
        """Where the file lies."""
        return self.path

    def is_package(self, name: str) -> bool:
        """Whether it is the `__init__.py` of a folder."""
        return self.path.endswith("__init__.py")

    def get_data(self, path: str) -> bytes:
        """A file beside the module, as `pkgutil.get_data` reads it."""
        known = self.project.files.data.get(self.project.files.relative(path) or "")
        return Path(path).read_bytes() if known is None else known

    def get_resource_reader(self, name: str) -> Any:
        """Files beside the module, as `importlib.resources` reads them."""
        from importlib.readers import FileReader

        return FileReader(self)  # type: ignore[arg-type]


class AliasLoader:
    """Hands out the module of a file under a second name."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its own name, loaded first where it is not yet."""
        module = importlib.import_module(self.own)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run already; only its spec, which importlib has just replaced, is put back."""
        module.__spec__ = self.spec
