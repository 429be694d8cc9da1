"""What `aq add` and `aq remove` do: new rules out of old ones, after looking at the folder.

Invariant: no content is stored, except that of files to be deleted. The caller sets ref
`tracking` to what is returned here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from aq.formats.errors import Unstorable, UsageError
from aq.formats.identity import Digest
from aq.formats.trees.prolly import map_get
from aq.store.commits import snapshots
from aq.store.commits.refs import TRACKING, Ref
from aq.store.folder import tracking
from aq.store.folder.folders import CONTROL_FOLDER, SPECIAL, is_real_folder
from aq.store.folder.ignore import Scopes
from aq.store.folder.scan import Scan
from aq.store.folder.tracking import ADD, FORCE, REMOVE, Rule, Tracking
from aq.store.system.paths import ancestors, decode, from_user, outermost, show

if TYPE_CHECKING:
    from aq.store.folder.checkout import Rewrite
    from aq.store.folder.worktree import Worktree


class Marks(NamedTuple):
    """New pending rules.

    `ref`: what ref `tracking` becomes (None: removed), `expect`: what it was. `paths`: the files that
    are tracked, or not, from now on. `files`: what is deleted from the folder, for `undo`; `rewrite`: the
    deletion, to be applied once the operation is durable, where that was asked for.
    """

    ref: Ref | None
    expect: Ref | None
    paths: list[str]
    notes: list[str]
    files: Digest | None = None
    rewrite: Rewrite | None = None


def adding(work: Worktree, chosen: Sequence[str], *, force: bool) -> Marks:
    """Track files, and everything in folders that is not ignored. Raises NotFound, UsageError, Unstorable."""
    head, old = work.head(), work.tracking()
    rules: dict[bytes, Rule] = {}
    scopes = Scopes(work.root)
    for path in map(from_user, chosen):
        _require_trackable(work, head, path)
        if not force and path and scopes.ignores(path):
            _require_known(work, head, path)
        if force or not _is_kept(work, head, old, path):
            rules[path] = FORCE if force else ADD
    new = old.dropping(map(from_user, chosen)).adding(rules)
    places = outermost(map(from_user, chosen))
    after = _scan(work, head, new)
    added: set[bytes] = set()
    for place in places:
        added |= _tracked(after, new, place) - _tracked_before(work, head, old, place)
    return _marks(work, new, sorted(added), after.notes)


def removing(work: Worktree, chosen: Sequence[str], *, delete: bool) -> Marks:
    """Stop tracking files and what lies in folders. Raises UsageError if nothing there is tracked."""
    head, old = work.head(), work.tracking()
    places = outermost(map(from_user, chosen))
    gone: set[bytes] = set()
    rules: dict[bytes, Rule] = {}
    scan = _scan(work, head, old)
    for path in places:
        found = _tracked(scan, old, path)
        if not found:
            raise work.not_tracked(path, head)
        gone |= found
        inherited = old.rule(path.rpartition(b"/")[0]) if path else None
        if inherited in (ADD, FORCE) or any(map(snapshots.is_file, _values(work, head, path))):
            rules[path] = REMOVE
    marks = _marks(work, old.dropping(places).adding(rules), sorted(gone), [])
    if not delete:
        return marks
    rewrite = work.prepare_delete(sorted(gone))
    return marks._replace(files=rewrite.files, rewrite=rewrite)


def _marks(work: Worktree, new: Tracking, changed: list[bytes], notes: list[str]) -> Marks:
    id = tracking.save(work.store, new)
    expect = work.store.refs().get(TRACKING)
    return Marks(Ref(id) if id else None, expect, [decode(path) for path in changed], notes)


def _values(work: Worktree, head: Digest, path: bytes) -> Iterable[bytes]:
    return (value for _, value in snapshots.packed_entries(work.store, head, prefix=path))


def _scan(work: Worktree, head: Digest, rules: Tracking) -> Scan:
    """A pass that finds every tracked file, known or not."""
    return Scan(work.store, head, work.root, None, rules, untracked=False)


def _tracked(scan: Scan, rules: Tracking, place: bytes) -> set[bytes]:
    """The tracked files at and below a place, in the folder or only in HEAD."""
    tracked: set[bytes] = set()
    for folder, found in scan.batches(place):
        if rules.has_below(folder):
            tracked.update(one.path for one in found if rules.rule(one.path) != REMOVE)
        elif rules.rule(folder) != REMOVE:
            tracked.update([one.path for one in found])
    return tracked


def _tracked_before(work: Worktree, head: Digest, old: Tracking, place: bytes) -> set[bytes]:
    """As `_tracked`, of the rules so far; where there are none HEAD alone says it."""
    if old.rule(place) is not None or old.has_below(place):
        return _tracked(_scan(work, head, old), old, place)
    known = snapshots.packed_entries(work.store, head, prefix=place)
    return {path for path, value in known if snapshots.is_file(value)}


def _is_kept(work: Worktree, head: Digest, old: Tracking, path: bytes) -> bool:
    """Whether dropping the rules on a path is enough to have it tracked: HEAD has the file."""
    value = map_get(work.store, head, path)
    if value is None or not snapshots.is_file(value) or is_real_folder(work.root, path):
        return False
    return old.rule(path.rpartition(b"/")[0]) is None


def _require_trackable(work: Worktree, head: Digest, path: bytes) -> None:
    full = os.path.join(work.root, path)
    try:
        kind = stat.S_IFMT(os.lstat(full).st_mode)
    except OSError:
        raise work.missing(decode(path), head) from None
    name = show(decode(path))
    if kind in SPECIAL:
        raise Unstorable(f"{name} is {SPECIAL[kind]}: only files, folders and links can be tracked")
    for folder in [*([path] if kind == stat.S_IFDIR and path else []), *ancestors(path)]:
        if os.path.lexists(os.path.join(work.root, folder, CONTROL_FOLDER)):
            where = show(decode(folder))
            raise UsageError(f"{where} is a repository of its own", hint=f"aq -C {where} status")
    value = map_get(work.store, head, path) if path else None
    if value is not None and not snapshots.is_file(value) and kind != stat.S_IFDIR:
        raise work.taken(path)


def _require_known(work: Worktree, head: Digest, path: bytes) -> None:
    """An ignored path may only be added without force if HEAD has it."""
    value = map_get(work.store, head, path)
    if value is None or not snapshots.is_file(value):
        name = show(decode(path))
        raise UsageError(f"{name} is ignored", hint=f"aq add -f {name}")
