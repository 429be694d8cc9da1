"""Names and normal forms, checked on real code against what Python itself says of it."""

from __future__ import annotations

import ast
import random
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.pipeline.code.scopes import Import, uses_of
from aq.pipeline.code.syntax import ANNOTATIONS, DOCSTRINGS, PLAIN, Definition, Source

LIBRARY = Path(ast.__file__).parent
FILES = [
    LIBRARY / name
    for name in (
        "asyncio/tasks.py contextlib.py copy.py csv.py dataclasses.py functools.py json/decoder.py random.py "
        "test/test_scope.py test/test_named_expressions.py test/test_grammar.py test/test_patma.py"
    ).split()
    if (LIBRARY / name).exists()
]


def source_of(path: Path) -> Source:
    return Source(path.name, path.read_bytes())


# --- names


def globals_of(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that Python looks up among the globals, in a scope and those inside it."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from globals_of(child)


def tables(table: symtable.SymbolTable, prefix: str = "") -> Iterator[tuple[str, int, symtable.SymbolTable]]:
    for child in table.get_children():
        name = prefix + child.get_name()
        if child.get_type() == "function" and not child.get_name().startswith(
            ("genexpr", "listcomp", "lambda")
        ):
            yield name, child.get_lineno(), child
        inner = f"{name}." if child.get_type() == "class" else f"{name}.<locals>."
        yield from tables(child, inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_global_name_is_missed(path: Path) -> None:
    source = source_of(path)
    ours: dict[tuple[str, int], Definition] = {(one.qualname, one.line): one for one in source.definitions}
    compared = 0
    for name, line, table in tables(symtable.symtable(source.data, str(path), "exec")):
        one = ours.get((name, line))
        if one is None:
            continue
        compared += 1
        uses = uses_of(one, source)
        found = {reference.root for reference in uses.references if isinstance(reference.root, str)}
        missed = set(globals_of(table)) - found - annotation_names(one.node)
        assert not missed, f"{name}:{line}"
    assert compared > 5


def annotation_names(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for inner in ast.walk(node):
        for given in (getattr(inner, "annotation", None), getattr(inner, "returns", None)):
            if given is not None:
                found |= {one.id for one in ast.walk(given) if isinstance(one, ast.Name)}
    return found


def test_what_is_local_is_no_global() -> None:
    text = """
        def f(a, *b, c=1, **d):
            e, (g, *h) = a; i: int = 1
            for j in a: pass
            with a as k: pass
            try: pass
            except ValueError as m: m
            import os.path, json as n
            from a import o as p
            [q for q in a if (r := q)]
            lambda s: s
            def t(u): return u, e, r
            class V: w = 1; x = w
            match a:
                case {"k": y, **z}: y, z
                case [aa, *bb] as cc: aa, bb, cc
            del dd
            e; g; h; i; j; k; p; r; t; V; b; c; d; dd
    """
    import textwrap

    source = Source("f.py", textwrap.dedent(text).encode())
    uses = uses_of(source.definitions[0], source)
    assert {one.root for one in uses.references if isinstance(one.root, str)} == {"ValueError"}
    assert Import("a", 0, "o") in {one.root for one in uses.references}
    assert [one.module for one in uses.imports] == ["os.path", "json", "a"]


# --- normal forms


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_writing_code_in_another_way_changes_nothing(path: Path) -> None:
    source = source_of(path)
    rewritten = Source(path.name, ast.unparse(source.tree).encode())
    again = Source(path.name, source.data.replace(b"\n", b"\r\n"))
    for variant in (PLAIN, ANNOTATIONS, DOCSTRINGS):
        digest = source.digest(source.tree.body, variant)
        assert again.digest(again.tree.body, variant) == digest
        if path.name not in ("test_grammar.py",):  # unparse itself loses a corner of it
            assert rewritten.digest(rewritten.tree.body, variant) == digest


def mutations(tree: ast.AST) -> list[tuple[ast.AST, str, object]]:
    """(node, field, another value) for all that means something in running code."""
    found: list[tuple[ast.AST, str, object]] = []
    silent = {id(inner) for node in ast.walk(tree) for inner in silent_parts(node)}
    for node in ast.walk(tree):
        if id(node) in silent:
            continue
        if isinstance(node, ast.Constant):
            found.append((node, "value", changed(node.value)))
        elif isinstance(node, ast.Name):
            found.append((node, "id", node.id + "_"))
        elif isinstance(node, ast.Attribute):
            found.append((node, "attr", node.attr + "_"))
        elif isinstance(node, ast.BinOp):
            found.append((node, "op", ast.MatMult() if isinstance(node.op, ast.Add) else ast.Add()))
        elif isinstance(node, ast.Compare):
            found.append(
                (node, "ops", [ast.IsNot() if isinstance(one, ast.Is) else ast.Is() for one in node.ops])
            )
        elif isinstance(node, ast.keyword | ast.arg):
            found.append((node, "arg", f"{node.arg}_"))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append((node, "name", node.name + "_"))
        elif isinstance(node, ast.Call | ast.Tuple | ast.List):
            name = "args" if isinstance(node, ast.Call) else "elts"
            found.append((node, name, [*getattr(node, name), ast.Constant(1)]))
        elif isinstance(node, ast.If | ast.While | ast.For):
            found.append((node, "orelse", [*node.orelse, ast.Return(ast.Constant(7))]))
    return found


def changed(value: object) -> object:
    return (
        {"a": 1}.get(str(value), 2)
        if isinstance(value, bool)
        else (value, 1)
        if value is ...
        else f"{value!r}_"
    )


def silent_parts(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, and statements that are a bare constant."""
    for name in ("annotation", "returns"):
        if getattr(node, name, None) is not None:
            yield from ast.walk(getattr(node, name))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value


@pytest.mark.parametrize("path", FILES[::3], ids=lambda path: path.name)
def test_every_change_of_meaning_changes_the_digest(path: Path) -> None:
    source = source_of(path)
    before = Source(path.name, source.data).digest(source.tree.body)
    choose = random.Random(path.name)
    all_of_them = mutations(source.tree)
    for node, name, value in choose.sample(all_of_them, min(25, len(all_of_them))):
        kept = getattr(node, name)
        setattr(node, name, value)
        assert source.digest(source.tree.body) != before, ast.dump(node)
        setattr(node, name, kept)
    assert source.digest(source.tree.body) == before
