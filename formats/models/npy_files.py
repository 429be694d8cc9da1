"""Files of numpy: .npy with one array, .npz with one in each member.

Invariant: of an array its header is read, by numpy; arrays of objects, which are pickles, are named and
left alone. Elements are told in C order, as values are.
"""

from __future__ import annotations

import io
from math import prod
from typing import Any, Final

import numpy as np
from aq.formats import arrays
from aq.formats.errors import Damaged
from aq.formats.models.content import Archive, Content, Member, whole
from aq.formats.models.opened import Opened, tensor_at
from aq.formats.python.summaries import Tensor
from aq.formats.python.tensors import Stored
from numpy.lib import format as npy

_HEADER_MOST: Final = 1 << 17
_SUFFIX: Final = ".npy"


def read(content: Content) -> Opened:
    """The array of a .npy file. Raises Damaged, ValueError."""
    found = array_in(whole(content), "")
    return Opened({"format": "npy"}, [] if found is None else [found])


def read_archive(content: Content) -> Opened:
    """The arrays of an .npz file; those of objects are only named. Raises Damaged, ValueError."""
    archive = Archive(content)
    found = {
        name.removesuffix(_SUFFIX): array_in(archive.member(name), name.removesuffix(_SUFFIX))
        for name in archive.names
        if name.endswith(_SUFFIX)
    }
    if not found:
        raise Damaged("the archive holds no arrays")
    left = [name for name, stored in found.items() if stored is None]
    facts = {"format": "npz", **({"objects": left} if left else {})}
    return Opened(facts, [stored for stored in found.values() if stored is not None])


def array_in(member: Member, name: str) -> Stored | None:
    """The array that a .npy file holds; None where its elements are no plain bytes. Raises ValueError."""
    stream = io.BytesIO(member.read(0, min(member.size, _HEADER_MOST)))
    version = npy.read_magic(stream)
    reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if reader is None:
        raise Damaged(f"a .npy file of version {version}")
    shape, fortran, dtype = reader(stream)
    start, described = stream.tell(), arrays.describe(dtype)
    if described is None:
        return None
    size = prod(shape) * dtype.itemsize
    plain = not arrays.has_padding(dtype) and (not fortran or len(shape) < 2)
    if plain and dtype.itemsize:
        return tensor_at(name, described, shape, member, start, size)
    return Stored(
        Tensor(name, described, shape, None),
        (fortran, member.place(start, size)),
        lambda: in_c_order(member.read(start, size), dtype, shape, fortran=fortran),
    )


def in_c_order(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], *, fortran: bool) -> bytes:
    """The elements as a value holds them: in C order, with all padding zero."""
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return bytes(arrays.c_bytes(array))
