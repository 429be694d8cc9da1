"""Numpy arrays and scalars as artifacts: bytes as content, dtype and shape beside it (format.md, section 9).

Invariant: what comes back is equal to the bit, in memory of its own. What dtypes mean is in `formats.arrays`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aq.formats import arrays
from aq.formats.contents.files import buffers_beside, content, whole_bytes
from aq.formats.errors import Damaged
from aq.formats.objects import Like, Sink, Source
from aq.formats.records import Artifact

if TYPE_CHECKING:
    import numpy as np


def encode_array(value: Any, sink: Sink, like: Like | None = None) -> tuple[Artifact, dict[str, Any]] | None:
    """Store a numpy array or scalar and summarise it; None for subclasses and what is not plain.

    `like`: an earlier array, beside which it may take less space.
    """
    import numpy as np

    scalar = isinstance(value, np.generic)
    exact = scalar or type(value) in (np.ndarray, np.memmap)
    array = np.asarray(value)
    described = arrays.describe(array.dtype) if exact else None
    if described is None:
        return None
    data = arrays.c_bytes(array)
    former = like if like is not None and like.artifact.format == "array" else None
    inline, root = content(sink, data, buffer=True, beside=buffers_beside(sink, former, skip=0))
    information: dict[str, Any] = {"dtype": described, "shape": list(array.shape)}
    if scalar:
        information["scalar"] = True
    artifact = Artifact(
        kind="value" if scalar else "array",
        format="array",
        size=len(data),
        type=information,
        root=root,
        data=inline,
    )
    return artifact, summarise_array(array, information)


def decode_array(artifact: Artifact, source: Source) -> Any:
    """The array or scalar, in writable memory of its own. Raises Damaged where its bytes do not fit."""
    try:
        data, information = bytearray(whole_bytes(artifact, source)), artifact.type
        array = arrays.rebuild(data, information["dtype"], information["shape"])
        return array[()] if information.get("scalar") else array
    except arrays.NO_DTYPE as error:
        raise Damaged(f"an array cannot be read: {error}") from None


def npy_header(artifact: Artifact) -> bytes:
    """What stands before the elements in a .npy file. Source: NEP 1."""
    import io

    from numpy.lib import format as npy

    information, text = artifact.type, io.BytesIO()
    description = npy.dtype_to_descr(arrays.dtype_of(information["dtype"]))
    header = {"descr": description, "fortran_order": False, "shape": tuple(information["shape"])}
    npy.write_array_header_2_0(text, header)
    return text.getvalue()


def summarise_array(array: np.ndarray[Any, Any], information: dict[str, Any]) -> dict[str, Any]:
    """Shape, dtype, and for numbers how they are distributed; a scalar's value."""
    summary = {"dtype": information["dtype"], "shape": information["shape"]}
    if information.get("scalar"):
        return {**summary, "value": _plain(array)}
    if array.dtype.kind in "biuf" and array.size:
        summary |= arrays.statistics(array)
    return summary


def _plain(array: np.ndarray[Any, Any]) -> Any:
    """The only element as a JSON value."""
    value = array.item() if array.dtype.kind in "biuf" else str(array[()])
    return value if isinstance(value, (str, float)) or -(1 << 63) <= value < 1 << 63 else str(value)
