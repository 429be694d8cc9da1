"""Deltas: an object written as what differs from others (docs/format.md, section 4.2, codecs 2, 3 and 5).

Invariant: `unpack(*pack(data, base), base)` is `data`; never more than the declared length comes out.
Few edits are copies and insertions, found by comparing; many are left to zstd with the base as its
dictionary; of words (`formats.packing.words`) only the reading is here. Which object serves as base, and when
a delta is worth it, is decided by the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer
from aq.formats.packing import copies, words
from aq.formats.packing.copies import copies_of, edited, edits_in_place, most_edits, shares
from aq.formats.packing.growth import HEAD, array_of
from aq.formats.packing.words import WORDS

if TYPE_CHECKING:
    from zstandard import ZstdCompressionDict

PREFIX: Final = 2
"""Codec: zstd, the base being its dictionary."""
COPIES: Final = 3
"""Codec: copies from the base and bytes to insert."""
LONGEST: Final = 16 << 20
"""Bytes of an object and of its base: beyond that the window would cost too much memory."""
_LEVEL: Final = 3
_FEW: Final = 4_096


def pack(
    data: bytes,
    base: bytes,
    most: int,
    *,
    shifts: Sequence[int] = (),
    sure: bool = True,
) -> tuple[int, bytes] | None:
    """Codec and payload of `data` against `base`; None where that takes more than `most` bytes.

    `shifts`: guesses at where in the base the first byte of the data would lie; unless it is `sure` that
    they have much in common, some bytes are compared first.
    """
    if max(len(data), len(base)) > LONGEST or not (sure or shares(data, base, shifts)):
        return None
    copied = _copies(data, base, most, shifts)
    if copied is not None and len(copied) <= _FEW:
        return COPIES, copied
    payload = _compress(data, base)
    if copied is not None and len(copied) <= len(payload):
        return COPIES, copied
    return (PREFIX, payload) if len(payload) <= most else None


def _copies(data: bytes, base: bytes, most: int, shifts: Sequence[int]) -> bytes | None:
    """Instructions that make the data; None where they would be many. Of arrays values changed, as a rule."""
    if data[:HEAD] == base[:HEAD] and len(data) == len(base) and array_of(data) is not None:
        edits = edits_in_place(data, base)
        if edits is not None:
            copied = edited(data, edits) if len(edits) <= most_edits(len(data)) else None
            return copied if copied is not None and len(copied) <= most else None
    return copies_of(data, base, most, shifts)


def unpack(codec: int, payload: Buffer, base: Buffer, length: int) -> bytes:
    """The bytes again. Raises Damaged where they do not come out at the declared length."""
    return b"".join(pieces(codec, payload, words.Base(base), length))


def pieces(codec: int, payload: Buffer, base: words.Base, length: int) -> list[Buffer]:
    """What the bytes are put together from. Raises Damaged as `unpack` does."""
    if length > LONGEST:
        raise Damaged(f"a delta of {length} bytes is longer than any that is written")
    if codec == COPIES:
        return copies.pieces(bytes(payload), base.data, length)
    if codec == PREFIX:
        return [_decompress(payload, base.data, length)]
    if codec == WORDS:
        return words.pieces(payload, base, length)
    raise Damaged(f"unknown codec {codec}")


def _compress(data: bytes, base: bytes) -> bytes:
    import zstandard

    window = max(10, (len(data) + len(base)).bit_length())
    settings = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=window, write_content_size=True
    )
    return zstandard.ZstdCompressor(dict_data=_prefix(base), compression_params=settings).compress(data)


def _decompress(payload: Buffer, base: Buffer, length: int) -> bytes:
    import zstandard

    try:
        if zstandard.frame_content_size(payload) != length:
            raise Damaged(f"a delta does not declare the {length} bytes it should make")
        found = zstandard.ZstdDecompressor(dict_data=_prefix(base)).decompress(
            payload, max_output_size=length
        )
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damaged(f"a delta cannot be read: {error}") from None
    if len(found) != length:
        raise Damaged(f"{len(found)} bytes came out of a delta where {length} were declared")
    return bytes(found)


def _prefix(base: Buffer) -> ZstdCompressionDict:
    from zstandard import DICT_TYPE_RAWCONTENT, ZstdCompressionDict

    return ZstdCompressionDict(base, dict_type=DICT_TYPE_RAWCONTENT)
