"""Which names a piece of code takes from outside itself.

Invariant: every name that running the code may look up among the globals of its module, in an
enclosing function or by an import of its own is listed; names that are certainly local are not.
Scoping follows the language reference (4.2 and 6.2.4); nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aq.pipeline.code.defaults import CHANGERS, changed_defaults
from aq.pipeline.code.spelled import EVALUATORS, names_in
from aq.pipeline.code.syntax import Definition, Source, decorators

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Import(NamedTuple):
    """What an `import` inside a function binds: a module, or a name of a module."""

    module: str
    level: int
    name: str


class Reference(NamedTuple):
    """A use of an outer name. `root`: the global's name, or an import; `path`: attributes after it.

    `text`: the first argument of a call, where that is a constant text; `arguments`: how many there are,
    −1 where it is not called. `spelled`: a text that a library evaluates spells the name.
    """

    root: str | Import
    path: tuple[str, ...]
    arguments: int = -1
    text: str | None = None
    spelled: bool = False


@dataclass(slots=True)
class Uses:
    """What a definition takes from outside. `identifiers`: all names and attributes in it, and `"__x__"`."""

    references: list[Reference] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    identifiers: set[str] = field(default_factory=set)
    changes: list[str | Import] = field(default_factory=list)
    decorators: list[str] = field(default_factory=list)
    mutable_defaults: list[str] = field(default_factory=list)


class _Scope:
    """The names that one scope binds. `kind`: function | class."""

    def __init__(self, kind: str, parent: _Scope | None, owner: str) -> None:
        self.kind = kind
        self.parent = parent
        self.owner = owner
        self.bound: set[str] = set()
        self.imports: dict[str, Import] = {}
        self.outer: set[str] = set()  # declared global
        self.beyond: set[str] = set()  # declared nonlocal

    def find(self, name: str) -> str | Import | None:
        """None: local. An Import: what a local import binds. The name itself: from outside."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.outer:
                return name
            visible = scope.kind == "function" or scope is self
            if visible and name not in scope.beyond:
                if name in scope.imports and name not in scope.bound:
                    return scope.imports[name]
                if name in scope.bound or name in scope.imports:
                    return None
            scope = scope.parent
        return name


def uses_of(definition: Definition, source: Source) -> Uses:
    """The outer names of a function, class or lambda; its decorators, defaults and bases included.

    Not so aq's own decorators: what they say enters a key apart.
    """
    known = source.memo.get(definition)
    if isinstance(known, Uses):
        return known
    walker = _Walker(definition.owner, source.aq_names)
    walker.visit(definition.node)
    node = definition.node
    if not isinstance(node, ast.ClassDef | ast.Lambda):
        walker.uses.mutable_defaults = changed_defaults(node)
    source.memo[definition] = walker.uses
    return walker.uses


def uses_of_statements(statements: Sequence[ast.stmt], source: Source) -> Uses:
    """The outer names of statements of a module: all that they read is global."""
    walker = _Walker("", source.aq_names)
    for statement in statements:
        walker.visit(statement)
    return walker.uses


