"""The program that reads small files for `store.folder.intake` and lays them as frames, and the loop both
share.

Invariant: it changes nothing: frames go to memory that the caller gave it, and the caller writes them. What
is not as it was listed, or cannot be read, is left out: the caller looks at it with all precautions.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic

import msgspec
from aq.formats.contents.inline_frames import ROOM, InlineFrames
from aq.formats.errors import AqError
from aq.store.folder.content import OPEN_FLAGS
from aq.store.folder.folders import open_folder
from aq.store.folder.second import Helper, Work, is_of_use, serve
from aq.store.system import disk
from aq.store.system.lookahead import split
from aq.store.system.stats import pack_stat

SLOTS: Final = 2
"""Pieces of work that it has at a time: each lies in memory of its own."""


class Task(msgspec.Struct, array_like=True, frozen=True):
    """Small files of a folder as they were listed, and the slot for their frames."""

    slot: int
    folder: bytes
    names: list[bytes]
    stats: bytes


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """The id of each file, b"" where it was not read, and where the frames of the others end."""

    ids: list[bytes]
    ends: list[int]


_tasks = msgspec.msgpack.Decoder(Task)
_answers = msgspec.msgpack.Decoder(Answer)


def laid(frames: InlineFrames, folder: int, names: Sequence[bytes], stats: Sequence[bytes]) -> list[bytes]:
    """Lay frames of small files in an open folder: their ids, b"" for what is not as it was listed."""
    ids = []
    for name, stat in zip(names, stats, strict=True):
        data = read_small(folder, name, stat)
        ids.append(b"" if data is None else frames.add(data))
    return ids


def read_small(folder: int, name: bytes, stat: bytes) -> bytes | None:
    """The content of a regular file in an open folder if it has this packed stat; None otherwise."""
    size = int.from_bytes(stat[:8], "little")
    try:
        fd = os.open(name, OPEN_FLAGS, dir_fd=folder)
    except OSError:
        return None
    try:
        data = os.read(fd, size + 1)
        return data if len(data) == size and pack_stat(os.fstat(fd)) == stat else None
    except OSError:
        return None
    finally:
        os.close(fd)


class Reader(Generic[Work]):
    """The caller's side: as `Helper`, with frames in shared memory. Raises OSError, AqError."""

    def __init__(self) -> None:
        fd = os.memfd_create("aq", os.MFD_CLOEXEC)
        try:
            disk.truncate(fd, SLOTS * ROOM, path="memory for a second process")
            memory = mmap.mmap(fd, SLOTS * ROOM)
            self._helper: Helper[tuple[Work, int, int]] = Helper(__name__, (fd,))
            self._helper.begin(msgspec.msgpack.encode(fd))
        finally:
            os.close(fd)
        self._slots = [_slot(memory, number) for number in range(SLOTS)]
        self._free = list(range(SLOTS))

    @property
    def pid(self) -> int:
        """The process."""
        return self._helper.pid

    @property
    def is_free(self) -> bool:
        """Whether it has started, and has little to do."""
        return bool(self._free) and self._helper.is_free

    def give(self, work: Work, folder: bytes, names: list[bytes], stats: Sequence[bytes]) -> None:
        """Have small files of a folder read: its full path, their names and packed stats."""
        slot = self._free.pop()
        task = Task(slot, folder, names, b"".join(stats))
        self._helper.give((work, len(names), slot), msgspec.msgpack.encode(task))

    def hear(self, *, wait: bool) -> tuple[Work, list[bytes], InlineFrames] | None:
        """The oldest work given, with the id of each file, b"" where it was not read, and their frames.

        None if there is none (yet). The frames hold until `give` is called again.
        """
        heard = self._helper.hear(wait=wait)
        if heard is None:
            return None
        (work, count, slot), message = heard
        self._free.append(slot)
        answer, frames = _answered(message, count), self._slots[slot]
        frames.take_in(list(filter(None, answer.ids)), answer.ends)
        return work, answer.ids, frames

    def close(self) -> None:
        """End it."""
        self._helper.close()


def start() -> Reader[Work] | None:
    """Such a process, if it is of use and can be had."""
    if is_of_use() and hasattr(os, "memfd_create"):
        with suppress(OSError, AqError):
            return Reader()
    return None


def _slot(memory: mmap.mmap, number: int) -> InlineFrames:
    return InlineFrames(memoryview(memory)[number * ROOM : (number + 1) * ROOM])


def _answered(message: bytes, count: int) -> Answer:
    with suppress(msgspec.DecodeError):
        answer = _answers.decode(message)
        if len(answer.ids) == count and len(answer.ends) == count - answer.ids.count(b""):
            return answer
    return Answer([b""] * count, [])


def _begin(setup: bytes) -> Callable[[bytes], bytes]:
    memory = mmap.mmap(msgspec.msgpack.decode(setup, type=int), SLOTS * ROOM)
    slots = [_slot(memory, number) for number in range(SLOTS)]
    return lambda message: msgspec.msgpack.encode(_done(slots, _tasks.decode(message)))


def _done(slots: Sequence[InlineFrames], task: Task) -> Answer:
    frames = slots[task.slot]
    frames.clear()
    folder = None
    with suppress(AqError):
        folder = open_folder(task.folder)
    if folder is None:
        return Answer([b""] * len(task.names), [])
    try:
        return Answer(laid(frames, folder, task.names, split(task.stats)), list(frames.ends))
    finally:
        os.close(folder)


if __name__ == "__main__":
    serve(_begin)
