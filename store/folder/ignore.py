"""What lies in the folder but is nobody's data: environments, caches, secrets, `.aqignore`.

Invariant: the deepest `.aqignore` that speaks about a path decides, its last matching line first;
where none speaks, the defaults below do. Ignoring matters only to paths that are not tracked yet.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Collection, Container, Sequence
from operator import methodcaller
from stat import S_IFDIR, S_IFLNK, S_IFREG
from typing import Any, Final

import msgspec
from aq.formats.errors import AqError, UsageError
from aq.store.folder.folders import is_real_folder, join, kind_of, list_folder
from aq.store.system.paths import decode, show
from msgspec.structs import replace

AQIGNORE: Final = b".aqignore"
CONTROL: Final = frozenset((b".aq", b".git"))
_FOLDERS: Final = frozenset(
    b".venv venv env node_modules conda-meta __pycache__ .ipynb_checkpoints "
    b".pytest_cache .mypy_cache .ruff_cache .hypothesis .tox .nox .ssh".split()
)
_FILES: Final = frozenset(b".DS_Store Thumbs.db id_rsa id_dsa id_ecdsa id_ed25519 .netrc".split())
_ENDS: Final = (b".pyc", b".pyo", b".pem", b".key", b".p12", b".pfx")
_SECRETS: Final = b".env"
_ends = methodcaller("endswith", _ENDS)
_ENVIRONMENT_MARKS: Final = (b"pyvenv.cfg", b"conda-meta")


def is_default(name: bytes, *, is_folder: bool) -> bool:
    """Whether the name alone says that nobody means this to be data."""
    if is_folder:
        return name in _FOLDERS or name.startswith(_SECRETS)
    return name.endswith(_ENDS) or name in _FILES or name.startswith(_SECRETS)


def is_environment(names: Collection[bytes]) -> bool:
    """Whether a folder with these names in it is a virtual or conda environment."""
    return any(mark in names for mark in _ENVIRONMENT_MARKS)


class Scope(msgspec.Struct, frozen=True):
    """The rules that hold inside one folder. `patterns` is None where no `.aqignore` lies there.

    `dark`: the folder is itself ignored, and is only looked into for what was added with force.
    """

    root: bytes
    folder: bytes = b""
    patterns: Any = None
    above: Scope | None = None
    dark: bool = False

    def within(self, folder: bytes, names: Collection[bytes]) -> Scope:
        """The rules inside a folder below this one, which has these names in it."""
        if AQIGNORE not in names or (self.patterns is not None and self.folder == folder):
            return self
        return Scope(self.root, folder, _read(self.root, folder), self, self.dark)

    def darkened(self) -> Scope:
        """The same rules inside an ignored folder."""
        return replace(self, dark=True)

    def ignores(self, path: bytes, name: bytes, *, is_folder: bool) -> bool:
        """Whether a path is ignored, given that the folders above it are not."""
        if self.dark or name in CONTROL:
            return True
        said = self._said(path, is_folder=is_folder)
        return is_default(name, is_folder=is_folder) if said is None else said

    def ignored(self, folder: bytes, names: Sequence[bytes]) -> Container[bytes]:
        """Those that are ignored among files of a folder, whose names ascend."""
        scope: Scope | None = self
        while scope is not None:
            if scope.patterns is not None:
                return _Asked(self, folder)
            scope = scope.above
        return names if self.dark else _defaults(names)

    def allows_environment(self, path: bytes) -> bool:
        """Whether an `.aqignore` asks for this folder although it is an environment."""
        return self._said(path, is_folder=True) is False

    def _said(self, path: bytes, *, is_folder: bool) -> bool | None:
        scope: Scope | None = self
        while scope is not None:
            if scope.patterns is not None:
                below = path[len(scope.folder) + 1 :] if scope.folder else path
                said = scope.patterns.check_file(decode(below) + "/" * is_folder).include
                if said is not None:
                    return bool(said)
            scope = scope.above
        return None


class _Asked(msgspec.Struct, frozen=True):
    """The ignored files of a folder, each found out when it is asked for."""

    scope: Scope
    folder: bytes

    def __contains__(self, name: object) -> bool:
        assert isinstance(name, bytes)
        return self.scope.ignores(join(self.folder, name), name, is_folder=False)


def _defaults(names: Sequence[bytes]) -> frozenset[bytes]:
    """Those that `is_default` among names of files in ascending order, and Git's and aq's own."""
    begin = bisect_left(names, _SECRETS)
    while begin < len(names) and names[begin].startswith(_SECRETS):
        begin += 1
    secrets = names[bisect_left(names, _SECRETS) : begin]
    return frozenset((*secrets, *(_FILES | CONTROL).intersection(names), *filter(_ends, names)))


class Scopes:
    """The rules inside any folder, looked up from the top and remembered for one pass."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._known: dict[bytes, Scope] = {}

    def at(self, folder: bytes) -> Scope:
        """The rules inside a folder; dark if it or a folder above is ignored."""
        known = self._known.get(folder)
        if known is None:
            full = os.path.join(self._root, folder)
            names = list_folder(full)
            if folder:
                above = self.at(folder.rpartition(b"/")[0])
                inside = above.dark or ignores_folder(above, folder, names)
                scope = above.darkened() if inside else above
            else:
                scope = Scope(self._root)
            known = self._known[folder] = scope.within(folder, names)
        return known

    def ignores(self, path: bytes) -> bool:
        """Whether an existing path, or a folder above it, is ignored."""
        above, _, name = path.rpartition(b"/")
        if is_real_folder(self._root, path):
            return self.at(path).dark
        return self.at(above).ignores(path, name, is_folder=False)


def ignores_folder(scope: Scope, folder: bytes, names: Collection[bytes]) -> bool:
    """Whether a folder with these names in it is ignored in the scope of the one above."""
    if scope.ignores(folder, folder.rpartition(b"/")[2], is_folder=True):
        return True
    return is_environment(names) and not scope.allows_environment(folder)


def holds_data(folder: bytes, scope: Scope) -> bool:
    """Whether anything in a folder could be tracked: a file that is not ignored."""
    stack = [(folder, scope)]
    while stack:
        place, scope = stack.pop()
        full = os.path.join(scope.root, place)
        try:
            names = list_folder(full)
        except AqError:
            return True  # it may not be read: to be named, not to be passed over
        if b".aq" in names or ignores_folder(scope, place, names):
            continue
        inside = scope.within(place, names)
        for name in names:
            path, kind = join(place, name), kind_of(os.path.join(full, name))
            if kind == S_IFDIR:
                stack.append((path, inside))
            elif kind in (S_IFREG, S_IFLNK) and not inside.ignores(path, name, is_folder=False):
                return True
    return False


def _read(root: bytes, folder: bytes) -> Any:
    """The compiled `.aqignore` of a folder."""
    import pathspec

    place = os.path.join(root, folder, AQIGNORE)
    shown = show(decode(os.path.join(folder, AQIGNORE)))
    try:
        with open(place, "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        raise AqError(f"{shown} cannot be read: {error.strerror}") from None
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error) as error:
        raise UsageError(f"{shown}: {error}") from None
