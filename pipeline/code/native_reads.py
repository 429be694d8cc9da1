"""Readers of libraries in C++ and Rust that open files without an audit event, made to say so.

Invariant: a reader does what it did; only while an op runs it first tells `watching` which paths it was
given. Only what is looked up in its module or class then is seen: a name bound earlier by
`from polars import read_csv` is not, nor are paths inside SQL (both are listed as opaque).
"""

from __future__ import annotations

import functools
import glob
import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType
from typing import Any, Final, Self

from aq.pipeline.code.watching import note_read

Hear = Callable[[object], None]

_CLASSES_TEXT: Final = """
pyarrow.parquet.ParquetFile pyarrow.parquet.ParquetDataset h5py.File lightgbm.Booster
"""
_FUNCTIONS_TEXT: Final = """
pyarrow.memory_map pyarrow.OSFile pyarrow.csv.read_csv pyarrow.csv.open_csv pyarrow.json.read_json
pyarrow.feather.read_table pyarrow.feather.read_feather pyarrow.parquet.read_table
pyarrow.parquet.read_schema pyarrow.parquet.read_metadata pyarrow.orc.read_table pyarrow.dataset.dataset
polars.read_csv polars.read_parquet polars.read_ipc polars.read_ndjson polars.read_json polars.read_avro
polars.read_excel polars.read_delta polars.scan_csv polars.scan_parquet polars.scan_ipc
polars.scan_ndjson polars.scan_delta duckdb.read_csv duckdb.read_parquet duckdb.read_json
duckdb.from_csv_auto duckdb.from_parquet duckdb.connect cv2.imread xgboost.Booster.load_model
"""
_CLASSES: Final = tuple(_CLASSES_TEXT.split())
_FUNCTIONS: Final = tuple(_FUNCTIONS_TEXT.split())
LIBRARIES: Final = frozenset(name.partition(".")[0] for name in (*_CLASSES, *_FUNCTIONS))
"""Top-level modules whose readers are made to tell."""


class Telling:
    """A context within which readers tell what they read, those of libraries loaded meanwhile too.

    `hear` gets each path.
    """

    def __init__(self, hear: Hear = note_read) -> None:
        self._hear = hear
        self._before: dict[str, tuple[Any, str, Any]] = {}

    def __enter__(self) -> Self:
        self._replace_all()
        return self

    def __exit__(self, *exception: object) -> None:
        for owner, name, before in self._before.values():
            setattr(owner, name, before)

    def on_import(self, name: str) -> None:
        """A module is about to be imported: one with readers is loaded here, and made to tell."""
        if name.partition(".")[0] in LIBRARIES and name not in sys.modules:
            with suppress(Exception):  # the import itself, which follows, raises it for the op
                importlib.import_module(name)
            self._replace_all()

    def _replace_all(self) -> None:
        for dotted in _CLASSES:
            self._replace(f"{dotted}.__init__", at=1)
        for dotted in _FUNCTIONS:
            self._replace(dotted, at=0)

    def _replace(self, dotted: str, *, at: int) -> None:
        """Put a telling reader in the place of one, if its library is loaded and has it."""
        path, _, name = dotted.rpartition(".")
        owner = _owner(path)
        before = getattr(owner, name, None) if owner is not None else None
        if dotted in self._before or before is None or isinstance(before, type):
            return
        with suppress(AttributeError, TypeError):  # a class in C cannot be changed
            setattr(owner, name, _telling(before, self._hear, at=at))
            self._before[dotted] = (owner, name, before)


def _owner(path: str) -> Any:
    """A module that is loaded, or a class in one."""
    found = sys.modules.get(path)
    if found is None and "." in path:
        module, _, name = path.rpartition(".")
        found = getattr(sys.modules.get(module), name, None)
    return found


def original(value: object) -> Callable[..., Any] | None:
    """The reader behind one that tells; None for anything else."""
    if not isinstance(value, FunctionType) or value.__code__.co_filename != __file__:
        return None
    found: Callable[..., Any] | None = getattr(value, "__wrapped__", None)
    return found and (original(found) or found)


def _telling(reader: Callable[..., Any], hear: Hear, *, at: int) -> Callable[..., Any]:
    @functools.wraps(reader)
    def told(*args: Any, **kwargs: Any) -> Any:
        given = [*args[at : at + 1], *(kwargs[name] for name in _PATHS if name in kwargs)]
        for one in given:
            _tell(one, hear)
        return reader(*args, **kwargs)

    return told


_PATHS_TEXT: Final = """
source path path_or_paths where input_file file name database model_file filename
"""
_PATHS: Final = tuple(_PATHS_TEXT.split())


def _tell(given: object, hear: Hear) -> None:
    """A path, a folder with all below it, a pattern, or several of these."""
    if isinstance(given, list | tuple | set):
        for one in given:
            _tell(one, hear)
    elif isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        if not isinstance(text, str) or "://" in text or "\n" in text:
            return
        found = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else [text]
        for place in found:
            _tell_place(place, hear)


def _tell_place(place: str, hear: Hear) -> None:
    if not os.path.isdir(place):
        hear(place)
        return
    for folder, folders, files in os.walk(place):
        folders.sort()
        for name in sorted(files):
            hear(os.path.join(folder, name))
