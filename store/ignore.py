"""What lies in the folder but is nobody's data: environments, caches, secrets, `.aqignore`.

Invariant: the deepest `.aqignore` that speaks about a path decides, its last matching line first;
where none speaks, the defaults below do. Ignoring matters only to paths that are not tracked yet.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from aq.formats.errors import AqError, UsageError
from aq.store.paths import ancestors, decode, show

AQIGNORE: Final = b".aqignore"
CONTROL: Final = frozenset((b".aq", b".git"))
_FOLDERS: Final = frozenset(
    b".venv venv env node_modules conda-meta __pycache__ .ipynb_checkpoints "
    b".pytest_cache .mypy_cache .ruff_cache .hypothesis .tox .nox .ssh".split()
)
_FILES: Final = frozenset(b".DS_Store Thumbs.db id_rsa id_dsa id_ecdsa id_ed25519 .netrc".split())
_ENDS: Final = (b".pyc", b".pyo", b".pem", b".key", b".p12", b".pfx")
_SECRETS: Final = b".env"
_ENVIRONMENT_MARKS: Final = (b"pyvenv.cfg", b"conda-meta")


def is_default(name: bytes, *, is_folder: bool) -> bool:
    """Whether the name alone says that nobody means this to be data."""
    if is_folder:
        return name in _FOLDERS or name.startswith(_SECRETS)
    return name.endswith(_ENDS) or name in _FILES or name.startswith(_SECRETS)


def is_environment(names: Collection[bytes]) -> bool:
    """Whether a folder with these names in it is a virtual or conda environment."""
    return any(mark in names for mark in _ENVIRONMENT_MARKS)


@dataclass(frozen=True, slots=True)
class Scope:
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
        if AQIGNORE not in names:
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


def scope_at(root: bytes, folder: bytes) -> Scope:
    """The rules inside a folder, looked up from the top; dark if it or a folder above is ignored."""
    names = os.listdir(root)
    scope = Scope(root, b"", _read(root, b"") if AQIGNORE in names else None)
    for place in reversed([folder, *ancestors(folder)] if folder else []):
        full = os.path.join(root, place)
        names = os.listdir(full) if os.path.isdir(full) else []
        if not scope.dark and ignores_folder(scope, place, names):
            scope = scope.darkened()
        scope = scope.within(place, names)
    return scope


def ignores_folder(scope: Scope, folder: bytes, names: Collection[bytes]) -> bool:
    """Whether a folder with these names in it is ignored in the scope of the one above."""
    if scope.ignores(folder, folder.rpartition(b"/")[2], is_folder=True):
        return True
    return is_environment(names) and not scope.allows_environment(folder)


def is_ignored(root: bytes, path: bytes) -> bool:
    """Whether an existing path, or a folder above it, is ignored."""
    above, _, name = path.rpartition(b"/")
    scope = scope_at(root, above)
    full = os.path.join(root, path)
    if os.path.isdir(full) and not os.path.islink(full):
        return ignores_folder(scope, path, os.listdir(full))
    return scope.ignores(path, name, is_folder=False)


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
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
