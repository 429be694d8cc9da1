"""Python source as a fingerprint sees it: definitions, and the normal form of a syntax tree.

Invariant: two sources have one normal form exactly if they differ in nothing that running them can
tell (comments, formatting, docstrings, annotations; docs/format.md, section 10). The normal form
follows the grammar's names, so a patch release of Python does not change it. Nothing is executed.
"""

from __future__ import annotations

import ast
import gc
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from blake3 import blake3

Function = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda

ROLES: Final = frozenset({"op", "metric", "check", "flow"})
"""aq's own decorators: their arguments enter a key apart, so they are no part of the code."""

PLAIN: Final = ""
ANNOTATIONS: Final = "a"
DOCSTRINGS: Final = "d"
SOURCES: Final = "s"

_TAG: Final = b"aq code 1"
_LEFT_OUT: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores", "simple"})
_SILENT_TEXT: Final = """
staticmethod classmethod property setter getter deleter wraps lru_cache cache cached_property
contextmanager asynccontextmanager abstractmethod overload final override total_ordering unique njit jit
vectorize
"""
_SILENT: Final = frozenset(_SILENT_TEXT.split())
"""Decorators, by last name, that do not read the annotations of what they decorate."""


@dataclass(slots=True, frozen=True, eq=False)
class Definition:
    """A function, class or lambda in a file. `owner`: the class around it, for private names."""

    qualname: str
    node: Node
    owner: str

    @property
    def line(self) -> int:
        """The first line, decorators included: what a code object calls its first line."""
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        return min([self.node.lineno, *(one.lineno for one in decorators)])


