"""What a module does when it is imported, beyond defining names: `np.seterr(…)`, `pd.X.y = …`.

Invariant: such statements of every module that an op's module imports count for the op, since they
change what library code does; statements that only bind names do not, their values are looked up.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Final

from aq.pipeline.code.scopes import Import, uses_of_statements
from aq.pipeline.code.syntax import Source, decorators, dotted

if TYPE_CHECKING:
    from aq.pipeline.code.reach import Reach
    from aq.pipeline.code.spaces import Space

EFFECTS: Final = "(import)"
"""Stands for a module's statements with effects where code has a name."""

_ACTING: Final = re.compile(
    r"^(set|seed|use|register|patch|enable|disable|config|install|init|add|manual_seed)"
)
_QUIET: Final = frozenset({"print", "super"})
_BLOCKS: Final = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.TryStar, ast.Match)


def follow(reach: Reach) -> None:
    """Follow the effects of the modules reached, and of those that they import."""
    done: set[str] = set()
    while waiting := [space for name, space in reach.spaces.known.items() if name not in done]:
        for space in waiting:
            done.add(space.name)
            if space.source is not None:
                _follow_module(reach, space, space.source)
        reach.drain()


def _follow_module(reach: Reach, space: Space, source: Source) -> None:
    try:
        statements = effects(source)
        targets = import_targets(source)
    except (SyntaxError, ValueError):
        return
    for target in targets:
        _enter(reach, target, space)
    statements = [one for one in source.tree.body if one in statements or _patches_library(reach, one, space)]
    if statements:
        label = f"{space.name}:{EFFECTS}"
        reach.acting.append((label, statements, source))
        for path, digest in reach.project.read_on_import(space.name).items():
            reach.values[f"{label} {path}"] = digest
        reach.follow_uses(uses_of_statements(statements, source), space, {}, label)


def _enter(reach: Reach, target: Import, space: Space) -> None:
    """A module of the user that a module imports: what it does on import counts."""
    found = reach.spaces.imported(target, space, load=False)
    if found is not None and reach.spaces.is_own(found):
        reach.spaces.of_module(found)


def _patches_library(reach: Reach, node: ast.stmt, space: Space) -> bool:
    """Whether a statement's decorators or calls are the user's own and change a library."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        called = node.decorator_list
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        called = [one for one in ast.walk(node.value) if isinstance(one, ast.Call)]
    else:
        return False
    names = (dotted(one.func if isinstance(one, ast.Call) else one) for one in called)
    found = (reach.spaces.resolve(name, space) for name in names if name)
    return any(_changes_library(reach, one, set()) for one in found)


def _changes_library(reach: Reach, value: object, seen: set[int]) -> bool:
    """Whether a function of the user, or one that it calls, sets an attribute of a library."""
    if not isinstance(value, FunctionType) or id(value) in seen:
        return False
    seen.add(id(value))
    space = reach.spaces.of_function(value)
    for uses in reach.spaces.uses_of(value, space):
        for root in uses.changes:
            if isinstance(root, str):
                found = space.variables.get(root)
            else:
                found = reach.spaces.imported_value(root, space)
            if reach.spaces.is_library(found):
                return True
        names = (".".join((one.root, *one.path)) for one in uses.references if isinstance(one.root, str))
        if any(_changes_library(reach, reach.spaces.resolve(name, space), seen) for name in names):
            return True
    return False


def effects(source: Source) -> list[ast.stmt]:
    """The statements of a module that act on something else than its own names."""
    known = source.memo.get("effects")
    if not isinstance(known, list):
        local = set(_bound(source.tree.body)) - _imported(source.tree.body)
        known = [one for one in source.tree.body if _acts(one, source, local)]
        source.memo["effects"] = known
    return known


def bound_names(source: Source) -> list[str]:
    """The names that a module binds itself, in the order of the file."""
    known = source.memo.get("bound")
    if not isinstance(known, list):
        known = source.memo["bound"] = list(dict.fromkeys(_bound(source.tree.body)))
    return known


def import_targets(source: Source) -> list[Import]:
    """What a module imports when it is itself imported."""
    known = source.memo.get("imports")
    if not isinstance(known, list):
        known = source.memo["imports"] = [
            target for one in _import_time(source.tree.body) for target in _targets(one)
        ]
    return known


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (outer for one in node.names for outer in _outer(one.name, 0))
        return
    yield from _outer(node.module or "", node.level)
    base = f"{node.module}." if node.module else ""
    yield from (Import(base + one.name, node.level, "?") for one in node.names if one.name != "*")


def _outer(name: str, level: int) -> Iterator[Import]:
    """`a.b.c` imports `a` and `a.b` first."""
    parts = name.split(".")
    yield from (Import(".".join(parts[:count]), level, "") for count in range(1, len(parts) + 1))


def imports_name(source: Source, top: str) -> bool:
    """Whether a file imports a top-level module, wherever in it."""
    for node in ast.walk(source.tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        if any(name.partition(".")[0] == top for name in names):
            return True
    return False


def _import_time(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that run when the module does: not those inside functions."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in ast.iter_child_nodes(node):
                if isinstance(inner, ast.stmt):
                    yield from _import_time([inner])
                elif isinstance(inner, ast.ExceptHandler | ast.match_case):
                    yield from _import_time(inner.body)


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((one.asname or one.name.partition(".")[0]) for one in node.names)
        else:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id
                elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    yield inner.name
                elif isinstance(inner, ast.Import | ast.ImportFrom):
                    yield from ((one.asname or one.name.partition(".")[0]) for one in inner.names)


def _imported(body: list[ast.stmt]) -> set[str]:
    return {
        one.asname or one.name.partition(".")[0]
        for node in body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for one in node.names
    }


def _acts(node: ast.stmt, source: Source, local: set[str]) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return any(_is_acting(one) for one in decorators(node, source.aq_names)[1])
    if isinstance(node, ast.Expr):
        return _has_call(node.value)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        outside = any(_stores_outside(one, local) for target in targets for one in ast.walk(target))
        return outside or (node.value is not None and _has_acting_call(node.value))
    if isinstance(node, ast.If) and is_main_guard(node):
        return any(_acts(one, source, local) for one in node.orelse)
    if isinstance(node, _BLOCKS):
        return any(
            _acts(one, source, local)
            for one in ast.walk(node)
            if isinstance(one, ast.stmt) and one is not node
        )
    return False


def _has_call(node: ast.expr) -> bool:
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call | ast.Await)]
    return any(not (isinstance(one, ast.Call) and dotted(one.func) in _QUIET) for one in calls)


def _has_acting_call(node: ast.expr) -> bool:
    return any(_is_acting(one) for one in ast.walk(node) if isinstance(one, ast.Call))


def _is_acting(node: ast.expr) -> bool:
    name = dotted(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]
    return bool(_ACTING.match(name)) and name not in ("set",)


def _stores_outside(node: ast.AST, local: set[str]) -> bool:
    if not isinstance(node, ast.Attribute | ast.Subscript) or isinstance(node.ctx, ast.Load):
        return False
    base: ast.expr = node
    while isinstance(base, ast.Attribute | ast.Subscript):
        base = base.value
    return not (isinstance(base, ast.Name) and base.id in local)


def is_main_guard(node: ast.If) -> bool:
    """`if __name__ == "__main__":`, which never holds in a module that aq loads."""
    test = node.test
    names = {one.id for one in ast.walk(test) if isinstance(one, ast.Name)}
    texts = {one.value for one in ast.walk(test) if isinstance(one, ast.Constant)}
    return isinstance(test, ast.Compare) and names == {"__name__"} and texts == {"__main__"}
