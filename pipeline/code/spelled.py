"""Names that texts spell: expressions, formulas and SQL that libraries evaluate where they are called.

Invariant: a text is only searched; whether a name means anything is for the namespace to say.
"""

from __future__ import annotations

import re
from typing import Final

EVALUATORS: Final = frozenset({"eval", "evaluate", "execute", "query", "read_sql", "sql"})
"""Calls, by last name, whose text may name any variable (pandas, numexpr, DuckDB, polars)."""

_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_MARKED: Final = re.compile(r"@([A-Za-z_]\w*)")
_VARIABLE: Final = re.compile(r"\$\{?(\w+)")
_TABLES: Final = re.compile(r"\b(?:from|join)\s+([A-Za-z_]\w*)", re.IGNORECASE)


def names_in(value: object, *, all_of_them: bool = False) -> list[str]:
    """The names that a text may mean: after `@`, in a formula with `~`, after `from` and `join`."""
    if not isinstance(value, str):
        return []
    if all_of_them or "~" in value:
        return _NAME.findall(value)
    return [*_MARKED.findall(value), *_TABLES.findall(value)]


def variables_in(text: str) -> list[str]:
    """The environment variables that a text names, as in `$HOME/${USER}`."""
    return _VARIABLE.findall(text)
