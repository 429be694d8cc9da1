"""Whether the content of an artifact is what its format allows (docs/format.md, I31–I35, T2–T4).

Invariant: content is read as bytes, piece by piece; nothing is imported, called or unpickled on its
behalf. What lies in a record is always looked at; what lies in chunks only by a full check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, Final, TypeGuard

from aq.formats.artifacts import collected
from aq.formats.contents.files import parts, stream_bytes, whole_bytes
from aq.formats.errors import Damaged
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.store.upkeep.fsck_cuts import CutCheck

TEXT_MOST: Final = 4 << 20
"""Longer JSON texts are not parsed: what they hold in memory has no bound."""
_ELEMENT_MOST: Final = 1 << 20
_DIRECTIONS: Final = frozenset(("higher", "lower", ""))


class ValueCheck:
    """One check of many artifacts; `full` reads what lies in chunks."""

    def __init__(self, source: Source, *, full: bool) -> None:
        self._source = source
        self._full = full
        self._cuts = CutCheck(source)
        self._met: dict[bytes, int] = {}
        self._checks: dict[str, Callable[[Artifact], Iterator[str]]] = {
            "bytes": self._cut,
            "raw": self._cut,
            "json": self._json,
            "metric": self._metric,
            "array": self._array,
            "pickle": self._pickle,
            "table": self._table,
            collected.FORMAT: self._items,
        }

    def problems(self, artifact: Artifact) -> Iterator[str]:
        """What is wrong with the content; damage to other objects is theirs to tell."""
        check = self._checks.get(artifact.format)
        if check is None or (artifact.data is None and not self._full):
            return
        try:
            yield from check(artifact)
        except Damaged:
            return

    # Cuts (I31)

    def _cut(self, artifact: Artifact, *, buffer: bool = False, text_first: bool = False) -> Iterator[str]:
        if artifact.root is not None:
            problem = self._cuts.problem(artifact.root, buffer=buffer, text_first=text_first)
            if problem:
                yield problem

    # Texts (I33)

    def _json(self, artifact: Artifact) -> Iterator[str]:
        if artifact.size <= TEXT_MOST:
            yield from self._canonical(artifact)
        yield from self._cut(artifact)

    def _metric(self, artifact: Artifact) -> Iterator[str]:
        if artifact.data is None:
            yield "a metric of 65,536 bytes or more"
            return
        yield from self._canonical(artifact)
        better = artifact.type.get("better") if isinstance(artifact.type, dict) else None
        ways = better.values() if isinstance(better, dict) else (better,)
        if not all(isinstance(way, str) and way in _DIRECTIONS for way in ways):
            yield "its type does not say which direction is better"

    def _canonical(self, artifact: Artifact) -> Iterator[str]:
        from aq.formats.artifacts import json_values

        text = whole_bytes(artifact, self._source)
        try:
            value = json_values.load(text)
        except Damaged as error:
            yield error.message
            return
        if json_values.dump(value) != text:
            yield "its text is not the one in which its value is written"
        elif artifact.format == "metric" and not _is_metric(value):
            yield "it holds something other than a number or a flat map of numbers"

    # Arrays (I34)

    def _array(self, artifact: Artifact) -> Iterator[str]:
        from aq.formats import arrays

        information = artifact.type if isinstance(artifact.type, dict) else {}
        dtype = arrays.plain_dtype(information.get("dtype"))
        shape = information.get("shape")
        if dtype is None or not _is_shape(shape):
            yield "its dtype or shape is none of an array"
            return
        if information.get("scalar", False) not in (True, False) or (information.get("scalar") and shape):
            yield "it is a scalar with a shape"
        if prod(shape) * dtype.itemsize != artifact.size:
            yield f"it has {artifact.size} bytes, which its dtype and shape do not give"
        elif 0 < dtype.itemsize <= _ELEMENT_MOST and not self._is_clean(artifact, dtype):
            yield "its padding is not zero"
        yield from self._cut(artifact, buffer=True)

    def _is_clean(self, artifact: Artifact, dtype: Any) -> bool:
        from aq.formats import arrays

        if not arrays.has_padding(dtype):
            return True
        left = b""
        for piece in stream_bytes(artifact, self._source):
            data = left + piece
            whole = len(data) - len(data) % dtype.itemsize
            if not arrays.is_clean(data[:whole], dtype):
                return False
            left = data[whole:]
        return True

    # Pickles (I35)

    def _pickle(self, artifact: Artifact) -> Iterator[str]:
        from aq.formats.python.pickle_names import named_in
        from aq.formats.python.pickles import stored_parts

        if artifact.root is None:
            stored = [bytes(part) for part in stored_parts(artifact, self._source)]
            if sum(map(len, stored)) != artifact.size:
                yield f"its parts have {sum(map(len, stored))} bytes instead of {artifact.size}"
            buffers, opcodes = len(stored) - 1, iter(stored[:1])
        else:
            buffers = sum(1 for _ in parts(self._source, artifact.root)) - 1
            opcodes = self._first_part(artifact.root)
        try:
            found = named_in(opcodes)
        except Damaged as error:
            yield error.message
            return
        if found is not None:
            yield from _misnamed(artifact, found.buffers, buffers, found.artifacts)
        yield from self._cut(artifact, buffer=True, text_first=True)

    def _first_part(self, root: bytes) -> Iterator[bytes]:
        from aq.formats.contents.files import pieces, read_piece

        for piece in pieces(self._source, root):
            yield read_piece(self._source, piece)
            if not piece.goes_on:
                return

    # Collections (I36)

    def _items(self, artifact: Artifact) -> Iterator[str]:
        from aq.formats.objects import get_record

        found = list(collected.elements(artifact, self._source))
        if collected.is_dict(artifact) and len({key for key, _ in found}) != len(found):
            yield "two of its items have one key"
        if {get_record(self._source, Artifact, id).format for _, id in found} != collected.formats(artifact):
            yield "its type does not say what formats its items have"

    # Tables (T2 to T4)

    def _table(self, artifact: Artifact) -> Iterator[str]:
        if not self._full:
            return
        from aq.formats.tables.check import content_problems

        yield from content_problems(artifact, self._source, self._met)


def _misnamed(artifact: Artifact, named: int, buffers: int, artifacts: list[bytes]) -> Iterator[str]:
    if named != buffers:
        yield f"its opcodes name {named} buffers, and it has {buffers}"
    told = artifact.type.get("artifacts", []) if isinstance(artifact.type, dict) else []
    if not isinstance(told, list) or sorted(map(repr, told)) != sorted(map(repr, artifacts)):
        yield "its opcodes name other artifacts than its type"


def _is_metric(value: object) -> bool:
    numbers = list(value.values()) if isinstance(value, dict) else [value]
    return bool(numbers) and all(type(number) in (int, float) for number in numbers)


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    return isinstance(shape, list) and len(shape) <= 64 and all(type(n) is int and n >= 0 for n in shape)
