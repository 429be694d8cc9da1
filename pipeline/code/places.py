"""Where code changed since a run: the first line of a definition, or of what binds a name, that differs.

Invariant: only to be shown, and told in one way by `run`, `run -n` and `status`. Comments, docstrings and
formatting are passed over; what cannot be found is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from aq.pipeline.code.bindings import binders, literal
from aq.pipeline.code.syntax import Source

_SHOWN_MOST: Final = 40
_NESTED: Final = (ast.stmt, ast.excepthandler, ast.match_case)
ReadCode = Callable[[str], bytes | None]


class Places:
    """Compares files with what they were. `before`: the bytes that a path had at the run."""

    def __init__(self, before: ReadCode, now: Callable[[str], Source | None]) -> None:
        self._read = before
        self._now = now
        self._sources: dict[str, Source | None] = {}
        self._told: dict[tuple[str, str, bool], str] = {}

    def definition(self, path: str | None, qualname: str) -> str:
        """` (flow.py:12)` for a definition that changed; "" where nothing is known of it."""
        return self._once(path, qualname, is_name=False)

    def name(self, path: str | None, name: str) -> str:
        """`: 100 → 200 (flow.py:3)` for a global of literals, ` changed (flow.py:3)` for another."""
        return self._once(path, name, is_name=True) or " changed"

    def _once(self, path: str | None, name: str, *, is_name: bool) -> str:
        if path is None:
            return ""
        key = (path, name, is_name)
        if key not in self._told:
            before, now = self._before(path), self._now(path)
            known = before is not None and now is not None and before.is_valid and now.is_valid
            teller = _of_name if is_name else _of_definition
            self._told[key] = teller(before, now, name) if known and before and now else ""
        return self._told[key]

    def _before(self, path: str) -> Source | None:
        if path not in self._sources:
            data = self._read(path)
            self._sources[path] = None if data is None else Source(path, data)
        return self._sources[path]


def _of_definition(before: Source, now: Source, qualname: str) -> str:
    plain = qualname.partition("#")[0]
    old, new = before.by_name.get(plain, []), now.by_name.get(plain, [])
    if not old or not new:
        return ""
    line = _first_difference(partial(_parts, old[-1].node), partial(_parts, new[-1].node))
    return f" ({now.path}:{line or new[-1].line})"


def _of_name(before: Source, now: Source, name: str) -> str:
    found = binders(now).get(name)
    if not found:
        return ""
    where = f"({now.path}:{found[-1].lineno})"
    old, new = literal(before, name), literal(now, name)
    if old and new and old != new and len(old) <= _SHOWN_MOST and len(new) <= _SHOWN_MOST:
        return f": {old} → {new} {where}"
    return f" changed {where}"


def _first_difference(
    before: Callable[[], Iterator[tuple[str, int]]], now: Callable[[], Iterator[tuple[str, int]]]
) -> int | None:
    """The line of the first statement that is new or another; of what follows one that is gone."""
    old = [text for text, _ in before()]
    line = None
    for position, (text, line) in enumerate(now()):
        if position >= len(old) or text != old[position]:
            return line
    return line


def _parts(node: ast.AST) -> Iterator[tuple[str, int]]:
    """(what it says without the statements inside, line) of a definition and of each statement in it."""
    if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    own = [one for one in ast.iter_child_nodes(node) if not isinstance(one, _NESTED)]
    name = getattr(node, "name", "")
    line = getattr(node, "lineno", own[0].lineno if own and hasattr(own[0], "lineno") else 0)
    yield f"{type(node).__name__} {name} {' '.join(map(ast.dump, own))}", line
    for one in ast.iter_child_nodes(node):
        if isinstance(one, _NESTED):
            yield from _parts(one)
