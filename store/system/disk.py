"""The one door to the disk: every write, fsync, rename and unlink of the store goes through here.

Invariant: nothing in `store` changes a file by another way (LMDB's own file apart), so a test
can fail or kill the n-th change for every n. A call either did all of it or raises `Refused`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final, NoReturn, cast

from aq.formats.errors import Refused
from aq.formats.identity import Buffer

Hook = Callable[[str, str], None]
"""Called with the name of the call and the path before each change; may raise OSError, or kill."""

_PIECES_MOST: Final = 512
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_CLOSED: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_RENAME_EXCHANGE: Final = 2
_hook: Hook | None = None


@contextmanager
def observed(hook: Hook) -> Iterator[None]:
    """Let `hook` see (and fail) every change made inside the block, in all threads."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


def is_observed() -> bool:
    """Whether a hook sees the changes: then all of them must be made in this process."""
    return _hook is not None


class _Doing:
    """Let the hook see one change, and say in the user's terms what is refused inside the block."""

    __slots__ = ("call", "path")

    def __init__(self, call: str, path: str) -> None:
        self.call, self.path = call, path

    def __enter__(self) -> None:
        if _hook is not None:
            try:
                _hook(self.call, self.path)
            except OSError as error:
                refuse(error, self.path)

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            refuse(error, self.path)


def unwritable(control: str | os.PathLike[str]) -> Refused:
    """The error where nothing may be written into a repository, though nobody tried."""
    from shlex import quote

    return Refused(f"{control} cannot be written", hint=f"ls -ld {quote(os.fspath(control))}")


def refuse(error: OSError, path: str) -> NoReturn:
    """Say in the user's terms what the operating system refused. Raises Refused."""
    error.filename = error.filename or path
    if error.errno in _FULL:
        raise Refused(f"no space left for {path}") from error
    if error.errno in _CLOSED:
        raise Refused(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from error
    raise Refused(f"{path}: {error.strerror or error}") from error


def create(path: str, *, mode: int = 0o644) -> int:
    """Open a file that must not exist yet, for reading and writing. Raises FileExistsError."""
    try:
        with _Doing("create", path):
            return os.open(path, _NEW, mode)
    except Refused as error:
        if isinstance(error.__cause__, FileExistsError):
            raise error.__cause__ from None
        raise


def open_existing(path: str) -> int:
    """Open a file that exists, for reading and writing. Raises FileNotFoundError."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        refuse(error, path)


def write(fd: int, data: Buffer, *, path: str) -> None:
    """Write all of `data` at the file's position."""
    with _Doing("write", path):
        view = memoryview(data)
        while len(view):
            view = view[os.write(fd, view) :]


def write_at(fd: int, data: Buffer, offset: int, *, path: str) -> None:
    """Write all of `data` at `offset`."""
    with _Doing("write", path):
        view = memoryview(data)
        while len(view):
            done = os.pwrite(fd, view, offset)
            view, offset = view[done:], offset + done


def write_pieces_at(fd: int, pieces: Sequence[Buffer], offset: int, *, path: str) -> None:
    """Write the pieces one after the other, beginning at `offset`, in as few calls as the system takes."""
    with _Doing("write", path):
        for first in range(0, len(pieces), _PIECES_MOST):
            some = pieces[first : first + _PIECES_MOST]
            offset = _write_some(fd, some, sum(map(len, some)), offset)


def _write_some(fd: int, pieces: Sequence[Buffer], size: int, offset: int) -> int:
    done = os.pwritev(fd, pieces, offset)
    if done < size:
        rest = memoryview(b"".join(pieces))[done:]
        while len(rest):
            more = os.pwrite(fd, rest, offset + done)
            rest, done = rest[more:], done + more
    return offset + size


def truncate(fd: int, size: int, *, path: str) -> None:
    """Cut the file to `size` bytes."""
    with _Doing("truncate", path):
        os.ftruncate(fd, size)


def fsync(fd: int, *, path: str) -> None:
    """Force the file's bytes and size to the disk. After an error nothing about them is known."""
    with _Doing("fsync", path):
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)


