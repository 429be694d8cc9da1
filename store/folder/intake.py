"""Files of the folder on their way in: the small ones of a folder together, all others one by one.

Invariant: what is told of a file describes one state of it, as in `store.folder.content`: a file that is not
as it was listed is read again with all precautions there. Small files are in the sink only after `finish`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final, NamedTuple

from aq.formats.identity import Kind
from aq.formats.objects import Sink
from aq.store.commits.snapshots import Mode, pack_file
from aq.store.folder.content import SMALL, HashOnly, State, earlier, read_state
from aq.store.folder.folders import join, open_folder
from aq.store.folder.statcache import StatCache, size_of
from aq.store.store import Store
from aq.store.system.stats import sizes_of

if TYPE_CHECKING:
    from aq.formats.contents.inline_frames import InlineFrames
    from aq.store.folder.second_reader import Reader

_FEW: Final = 16
"""So many files are read one by one: `status` after an edit need not import what packs are made with."""
_AT_A_TIME: Final = 512
"""Small files that are read in one go, and so given to a second process."""
_AHEAD: Final = 4_096
"""Files that may be begun and not ended: so that a second process has work while others are ended."""
_HELPED_FROM: Final = 4_096
"""So many files are read before a second process is started: it pays where at least as many follow."""
_MODES: Final = {0: Mode.FILE, 0o100: Mode.EXEC}


class Reading:
    """Files of one folder as they were listed; `entries` are of those that are read, `open` counts pieces."""

    __slots__ = ("clock", "entries", "folder", "heads", "names", "open", "stats")

    def __init__(
        self,
        folder: bytes,
        names: Sequence[bytes],
        stats: Sequence[bytes],
        heads: Sequence[bytes | None] | None,
        clock: int | None,
    ) -> None:
        self.folder, self.names, self.stats, self.heads, self.clock = folder, names, stats, heads, clock
        self.entries: list[bytes | None] = [None] * len(names)
        self.open = 0


class Piece(NamedTuple):
    """Small files of one folder, by their numbers, and the bytes that their frames take at most."""

    reading: Reading
    numbers: list[int]
    size: int


class Intake:
    """Reads files into a sink and notes in the stat cache what they hold.

    `clock`: see `StatCache.learn`; `count` is told how many files, and bytes of them, were read. A second
    process takes pieces from the end of what was begun, while this one takes them from the start.
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
        self._helper: Reader[Piece] | None = None
        self._pieces: deque[Piece] = deque()
        self._seen = self._ahead = 0

    @property
    def is_full(self) -> bool:
        """Whether the oldest of what was begun is to be ended before more is begun."""
        return self._helper is None or self._ahead >= _AHEAD

    def begin(
        self,
        folder: bytes,
        names: Sequence[bytes],
        stats: Sequence[bytes],
        heads: Sequence[bytes | None] | None = None,
    ) -> Reading:
        """Files of one folder, ascending, as they were listed; `heads`: entries of earlier versions."""
        reading = Reading(folder, names, stats, heads, self._clock() if names else None)
        self._seen += len(names)
        self._ahead += len(names)
        if self._seen > _FEW:
            self._pieces.extend(_pieces(reading))
            if self._seen - len(names) < _HELPED_FROM <= self._seen:
                self._helper = self._second()
            self._share()
        return reading

    def end(self, reading: Reading) -> list[State | None]:
        """Stat and packed entry of each file, in the order of `begin`; None where there is no file any more.

        Raises Temporary, AqError as `read_state`.
        """
        while reading.open:
            self._share()
            if self._pieces and self._pieces[0].reading is reading:
                self._read(self._pieces.popleft())
            else:
                self._hear(wait=True)
        self._ahead -= len(reading.names)
        folder, names, heads = reading.folder, reading.names, reading.heads or repeat(None)
        states: list[State | None] = [
            (stat, entry) if entry is not None else self._alone(join(folder, name), stat, head)
            for name, stat, entry, head in zip(names, reading.stats, reading.entries, heads, strict=False)
        ]
        read = [(name, *state) for name, state in zip(names, states, strict=True) if state is not None]
        kept, stats, known = zip(*read, strict=True) if read else ((), (), ())
        self._cache.learn_many(folder, kept, stats, known, reading.clock)
        self._count(len(read), sum([size for size in sizes_of(stats) if size < SMALL]))
        return states

    def read(self, folder: bytes, names: Sequence[bytes], stats: Sequence[bytes]) -> list[State | None]:
        """Both at once."""
        return self.end(self.begin(folder, names, stats))

    def finish(self) -> None:
        """Put what was read and is not put yet."""
        if self._frames is not None:
            self._put(self._frames)
        if self._helper is not None:
            self._helper.close()

    def _second(self) -> Reader[Piece] | None:
        from aq.store.folder import second_reader

        return second_reader.start()

    def _share(self) -> None:
        """Keep the second process busy."""
        if self._helper is None:
            return
        self._hear(wait=False)
        while self._pieces and self._helper.is_free:
            reading, numbers, _size = piece = self._pieces.pop()
            names, stats = _chosen(reading, numbers)
            self._helper.give(piece, os.path.join(self._root, reading.folder), names, stats)

    def _hear(self, *, wait: bool) -> None:
        """Take over what the second process has read."""
        while self._helper is not None and (heard := self._helper.hear(wait=wait)) is not None:
            piece, ids, frames = heard
            self._put(frames)
            self._note(piece, ids)
            wait = False

    def _read(self, piece: Piece) -> None:
        """Read files here and now."""
        from aq.formats.contents.inline_frames import InlineFrames
        from aq.store.folder.second_reader import laid

        reading, numbers, size = piece
        frames = self._frames = self._frames or InlineFrames()
        if not frames.has_room(size):
            self._put(frames)
        names, stats = _chosen(reading, numbers)
        folder = open_folder(os.path.join(self._root, reading.folder))
        if folder is None:
            self._note(piece, [b""] * len(numbers))
            return
        try:
            self._note(piece, laid(frames, folder, names, stats))
        finally:
            os.close(folder)

    def _note(self, piece: Piece, ids: Sequence[bytes]) -> None:
        """What was not read like this `end` reads by itself."""
        reading, numbers, _size = piece
        for number, id in zip(numbers, ids, strict=True):
            if id:
                reading.entries[number] = pack_file(id, _MODES[reading.stats[number][40] & 0o100])
        reading.open -= 1

    def _put(self, frames: InlineFrames) -> None:
        if isinstance(self._sink, Store):
            self._sink.put_frames(frames)
        elif not isinstance(self._sink, HashOnly):
            for number in range(len(frames.ids)):
                self._sink.put(Kind.ARTIFACT, frames.record(number))
        frames.clear()

    def _alone(self, path: bytes, stat: bytes, head: bytes | None) -> State | None:
        sink = self._sink
        like = earlier(sink, head) if isinstance(sink, Store) and size_of(stat) >= SMALL else None
        return read_state(self._root, path, sink, self._on_bytes, like=like)

    def _on_bytes(self, size: int) -> None:
        self._count(0, size)


def _chosen(reading: Reading, numbers: list[int]) -> tuple[list[bytes], list[bytes]]:
    return [reading.names[number] for number in numbers], [reading.stats[number] for number in numbers]


def _pieces(reading: Reading) -> Iterator[Piece]:
    """The small files in pieces whose frames find room in one buffer."""
    from aq.formats.contents.inline_frames import BESIDE_MOST, ROOM

    numbers: list[int] = []
    total = 0
    for number, size in enumerate(sizes_of(reading.stats)):
        if size >= SMALL:
            continue
        most = size + BESIDE_MOST
        if numbers and (total + most > ROOM or len(numbers) == _AT_A_TIME):
            reading.open += 1
            yield Piece(reading, numbers, total)
            numbers, total = [], 0
        numbers.append(number)
        total += most
    if numbers:
        reading.open += 1
        yield Piece(reading, numbers, total)
