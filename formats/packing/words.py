"""Values as references to words, those that another chunk has and new ones (docs/format.md, 4.2, codec 5).

Invariant: `unpack(pack(data, base), base, len(data)) == data`; never more than the declared length is made.
The words of a base are the distinct values of the array that it is, in the order in which they come first:
so the segments of a table share the long texts of a column, as the pages of one file do.
"""

from __future__ import annotations

from itertools import chain
from struct import Struct
from threading import local
from typing import TYPE_CHECKING, Any, Final

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer
from aq.formats.packing.growth import FIXED, VARIABLE, Array, array_at, array_of, padded

if TYPE_CHECKING:
    import pyarrow as pa
    from zstandard import ZstdDecompressor

WORDS: Final = 5
"""The codec."""
LONGEST: Final = 16 << 20
"""Bytes of a chunk, four times those of a table's longest: of a few words a frame could make ever so many."""
_head: Final = Struct("<IBBH")
_LEVEL: Final = 1
_PLANES: Final = 4
_WIDTH: Final = 8
_SOME: Final = 1_024
_threads = local()


def pack(data: Buffer, base: Buffer | Base = b"") -> bytes | None:
    """The payload; None where these are no arrays of texts or of 8-byte values, or most come only once."""
    import numpy as np
    import pyarrow.compute as pc

    view = memoryview(data)
    found = array_of(view)
    if found is None or not _is_known(found) or len(view) > LONGEST:
        return None
    values = _array(view, found)
    coded = values.dictionary_encode()
    of = base if isinstance(base, Base) else Base(base)
    known = None if 2 * len(coded.dictionary) > found.rows else of.words(found)
    if known is None:
        return None
    places = pc.index_in(coded.dictionary, value_set=known)
    is_new = places.is_null()
    new = coded.dictionary.filter(is_new)
    codes = places.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    codes[is_new.to_numpy(zero_copy_only=False)] = len(known) + 1 + np.arange(len(new))
    chosen = np.concatenate(([0], codes))[coded.indices.cast("int64").fill_null(-1).to_numpy() + 1]
    planes = chosen.astype("<u4").view(np.uint8).reshape(-1, _PLANES).T
    return _compress([*_written(new, found.width), *(plane.tobytes() for plane in planes)])


