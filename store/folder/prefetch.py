"""Many artifacts read at once, in the order in which they lie in the packs.

Invariant: a record is handed out only if its frame holds: checksum, kind and id. Whatever is not found
like this at once (not published yet, moved by a collector, damaged) is left to `Store.get`, which knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.packing.packs import raw_payload, seed_of
from aq.formats.records import Artifact, decode
from aq.store.frames.place_rows import PLAIN

if TYPE_CHECKING:
    from aq.store.store import Store

_WINDOW: Final = 1 << 20
_GAP_MOST: Final = 64 << 10
_OPEN_MOST: Final = 16
Row = tuple[bytes, int, int, int, bytes]
"""Pack, offset, size, which of the wanted it is, its id."""


def find_places(store: Store, ids: Sequence[bytes]) -> tuple[list[Row], list[int]]:
    """Where records lie, in the order of the packs; and which of them the index does not know like that."""
    with store.index.look() as look:
        found = look.values("objects", ids)
    rows, left = [], []
    for at, (id, value) in enumerate(zip(ids, found, strict=True)):
        if value is not None and len(value) == PLAIN.size:
            pack, offset, size, _kind, _codec = PLAIN.unpack(value)
            if size <= _WINDOW:
                rows.append((pack, offset, size, at, id))
                continue
        left.append(at)
    rows.sort()
    return rows, left


class Prefetch:
    """Reads from the packs in one folder; close it in the end. Not safe for two threads."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._buffer = memoryview(bytearray(_WINDOW))
        self._files: dict[bytes, int] = {}

    def close(self) -> None:
        """Let go of the packs."""
        while self._files:
            os.close(self._files.popitem()[1])

    def artifacts(self, rows: Sequence[Row]) -> Iterator[tuple[int, Artifact | None]]:
        """Which of the wanted each row is, with its record, or None where `Store.get` must look for it."""
        for run in _runs(rows):
            found = self._read(run)
            start, seed = run[0][1], seed_of(run[0][0])
            for _pack, offset, size, at, id in run:
                record = None
                if found is not None:
                    frame = found[offset - start : offset - start + size]
                    payload = raw_payload(seed, frame, Kind.ARTIFACT, id)
                    if payload is not None:
                        with suppress(Damaged):
                            record = decode(Artifact, payload)
                yield at, record

    def _read(self, run: list[Row]) -> memoryview | None:
        """The bytes from the first frame of a run to the end of its last, until the next call."""
        pack, start = run[0][:2]
        window = self._buffer[: run[-1][1] + run[-1][2] - start]
        try:
            size = os.preadv(self._file(pack), [window], start)
        except (OSError, OverflowError):  # an index may name a byte that no file has
            return None
        return window if size == len(window) else None

    def _file(self, pack: bytes) -> int:
        if pack not in self._files:
            if len(self._files) >= _OPEN_MOST:
                os.close(self._files.pop(next(iter(self._files))))
            path = f"{self._folder}/{pack.hex()}.pack"
            self._files[pack] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._files[pack]


def _runs(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Neighbours in one pack, as many as one read takes."""
    run: list[Row] = []
    for row in rows:
        if run:
            pack, start = run[0][:2]
            end = run[-1][1] + run[-1][2]
            if row[0] != pack or row[1] > end + _GAP_MOST or row[1] + row[2] > start + _WINDOW:
                yield run
                run = []
        run.append(row)
    if run:
        yield run
