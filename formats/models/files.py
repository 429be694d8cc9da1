"""Model files by their names: what each holds, and how two versions of one differ.

Invariant: a file that is not what its name says has no answer here, whatever is in it, and is bytes to
the caller. Nothing that a file holds is executed.
"""

from __future__ import annotations

import struct
import zlib
from importlib import import_module
from tokenize import TokenError
from typing import Any, Final

from aq.formats.errors import Damaged
from aq.formats.objects import Source
from aq.formats.records import Artifact

_PACKAGE: Final = "aq.formats.models"
_READERS: Final = {
    ".safetensors": ("safetensors_files", "read"),
    ".npy": ("npy_files", "read"),
    ".npz": ("npy_files", "read_archive"),
    ".onnx": ("onnx_files", "read"),
    ".skops": ("skops_files", "read"),
    ".pkl": ("pickle_files", "read"),
    ".pickle": ("pickle_files", "read"),
    ".joblib": ("pickle_files", "read"),
    ".pt": ("torch_files", "read"),
    ".pth": ("torch_files", "read"),
    ".ckpt": ("torch_files", "read"),
}
_NOT_WHAT_IT_SAYS: Final = (
    Damaged, ImportError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError,
    RecursionError, EOFError, OSError, SyntaxError, MemoryError, struct.error, TokenError, zlib.error,
)  # fmt: skip
"""What readers of broken or hostile files raise."""


def is_model_file(path: str) -> bool:
    """Whether the name is one of a model file."""
    return _suffix(path) in _READERS


def summarise_file(path: str, record: Artifact, source: Source) -> dict[str, Any] | None:
    """What a model file holds, as a summary of a value is; None where it is none."""
    from aq.formats.models.opened import summarise

    try:
        return summarise(_opened(path, record, source))
    except _NOT_WHAT_IT_SAYS:
        return None


def unreadable(path: str, record: Artifact, source: Source) -> str | None:
    """Why a model file has no summary; None where it has one."""
    from aq.formats.models.opened import summarise

    try:
        summarise(_opened(path, record, source))
    except ImportError as error:
        return f"cannot be read without the library {error.name}"
    except _NOT_WHAT_IT_SAYS:
        return f"cannot be read as {_suffix(path)}"
    return None


def compare_files(path: str, before: Artifact, after: Artifact, source: Source) -> dict[str, Any] | None:
    """How two versions of a model file differ; None where one of them is none."""
    from aq.formats.models.opened import compare

    try:
        old, new = (_opened(path, record, source) for record in (before, after))
        return {"parsed": new.facts["format"], **compare(old, new)}
    except _NOT_WHAT_IT_SAYS:
        return None


def _opened(path: str, record: Artifact, source: Source) -> Any:
    from aq.formats.models.content import Content

    module, function = _READERS[_suffix(path)]
    read = getattr(import_module(f"{_PACKAGE}.{module}"), function)
    return read(Content(record, source))


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""
