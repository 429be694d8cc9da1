"""What is said of tracked files of columns: as files they cost their bytes, as values what changed in them.

Invariant: it tells, and decides nothing. Only names and sizes are looked at, of few files however many
changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from aq.formats.identity import Digest
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.store import Store
from aq.store.system.paths import show

_SUFFIXES: Final = (".parquet", ".pq")
_LEAST: Final = 1 << 20
"""New bytes that are worth a word."""
_LOOKED_AT: Final = 1_000


def told_of_new(paths: Sequence[str]) -> list[str]:
    """A note where some of these newly tracked files are Parquet."""
    found = [path for path in paths if _is_parquet(path)]
    return [f"{_files(found)}: each version costs its own bytes; {_as_value(found[0])}"] if found else []


def told_of_edits(store: Store, before: Digest, edits: Mapping[str, Entry | None]) -> list[str]:
    """The same of the files among edits that a snapshot does not have."""
    files = [path for path, entry in edits.items() if entry and entry.origin is Origin.FILE]
    found = filter(_is_parquet, files)
    return told_of_new([path for path in found if snapshots.get_entry(store, before, path) is None])


def told_of_changed(store: Store, before: Digest, after: Digest, new: int) -> list[str]:
    """A note where changed Parquet files made most of the `new` bytes of a commit."""
    if new < _LEAST:
        return []
    changes = snapshots.changes(store, before, after)
    sizes = {
        path: snapshots.artifact_size(store, entry.artifact)
        for path, old, entry in islice(changes, _LOOKED_AT)
        if old and entry and entry.origin is Origin.FILE and _is_parquet(path)
    }
    if not sizes or new < sum(sizes.values()) / 2:
        return []
    found = sorted(sizes, key=lambda path: -sizes[path])
    return [f"{_files(found)}: this version cost its own bytes again; {_as_value(found[0])}"]


def _is_parquet(path: str) -> bool:
    return path.lower().endswith(_SUFFIXES)


def _files(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return f"{show(paths[0])} is kept as a file"
    return f"{show(paths[0])} and {len(paths) - 1} more are kept as files"


def _as_value(path: str) -> str:
    import json

    name = json.dumps(str(PurePosixPath(path).with_suffix("")), ensure_ascii=False)
    return f"a table as a value costs what changed in it: repo.commit({{{name}: frame}})"
