"""What an op reads behind aq's back, noted while it runs: files, listings, programs, hosts.

Invariant: it only looks on. What is seen is what Python tells by its audit events, here and in processes that
the op forks, and what the readers of `native_reads` are given; what other C code and other
programs open is not (docs/rerun.md). The hook cannot be taken out: it does nothing while no op runs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, Final, Self

from aq.pipeline.code import elsewhere
from aq.pipeline.code.forks import Shared
from aq.pipeline.code.frames import asked, called_by_user, is_user
from aq.pipeline.code.hidden_reads import (
    ABSENT,
    ASKED,
    FileId,
    asked_digest,
    file_digest,
    names_digest,
)
from aq.pipeline.code.tree import CodeTree

_READERS_OF_CODE: Final = ("aq", "linecache", "tokenize", "zipimport")
_TELLERS: Final = ("aq.pipeline.code.watching", "aq.pipeline.code.native_reads")
_MEMORY: Final = ("", ":memory:")
_LONGEST_PATH: Final = 4096


@dataclass(slots=True)
class Watch:
    """What one op was seen to do; a context, entered where the op is called.

    `files`: path from the root, or elsewhere the whole path → digest, or `ABSENT`; a listed folder ends in
    `/`. `memoised`: (function, path) of files that a function read whose results outlive the op. `caller`:
    what calls the op.
    """

    tree: CodeTree
    file_id: FileId
    caller: CodeType
    on_import: Callable[[str], None]
    files: dict[str, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    hosts: dict[str, None] = field(default_factory=dict)
    programs: dict[str, None] = field(default_factory=dict)
    memoised: dict[tuple[str, str], None] = field(default_factory=dict)
    databases: set[str] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)
    shared: Shared | None = None

    def __enter__(self) -> Self:
        if not _installed:
            sys.addaudithook(_hook)
            os.register_at_fork(before=_before_fork, after_in_child=_in_child)
            _installed.append(True)
        _watches.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _watches.remove(self)
        for path, digest in self.shared.told() if self.shared is not None else ():
            self._note(path, digest)
        self._settle()

    # --- what happens

    def _note(self, path: str, digest: str) -> None:
        """What a path held when it was first looked at."""
        if path not in self.files:
            self.files[path] = digest
            if self.shared is not None and self.shared.is_child:
                self.shared.tell(path, digest)

    def opened(self, name: str, frame: FrameType | None) -> None:
        """A file is about to be read."""
        place = os.path.abspath(name)
        path = self._path(place, frame)
        if path is None or path in self.written or os.path.isdir(place) or not self.by_op(frame):
            return
        if path not in self.files:
            self._note(path, file_digest(place, self.file_id))
        for label in self._memoised(frame):
            self.memoised[label, path] = None

    def listed(self, name: str, frame: FrameType | None) -> None:
        """The names in a folder are about to be read."""
        place = os.path.abspath(name)
        path = self._path(os.path.join(place, "_"), frame, is_name=True)
        if path is not None and self.by_op(frame):
            self._note(path[:-1] or "./", names_digest(place))

    def asked(self, name: str, frame: FrameType | None) -> None:
        """Whether something is there, or of which size, is about to be told."""
        place = os.path.abspath(name)
        inside = self._inside(place)
        known = (inside or self._named(place)) + ASKED
        if known in self.files or not asked(frame, self.caller) or not self.by_op(frame):
            return
        if inside is not None or self._path(place, frame) is not None:
            if not self.written.isdisjoint(_around(known.removesuffix(ASKED))):
                return
            self._note(known, asked_digest(place))

    def wrote(self, name: str) -> None:
        """What an op writes it does not take from outside."""
        place = os.path.abspath(name)
        self.written.add(self._inside(place) or self._named(place))

    def connected(self, database: str, frame: FrameType | None) -> None:
        """An SQLite database: a file that is read, or written, or both."""
        if database.startswith("file:"):
            from urllib.parse import unquote, urlsplit

            database = unquote(urlsplit(database).path)
        if database not in _MEMORY:
            path = self._path(os.path.abspath(database), frame)
            self.opened(database, frame)
            if path is not None and path in self.files:
                self.databases.add(path)

    def _path(self, place: str, frame: FrameType | None, *, is_name: bool = False) -> str | None:
        """What a file is known by; None for what is no data. `is_name`: of a file that need not be there."""
        path = self._inside(place)
        if path is not None:
            return path
        counts = elsewhere.counts(place, lambda: asked(frame, self.caller), is_name=is_name)
        return self._named(place) if counts else None

    def _named(self, place: str) -> str:
        """The path of what is no part of the project: from the root, or the whole."""
        return place.removeprefix(self.tree.prefix)

    def _inside(self, place: str) -> str | None:
        """The path from the root; None for what lies elsewhere, or in a hidden or ignored folder."""
        folder, name = os.path.split(place)
        found = self.tree.relative(os.path.join(folder, "_"))
        return None if found is None else found[:-1] + name

    def by_op(self, frame: FrameType | None) -> bool:
        """Whether something is the op's doing: not that of an import, of a traceback, or of aq."""
        met_user = False
        while frame is not None:
            name, code = frame.f_globals.get("__name__") or "", frame.f_code
            if code.co_filename.startswith("<frozen importlib"):
                return False
            is_reader = name.partition(".")[0] in _READERS_OF_CODE
            if is_reader and name not in _TELLERS and code.co_name != "get_data":
                return met_user or code is self.caller or _asks_itself(frame)
            met_user = met_user or is_user(code.co_filename)
            frame = frame.f_back
        return True

    def _memoised(self, frame: FrameType | None) -> Iterator[str]:
        """The functions of the project on the stack that keep what they read: `module:qualname`."""
        while frame is not None and frame.f_code is not self.caller:
            code = frame.f_code
            if is_user(code.co_filename) and _keeps(frame):
                yield f"{frame.f_globals.get('__name__')}:{code.co_qualname}"
            frame = frame.f_back

    def _settle(self) -> None:
        """After the op: a database that it changed is no input that could be compared, nor is a file
        elsewhere that lay there for a while only.
        """
        for path in [*self.files]:
            place = os.path.join(self.tree.root, path)
            if path.endswith(ASKED):
                plain = path.removesuffix(ASKED)
                is_known = plain in self.files or plain + "/" in self.files or self._is_listed(path)
                if is_known or plain in self.written:
                    del self.files[path]
            elif path in self.databases:
                if self.files[path] != file_digest(place, self.file_id):
                    del self.files[path]
            elif os.path.isabs(path) and self.files[path] != ABSENT and not os.path.lexists(place):
                del self.files[path]

    def _is_listed(self, path: str) -> bool:
        """Whether what was asked about is there, and one of the names in a folder that was listed."""
        folder = os.path.dirname(path.removesuffix(ASKED))
        return self.files[path] != ABSENT and (f"{folder}/" if folder else "./") in self.files

    def notes(self, step: str) -> Iterator[str]:
        """What the user should know, a line each."""
        for path in self.files:
            if not path.endswith("/") and self.files[path] != ABSENT:
                named = f', name="{path.strip("/")}"' if os.path.isabs(path) else ""
                said = f'aq.read("{path}"{named}) says so'
                yield f"{step} reads {path} by itself: it counts as an input; {said}"
        for host in self.hosts:
            yield f"{step} asks {host} over the network: what it answers is not seen to change"
        for program in self.programs:
            yield f"{step} starts {program}: what that reads is not seen"