def fsync_folder(path: str) -> None:
    """Force the names in a folder to the disk."""
    with _Doing("fsync", path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def rename(source: str, target: str) -> None:
    """Give a file or folder another name, replacing what has it. Both lie in one file system."""
    with _Doing("rename", target):
        os.replace(source, target)


def unlink(path: str) -> None:
    """Remove a file; one that is missing is no error."""
    with _Doing("unlink", path), suppress(FileNotFoundError):
        os.unlink(path)


def mkdir(path: str, *, parents: bool = False, mode: int = 0o777) -> None:
    """Make a folder; one that exists is no error. `mode` is for it, not for its `parents`."""
    with _Doing("mkdir", path):
        if parents:
            os.makedirs(path, mode, exist_ok=True)
            return
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


def rmdir(path: str) -> None:
    """Remove an empty folder."""
    with _Doing("rmdir", path):
        os.rmdir(path)


def symlink(target: str, path: str) -> None:
    """Make a symbolic link."""
    with _Doing("symlink", path):
        os.symlink(target, path)


# In an open folder: `folder` is its descriptor, `path` what the hook and messages call the thing


def write_new(folder: int, name: bytes, data: Buffer, *, mode: int, path: bytes) -> os.stat_result:
    """Make a file that must not exist yet with all of `data`; returns its stat."""
    try:
        if _hook is not None:
            _hook("create", os.fsdecode(path))
        fd = os.open(name, _NEW, mode, dir_fd=folder)
        try:
            if _hook is not None:
                _hook("write", os.fsdecode(path))
            done = os.write(fd, data)
            if done < len(data):
                _write_rest(fd, memoryview(data)[done:])
            return os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        refuse(error, os.fsdecode(path))


def _write_rest(fd: int, view: memoryview) -> None:
    while len(view):
        view = view[os.write(fd, view) :]


def create_at(folder: int, name: bytes, *, mode: int, path: bytes) -> int:
    """Open a file that must not exist yet, for reading and writing."""
    with _Doing("create", os.fsdecode(path)):
        return os.open(name, _NEW, mode, dir_fd=folder)


def symlink_at(target: bytes, folder: int, name: bytes, *, path: bytes) -> None:
    """Make a symbolic link."""
    with _Doing("symlink", os.fsdecode(path)):
        os.symlink(target, name, dir_fd=folder)


def rename_at(source: int, old: bytes, folder: int, name: bytes, *, path: bytes) -> None:
    """Move a file or folder from one open folder to another, replacing a file or empty folder there."""
    try:
        if _hook is not None:
            _hook("rename", os.fsdecode(path))
        os.replace(old, name, src_dir_fd=source, dst_dir_fd=folder)
    except OSError as error:
        refuse(error, os.fsdecode(path))


def exchange_at(source: int, old: bytes, folder: int, name: bytes, *, path: bytes) -> bool:
    """Let two files of open folders change places at once; False where that does not go.

    ext4 begins to write out a file that a rename puts in another's place: with 2 GiB that takes longer than
    writing it into memory did.
    """
    call = _renameat2()
    if call is None:
        return False
    try:
        if _hook is not None:
            _hook("rename", os.fsdecode(path))
    except OSError as error:
        refuse(error, os.fsdecode(path))
    return bool(call(source, old, folder, name, _RENAME_EXCHANGE) == 0)


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """The call of Linux that Python does not offer, where the C library has it."""
    try:
        import ctypes

        found = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, OSError, AttributeError):
        return None
    kinds = ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
    found.argtypes, found.restype = kinds, ctypes.c_int
    return cast("Callable[[int, bytes, int, bytes, int], int]", found)


def unlink_at(folder: int, name: bytes, *, path: bytes) -> None:
    """Remove a file; one that is missing is no error."""
    try:
        if _hook is not None:
            _hook("unlink", os.fsdecode(path))
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        refuse(error, os.fsdecode(path))


def mkdir_at(folder: int, name: bytes, *, path: bytes, mode: int = 0o777) -> None:
    """Make a folder; anything that exists is left alone, and no error."""
    with _Doing("mkdir", os.fsdecode(path)), suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=folder)


def rmdir_at(folder: int, name: bytes, *, path: bytes) -> None:
    """Remove an empty folder."""
    with _Doing("rmdir", os.fsdecode(path)):
        os.rmdir(name, dir_fd=folder)


def chmod(path: str, mode: int) -> None:
    """Change a file's permissions."""
    with _Doing("chmod", path):
        os.chmod(path, mode)


def remove_tree(path: str) -> None:
    """Remove a folder and everything in it; one that is missing is no error."""
    import shutil

    with _Doing("unlink", path):
        shutil.rmtree(path, ignore_errors=False, onerror=_ignore_missing)


def _ignore_missing(_function: object, _path: str, info: tuple[type, BaseException, object]) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]


def write_whole(path: str, data: Buffer, *, mode: int = 0o644) -> None:
    """Put a whole file in place durably: temporary file beside it, fsync, rename, fsync of the folder."""
    write_stream(path, (data,), mode=mode)


def write_stream(path: str, pieces: Iterable[Buffer], *, mode: int = 0o644) -> None:
    """As `write_whole`, piece by piece; where a piece fails to come nothing is left behind."""
    temporary = f"{path}.{os.getpid()}.new"
    unlink(temporary)
    fd = create(temporary, mode=mode)
    try:
        try:
            for piece in pieces:
                write(fd, piece, path=temporary)
            fsync(fd, path=temporary)
        finally:
            os.close(fd)
        rename(temporary, path)
    except BaseException:
        unlink(temporary)
        raise
    fsync_folder(os.path.dirname(path) or ".")


def write_into(path: str, pieces: Iterable[Buffer]) -> None:
    """Hand the pieces to a device or a pipe, as they come."""
    with _Doing("open", path):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for piece in pieces:
            write(fd, piece, path=path)
    finally:
        os.close(fd)