class _Walker:
    """Collects `Uses` over one tree."""

    def __init__(self, owner: str, aq_names: frozenset[str]) -> None:
        self.uses = Uses()
        self.aq_names = aq_names
        self.scope = _Scope("module", None, owner)
        self._seen: set[Reference] = set()

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, _FUNCTIONS):
            self.function(node)
        elif isinstance(node, ast.ClassDef):
            self.klass(node)
        elif isinstance(node, _COMPREHENSIONS):
            self.comprehension(node)
        elif isinstance(node, ast.Name):
            self.name(node)
        elif isinstance(node, ast.Constant):
            self.constant(node)
        elif isinstance(node, ast.Attribute):
            self.attribute(node)
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.Subscript):
            self.subscript(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.importing(node)
        elif isinstance(node, ast.AnnAssign):
            self.annotated(node)
        else:
            if isinstance(node, ast.Global):
                self.uses.changes.extend(node.names)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                self.refer(node.target.id, ())
            self.all(ast.iter_child_nodes(node))

    def all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    # --- scopes

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        self.decorated(node)
        self.all([*arguments.defaults, *arguments.kw_defaults])
        body = node.body if isinstance(node.body, list) else [node.body]
        outer = self.scope
        self.scope = _Scope("function", outer, outer.owner)
        self.scope.bound.update(one.arg for one in _arguments(arguments))
        self.scope.bound.update(_type_parameters(node))
        _bind(self.scope, body)
        self.all(body)
        self.scope = outer

    def decorated(self, node: ast.AST) -> None:
        others = decorators(node, self.aq_names)[1]
        names = (_chain(one.func if isinstance(one, ast.Call) else one)[0] for one in others)
        self.uses.decorators += [one.id for one in names if isinstance(one, ast.Name)]
        self.all(others)

    def klass(self, node: ast.ClassDef) -> None:
        self.decorated(node)
        self.all([*node.bases, *(one.value for one in node.keywords)])
        outer = self.scope
        self.scope = _Scope("class", outer, node.name)
        self.scope.bound.update(_type_parameters(node))
        _bind(self.scope, node.body)
        typed = bool(node.decorator_list or node.bases or node.keywords)
        for statement in node.body:
            if typed and isinstance(statement, ast.AnnAssign):
                self.visit(statement.annotation)
            self.visit(statement)
        self.scope = outer

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        outer = self.scope
        self.scope = _Scope("function", outer, outer.owner)
        for generator in node.generators:
            self.scope.bound.update(_targets(generator.target))
        for position, generator in enumerate(node.generators):
            if position:
                self.visit(generator.iter)
            self.all([generator.target, *generator.ifs])
        self.all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.scope = outer

    # --- uses

    def name(self, node: ast.Name) -> None:
        self.uses.identifiers.add(node.id)
        if isinstance(node.ctx, ast.Load):
            self.refer(node.id, ())

    def attribute(self, node: ast.Attribute) -> None:
        base, path = _chain(node)
        self.uses.identifiers.update(path)
        if isinstance(base, ast.Name):
            self.uses.identifiers.add(base.id)
            self.refer(base.id, path)
            if not isinstance(node.ctx, ast.Load):
                self.changed(base.id)
        else:
            self.visit(base)

    def call(self, node: ast.Call) -> None:
        arguments = [*node.args, *(one.value for one in node.keywords)]
        base, path = _chain(node.func)
        text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if (path or (getattr(base, "id", ""),))[-1] in EVALUATORS:
            texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
            self.spelled(name for one in texts for name in names_in(one, all_of_them=True))
        if isinstance(base, ast.Name):
            self.uses.identifiers.update((base.id, *path))
            if base.id == "getattr" and self.getattr(node):
                return
            self.refer(base.id, path, len(arguments), text if isinstance(text, str) else None)
            if base.id in ("setattr", "delattr") and node.args:
                changed = _chain(node.args[0])[0]
                if isinstance(changed, ast.Name):
                    self.changed(changed.id)
            if path and path[-1] in CHANGERS:
                self.changed(base.id)
        else:
            self.visit(node.func)
        self.all(arguments)

    def constant(self, node: ast.Constant) -> None:
        """A text may spell names, or an attribute: `vars(x)["__doc__"]`."""
        self.spelled(names_in(node.value))
        if isinstance(node.value, str) and node.value.startswith("__"):
            self.uses.identifiers.add(node.value)

    def spelled(self, names: Iterable[str]) -> None:
        """Names inside texts count where they are globals: `df.query("x < @LIMIT")`."""
        for name in names:
            if self.scope.find(name) == name:
                self.add(Reference(name, (), spelled=True))

    def getattr(self, node: ast.Call) -> bool:
        """`getattr(x, "name")` is `x.name`; True if it was one."""
        if len(node.args) < 2 or not isinstance(node.args[1], ast.Constant):
            return False
        attribute = node.args[1].value
        if not isinstance(attribute, str) or self.scope.find("getattr") != "getattr":
            return False
        self.add(Reference("getattr", (), 1))  # it may come to mean something else
        self.visit(ast.Attribute(value=node.args[0], attr=attribute, ctx=ast.Load()))
        self.all(node.args[2:])
        return True

    def subscript(self, node: ast.Subscript) -> None:
        base, path = _chain(node.value)
        if isinstance(base, ast.Name):
            text = node.slice.value if isinstance(node.slice, ast.Constant) else None
            self.uses.identifiers.update((base.id, *path))
            self.refer(base.id, path, -1, text if isinstance(text, str) else None)
            if not isinstance(node.ctx, ast.Load):
                self.changed(base.id)
        else:
            self.visit(node.value)
        self.visit(node.slice)

    def importing(self, node: ast.Import | ast.ImportFrom) -> None:
        for one, target in zip(node.names, _imports(node), strict=True):
            self.uses.imports.append(target)
            name = one.asname or one.name.partition(".")[0]
            if target.name or self.scope.find(name) is None:
                self.add(Reference(target, ()))

    def annotated(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and not _binds(node):
            self.refer(node.target.id, ())
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def changed(self, name: str) -> None:
        root = self.scope.find(name)
        if root is not None:
            self.uses.changes.append(root)

    def refer(self, name: str, path: tuple[str, ...], arguments: int = -1, text: str | None = None) -> None:
        root = self.scope.find(name)
        if root is None:
            return
        self.add(Reference(root, path, arguments, text))
        owner = self.scope.owner
        if owner and name.startswith("__") and not name.endswith("__"):
            self.add(Reference(f"_{owner.lstrip('_')}{name}", path, arguments, text))

    def add(self, reference: Reference) -> None:
        if reference not in self._seen:
            self._seen.add(reference)
            self.uses.references.append(reference)


def annotation_uses(definition: Definition, source: Source) -> list[Reference]:
    """The names in the annotations of a definition, for code that reads them at run time."""
    walker = _Walker(definition.owner, source.aq_names)
    for node in ast.walk(definition.node):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            walker.visit(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            walker.visit(node.returns)
    return walker.uses.references


def _chain(node: ast.expr) -> tuple[ast.expr, tuple[str, ...]]:
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    return node, tuple(reversed(path))


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    extra = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def _type_parameters(node: ast.AST) -> list[str]:
    return [one.name for one in getattr(node, "type_params", ())]


def _targets(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _imports(node: ast.Import | ast.ImportFrom) -> list[Import]:
    if isinstance(node, ast.Import):
        return [Import(one.name, 0, "") for one in node.names]
    return [Import(node.module or "", node.level, one.name) for one in node.names]


def _bind(scope: _Scope, body: Iterable[ast.AST]) -> None:
    """Enter what the statements bind in this scope, without entering inner scopes."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.bound.add(node.name)
            continue
        if isinstance(node, ast.Lambda) or (isinstance(node, ast.AnnAssign) and not _binds(node)):
            continue
        if isinstance(node, _COMPREHENSIONS):
            stack.extend(one for one in ast.walk(node) if isinstance(one, ast.NamedExpr))
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            _bind_import(scope, node)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            scope.bound.add(node.id)
        elif isinstance(node, ast.Global):
            scope.outer.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            scope.beyond.update(node.names)
        else:
            scope.bound.update(_captured(node))
        stack.extend(ast.iter_child_nodes(node))
    scope.bound -= scope.outer | scope.beyond


def _captured(node: ast.AST) -> list[str]:
    """The name that `except … as`, `case … as`, `case [*rest]` or `case {**rest}` binds."""
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return [node.name] if node.name else []
    return [node.rest] if isinstance(node, ast.MatchMapping) and node.rest else []


def _binds(node: ast.AnnAssign) -> bool:
    """`(x): int` alone makes no local variable of x."""
    return bool(node.simple) or node.value is not None


def _bind_import(scope: _Scope, node: ast.Import | ast.ImportFrom) -> None:
    for one, target in zip(node.names, _imports(node), strict=True):
        name = one.asname or one.name.partition(".")[0]
        if isinstance(node, ast.Import) and not one.asname:
            target = Import(name, 0, "")
        if name in scope.imports and scope.imports[name] != target:
            scope.bound.add(name)  # two meanings: both modules are followed where they are imported
        scope.imports[name] = target
