"""What grows lies as its rows so far and the new ones: deltas that name pieces (docs/format.md, 4.2).

Invariant: a piece is a chunk like any other, whole by itself, that only deltas name; it is written with the
first of them. So each append costs its own rows, however often something was appended before, until a row
of bases would be longer than a reader follows; then what has grown is stored in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.packing import codecs, deltas, growth, words
from aq.formats.packing.copies import copied, copies_of
from aq.formats.packing.packs import BASES_MOST, HEAD_SIZE, NEW_ID
from aq.store.frames import bases
from aq.store.frames.packs import Frame

if TYPE_CHECKING:
    from aq.formats.contents.earlier import Near
    from aq.formats.packing.packs import Bases
    from aq.store.frames.bases import Lying, Roots

_WORTH: Final = 1_024
"""What takes less in full is stored in full: two frames and their places in the index take half of it."""
_ENTRY: Final = 128
"""About what a frame's place takes in the index."""
_SHORT: Final = 32 << 10
"""Pieces of fewer bytes are worth a look at what was before them."""
_SAVED: Final = 192
"""Bytes that a chunk must save by leaning on another."""
_FLAT, _DEEP, _ALONE = 2, 4, 4
"""Words come from chunks of at most so many bases in a row (at most, if there is no other); of those that
would lie deeper than the first, one in so many stands by itself."""
_LARGE, _MUCH = 2, 1
"""Bytes a row: texts of new tables that take as much become words if that saves as much. What takes less is
read faster as zstd's frames."""
_ID: Final = 32
_NODE_LEAST: Final = 1_024
_NODE_MOST: Final = 512
"""A node's new entries that stand in its own frame."""


def frames_of(
    objects: Lying, kind: Kind, id: Digest, data: Buffer, base: bytes | None, near: Near | None
) -> tuple[Frame, ...]:
    """The frames that store an object: its own is the last, before it those of new pieces that it names."""
    found: tuple[Frame, ...] = ()
    with suppress(Damaged):  # what cannot be read is no base
        if kind is Kind.NODE and base is not None and len(data) >= _NODE_LEAST:
            found = _node(objects, id, bytes(data), base)
        elif kind is Kind.CHUNK and near is not None:
            delta = bases.delta_near(objects, id, data, near)
            found = (delta,) if delta else ()
        elif kind is Kind.CHUNK and base is not None and len(data) >= bases.SMALLEST:
            found = _chunk(objects, id, bytes(data), bytes(base))
    return found or (_in_full(kind, id, data),)


def _in_full(kind: Kind, id: bytes, data: Buffer) -> Frame:
    codec, payload = codecs.pack(kind, data)
    return Frame(kind, id, payload, codec=codec, length=len(data))


def _chunk(objects: Lying, id: bytes, data: bytes, base: bytes) -> tuple[Frame, ...]:
    like, kin = base[:_ID], [base[at : at + _ID] for at in range(_ID, len(base), _ID)]
    if like == NEW_ID:
        return (_new(objects, id, data, kin[0]),)
    roots = bases.roots_of(objects, id, (like,))
    if not roots:
        return (_apart(objects, id, data, kin),)
    earlier = roots.get(like)
    if earlier is None and kin:
        earlier = objects.get(Kind.CHUNK, like)
    fresh = growth.tail(data, earlier) if kin and earlier is not None else None
    if fresh is not None and bases.in_full(data, roots) >= _WORTH:
        return _grown(objects, id, data, like, fresh, roots, kin)
    delta = bases.delta(id, data, roots, like)
    if delta is None and not kin:
        kin = [base for root in roots for base in _words_of(objects, root)]
    found = [delta, _apart(objects, id, data, kin) if kin else None]
    return tuple(sorted((one for one in found if one), key=lambda frame: frame.size))[:1]


def _grown(
    objects: Lying, id: bytes, data: bytes, like: bytes, fresh: bytes, roots: Roots, kin: Sequence[bytes]
) -> tuple[Frame, ...]:
    """A chunk whose first rows are those of another: as pieces, or as that and a few rows more."""
    piece = object_id(Kind.CHUNK, fresh)
    known = objects.lying(piece) is not None
    new = () if known else (_apart(objects, piece, fresh, kin),)
    deep = max((1 + bases.depth(objects, one) for frame in new for one in frame.bases), default=0)
    rope = _rope(objects, id, data, like, piece, fresh, bases.depth(objects, piece) if known else deep)
    most = sum(one.size + _ENTRY for one in new) + rope.size if rope else len(data)
    few = copies_of(data, b"".join(roots.values()), most - HEAD_SIZE)
    if few is not None and (rope is None or len(few) + HEAD_SIZE + _ID * len(roots) <= most):
        return (_copies(id, few, data, tuple(roots)),)
    return (*new, rope) if rope else ()


