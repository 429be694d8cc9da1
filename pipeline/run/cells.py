"""A flow that was typed into a notebook, as a module: the source of every definition that it reaches.

Invariant: running the module is running what the notebook would run now: definitions are those that its names
mean at this moment, from whichever cell, and plain values stand there as they are. What cannot stand in
a file is an error that names the cell and the variable. Nothing of the notebook is executed.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aq.formats.errors import UsageError
from aq.pipeline.code.bindings import binders
from aq.pipeline.code.scopes import uses_of_statements
from aq.pipeline.code.spaces import plain
from aq.pipeline.code.syntax import Source
from aq.store.system import disk

if TYPE_CHECKING:
    from aq.pipeline.flow.ops import Flow
    from aq.pipeline.repo import Repo

MARK: Final = "# Written by aq from the cells of a notebook: edit the notebook, not this file.\n"
_CELL: Final = re.compile(r"^<ipython-input-|[/\\]ipykernel_[^/\\]*[/\\]")
_LONGEST: Final = 10_000


def written(repo: Repo, flow: Flow[..., Any]) -> str:
    """The path of the file that a notebook's flow is written to. Raises UsageError."""
    name = re.sub(r"\W", "_", flow.name) + "_cells.py"
    place = repo.root / name
    text = _Module(flow).text()
    before = place.read_text("utf-8") if place.is_file() else None
    if before is not None and not before.startswith(MARK):
        raise UsageError(
            f"{name} is where the cells of the flow {flow.name} go, and somebody else wrote it",
            hint=f"mv {name} my_{name}",
        )
    if before != text:
        disk.write_whole(str(place), text.encode())
    return name


@dataclass(slots=True, frozen=True)
class Cell:
    """One cell that ran, the first being number 1."""

    number: int
    source: Source


def cells() -> dict[str, Cell]:
    """{what code objects call their file: cell}, in the order of running."""
    found: dict[str, Cell] = {}
    for name in [one for one in linecache.cache if _CELL.search(one)]:
        source = Source(name, "".join(linecache.getlines(name)).encode())
        if source.is_valid:
            found[name] = Cell(len(found) + 1, source)
    return found


class _Part(NamedTuple):
    """A statement of a cell, and the globals that it may look up."""

    cell: Cell
    statement: ast.stmt
    names: tuple[str, ...]


