"""The `.aq` folder: where it is, what its format file says, how a new one comes to be.

Invariant: a folder named `.aq` is complete: it is built under another name and renamed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
from aq.formats.errors import AqError, Damaged, NewerFormat, NotARepository
from aq.store.frames.pack_contents import read_header
from aq.store.frames.packs import PackFiles
from aq.store.system import disk

CONTROL: Final = ".aq"
PREPARED: Final = ".aq-new"
VERSION: Final = 1
HASH: Final = "blake3-256"
CHUNKER: Final = "fastcdc-64-256-1024"
FEATURES: Final[frozenset[str]] = frozenset()
"""The optional and required features that this aq knows."""


class Format(msgspec.Struct, frozen=True):
    """What `.aq/format` says."""

    version: int
    hash: str
    chunker: str
    required: list[str] = []
    optional: list[str] = []


class _Version(msgspec.Struct, frozen=True):
    """What every version's format file says, whatever else a newer one holds."""

    version: int


def discover(start: Path) -> Path:
    """The nearest folder from `start` upward that holds a repository. Raises NotARepository."""
    path = os.path.abspath(start)
    while True:
        if os.path.isdir(os.path.join(path, CONTROL)):
            return Path(path)
        above = os.path.dirname(path)
        if above == path:
            raise NotARepository(f"no aq repository in {start} or in any folder above it", hint="aq init")
        path = above


def read_format(control: str) -> Format:
    """The format of a repository. Raises NotARepository, Damaged, NewerFormat."""
    try:
        with open(f"{control}/format", "rb") as file:
            data = file.read()
        version = msgspec.json.decode(data, type=_Version).version
        if version > VERSION:
            raise _newer([f"format version {version}"])
        found = msgspec.json.decode(data, type=Format)
    except FileNotFoundError:
        found = _format_by_packs(control)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"{control}/format cannot be read: {error}", hint=f"rm {control}/format") from None
    except OSError as error:
        raise AqError(f"{control}/format: {error.strerror}") from error
    _require_known(found)
    return found


def _format_by_packs(control: str) -> Format:
    """The format of a repository that has lost its format file: a pack of another one would say so."""
    files = PackFiles(f"{control}/packs")
    if not os.path.isdir(files.folder):
        raise NotARepository(f"no aq repository in {os.path.dirname(control)}", hint="aq init")
    if not any(read_header(files.path(name)) for name in files.names()):
        raise Damaged(f"{control}/format is missing, and no pack is left to tell what it said")
    return Format(VERSION, HASH, CHUNKER)


def _require_known(found: Format) -> None:
    unknown = sorted(set(found.required) - FEATURES)
    if found.hash != HASH:
        unknown.append(f"hash {found.hash}")
    if found.chunker != CHUNKER:
        unknown.append(f"chunker {found.chunker}")
    if unknown:
        raise _newer(unknown)


def _newer(unknown: list[str]) -> NewerFormat:
    message = f"this repository was made by a newer aq: it needs {', '.join(unknown)}"
    return NewerFormat(message, hint="pip install --upgrade aqstore")


def refusal(found: Format) -> NewerFormat | None:
    """Why a repository is only to be read: optional features that this aq does not know."""
    unknown = sorted(set(found.optional) - FEATURES)
    if not unknown:
        return None
    message = f"this repository can only be read: a newer aq has used {', '.join(unknown)} in it"
    return NewerFormat(message, hint="pip install --upgrade aqstore")


def write_format(control: str) -> None:
    """Write the format file of this version."""
    data = msgspec.json.encode(Format(VERSION, HASH, CHUNKER))
    disk.write_whole(f"{control}/format", msgspec.json.format(data, indent=2) + b"\n")


def make_folders(control: str) -> None:
    """Make the folders and files of an empty repository, but no journal and no index."""
    disk.mkdir(control)
    for name in ("packs", "index", "tmp"):
        disk.mkdir(f"{control}/{name}")
    write_missing(control)


def write_missing(control: str) -> None:
    """Write the files beside packs and index that always say the same, where they are missing."""
    if not os.path.exists(f"{control}/.gitignore"):
        disk.write_whole(f"{control}/.gitignore", b"*\n")
    if not os.path.exists(f"{control}/format"):
        write_format(control)