class Source:
    """The bytes of one file, parsed when first asked. `path`: as its project names it."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.memo: dict[object, object] = {}
        self._digests: dict[tuple[int, str], str] = {}

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree. Raises SyntaxError, ValueError (a null byte) or RecursionError."""
        was_enabled = gc.isenabled()
        gc.disable()  # a parse makes many objects and no garbage: collecting takes most of its time
        try:
            return ast.parse(self.data, self.path)
        finally:
            if was_enabled:
                gc.enable()

    @cached_property
    def is_valid(self) -> bool:
        """Whether it can be parsed at all."""
        try:
            return isinstance(self.tree, ast.Module)
        except (SyntaxError, ValueError, RecursionError):
            return False

    @cached_property
    def definitions(self) -> list[Definition]:
        """All definitions, outer before inner, in the order of the file."""
        return list(_definitions(self.tree, "", ""))

    @cached_property
    def by_name(self) -> dict[str, list[Definition]]:
        """Definitions by qualified name; several where a name is defined more than once."""
        found: dict[str, list[Definition]] = {}
        for one in self.definitions:
            found.setdefault(one.qualname, []).append(one)
        return found

    @cached_property
    def by_line(self) -> dict[tuple[int, str], list[Definition]]:
        """Definitions by (first line, own name)."""
        found: dict[tuple[int, str], list[Definition]] = {}
        for one in self.definitions:
            found.setdefault((one.line, getattr(one.node, "name", "<lambda>")), []).append(one)
        return found

    @cached_property
    def aq_names(self) -> frozenset[str]:
        """How this file spells aq's decorators: `aq.op`, or `op` alone."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                modules = [one.asname or one.name for one in node.names if one.name == "aq"]
                found |= {f"{module}.{role}" for module in modules for role in ROLES}
            elif isinstance(node, ast.ImportFrom) and node.module == "aq" and not node.level:
                found |= {one.asname or one.name for one in node.names if one.name in ROLES}
        return frozenset(found)

    def digest(self, node: ast.AST | Sequence[ast.AST], variant: str = PLAIN) -> str:
        """64 hex digits of the normal form of a definition, or of a list of statements.

        `variant`: any of "a" (annotations count), "d" (docstrings count), "s" (all bytes of the file do).
        """
        key = (id(node), variant)
        if isinstance(node, ast.AST) and key in self._digests:
            return self._digests[key]
        hasher = blake3(_TAG)
        hasher.update(normal_form(node, variant, self.aq_names))
        if SOURCES in variant:
            hasher.update(self.data)
        result = hasher.hexdigest()
        if isinstance(node, ast.AST):  # a tree lives as long as this object: its ids stay unique
            self._digests[key] = result
        return result


def combine(texts: Iterable[str]) -> str:
    """64 hex digits of a sequence of texts."""
    hasher = blake3(_TAG)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hasher.update(struct.pack("<Q", len(data)) + data)
    return hasher.hexdigest()


def _definitions(node: ast.AST, prefix: str, owner: str) -> Iterator[Definition]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield Definition(prefix + child.name, child, owner)
            yield from _definitions(child, f"{prefix}{child.name}.", child.name)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = getattr(child, "name", "<lambda>")
            yield Definition(prefix + name, child, owner)
            yield from _definitions(child, f"{prefix}{name}.<locals>.", owner)
        else:
            yield from _definitions(child, prefix, owner)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or a chain of attributes; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def decorators(node: ast.AST, aq_names: frozenset[str]) -> tuple[list[ast.expr], list[ast.expr]]:
    """(aq's own decorators, the others) of a definition."""
    own: list[ast.expr] = []
    others: list[ast.expr] = []
    for one in getattr(node, "decorator_list", []):
        name = dotted(one.func if isinstance(one, ast.Call) else one)
        (own if name in aq_names else others).append(one)
    return own, others


def normal_form(node: ast.AST | Sequence[ast.AST], variant: str, aq_names: frozenset[str]) -> bytes:
    """The canonical bytes of a definition or of statements (docs/format.md, section 10).

    Methods of a class that is itself the root stand as their names alone: each is a definition.
    """
    writer = _Writer(variant, aq_names)
    if isinstance(node, ast.AST):
        writer.root = node
        writer.node(node)
    else:
        writer.sequence(list(node))
    return b"".join(writer.out)


class _Writer:
    """Writes one normal form. `typed`: whether annotations of the class around count."""

    def __init__(self, variant: str, aq_names: frozenset[str]) -> None:
        self.out: list[bytes] = []
        self.root: ast.AST | None = None
        self.annotations = ANNOTATIONS in variant
        self.docs = DOCSTRINGS in variant
        self.aq_names = aq_names
        self.typed = False

    def node(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Constant:
            self.constant(node.value)  # type: ignore[attr-defined]
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.definition(node)
            return
        if kind is ast.AnnAssign and node.value is not None and not self.typed:  # type: ignore[attr-defined]
            node = ast.Assign(targets=[node.target], value=node.value)  # type: ignore[attr-defined]
        self.begin(type(node).__name__)
        for name in node._fields:
            self.field(name, getattr(node, name, None))
        self.out.append(b")")

    def begin(self, name: str) -> None:
        self.out.append(b"(" + _short(name))

    def field(self, name: str, value: object) -> None:
        if value is None or name in _LEFT_OUT:
            return
        if name == "annotation" and not self.typed:
            return
        if isinstance(value, list):
            value = self.kept(value)
            if not value:
                return
        self.out.append(_short(name))
        if isinstance(value, ast.AST):
            self.node(value)
        elif isinstance(value, list):
            self.sequence(value)
        else:
            self.constant(value)

    def sequence(self, items: Sequence[object]) -> None:
        items = self.kept(items)
        self.out.append(b"[" + struct.pack("<I", len(items)))
        for item in items:
            if isinstance(item, ast.AST):
                self.node(item)
            else:
                self.constant(item)

    def kept(self, items: Sequence[object]) -> list[object]:
        """Statements that do something: no bare constants (docstrings among them), no `pass`."""
        return [
            item
            for item in items
            if not (isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and _is_bare(item)))
        ]

    def definition(self, node: Function | ast.ClassDef) -> None:
        outer, outer_root = self.typed, self.root
        _, others = decorators(node, self.aq_names)
        self.begin(type(node).__name__)
        self.field("name", node.name)
        self.field("decorator_list", others)
        if self.docs and (text := _docstring(node)) is not None:
            self.field("docstring", text)
        if isinstance(node, ast.ClassDef):
            self.typed = self.annotations or bool(others or node.bases or node.keywords)
            self.field("bases", node.bases)
            self.field("keywords", node.keywords)
            self.field("body", self.shell(node) if node is outer_root else node.body)
        else:
            self.typed = self.annotations or not all(_is_silent(one) for one in others)
            self.field("args", node.args)
            if self.typed:
                self.field("returns", node.returns)
            self.typed = False  # annotations of local variables are never evaluated
            self.field("body", node.body)
        self.typed = outer
        self.out.append(b")")

    def shell(self, node: ast.ClassDef) -> list[object]:
        return [
            one.name if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) else one for one in node.body
        ]

    def constant(self, value: object) -> None:
        self.out.append(_constant(value))


def _short(name: str) -> bytes:
    data = name.encode()
    return bytes((len(data),)) + data


def _is_bare(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Constant)


def _docstring(node: ast.AST) -> str | None:
    body: list[ast.stmt] = getattr(node, "body", [])
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        text = body[0].value.value
        return text if isinstance(text, str) else None
    return None


def _is_silent(decorator: ast.expr) -> bool:
    name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return name.rpartition(".")[2] in _SILENT


def _constant(value: object) -> bytes:
    """Type tag, length (u64), bytes: what tells `1`, `True`, `1.0`, `"1"` and `b"1"` apart."""
    if value is None:
        return b"N"
    if value is True:
        return b"T"
    if value is False:
        return b"F"
    if value is Ellipsis:
        return b"."
    if isinstance(value, str):
        return _tagged(b"s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return _tagged(b"b", value)
    if isinstance(value, int):
        return _tagged(b"i", b"%x" % value if value >= 0 else b"-%x" % -value)
    if isinstance(value, float):
        return _tagged(b"f", struct.pack("<d", value))
    if isinstance(value, complex):
        return _tagged(b"c", struct.pack("<dd", value.real, value.imag))
    raise TypeError(f"a syntax tree cannot hold a {type(value).__name__}")


def _tagged(tag: bytes, data: bytes) -> bytes:
    return tag + struct.pack("<Q", len(data)) + data