def _apart(objects: Lying, id: bytes, data: bytes, kin: Sequence[bytes]) -> Frame:
    """A chunk that resembles no other, whose values may have come before: as what takes least."""
    found = [_in_full(Kind.CHUNK, id, data)]
    repeats = bool(kin) and words.repeats(data)
    if kin and len(data) >= bases.SMALLEST and (repeats or len(data) < _SHORT):
        chosen = _chosen(objects, id, kin)
        base = words.Base(b"") if chosen is None else objects.words_of(chosen)
        row = () if chosen is None else (chosen,)
        told = words.pack(data, base) if repeats else None
        if told is not None:
            found.append(Frame(Kind.CHUNK, id, told, codec=words.WORDS, length=len(data), bases=row))
        if chosen is not None and len(data) < _SHORT:
            packed = deltas.pack(data, bytes(base.data), found[0].size)
            if packed is not None:
                found.append(Frame(Kind.CHUNK, id, packed[1], codec=packed[0], length=len(data), bases=row))
    best = min(found, key=lambda frame: frame.size)
    return best if best.size + _SAVED <= found[0].size else found[0]


def _new(objects: Lying, id: bytes, data: bytes, leader: bytes) -> Frame:
    """A chunk of texts of a new table, as words of that of a segment that leads, where this saves much.

    What it would take in full is told by that one, as long as this leaves no doubt.
    """
    lying, rows = objects.lying(leader), growth.rows_of(data)
    if lying is not None and not lying.bases and id != leader and words.repeats(data):
        base = objects.words_of(leader)  # in vain it would be read again for each segment of a wide table
        each = lying.size / max(1, growth.rows_of(base.data))
        if each >= max(_LARGE, _MUCH + base.entropy()):
            told = words.pack(data, base)
            if told is not None and len(told) <= rows * (each - _MUCH):
                return Frame(Kind.CHUNK, id, told, codec=words.WORDS, length=len(data), bases=(leader,))
    return _in_full(Kind.CHUNK, id, data)


def _words_of(objects: Lying, id: bytes) -> Bases:
    """What a chunk that lies as words takes them from."""
    lying = objects.lying(id)
    return lying.bases if lying is not None and lying.codec == words.WORDS else ()


def _chosen(objects: Lying, id: bytes, kin: Sequence[bytes]) -> bytes | None:
    """The newest of some chunks that does not lie deep, else the one that lies least deep.

    None where a chunk had better stand by itself, so that those after it need not lie deeper and deeper.
    """
    deep = {one: bases.depth(objects, one) for one in kin if one != id}
    flat = [one for one in kin if deep.get(one, bases.DEEPEST) <= _FLAT]
    chosen = flat[0] if flat else min(deep, key=lambda one: deep[one], default=None)
    if chosen is None or deep[chosen] > _DEEP or (deep[chosen] >= _FLAT and id[0] % _ALONE == 0):
        return None
    return bytes(chosen)


def _rope(
    objects: Lying, id: bytes, data: bytes, like: bytes, piece: bytes, fresh: bytes, deep: int
) -> Frame | None:
    """The chunk as its pieces in order: those of the earlier one, or that one as a whole, and a new one."""
    lying = objects.lying(like)
    if lying is None:
        return None
    rows: list[Sequence[bytes]] = [(like,)]
    if lying.codec == deltas.COPIES and len(lying.bases) < BASES_MOST:
        rows.insert(0, lying.bases)
    for row in rows:
        if 1 + max(deep, *(bases.depth(objects, one) for one in row)) <= bases.DEEPEST and id not in row:
            told = growth.joined(data, [*(objects.get(Kind.CHUNK, one) for one in row), fresh])
            if told is not None:
                return _copies(id, told, data, (*row, piece))
    return None


def _copies(id: bytes, told: bytes, data: bytes, row: Sequence[bytes], kind: Kind = Kind.CHUNK) -> Frame:
    found = tuple(map(bytes, row))
    return Frame(kind, id, told, codec=deltas.COPIES, length=len(data), bases=found)


def _node(objects: Lying, id: bytes, data: bytes, like: bytes) -> tuple[Frame, ...]:
    """A node at the end of a list: as what chunks hold of the one that was there before, and its new entries.

    Its bases are chunks: they lead to nothing, so that a collector may keep them without what a node names.
    """
    lying = objects.lying(like) if like else None
    row = () if lying is None or lying.kind != Kind.NODE else lying.bases
    if row and all(not bases.depth(objects, one) for one in row):
        base = b"".join(objects.get(Kind.CHUNK, one) for one in row)
        told = copies_of(data, base, len(data) // 2)
        if told is not None and len(told) <= _NODE_MOST:
            return (_copies(id, told, data, row, Kind.NODE),)
        if told is not None and len(row) < BASES_MOST:
            return _with_piece(id, data, row, base, told)
    chunk = object_id(Kind.CHUNK, data)
    told = copies_of(data, data, HEAD_SIZE)
    assert told is not None
    return (_in_full(Kind.CHUNK, chunk, data), _copies(id, told, data, (chunk,), Kind.NODE))


def _with_piece(id: bytes, data: bytes, row: Sequence[bytes], base: bytes, told: bytes) -> tuple[Frame, ...]:
    """What the node has more than its bases becomes a chunk, the last of them."""
    new, at = bytearray(), 0
    for start, _there, size in copied(told):
        new += data[at:start]
        at = start + size
    new += data[at:]
    piece = object_id(Kind.CHUNK, bytes(new))
    again = copies_of(data, base + new, len(told))
    if again is None:
        return ()
    return _in_full(Kind.CHUNK, piece, bytes(new)), _copies(id, again, data, (*row, piece), Kind.NODE)
