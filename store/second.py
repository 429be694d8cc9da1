"""A second process that writes small files into a staging folder, while its caller writes others.

Invariant: it helps and no more. It verifies what it reads as `store.prefetch` does, knows neither index
nor refs nor final names, and ends with its caller; whatever it has not written its caller writes.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import closing, suppress
from struct import Struct
from typing import IO, Final

import msgspec
from aq.formats.errors import AqError
from aq.store import disk
from aq.store.prefetch import Prefetch, Row
from aq.store.stats import pack_stat

WORTH_FROM: Final = 20_000
"""Fewer files are written before it has started."""
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_size = Struct("<Q")


class Task(msgspec.Struct, array_like=True, frozen=True):
    """Where the artifacts of files lie, and for each its id, name below the staging folder and mode."""

    rows: list[Row]
    files: list[tuple[bytes, bytes, int]]


_tasks = msgspec.msgpack.Decoder(Task)
_stats = msgspec.msgpack.Decoder(list[bytes])


class Helper:
    """The caller's side. Where the process fails, for whatever reason, it has simply written nothing."""

    def __init__(self, packs: str, staging: bytes) -> None:
        command = [sys.executable, "-P", "-m", "aq.store.second"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._is_ready = False
        self._tell((packs, staging))

    @property
    def pid(self) -> int:
        """The process."""
        return self._child.pid

    @property
    def is_ready(self) -> bool:
        """Whether it has started."""
        if not self._is_ready and self._child.stdout is not None:
            readable, _, _ = select.select([self._child.stdout], [], [], 0)
            self._is_ready = bool(readable) and _receive(self._child.stdout) == b"ready"
        return self._is_ready

    def begin(self, task: Task) -> None:
        """Give it something to do."""
        self._tell(task)

    def _tell(self, message: object) -> None:
        assert self._child.stdin is not None
        with suppress(OSError):
            _send(self._child.stdin, msgspec.msgpack.encode(message))

    def finish(self, task: Task) -> list[bytes]:
        """Wait for it: the packed stat of each row's file, b"" where it was not written."""
        assert self._child.stdout is not None
        stats: list[bytes] = []
        with suppress(OSError, msgspec.DecodeError):
            stats = _stats.decode(_receive(self._child.stdout))
        if len(stats) != len(task.rows):
            self._is_ready = False
            self._child.kill()
            return [b""] * len(task.rows)
        return stats

    def close(self) -> None:
        """End it: from now on it writes nothing more."""
        self._child.kill()
        with suppress(OSError), self._child:
            pass


def is_of_use(files: int) -> bool:
    """Whether a second process pays: for many files, on a second processor, where nobody counts changes."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    is_python = os.path.basename(sys.executable or "").startswith("python")
    return files >= WORTH_FROM and usable > 1 and is_python and not disk.is_observed()


def main(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """The other side: what is to be done comes in, what was done goes out, until the input ends."""
    packs, staging = msgspec.msgpack.decode(_receive(tasks), type=tuple[str, bytes])
    folder = os.open(staging, _FLAGS)
    with closing(Prefetch(packs)) as prefetch:
        _send(answers, b"ready")
        while data := _receive(tasks):
            _send(answers, msgspec.msgpack.encode(_done(prefetch, folder, _tasks.decode(data))))


def _done(prefetch: Prefetch, folder: int, task: Task) -> list[bytes]:
    stats = []
    ids = [id for id, _name, _mode in task.files]
    for at, artifact in prefetch.artifacts(task.rows, ids):
        _id, name, mode = task.files[at]
        stat = b""
        if artifact is not None and (artifact.kind, artifact.format) == ("file", "bytes"):
            data = artifact.data
            if data is not None and len(data) == artifact.size:
                with suppress(AqError):
                    stat = pack_stat(disk.write_new(folder, name, data, mode=mode, path=name))
        stats.append(stat)
    return stats


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(_size.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    """One message; b"" at the end of the stream."""
    head = stream.read(_size.size)
    return stream.read(_size.unpack(head)[0]) if len(head) == _size.size else b""


if __name__ == "__main__":
    with open(0, "rb") as tasks, open(1, "wb") as answers:
        main(tasks, answers)
