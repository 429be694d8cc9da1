"""`aq.Path`: where an op writes a file or a folder that is too large for memory.

Invariant: inside an op the place is private to the step, lies on the disk of the store, and is gone when the
step has ended: what was returned is in the store by then. Outside one it is an ordinary temporary folder.
"""

from __future__ import annotations

import os
import pathlib
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aq.formats.contents.archives import TYPE, Member, Pieces, opened, written
from aq.formats.contents.files import encode_stream
from aq.formats.errors import Damaged, Unstorable, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source, put_record
from aq.formats.records import Artifact
from aq.store.system.staging import Staging
from msgspec.structs import replace


class _Place:
    """The folder of one step, made when it is first asked for."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self.staging: Staging | None = None

    def path(self) -> pathlib.Path:
        if self.staging is None:
            self.staging = Staging(os.fsencode(self._folder), b"made")
        return pathlib.Path(os.fsdecode(self.staging.path))


_current: ContextVar[_Place | None] = ContextVar("aq_place", default=None)


@contextmanager
def place(folder: pathlib.Path) -> Iterator[None]:
    """Within, `Path` names places in a private folder inside `folder`."""
    made = _Place(folder)
    token = _current.set(made)
    try:
        yield
    finally:
        _current.reset(token)
        if made.staging is not None:
            made.staging.close()


class Path(type(pathlib.Path())):  # type: ignore[misc]
    """A place to write a file or folder to, for an op to return: `aq.Path("model.bin")`.

    What it gives is an ordinary `pathlib.Path`. Raises UsageError for a name that leads elsewhere.
    """

    def __new__(cls, name: str | os.PathLike[str]) -> pathlib.Path:  # type: ignore[misc]
        """The place of this name; the folders above it are there."""
        relative = pathlib.PurePath(name)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise UsageError(f"aq.Path({str(name)!r}) names no place of its own: give a plain name")
        current = _current.get()
        base = pathlib.Path(tempfile.mkdtemp(prefix="aq-")) if current is None else current.path()
        (base / relative).parent.mkdir(parents=True, exist_ok=True)
        return base / relative


def store_folder(sink: Sink, folder: pathlib.Path, at: str) -> Digest:
    """Store a folder with all that is in it, streamed. Raises Unstorable for what is no file or folder."""
    try:
        artifact = encode_stream(Pieces(written(_members(folder, at))), sink)
    except (OSError, ValueError) as error:
        raise Unstorable(f"{at} is the folder {folder}, which cannot be read: {error}") from None
    return put_record(sink, replace(artifact, type=TYPE))


def _members(folder: pathlib.Path, at: str) -> Iterator[Member]:
    for found in folder.rglob("*"):
        path = found.relative_to(folder).as_posix()
        info = found.lstat()
        if stat.S_ISLNK(info.st_mode):
            yield Member(path, "link", link=os.readlink(found))
        elif stat.S_ISDIR(info.st_mode):
            yield Member(path, "folder")
        elif stat.S_ISREG(info.st_mode):
            kind = "exec" if info.st_mode & 0o100 else "file"
            yield Member(path, kind, info.st_size, lambda found=found: found.open("rb"))  # type: ignore[misc]
        else:
            raise Unstorable(f"{at}: {path} is neither a file nor a folder")


def load_folder(record: Artifact, source: Source, target: pathlib.Path) -> None:
    """Write a stored folder to `target`, which must not be there; nothing lands outside of it.

    Raises Damaged for an archive that is none, or holds what no folder does.
    """
    import tarfile

    from aq.formats.artifacts import values

    target.mkdir()
    try:
        with opened(values.file_bytes(record, source)) as archive:
            archive.extractall(target, filter="data")
    except tarfile.FilterError as error:
        raise Damaged(f"a stored folder holds {error.tarinfo.name!r}, which leads outside of it") from None
    except tarfile.TarError as error:
        raise Damaged(f"a stored folder cannot be read: {error}") from None
