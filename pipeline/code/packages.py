"""Installed distributions: which one a module comes from, its version, what it needs.

Invariant: versions are read from the names of `*.dist-info` folders, never by importing anything
(importlib.metadata takes longer than a whole `aq status`). A package that lies outside the
environment (editable, or simply on the path) counts by the bytes of its files as well.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

ACCELERATORS: Final = {"pandas": ("bottleneck", "numexpr", "pyarrow"), "polars": ("numpy", "pyarrow")}
"""Optional requirements that change results as soon as they are installed."""

_INSTALLED: Final = ("site-packages", "dist-packages")
_CODE: Final = (".py", ".so", ".pyd", ".dylib", ".dll")
_REQUIRES: Final = rb"^Requires-Dist:\s*([A-Za-z0-9._-]+)[^;\n]*(;[^\n]*)?$"
_IMPORT: Final = rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import|import[ \t]+([\w., \t]+))"
_BEGAN: Final = tuple(sys.path)
"""Where modules were looked for before any code of the user ran, which may add places."""
_SEPARATORS: Final = re.compile(r"[-_.]+")


class Distribution(NamedTuple):
    """One installed distribution: its normal name, version and metadata folder."""

    name: str
    version: str
    info: str


class Packages:
    """What is installed along a module search path.

    `locals`: the top-level module of each distribution that counts by its bytes; behind a blank the places to
    import from that the user's code added, if it is found nowhere else.
    """

    def __init__(self, path: Sequence[str] | None = None) -> None:
        self.path = list(sys.path if path is None else path)
        self.locals: dict[str, str] = {}
        self._local: dict[str, str] = {}
        self._tops: dict[str, tuple[str, ...]] = {}
        self._requires: dict[str, tuple[str, ...]] = {}

    @cached_property
    def installed(self) -> dict[str, Distribution]:
        """{normal name: distribution}; the first along the path wins, as for imports."""
        found: dict[str, Distribution] = {}
        for folder in self.path:
            try:
                names = sorted(os.listdir(folder or "."))
            except OSError:
                continue
            for name in names:
                if name.endswith((".dist-info", ".egg-info")):
                    one = _distribution(folder, name)
                    if one is not None:
                        found.setdefault(one.name, one)
        return found

    def versions(self, tops: Iterable[str | ModuleType]) -> dict[str, str]:
        """{distribution: version} of top-level modules and of all that their distributions require."""
        names: list[str] = []
        found: dict[str, str] = {}
        for top in tops:
            listed, local = self._origin(top if isinstance(top, str) else top.__name__.partition(".")[0])
            names += listed
            found.update(local)
        return dict(sorted({**self.closure(names), **found}.items()))

    def closure(self, names: Iterable[str]) -> dict[str, str]:
        """{distribution: version} of those named and installed, and of all that they require."""
        waiting = list(names)
        found: dict[str, str] = {}
        while waiting:
            name = waiting.pop()
            one = self.installed.get(name)
            if one is None or name in found:
                continue
            found[name] = one.version
            waiting += self.requires(name)
        return found

    def everything(self) -> str:
        """One digest of all that is installed."""
        hasher = blake3(b"aq installed 1")
        for name, one in sorted(self.installed.items()):
            hasher.update(f"{name}\0{one.version}\0".encode())
        return hasher.hexdigest()

    # --- from module to distribution

    def _origin(self, top: str) -> tuple[list[str], dict[str, str]]:
        """(distributions of a module, {local name: digest} where it lies outside the environment)."""
        if top in sys.stdlib_module_names or top in {"aq", "__main__"}:
            return [], {}
        root = location(top)
        names = self._of_environment(top, root)
        if root is not None and names is None:
            return self._local_origin(top, root)
        return names or [], {}

    def _of_environment(self, top: str, place: str | None) -> list[str] | None:
        """The distributions of a module; None where its bytes count, as of a file that somebody put there."""
        if place is not None and not any(f"{os.sep}{one}{os.sep}" in place for one in _INSTALLED):
            return None
        names = list(self.providers(top))
        return names if names or place is None else None

    def _local_origin(self, top: str, root: str) -> tuple[list[str], dict[str, str]]:
        names: list[str] = []
        digests: dict[str, str] = {}
        waiting, seen = [(top, root)], {top}
        while waiting:
            name, place = waiting.pop()
            digests.update(self.local_version(name, place))
            owner = self._editable(place)
            if owner:
                names += self.requires(owner.name)
            self.locals[owner.name if owner else f"local:{name}"] = _found_again(name, place)
            for imported in sorted(_imports(place) - seen - sys.stdlib_module_names):
                seen.add(imported)
                there = location(imported)
                of_environment = self._of_environment(imported, there)
                if there is None or of_environment is not None:
                    names += of_environment or []
                elif imported != "aq":
                    waiting.append((imported, there))
        return names, digests

    def local_version(self, name: str, place: str) -> dict[str, str]:
        """{label: version and digest} of a package outside the environment."""
        owner = self._editable(place)
        digest = self.local_digest(place)
        return {owner.name: f"{owner.version}+{digest}"} if owner else {f"local:{name}": digest}

    def providers(self, top: str) -> tuple[str, ...]:
        """The distributions that bring a top-level module: mostly one; several for a namespace."""
        known = self._tops.get(top)
        if known is None:
            own = self.installed.get(normal_name(top))
            if own is not None and _provides(own, top):
                known = (own.name,)
            else:
                known = tuple(name for name, one in sorted(self.installed.items()) if _provides(one, top))
            self._tops[top] = known
        return known

    def requires(self, name: str) -> tuple[str, ...]:
        """What a distribution requires without extras, and accelerators that are there."""
        known = self._requires.get(name)
        if known is None:
            data = _read(os.path.join(self.installed[name].info, "METADATA")) or b""
            head = data.partition(b"\n\n")[0].replace(b"\r", b"")
            plain = [
                one for one, marker in re.findall(_REQUIRES, head, re.MULTILINE) if b"extra" not in marker
            ]
            names = [normal_name(one.decode()) for one in plain]
            known = self._requires[name] = (*names, *ACCELERATORS.get(name, ()))
        return known

    def _editable(self, place: str) -> Distribution | None:
        """The distribution that was installed from the folder around a place."""
        return next((one for folder, one in self._editables if place.startswith(folder + os.sep)), None)

    @cached_property
    def _editables(self) -> list[tuple[str, Distribution]]:
        import json

        found = []
        for one in self.installed.values():
            data = _read(os.path.join(one.info, "direct_url.json"))
            url = str(json.loads(data).get("url", "")) if data else ""
            if url.startswith("file://"):
                from urllib.parse import unquote

                found.append((os.path.realpath(unquote(url.removeprefix("file://"))), one))
        return found

    def local_digest(self, place: str) -> str:
        """A digest of the code in a package's folder, or of a module's file."""
        known = self._local.get(place)
        if known is None:
            hasher = blake3(b"aq local 1")
            for name, file in code_files(place):
                data = _read(file) or b""
                hasher.update(f"{name}\0{len(data)}\0".encode())
                hasher.update(data)
            known = self._local[place] = hasher.hexdigest()[:32]
        return known


def normal_name(name: str) -> str:
    """`Scikit_Learn` → `scikit-learn` (PyPA, names and normalization)."""
    return _SEPARATORS.sub("-", name).lower()


def code_files(place: str) -> list[tuple[str, str]]:
    """(path inside, file) of all code below a folder, or of one file, or archive around it, sorted."""
    if not os.path.isdir(place):
        file = _archive(place) or place
        return [(os.path.basename(file), file)]
    found = []
    for folder, folders, files in os.walk(place):
        folders[:] = [one for one in folders if one != "__pycache__" and not one.startswith(".")]
        for name in files:
            if name.endswith(_CODE):
                file = os.path.join(folder, name)
                found.append((os.path.relpath(file, place).replace(os.sep, "/"), file))
    return sorted(found)


def _archive(place: str) -> str | None:
    """The file that a place lies inside of, as Python imports from ZIP archives."""
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return place if os.path.isfile(place) else None


def _distribution(folder: str, name: str) -> Distribution | None:
    info = os.path.join(folder, name)
    stem = name.rpartition(".")[0]
    project, _, version = stem.rpartition("-")
    if name.endswith(".egg-info"):
        project, _, version = stem.partition("-")
        version = version.partition("-py")[0] or _egg_version(info)
    return Distribution(normal_name(project), version, info) if version else None


def _egg_version(info: str) -> str:
    data = _read(os.path.join(info, "PKG-INFO")) or b""
    found = re.search(rb"^Version:\s*(\S+)", data, re.MULTILINE)
    return found[1].decode() if found else ""


def _provides(one: Distribution, top: str) -> bool:
    listed = _read(os.path.join(one.info, "top_level.txt"))
    if listed is not None and top in listed.decode("utf-8", "replace").split():
        return True
    record = b"\n" + (_read(os.path.join(one.info, "RECORD")) or b"")
    name = top.encode()
    return b"\n" + name + b"/" in record or b"\n" + name + b"." in record


def _found_again(top: str, place: str) -> str:
    """How a module outside the environment is found without importing anything: by its name, if it can be."""
    folder = os.path.dirname(place)
    if any(os.path.realpath(one) == folder for one in _BEGAN):
        return top
    return f"{top} {os.pathsep.join(one for one in sys.path if one not in _BEGAN)}"


def located(told: str) -> tuple[str, str | None]:
    """The top-level module of an entry of `Packages.locals`, and where it is found now."""
    top, _, added = told.partition(" ")
    place = location(top)
    if place is None and added:
        from importlib.machinery import PathFinder

        place = _place(PathFinder.find_spec(top, added.split(os.pathsep)))
    return top, place


def location(top: str) -> str | None:
    """Where a top-level module lies (a folder, or a file), without importing it; None if nowhere."""
    loaded = sys.modules.get(top)
    spec = getattr(loaded, "__spec__", None)
    for finder in sys.meta_path if spec is None else ():
        find = getattr(finder, "find_spec", None)
        spec = find(top, None) if find is not None else None
        if spec is not None:
            break
    return _place(spec)


def _place(spec: ModuleSpec | None) -> str | None:
    """The folder of a package, or the file of a module."""
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    place: str | None = folders[0] if folders else spec.origin
    return os.path.realpath(place) if place else None


def _imports(place: str) -> set[str]:
    """The top-level names that the Python files below a place import."""
    found: set[str] = set()
    for _, file in code_files(place):
        if not file.endswith(".py"):
            continue
        for source, names in re.findall(_IMPORT, _read(file) or b"", re.MULTILINE):
            listed = [source] if source else names.split(b",")
            tops = (one.strip().partition(b" ")[0].partition(b".")[0] for one in listed)
            found.update(one.decode() for one in tops if one)
    return found


def _read(file: str) -> bytes | None:
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except OSError:
        return None
