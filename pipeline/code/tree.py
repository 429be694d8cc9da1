"""The Python files below a folder: which belong to the project, how each is named, what it holds.

Invariant: a file is read once for the life of this object, and its module has one name, told from
its path alone. What was read stays there whatever becomes of the file; a tree of given files never
looks at the folder. Nothing is imported here.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from aq.pipeline.code.resolving import candidates
from aq.pipeline.code.syntax import Source

IGNORED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
"""Folders that never hold code of a project, besides hidden ones and virtual environments."""

_NEEDED: Final = """
aq blake3 click lmdb msgspec numpy pandas pathspec plotext pyarrow pyfastcdc rich xxhash zstandard
"""
RESERVED: Final = frozenset({*_NEEDED.split(), *sys.stdlib_module_names})
"""Top-level names that are never the project's: Python's own, and those that aq needs to run."""


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    """Where a folder really lies: asked for each of the thousands of modules in a process."""
    return os.path.realpath(folder)


class CodeTree:
    """The code below `root`. `exclude` says of a path from the root whether it is no part of it.

    `given`: its files, by their paths; then no other exists, whatever lies in the folder.
    """

    def __init__(
        self,
        root: Path,
        exclude: Callable[[str], bool] | None = None,
        given: Mapping[str, bytes] | None = None,
    ) -> None:
        self.root = Path(os.path.realpath(root))
        self.prefix = str(self.root).rstrip(os.sep) + os.sep
        self.exclude = exclude
        self.data: dict[str, bytes] = dict(given or {})
        self.is_given = given is not None
        self._sources: dict[str, Source] = {}
        self._environments: dict[str, bool] = {}

    # --- what belongs to it

    def relative(self, file: str | Path) -> str | None:
        """The path from the root, `/`-separated; None for what is no part of the project."""
        text = os.path.normpath(str(file))
        if not text.startswith(self.prefix):
            folder, name = os.path.split(text)
            text = os.path.join(_real_folder(folder), name)
            if not text.startswith(self.prefix) and text != str(self.root):
                return None
        path = text[len(self.prefix) :].replace(os.sep, "/")
        return None if self._is_ignored(path) else path

    def holds(self, file: str | Path) -> bool:
        """Whether a file or folder is part of the project."""
        return self.relative(file) is not None

    def has(self, path: str) -> bool:
        """Whether there is a file at a path from the root, and it is part of the project."""
        return self._is_file(path) and not self._is_ignored(path)

    def holds_file(self, file: str | Path) -> bool:
        """Whether there is a file, and it is part of the project."""
        path = self.relative(file)
        return path is not None and self._is_file(path)

    def holds_folder(self, folder: str | Path) -> bool:
        """Whether there is a folder, and it is part of the project."""
        path = self.relative(folder)
        return path is not None and self._is_folder(path)

    def _is_file(self, path: str) -> bool:
        return path in self.data or (not self.is_given and (self.root / path).is_file())

    def _is_folder(self, path: str) -> bool:
        if not self.is_given and (self.root / path).is_dir():
            return True
        return any(one.startswith(f"{path}/") for one in self.data)

    def _is_ignored(self, path: str) -> bool:
        parts = path.split("/")
        if any(part in IGNORED or (part.startswith(".") and part != ".") for part in parts):
            return True
        folder = ""
        for part in parts[:-1]:
            folder = f"{folder}/{part}" if folder else part
            if self._is_environment(folder):
                return True
        return bool(path) and self.exclude is not None and self.exclude(path)

    def _is_environment(self, folder: str) -> bool:
        if self.is_given:
            return False
        known = self._environments.get(folder)
        if known is None:
            there = self.root / folder
            known = (there / "pyvenv.cfg").is_file() or (there / "conda-meta").is_dir()
            self._environments[folder] = known
        return known

    def python_files(self) -> Iterator[str]:
        """The paths of all Python files of the project, sorted within each folder."""
        if self.is_given:
            yield from sorted(path for path in self.data if path.endswith(".py"))
            return
        for folder, folders, files in os.walk(self.root):
            prefix = os.path.relpath(folder, self.root).replace(os.sep, "/") + "/"
            prefix = "" if prefix == "./" else prefix
            folders[:] = sorted(one for one in folders if self._is_code_folder(prefix + one))
            for name in sorted(files):
                if name.endswith(".py") and not self._is_ignored(prefix + name):
                    yield prefix + name

    def _is_code_folder(self, path: str) -> bool:
        return not self._is_ignored(path) and not self._is_environment(path)

    # --- names

    def module_name(self, file: str | Path) -> str:
        """`flows/flights.py` is `flows.flights`; a package is its folder; a plain `src/` is left out.

        A reserved name in front gets an underscore: `code/train.py` is `code_.train`.
        """
        path = self.relative(file) or os.path.basename(file)
        parts = [part.replace(".", "_") for part in path.removesuffix(".py").split("/")]
        if len(parts) > 1 and parts[-1] == "__init__":
            parts.pop()
        if len(parts) > 1 and parts[0] == "src" and self.has_plain_src() and not self._at_root(parts[1]):
            parts = parts[1:]
        if parts[0] in RESERVED:
            parts[0] += "_"
        return ".".join(parts)

    def has_plain_src(self) -> bool:
        """Whether there is a folder `src` that only keeps packages apart."""
        return self._is_folder("src") and not self._is_file("src/__init__.py")

    def _at_root(self, name: str) -> bool:
        return self._is_folder(name) or self._is_file(f"{name}.py")

    def finds(self, name: str, folders: list[str]) -> str | None:
        """The path of the file that a module's name means, looked for in folders by their paths."""
        return next((one for one in candidates(name, folders) if self.has(one)), None)

    def has_folder(self, name: str, folders: list[str]) -> bool:
        """Whether a module's name may mean a folder."""
        place = name.replace(".", "/")
        paths = [f"{folder}/{place}" if folder else place for folder in folders]
        return any(self._is_folder(one) and not self._is_ignored(one) for one in paths)

    # --- content

    def read(self, file: str | Path) -> bytes:
        """The bytes of a file of the project, read once."""
        path = self.relative(file) or str(file)
        data = self.data.get(path)
        if data is None:
            if self.is_given:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            data = self.data[path] = (self.root / path).read_bytes()
        return data

    def source(self, path: str) -> Source:
        """The parsed file at a path from the root."""
        found = self._sources.get(path)
        if found is None:
            found = self._sources[path] = Source(path, self.read(self.root / path))
        return found
