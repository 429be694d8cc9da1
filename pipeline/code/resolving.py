"""Which files an import statement means, from names and the presence of files alone.

Invariant: files are looked for in the order of `pipeline.code.importing`; nothing is imported. Modules of
the standard library are never the project's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from aq.pipeline.code.effects import import_targets
from aq.pipeline.code.scopes import Import
from aq.pipeline.code.syntax import Source

Exists = Callable[[str], bool]


def candidates(name: str, folders: Iterable[str]) -> list[str]:
    """The files that a module's name may mean, in the order in which they are looked for."""
    place = name.replace(".", "/")
    found = []
    for folder in folders:
        start = f"{folder}/{place}" if folder else place
        found += [f"{start}/__init__.py", f"{start}.py"]
    return found


def meant(path: str, target: Import, folders: Sequence[str]) -> list[str]:
    """The files that an import in the file at `path` may mean; none for the standard library."""
    if not target.level:
        if target.module.partition(".")[0] in sys.stdlib_module_names:
            return []
        return candidates(target.module, folders)
    base = path.split("/")[: -target.level]
    if len(path.split("/")) < target.level:
        return []
    folder = "/".join(base)
    if not target.module:
        return [f"{folder}/__init__.py" if folder else "__init__.py"]
    return candidates(target.module, [folder])


def import_paths(source: Source, folders: Sequence[str], exists: Exists) -> list[str]:
    """The project files that a file imports when it is itself imported, packages around them included."""
    return sorted(set(_import_paths(source.path, import_targets(source), folders, exists)))


def _import_paths(
    path: str, targets: Iterable[Import], folders: Sequence[str], exists: Exists
) -> Iterator[str]:
    for target in targets:
        found = next((file for file in meant(path, target, folders) if exists(file)), None)
        if found is not None:
            yield found


def _outer(target: Import) -> Iterator[Import]:
    """`a.b.c` imports `a` and `a.b` first."""
    parts = target.module.split(".")
    for count in range(1, len(parts) + 1):
        yield target._replace(module=".".join(parts[:count]))


def absent(source: Source, targets: Iterable[Import], folders: Sequence[str], exists: Exists) -> set[str]:
    """The files that would be imported instead, were they there."""
    found: set[str] = set()
    for target in targets:
        for one in _outer(target):
            for file in meant(source.path, one, folders):
                if exists(file):
                    break
                found.add(file)
    return found
