"""Which stack frames are the user's own, and how a traceback is trimmed to them.

Invariant: nothing of aq, the standard library or an installed package is shown as the user's.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

_LAYERS: Final = tuple(
    str(Path(__file__).parents[2] / layer) + os.sep for layer in ("pipeline", "store", "formats", "cli")
)
_LIBRARY: Final = str(Path(os.__file__).parent) + os.sep
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_READERS_TEXT: Final = """
aq cv2 dask duckdb fsspec geopandas h5py imageio joblib lightgbm netCDF4 numpy onnx openpyxl orjson pandas PIL
polars pyarrow rasterio safetensors scipy skops soundfile torch xarray xgboost xlrd yaml zstandard
_io bz2 codecs concurrent configparser contextlib csv dbm fileinput fnmatch functools genericpath glob gzip io
json linecache lzma mmap multiprocessing ntpath os pathlib pickle pkgutil posixpath shelve shutil sqlite3
tarfile tempfile threading tokenize tomllib wave xml zipfile
"""
READERS: Final = frozenset(_READERS_TEXT.split())
"""Libraries that read files for whoever calls them, and what else lies between: Python's own among them."""


def is_user(filename: str) -> bool:
    """Whether code of this file is neither aq's nor a library's."""
    if filename.startswith(("<frozen", "<__array")):
        return False
    if filename.startswith((*_LAYERS, _LIBRARY)):
        return False
    return not any(part in filename for part in _INSTALLED)


def called_by_user(frame: FrameType | None) -> bool:
    """Whether the nearest caller outside the standard library is the user's."""
    while frame is not None:
        file = frame.f_code.co_filename
        if is_user(file) or os.sep + "site-packages" + os.sep in file:
            return is_user(file)
        frame = frame.f_back
    return False


def asked(frame: FrameType | None, caller: CodeType | None = None) -> bool:
    """Whether the user's code asks for a file, itself or by a library that reads what it is told to.

    `caller`: where to stop looking. False for what a library reads for its own ends, or an import does.
    """
    while frame is not None and frame.f_code is not caller:
        file = frame.f_code.co_filename
        if is_user(file) or file.startswith("<frozen importlib"):
            return is_user(file)
        top = (frame.f_globals.get("__name__") or "").partition(".")[0]
        if top not in READERS:
            return False
        frame = frame.f_back
    return True


def place(filename: str, line: int | None, root: Path | None = None) -> str:
    """`file:line`, relative to `root` where the file lies in it."""
    return f"{_shown(filename, root)}:{line}"


@lru_cache(1_000)
def _shown(filename: str, root: Path | None) -> str:
    path = Path(filename)
    return str(path.relative_to(root) if root is not None and path.is_relative_to(root) else path)


def caller(root: Path | None = None) -> str:
    """`file:line` of the nearest frame of the user's code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_user(frame.f_code.co_filename):
        frame = frame.f_back
    return "an unknown line" if frame is None else place(frame.f_code.co_filename, frame.f_lineno, root)


def trimmed(error: BaseException, root: Path | None = None) -> str:
    """The traceback of an exception and of its causes with the user's frames only.

    Files below `root` are shown relative to it. Without any frame of the user all are kept.
    """
    report = traceback.TracebackException.from_exception(error)
    for part in _chain(report):
        kept = [frame for frame in part.stack if is_user(frame.filename)]
        if kept:
            part.stack = traceback.StackSummary.from_list(kept)
        for frame in part.stack:
            if root is not None and Path(frame.filename).is_relative_to(root):
                frame.filename = str(Path(frame.filename).relative_to(root))
    return "".join(report.format())


def _chain(report: traceback.TracebackException) -> list[traceback.TracebackException]:
    found: list[traceback.TracebackException] = []
    waiting = [report]
    while waiting:
        part = waiting.pop()
        found.append(part)
        waiting.extend(p for p in (part.__cause__, part.__context__) if p is not None)
        waiting.extend(part.exceptions or ())
    return found


def last_place(error: BaseException, root: Path | None = None) -> str | None:
    """`file:line` of the innermost frame of the user's code in an exception's traceback."""
    found = None
    step = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if is_user(name):
            found = place(name, step.tb_lineno, root)
        step = step.tb_next
    return found


def one_line(error: BaseException) -> str:
    """`ValueError: message`, the first line of it."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # the user's own __str__ may fail as well
        text = []
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
