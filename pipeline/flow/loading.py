"""Libraries when they are loaded: handed to whoever waits for them, before anybody has used them.

Invariant: nothing is loaded for it, and a module ends up with the loader and spec of its own. A library
that is loaded already is handed over at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

See = Callable[[Any], None]


@contextmanager
def seen(wanted: Mapping[str, See]) -> Iterator[None]:
    """Within, each library by its name is handed to its function: now, or as soon as it is loaded."""
    waiting = {}
    for name, see in wanted.items():
        if name in sys.modules:
            see(sys.modules[name])
        else:
            waiting[name] = see
    finder = _Finder(waiting)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """An entry of `sys.meta_path`: a library is found by whoever else is asked."""

    def __init__(self, waiting: dict[str, See]) -> None:
        self._waiting = waiting
        self._asking: set[str] = set()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if name not in self._waiting or name in self._asking:
            return None
        self._asking.add(name)
        try:
            spec = find_spec(name)
        finally:
            self._asking.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _Loading(spec.loader, lambda module: self._loaded(name, module)))
        return spec

    def _loaded(self, name: str, module: Any) -> None:
        see = self._waiting.pop(name, None)
        if see is not None:
            see(module)


class _Loading:
    """The library's own loader, and then who waits for it."""

    def __init__(self, own: Any, see: See) -> None:
        self._own, self._see = own, see

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """See `importlib.abc.Loader`."""
        return cast("ModuleType | None", self._own.create_module(spec))

    def exec_module(self, module: Any) -> None:
        """See `importlib.abc.Loader`."""
        module.__spec__.loader = module.__loader__ = self._own
        self._own.exec_module(module)
        self._see(module)