def _around(path: str) -> Iterator[str]:
    """A path, and the folders around it."""
    while path.strip("/"):
        yield path
        path = os.path.dirname(path)


def _asks_itself(frame: FrameType | None) -> bool:
    """Whether the user's code calls Python's reader of source lines, and no traceback does."""
    while frame is not None and frame.f_globals.get("__name__") in ("linecache", "tokenize"):
        frame = frame.f_back
    return frame is not None and is_user(frame.f_code.co_filename)


_watches: list[Watch] = []
_installed: list[bool] = []


def _before_fork() -> None:
    """An op is about to fork: the child will tell what it reads."""
    if _watches and _watches[-1].shared is None:
        thread = get_ident()
        _watches[-1].busy.add(thread)
        with suppress(OSError):
            _watches[-1].shared = Shared()
        _watches[-1].busy.discard(thread)


def _in_child() -> None:
    for watch in _watches:
        watch.busy.clear()  # those threads are not here
        if watch.shared is not None:
            watch.shared.is_child = True


def note_read(path: object) -> None:
    """A reader that raises no audit event is about to read a file, a folder or a pattern."""
    if _watches and isinstance(path, str | os.PathLike):
        _hear(_watches[-1], "open", (os.fspath(path), "r", 0), sys._getframe(1))


def note_database(path: object) -> None:
    """A database is about to be opened by a reader that raises no audit event."""
    if _watches and isinstance(path, str | os.PathLike):
        _hear(_watches[-1], "sqlite3.connect", (os.fspath(path),), sys._getframe(1))


def note_asked(path: object) -> None:
    """Whether a path is there, or what, is about to be asked."""
    if _watches and isinstance(path, str | bytes | os.PathLike):
        _hear(_watches[-1], "asked", (path,), sys._getframe(1))


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watches and event in _EVENTS:
        _hear(_watches[-1], event, arguments, sys._getframe(1))


