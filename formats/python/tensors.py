"""The tensors inside two versions of a model, side by side, by how far each has moved.

Invariant: nothing is unpickled; of equal tensors nothing is read, of others one pair at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aq.formats import arrays
from aq.formats.contents.files import Piece, parts, read_part
from aq.formats.identity import Buffer, Kind, object_id
from aq.formats.models import dtypes
from aq.formats.objects import Source
from aq.formats.python.pickle_reading import read_pickle
from aq.formats.python.pickles import part_digest, stored_parts
from aq.formats.python.summaries import READ_BELOW, Tensor, find_tensors
from aq.formats.records import Artifact

if TYPE_CHECKING:
    import numpy as np

CHANGES_MOST: Final = 100
"""So many changed tensors are named, those that moved furthest first."""


class Stored(NamedTuple):
    """A tensor that is stored somewhere, and a way to its bytes.

    Equal `place`s mean equal bytes; others, and None, mean that only reading tells.
    """

    tensor: Tensor
    place: Any
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
    return compare_stored(stored_tensors(before, source), stored_tensors(after, source))


def compare_stored(old: Mapping[str, Stored], new: Mapping[str, Stored]) -> dict[str, Any]:
    """As `compare_tensors`, for tensors by name wherever they lie."""
    shared = [name for name in new if name in old]
    found = (_change(name, old[name], new[name]) for name in shared)
    changes = [change for change in found if change is not None]
    changes.sort(key=lambda one: -(one["relative"] or 0.0))
    return {
        "added": len(new) - len(shared),
        "removed": len(old) - len(shared),
        "changed": len(changes),
        "equal": len(shared) - len(changes),
        "changes": changes[:CHANGES_MOST],
    }


def _change(name: str, old: Stored, new: Stored) -> dict[str, Any] | None:
    """What is said of a tensor that differs; None of an equal one."""
    said = {"name": name, "dtype": new.tensor.dtype, "shape": list(new.tensor.shape)}
    same_kind = (old.tensor.dtype, old.tensor.shape) == (new.tensor.dtype, new.tensor.shape)
    if same_kind and old.place is not None and old.place == new.place:
        return None
    if old.tensor.shape != new.tensor.shape:
        return said | {"relative": None}
    before, after = old.read(), new.read()
    if same_kind and before == after:
        return None
    return said | {"relative": _relative(_numbers(before, old.tensor), _numbers(after, new.tensor))}


def _relative(before: np.ndarray[Any, Any] | None, after: np.ndarray[Any, Any] | None) -> float | None:
    if before is None or after is None or before.size != after.size:
        return None
    base, away = arrays.norm(before), arrays.norm(after - before)
    return None if base is None or away is None or not base else away / base


def _numbers(data: Buffer, tensor: Tensor) -> np.ndarray[Any, Any] | None:
    import numpy as np

    found = dtypes.numbers(data, tensor.dtype)
    return found if found is None or found.dtype.kind == "c" else found.astype(np.float64)
