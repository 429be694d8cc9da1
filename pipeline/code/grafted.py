"""What libraries add to the tables of other libraries: accessors and methods, found on their classes.

Invariant: code that spells the name of one depends on the library that added it, although no name of its own
leads there: `import janitor`, then `df.clean_names()`. Nothing is imported or called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from aq.formats.classes import library_of

_CLASSES_TEXT: Final = """
pandas.DataFrame pandas.Series pandas.Index polars.DataFrame polars.LazyFrame polars.Series polars.Expr
"""
_CLASSES: Final = tuple(name.split(".") for name in _CLASSES_TEXT.split())


def libraries(identifiers: set[str]) -> set[str]:
    """The top-level modules of the libraries that added what some of these names may mean."""
    found = [getattr(sys.modules.get(module), name, None) for module, name in _CLASSES]
    sized = tuple((one, len(vars(one))) for one in found if isinstance(one, type))
    return {top for name, top in _added(sized) if name in identifiers}


@lru_cache(1)
def _added(classes: tuple[tuple[type, int], ...]) -> list[tuple[str, str]]:
    """(attribute, top-level module that it comes from) of what classes have from elsewhere.

    They come with their sizes, so that each is looked at again when something was added.
    """
    return [one for klass, _ in classes for one in _added_to(klass)]


def _added_to(klass: type) -> Iterator[tuple[str, str]]:
    module = library_of(klass)
    for attribute, value in list(vars(klass).items()):
        parts = (getattr(value, one, None) for one in ("_ns", "_accessor", "fget", "__func__"))
        origin = next((part for part in parts if callable(part)), value)
        top = str(getattr(origin, "__module__", None) or module).partition(".")[0]
        if top not in (module, "builtins") and top not in sys.stdlib_module_names:
            yield attribute, top
