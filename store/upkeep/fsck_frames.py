"""A pack under check: where its frames end, what its own table says, and reading it from front to back.

Invariant: reads only; what the disk refuses to give is as damaged as what it gives wrongly. Tables are
held one at a time.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aq.formats.errors import Damaged
from aq.formats.packing.packs import (
    CONTENTS,
    FOOTER_SIZE,
    Place,
    decode_contents,
    decode_footer,
    frame_at,
    seed_of,
)
from aq.store.frames.packs import read_all
from aq.store.upkeep.findings import REBUILD, Finding

_WINDOW: Final = 128 << 10


class Gap(NamedTuple):
    """Bytes of a pack that are no whole frame."""

    pack: bytes
    start: int
    end: int

    def key(self) -> bytes:
        """How it is remembered in the index, so that it is told of once."""
        return self.pack + self.start.to_bytes(8, "big")

    def value(self) -> bytes:
        """See `key`."""
        return self.end.to_bytes(8, "big")


@dataclass
class FoundPack:
    """One pack as it was found: where its frames end, the places that are confirmed, and the gaps.

    `table`: its contents, while it is looked at.
    """

    name: bytes
    path: str
    end: int
    is_sealed: bool = False
    table: list[tuple[bytes, Place]] | None = None
    known: array[int] = field(default_factory=lambda: array("Q"))
    confirmed: array[int] = field(default_factory=lambda: array("Q"))
    gaps: list[tuple[int, int]] = field(default_factory=list)


class Window:
    """A pack read from front to back: small frames do not cost a call each."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._start = 0
        self._data = b""

    def read(self, size: int, offset: int) -> bytes:
        """Bytes of the pack, fewer at its end."""
        at = offset - self._start
        if at < 0 or at + size > len(self._data):
            if size > _WINDOW:
                return read_at(self._fd, size, offset)
            self._start, self._data, at = offset, read_at(self._fd, _WINDOW, offset), 0
            if len(self._data) < size:
                return read_at(self._fd, size, offset)  # a part of the window may be unreadable, not this one
        return self._data[at : at + size]


def load_table(pack: FoundPack) -> Iterator[Finding]:
    """Read the contents of a sealed pack again: those of all packs at once would fill the memory."""
    try:
        if pack.is_sealed:
            pack.table = list(decode_contents(pack.name, contents_of(pack)[0]))
    except Damaged as error:
        yield Finding("pack", pack.name.hex(), error.message, REBUILD)


def contents_of(pack: FoundPack) -> tuple[bytes, int]:
    """The payload of the contents of a sealed pack, and where they begin. Raises Damaged."""
    size = os.path.getsize(pack.path)
    with open(pack.path, "rb") as file:
        file.seek(max(size - FOOTER_SIZE, 0))
        footer = decode_footer(pack.name, file.read())
        if footer is None or footer[0] + footer[1] + FOOTER_SIZE != size:
            raise Damaged("its footer is damaged, cut off, or not at its end")
        file.seek(footer[0])
        data = file.read(footer[1])
    head = frame_at(seed_of(pack.name), data, 0)
    if head is None or head.kind != CONTENTS:
        raise Damaged("its table of contents is damaged")
    return data[head.start :], footer[0]


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Bytes of a pack; what the disk refuses to give is damaged like what it gives wrongly."""
    try:
        return read_all(fd, size, offset)
    except OSError:
        return b""