def repeats(data: Buffer) -> bool:
    """Whether this is an array for `pack`, and the values in its middle come more than once."""
    view = memoryview(data)
    found = array_of(view)
    if found is None or not _is_known(found):
        return False
    some = _array(view, found).slice(max(0, found.rows - _SOME) // 2, _SOME)
    return 8 * len(some.unique()) <= 7 * len(some)


class Base:
    """Bytes that words are taken from, looked for once for however many chunks."""

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self._found: tuple[Array, pa.Array] | None = None
        self._entropy: float | None = None

    def words(self, like: Array) -> pa.Array | None:
        """The distinct values of the array, none of nothing; None where it is of another layout."""
        if self._found is None:
            if not len(self.data):
                return _none(like)
            view = memoryview(self.data)
            found = array_of(view)
            if found is None or found[1:3] != like[1:3]:
                return None
            self._found = found, _array(view, found).unique().drop_null()
        return self._found[1] if self._found[0][1:3] == like[1:3] else None

    def entropy(self) -> float:
        """Bytes that the numbers of its words take a value, at best; 0 where it is no array of such.

        Source: C. E. Shannon, "A mathematical theory of communication", 1948.
        """
        import numpy as np

        told = self._entropy
        if told is None:
            view = memoryview(self.data)
            found, told = array_of(view), 0.0
            if found is not None and _is_known(found) and found.rows:
                counts = _array(view, found).value_counts().field("counts").to_numpy()
                told = float(np.log2(found.rows / counts) @ counts) / found.rows / 8
            self._entropy = told  # only now: another thread may ask meanwhile
        return told


def unpack(payload: Buffer, base: Buffer | Base, length: int) -> bytes:
    """The bytes again. Raises Damaged where they do not come out at the declared length."""
    return b"".join(pieces(payload, base, length))


def pieces(payload: Buffer, base: Buffer | Base, length: int) -> list[Buffer]:
    """What the bytes are put together from. Raises Damaged as `unpack` does."""
    import numpy as np
    import pyarrow as pa

    if length > LONGEST:
        raise Damaged(f"a frame of words holds no {length} bytes")
    told = memoryview(_decompress(payload, length))
    new = array_at(told)
    if new is None or not _is_known(new) or new.has_nulls or new.stop == len(told):
        raise Damaged("a frame of words does not begin with any")
    known = (base if isinstance(base, Base) else Base(base)).words(new)
    if known is None or (len(told) - new.stop) % _PLANES:
        raise Damaged("a frame of words has a base that holds none")
    planes = np.frombuffer(told, np.uint8, -1, new.stop).reshape(_PLANES, -1)
    words = pa.concat_arrays([_blank(new), known, _array(told[: new.stop], new)])
    return _made(words, _chosen(planes), new.width, length)


def _chosen(planes: Any) -> Any:
    """The numbers out of their planes; of most of them all bytes but the lower two are 0."""
    found = planes[0].astype("<u4")
    for at in range(1, _PLANES):
        if planes[at].max(initial=0):
            found |= planes[at].astype("<u4") << 8 * at
    return found


def _made(words: pa.Array, chosen: Any, width: int, length: int) -> list[Buffer]:
    """The array of the chosen words, if it has the declared length; the first word stands for a null."""
    import numpy as np
    import pyarrow.compute as pc

    rows = len(chosen)
    if rows and int(chosen.max()) >= len(words):
        raise Damaged("a frame of words names one that is not there")
    has_nulls = not bool(chosen.all())
    head = _head.pack(rows, FIXED if width else VARIABLE, has_nulls, width)
    parts: list[Buffer] = [head, (chosen != 0).tobytes() if has_nulls else b""]
    if width:
        return _padded_to(length, [*parts, _numbers(words, "<u8").take(chosen).data])
    sizes = _numbers(pc.binary_length(words), "<i8").astype("<u4").take(chosen)
    parts.append(sizes.data)
    text = int(sizes.sum(dtype=np.uint64))
    if sum(map(padded, (len(head), len(parts[1]), 4 * rows, text))) != length:
        raise Damaged(f"a frame of words does not make the {length} bytes it should")
    if text:
        parts.append(memoryview(words.take(_places(chosen)).buffers()[2])[:text])
    return _padded_to(length, parts)


def _numbers(values: pa.Array, dtype: str) -> Any:
    """The values of an array without nulls, where they lie: Arrow's own way to numpy imports pandas."""
    import numpy as np

    found = np.dtype(dtype)
    if not len(values):
        return np.empty(0, found)
    return np.frombuffer(values.buffers()[1], found, len(values), values.offset * found.itemsize)


def _places(rows: Any) -> pa.Array:
    """Places to take, as Arrow has them, by the same reason."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.uint32(), len(rows), [None, pa.py_buffer(rows)])


def _padded_to(length: int, parts: list[Buffer]) -> list[Buffer]:
    """The parts, each with what fills it up."""
    views = [memoryview(part).cast("B") for part in parts]
    found: list[Buffer] = list(chain.from_iterable((view, bytes(-len(view) % 8)) for view in views))
    if sum(map(len, found)) != length:
        raise Damaged(f"a frame of words does not make the {length} bytes it should")
    return found


def _is_known(array: Array) -> bool:
    return array.layout == VARIABLE or array.width == _WIDTH


def _none(like: Array) -> pa.Array:
    import pyarrow as pa

    return pa.nulls(0, _type(like))


def _blank(like: Array) -> pa.Array:
    """One value of nothing but zeros."""
    import pyarrow as pa

    zeros = pa.py_buffer(bytes(2 * _WIDTH))
    return pa.Array.from_buffers(_type(like), 1, [None, zeros] if like.width else [None, zeros, zeros])


def _type(array: Array) -> pa.DataType:
    import pyarrow as pa

    return pa.uint64() if array.width else pa.large_binary()


def _array(view: memoryview, found: Array) -> pa.Array:
    """The values of an array."""
    import numpy as np
    import pyarrow as pa

    bits = None
    if found.has_nulls:
        valid = np.frombuffer(view, np.uint8, found.rows, _head.size)
        bits = pa.py_buffer(np.packbits(valid != 0, bitorder="little"))
    buffers = [bits, pa.py_buffer(view[found.body : found.end])]
    if not found.width:
        buffers.insert(1, _offsets(np.frombuffer(view, "<u4", found.rows, found.lengths)))
    return pa.Array.from_buffers(_type(found), found.rows, buffers)


def _offsets(lengths: Any) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64))))


def _written(words: pa.Array, width: int) -> list[bytes]:
    """The array of some words (docs/format.md, 8.2): head with lengths, and body."""
    head = _head.pack(len(words), FIXED if width else VARIABLE, False, width)
    if width:
        return [head, _numbers(words, "<u8").tobytes()]
    lengths, body = _texts(words)
    return [_filled(head + lengths), _filled(body)]


def _texts(words: pa.Array) -> tuple[bytes, bytes]:
    """The lengths (u32) of some texts without nulls, and their bytes."""
    import numpy as np

    if not len(words):
        return b"", b""
    offsets = np.frombuffer(words.buffers()[1], np.int64, len(words) + 1, 8 * words.offset)
    data = words.buffers()[2]
    told = b"" if data is None else bytes(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
    return np.diff(offsets).astype("<u4").tobytes(), told


def _filled(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _compress(parts: list[bytes]) -> bytes:
    """One frame, in which each part is coded by itself."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=False)
    stream, out = compressor.compressobj(size=sum(map(len, parts))), bytearray()
    for part in parts:
        out += stream.compress(part)
        out += stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    out += stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)
    return bytes(out)


def _decompressor() -> ZstdDecompressor:
    import zstandard

    found: ZstdDecompressor | None = getattr(_threads, "decompressor", None)
    if found is None:
        found = _threads.decompressor = zstandard.ZstdDecompressor()
    return found


def _decompress(payload: Buffer, length: int) -> bytes:
    import zstandard

    try:
        size = zstandard.frame_content_size(payload)
        if not _head.size <= size <= 2 * length + 64:
            raise Damaged(f"a frame of words cannot make {length} bytes")
        return bytes(_decompressor().decompress(payload, max_output_size=size))
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damaged(f"a frame of words cannot be read: {error}") from None
