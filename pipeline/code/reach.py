"""What code can reach: the walk from a function over names, values, classes and modules.

Invariant: all code and all values that running the function may use, and that are the user's, end
up in `code` or `values`; what cannot be followed ends up in `opaque`. Names are resolved in the
loaded modules, so that what counts is what runs. Nothing of the user's is called.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from aq.pipeline.code import dynamic, effects
from aq.pipeline.code.bytecode import code_digest, same_code
from aq.pipeline.code.load import Project
from aq.pipeline.code.packages import location
from aq.pipeline.code.scopes import Import, Reference, Uses, annotation_uses, uses_of
from aq.pipeline.code.spaces import Space, Spaces, home_of, plain
from aq.pipeline.code.syntax import DEFINITIONS, Definition, Source
from aq.pipeline.code.tokens import Tokens

MISSING: Final = object()
_SKIPPED_TEXT: Final = """
__dict__ __weakref__ __module__ __doc__ __qualname__ __annotations__ __firstlineno__ __abstractmethods__
__static_attributes__ __dataclass_params__ __dataclass_fields__ __match_args__ __parameters__ _abc_impl
__annotate__ __annotate_func__ __annotations_cache__ __classdictcell__ __orig_bases__ __slots__
__slotnames__ _value2member_map_ __pydantic_core_schema__ __pydantic_decorators__ __pydantic_validator__
__pydantic_serializer__ __signature__
"""
"""What Python (and pydantic) keeps in classes, some of it only once they are used: made of the rest."""
_SKIPPED: Final = frozenset(_SKIPPED_TEXT.split())
_OF_STRUCTS: Final = ("__struct_defaults__", "__struct_encode_fields__")
"""What classes of msgspec keep in their metaclass, also those of `defstruct`, which no source describes."""


class Reach:
    """One walk. Read `code`, `values`, `opaque`, `tops` and `spaces` after `run`."""

    def __init__(self, project: Project, *, through_ops: bool = True) -> None:
        self.project = project
        self.through_ops = through_ops
        self.root = str(project.root)
        self.spaces = Spaces(project)
        self.code: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.opaque: dict[str, None] = {}
        self.tops: set[str] = set()
        self.environment: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self.called: set[str] = set()
        self.units: list[tuple[str, Definition, Source]] = []
        self.acting: list[tuple[str, list[ast.stmt], Source]] = []
        self.token = ""
        self.dynamic = False
        self.outside = False
        self.tokens = Tokens(self)
        self._queue: deque[FunctionType | type] = deque()
        self._labels: dict[int, tuple[object, str]] = {}
        self._taken: dict[str, int] = {}
        self._looked_up: set[tuple[int, str]] = set()
        self._whole: set[str] = set()
        self._changing: dict[str, list[str]] = {}
        self._decorating: set[str] = set()

    def run(self, start: object) -> None:
        """Walk from a function, an op, or any value that holds code."""
        function = plain(start)
        self.spaces.home = home_of(function)
        place = "the op" if isinstance(function, FunctionType) else "an argument"
        self.token = self.tokens.token(function, place)
        if not isinstance(function, FunctionType):
            self.values[f"(value {self.token[-8:]})"] = self.token
        self.drain()
        effects.follow(self)
        self.drain()
        if dynamic.reads_annotations(self):
            self._follow_annotations()

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
        space = self.spaces.of_function(function)
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
        if not self.spaces.is_own(module):
            self.tops.add(module.__name__.partition(".")[0])
        elif whole:
            self.whole(module)
        return module.__name__

    def is_users(self, klass: type) -> bool:
        """See `Follower`."""
        return self.spaces.is_own_class(klass)

    def note(self, what: str) -> None:
        """See `Follower`."""
        self.opaque[what] = None

    def _mention(self, module: str) -> None:
        found = sys.modules.get(module) or sys.modules.get(module.partition(".")[0])
        if found is not None:
            self.module(found, whole=False)

    # --- functions

    def _follow_function(self, function: FunctionType) -> None:
        label = self._labels[id(function)][1]
        space = self.spaces.of_function(function)
        source = space.source
        definitions = self._definitions(function, space, label)
        closure = self._surroundings(function, label)
        for one in definitions:
            assert source is not None
            self.units.append((label, one, source))
            self.follow_uses(uses_of(one, source), space, closure, label)
        if not definitions:
            self._follow_code(function.__code__, space, closure, label)

    def _definitions(self, function: FunctionType, space: Space, label: str) -> list[Definition]:
        """The function's own definition; of lambdas in one line all; none where the file is another."""
        code, source = function.__code__, space.source
        found = source.by_line.get((code.co_firstlineno, code.co_name), []) if source else []
        named = [one for one in found if one.qualname == code.co_qualname] or found
        if len(named) > 1:  # their bytecode tells which of them this is
            self.code[f"{label} in its line"] = code_digest(code)
        loaded = space.module is not None and self.project.modules.get(space.name) is space.module
        if named and source is not None and (loaded or same_code(source, code)):
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
        space = self.spaces.of_module(sys.modules[klass.__module__])
        bases = [base for base in (*klass.__bases__, type(klass)) if base is not object]
        self.values[f"{label}.bases"] = " ".join(self.tokens.token(base, label) for base in bases)
        source = space.source
        written: set[str] = set()
        for one in source.by_name.get(klass.__qualname__, []) if source else []:
            assert source is not None
            self.units.append((label, one, source))
            self.follow_uses(uses_of(one, source), space, {}, label)
            written |= {inner.id for inner in ast.walk(one.node) if isinstance(inner, ast.Name)}
        of_struct = {name: getattr(klass, name) for name in _OF_STRUCTS if hasattr(klass, name)}
        for name, value in [*vars(klass).items(), *of_struct.items()]:
            if name not in _SKIPPED:
                is_made = name.startswith("__") and name.endswith("__") and name not in written
                self._attribute(klass, name, value, label, strict=not is_made)

    def _attribute(self, klass: type, name: str, value: object, label: str, *, strict: bool) -> None:
        """One entry of a class's dict; what a metaclass has put there may be beyond comparing."""
        place = f"{label}.{name}"
        token = self.tokens.token(value, place, strict=strict)
        if token != f"code {klass.__module__}:{klass.__qualname__}.{name}":
            self.values[place] = token

    # --- references

    def follow_uses(self, uses: Uses, space: Space, closure: Mapping[str, Any], label: str) -> None:
        """Follow all that a definition takes from outside; `closure`: what its free names mean."""
        for one in uses.imports:
            self.import_module(one, space)
        for reference in uses.references:
            self._follow(reference, space, closure, label)
        unbounded = uses.identifiers & dynamic.UNBOUNDED
        if unbounded:
            self.dynamic = True
            self.note(f"{label} looks code up by {', '.join(sorted(unbounded))}")
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
        while path and isinstance(value, ModuleType) and self.spaces.is_own(value):
            if path[0] == "__dict__":
                break
            value, path = self.lookup(self.spaces.of_module(value), path[0]), path[1:]
        dynamic.check(self, value, path, reference, label)
        if isinstance(value, ModuleType) and self.spaces.is_own(value):
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
        if reference.spelled and root not in space.variables:
            return None, ()
        if root in closure:
            return closure[root], reference.path
        if root not in space.variables and hasattr(builtins, root):
            self.names.add((space.name, root))
            return getattr(builtins, root), reference.path
        return self.lookup(space, root), reference.path

    def lookup(self, space: Space, name: str) -> Any:
        """The value of a global of the user's module; its token enters `values`."""
        value = space.variables.get(name, MISSING)
        if value is MISSING and space.module is not None:
            value = self._missing(space, name)
        if (id(space.variables), name) in self._looked_up:
            return value
        self._looked_up.add((id(space.variables), name))
        self.names.add((space.name, name))
        place = f"{space.name}:{name}"
        token = self._token(value, place)
        if place in self.values:  # two namespaces of one name
            self.values[place] = "+".join(sorted({self.values[place], token}))
        elif token != f"code {place}":
            self.values[place] = token
        return value

    def _missing(self, space: Space, name: str) -> Any:
        """A submodule that is not loaded yet, or what a module's `__getattr__` makes."""
        if hasattr(space.module, "__path__"):
            found = self.import_module(Import(f"{space.name}.{name}", 0, ""), space)
            if found is not None:
                return found
        if "__getattr__" in space.variables and name != "__getattr__":
            self.lookup(space, "__getattr__")
        return MISSING

    def _token(self, value: object, place: str) -> str:
        return "missing" if value is MISSING else self.tokens.token(value, place)

    def import_module(self, target: Import, space: Space | None) -> ModuleType | None:
        """The module of an import inside a function; the project's own is loaded where it is not yet."""
        found = self.spaces.imported(target, space)
        top = target.module.partition(".")[0]
        if found is None and not target.level and not self.project.finds(target.module) and location(top):
            self.tops.add(top)  # a library: it is not loaded just to be named
        elif found is None:
            place = f"{space.name if space else ''}:import {'.' * target.level}{target.module}"
            self.values[place] = "missing"
        elif not self.spaces.is_own(found):
            self.module(found, whole=False)
        else:
            self.spaces.of_module(found)
        return found

    def whole(self, module: ModuleType) -> None:
        """Follow everything in a module: it is used in ways that names do not show."""
        space = self.spaces.of_module(module)
        if space.name in self._whole or space.source is None:
            return
        self._whole.add(space.name)
        for name in effects.bound_names(space.source):
            if name in space.variables:
                self.lookup(space, name)

    def _follow_annotations(self) -> None:
        """Where annotations are read at run time, their names count too."""
        for label, one, source in list(self.units):
            space = self.spaces.known.get(label.partition(":")[0])
            if space is not None:
                for reference in annotation_uses(one, source):
                    self._follow(reference, space, {}, label)
        self.drain()

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
        known = self.spaces.known
        return {
            (source.path, name)
            for space, name in self.names
            if space in known and (source := known[space].source) is not None
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


def _defaults(function: FunctionType) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    names: Sequence[str] = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}
