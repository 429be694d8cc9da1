"""Pickled values: opcodes and buffers as parts of an artifact (docs/format.md, section 9).

Invariant: `encode_pickle` gives equal artifacts for equal values. Only `decode_pickle` executes
anything; summaries and bytes are read without.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final

import msgspec
from aq.formats.classes import module_of
from aq.formats.contents.files import (
    INLINE_BELOW,
    buffers_beside,
    parts,
    put_buffer_part,
    put_text_part,
    read_part,
)
from aq.formats.errors import AqError, Damaged, UsageError
from aq.formats.identity import Buffer, Kind, object_id
from aq.formats.models import dtypes
from aq.formats.objects import Like, Sink, Source
from aq.formats.python.pickler import Pickler
from aq.formats.python.summaries import Facts, Tensor, summarise_opcodes
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_list

_MODEL_METHODS: Final = ("predict", "transform", "fit", "state_dict")

_ARRAYS: Final = frozenset({("numpy", "ndarray"), ("torch", "Tensor")})
_TORCH: Final = frozenset({"torch", "torch.nn.parameter"})


class _Buffers:
    """The buffers of one pickle: kept while they are few bytes, then stored as they come."""

    def __init__(self, sink: Sink, like: Like | None) -> None:
        self._sink = sink
        self._beside = buffers_beside(sink, like, skip=1)
        self.size = 0
        self.elements: list[bytes] = []
        self._kept: list[Buffer] = []
        self._facts: list[Facts] = []
        self._norms: list[float | None] = []

    def add(self, data: Buffer, dtype: Any) -> None:
        self.size += len(data)
        self._kept.append(data)
        self._norms.append(None if dtype is None else dtypes.norm(data, dtype))
        if self.size >= INLINE_BELOW:
            self.store()

    def store(self) -> None:
        """Store what was kept."""
        for data in self._kept:
            stored = list(put_buffer_part(self._sink, data, self._beside))
            self.elements += stored
            self._facts.append(Facts(part_digest(stored), self._norms[len(self._facts)]))
        self._kept.clear()

    def inline(self, opcodes: bytes) -> bytes:
        """Opcodes and kept buffers as one text, instead of `store`."""
        for data in self._kept:
            self._facts.append(Facts(object_id(Kind.CHUNK, data).hex(), self._norms[len(self._facts)]))
        return msgspec.msgpack.encode([opcodes, *map(bytes, self._kept)])

    def facts(self, tensor: Tensor) -> Facts:
        """What is known about a tensor, once all buffers are stored or inline."""
        if isinstance(tensor.data, bytes):
            return _facts_of(tensor.data, tensor.dtype)
        found: Facts = self._facts[tensor.data.index]
        return found


def encode_pickle(
    value: object,
    sink: Sink,
    *,
    at: str = "",
    outside: Callable[[object], bytes | None] = lambda _: None,
    like: Like | None = None,
) -> tuple[Artifact, dict[str, Any]]:
    """Store any object that can be reduced, and summarise it. Puts its parts, not the artifact.

    `outside` stores an inner object as an artifact of its own and gives its id, or None; `like` is an earlier
    value, beside whose buffers these may take less space. Raises Unstorable.
    """
    buffers = _Buffers(sink, like if like is not None and like.artifact.format == "pickle" else None)
    named: dict[bytes, None] = {}

    def named_outside(inner: object) -> bytes | None:
        id = outside(inner)
        if id is not None:
            named[bytes(id)] = None
        return None if id is None else bytes(id)

    pickler = Pickler(buffers.add, named_outside)
    pickler.save(value, at=at)
    opcodes = pickler.opcodes
    size = buffers.size + len(opcodes)
    data = root = None
    if size < INLINE_BELOW:
        data = buffers.inline(opcodes)
    else:
        buffers.store()
        root = build_list(sink, chain(put_text_part(sink, opcodes), buffers.elements))
    information = {"artifacts": list(named)} if named else None
    artifact = Artifact(
        kind=kind_of(value), format="pickle", size=size, type=information, root=root, data=data
    )
    return artifact, summarise_opcodes(opcodes, buffers.facts)


def summarise_pickle(artifact: Artifact, source: Source) -> dict[str, Any]:
    """What `encode_pickle` said about the value, from the stored bytes; nothing is executed."""
    if artifact.root is None:
        opcodes, *kept = _at_least_one(stored_parts(artifact, source))

        def facts(tensor: Tensor) -> Facts:
            data = tensor.data
            return _facts_of(data if isinstance(data, bytes) else kept[data.index], tensor.dtype)
    else:
        first, *rest = parts(source, artifact.root)
        opcodes = read_part(source, first)

        def facts(tensor: Tensor) -> Facts:
            if isinstance(tensor.data, bytes):
                return _facts_of(tensor.data, tensor.dtype)
            part = rest[tensor.data.index]
            norm = dtypes.norm(read_part(source, part), tensor.dtype)
            return Facts(part_digest([piece.id for piece in part]), norm)

    try:
        return summarise_opcodes(bytes(opcodes), facts)
    except (IndexError, TypeError, ValueError) as error:
        raise Damaged(f"a pickle cannot be read: {error}") from None


def _facts_of(data: Buffer, dtype: Any) -> Facts:
    return Facts(object_id(Kind.CHUNK, data).hex(), dtypes.norm(data, dtype))


def part_digest(elements: list[Any]) -> str:
    """What identifies a part: the id of its only piece, else the id of its pieces' ids in a row."""
    ids = [bytes(element[:32]) for element in elements]
    return ids[0].hex() if len(ids) == 1 else object_id(Kind.CHUNK, b"".join(ids)).hex()


