"""Mutable defaults that a function changes from call to call, told from its syntax tree.

Invariant: nothing is executed. It sees changes in place by methods, items, attributes and `+=`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final

_CHANGERS_TEXT: Final = """
append add update setdefault pop popitem clear extend insert remove discard sort reverse fill set
"""
CHANGERS: Final = frozenset(_CHANGERS_TEXT.split())
"""Methods that change lists, dicts, sets, arrays and context variables in place."""


def changed_defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Parameters whose default is a list, dict or set that the body changes in place."""
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    pairs = list(zip(positional[len(positional) - len(spec.defaults) :], spec.defaults, strict=True))
    pairs += [(a, d) for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d is not None]
    mutable = {one.arg for one, default in pairs if _is_mutable(default)}
    return sorted(mutable & _changed_names(node.body))


def _is_mutable(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"list", "dict", "set", "defaultdict"}
    return isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _changed_names(body: Iterable[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in (inner for statement in body for inner in ast.walk(statement)):
        target: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            target = node.func.value if node.func.attr in CHANGERS else None
        elif isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found
