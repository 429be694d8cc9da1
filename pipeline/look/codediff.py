"""How code differs between two snapshots: definition by definition, ops under their step's name.

Invariant: a definition counts as changed only if its syntax tree differs: comments, docstrings,
formatting and moved lines do not show here (they show in the file's own diff).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact, Run, Step
from aq.pipeline.records.results import CodeDiff
from aq.store.commits.snapshots import Entry, Origin
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.pipeline.look.compare import Side

Changes = Sequence[tuple[str, Entry | None, Entry | None]]


def code_changes(store: Store, before: Side, after: Side, found: Changes) -> list[CodeDiff]:
    """One entry a changed definition of the Python files among the changed paths."""
    steps = _step_names(store, before) | _step_names(store, after)
    result: list[CodeDiff] = []
    for path, old, new in found:
        if not path.endswith(".py") or not _is_file(old) or not _is_file(new):
            continue
        module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        olds, news = _definitions(before.source, old), _definitions(after.source, new)
        for name in [*olds, *(name for name in news if name not in olds)]:
            change = _change(olds.get(name), news.get(name))
            if change is not None:
                op = steps.get(f"{module}:{name}") or steps.get(f"{module.rpartition('.')[2]}:{name}")
                text = _unified(olds.get(name), news.get(name), f"{path}:{name}")
                result.append(CodeDiff(op=op or f"{module}:{name}", change=change, diff=text))
    return result


Definition = tuple[str, str]  # normal form, source text


def _is_file(entry: Entry | None) -> bool:
    return entry is None or entry.origin is Origin.FILE


def _step_names(store: Store, side: Side) -> dict[str, str]:
    """{module:function: FLOW/NAME} of the steps that a side's newest runs hold."""
    found: dict[str, str] = {}
    for run in side.facts.flows.values():
        for one in get_record(store, Run, run).steps:
            if one.step is not None and one.role != "parse":
                found[get_record(store, Step, one.step).op] = one.name
    return found


def _definitions(source: Source, entry: Entry | None) -> dict[str, Definition]:
    """{name: definition} of a module's top level; the rest of it under `(module)`."""
    if entry is None:
        return {}
    from aq.formats.artifacts import values

    record = get_record(source, Artifact, entry.artifact)
    text = b"".join(values.file_bytes(record, source)).decode("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {"(module)": (text, text)}
    found: dict[str, Definition] = {}
    rest: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = (_normal(node), _source(text, node))
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            rest.append(node)
    if rest:
        normal = "\n".join(_normal(node) for node in rest)
        found["(module)"] = (normal, "\n".join(_source(text, node) for node in rest))
    return found


def _source(text: str, node: ast.stmt) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(one.lineno for one in decorators)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def _normal(node: ast.stmt) -> str:
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if not isinstance(body, list) or not isinstance(
            inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            continue
        if body and isinstance(body[0], ast.Expr) and _is_text(body[0].value):
            inner.body = body[1:]
    return ast.dump(node)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _change(old: Definition | None, new: Definition | None) -> str | None:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "changed" if old[0] != new[0] else None


def _unified(old: Definition | None, new: Definition | None, label: str) -> str:
    import difflib

    before = old[1].splitlines() if old else []
    after = new[1].splitlines() if new else []
    lines = difflib.unified_diff(before, after, f"a/{label}", f"b/{label}", lineterm="", n=3)
    return "\n".join(lines)
