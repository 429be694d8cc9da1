"""Namespaces: where code of the user looks its globals up, and the source that it came from.

Invariant: what is the user's is the project's modules, the module of the op itself, and what was
typed into a notebook; all else is a library. Modules are looked at, not run, but for imports that
a function of the user would run itself.
"""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from aq.formats.classes import module_of
from aq.formats.errors import AqError
from aq.pipeline.code.frames import is_user
from aq.pipeline.code.load import Project
from aq.pipeline.code.scopes import Import, Uses, uses_of
from aq.pipeline.code.syntax import Source


@dataclass(slots=True, frozen=True)
class Space:
    """One namespace. `source`: None where it has none."""

    name: str
    variables: Mapping[str, Any]
    source: Source | None
    module: ModuleType | None


def plain(value: object) -> Any:
    """The function that an op or a flow of aq wraps; any other value as it is."""
    is_ours = module_of(type(value)).startswith("aq.")
    return getattr(value, "function", value) if is_ours else value


def home_of(value: object) -> str:
    """The module of a function or class of the user, wherever it lies; "" for one of a library."""
    name = getattr(value, "__module__", None) or ""
    code = getattr(value, "__code__", None)
    file = code.co_filename if code is not None else getattr(sys.modules.get(name), "__file__", None)
    return name if file and is_user(file) else ""


class Spaces:
    """The namespaces that one walk has met. `home`: the module of the op; `outside`: in no file."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.home = ""
        self.outside = False
        self.known: dict[str, Space] = {}
        self.files: set[str] = set()

    # --- whose is it?

    def is_own(self, module: ModuleType) -> bool:
        """Whether a module is the user's."""
        name = module.__name__
        if name in (self.home, "__main__"):
            return name != "aq" and not name.startswith("aq.")
        return self.project.is_project(module)

    def is_own_class(self, klass: type) -> bool:
        """Whether a class is the user's, also one that `make_dataclass` made, of a module called `types`."""
        module = sys.modules.get(klass.__module__)
        is_made = klass.__module__ == "types" and not hasattr(module, klass.__qualname__)
        return module is not None and (is_made or self.is_own(module))

    def is_library(self, value: object) -> bool:
        """Whether a value is a module or class that is not the user's."""
        if isinstance(value, ModuleType):
            return not self.is_own(value)
        return isinstance(value, type) and not self.is_own_class(value)

    # --- finding

    def of_function(self, function: FunctionType) -> Space:
        """Where a function looks up its globals, and the source that it was compiled from."""
        variables = function.__globals__
        name = variables.get("__name__") or function.__module__ or ""
        known, file = self.known.get(name), function.__code__.co_filename
        if known is not None and known.variables is variables and self._is_of(known, file):
            return known
        source = self._source(name, file)
        space = Space(name, variables, source, sys.modules.get(name))
        if source is not None:
            self.known.setdefault(name, space)
            self._enter_package(name)
        return space

    def of_module(self, module: ModuleType) -> Space:
        """The namespace of a module of the user."""
        name = module.__name__
        known = self.known.get(name)
        if known is None:
            path = self.project.file_of(module)
            source = self.project.files.source(path) if path else None
            known = self.known[name] = Space(name, vars(module), source, module)
            if path:
                self.files.add(path)
            self._enter_package(name)
        return known

    def _enter_package(self, name: str) -> None:
        """The packages around a module run before it."""
        outer = sys.modules.get(name.rpartition(".")[0])
        if outer is not None and self.is_own(outer):
            self.of_module(outer)

    def _is_of(self, space: Space, file: str) -> bool:
        source = space.source
        return source is not None and source.path in (file, self.project.files.relative(file))

    def _source(self, name: str, file: str) -> Source | None:
        if name == "aq" or name.startswith("aq."):
            return None
        path = self.project.files.relative(file) if file.endswith(".py") else None
        if path is not None:
            self.files.add(path)
            return self.project.files.source(path)
        lines = linecache.getlines(file) if name in (self.home, "__main__") else []
        self.outside = self.outside or bool(lines)
        return Source(file, "".join(lines).encode()) if lines else None

    # --- meanings

    def imported(self, target: Import, space: Space | None, *, load: bool = True) -> ModuleType | None:
        """The module that an import statement means; None where there is none, or a library not loaded.

        A module of the project is loaded if it is not yet: the function would do it.
        """
        name = target.module
        if target.level:
            package = space.variables.get("__package__") if space is not None else None
            parts = (package or "").split(".")
            base = parts[: len(parts) - target.level + 1]
            name = ".".join([*base, *([target.module] if target.module else [])])
        if not name:
            return None
        found = sys.modules.get(name)
        if found is None and load and self.project.finds(name):
            found = self._load(name)
        return found or (sys.modules.get(name.partition(".")[0]) if load else None)

    def _load(self, name: str) -> ModuleType | None:
        try:
            with self.project:
                return importlib.import_module(name)
        except (AqError, KeyboardInterrupt):
            raise
        except BaseException:
            return None

    def imported_value(self, target: Import, space: Space) -> Any:
        """What an import inside a function binds, if its module is loaded."""
        module = self.imported(target, space, load=False)
        return getattr(module, target.name, None) if target.name else module

    def resolve(self, name: str, space: Space) -> Any:
        """What a dotted name means in a module of the user, without following it."""
        first, *path = name.split(".")
        value = space.variables.get(first)
        for part in path:
            if not isinstance(value, ModuleType) or not self.is_own(value):
                return None
            value = vars(value).get(part)
        return value

    def uses_of(self, function: FunctionType, space: Space) -> list[Uses]:
        """What a function takes from outside, as its source says; nothing where it has none."""
        if space.source is None:
            return []
        code = function.__code__
        found = space.source.by_line.get((code.co_firstlineno, code.co_name), [])
        return [uses_of(one, space.source) for one in found]
