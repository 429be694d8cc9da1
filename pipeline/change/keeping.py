"""Keeping a repository in order: check it, bring it back from damage, say where its bytes are.

Invariant: checking and counting change nothing; a check reads a user's pickles as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aq.formats.errors import AqError
from aq.pipeline.change import settings
from aq.pipeline.records.inventory import (
    Because,
    Checked,
    Collected,
    Counts,
    DiskUsage,
    KeptFreed,
    Problem,
    Usage,
)
from aq.pipeline.step.keys import step_key
from aq.store.frames.layout import CONTROL, discover
from aq.store.store import Store
from aq.store.system import ownership
from aq.store.upkeep import du as counting, fsck as checking, gc as collecting
from aq.store.upkeep.findings import Finding
from aq.store.upkeep.mend import mend

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


def fsck(repo: Repo, *, full: bool, rebuild: bool) -> Checked:
    """Check everything; with `rebuild`, after making the index anew from the packs."""
    if rebuild:
        return check_rebuilt(repo, _mend(repo), full=full)
    return _checked(checking.fsck(repo.store, full=full, step_key=step_key), rebuilt=False)


def _mend(repo: Repo) -> list[Finding]:
    root = repo.store.root
    repo.store.before_executing()
    repo.close()
    repo.__dict__.pop("worktree", None)
    lost = mend(root)
    repo.store = Store.open(root, environ=repo.context.environ)
    return lost


def rebuild(folder: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Make the index of a repository that perhaps cannot be opened; what that cost.

    Raises Damaged, NotARepository, NotTrusted.
    """
    root = discover(folder)
    if (refused := ownership.stranger(root, f"{root}/{CONTROL}", environ)) is not None:
        raise refused
    return mend(root)


def check_rebuilt(repo: Repo, lost: Sequence[Finding], *, full: bool) -> Checked:
    """Check a repository whose index was made anew; what was lost and still lies in the folder is stored."""
    found = checking.fsck(repo.store, full=full, step_key=step_key, known=lost)
    if any(one.path is not None for one in found.problems) and _store_again(repo):
        _mend(repo)  # what had lost a part is whole again, and is to be listed
        found = checking.fsck(repo.store, full=full, step_key=step_key, known=lost)
    return _checked(found, rebuilt=True)


def _store_again(repo: Repo) -> bool:
    """Put the tracked files as they lie in the folder; whether that brought anything."""
    before = repo.store.new_bytes()
    try:
        repo.worktree.snapshot(repo.worktree.head())
        repo.store.flush()
    except AqError:
        return False  # the problems that were found are what there is to tell
    return repo.store.new_bytes() > before


def gc(repo: Repo, *, dry_run: bool) -> Collected:
    """Free what nothing needs, by the retention and grace of the configuration."""
    if not dry_run:
        repo.store.before_executing()
    done = collecting.collect(
        repo.store,
        now=repo.context.now(),
        user=repo.context.user,
        retention=settings.nanoseconds(repo.settings, "gc.retention"),
        grace=settings.nanoseconds(repo.settings, "gc.grace"),
        dry_run=dry_run,
    )
    return Collected(
        objects=KeptFreed(kept=done.kept.objects, freed=done.freed.objects),
        bytes=KeptFreed(kept=done.kept.bytes, freed=done.freed.bytes),
        waiting=Counts(**done.waiting._asdict()),
        because=[Because(reason=reason, **counts._asdict()) for reason, counts in done.reasons],
        expired=done.expired,
        dry_run=dry_run,
    )


def du(repo: Repo) -> DiskUsage:
    """Where the bytes are."""
    found = counting.usage(repo.store)
    return DiskUsage(
        bytes=found.bytes,
        objects=found.objects,
        unreferenced=found.unreferenced,
        index=found.indexed,
        refs=_shares(found.refs),
        paths=_shares(found.paths),
        flows=_shares(found.flows),
        kinds=_shares(found.kinds),
    )


def _shares(found: Sequence[counting.Share]) -> list[Usage]:
    return [Usage(**share._asdict()) for share in found]


def _checked(found: checking.Checked, *, rebuilt: bool) -> Checked:
    return Checked(
        objects=found.objects,
        bytes=found.bytes,
        problems=[Problem(**one._asdict()) for one in found.problems],
        unreferenced=found.garbage,
        full=found.full,
        rebuilt=rebuilt,
    )


def config(repo: Repo, name: str | None, value: str | None) -> dict[str, str]:
    """See `Repo.config`."""
    if name is not None:
        settings.require_known(name)
    if name is not None and value is not None:
        settings.save(repo.store.control, name, value)
        repo.__dict__.pop("settings", None)
    return {key: text for key, text in repo.settings.items() if name in (None, key)}
