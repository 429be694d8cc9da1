"""Objects on their way in and out: put, dedup, spill to a pack, read with verification.

Invariant: an object is hashed and written once at most; it becomes visible to others by publication. Up to
1 MiB waits in memory, more goes to packs of its own, without any lock. After a fork nothing is pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.packing import codecs, words
from aq.formats.packing.packs import Place
from aq.formats.records import Step, decode
from aq.store.frames import bases
from aq.store.frames.environment import REBUILD
from aq.store.frames.growing import frames_of
from aq.store.frames.index import Index
from aq.store.frames.packs import SEAL_AT, Frame, MissingPack, PackFiles, PackWriter
from aq.store.frames.sealing import Sealer
from aq.store.frames.statblocks import Rows
from aq.store.system import disk
from aq.store.system.open_files import leave_room

if TYPE_CHECKING:
    from aq.formats.contents.earlier import Near
    from aq.formats.contents.inline_frames import InlineFrames

SPILL_AT: Final = 1 << 20
"""Pending bytes beyond which a pack of their own is written."""
_DIRECT_FROM: Final = 64 << 10
_SUMMARY_MARK: Final = b"s"
Staged = tuple[Digest, tuple[Frame, ...]]
"""An object's id, and what is to be written: its frame, before it those of pieces that it is made from."""


