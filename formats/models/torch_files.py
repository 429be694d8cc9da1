"""Files of torch (`torch.save` since 1.6): a zip archive of one pickle and of the memory of its tensors.

Invariant: nothing is unpickled and torch is not imported; a tensor is read where it lies in the archive.
What is older, or was saved in another byte order, is not read.
"""

from __future__ import annotations

import io
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
from aq.formats.errors import Damaged
from aq.formats.models.content import INFLATED_MOST, Archive, Content
from aq.formats.models.dtypes import size_of, text_of
from aq.formats.models.foreign_pickles import foreign_tensor, read_foreign
from aq.formats.models.opened import Opened, tensor_at
from aq.formats.python.pickle_reading import Global, Made, Outside
from aq.formats.python.summaries import Tensor, find_tensors
from aq.formats.python.tensors import Stored

_PICKLE: Final = "data.pkl"
_REPEATED_MOST: Final = 64 << 20
"""Bytes that a tensor may have beyond its memory, where it names the same elements again and again."""
_TENSORS: Final = (
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
)
_PARAMETERS: Final = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_OF_TYPE: Final = "torch._tensor._rebuild_from_type_v2"
"""What makes a tensor with attributes or of another class: a function, that class, its arguments, a state."""
_STORAGES: Final = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "BFloat16Storage": "bfloat16", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}  # fmt: skip


class _Memory(NamedTuple):
    """The elements of a tensor: in which storage, from where on, how far apart; counted in elements."""

    key: str
    offset: int
    strides: tuple[int, ...]


def read(content: Content) -> Opened:
    """Class, hyperparameters and tensors. Raises Damaged."""
    archive = Archive(content)
    name = next((name for name in archive.names if name.rpartition("/")[2] == _PICKLE), None)
    if name is None:
        raise Damaged("the archive is none of torch")
    folder = name.removesuffix(_PICKLE)
    order = f"{folder}byteorder"
    if order in archive.names and archive.member(order).read(0, 3) != b"lit":
        raise Damaged("it was saved in another byte order")
    pickled = archive.member(name)
    if pickled.size > INFLATED_MOST:
        raise Damaged(f"a pickle of {pickled.size} bytes")
    top = read_foreign(io.BytesIO(pickled.read(0, pickled.size)))
    found = find_tensors(top, _recognise)
    tensors = [_stored(tensor, archive, folder) for tensor in found if isinstance(tensor.data, _Memory)]
    return Opened({"format": "torch"}, tensors, top)


def _recognise(name: str, node: Any) -> Tensor | None:
    if not (isinstance(node, Made) and isinstance(node.function, Global)):
        return None
    function, arguments = str(node.function), node.arguments
    if function in _PARAMETERS and isinstance(arguments, tuple) and arguments:
        return _recognise(name, arguments[0])
    if function == _OF_TYPE and isinstance(arguments, tuple) and len(arguments) == 4:
        return _recognise(name, Made(arguments[0], arguments[2]))
    if function not in _TENSORS or not isinstance(arguments, tuple) or len(arguments) < 4:
        return foreign_tensor(name, node)
    storage, offset, shape, strides = arguments[:4]
    dtype = _dtype(storage, arguments)
    plain = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if dtype is None or not plain or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        return None
    return Tensor(name.removeprefix("."), dtype, shape, _Memory(str(storage.name[2]), offset, strides))


def _dtype(storage: Any, arguments: tuple[Any, ...]) -> str | None:
    """The dtype, as the kind of storage tells it, or the seventh argument where storages have none."""
    if not (isinstance(storage, Outside) and isinstance(storage.name, tuple) and len(storage.name) > 2):
        return None
    kind = storage.name[1]
    given = arguments[6] if len(arguments) > 6 else None
    if isinstance(given, Global) and given.module == "torch":
        return text_of(given.name)
    return text_of(_STORAGES.get(kind.name, "")) if isinstance(kind, Global) else None


def _stored(tensor: Tensor, archive: Archive, folder: str) -> Stored:
    key, offset, strides = tensor.data
    member, width = archive.member(f"{folder}data/{key}"), size_of(tensor.dtype)
    size = prod(tensor.shape) * width
    if not size or strides == _in_a_row(tensor.shape, strides):
        return tensor_at(tensor.name, tensor.dtype, tensor.shape, member, offset * width if size else 0, size)
    last = offset + sum((n - 1) * step for n, step in zip(tensor.shape, strides, strict=True))
    if (last + 1) * width > member.size or size > member.size + _REPEATED_MOST:
        raise Damaged(f"the tensor {tensor.name} reaches beyond its memory, or repeats too much of it")

    def read() -> bytes:
        memory = np.frombuffer(member.read(offset * width, (last + 1 - offset) * width), f"V{width}")
        apart = tuple(step * width for step in strides)
        return np.lib.stride_tricks.as_strided(memory, tensor.shape, apart).tobytes()

    return Stored(tensor._replace(data=None), None, read)


def _in_a_row(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor in C order, those of one element as they are."""
    found, step = list(strides), 1
    for at in range(len(shape) - 1, -1, -1):
        if shape[at] != 1:
            found[at] = step
        step *= shape[at]
    return tuple(found)
