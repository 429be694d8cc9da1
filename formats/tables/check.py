"""Whether the chunks of a table are what its type says, byte for byte (docs/format.md, 8.5: T2 to T4).

Invariant: each column of each segment is read once, however many tables share it; one of them is in memory.
Where a table is cut is not computed again: that takes all of its rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
from aq.formats.columns.described import described
from aq.formats.columns.layout import write_array
from aq.formats.columns.layout_read import LARGE, read_array
from aq.formats.columns.types import arrow_type
from aq.formats.errors import Damaged, Unstorable
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Reader, Segment
from aq.formats.tables.table import reader

_NO_ARRAY: Final = (
    pa.ArrowException, ValueError, TypeError, OverflowError, IndexError, KeyError, RecursionError,
    struct.error,
)  # fmt: skip
Met = dict[bytes, int]
"""The columns of segments that were found right, with their length."""


def content_problems(artifact: Artifact, source: Source, met: Met) -> Iterator[str]:
    """What is wrong with the content. Raises Damaged on what cannot be read."""
    try:
        types = [kind for _name, kind in described(artifact).columns]
        found = reader(artifact, source)
        size = sum(_size(found, segment, types, met) for segment in found.segments)
    except _NO_ARRAY as error:
        reason = str(error).partition("\n")[0]
        yield f"a column's chunk is not what its type says: {reason}"
        return
    except (Damaged, Unstorable) as error:
        yield error.message
        return
    if found.segments and size != artifact.size:
        yield f"its columns have {size} bytes instead of {artifact.size}"


def _size(found: Reader, segment: Segment, types: list[Any], met: Met) -> int:
    """The bytes of all columns of a segment. Raises Damaged on one that is not in canonical layout."""
    rows = segment.stop - segment.start
    ids = [segment.id] * len(types) if segment.is_packed else found.chunk_ids(segment)
    total = 0
    for at, (id, kind) in enumerate(zip(ids, types, strict=True)):
        key = msgspec.msgpack.encode((bytes(id), at if segment.is_packed else 0, rows, kind))
        if key not in met:
            ((_, (blob,)),) = found.read([segment], [at])
            _check(blob, kind, rows)
            met[key] = len(blob)
        total += met[key]
    return total


def _check(blob: bytes | memoryview, kind: Any, rows: int) -> None:
    array = read_array(blob, arrow_type(kind, large=len(blob) > LARGE), rows)
    if write_array(array) != blob:
        raise Damaged("a column's chunk is not in canonical layout")