def kind_of(value: object) -> str:
    """`model` for what has the methods of one, or is the state of one; `array` for arrays; else `value`."""
    kind = type(value)
    if any(callable(getattr(kind, name, None)) for name in _MODEL_METHODS):
        return "model"
    if any((base.__module__, base.__name__) in _ARRAYS for base in kind.__mro__):
        return "array"
    if module_of(kind).startswith("onnx.") and kind.__name__ == "ModelProto":
        return "model"
    return "model" if isinstance(value, dict) and _is_state(value) else "value"


def _is_state(value: dict[Any, Any]) -> bool:
    """Whether it maps names to tensors of torch alone, as `state_dict()` does."""
    held = dict.items(value)  # what is derived from dict may mean something else by its items and its truth
    return bool(held) and all(type(name) is str and type(one).__module__ in _TORCH for name, one in held)


def stored_parts(artifact: Artifact, source: Source) -> Iterator[bytearray]:
    """The opcodes, then each buffer, in writable memory of their own."""
    if artifact.root is None:
        try:
            yield from map(bytearray, msgspec.msgpack.decode(artifact.data or b"", type=list[bytes]))
        except msgspec.DecodeError as error:
            raise Damaged(f"a pickle cannot be read: {error}") from None
        return
    for part in parts(source, artifact.root):
        yield read_part(source, part)


class _Unpickler(pickle.Unpickler):
    """Python's unpickler; `load` gives what a persistent id names."""

    def __init__(self, opcodes: Buffer, buffers: Iterator[bytearray], load: Callable[[Any], object]) -> None:
        super().__init__(io.BytesIO(opcodes), buffers=buffers)
        self._load = load

    def persistent_load(self, name: Any) -> object:
        return self._load(name)


def decode_pickle(artifact: Artifact, source: Source, load: Callable[[Any], object]) -> object:
    """The object. Executes what the pickle names: the caller has decided to trust it.

    Raises AqError where a module or class is missing, or where their code fails.
    """
    opcodes, *buffers = _at_least_one(stored_parts(artifact, source))
    try:
        return _Unpickler(opcodes, iter(buffers), load).load()
    except AqError:
        raise
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        raise AqError(
            f"the stored value needs a module that cannot be imported: {error}",
            hint=f"pip install {module}" if module else (),
        ) from error
    except AttributeError as error:
        home = repr(sys.modules["__main__"]) in str(error)
        raise AqError(
            f"the stored value needs a class or function that is gone: {error}",
            hint="define it in a file that can be imported, not in the script or notebook" if home else (),
        ) from error
    except Exception as error:
        raise AqError(f"the stored value cannot be loaded: {type(error).__name__}: {error}") from error


def _at_least_one(stored: Iterator[bytearray]) -> list[bytearray]:
    found = list(stored)
    if not found:
        raise Damaged("a pickle has no opcodes")
    return found


def plain_pickle(artifact: Artifact, source: Source) -> Iterator[bytes]:
    """One self-contained pickle of the value, which `pickle.load` reads; nothing is executed.

    Raises UsageError where tables inside are artifacts of their own.
    """
    if artifact.type:
        raise UsageError(
            "the value holds tables that are stored beside it: a file of its own cannot name them"
        )
    first, *buffers = _at_least_one(stored_parts(artifact, source))
    opcodes, stored, start = bytes(first), iter(buffers), 0
    for opcode, _, at in pickletools.genops(opcodes):
        if opcode.name == "NEXT_BUFFER" and at is not None:
            buffer = next(stored)
            yield opcodes[start:at]
            yield pickle.BYTEARRAY8 + struct.pack("<Q", len(buffer))
            yield bytes(buffer)
            start = at + 1
        elif opcode.name == "READONLY_BUFFER" and at is not None:
            yield opcodes[start:at]
            start = at + 1
    yield opcodes[start:]