def _hear(watch: Watch, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
    thread = get_ident()
    if thread in watch.busy:  # the digest of a file reads it
        return
    watch.busy.add(thread)
    try:
        _EVENTS[event](watch, arguments, frame)
    except (OSError, ValueError, RecursionError):
        return  # a name that is none: what the op makes of it is its own affair
    finally:
        watch.busy.discard(thread)


def _open(watch: Watch, arguments: tuple[Any, ...], frame: FrameType) -> None:
    name, mode, flags = arguments[:3]
    if not isinstance(name, str | bytes | os.PathLike):
        return
    text = os.fsdecode(name)
    if changes(mode, flags) and os.path.exists(text):
        watch.connected(text, frame)
    elif writes(mode, flags):
        watch.wrote(text)
    else:
        watch.opened(text, frame)


def _list(watch: Watch, arguments: tuple[Any, ...], frame: FrameType) -> None:
    name = opened_folder(arguments[0])
    if isinstance(name, str | bytes | os.PathLike):
        watch.listed(os.fsdecode(name), frame)


def opened_folder(name: object) -> object:
    """The folder that is listed: the working directory for None, what a descriptor leads to on Linux."""
    if isinstance(name, int):
        return os.readlink(f"/proc/self/fd/{name}") if sys.platform == "linux" else None
    return "." if name is None else name


def _asked(watch: Watch, arguments: tuple[Any, ...], frame: FrameType) -> None:
    watch.asked(os.fsdecode(arguments[0]), frame)


def _made_folder(watch: Watch, arguments: tuple[Any, ...], _: FrameType) -> None:
    watch.wrote(os.fsdecode(arguments[0]))


def _sqlite(watch: Watch, arguments: tuple[Any, ...], frame: FrameType) -> None:
    if isinstance(arguments[0], str | bytes | os.PathLike):
        watch.connected(os.fsdecode(arguments[0]), frame)


def _connect(watch: Watch, arguments: tuple[Any, ...], frame: FrameType) -> None:
    address = arguments[1]
    if isinstance(address, tuple) and len(address) >= 2 and watch.by_op(frame):
        watch.hosts[f"{address[0]}:{address[1]}"] = None


def _start(watch: Watch, arguments: tuple[Any, ...], frame: FrameType) -> None:
    program = os.path.basename(os.fsdecode(arguments[0])) if arguments[0] else ""
    if program and called_by_user(frame):
        watch.programs[program.split()[0]] = None
        for name in _named_in(*arguments[:3]):
            watch.connected(name, frame)


def _named_in(program: object, given: object = (), folder: object = None) -> Iterator[str]:
    """The files that a command names: scripts and data, also in `--data=FILE` and in a line for the shell."""
    listed = [program, *(given if isinstance(given, list | tuple) else [given])]
    texts = [os.fsdecode(one) for one in listed if isinstance(one, str | bytes | os.PathLike)]
    inside = os.fsdecode(folder) if isinstance(folder, str | bytes | os.PathLike) else ""
    for word in dict.fromkeys(part for text in texts for part in (text, *re.split(r"[\s=<>|;&]+", text))):
        place = os.path.join(inside, word)
        if word and len(word) < _LONGEST_PATH and os.path.isfile(place):
            yield place


def _import(watch: Watch, arguments: tuple[Any, ...], _: FrameType) -> None:
    watch.on_import(arguments[0])


_EVENTS: Final[dict[str, Callable[[Watch, tuple[Any, ...], FrameType], None]]] = {
    "open": _open,
    "asked": _asked,
    "os.mkdir": _made_folder,
    "os.listdir": _list,
    "os.scandir": _list,
    "sqlite3.connect": _sqlite,
    "socket.connect": _connect,
    "subprocess.Popen": _start,
    "os.system": _start,
    "import": _import,
}


def changes(mode: object, flags: object) -> bool:
    """Whether a file is opened to be written where it is, and may be read as well."""
    if isinstance(mode, str):
        return "+" in mode and "w" not in mode and "x" not in mode
    return isinstance(flags, int) and bool(flags & os.O_RDWR) and not flags & os.O_TRUNC


def writes(mode: object, flags: object) -> bool:
    """Whether a file is opened to be written, by the arguments of the event."""
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _keeps(frame: FrameType) -> bool:
    """Whether a function is memoised, or sets a global."""
    code = frame.f_code
    found: Any = frame.f_globals.get(code.co_qualname.partition(".")[0])
    for part in code.co_qualname.split(".")[1:]:
        found = getattr(found, part, None)
    if hasattr(found, "cache_info") or hasattr(found, "cache_clear"):
        return True
    import dis

    return any(one.opname == "STORE_GLOBAL" for one in dis.get_instructions(code))
