"""What code can reach: the walk from a function over names, values, classes and modules.

Invariant: all code and all values that running the function may use, and that lie in the project,
end up in `code` or `values`; what cannot be followed ends up in `opaque`. Names are resolved in
the loaded modules, so that what counts is what runs. Nothing of the user's is called.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from aq.pipeline import dynamic, effects
from aq.pipeline.bytecode import code_digest, same_code
from aq.pipeline.load import Project
from aq.pipeline.packages import location
from aq.pipeline.scopes import Import, Reference, Uses, annotation_uses, uses_of
from aq.pipeline.syntax import DEFINITIONS, Definition, Source
from aq.pipeline.tokens import Tokens

MISSING: Final = object()
_SKIPPED_TEXT: Final = """
__dict__ __weakref__ __module__ __doc__ __qualname__ __annotations__ __firstlineno__ __abstractmethods__
__static_attributes__ __dataclass_params__ __dataclass_fields__ __match_args__ __parameters__ _abc_impl
__annotate__ __annotate_func__ __annotations_cache__ __classdictcell__ __orig_bases__ __slots__
"""
_SKIPPED: Final = frozenset(_SKIPPED_TEXT.split())


@dataclass(slots=True, frozen=True)
class Space:
    """The namespace that code looks its globals up in. `source`: None where it has none."""

    name: str
    variables: Mapping[str, Any]
    source: Source | None
    module: ModuleType | None


class Reach:
    """One walk. Read `code`, `values`, `opaque`, `tops` and `files` after `run`."""

    def __init__(self, project: Project, *, through_ops: bool = True) -> None:
        self.project = project
        self.through_ops = through_ops
        self.root = str(project.root)
        self.code: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.opaque: dict[str, None] = {}
        self.tops: set[str] = set()
        self.files: set[str] = set()
        self.environment: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self.units: list[tuple[str, Definition, Source]] = []
        self.acting: list[tuple[str, list[ast.stmt], Source]] = []
        self.visited: dict[str, Space] = {}
        self.dynamic = False
        self.outside = False
        self.home = ""
        self.tokens = Tokens(self)
        self._queue: deque[FunctionType | type] = deque()
        self._labels: dict[int, tuple[object, str]] = {}
        self._taken: dict[str, int] = {}
        self._whole: set[str] = set()
        self._changing: dict[str, list[str]] = {}
        self._decorating: set[str] = set()

    def run(self, start: object) -> None:
        """Walk from a function, an op, or any value that holds code."""
        function = getattr(start, "function", start)
        self.home = getattr(function, "__module__", "") or ""
        token = self.tokens.token(function, "the op")
        if not isinstance(function, FunctionType):
            self.values[f"(value {token[-8:]})"] = token
        self.drain()
        effects.follow(self)
        self.drain()

    def drain(self) -> None:
        """Follow what has been found and not yet followed."""
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, FunctionType):
                self._follow_function(item)
            else:
                self._follow_class(item)

    # --- names for code (the Follower of the tokens)

    def function(self, function: FunctionType) -> str:
        """See `Follower`."""
        if id(function) in self._labels:
            return self._labels[id(function)][1]
        space = self.space_of(function)
        label = self._label(function, f"{space.name}:{function.__code__.co_qualname}")
        if space.source is not None:
            self._queue.append(function)
        else:
            self._foreign_function(function, label)
        return label

    def klass(self, klass: type) -> str:
        """See `Follower`."""
        if id(klass) in self._labels:
            return self._labels[id(klass)][1]
        label = self._label(klass, f"{klass.__module__}:{klass.__qualname__}")
        if self.is_users(klass):
            self._queue.append(klass)
        elif klass.__module__ != "builtins":
            self._mention(klass.__module__)
        return label

    def _label(self, item: object, name: str) -> str:
        count = self._taken[name] = self._taken.get(name, 0) + 1
        label = name if count == 1 else f"{name}#{count}"
        self._labels[id(item)] = (item, label)
        return label

    def module(self, module: ModuleType, *, whole: bool) -> str:
        """See `Follower`."""
        if not self._is_users_module(module):
            self.tops.add(module.__name__.partition(".")[0])
        elif whole:
            self.whole(module)
        return module.__name__

    def is_users(self, klass: type) -> bool:
        """See `Follower`."""
        module = sys.modules.get(klass.__module__)
        return module is not None and self._is_users_module(module)

    def note(self, what: str) -> None:
        """See `Follower`."""
        self.opaque[what] = None

    def _is_users_module(self, module: ModuleType) -> bool:
        name = module.__name__
        if name == self.home or name == "__main__":
            return name != "aq" and not name.startswith("aq.")
        return self.project.is_project(module)

    def _mention(self, module: str) -> None:
        found = sys.modules.get(module) or sys.modules.get(module.partition(".")[0])
        if found is not None:
            self.module(found, whole=False)

    # --- spaces

    def space_of(self, function: FunctionType) -> Space:
        """Where a function looks up its globals, and the source that it was compiled from."""
        variables = function.__globals__
        name = variables.get("__name__") or function.__module__ or ""
        known = self.visited.get(name)
        file = function.__code__.co_filename
        if known is not None and known.variables is variables and _is_file(known, file, self.project):
            return known
        module = sys.modules.get(name)
        source = self._source(name, file)
        space = Space(name, variables, source, module)
        if source is not None:
            self.visited.setdefault(name, space)
            self._enter_package(name)
        return space

    def space(self, module: ModuleType) -> Space:
        """The namespace of a module of the user."""
        known = self.visited.get(module.__name__)
        if known is None:
            path = self.project.file_of(module)
            source = self.project.files.source(path) if path else None
            known = self.visited[module.__name__] = Space(module.__name__, vars(module), source, module)
            if path:
                self.files.add(path)
            self._enter_package(module.__name__)
        return known

    def _enter_package(self, name: str) -> None:
        """The packages around a module run before it."""
        outer = sys.modules.get(name.rpartition(".")[0])
        if outer is not None and self._is_users_module(outer):
            self.space(outer)

    def _source(self, name: str, file: str) -> Source | None:
        if name == "aq" or name.startswith("aq."):
            return None
        path = self.project.files.relative(file) if file.endswith(".py") else None
        if path is not None:
            self.files.add(path)
            return self.project.files.source(path)
        if name in (self.home, "__main__"):
            found = dynamic.interactive_source(file)
            self.outside = self.outside or found is not None
            return found
        return None

    # --- functions

    def _follow_function(self, function: FunctionType) -> None:
        label = self._labels[id(function)][1]
        space = self.space_of(function)
        definitions = self._definitions(function, space, label)
        uses = [uses_of(one, space.source) for one in definitions if space.source]
        for one in definitions:
            self.units.append((label, one, space.source))  # type: ignore[arg-type]
        closure = self._surroundings(function, label)
        for use in uses:
            self.follow_uses(use, space, closure, label)
        if not definitions:
            self._follow_code(function.__code__, space, closure, label)

    def _definitions(self, function: FunctionType, space: Space, label: str) -> list[Definition]:
        code = function.__code__
        assert space.source is not None
        try:
            found = space.source.by_line.get((code.co_firstlineno, code.co_name), [])
        except (SyntaxError, ValueError):
            found = []
        named = [one for one in found if one.qualname == code.co_qualname] or found
        loaded = space.module is not None and self.project.modules.get(space.name) is space.module
        if len(named) > 1:  # lambdas of one line: their bytecode tells which this is
            self.code[f"{label} in its line"] = code_digest(code)
        if named and (loaded or same_code(space.source, code)):
            return named
        self.outside = True
        self.note(f"{label} is not what its file says now: it counts by its bytecode")
        self.code[label] = code_digest(code)
        return []

    def _surroundings(self, function: FunctionType, label: str) -> dict[str, Any]:
        """Tokens of defaults, attributes and closure; returns what the closure's names mean."""
        for name, value in _defaults(function).items():
            self.values[f"{label}.default.{name}"] = self.tokens.token(value, f"{label}: default {name}")
        for name, value in vars(function).items():
            place = f"{label}.{name}"
            self.values[place] = self.tokens.token(value, place)
        closure: dict[str, Any] = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                closure[name] = cell.cell_contents
            except ValueError:
                closure[name] = MISSING
            place = f"{label}.closure.{name}"
            self.values[place] = self._token(closure[name], place)
        return closure

    def _foreign_function(self, function: FunctionType, label: str) -> None:
        """A library's function counts by the library's version; what it closes over is followed."""
        self._mention(str(function.__globals__.get("__name__") or function.__module__ or ""))
        if function.__code__.co_filename.startswith("<"):
            self.code[label] = code_digest(function.__code__)
        held: list[Any] = [getattr(function, "__wrapped__", None), *_defaults(function).values()]
        for cell in function.__closure__ or ():
            try:
                held.append(cell.cell_contents)
            except ValueError:
                continue
        for position, value in enumerate(held):
            if dynamic.may_hold_code(value):
                place = f"{label}.closure.{position}"
                self.values[place] = self.tokens.token(value, place)

    def _follow_code(self, code: CodeType, space: Space, closure: Mapping[str, Any], label: str) -> None:
        """Without a syntax tree: every name of the bytecode."""
        for name in code.co_names:
            if name in space.variables:
                self._follow(Reference(name, ()), space, closure, label)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._follow_code(constant, space, closure, label)

    # --- classes

    def _follow_class(self, klass: type) -> None:
        label = self._labels[id(klass)][1]
        space = self.space(sys.modules[klass.__module__])
        bases = [
            self.tokens.token(base, label) for base in (*klass.__bases__, type(klass)) if base is not object
        ]
        self.values[f"{label}.bases"] = " ".join(bases)
        try:
            found = space.source.by_name.get(klass.__qualname__, []) if space.source else []
        except (SyntaxError, ValueError):
            found = []
        for one in found:
            self.units.append((label, one, space.source))  # type: ignore[arg-type]
            self.follow_uses(uses_of(one, space.source), space, {}, label)  # type: ignore[arg-type]
        for name, value in list(vars(klass).items()):
            if name not in _SKIPPED:
                self._attribute(klass, name, value, label)

    def _attribute(self, klass: type, name: str, value: object, label: str) -> None:
        place = f"{label}.{name}"
        token = self.tokens.token(value, place)
        if token != f"code {klass.__module__}:{klass.__qualname__}.{name}":
            self.values[place] = token

    # --- references

    def follow_uses(self, uses: Uses, space: Space, closure: Mapping[str, Any], label: str) -> None:
        """Follow all that a definition takes from outside; `closure`: what its free names mean."""
        for reference in uses.references:
            self._follow(reference, space, closure, label)
        for one in uses.imports:
            self.import_module(one, space)
        if uses.identifiers & dynamic.UNBOUNDED:
            self.dynamic = True
            self.note(f"{label} looks code up by {', '.join(sorted(uses.identifiers & dynamic.UNBOUNDED))}")
        for name in uses.mutable_defaults:
            self.note(f"{label} changes its mutable default {name} from call to call")
        for name in sorted({one for one in uses.changes if isinstance(one, str) and one in space.variables}):
            if not isinstance(space.variables[name], ModuleType | type | FunctionType):
                self._changing.setdefault(label, []).append(name)
        for name in uses.decorators:
            if isinstance(found := space.variables.get(name), FunctionType):
                self._decorating.add(self.function(found))

    def _follow(self, reference: Reference, space: Space, closure: Mapping[str, Any], label: str) -> None:
        value, path = self._root(reference, space, closure)
        while path and isinstance(value, ModuleType) and self._is_users_module(value):
            if path[0] == "__dict__":
                break
            value, path = self.lookup(self.space(value), path[0]), path[1:]
        dynamic.check(self, value, path, reference, label)
        if isinstance(value, ModuleType) and self._is_users_module(value):
            self.whole(value)

    def _root(
        self, reference: Reference, space: Space, closure: Mapping[str, Any]
    ) -> tuple[Any, tuple[str, ...]]:
        root = reference.root
        if isinstance(root, Import):
            module = self.import_module(root, space)
            if root.name and module is not None:
                return module, (root.name, *reference.path)
            return module, reference.path
        if root in closure:
            return closure[root], reference.path
        if root not in space.variables and hasattr(builtins, root):
            self.names.add((space.name, root))
            return getattr(builtins, root), reference.path
        return self.lookup(space, root), reference.path

    def lookup(self, space: Space, name: str) -> Any:
        """The value of a global of the user's module; its token enters `values`."""
        value = space.variables.get(name, MISSING)
        place = f"{space.name}:{name}"
        if (space.name, name) in self.names:
            return value if value is not MISSING else self._missing(space, name)
        self.names.add((space.name, name))
        if value is MISSING and space.module is not None:
            value = self._missing(space, name)
        token = self._token(value, place)
        if token != f"code {place}":
            self.values[place] = token
        return value

    def _missing(self, space: Space, name: str) -> Any:
        """A submodule that is not loaded yet, or what a module's `__getattr__` makes."""
        if hasattr(space.module, "__path__"):
            found = self.import_module(Import(f"{space.name}.{name}", 0, ""), space)
            if found is not None:
                return found
        if "__getattr__" in space.variables:
            self.lookup(space, "__getattr__")
        return MISSING

    def _token(self, value: object, place: str) -> str:
        return "missing" if value is MISSING else self.tokens.token(value, place)

    def import_module(self, target: Import, space: Space | None) -> ModuleType | None:
        """The module of an import inside a function; the project's own is loaded where it is not yet."""
        found = dynamic.imported(self.project, target, space)
        top = target.module.partition(".")[0]
        if found is None and not target.level and not self.project.finds(target.module) and location(top):
            self.tops.add(top)  # a library: it is not loaded just to be named
        elif found is None:
            place = f"{space.name if space else ''}:import {'.' * target.level}{target.module}"
            self.values[place] = "missing"
        elif not self._is_users_module(found):
            self.module(found, whole=False)
        else:
            self.space(found)
        return found

    def resolve(self, name: str, space: Space) -> Any:
        """What a dotted name means in a module of the user, without following it."""
        first, *path = name.split(".")
        value = space.variables.get(first)
        for part in path:
            if not isinstance(value, ModuleType) or not self._is_users_module(value):
                return None
            value = vars(value).get(part)
        return value

    def uses_of_function(self, function: FunctionType, space: Space) -> list[Uses]:
        """What a function takes from outside, as its source says; nothing where it has none."""
        if space.source is None:
            return []
        code = function.__code__
        found = space.source.by_line.get((code.co_firstlineno, code.co_name), [])
        return [uses_of(one, space.source) for one in found]

    def imported_value(self, target: Import, space: Space) -> Any:
        """What an import inside a function binds, if its module is loaded."""
        module = dynamic.imported(self.project, target, space, load=False)
        return getattr(module, target.name, None) if target.name else module

    def is_library(self, value: object) -> bool:
        """Whether a value is a module or class that is not the user's."""
        if isinstance(value, ModuleType):
            return not self._is_users_module(value)
        return isinstance(value, type) and not self.is_users(value)

    def import_quietly(self, target: Import, space: Space) -> None:
        """Enter a module of the user that a module imports: what it does on import counts."""
        found = dynamic.imported(self.project, target, space, load=False)
        if found is not None and self._is_users_module(found):
            self.space(found)

    def whole(self, module: ModuleType) -> None:
        """Follow everything in a module: it is used in ways that names do not show."""
        space = self.space(module)
        if space.name in self._whole or space.source is None:
            return
        self._whole.add(space.name)
        for name in effects.bound_names(space.source):
            if name in space.variables:
                self.lookup(space, name)

    # --- the result

    def unit_places(self) -> set[tuple[str, str]]:
        """(path, qualified name) of all definitions reached, those that act on import included."""
        found = {(source.path, one.qualname) for _, one, source in self.units}
        for _, statements, source in self.acting:
            names = tuple(one.name for one in statements if isinstance(one, DEFINITIONS))
            for one in source.definitions:
                if one.qualname.partition(".")[0] in names:
                    found.add((source.path, one.qualname))
        return found

    def named_places(self) -> set[tuple[str, str]]:
        """(path, name) of all globals looked up in files."""
        spaces = self.visited
        return {
            (source.path, name)
            for space, name in self.names
            if space in spaces and (source := spaces[space].source) is not None
        }

    def note_changes(self) -> None:
        """List what outlives a step: globals that functions change, other than while importing."""
        for label, names in self._changing.items():
            if label not in self._decorating and not label.endswith(effects.EFFECTS):
                for name in names:
                    self.note(f"{label} changes the global {name}, which outlives the step")

    def digests(self) -> dict[str, str]:
        """{module:qualname: digest} of all definitions reached, in the variant that their use calls for."""
        variant = dynamic.variant(self)
        found: dict[str, list[str]] = {}
        for label, one, source in self.units:
            found.setdefault(label, []).append(source.digest(one.node, variant))
        for label, statements, source in self.acting:
            found[label] = [source.digest(statements, variant)]
        merged = {label: "+".join(dict.fromkeys(digests)) for label, digests in found.items()}
        return {**self.code, **merged}

    def follow_annotations(self) -> None:
        """Where annotations are read at run time, their names count too."""
        for label, one, source in list(self.units):
            space = self.visited.get(label.partition(":")[0])
            if space is not None:
                for reference in annotation_uses(one, source):
                    self._follow(reference, space, {}, label)
        self.drain()


def _is_file(space: Space, file: str, project: Project) -> bool:
    return space.source is not None and (
        space.source.path == file or project.files.relative(file) == space.source.path
    )


def _defaults(function: FunctionType) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    names: Sequence[str] = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}