class Batch(msgspec.Struct, frozen=True):
    """What one publication carries: frames for the journal, or sealed packs, and what to register."""

    frames: list[Frame]
    packs: list[PackWriter]
    steps: list[tuple[bytes, bytes]]
    runs: list[bytes]
    stat: list[Rows]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to publish."""
        return not (self.frames or self.packs or self.stat)


class Objects:
    """The objects of one repository: in packs, or put by this process and not published yet."""

    def __init__(self, index: Index, files: PackFiles) -> None:
        self.index = index
        self.files = files
        self.new_bytes = 0
        self._lock = RLock()
        self._recent = bases.Recent()
        self._reset()

    def after_fork(self) -> None:
        """In the child: what the parent has put is the parent's to publish, and its packs are not touched."""
        self._lock = RLock()
        for pack in self._unpublished():
            pack.close()
        self._reset()

    def _unpublished(self) -> list[PackWriter]:
        return [*self._sealed, *([self._writer] if self._writer else [])]

    def _reset(self) -> None:
        self._pending: dict[bytes, Frame] = {}
        self._size = 0
        self._placed: dict[bytes, Place] = {}
        self._writer: PackWriter | None = None
        self._sealed: list[PackWriter] = []
        self._sealer = Sealer()
        self._steps: list[tuple[bytes, bytes]] = []
        self._runs: list[bytes] = []
        self._stat: list[Rows] = []

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """Store the bytes once and return their id; `base` is an object that they resemble."""
        return self.admit(self.stage(kind, data, base=base))

    def stage(
        self,
        kind: Kind,
        data: Buffer,
        *,
        base: bytes | None = None,
        near: Near | None = None,
        id: Digest | None = None,
    ) -> Staged:
        """The first half of `put`, for any thread: hash (unless its `id` is known), look up, compress."""
        digest = object_id(kind, data) if id is None else id
        if not self._is_new(digest) and not (kind is Kind.STEP and self._is_lost(digest)):
            return digest, ()
        return digest, frames_of(self, kind, digest, data, base, near)

    def lying(self, id: bytes) -> Frame | Place | None:
        """How an object lies: not written yet, or where; None where it is not here, or not for long."""
        if (found := self._pending.get(id) or self._placed.get(id)) is not None:
            return found
        with self.index.look() as look:
            return look.place(id, 0) if look.get("condemned", id) is None else None

    def admit(self, staged: Staged) -> Digest:
        """The second half: append it, unless an equal object was faster."""
        digest, frames = staged
        if frames:
            with self._lock:
                if digest not in self._pending and digest not in self._placed:
                    for frame in frames:
                        if frame.id not in self._pending and frame.id not in self._placed:
                            self._admit(frame.id, frame)
        return digest

    def _admit(self, digest: bytes, frame: Frame) -> None:
        key = decode(Step, bytes(frame.payload)).key if frame.kind == Kind.STEP else b""
        self._add(digest, frame)
        if frame.kind == Kind.STEP:
            self._steps.append((key, digest))
        elif frame.kind == Kind.RUN:
            self._runs.append(digest)

    def put_frames(self, frames: InlineFrames) -> None:
        """Store many artifacts at once, each of them once; the buffer may be used again afterwards."""
        with self._lock:
            chosen = self._new_among(frames.ids)
            if self._writer is None and self._size + frames.size < SPILL_AT:
                for number in chosen:
                    id, data = frames.ids[number], frames.record(number)
                    self._add(id, Frame(Kind.ARTIFACT, id, data, length=len(data)))
            elif chosen:
                self._spill(frames, chosen)

    def _new_among(self, ids: Sequence[bytes]) -> list[int]:
        """Which of these are to be written, as `_is_new` says; of equal ones the first."""
        first: dict[bytes, int] = {}
        for number, id in enumerate(ids):
            if id not in self._placed and id not in self._pending:
                first.setdefault(id, number)
        with self.index.look() as look:
            return [first[id] for id in look.unreliable(first)]

    def _is_new(self, digest: bytes) -> bool:
        """Whether it is to be written: also what is condemned, and may be gone when this is published."""
        if digest in self._pending or digest in self._placed:
            return False
        return not self.index.has(digest) or self.index.get("condemned", digest) is not None

    def _is_lost(self, step: bytes) -> bool:
        """Whether it is to be listed again."""
        return step not in self._pending and self.index.get("lost", step) is not None

    def _add(self, key: bytes, frame: Frame) -> None:
        if key in self._pending:
            self._size -= self._pending[key].size
        self._pending[key] = frame
        self._size += frame.size
        if not isinstance(frame.payload, bytes) and not self._will_write(frame):
            frame.payload = bytes(frame.payload)
        if self._size >= SPILL_AT or not isinstance(frame.payload, bytes):
            self._spill()

    def _will_write(self, frame: Frame) -> bool:
        """Whether a buffer that the caller may use again is written at once, and so needs no copy."""
        return self._size >= SPILL_AT or (self._writer is not None and len(frame.payload) >= _DIRECT_FROM)

    def _spill(self, laid: InlineFrames | None = None, chosen: Sequence[int] = ()) -> None:
        """Write what is pending, and chosen ones of the frames that lie in a buffer, into a pack."""
        try:
            if self._writer is None:
                self._writer = PackWriter(self.files.folder)
                leave_room(self._writer.fd)
            before = self._writer.end
            if self._pending:
                places = self._writer.add(list(self._pending.values()))
                self._placed.update(zip(self._pending, places, strict=True))
                self._pending.clear()
                self._size = 0
            if laid is not None:
                places = self._writer.add_laid(laid, chosen)
                self._placed.update(zip((laid.ids[number] for number in chosen), places, strict=True))
            self.new_bytes += self._writer.end - before
            if self._writer.end >= SEAL_AT and (full := self._finish()) is not None:
                self._sealer.force(full)
        except BaseException:  # a signal too: where the pack ends is not known then
            self.discard()
            raise

    def _finish(self) -> PackWriter | None:
        """Write the end of the pack in hand, which is still to be forced to the disk."""
        pack = self._writer
        if pack is not None:
            before = pack.end
            pack.finish()
            self.new_bytes += pack.end - before
            self._sealed.append(pack)
            self._writer = None
        return pack

    def take(self) -> Batch:
        """Make durable what is pending, packs and their folder included, and say what is to be published."""
        with self._lock:
            if self._writer is not None or self._sealed:
                self._close_packs()
            frames, packs = list(self._pending.values()), list(self._sealed)
            return Batch(frames, packs, list(self._steps), list(self._runs), list(self._stat))

    def _close_packs(self) -> None:
        if self._pending and (self._writer is not None):
            self._spill()
        try:
            last = self._finish()
            if last is not None:
                last.force()
            self._sealer.wait()
            disk.fsync_folder(self.files.folder)
        except BaseException:
            self.discard()
            raise

    def done(self, batch: Batch) -> None:
        """The batch is in the index: forget it here."""
        with self._lock:
            for frame in batch.frames:
                key = _SUMMARY_MARK + frame.id if frame.kind == Kind.SUMMARY else frame.id
                if self._pending.get(key) is frame:
                    del self._pending[key]
                    self._size -= frame.size
            for pack in batch.packs:
                self._sealed.remove(pack)
                pack.close()
                for id, place in pack.places:
                    self._placed.pop(_SUMMARY_MARK + id if place.kind == Kind.SUMMARY else id, None)
            del self._steps[: len(batch.steps)]
            del self._runs[: len(batch.runs)]
            del self._stat[: len(batch.stat)]

    def hand_over(self, batch: Batch) -> None:
        """From now on others may rely on the packs, whatever interrupts this process."""
        for pack in batch.packs:
            pack.handed_over = True

    def take_back(self, batch: Batch) -> None:
        """It is certain that the batch was not published."""
        for pack in batch.packs:
            pack.handed_over = False

    def discard(self) -> None:
        """Forget everything that was put and not published, and remove the packs on which nobody can rely."""
        with self._lock:
            packs, sealer = self._unpublished(), self._sealer
            self._reset()
        sealer.stop()
        for pack in packs:
            with suppress(AqError):  # garbage that gc finds
                pack.close() if pack.handed_over else pack.discard()

    def get(self, kind: Kind, id: bytes) -> bytes:
        """The canonical bytes, verified. Raises Damaged where they are missing or do not hold."""
        return self._read(kind, id, id)

    def _read(self, kind: Kind, id: bytes, key: bytes, depth: int = 0) -> bytes:
        frame = self._pending.get(key)
        if frame is not None and frame.kind == kind:
            return frame.data(self._base(id, frame, depth))
        place = self._placed.get(key) or self._indexed(kind, id)
        if place is None or place.kind != kind:
            raise self._missing(kind, id, place)
        base = self._base(id, place, depth)
        try:
            return self.files.read(id, place, base)
        except MissingPack:
            return self._read_again(kind, id, depth)

    def _base(self, id: bytes, lying: Frame | Place, depth: int) -> bytes:
        """The bytes that a delta is to be applied to."""
        if not lying.bases:
            return b""
        if depth >= bases.DEEPEST:
            raise Damaged(f"chunk {lying.bases[0].hex()} is the base of too many deltas in a row")
        try:
            row = [(one, partial(self._read, Kind.CHUNK, one, one, depth + 1)) for one in lying.bases]
            return b"".join([self._recent.get(*one).data for one in row])
        except Damaged as error:
            message = f"chunk {id.hex()} is made from another: {error.message}"
            raise Damaged(message, hint=error.hints) from None

    def words_of(self, id: bytes) -> words.Base:
        """What a chunk offers to others of its column, which come one after the other. Raises Damaged."""
        return self._recent.get(id, partial(self.get, Kind.CHUNK, id))

    def _indexed(self, kind: Kind, id: bytes) -> Place | None:
        place = self.index.place(id, kind)
        if place is None and self.index.follow():
            place = self.index.place(id, kind)
        return place

    def _read_again(self, kind: Kind, id: bytes, depth: int) -> bytes:
        """The pack went away between the look and the read: gc has moved its frames, or it is lost."""
        self.index.follow()
        place = self.index.place(id, kind)
        if place is None:
            raise self._missing(kind, id, place)
        try:
            return self.files.read(id, place, self._base(id, place, depth))
        except MissingPack as error:
            message = f"{kind.name.lower()} {id.hex()} is lost: its pack {error} is missing"
            raise Damaged(message, hint=REBUILD) from None

    def _missing(self, kind: Kind, id: bytes, place: Place | None) -> Damaged:
        name = kind.name.lower()
        if place is None:
            return Damaged(f"{name} {id.hex()} is missing from the store", hint=REBUILD)
        if place.kind not in tuple(Kind):
            return Damaged(f"{name} {id.hex()} is of no kind by the index", hint=REBUILD)
        return Damaged(f"{id.hex()} is a {Kind(place.kind).name.lower()}, not a {name}", hint=REBUILD)

    def place(self, id: bytes) -> Place | None:
        """Where a published or spilled object lies."""
        return self._placed.get(id) or self.index.place(id)

    def places(self, ids: Iterable[bytes]) -> list[Place | None]:
        """Where published and spilled objects lie, as of one moment; None where one does not."""
        with self.index.look() as look:
            return [self._placed.get(id) or look.place(id, 0) for id in ids]

    def kind_of(self, id: bytes) -> Kind | None:
        """The kind of an object, or None if it is not here."""
        frame = self._pending.get(id)
        if frame is not None:
            return Kind(frame.kind)
        place = self.place(id)
        return Kind(place.kind) if place is not None and place.kind in tuple(Kind) else None

    def size_of(self, id: bytes) -> int | None:
        """The length of an object's canonical bytes, or None if it is not here."""
        frame = self._pending.get(id)
        if frame is not None:
            return frame.length
        place = self.place(id)
        if place is None:
            return None
        try:
            return self.files.head(id, place).length
        except MissingPack:
            return self._size_again(id)

    def _size_again(self, id: bytes) -> int | None:
        try:
            return None if (place := self.index.place(id)) is None else self.files.head(id, place).length
        except MissingPack as error:
            raise Damaged(f"object {id.hex()} is lost: its pack {error} is missing", hint=REBUILD) from None

    def with_prefix(self, prefix: str, kinds: Iterable[Kind]) -> list[Digest]:
        """The ids of these kinds that begin with these hexadecimal digits, in order."""
        wanted = frozenset(map(int, kinds))
        start = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
        found = {frame.id for frame in list(self._pending.values()) if frame.kind in wanted}
        found |= {key for key, place in list(self._placed.items()) if place.kind in wanted and len(key) == 32}
        with self.index.look() as look:
            for id, value in look.items("objects", prefix=start):
                if value[24] in wanted:
                    found.add(id)
        return sorted(Digest(id) for id in found if id.hex().startswith(prefix))

    def put_summary(self, id: bytes, value: dict[str, Any]) -> None:
        """Keep derived facts about an artifact or a commit; the last ones count."""
        data = msgspec.msgpack.encode(value, order="sorted", enc_hook=bytes)
        codec, payload = codecs.pack(Kind.SUMMARY, data)
        frame = Frame(Kind.SUMMARY, bytes(id), payload, codec=codec, length=len(data))
        with self._lock:
            self._add(_SUMMARY_MARK + id, frame)

    def summary(self, id: bytes) -> dict[str, Any] | None:
        """The derived facts about an artifact or a commit, or None."""
        key = _SUMMARY_MARK + id
        if key not in self._pending and key not in self._placed and self.index.get("summaries", id) is None:
            return None
        data = self._read(Kind.SUMMARY, id, key)
        try:
            return msgspec.msgpack.decode(data, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise Damaged(f"the summary of {id.hex()} cannot be read") from None

    def put_stat(self, rows: Iterable[Rows]) -> None:
        """Set rows of the stat cache together with the objects that they rely on."""
        with self._lock:
            self._stat += rows
