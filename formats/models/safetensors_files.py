"""Files of safetensors: a header in JSON, then the tensors in a row.

Invariant: only the header is read; what it says of places is checked before it is believed.
Source: the format's own description, https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aq.formats.errors import Damaged
from aq.formats.models.content import Content, whole
from aq.formats.models.dtypes import text_of
from aq.formats.models.opened import Opened, tensor_at
from aq.formats.python.summaries import Tensor
from aq.formats.python.tensors import Stored

_HEADER_MOST: Final = 32 << 20
"""Bytes: names and places of some 100,000 tensors. The library's own limit is three times that."""
_DTYPES: Final = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
    "BF16": "bfloat16", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def read(content: Content) -> Opened:
    """Metadata and tensors by name, in the order of the header. Raises Damaged."""
    length = int.from_bytes(content.read(0, 8), "little")
    if length > _HEADER_MOST:
        raise Damaged(f"a header of {length} bytes")
    header = json.loads(content.read(8, length))
    if not isinstance(header, dict):
        raise Damaged("its header is no map")
    metadata = header.pop("__metadata__", None) or {}
    tensors = [_tensor(content, name, entry, 8 + length) for name, entry in header.items()]
    return Opened({"format": "safetensors", **({"metadata": metadata} if metadata else {})}, tensors)


def _tensor(content: Content, name: str, entry: dict[str, Any], base: int) -> Stored:
    start, end = entry["data_offsets"]
    said, shape = str(entry["dtype"]), tuple(map(int, entry["shape"]))
    dtype, member = text_of(_DTYPES.get(said, "")), whole(content)
    if not 0 <= start <= end:
        raise Damaged(f"the tensor {name} ends before it begins")
    if dtype is not None:
        return tensor_at(name, dtype, shape, member, base + start, end - start)
    size = end - start  # a dtype of less than a byte, or one that is newer than this aq
    tensor = Tensor(name, f"|V{size}" if size else "|V1", (1,) if size else (0,), None)
    return Stored(tensor, member.place(base + start, size), lambda: member.read(base + start, size))
