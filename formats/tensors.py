"""The tensors inside two versions of a pickled value, side by side, by how far each has moved.

Invariant: nothing is unpickled; of equal tensors nothing is read, of others one pair at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aq.formats import arrays
from aq.formats.files import Piece, parts, read_part
from aq.formats.identity import Buffer, Kind, object_id
from aq.formats.models import dtypes
from aq.formats.objects import Source
from aq.formats.pickle_reading import read_pickle
from aq.formats.pickles import part_digest, stored_parts
from aq.formats.records import Artifact
from aq.formats.summaries import READ_BELOW, Tensor, find_tensors

if TYPE_CHECKING:
    import numpy as np

CHANGES_MOST: Final = 100
"""So many changed tensors are named, those that moved furthest first."""


class Stored(NamedTuple):
    """A tensor of a stored value: its digest, and a way to its bytes."""

    tensor: Tensor
    digest: str
    read: Callable[[], Buffer]


def stored_tensors(artifact: Artifact, source: Source) -> dict[str, Stored]:
    """The plain arrays inside a pickled value by their names; none where its opcodes are too long."""
    opcodes, buffers = _parts(artifact, source)
    if len(opcodes) >= READ_BELOW:
        return {}
    found = {}
    for tensor in find_tensors(read_pickle(opcodes)):
        data = tensor.data
        if isinstance(data, bytes):
            found[tensor.name] = Stored(tensor, object_id(Kind.CHUNK, data).hex(), _given(data))
        else:
            digest, read = buffers[data.index]
            found[tensor.name] = Stored(tensor, digest, read)
    return found


def _parts(artifact: Artifact, source: Source) -> tuple[bytes, list[tuple[str, Callable[[], Buffer]]]]:
    if artifact.root is None:
        opcodes, *kept = stored_parts(artifact, source)
        return bytes(opcodes), [(object_id(Kind.CHUNK, data).hex(), _given(data)) for data in kept]
    first, *rest = parts(source, artifact.root)
    buffers = [(part_digest([piece.id for piece in part]), _reader(source, part)) for part in rest]
    return bytes(read_part(source, first)), buffers


def _given(data: Buffer) -> Callable[[], Buffer]:
    return lambda: data


def _reader(source: Source, part: list[Piece]) -> Callable[[], Buffer]:
    return lambda: read_part(source, part)


def compare_tensors(before: Artifact, after: Artifact, source: Source) -> dict[str, Any]:
    """Counts of `added`, `removed`, `changed` and `equal` tensors, and `changes`: `[{name, dtype, shape,
    relative}]`, the furthest first; `relative` is the norm of the difference by the norm before, None
    where shapes or kinds differ or these are no numbers.
    """
    old, new = stored_tensors(before, source), stored_tensors(after, source)
    shared = [name for name in new if name in old]
    moved = [name for name in shared if _identity(old[name]) != _identity(new[name])]
    changes = [_change(name, old[name], new[name]) for name in moved]
    changes.sort(key=lambda one: -(one["relative"] or 0.0))
    return {
        "added": len(new) - len(shared),
        "removed": len(old) - len(shared),
        "changed": len(moved),
        "equal": len(shared) - len(moved),
        "changes": changes[:CHANGES_MOST],
    }


def _identity(stored: Stored) -> tuple[Any, ...]:
    return stored.digest, stored.tensor.dtype, stored.tensor.shape


def _change(name: str, old: Stored, new: Stored) -> dict[str, Any]:
    said = {"name": name, "dtype": new.tensor.dtype, "shape": list(new.tensor.shape)}
    return said | {"relative": _relative(old, new)}


def _relative(old: Stored, new: Stored) -> float | None:
    if old.tensor.shape != new.tensor.shape:
        return None
    before, after = (_numbers(stored) for stored in (old, new))
    if before is None or after is None or before.size != after.size:
        return None
    base, away = arrays.norm(before), arrays.norm(after - before)
    return None if base is None or away is None or not base else away / base


def _numbers(stored: Stored) -> np.ndarray[Any, Any] | None:
    import numpy as np

    found = dtypes.numbers(stored.read(), stored.tensor.dtype)
    return found if found is None or found.dtype.kind == "c" else found.astype(np.float64)
