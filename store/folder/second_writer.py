"""The program that writes small files into a staging folder for `store.folder.filling`, and the loop both
share.

Invariant: it verifies what it reads as `store.folder.prefetch` does, and knows neither index nor refs nor
final names. What is large, of another kind or refused has no answer here: `store.folder.filling` deals with
that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from aq.formats.errors import AqError
from aq.formats.records import Artifact
from aq.store.folder.prefetch import Prefetch, Row
from aq.store.folder.second import Helper, Work, is_of_use, serve
from aq.store.system import disk
from aq.store.system.stats import pack_stat

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Task(msgspec.Struct, array_like=True, frozen=True):
    """Where the artifacts of files lie; in that order their names below the staging folder, and modes."""

    rows: list[Row]
    names: list[bytes]
    modes: list[int]


WORTH_FROM: Final = 20_000
"""Fewer files are written before it has started."""
_tasks = msgspec.msgpack.Decoder(Task)
_stats = msgspec.msgpack.Decoder(list[bytes])


def written(
    prefetch: Prefetch,
    folder: int,
    rows: Sequence[Row],
    names: Sequence[bytes],
    modes: Sequence[int],
    paths: Sequence[bytes],
) -> Iterator[tuple[int, bytes, Artifact | None]]:
    """Write files whose content lies in their artifacts: which one, its packed stat, the artifact.

    b"" for the stat of what is not such a file, or has no mode; no artifact where it was not found right.
    `paths` are for messages. Raises Refused.
    """
    for at, artifact in prefetch.artifacts(rows):
        stat = b""
        if artifact is not None and artifact.kind == "file" and artifact.format == "bytes":
            data, mode = artifact.data, modes[at]
            if mode and data is not None and len(data) == artifact.size:
                stat = pack_stat(disk.write_new(folder, names[at], data, mode=mode, path=paths[at]))
        yield at, stat, artifact


def start(files: int) -> Helper[Work] | None:
    """Such a process, if it is of use for so many files."""
    return Helper(__name__) if files >= WORTH_FROM and is_of_use() else None


def answered(answer: bytes, count: int) -> list[bytes]:
    """The packed stats in an answer, b"" for those that were not written."""
    stats: list[bytes] = []
    with suppress(msgspec.DecodeError):
        stats = _stats.decode(answer)
    return stats if len(stats) == count else [b""] * count


def _begin(setup: bytes) -> Callable[[bytes], bytes]:
    packs, staging = msgspec.msgpack.decode(setup, type=tuple[str, bytes])
    prefetch, folder = Prefetch(packs), os.open(staging, _FLAGS)
    return lambda message: msgspec.msgpack.encode(_done(prefetch, folder, _tasks.decode(message)))


def _done(prefetch: Prefetch, folder: int, task: Task) -> list[bytes]:
    stats = [b""] * len(task.rows)
    rows = [(pack, offset, size, number, id) for number, (pack, offset, size, _, id) in enumerate(task.rows)]
    with suppress(AqError):  # the caller meets it too, and says so
        for at, stat, _artifact in written(prefetch, folder, rows, task.names, task.modes, task.names):
            stats[at] = stat
    return stats


if __name__ == "__main__":
    serve(_begin)
