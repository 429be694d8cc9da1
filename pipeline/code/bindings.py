"""What a module's top level binds and runs, read from its syntax tree alone.

Invariant: nothing is executed or imported. Digests of bindings change when the meaning of a name
may change; whether it does, only an import could tell, except for literals.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aq.pipeline.code.effects import import_targets, is_main_guard
from aq.pipeline.code.scopes import Import
from aq.pipeline.code.spelled import names_in, variables_in
from aq.pipeline.code.syntax import ANNOTATIONS, DEFINITIONS, Source, combine, decorators, dotted

STAR: Final = "*"
_MAKES_NAMES: Final = "__getattr__"
LIKE_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
"""What an environment variable is mostly called."""
_DYNAMIC: Final = frozenset(
    {"eval", "exec", "import_module", "__import__", "globals", "vars", "getattr", "modules", "__subclasses__"}
)


def binders(source: Source) -> dict[str, list[ast.stmt]]:
    """{name: the top-level statements that bind it}; `*` has the star imports."""
    known = source.memo.get("binders")
    if isinstance(known, dict):
        return known
    found: dict[str, list[ast.stmt]] = {}
    for node in source.tree.body:
        for name in dict.fromkeys(_names(node)):
            found.setdefault(name, []).append(node)
    source.memo["binders"] = found
    return found


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, DEFINITIONS):
        yield node.name
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            yield inner.id
        elif isinstance(inner, DEFINITIONS):
            yield inner.name
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            yield from (alias_name(one) for one in inner.names)
        elif isinstance(inner, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and inner.name:
            yield inner.name


def alias_name(one: ast.alias) -> str:
    """The name that one part of an import statement binds."""
    return one.asname or (one.name if one.name == STAR else one.name.partition(".")[0])


def binding_digest(source: Source, name: str) -> str:
    """A digest of how a name is bound: of the statements, but not of what is inside definitions."""
    if name == "__doc__":
        return combine([ast.get_docstring(source.tree, clean=False) or ""])
    if name == "__annotations__":
        return source.digest(source.tree.body, ANNOTATIONS)
    found = [*binders(source).get(name, ()), *binders(source).get(STAR, ())]
    return combine(_shape(source, node, name) for node in found)


def _shape(source: Source, node: ast.stmt, name: str) -> str:
    if isinstance(node, DEFINITIONS):
        return f"{type(node).__name__} {node.name}"
    if isinstance(node, ast.Import | ast.ImportFrom):
        level = getattr(node, "level", 0)
        module = getattr(node, "module", "") or ""
        parts = [one.name for one in node.names if alias_name(one) in (name, STAR)]
        return f"{type(node).__name__} {level} {module} {' '.join(parts)}"
    return source.digest([node])


def full_digest(source: Source, name: str) -> str:
    """A digest of all statements that bind a name, with what is inside them."""
    return source.digest(binders(source).get(name, []))


def literal(source: Source, name: str) -> str | None:
    """The text of a name's value where it is plainly a literal without sets; None for all else."""
    found = binders(source).get(name, ())
    node = found[0] if len(found) == 1 and STAR not in binders(source) else None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    else:
        return None
    if not isinstance(target, ast.Name) or any(isinstance(one, ast.Set) for one in ast.walk(value)):
        return None
    try:
        return repr(ast.literal_eval(value))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def import_targets_of(source: Source, name: str) -> list[Import]:
    """The imports that bind a name: (module, level, the name there), "" for the module itself."""
    found = []
    for node in [*binders(source).get(name, ()), *binders(source).get(STAR, ())]:
        for inner in ast.walk(node):
            if isinstance(inner, ast.ImportFrom):
                there = [one for one in inner.names if alias_name(one) in (name, STAR)]
                stars = [name, "__all__"] if any(one.name == STAR for one in there) else []
                names = [*stars, *(one.name for one in there if one.name != STAR)]
                found += [Import(inner.module or "", inner.level, one) for one in names]
    return found


# --- what runs on import


def import_digest(source: Source) -> str:
    """A digest of the code that runs when the module is imported.

    Left out: the bodies of functions and methods, literals bound to names, aq's decorators, and of imports
    the order and those of the standard library, which cannot fail.
    """
    imports = {f"{one.level} {one.module} {one.name}" for one in import_targets(source) if _may_fail(one)}
    return combine([*_run_parts(source), *sorted(imports)])


def _may_fail(target: Import) -> bool:
    return bool(target.level) or target.module.partition(".")[0] not in sys.stdlib_module_names