@dataclass(slots=True)
class _Module:
    """Collects the parts of one module: imports, plain values, and statements of cells by their place."""

    flow: Flow[..., Any]
    cells: dict[str, Cell] = field(default_factory=cells)
    imports: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    statements: dict[tuple[int, int], _Part] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def text(self) -> str:
        """The module. Raises UsageError."""
        function = self.flow.function
        if function.__code__.co_filename not in self.cells:
            raise UsageError(
                f"the flow {self.flow.name} is defined in no file, and its source is not to be had: "
                "save it in a .py file first"
            )
        waiting = [(function.__name__, 0)]
        while waiting:
            name, number = waiting.pop()
            if name not in self.known:
                self.known.add(name)
                waiting += self._take(name, number)
        parts = [*self.imports.values(), *self.values.values()]
        blocks = [_lines(one.cell.source, one.statement) for one in self._in_order()]
        return MARK + "\n".join(parts) + "\n\n\n" + "\n\n\n".join(blocks) + "\n"

    def _take(self, name: str, user: int) -> list[tuple[str, int]]:
        """Enter what a name means; returns (name, cell) of what that needs. `user`: the cell that uses it."""
        variables: Mapping[str, Any] = self.flow.function.__globals__
        if name not in variables:
            return []  # a builtin, or a name that running it would not find either
        value = plain(variables[name])
        imported = self._import(name, value)
        if imported is not None:
            self.imports[name] = imported
            return []
        text = _plain(value)
        if text is not None:
            self.values[name] = f"{name} = {text}"
            return []
        found = self._statement(name, value)
        if found is None:
            kind = type(value).__name__
            raise UsageError(
                f"cell {user} uses {name}, a {kind} of the notebook that cannot stand in a file",
                hint=f'repo.commit({{"{name}": {name}}})  # then aq.read("{name}") in the flow',
            )
        cell, statement = found
        part = _Part(cell, statement, tuple(_names(cell.source, statement)))
        self.places[name] = cell.number, statement.lineno
        self.statements[self.places[name]] = part
        return [(one, cell.number) for one in part.names]

    def _in_order(self) -> list[_Part]:
        """As the cells ran, but what a definition takes when it is made stands before it: a class that was
        typed anew stands in a later cell than those which go on using it.
        """
        ordered: list[_Part] = []
        begun: set[tuple[int, int]] = set()

        def enter(place: tuple[int, int], *, is_called: bool) -> None:
            begun.add(place)
            part = self.statements[place]
            at_once = set(_taken_at_once(part.statement))
            for name in part.names:
                above = self.places.get(name)
                if above is not None and above not in begun and (is_called or name in at_once):
                    enter(above, is_called=True)  # a decorator, say: then all that it looks up is needed
            ordered.append(part)

        for place in sorted(self.statements):
            if place not in begun:
                enter(place, is_called=False)
        return ordered

    def _import(self, name: str, value: object) -> str | None:
        for cell in reversed(self.cells.values()):
            for node in binders(cell.source).get(name, ()):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    return _one_import(node, name)
        if isinstance(value, ModuleType):
            return f"import {value.__name__} as {name}"
        module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        home = sys.modules.get(module or "")
        if home is not None and module != self.flow.function.__module__ and getattr(home, own, None) is value:
            return f"from {module} import {own} as {name}"
        return None

    def _statement(self, name: str, value: object) -> tuple[Cell, ast.stmt] | None:
        """The statement of a cell that defines what a name means now."""
        code = getattr(value, "__code__", None)
        if code is not None:
            cell = self.cells.get(code.co_filename)
            here = [] if cell is None else binders(cell.source).get(name, [])
            for node in reversed(here):
                if cell is not None and _first(node) <= code.co_firstlineno <= (node.end_lineno or 0):
                    return cell, node
        if isinstance(value, type) or code is not None:
            for cell in reversed(self.cells.values()):
                found = binders(cell.source).get(name, [])
                if found:
                    return cell, found[-1]
        return None


def _plain(value: object) -> str | None:
    """The text of a value that Python can read back: numbers, texts, and containers of these."""
    if isinstance(value, FunctionType | type | ModuleType):
        return None
    try:
        text = repr(value)
        same = len(text) <= _LONGEST and repr(ast.literal_eval(text)) == text
    except Exception:  # whatever a representation of the user's does
        return None
    return text if same else None


def _one_import(node: ast.Import | ast.ImportFrom, name: str) -> str:
    """The import of one name."""
    kept = [one for one in node.names if (one.asname or one.name.partition(".")[0]) == name]
    if isinstance(node, ast.Import):
        return "\n".join(ast.unparse(ast.Import([one])) for one in kept)
    return ast.unparse(ast.ImportFrom(node.module, kept or node.names, node.level))


def _names(source: Source, statement: ast.stmt) -> Iterator[str]:
    """The globals that a statement may look up, in annotations and decorators too."""
    for reference in uses_of_statements([statement], source).references:
        if isinstance(reference.root, str):
            yield reference.root
    for node in ast.walk(statement):
        outside = [*getattr(node, "decorator_list", ()), getattr(node, "returns", None)]
        for part in [*outside, getattr(node, "annotation", None)]:
            for inner in ast.walk(part) if isinstance(part, ast.AST) else ():
                if isinstance(inner, ast.Name) and not hasattr(builtins, inner.id):
                    yield inner.id


def _taken_at_once(node: ast.AST) -> Iterator[str]:
    """The names that are looked up when a statement runs: not those in the bodies of functions."""
    if isinstance(node, ast.Name):
        yield node.id
    for field_name, value in ast.iter_fields(node):
        if field_name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, ast.AST):
                yield from _taken_at_once(inner)


def _first(node: ast.stmt) -> int:
    """The first line of a statement, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _lines(source: Source, statement: ast.stmt) -> str:
    lines = source.data.decode().splitlines()
    return "\n".join(lines[_first(statement) - 1 : statement.end_lineno])
