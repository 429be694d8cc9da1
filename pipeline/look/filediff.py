"""How two versions of a tracked file differ: as tables or models by its name, else keys, lines, sizes.

Invariant: content is parsed as data, never run; what cannot be parsed is compared as lines or bytes.
Unlike tables in the store, a table file is read whole: the cost follows its size.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any, Final

from aq.formats.errors import AqError
from aq.formats.objects import MemoryObjects, Source
from aq.formats.records import Artifact
from aq.pipeline.look.table_files import is_table_file, parsed

TEXT_MOST: Final = 4 << 20
"""Bytes: larger files are not compared line by line."""
_SNIFFED: Final = 8_192
_NO_END: Final = "\\ No newline at end of file"


def file_detail(path: str, before: Artifact, after: Artifact, source: Source) -> dict[str, Any]:
    """The `detail` of a file's diff."""
    detail: dict[str, Any] = {"size": {"from": before.size, "to": after.size}}
    detail |= _model_detail(path, before, after, source) or _table_detail(path, before, after, source)
    if detail.keys() - {"size", "unreadable"}:
        return detail
    if before.size > TEXT_MOST or after.size > TEXT_MOST:
        return {**detail, "binary": True}
    old, new = text_of(before, source), text_of(after, source)
    if old is None or new is None:
        return {**detail, "binary": True}
    keys = _changed_keys(old, new) if path.lower().endswith(".json") else None
    return {**detail, **(_line_detail(old, new) if keys is None else {"keys": keys})}


def _model_detail(path: str, before: Artifact, after: Artifact, source: Source) -> dict[str, Any]:
    """As models, whose tensors are read where they differ; where one of them is none, why."""
    from aq.formats.models.files import compare_files, is_model_file, unreadable

    if not is_model_file(path):
        return {}
    found = compare_files(path, before, after, source)
    return (
        _unreadable("model", unreadable(path, before, source), unreadable(path, after, source))
        if found is None
        else found
    )


def _unreadable(what: str, before: str | None, after: str | None) -> dict[str, Any]:
    """That a version is a table or a model by its name alone, and why."""
    return {"unreadable": {"as": what, "from": before, "to": after}} if before or after else {}


def _table_detail(path: str, before: Artifact, after: Artifact, source: Source) -> dict[str, Any]:
    """As tables; where one of them is none, why."""
    if not all(is_table_file(path, record, source) for record in (before, after)):
        return {}
    from aq.formats.comparing.compare import compare_tables
    from aq.formats.tables import encode_table

    memory = MemoryObjects()
    sides: list[tuple[str, Artifact]] = []
    reasons: list[str | None] = []
    for record in (before, after):
        try:
            name, table = parsed(path, record, source)
            sides.append((name, encode_table(table, memory).artifact))
            reasons.append(None)
        except AqError as error:
            reasons.append(error.message.removeprefix(f"{path} "))
    if any(reasons):
        return _unreadable("table", *reasons)
    (name, old), (_, new) = sides
    return {"parsed": name, **compare_tables(old, new, memory)}


def text_of(record: Artifact, source: Source) -> str | None:
    """The content, if it is text."""
    from aq.formats.artifacts import values

    data = b"".join(values.file_bytes(record, source))
    if b"\0" in data[:_SNIFFED]:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _changed_keys(old: str, new: str) -> list[dict[str, Any]] | None:
    """The keys of two JSON objects whose values differ, with both; None where one is no object."""
    try:
        before, after = json.loads(old), json.loads(new)
    except (ValueError, RecursionError):
        return None
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None
    return list(_within("", before, after))


def _within(above: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in dict.fromkeys([*before, *after]):
        name, old, new = f"{above}{key}", before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _within(f"{name}.", old, new)
        elif key not in before:
            yield {"name": name, "change": "added", "from": None, "to": new}
        elif key not in after:
            yield {"name": name, "change": "removed", "from": old, "to": None}
        elif json.dumps(old) != json.dumps(new):  # 1 is neither True nor 1.0, at any depth
            yield {"name": name, "change": "changed", "from": old, "to": new}


def _line_detail(old: str, new: str) -> dict[str, Any]:
    diff = list(difflib.unified_diff(_lines(old), _lines(new), lineterm="", n=3))[2:]
    added = sum(line.startswith("+") for line in diff)
    removed = sum(line.startswith("-") for line in diff)
    return {"lines": {"added": added, "removed": removed}, "diff": "\n".join(diff)}


def _lines(text: str) -> list[str]:
    """The lines without their line feeds, but with all else at their ends; the last says if it has none."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}\n{_NO_END}"] if last else lines
