"""Functions that look at files without an audit event, made to say so: readers in C++ and Rust, `os.stat`.

Invariant: each does what it did; only while an op runs or a module is imported it first tells which paths it
was given, in SQL too. Seen is what is looked up in its module or class then, or in a module of the user
(`from polars import read_csv`); not so what a default, a closure or an object has kept.
"""

from __future__ import annotations

import functools
import glob
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import Any, Final, Self
from urllib.parse import unquote

from aq.pipeline.code.frames import is_user
from aq.pipeline.code.watching import note_asked, note_database, note_read

Hear = Callable[[object], None]

_CLASSES_TEXT: Final = """
pyarrow.parquet.ParquetFile pyarrow.parquet.ParquetDataset pyarrow.orc.ORCFile h5py.File lightgbm.Booster
lightgbm.Dataset xgboost.DMatrix xgboost.QuantileDMatrix catboost.Pool
"""
_READERS_TEXT: Final = """
pyarrow.memory_map pyarrow.input_stream pyarrow.csv.* pyarrow.json.* pyarrow.feather.* pyarrow.orc.*
pyarrow.parquet.* pyarrow.ipc.* pyarrow.dataset.dataset pyarrow.dataset.parquet_dataset polars.*
polars.DataFrame.deserialize polars.LazyFrame.deserialize duckdb.* cv2.imread
"""
_METHODS_TEXT: Final = "duckdb.DuckDBPyConnection.* xgboost.Booster.load_model catboost.CatBoost.load_model"
_QUERIES_TEXT: Final = """
duckdb.sql duckdb.query duckdb.execute duckdb.from_query duckdb.query_df polars.sql
"""
_QUERY_METHODS_TEXT: Final = """
duckdb.DuckDBPyConnection.sql duckdb.DuckDBPyConnection.query duckdb.DuckDBPyConnection.execute
duckdb.DuckDBPyConnection.from_query polars.SQLContext.execute
"""
_CLASSES: Final = tuple(f"{name}.__init__" for name in _CLASSES_TEXT.split())
_READERS: Final = tuple(_READERS_TEXT.split())
_METHODS: Final = tuple(_METHODS_TEXT.split())
_QUERIES: Final = tuple(_QUERIES_TEXT.split())
_QUERY_METHODS: Final = tuple(_QUERY_METHODS_TEXT.split())
_DATABASES: Final = ("duckdb.connect",)
_ASKERS: Final = ("os.stat", "os.lstat", "os.access", "os.readlink")
LIBRARIES: Final = frozenset(
    name.partition(".")[0] for name in (*_CLASSES, *_READERS, *_METHODS, *_QUERIES, *_QUERY_METHODS)
)
"""Top-level modules whose readers are made to tell."""

_ANY_READER: Final = re.compile(r"(read|scan|open|from)_(?!database|clipboard|arrow|df|query|numpy)\w+")
"""What `*` stands for: the names of readers that are given paths."""
_QUOTED: Final = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"")
_SETS: Final = (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks)


class Telling:
    """A context within which readers tell what they read, those of libraries loaded meanwhile too.

    `hear` gets each path, `asked` those that are only asked about, `database` those of databases.
    """

    def __init__(
        self, hear: Hear = note_read, asked: Hear = note_asked, database: Hear = note_database
    ) -> None:
        self._hear = hear
        self._database = database
        self._asked = asked
        self._before: dict[str, tuple[Any, str, Any, Any]] = {}
        self._bound: list[tuple[ModuleType, str, Any]] = []

    def __enter__(self) -> Self:
        self._replace_all()
        return self

    def __exit__(self, *exception: object) -> None:
        for owner, name, before, told in self._before.values():
            setattr(owner, name, before)
            for one in _SETS:
                one.discard(told)
        for module, name, before in self._bound:
            setattr(module, name, before)

    def on_import(self, name: str) -> None:
        """A module is about to be imported: one with readers is loaded here, and made to tell."""
        if name.partition(".")[0] in LIBRARIES and name not in sys.modules:
            with suppress(Exception):  # the import itself, which follows, raises it for the op
                importlib.import_module(name)
            self._replace_all()

    def _replace_all(self) -> None:
        self._replace(_ASKERS, _plain(self._asked), at=0)
        self._replace(_DATABASES, _paths(self._database), at=0)
        self._replace(_CLASSES, _paths(self._hear), at=1)
        self._replace(_READERS, _paths(self._hear), at=0)
        self._replace(_METHODS, _paths(self._hear), at=1)
        self._replace(_QUERIES, _queries(self._hear), at=0)
        self._replace(_QUERY_METHODS, _queries(self._hear), at=1)
        told = {id(before): now for _, _, before, now in self._before.values()}
        for module, name in _bound_readers(told):
            before = vars(module)[name]
            self._bound.append((module, name, before))
            setattr(module, name, told[id(before)])

    def _replace(self, listed: tuple[str, ...], tell: Callable[[object], None], *, at: int) -> None:
        """Put telling readers in the place of those whose libraries are loaded."""
        for owner, name in (found for dotted in listed for found in _found(dotted)):
            before, place = vars(owner).get(name), f"{owner.__name__}.{name}"
            of_class = isinstance(before, classmethod)
            if place in self._before or isinstance(before, type) or not (callable(before) or of_class):
                continue
            told = _telling(before.__func__ if of_class else before, tell, at=at + of_class)
            with suppress(AttributeError, TypeError):  # a class in C cannot be changed
                setattr(owner, name, classmethod(told) if of_class else told)
                self._before[place] = (owner, name, before, told)
                for one in _SETS:
                    if before in one:
                        one.add(told)


