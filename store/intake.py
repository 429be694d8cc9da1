"""Files of the folder on their way in: the small ones of a folder together, all others one by one.

Invariant: what is told of a file describes one state of it, as in `store.content`: a file that is not as it
was listed is read again with all precautions there. Small files are in the sink only after `finish`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final

from aq.formats.identity import Kind
from aq.formats.objects import Sink
from aq.store.content import OPEN_FLAGS, SMALL, HashOnly, State, earlier, read_state
from aq.store.folders import join, open_folder
from aq.store.snapshots import Mode, pack_file
from aq.store.statcache import StatCache, size_of
from aq.store.stats import pack_stat
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.formats.inline_frames import InlineFrames

_FEW: Final = 16
"""So many files are read one by one: `status` after an edit need not import what packs are made with."""
_MODES: Final = {0: Mode.FILE, 0o100: Mode.EXEC}


class Intake:
    """Reads files into a sink and notes in the stat cache what they hold.

    `clock`: see `StatCache.learn`; `count` is told how many files, and bytes of them, were read.
    """

    def __init__(
        self,
        root: bytes,
        sink: Sink,
        cache: StatCache,
        clock: Callable[[], int | None],
        count: Callable[[int, int], None],
    ) -> None:
        self._root, self._sink, self._cache, self._clock, self._count = root, sink, cache, clock, count
        self._frames: InlineFrames | None = None
        self._seen = 0

    def read(
        self,
        folder: bytes,
        names: Sequence[bytes],
        stats: Sequence[bytes],
        heads: Sequence[bytes | None] | None = None,
    ) -> list[State | None]:
        """Files of one folder, ascending, as they were listed: stat and packed entry of each.

        `heads`: entries of earlier versions. None where there is no file any more. Raises Temporary,
        AqError as `read_state`.
        """
        if not names:
            return []
        clock = self._clock()
        entries = self._together(folder, names, stats)
        states: list[State | None] = [
            (stat, entry) if entry is not None else self._alone(join(folder, name), stat, head)
            for name, stat, entry, head in zip(names, stats, entries, heads or repeat(None), strict=False)
        ]
        read = [(name, *state) for name, state in zip(names, states, strict=True) if state is not None]
        self._cache.learn_many(folder, read, clock)
        self._count(len(read), sum([size for _, stat, _ in read if (size := size_of(stat)) < SMALL]))
        return states

    def _alone(self, path: bytes, stat: bytes, head: bytes | None) -> State | None:
        sink = self._sink
        like = earlier(sink, head) if isinstance(sink, Store) and size_of(stat) >= SMALL else None
        return read_state(self._root, path, sink, self._on_bytes, like=like)

    def _on_bytes(self, size: int) -> None:
        self._count(0, size)

    def _together(
        self, folder: bytes, names: Sequence[bytes], stats: Sequence[bytes]
    ) -> Sequence[bytes | None]:
        """The entries of those that are small and still as they were listed; None for the others."""
        self._seen += len(names)
        fd = open_folder(os.path.join(self._root, folder)) if self._seen > _FEW else None
        if fd is None:
            return [None] * len(names)
        if self._frames is None:
            from aq.formats.inline_frames import InlineFrames

            self._frames = InlineFrames()
        frames = self._frames
        entries: list[bytes | None] = []
        try:
            for name, stat in zip(names, stats, strict=True):
                data = read_small(fd, name, stat)
                if data is None:
                    entries.append(None)
                    continue
                entries.append(pack_file(frames.add(data), _MODES[stat[40] & 0o100]))
                if frames.is_full:
                    self.finish()
        finally:
            os.close(fd)
        return entries

    def finish(self) -> None:
        """Put what was read and is not put yet."""
        frames = self._frames
        if frames is None:
            return
        if isinstance(self._sink, Store):
            self._sink.put_frames(frames)
        elif not isinstance(self._sink, HashOnly):
            for number in range(len(frames.ids)):
                self._sink.put(Kind.ARTIFACT, frames.record(number))
        frames.clear()


def read_small(folder: int, name: bytes, stat: bytes) -> bytes | None:
    """The content of a small regular file in an open folder if it has this packed stat; None otherwise."""
    size = int.from_bytes(stat[:8], "little")
    if size >= SMALL:
        return None
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
