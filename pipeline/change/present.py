"""What a flow is compared with at present: the folder's files, sources and code, and this environment.

Invariant: looking stores nothing and imports no user code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aq.formats.errors import NotFound
from aq.formats.records import Run, Source
from aq.pipeline.code.hidden_reads import ABSENT, Files, plain_id
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.head import Head
from aq.pipeline.step import gathering
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Origin

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


def present(repo: Repo, lookup: freshness.Lookup, run: Run | None = None) -> freshness.Present:
    """The folder's code and this environment, with sources as `lookup` finds them.

    `run`: the one whose code tells in which lines something changed.
    """

    def python_files() -> Iterator[str]:
        from aq.pipeline.code.load import Project

        return Project(repo.root).python_files()

    def read(path: str) -> bytes | None:
        try:
            return (repo.root / path).read_bytes()
        except (OSError, ValueError):
            return None

    def leads(path: str) -> str:
        place, root = os.path.realpath(repo.root / path), os.path.realpath(repo.root)
        return os.path.relpath(place, root).replace(os.sep, "/")

    files = Files(repo.root, file_ids(repo))
    before = code_before(repo, run)
    return freshness.Present(
        read,
        lookup,
        repo.context.environ,
        python_files,
        files.digest,
        leads,
        before,
        _amounts(repo, lookup),
        pins=True,
    )


def code_before(repo: Repo, run: Run | None) -> Callable[[str], bytes | None]:
    """The bytes that files of the project had at a run."""
    if run is None or run.code is None:
        return lambda path: None
    return freshness.code_reader(repo.store, run.code)


def _amounts(repo: Repo, lookup: freshness.Lookup) -> Callable[[Source], str]:
    def amount(source: Source) -> str:
        from aq.pipeline.step import amounts

        before = amounts.of_artifact(repo.store, source.artifact, source.path)
        now = lookup(source)
        if now is not None and repo.store.has(now):
            return amounts.change(before, amounts.of_artifact(repo.store, now, source.path))
        place = repo.root / (source.outside or source.path)
        try:
            with place.open("rb") as stream:
                parts = iter(lambda: stream.read(1 << 20), b"")
                return amounts.change(before, amounts.of_bytes(parts, source.path))
        except OSError:
            return ""

    return amount


def file_ids(repo: Repo) -> Callable[[str], str]:
    """The id of a file, by its place; known by its stat where it was looked at before."""
    prefix = os.path.join(repo.root, "")

    def look(place: str) -> str:
        if os.path.realpath(place) != place:  # what a link leads to is what was read
            return plain_id(place)
        inside = place.startswith(prefix)
        found = repo.worktree.look(repo.worktree.relative(place, repo.root) if inside else place)
        return ABSENT if found is None else bytes(found.artifact).hex()

    return look


def sources(repo: Repo, at: Head, *, strict: bool = False) -> freshness.Lookup:
    """What a source would be read as now: the folder's file, or HEAD's made or given artifact.

    `strict`: only where recording it would leave HEAD's entry as it is, its mode included.
    """

    def look(source: Source) -> bytes | None:
        if source.outside:
            return _outside(repo.root / source.outside)
        if source.pinned:
            return _pinned(repo, source)
        entry = snapshots.get_entry(repo.store, at.snapshot, source.path)
        if entry is not None and entry.origin is not Origin.FILE:
            return entry.artifact
        if entry is None and source.origin == "made" and gathering.is_pattern(source.path):
            runs = facts.of(repo.store, at.id).flows if at.id else {}
            return gathering.look(repo.store, at.snapshot, source.path, runs)
        found = repo.worktree.look(source.path)
        return found.artifact if found and not (strict and found != entry) else None

    return look


def _pinned(repo: Repo, source: Source) -> bytes | None:
    """What the revision that a flow pins holds now; None where there is none."""
    from aq.store import revisions

    try:
        at = revisions.resolve(repo.store, source.pinned)
    except NotFound:
        return None
    if gathering.is_pattern(source.path):
        return gathering.look(repo.store, at.snapshot, source.path, facts.runs_at(repo.store, at))
    entry = snapshots.get_entry(repo.store, at.snapshot, source.path)
    return None if entry is None else entry.artifact


def _outside(path: Path) -> bytes | None:
    """The id of a file outside the folder, read but not stored; None where it cannot be read."""
    try:
        return bytes.fromhex(plain_id(str(path)))
    except OSError:
        return None
