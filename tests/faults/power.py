"""A disk that forgets what was not forced to it: system calls as strace saw them, and what is left of them.

Model: bytes are durable after an fsync of their file (or through O_DSYNC), names after an fsync of their
folder; of anything later any part may have reached the disk, in blocks of 512 bytes, in any order. LMDB's
calls are among the recorded ones, so that its file is held to its own syncs.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from aq.store.system import disk

from tests.faults.cases import CASES
from tests.faults.points import strace

_CALLS = (
    "openat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,syncfs,sync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,"
    "copy_file_range,sendfile"
)
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(<[^>]*>)?(.*)$", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_PLACE = re.compile(r"(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2}|[^>\\])*)>")
_BLOCK = 512
FAILED = 1_000
"""What a number of commands that are done is raised by once one has failed."""
DONE = "/dev/null/done-"
"""A name of which the recorded process asks for a folder, in vain, to say that a command has ended."""


class Event(NamedTuple):
    """One call that changed something: absolute paths; `data` at `at`; `number` as the call needs it."""

    call: str
    path: str
    other: str = ""
    data: bytes = b""
    at: int = 0
    number: int = 0


def record(case: str, root: Path, *, fsync: bool = True, failing: str = "") -> list[Event]:
    """Play a case on `root` in a traced process; what it did to files, in order.

    Without `fsync` the store's own calls of it do nothing: for the proof that they are needed. `failing`:
    what strace is to inject; a command that fails is given again.
    """
    source = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        script = f"from tests.faults.power import play; play({case!r}, {str(root)!r}, fsync={fsync})"
        tracing = [*strace()[:2], "-o", str(log), "-y", "-xx", "-s", "5000000", "-e", f"trace={_CALLS}"]
        tracing += ["-e", f"inject={failing}"] if failing else []
        done = subprocess.run(
            [*tracing, sys.executable, "-c", script],
            cwd=source,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return list(_events(log, str(root)))


def play(name: str, root: str, *, fsync: bool) -> None:
    """In the traced process: the case, telling of each command that has ended."""
    case = next(case for case in CASES if case.name == name)
    if not fsync:
        disk.fsync = lambda fd, *, path: None  # type: ignore[assignment]
        disk.fsync_folder = lambda path: None  # type: ignore[assignment]

    def tell(number: int) -> None:
        try:
            os.mkdir(f"{DONE}{number}")
        except OSError:
            return

    tell(0)
    done = [0]
    code = case.play(Path(root), lambda number: (tell(number), done.append(number))[0])
    if code:
        tell(done[-1] + FAILED)
        code = case.play(Path(root), tell, first=done[-1])
    sys.stdout.flush()
    os._exit(code)


def _events(log: Path, root: str) -> Iterator[Event]:
    """What the log tells of files below `root`, from the first mark on."""
    reader = _Reader(root)
    waiting: dict[str, str] = {}
    with log.open() as lines:
        for line in lines:
            line = line.rstrip("\n")
            pid = line.split(" ", 1)[0]
            if line.endswith("<unfinished ...>"):
                waiting[pid] = line.removesuffix("<unfinished ...>")
                continue
            if " resumed>" in line[:80]:
                line = waiting.pop(pid, "") + line.partition(" resumed>")[2]
            found = _LINE.match(line)
            if found:
                yield from reader.read(*found.group(1, 2, 3, 4, 5))


class _Reader:
    """Calls with their descriptors made into events with paths and positions."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.begun = False
        self.positions: dict[tuple[str, str], int] = {}
        self.direct: set[tuple[str, str]] = set()

    def read(self, pid: str, call: str, text: str, result: str, target: str | None) -> Iterator[Event]:
        texts = [_bytes(found.group(1)) for found in _TEXT.finditer(text)]
        if call == "mkdir" and texts[0].startswith(DONE.encode()):
            self.begun = True
            yield Event("done", "", number=int(texts[0].removeprefix(DONE.encode())))
            return
        if call in ("fsync", "fdatasync") and result.startswith("-") and self.begun:
            yield Event("lose", _path(_bytes_or_text(_PLACE.findall(text)[0])))
        if result.startswith("-") or result == "?" or not self.begun:
            return
        assert not any(found.group(2) for found in _TEXT.finditer(text)), "strace has cut a text"
        for event in self._event(pid, call, text, texts, int(result), target):
            inside = (event.path, event.other or event.path)
            if any(f"{path}/".startswith(self.root + "/") for path in inside):
                yield event

    def _event(
        self, pid: str, call: str, text: str, texts: list[bytes], result: int, target: str | None
    ) -> Iterator[Event]:
        places = [_path(_bytes_or_text(found.group(1))) for found in _PLACE.finditer(text)]
        fd = (pid, text.split("<", 1)[0])
        if call == "openat":
            yield from self._opened((pid, str(result)), _joined(places[0], texts[0]), text)
        elif call == "lseek":
            self.positions[fd] = result
        elif "write" in call:
            yield self._written(fd, call, text, places[0], b"".join(texts)[:result])
        elif call == "close":
            self.positions.pop(fd, None)
        else:
            yield self._named(call, text, texts, places)

    def _opened(self, fd: tuple[str, str], path: str, text: str) -> Iterator[Event]:
        self.positions[fd] = 0
        self.direct.discard(fd)
        if "O_DSYNC" in text or "O_SYNC" in text:
            self.direct.add(fd)
        if "O_TMPFILE" not in text and "O_CREAT" in text:
            yield Event("create", path)
        if "O_TRUNC" in text:
            yield Event("truncate", path, number=0)

    def _written(self, fd: tuple[str, str], call: str, text: str, path: str, data: bytes) -> Event:
        if call.startswith("p"):
            number = re.search(r", (\d+)(, \w+)?$" if call == "pwritev2" else r", (\d+)$", text)
            assert number is not None
            at = int(number[1])
        else:
            at = self.positions.get(fd, 0)
            self.positions[fd] = at + len(data)
        return Event("write", path, data=data, at=at, number=fd in self.direct)

    def _named(self, call: str, text: str, texts: list[bytes], places: list[str]) -> Event:
        here = places[0] if places else self.root
        if call in ("ftruncate", "truncate"):
            path = here if call == "ftruncate" else _joined(here, texts[0])
            return Event("truncate", path, number=int(text.rsplit(", ", 1)[1]))
        if call in ("fsync", "fdatasync"):
            return Event("fsync", here)
        if call.startswith("rename"):
            return Event("rename", _joined(here, texts[0]), _joined(places[-1] if places else here, texts[1]))
        if call in ("unlink", "unlinkat", "rmdir"):
            return Event("unlink", _joined(here, texts[0]))
        if call.startswith("mkdir"):
            return Event("mkdir", _joined(here, texts[0]))
        if call.startswith("symlink"):
            return Event("symlink", _joined(here, texts[1]), data=texts[0])
        raise AssertionError(f"the model does not know {call}")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _bytes_or_text(text: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode())


