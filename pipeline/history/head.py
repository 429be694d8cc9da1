"""HEAD, read once: what a run, a commit and a comparison begin with.

Invariant: branch, commit and snapshot are those of one moment, whatever others publish meanwhile.
"""

from __future__ import annotations

import msgspec
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit
from aq.store.commits import snapshots
from aq.store.store import Store


class Head(msgspec.Struct, frozen=True):
    """Where HEAD points: a branch (None when detached), its commit (None when unborn), its snapshot."""

    branch: str | None
    id: Digest | None
    commit: Commit | None
    snapshot: Digest

    @property
    def ref(self) -> str:
        """The name of the ref that a commit moves."""
        return f"branch/{self.branch}" if self.branch else "HEAD"


def head(store: Store) -> Head:
    """Read HEAD once."""
    refs = store.refs()
    ref = refs.get("HEAD")
    branch, id = None, ref.id if ref else None
    if ref is not None and ref.target:
        branch = ref.target.removeprefix("branch/")
        found = refs.get(ref.target)
        id = found.id if found else None
    if id is None:
        return Head(branch, None, None, snapshots.empty(store))
    commit = get_record(store, Commit, id)
    return Head(branch, id, commit, Digest(commit.snapshot))
