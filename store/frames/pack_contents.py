"""What lies in a pack, by its own table or by walking its frames, and the table that closes it.

Invariant: a frame is told of only if the table that names it holds, or its own checksum does. Payloads are
read by `store.frames.packs`; the layout is `formats.packing.packs`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer
from aq.formats.packing.packs import (
    CONTENTS,
    FOOTER_SIZE,
    HEADER_SIZE,
    NO_ID,
    Head,
    Header,
    Place,
    decode_contents,
    decode_footer,
    decode_header,
    encode_contents,
    encode_footer,
    encode_frame,
    frame_at,
    next_frame,
    seed_of,
)


def closing(name: bytes, places: list[tuple[bytes, Place]], end: int) -> list[Buffer]:
    """Contents frame and footer of a pack whose frames end at `end`."""
    contents = encode_frame(seed_of(name), CONTENTS, NO_ID, encode_contents(places))
    return [*contents, encode_footer(name, end, sum(map(len, contents)))]


def read_header(path: str) -> Header | None:
    """The header of a pack file; None where it has none or it is damaged."""
    try:
        with open(path, "rb") as file:
            return decode_header(file.read(HEADER_SIZE))
    except (Damaged, OSError):
        return None


def walk(
    name: bytes, data: bytes, start: int = HEADER_SIZE, *, resync: bool = False
) -> Iterator[tuple[int, Head]]:
    """Offset and head of every whole frame from `start` on.

    Stops at the first that is torn or damaged; with `resync`, seeks the next one whose checksum holds.
    """
    seed, offset = seed_of(name), start
    while True:
        head = frame_at(seed, data, offset)
        if head is not None:
            yield offset, head
            offset += head.size
            continue
        found = next_frame(seed, data, offset) if resync else None
        if found is None:
            return
        offset = found


def read_places(path: str, name: bytes) -> list[tuple[bytes, Place]]:
    """Id and place of every frame of a pack: from its own table, else by walking it past any damage."""
    with open(path, "rb") as file:
        found = sealed_places(file, name)
        if found is None:
            file.seek(0)
            found = list(walked_places(name, file.read()))
    return found


def sealed_places(file: BinaryIO, name: bytes) -> list[tuple[bytes, Place]] | None:
    """Id and place of every frame by the pack's own table; None where it has none that holds."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - FOOTER_SIZE, 0))
    footer = decode_footer(name, file.read())
    if footer is None:
        return None
    file.seek(footer[0])
    data = file.read(footer[1])
    head = frame_at(seed_of(name), data, 0)
    if head is None or head.kind != CONTENTS:
        return None
    return list(decode_contents(name, data[head.start :]))


def walked_places(name: bytes, data: bytes) -> Iterator[tuple[bytes, Place]]:
    """The same by walking the frames, past damaged ones."""
    for offset, head in walk(name, data, resync=True):
        yield head.id, Place(name, offset, head.size, head.kind, head.codec, head.bases)
