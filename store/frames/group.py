"""The group of frames that one publication appends to the journal, as it is put together under the lock.

Invariant: what was put here can be read here, and so can everything that the transaction sees; a
frame that the index already has is not written again.
"""

from __future__ import annotations

from collections.abc import Iterable

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.packing.packs import NO_ID, PACKS, Place
from aq.store.frames.bases import DEEPEST
from aq.store.frames.environment import REBUILD
from aq.store.frames.index import Look
from aq.store.frames.journal import Journal
from aq.store.frames.packs import Frame, MissingPack, PackFiles


class Group:
    """Frames in order, and a source and sink of objects while the transaction lasts."""

    def __init__(self, look: Look, files: PackFiles, frames: Iterable[Frame] = ()) -> None:
        self.look = look
        self.files = files
        self.frames = [frame for frame in frames if not self._is_known(frame)]
        self._by_id = {frame.id: frame for frame in self.frames if frame.kind < Kind.SUMMARY}

    def _is_known(self, frame: Frame) -> bool:
        return frame.kind < Kind.SUMMARY and self.look.get("objects", frame.id) is not None

    def get(self, kind: Kind, id: bytes) -> bytes:
        """See `formats.objects.Source`. Raises Damaged."""
        return self._read(kind, id, DEEPEST)

    def _read(self, kind: Kind, id: bytes, left: int) -> bytes:
        frame = self._by_id.get(id)
        lying = frame or self.look.place(id, kind)
        if lying is None or (frame is None and lying.kind != kind) or (lying.bases and not left):
            raise Damaged(f"{kind.name.lower()} {id.hex()} is missing from the store", hint=REBUILD)
        base = b"".join([self._read(Kind.CHUNK, one, left - 1) for one in lying.bases])
        try:
            return lying.data(base) if isinstance(lying, Frame) else self.files.read(id, lying, base)
        except MissingPack as error:
            message = f"{kind.name.lower()} {id.hex()} is lost: its pack {error} is missing"
            raise Damaged(message, hint=REBUILD) from None

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `formats.objects.Sink`."""
        digest = object_id(kind, data)
        if digest not in self._by_id and self.look.get("objects", digest) is None:
            self.append(Frame(kind, digest, bytes(data), length=len(data)))
        return digest

    def put_always(self, kind: Kind, data: bytes) -> Digest:
        """Add the object even if the index has it: an operation that was taken back may be done again."""
        digest = object_id(kind, data)
        self.append(Frame(kind, digest, data, length=len(data)))
        return digest

    def append(self, frame: Frame) -> None:
        """Add a frame at the end."""
        self.frames.append(frame)
        if frame.kind < Kind.SUMMARY:
            self._by_id[frame.id] = frame

    def name_packs(self, names: list[bytes]) -> None:
        """Say which data packs the operation relies on."""
        if names:
            payload = b"".join(names)
            self.append(Frame(PACKS, NO_ID, payload, length=len(payload)))

    def encode(self, journal: Journal) -> tuple[list[Buffer], list[tuple[bytes, Place]]]:
        """The pieces to append to the journal, and where each frame will lie."""
        pieces: list[Buffer] = []
        places = []
        offset = journal.end
        for frame in self.frames:
            new = frame.encode(journal.seed)
            size = sum(map(len, new))
            pieces += new
            places.append((frame.id, frame.place(journal.name, offset, size)))
            offset += size
        return pieces, places
