"""Files that an op reads by itself count as inputs of its step: kept in its record, compared before reuse.

Invariant: a step is reused only where every file that it was seen to read holds now what it held then.
They are no part of the key, since only running the op tells them: of the records of one key that one holds
whose files are as they are now (docs/format.md, section 10).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from aq.formats.records import Step
from blake3 import blake3

if TYPE_CHECKING:
    from aq.pipeline.code.watching import Watch

ABSENT: Final = "absent"
"""Stands for the digest of a file that was asked for and was not there."""

ASKED: Final = "//"
"""Ends the path of what an op asked about (`os.path.exists`, `getsize`), whether or not it opened it."""

FileId = Callable[[str], str]


class Seen(msgspec.Struct, frozen=True):
    """What one execution read: `files`, and (function, path) of what functions keep that outlive it."""

    files: dict[str, str] = {}
    memoised: list[tuple[str, str]] = []


NOTHING = Seen()


def seen(watch: Watch, before: Mapping[str, str]) -> Seen:
    """What a watch has noted, as it goes from a worker to whoever records it.

    `before`: what the rows were made with that were taken over from an earlier step.
    """
    return Seen(dict(sorted({**before, **watch.files}.items())), list(watch.memoised))


class Kept:
    """What functions that remember their results have read in this run, by function."""

    def __init__(self) -> None:
        self.by_function: dict[str, dict[str, str]] = {}

    def hidden(self, step: Step, found: Seen) -> dict[str, str]:
        """What the step's result may depend on: what its op read, and what functions that it calls
        had read for an earlier step.
        """
        for function, path in found.memoised:
            if path in found.files:
                self.by_function.setdefault(function, {})[path] = found.files[path]
        result: dict[str, str] = {}
        for function, files in self.by_function.items():
            if function in step.code:
                result.update(files)
        return dict(sorted({**result, **found.files}.items()))


class Files:
    """The folder's files as they are now, each looked at once. `file_id` gives a file's id."""

    def __init__(self, root: Path, file_id: FileId) -> None:
        self.root = root
        self.file_id = file_id
        self._known: dict[str, str] = {}

    def digest(self, path: str) -> str:
        """What a path counts by."""
        known = self._known.get(path)
        if known is None:
            place = os.path.join(self.root, path)
            if path.endswith(ASKED):
                known = asked_digest(place.removesuffix(ASKED))
            else:
                known = names_digest(place) if path.endswith("/") else file_digest(place, self.file_id)
            self._known[path] = known
        return known

    def changed(self, hidden: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """(path, what became of it) of those that are not as they were read."""
        for path, before in hidden.items():
            now = self.digest(path)
            if now != before:
                yield path, told(path, before, now)


def file_digest(place: str, file_id: FileId) -> str:
    """What a file counts by; `ABSENT` where there is none, or none that can be read."""
    try:
        return file_id(place) if os.path.lexists(place) else ABSENT
    except OSError:
        return ABSENT


def names_digest(place: str) -> str:
    """64 hex digits of the names in a folder, hidden ones and `__pycache__` left out."""
    try:
        names = os.listdir(place)
    except OSError:
        return ABSENT
    kept = sorted(name for name in names if not name.startswith(".") and name != "__pycache__")
    return blake3("\0".join(kept).encode("utf-8", "surrogateescape")).hexdigest()


def asked_digest(place: str) -> str:
    """What a path is, without what is in it: `file` and its size, `folder`; of a link its target too."""
    link = ""
    try:
        link = f" {os.readlink(place)}" if os.path.islink(place) else ""
        found = os.stat(place)
    except OSError:
        return ABSENT + link
    return (f"file {found.st_size}" if stat.S_ISREG(found.st_mode) else "folder") + link


def told(path: str, before: str, now: str) -> str:
    """What became of a file or folder, in words."""
    if path.endswith(ASKED):
        path = path.removesuffix(ASKED)
    elif path.endswith("/"):
        return f"the files in {path} changed"
    fate = "is gone" if now == ABSENT else "is new" if before == ABSENT else "changed"
    return f"{path} {fate}"


def plain_id(place: str) -> str:
    """The id that a file's content has as an artifact; nothing is stored. Raises OSError."""
    from aq.formats.contents.files import encode_stream
    from aq.formats.identity import Kind, object_id
    from aq.formats.records import encode
    from aq.store.folder.content import HashOnly

    with open(place, "rb", buffering=0) as stream:
        return object_id(Kind.ARTIFACT, encode(encode_stream(stream, HashOnly()))).hex()
