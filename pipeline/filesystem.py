"""`aq://REV/PATH`: the paths of any revision as a read-only fsspec file system.

Invariant: a file is its bytes, and only the pieces that are read are fetched; a table is a Parquet file,
or what the suffix `.csv .parquet .arrow .json` after its path asks for; a path means the same bytes for as
long as its `ukey` is the same. Reading from several threads is safe, and takes turns.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import RLock, get_ident, main_thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet, finalize

from aq.formats.contents.seeking import StoredFile
from aq.formats.errors import AqError, NotARepository
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.formats.trees.prolly import map_items
from aq.pipeline.look import outputs
from aq.store import revisions
from aq.store.commits import history, snapshots
from aq.store.commits.snapshots import Entry
from aq.store.system.paths import decode, encode
from fsspec.spec import AbstractFileSystem

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from aq.pipeline.repo import Repo
    from aq.store.revisions import Revision

_HELD: Final = 4
"""Tables whose bytes are kept, since whoever opens one asks for its size first."""
_SPOOLED: Final = 64 << 20
_AFTER_SLASH: Final = b"0"
_PATIENCE: Final = 0.5
_CALM: Final = 20
"""Milliseconds in which a thread lets go of the file system, after its last file."""
_read_by_threads: WeakSet[_Shared] = WeakSet()


@cache
def _wait_at_exit() -> None:
    """At its end the process waits for `_wait_for_threads`."""
    atexit.register(_wait_for_threads)


def _wait_for_threads() -> None:
    """Have Arrow's threads let go of what they read, and of what led them there, for which they need the
    interpreter's lock: from one that ends they would not get it, and would abort.

    For a file that is kept open it waits in vain, not long.
    """
    until, calm = monotonic() + _PATIENCE, 0
    while calm < _CALM and monotonic() < until:
        sleep(0.001)
        calm = 0 if _read_by_threads else calm + 1


class _Place(NamedTuple):
    """What a path names: a revision, and what lies there; `form` is how a table is given."""

    revision: Revision
    path: str
    entry: Entry | None
    form: str | None = None


class AqFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The revisions of one repository: `aq://main~3/data/flights`, the root lists branches and tags.

    `repo`: a folder in it; by default the working directory.
    """

    protocol = "aq"
    cachable = False  # the repository of the working directory may be another one next time
    root_marker = ""

    def __init__(self, repo: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__(repo=repo, **options)
        import aq

        try:
            self._repo: Repo = aq.open(os.fspath(repo or "."))
        except NotARepository as error:
            hint = 'storage_options={"repo": "FOLDER"}'
            raise NotARepository(error.message, hint=hint) from None
        self._lock = RLock()
        self._held: OrderedDict[str, _Made] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def __reduce__(self) -> Any:
        return _again, (str(self._repo.root),)

    # -- names ------------------------------------------------------------------------------

    def _place(self, path: str) -> _Place | None:
        """What lies at a path; None for a folder of refs. Raises FileNotFoundError."""
        parts = [part for part in path.split("/") if part]
        for count in range(1, len(parts) + 1):
            try:
                revision = revisions.resolve(self._repo.store, "/".join(parts[:count]))
            except AqError:
                continue
            return self._inside(revision, "/".join(parts[count:]), path)
        if not parts or any(name.startswith("/".join(parts) + "/") for name in self._names()):
            return None
        raise FileNotFoundError(errno.ENOENT, "no such revision", path)

    def _inside(self, revision: Revision, inner: str, path: str) -> _Place:
        store = self._repo.store
        entry = snapshots.get_entry(store, revision.snapshot, inner) if inner else None
        if entry is not None or not inner:
            return _Place(revision, inner, entry)
        form = outputs.form_of_name(Path(inner))
        stem = inner.rpartition(".")[0]
        table = snapshots.get_entry(store, revision.snapshot, stem) if form else None
        if table is not None and get_record(store, Artifact, table.artifact).kind == "table":
            return _Place(revision, stem, table, form)
        if next(self._below(revision, inner), None) is None:
            raise FileNotFoundError(errno.ENOENT, f"no such path at {revision.text}", path)
        return _Place(revision, inner, None)

    def _names(self) -> list[str]:
        names = ["HEAD"]
        for ref in self._repo.store.refs():
            kind, _, name = ref.partition("/")
            names += [name] if kind in ("branch", "tag") else []
        return sorted(set(names))

    def _below(self, revision: Revision, folder: str) -> Iterator[tuple[str, Entry | None]]:
        """Names right below a folder, None for those that are folders themselves; reads no deeper."""
        prefix = encode(folder) + b"/" if folder else b""
        start = prefix
        while True:
            for raw, value in map_items(self._repo.store, revision.snapshot, start=start, prefix=prefix):
                name, slash, _ = raw[len(prefix) :].partition(b"/")
                if slash:
                    yield decode(name), None
                    start = prefix + name + _AFTER_SLASH
                    break
                yield decode(name), snapshots.unpack(value)
            else:
                return

    # -- what fsspec asks for ---------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:  # noqa: FBT001, FBT002
        """Right below a path; the size of what is no file is None here, `info` has it."""
        path = self._strip_protocol(path).strip("/")
        with self._lock:
            place = self._place(path)
            if place is None:
                found = self._refs_below(path)
            elif place.entry is not None:
                found = [self.info(path)]
            else:
                above = f"{path}/" if path else ""
                found = [
                    self._told(above + name, None if entry is None else _Place(place.revision, "", entry))
                    for name, entry in self._below(place.revision, place.path)
                ]
        return found if detail else [one["name"] for one in found]

    def _refs_below(self, path: str) -> list[dict[str, Any]]:
        above = f"{path}/" if path else ""
        names = [name[len(above) :] for name in self._names() if name.startswith(above)]
        return [self._told(above + name, None) for name in dict.fromkeys(n.partition("/")[0] for n in names)]

    def _told(self, name: str, place: _Place | None) -> dict[str, Any]:
        """What is known without making anything."""
        if place is None or place.entry is None:
            return {"name": name, "size": 0, "type": "directory"}
        record = get_record(self._repo.store, Artifact, place.entry.artifact)
        size = record.size if record.format == "bytes" else self._sizes.get(_key(place))
        facts = {"kind": record.kind, "id": str(place.entry.artifact), "ukey": _key(place)}
        return {"name": name, "size": size, "type": "file", **facts}

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Name, type, kind, id and size: that of a table is known once its bytes were made."""
        path = self._strip_protocol(path).strip("/")
        with self._lock:
            place = self._place(path)
            found = self._told(path, place)
            if found["size"] is None and place is not None:
                found["size"] = self._made(place).size
        return found

    def ukey(self, path: str) -> str:
        """Changes with the bytes: the artifact's id, and the form of a table."""
        return str(self.info(path).get("ukey", ""))

    def modified(self, path: str) -> datetime:
        """When the newest first-parent commit changed the path; of a folder, the revision's time."""
        with self._lock:
            place = self._place(self._strip_protocol(path).strip("/"))
            if place is None or place.revision.commit is None:
                raise FileNotFoundError(errno.ENOENT, "no time is known", path)
            time = 0
            for _, commit in history.first_parents(self._repo.store, place.revision.commit):
                if place.entry is not None:
                    entry = snapshots.get_entry(self._repo.store, commit.snapshot, place.path)
                    if entry is None or entry.artifact != place.entry.artifact:
                        break
                time = commit.time
                if place.entry is None:
                    break
        return datetime.fromtimestamp(time / 1e9, UTC)

    created = modified

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> io.BufferedReader:
        """The bytes of a path as a stream that seeks. Raises OSError for anything but reading."""
        if mode != "rb":
            raise OSError(errno.EROFS, "aq:// is read-only: commit instead", path)
        with self._lock:
            place = self._place(path.strip("/"))
            if place is None or place.entry is None:
                raise IsADirectoryError(errno.EISDIR, "is a folder", path)
            record = get_record(self._repo.store, Artifact, place.entry.artifact)
            if record.format == "bytes":
                return _Opened(StoredFile(record, self._repo.store), record.size, self._lock)
            made = self._made(place)
            return _Opened(made, made.size, self._lock)

    def _made(self, place: _Place) -> _Made:
        """The bytes of a table or value, and their number; the last few are kept."""
        key = _key(place)
        if key not in self._held:
            assert place.entry is not None
            record = get_record(self._repo.store, Artifact, place.entry.artifact)
            form = place.form or ("parquet" if record.kind == "table" else None)
            made = self._held[key] = _Made(outputs.chunks(self._repo.store, record, place.path, form))
            self._sizes[key] = made.size
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def _read_only(self, path: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "aq:// is read-only: commit instead", str(path))

    mkdir = makedirs = rmdir = rm = rm_file = touch = cp_file = mv = pipe_file = put_file = _read_only


def _again(repo: str) -> AqFileSystem:
    """The same file system in another process."""
    return AqFileSystem(repo=repo)


def _key(place: _Place) -> str:
    assert place.entry is not None
    return f"{place.entry.artifact}{f'.{place.form}' if place.form else ''}"


class _Made:
    """Bytes that were made: in memory, many in a temporary file, which goes with its last reader."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        stream = SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115
        finalize(self, stream.close)
        for piece in pieces:
            stream.write(piece)
        self.size = stream.tell()
        self._stream = stream

    def seek(self, offset: int) -> int:
        return self._stream.seek(offset)

    def read(self, size: int) -> bytes:
        return self._stream.read(size)


class _Shared(io.RawIOBase):
    """One reader of a stream that several share."""

    def __init__(self, stream: _Made | StoredFile, size: int, lock: RLock) -> None:
        self._stream, self._size, self._lock = stream, size, lock
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if place < 0:
            raise ValueError(f"a file has no byte {place}")
        self._at = place
        return place

    def readinto(self, buffer: WriteableBuffer) -> int:
        """See `io.RawIOBase`."""
        view = memoryview(buffer).cast("B")
        if get_ident() != main_thread().ident:
            _read_by_threads.add(self)
            _wait_at_exit()
        with self._lock:
            self._stream.seek(self._at)
            data = self._stream.read(len(view)) or b""
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Opened(io.BufferedReader):
    """A stream that knows its size, as fsspec's own do."""

    def __init__(self, stream: _Made | StoredFile, size: int, lock: RLock) -> None:
        super().__init__(_Shared(stream, size, lock))
        self.size = size