def _run_parts(source: Source) -> Iterator[str]:
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef):
            yield source.digest(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            others = decorators(node, source.aq_names)[1]
            if others:
                yield f"{node.name} {source.digest(others)}"
        elif not _is_idle(source, node):
            yield source.digest([node])


def _is_idle(source: Source, node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and is_main_guard(node) and not node.orelse:
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign):
        names = list(_names(node))
        return len(names) == 1 and literal(source, names[0]) is not None
    return False


def _run_identifiers(source: Source) -> set[str]:
    found: set[str] = set()
    for node in source.tree.body:
        if isinstance(node, DEFINITIONS):
            others: list[ast.AST] = [*decorators(node, source.aq_names)[1]]
            if isinstance(node, ast.ClassDef):
                methods = (ast.FunctionDef, ast.AsyncFunctionDef)
                others += [*node.bases, *node.keywords]
                for one in node.body:
                    others += _defaults(one) if isinstance(one, methods) else [one]
            else:
                others += _defaults(node)
            for other in others:
                found |= identifiers(other)
        elif not _is_idle(source, node):
            found |= identifiers(node)
    return found


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.AST]:
    arguments = node.args
    given = [one for one in (*arguments.defaults, *arguments.kw_defaults) if one is not None]
    return [*given, *node.decorator_list]


def identifiers(node: ast.AST) -> set[str]:
    """Every name, attribute and keyword in a tree, and the names that its texts may spell."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            found.add(inner.attr)
        elif isinstance(inner, ast.alias):
            found.add(inner.name.rpartition(".")[2])
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            found.update(names_in(inner.value, all_of_them=True))
    return found


def variables_named(source: Source) -> set[str]:
    """The environment variables that a file names anywhere: `environ["X"]`, `getenv("X")`, ….

    More than its import reads, never less, but for names that are computed.
    """
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Subscript):
            named, text = dotted(node.value), node.slice
        elif isinstance(node, ast.Call) and node.args:
            named, text = dotted(node.func), node.args[0]
        else:
            continue
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            parts = set(named.split("."))
            if parts & {"environ", "environb", "getenv"}:
                found.add(text.value)
            elif "expandvars" in parts:
                found.update(variables_in(text.value))
    return found


def reads_any_variable(source: Source) -> bool:
    """Whether a file reads environment variables, maybe by names that it computes."""
    return any(
        isinstance(node, ast.Attribute | ast.alias) and _last(node) in ("environ", "environb", "getenv")
        for node in ast.walk(source.tree)
    )


def _last(node: ast.Attribute | ast.alias) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.name


def likely_variables(node: ast.AST) -> set[str]:
    """The texts in a tree that look like names of environment variables."""
    texts = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    return {text for text in texts if isinstance(text, str) and LIKE_VARIABLE.fullmatch(text)}


def run_on_import(sources: Iterable[Source]) -> dict[str, list[str]]:
    """{path: names} of what the imports of these files may run or read, by the names in the code.

    By identifiers alone, so it may hold too much and never too little; all where code is dynamic.
    """
    listed = list(sources)
    waiting: set[str] = set()
    for source in listed:
        waiting |= _run_identifiers(source)
        if _MAKES_NAMES in binders(source):  # it runs for `from m import x` of a name that is not there
            waiting.add(_MAKES_NAMES)
    providers = _providers(listed)
    seen: set[str] = set()
    found: dict[tuple[str, str], None] = {}
    while waiting:
        if waiting & _DYNAMIC:
            return {source.path: sorted(binders(source)) for source in listed}
        seen |= waiting
        following: set[str] = set()
        for identifier in waiting:
            for source, name in providers.get(identifier, ()):
                if (source.path, name) not in found:
                    found[(source.path, name)] = None
                    for node in binders(source)[name]:
                        following |= identifiers(node)
        waiting = following - seen
    result: dict[str, list[str]] = {}
    for path, name in sorted(found):
        result.setdefault(path, []).append(name)
    return result


def _providers(sources: Iterable[Source]) -> Mapping[str, list[tuple[Source, str]]]:
    """{identifier: top-level names that it may lead to}: their own name, or a definition inside."""
    found: dict[str, list[tuple[Source, str]]] = {}
    for source in sources:
        for name in binders(source):
            found.setdefault(name, []).append((source, name))
        for one in source.definitions:
            parts = one.qualname.split(".")
            if len(parts) > 1 and parts[0] in binders(source):
                found.setdefault(parts[-1], []).append((source, parts[0]))
    return found
