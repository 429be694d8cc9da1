"""Whether the stat cache tells what files hold (docs/format.md, I28).

Invariant: rows are looked at a page at a time. A row about a file that has changed since says nothing
any more, and is no damage; one about this very state of a file is compared with its bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Final

from aq.formats.errors import AqError, Damaged
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Origin
from aq.store.folder.content import HashOnly, read_state, stat_of
from aq.store.folder.folders import join, list_folder
from aq.store.folder.ignore import CONTROL
from aq.store.folder.statcache import StatCache, mode_of
from aq.store.frames import statblocks
from aq.store.frames.statblocks import DATABASE
from aq.store.store import Store
from aq.store.system import paths
from aq.store.system.stats import STAT_SIZE
from aq.store.upkeep.findings import REBUILD, Finding

_PAGE: Final = 256


def stat_findings(store: Store, *, full: bool) -> Iterator[Finding]:
    """Rows that are none, and with `full` files that hold something else than their row says."""
    start, page = b"", _PAGE
    while page == _PAGE:
        with store.index.look() as look:
            rows = list(islice(look.items(DATABASE, start=start), _PAGE))
        page = len(rows)
        for key, value in rows:
            yield from _block(key, value)
        start = rows[-1][0] + b"\0" if rows else b""
    if full:
        yield from _folder(store)


def _block(key: bytes, value: bytes) -> Iterator[Finding]:
    block = statblocks.decode(key, value)
    if block is None:
        shown = paths.show(paths.decode(key[statblocks.FOLDER_KEY_SIZE :]))
        yield Finding("stat", shown, "a block of the stat cache does not match its checksum", REBUILD)
        return
    for name, row in block.each():
        problem = _row_problem(row)
        if problem:
            shown = paths.show(paths.decode(name))
            yield Finding("stat", shown, f"a row of the stat cache {problem}", REBUILD)


def _row_problem(row: bytes) -> str:
    """Why this is no row, or ""."""
    try:
        entry = snapshots.unpack(row[STAT_SIZE:])
    except Damaged:
        return "has no entry"
    if entry.origin is not Origin.FILE or entry.mode is not mode_of(row[:STAT_SIZE]):
        return "has an entry that does not go with its stat"
    return ""


def _folder(store: Store) -> Iterator[Finding]:
    """Compare the files of the folder, each folder with its rows."""
    root, cache = os.fsencode(store.root), StatCache(store.index)
    stack = [b""]
    while stack:
        folder = stack.pop()
        rows = cache.folder(folder)
        for name in _names(root, folder):
            path = join(folder, name)
            if name in rows:
                yield from _file(root, path, rows[name])
            elif name not in CONTROL and _is_folder(os.path.join(root, path)):
                stack.append(path)


def _names(root: bytes, folder: bytes) -> list[bytes]:
    try:
        return list_folder(os.path.join(root, folder))
    except AqError:
        return []


def _is_folder(full: bytes) -> bool:
    return os.path.isdir(full) and not os.path.islink(full)


def _file(root: bytes, path: bytes, row: bytes) -> Iterator[Finding]:
    try:
        if stat_of(os.path.join(root, path)) != row[:STAT_SIZE]:
            return
        state = read_state(root, path, HashOnly())
    except AqError:
        return  # it cannot be read, or never rests: no row can be about that
    if state is not None and state[0] == row[:STAT_SIZE] and state[1] != row[STAT_SIZE:]:
        shown = paths.show(paths.decode(path))
        yield Finding("stat", shown, "the stat cache takes it for another file than it is", REBUILD)