def _path(data: bytes) -> str:
    return os.fsdecode(data)


def _joined(folder: str, name: bytes) -> str:
    return os.path.normpath(os.path.join(folder, os.fsdecode(name)))


@dataclass
class _File:
    """A file or link: what is durable, and what was done since."""

    data: bytearray = field(default_factory=bytearray)
    mode: int = 0o644
    link: bytes | None = None
    since: list[Callable[[bytearray], None]] = field(default_factory=list)


@dataclass
class _Folder:
    """A folder: names as they are, names that are durable, and what was done to names since."""

    names: dict[str, _File | _Folder] = field(default_factory=dict)
    durable: dict[str, _File | _Folder] = field(default_factory=dict)
    since: list[Callable[[dict[str, _File | _Folder]], None]] = field(default_factory=list)

    def change(self, do: Callable[[dict[str, _File | _Folder]], None]) -> None:
        do(self.names)
        self.since.append(do)


class Disk:
    """What lies on it, what is only in memory. It begins with everything below `root` durable."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.top = _loaded(root)

    def do(self, event: Event) -> None:
        """Follow one call."""
        getattr(self, f"_{event.call}")(event)

    def _at(self, path: str) -> _File | _Folder | None:
        found: _File | _Folder | None = self.top
        for name in self._parts(path):
            found = found.names.get(name) if isinstance(found, _Folder) else None
        return found

    def _parts(self, path: str) -> list[str]:
        inside = os.path.relpath(path, self.root)
        return [] if inside == "." else inside.split("/")

    def _folder(self, path: str) -> tuple[_Folder, str]:
        folder = self._at(os.path.dirname(path))
        assert isinstance(folder, _Folder), path
        return folder, os.path.basename(path)

    def _create(self, event: Event) -> None:
        folder, name = self._folder(event.path)
        if name not in folder.names:
            made = _File()
            folder.change(lambda names: names.__setitem__(name, made))

    def _mkdir(self, event: Event) -> None:
        folder, name = self._folder(event.path)
        made = _Folder()
        folder.change(lambda names: names.__setitem__(name, made))

    def _symlink(self, event: Event) -> None:
        folder, name = self._folder(event.path)
        made = _File(link=event.data)
        folder.change(lambda names: names.__setitem__(name, made))

    def _unlink(self, event: Event) -> None:
        folder, name = self._folder(event.path)
        folder.change(lambda names: names.pop(name, None) and None)

    def _rename(self, event: Event) -> None:
        source, old = self._folder(event.path)
        target, new = self._folder(event.other)
        moved = source.names[old]

        def both(names: dict[str, _File | _Folder]) -> None:
            if names.get(old) is moved:
                del names[old]
            names[new] = moved

        if source is target:
            source.change(both)
        else:
            target.change(lambda names: names.__setitem__(new, moved))
            source.change(lambda names: names.pop(old, None) and None)

    def _write(self, event: Event) -> None:
        file = self._at(event.path)
        if not isinstance(file, _File):
            return  # a file without a name
        if event.number:
            _put(file.data, event.data, event.at)
        else:
            file.since += [_putting(piece, at) for piece, at in _blocks(event.data, event.at)]

    def _truncate(self, event: Event) -> None:
        file = self._at(event.path)
        if isinstance(file, _File):
            file.since.append(lambda data: _resize(data, event.number))

    def _fsync(self, event: Event) -> None:
        found = self._at(event.path)
        if isinstance(found, _Folder):
            found.durable, found.since = dict(found.names), []
        elif found is not None:
            for change in found.since:
                change(found.data)
            found.since = []

    def _lose(self, event: Event) -> None:
        """An fsync that failed: what it was to write is clean in memory, and never comes to the disk."""
        found = self._at(event.path)
        if isinstance(found, _File):
            found.since = []

    def _done(self, event: Event) -> None:
        """Nothing of a disk."""

    def lose_power(self, target: Path, chance: random.Random | None = None) -> None:
        """Lay down in `target` what is left: without `chance` only what was forced, with it more."""
        target.mkdir(parents=True)
        _lay(self.top, target, chance)


def _loaded(path: Path) -> _Folder:
    folder = _Folder()
    for entry in os.scandir(path):
        if entry.is_symlink():
            folder.names[entry.name] = _File(link=os.fsencode(os.readlink(entry.path)))
        elif entry.is_dir():
            folder.names[entry.name] = _loaded(Path(entry.path))
        else:
            data = bytearray(Path(entry.path).read_bytes())
            folder.names[entry.name] = _File(data, entry.stat().st_mode & 0o777)
    folder.durable = dict(folder.names)
    return folder


def _lay(folder: _Folder, target: Path, chance: random.Random | None) -> None:
    names = dict(folder.durable)
    if chance is not None:  # a journal keeps the order of names in one folder
        for change in folder.since[: chance.randint(0, len(folder.since))]:
            change(names)
    for name, found in names.items():
        place = target / name
        if isinstance(found, _Folder):
            place.mkdir()
            _lay(found, place, chance)
        elif found.link is not None:
            os.symlink(found.link, os.fsencode(place))
        else:
            place.write_bytes(_survived(found, chance))
            place.chmod(found.mode)


def _survived(file: _File, chance: random.Random | None) -> bytes:
    """Bytes after the failure. Blocks that did not arrive are missing, or zero where later ones did."""
    data = bytearray(file.data)
    if chance is not None:
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        for change in file.since:
            if chance.random() < share:
                change(data)
    return bytes(data)


def _blocks(data: bytes, at: int) -> Iterator[tuple[bytes, int]]:
    """The pieces in which data reaches a disk; long runs stay together, to keep this quick."""
    size = _BLOCK if len(data) <= 64 * _BLOCK else len(data) // 64 // _BLOCK * _BLOCK
    end = at + len(data)
    start = at
    while start < end:
        stop = min(end, (start // size + 1) * size)
        yield data[start - at : stop - at], start
        start = stop


def _putting(piece: bytes, at: int) -> Callable[[bytearray], None]:
    return lambda data: _put(data, piece, at)


def _put(data: bytearray, piece: bytes, at: int) -> None:
    if len(data) < at:
        data.extend(bytes(at - len(data)))
    data[at : at + len(piece)] = piece


def _resize(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))