def _found(dotted: str) -> list[tuple[Any, str]]:
    """(module or class, name) of what a dotted name means, if its library is loaded; `*`: all readers."""
    path, _, name = dotted.rpartition(".")
    owner = _owner(path)
    if owner is None:
        return []
    if name != "*":
        return [(owner, name)]
    known = _stars.get(dotted)
    if known is None or known[0] != len(vars(owner)):  # a module that is being loaded has not all of them
        known = len(vars(owner)), [one for one in vars(owner) if _ANY_READER.fullmatch(one)]
        _stars[dotted] = known
    return [(owner, one) for one in known[1]]


_stars: dict[str, tuple[int, list[str]]] = {}


def _owner(path: str) -> Any:
    """A module that is loaded, or a class in one."""
    found = sys.modules.get(path)
    if found is None and "." in path:
        module, _, name = path.rpartition(".")
        found = getattr(sys.modules.get(module), name, None)
    return found


def _bound_readers(told: dict[int, Any]) -> Iterator[tuple[ModuleType, str]]:
    """Modules of the user, and their names that mean a reader: `from polars import read_csv`."""
    if _loaded[0] != len(sys.modules):
        found = [one for one in list(sys.modules.values()) if _is_users(one)]
        _loaded[:] = [len(sys.modules), found]
    for module in _loaded[1]:
        yield from [(module, name) for name, value in vars(module).items() if id(value) in told]


def _is_users(module: object) -> bool:
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return isinstance(file, str) and file.endswith(".py") and is_user(file)


_loaded: list[Any] = [0, []]


def original(value: object) -> Callable[..., Any] | None:
    """The reader behind one that tells; None for anything else."""
    if not isinstance(value, FunctionType) or value.__code__.co_filename != __file__:
        return None
    found: Callable[..., Any] | None = getattr(value, "__wrapped__", None)
    return found and (original(found) or found)


@functools.lru_cache(1000)
def _telling(reader: Callable[..., Any], tell: Callable[[object], None], *, at: int) -> Callable[..., Any]:
    @functools.wraps(reader)
    def told(*args: Any, **kwargs: Any) -> Any:
        for one in args[at : at + 1]:
            tell(one)
        for name in _PATHS:
            if name in kwargs:
                tell(kwargs[name])
        return reader(*args, **kwargs)

    return told


_PATHS_TEXT: Final = """
source sources path path_or_paths where input_file file name database model_file filename fname data query
metadata_path path_or_buf
"""
_PATHS: Final = tuple(_PATHS_TEXT.split())


@functools.lru_cache(10)
def _plain(hear: Hear) -> Callable[[object], None]:
    """Of functions that take one path, and nothing that stands for several."""
    return lambda given: hear(given) if isinstance(given, str | bytes | os.PathLike) else None


@functools.lru_cache(10)
def _paths(hear: Hear) -> Callable[[object], None]:
    return lambda given: _tell(given, hear)


@functools.lru_cache(10)
def _queries(hear: Hear) -> Callable[[object], None]:
    """Of SQL: the texts in quotes that are paths, or patterns with files."""

    def tell(given: object) -> None:
        for one in _QUOTED.findall(given) if isinstance(given, str) else ():
            text = _local(one[0] or one[1])
            if text and (glob.has_magic(text) or os.path.exists(text)):
                _tell(text, hear)

    return tell


def _tell(given: object, hear: Hear) -> None:
    """A path, a folder with all below it, a pattern, or several of these."""
    if isinstance(given, list | tuple | set):
        for one in given:
            _tell(one, hear)
    elif isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        text = _local(text) if isinstance(text, str) else ""
        if not text or "\n" in text:
            return
        found = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else [text]
        for place in found:
            _tell_place(place, hear)


def _local(text: str) -> str:
    """The path that a text stands for; "" for what lies elsewhere."""
    if text.startswith("file://"):
        return unquote(text.removeprefix("file://").removeprefix("localhost"))
    return "" if "://" in text else text


def _tell_place(place: str, hear: Hear) -> None:
    if not os.path.isdir(place):
        hear(place)
        return
    for folder, folders, files in os.walk(place):
        folders.sort()
        for name in sorted(files):
            hear(os.path.join(folder, name))
