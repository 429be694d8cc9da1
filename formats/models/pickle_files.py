"""Files of pickle and joblib: what they would build, without building it.

Invariant: nothing is unpickled. joblib's compressed files are decompressed as far as a bound allows.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple, cast

from aq.formats import arrays
from aq.formats.errors import Damaged
from aq.formats.models.content import INFLATED_MOST, Content
from aq.formats.models.foreign_pickles import Elements, Raw, foreign_tensor, read_foreign
from aq.formats.models.npy_files import in_c_order
from aq.formats.models.opened import Opened
from aq.formats.python.summaries import Tensor, find_tensors
from aq.formats.python.tensors import Stored

_INFLATED: Final[dict[bytes, tuple[str, Callable[[BinaryIO], Any]]]] = {
    b"\x1f\x8b": ("gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    b"BZ": ("bz2", bz2.BZ2File),
    b"\xfd7": ("xz", lzma.LZMAFile),
    b"\x5d\x00": ("lzma", lzma.LZMAFile),
}
_ZLIB: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class _Bytes(NamedTuple):
    """Where the pickle lies: in the file (its content), or decompressed in memory."""

    stream: BinaryIO
    compression: str
    content: Content | None


def read(content: Content) -> Opened:
    """Class, hyperparameters and arrays. Raises Damaged."""
    opened = _open(content)
    top = read_foreign(opened.stream)
    facts = {"format": "pickle"} | ({"compression": opened.compression} if opened.compression else {})
    tensors = [_stored(tensor, opened) for tensor in find_tensors(top, foreign_tensor)]
    return Opened(facts, tensors, top)


def _open(content: Content) -> _Bytes:
    start = content.read(0, min(2, content.size))
    if start in _ZLIB:
        inflate = zlib.decompressobj()
        data = inflate.decompress(content.read(0, content.size), INFLATED_MOST)
        return _Bytes(io.BytesIO(data), "zlib", None)
    if start not in _INFLATED:
        return _Bytes(content.file(), "", content)
    name, opener = _INFLATED[start]
    data = cast(bytes, opener(content.file()).read(INFLATED_MOST + 1))
    if len(data) > INFLATED_MOST:
        raise Damaged(f"it would take more than {INFLATED_MOST} bytes")
    return _Bytes(io.BytesIO(data), name, None)


def _stored(tensor: Tensor, opened: _Bytes) -> Stored:
    """A tensor with the way to its elements."""
    if not isinstance(tensor.data, Elements):  # aq's own way, in a pickle that aq wrote
        data = bytes(tensor.data)
        return Stored(tensor._replace(data=None), None, lambda: data)
    dtype, fortran, found = tensor.data

    def elements() -> bytes:
        plain = found
        if isinstance(plain, Raw):
            opened.stream.seek(plain.start)
            plain = opened.stream.read(plain.size)
        if not fortran and not arrays.has_padding(dtype):
            return plain
        return in_c_order(plain, dtype, tensor.shape, fortran=fortran)

    place = None
    if isinstance(found, Raw) and opened.content is not None:
        place = fortran, opened.content.place(found.start, found.size)
    return Stored(tensor._replace(data=None), place, elements)
