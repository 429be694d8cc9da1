"""Values on their way out: an artifact as bytes for `aq cat`, `restore -o` and `Artifact.save`.

Invariant: a file comes out byte for byte; a table in the form that was asked for; nothing is
unpickled: a model leaves as its pickle, whole, only when a file is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from stat import S_IMODE
from typing import Any, Final

from aq.formats.errors import UsageError, with_article
from aq.formats.models.files import is_model_file
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.pipeline.look import exporting
from aq.pipeline.look.exporting import FORMS, Held, exported
from aq.pipeline.look.selection import Rows, as_table, span
from aq.store.system import disk

_ONLY: Final = {"array": ".npy", "items": ".json", "json": ".json", "metric": ".json", "pickle": ".pkl"}
"""What a value leaves as; files and bytes may be anything."""
_PICKLES: Final = (".pickle", ".joblib")
"""Names under which others read a pickle; torch refuses one that is called `.pt`."""
_SUFFIXES: Final = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def form_of(record: Artifact, target: Path, *, part: bool = False) -> str | None:
    """The form that a file name asks for, `part` of the rows or columns too; None for what has only one.

    Raises UsageError where the name asks for one that there is not.
    """
    if record.kind == "table" or part:
        return table_form(target, "csv")
    only, asked = _ONLY.get(record.format), target.suffix.lower()
    is_another = asked in _SUFFIXES or is_model_file(target.name)
    if only is not None and is_another and asked not in (only, *(_PICKLES if only == ".pkl" else ())):
        raise UsageError(f"{with_article(record.kind)} is written as {only}, not as {asked}")
    return None


def table_form(target: Path, default: str) -> str:
    """The form of a table that a file name asks for, `default` without a suffix. Raises UsageError."""
    form = form_of_name(target)
    if form is None and target.suffix:
        raise UsageError(f"no table is written as {target.suffix}: there are {', '.join(_SUFFIXES)}")
    return form or default


def form_of_name(target: Path) -> str | None:
    """The form of a table that a file name asks for, or None."""
    return _SUFFIXES.get(target.suffix.lower())


def chunks(
    store: Source,
    record: Artifact,
    path: str,
    form: str | None,
    *,
    columns: Sequence[str] | None = None,
    rows: Rows | None = None,
) -> Iterator[bytes]:
    """The bytes of an artifact piecewise. Raises UsageError for a form that does not apply.

    Of a file with `columns` or `rows` these, as CSV unless `form` says otherwise.
    """
    if form is not None and form not in FORMS:
        raise UsageError(f"'{form}' is no format (there are {', '.join(FORMS)})")
    part = columns is not None or rows is not None
    if record.kind == "table":
        return exported(_stored(store, record, columns, rows), form or "csv")
    if (form is not None or part) and record.format == "bytes":
        held = Held(as_table(store, record, path, "arrow", columns, rows))
        return exported(held, form or "csv")
    if part or (form is not None and (form, _ONLY.get(record.format)) != ("json", ".json")):
        what = "columns and rows" if part else f"{form} form"
        raise UsageError(f"{path} is no table: it has no {what}", hint=f"aq show {path}")
    return _plain(store, record, path)


def _stored(
    store: Source, record: Artifact, columns: Sequence[str] | None, rows: Rows | None
) -> exporting.Stored:
    from aq.formats.columns.described import described
    from aq.formats.tables.table import chosen

    found = described(record)
    if columns is not None:
        chosen(found, columns)
    return exporting.Stored(record, store, columns, None if rows is None else span(rows, found.rows))


def write(target: Path, pieces: Iterable[bytes]) -> None:
    """Write an answer to a file, whole or not at all, through links; to a device or pipe as it comes.

    A file that it replaces hands on its permissions. Raises UsageError where there is no such folder.
    """
    if not target.parent.is_dir():
        raise UsageError(f"no folder {target.parent}", hint=f"mkdir -p {quote(str(target.parent))}")
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file in it")
    if target.exists() and not target.is_file():
        disk.write_into(str(target), pieces)
        return
    mode = S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    disk.write_stream(os.path.realpath(target), pieces, mode=mode)


def _plain(store: Source, record: Artifact, path: str) -> Iterator[bytes]:
    from aq.formats.artifacts import collected, values

    if record.format == collected.FORMAT:
        if not collected.formats(record) <= {"json", "metric"}:
            raise UsageError(f"{path} holds results of a map that are no JSON", hint=f"aq show {path}")
        yield _json_text(values.decode(record, store)) + b"\n"
    elif record.format == "bytes":
        yield from values.file_bytes(record, store)
    elif record.format == "raw":
        yield from _bytes(values.decode(record, store))
    elif record.format in ("json", "metric"):
        yield _json_text(values.decode(record, store)) + b"\n"
    else:
        yield from _bytes(values.decode(record, store, as_="bytes"))


def _bytes(value: object) -> Iterator[bytes]:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise UsageError(f"a {type(value).__name__} has no bytes of its own")
    yield bytes(value)


def _json_text(value: Any) -> bytes:
    import json

    return json.dumps(getattr(value, "value", value), ensure_ascii=False).encode("utf-8", "surrogatepass")
