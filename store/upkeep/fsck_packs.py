"""Whether the packs hold what they and the index say, frame by frame (docs/format.md, I1–I6, I11).

Invariant: reads only; a frame that was written after the check began is left out. What damage means
for commits and paths is not known here.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

from aq.formats.errors import Damaged
from aq.formats.identity import Kind, object_id
from aq.formats.objects import Source
from aq.formats.packing import codecs, deltas
from aq.formats.packing.packs import (
    CONTENTS,
    HEAD_MOST,
    HEADER_SIZE,
    NAME_SIZE,
    PACKS,
    Head,
    Header,
    Place,
    decode_head,
    holds,
    next_frame,
    seed_of,
)
from aq.formats.packing.words import WORDS
from aq.formats.records import require_canonical
from aq.store.frames import bases
from aq.store.frames.index import Index, Look, State
from aq.store.frames.pack_contents import read_header
from aq.store.frames.packs import PackFiles, unpacked
from aq.store.frames.place_rows import decode_place
from aq.store.upkeep.findings import REBUILD, Finding
from aq.store.upkeep.fsck_frames import FoundPack, Gap, Window, contents_of, load_table, read_at

_PAGE: Final = 4_096
_KINDS: Final = frozenset({*map(int, Kind), PACKS, CONTENTS})
_OF_DELTAS: Final = frozenset({deltas.PREFIX, deltas.COPIES, WORDS})
_WITHOUT_ENTRY: Final = frozenset({int(Kind.VOID), PACKS})


class PackCheck:
    """One check of all packs. `full` reads every byte; without it, heads and tables alone."""

    def __init__(self, index: Index, files: PackFiles, source: Source, state: State, *, full: bool) -> None:
        self.full = full
        self.objects = self.bytes = self.garbage = 0
        self.operations: list[bytes] = []
        """Operations as the journals tell them, oldest first, without those that were taken back."""
        self.left: list[Gap] = []
        """Damaged bytes that no entry of the index points to."""
        self._index = index
        self._files = files
        self._source = source
        self._state = state
        self._packs: dict[bytes, FoundPack] = {}
        self._named: set[bytes] = set()
        self._ordinals: dict[bytes, int] = {}
        self._voids = 0
        self._placed = {value[:NAME_SIZE] for _id, value in self._places()}

    def run(self) -> Iterator[Finding]:
        """Everything that is wrong with packs, and every object whose place does not hold it."""
        yield from self._open_packs()
        self._note_known()
        for pack in self._packs.values():
            yield from self._check(pack)
        for name in sorted(self._named - self._packs.keys()):
            detail = f"pack {name.hex()}, which an operation relies on, is not in the index"
            if os.path.exists(self._files.path(name)):
                yield Finding("index", name.hex(), detail, REBUILD, None, True)
        yield from self._unconfirmed()
        yield from self._gaps()

    def ordinals(self) -> dict[bytes, int]:
        """The journals by name; none where order says nothing: something was lost, moved or taken back."""
        is_whole = not (self.left or self._voids or self._named - self._packs.keys())
        return dict(self._ordinals) if is_whole and self._index_has_no_gaps() else {}

    def _index_has_no_gaps(self) -> bool:
        return not self._index.items("gaps")

    # Which packs there are

    def _open_packs(self) -> Iterator[Finding]:
        known = {name for name, _value in self._index.items("packs")}
        journals: dict[int, bytes] = {}
        headers = {name: read_header(self._files.path(name)) for name in self._files.names()}
        ordinals = Counter(header.ordinal for header in headers.values() if header is not None)
        for name, header in headers.items():
            path = self._files.path(name)
            if header is not None and ordinals[header.ordinal] > 1 and name not in self._placed | known:
                header = header._replace(ordinal=0)  # a copy that a killed collector has left
            if header is None and name not in self._placed | known | {self._state.journal}:
                header = Header(name, 0)  # its writer was killed before it wrote any
            if header is None or header.name != name:
                yield Finding("pack", name.hex(), "the header of its file is damaged", REBUILD)
                header = Header(name, 0 if name in known else self._state.ordinal)
            if header.ordinal:
                journals[header.ordinal] = name
            if not header.ordinal and name not in known:
                self.garbage += os.path.getsize(path)
                continue
            if header.ordinal > self._state.ordinal:
                continue
            pack = FoundPack(name, path, os.path.getsize(path))
            yield from self._find_end(pack, header)
            self._packs[name] = pack
        self._packs = dict(sorted(self._packs.items(), key=lambda one: _order(one[0], journals)))
        self._ordinals = {name: ordinal for ordinal, name in journals.items()}
        for name in sorted(known - self._packs.keys()):
            yield Finding("pack", name.hex(), "its file is missing", "")
        for ordinal in sorted(set(range(1, self._state.ordinal + 1)) - journals.keys()):
            yield Finding("pack", None, f"journal {ordinal} is missing", "")

    def _find_end(self, pack: FoundPack, header: Header) -> Iterator[Finding]:
        """Where the frames end, by the index or by the footer, whose table is read."""
        if pack.name == self._state.journal:
            if pack.end < self._state.end:
                detail = f"the journal has {pack.end} bytes instead of {self._state.end}: it was cut short"
                yield Finding("pack", pack.name.hex(), detail, REBUILD)
            pack.end = min(pack.end, self._state.end)
            return
        try:
            pack.end = contents_of(pack)[1]
            pack.is_sealed = True
        except Damaged as error:
            yield Finding("pack", pack.name.hex(), error.message, REBUILD)

    def _note_known(self) -> None:
        """Where the index says that frames lie, by pack."""
        for _id, value in self._places():
            pack = self._packs.get(value[:NAME_SIZE])
            if pack is not None:
                pack.known.append(_offset(value))
        for pack in self._packs.values():
            pack.known = array("Q", sorted(pack.known))

    def _places(self) -> Iterator[tuple[bytes, bytes]]:
        """Every object and summary with its place as it stands in the index."""
        for database in ("objects", "summaries"):
            start, page = b"", _PAGE
            while page == _PAGE:
                with self._index.look() as look:
                    rows = [
                        row for row, _ in zip(look.items(database, start=start), range(_PAGE), strict=False)
                    ]
                page = len(rows)
                yield from rows
                start = rows[-1][0] + b"\0" if rows else b""

    # One pack

    def _check(self, pack: FoundPack) -> Iterator[Finding]:
        yield from load_table(pack)
        at, matches, fd = 0, True, os.open(pack.path, os.O_RDONLY | os.O_CLOEXEC)
        frames = self._frames(fd, pack)
        try:
            while page := list(islice(frames, _PAGE)):
                with self._index.look() as look:
                    found = [one for each in page for one in self._compare(look, fd, pack, *each)]
                yield from found
                if pack.table is not None:
                    told = pack.table[at : at + len(page)]
                    matches = matches and told == [(head.id, place) for head, place in page]
                    at += len(page)
        finally:
            os.close(fd)
        if pack.table is not None and not pack.gaps and not (matches and at == len(pack.table)):
            yield Finding("pack", pack.name.hex(), "its table of contents is not that of its frames", REBUILD)
        pack.table = None

    def _frames(self, fd: int, pack: FoundPack) -> Iterator[tuple[Head, Place]]:
        """The whole frames of a pack; what is none is noted as a gap."""
        offset, window = HEADER_SIZE, Window(fd)
        while offset < pack.end:
            head = self._frame(window, pack, offset)
            if head is not None and head.kind == CONTENTS:
                return
            if head is None:
                following = self._after(fd, pack, offset)
                pack.gaps.append((offset, following))
                offset = following
                continue
            yield head, Place(pack.name, offset, head.size, head.kind, head.codec, head.bases)
            offset += head.size

    def _frame(self, window: Window, pack: FoundPack, offset: int) -> Head | None:
        """The frame at an offset, if it is whole."""
        data = window.read(HEAD_MOST, offset)
        head = decode_head(data)
        if head is None or offset + head.size > pack.end or head.kind not in _KINDS or data[15]:
            return None
        if head.codec not in (_OF_DELTAS if head.bases else codecs.IN_FULL):
            return None
        if head.codec == codecs.RAW and head.length != head.stored:
            return None
        if not self.full:
            return head
        return head if self._holds(pack, head, window.read(head.size, offset)) else None

    def _is_whole(self, fd: int, pack: FoundPack, head: Head, place: Place) -> bool:
        """Whether a frame holds of which only the head was read."""
        return self._holds(pack, head, read_at(fd, place.size, place.offset))

    def _holds(self, pack: FoundPack, head: Head, frame: bytes) -> bool:
        if len(frame) != head.size or not holds(seed_of(pack.name), frame):
            return False
        if head.kind >= Kind.SUMMARY:
            return True
        try:
            data = unpacked(head, memoryview(frame)[head.start :], self._base(head))
            if object_id(Kind(head.kind), data) != head.id:
                return False
            require_canonical(Kind(head.kind), data)
        except Damaged:
            return False
        return True

    def _base(self, head: Head) -> bytes:
        """The bytes that a delta is to be applied to. Raises Damaged."""
        return b"".join(self._source.get(Kind.CHUNK, base) for base in head.bases)

    def _after(self, fd: int, pack: FoundPack, offset: int) -> int:
        """Where the frame behind a damaged one begins: by the tables, else the next that is whole."""
        starts = [pack.end]
        at = bisect_right(pack.known, offset)
        if at < len(pack.known):
            starts.append(pack.known[at])
        starts += [place.offset for _id, place in pack.table or () if place.offset > offset][:1]
        following = min(start for start in starts if start > offset)
        data = read_at(fd, following - offset, offset)
        whole = next_frame(seed_of(pack.name), data, 1)
        return following if whole is None else offset + whole

    def _compare(self, look: Look, fd: int, pack: FoundPack, head: Head, place: Place) -> Iterator[Finding]:
        """The frame against the index."""
        self.bytes += head.size
        if head.kind == PACKS:
            payload = read_at(fd, head.stored, place.offset + head.start)
            self._named.update(payload[at : at + NAME_SIZE] for at in range(0, len(payload), NAME_SIZE))
        if head.kind == Kind.OPERATION and self._counts(look, head.id, place):
            self.operations.append(head.id)
        self._voids += head.kind == Kind.VOID
        if head.kind == Kind.VOID and self.operations[-1:] == [head.id]:
            self.operations.pop()
        if head.kind in _WITHOUT_ENTRY:
            return
        indexed = look.place(head.id, head.kind)
        if indexed is not None and indexed[:2] == place[:2]:
            if indexed == place:
                pack.confirmed.append(place.offset)
                self.objects += head.kind < Kind.SUMMARY
            yield from _check_bases(look, head.id, place)
        elif indexed is None and not _has(pack.known, place.offset):
            if not self.full and not self._is_whole(fd, pack, head, place):
                pack.gaps.append((place.offset, place.offset + place.size))
                return
            name = Kind(head.kind).name.lower()
            yield Finding(
                name, head.id, f"it lies in pack {pack.name.hex()}, but not in the index", REBUILD, None, True
            )

    def _counts(self, look: Look, id: bytes, place: Place) -> bool:
        """Not so an operation in a journal of which a collector has made a copy."""
        indexed = look.place(id, Kind.OPERATION)
        return indexed is None or indexed.pack == place.pack

    # What the index says and the packs do not

    def _unconfirmed(self) -> Iterator[Finding]:
        for id, value in self._places():
            pack = self._packs.get(value[:NAME_SIZE])
            if pack is not None and _has(pack.confirmed, _offset(value)):
                continue
            place = decode_place(value)
            if self._is_new(id, place):
                continue
            name = Kind(place.kind).name.lower() if place.kind in _KINDS else "object"
            where = f"pack {place.pack.hex()}, byte {place.offset}"
            what = "its bytes are damaged" if pack is not None else "its pack is missing"
            yield Finding(name, id, f"{what} ({where})", REBUILD, place)

    def _is_new(self, id: bytes, place: Place) -> bool:
        """Whether the frame was written, or has moved, since the check began."""
        if place.pack == self._state.journal:
            return place.offset >= self._state.end
        if place.pack in self._packs:
            return False
        header = read_header(self._files.path(place.pack))
        return header is not None and (not header.ordinal or header.ordinal > self._state.ordinal)

    def _gaps(self) -> Iterator[Finding]:
        """Damage where no entry of the index points to; what a rebuild has left behind is known."""
        known = {Gap(key[:8], *map(_number, (key[8:], end))) for key, end in self._index.items("gaps")}
        for pack in self._packs.values():
            for start, end in pack.gaps:
                if bisect_left(pack.known, start) != bisect_left(pack.known, end):
                    continue
                self.left.append(Gap(pack.name, start, end))
                if self.left[-1] not in known:
                    detail = f"bytes {start} to {end} are damaged; nothing in the index lies there"
                    yield Finding("pack", pack.name.hex(), detail, REBUILD)


def _check_bases(look: Look, id: bytes, place: Place) -> Iterator[Finding]:
    """The bases of a delta are there, and not too far from some that lie in full."""
    row = set(place.bases)
    for _ in range(bases.DEEPEST):
        if not row:
            return
        following: set[bytes] = set()
        for base in sorted(row):
            found = look.place(base, Kind.CHUNK)
            if found is None or found.kind != Kind.CHUNK:
                yield Finding("chunk", id, f"its base {base.hex()} is missing", "", place)
                return
            following.update(found.bases)
        row = following
    if row:
        yield Finding("chunk", id, "it is a delta of too many deltas in a row", "", place)


def _offset(place: bytes) -> int:
    """The offset in a place as it stands in the index."""
    return int.from_bytes(place[NAME_SIZE : NAME_SIZE + 8], "little")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _order(name: bytes, journals: dict[int, bytes]) -> tuple[int, bytes]:
    """Journals by ordinal, then data packs."""
    return next((ordinal for ordinal, known in journals.items() if known == name), 1 << 62), name


def _has(offsets: array[int], offset: int) -> bool:
    at = bisect_left(offsets, offset)
    return at < len(offsets) and offsets[at] == offset
