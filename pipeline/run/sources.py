"""Where `aq.read` finds its artifacts: the folder and HEAD for a run, a commit for everything else.

Invariant: what a read found is kept as a `Source`, so that a run can say what it was made from.
A made or given path wins over a file of the folder; a revision before a colon pins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os.path import lexists
from pathlib import Path
from shlex import quote
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Protocol

from aq.formats import partitions
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact as Record, Source
from aq.pipeline.flow.graph import Read
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.head import head
from aq.pipeline.step import gathering
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.folder import unfinished
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


class Reader(Protocol):
    """Finds the artifact of a read, and remembers it."""

    sources: dict[int, Source]

    def __call__(self, read: Read) -> Digest:
        """The artifact. Raises NotFound."""


class FolderReader:
    """Reads for a run: the folder's files now, other flows' paths as of `snapshot`.

    `edits` are the entries of files that were read: what the run's commit tracks; `gathered` the steps that
    brought partitions together, by what was asked for; `also` made paths that the snapshot is to have;
    `earlier` the typed params of this command's runs that HEAD does not have yet, by where results lie.
    """

    def __init__(
        self, repo: Repo, snapshot: Digest, space: str, earlier: gathering.Runs | None = None
    ) -> None:
        self._repo = repo
        self._snapshot = snapshot
        self._space = space
        self._earlier = dict(earlier or {})
        self.sources: dict[int, Source] = {}
        self.edits: dict[str, Entry] = {}
        self.gathered: dict[str, Digest] = {}
        self.also: Mapping[str, Digest] = {}

    def __call__(self, read: Read) -> Digest:
        """See `Reader`."""
        source, entry = self._find(read)
        self.sources[read.index] = source
        if entry is not None:
            self.edits[source.path] = entry
        return Digest(source.artifact)

    def _find(self, read: Read) -> tuple[Source, Entry | None]:
        options = {key: repr(value) for key, value in read.options.items()}
        pinned = _pinned(self._repo.store, read)
        if pinned is not None:
            return pinned, None
        if is_outside(read.path, self._repo.root):
            return self._outside(read)
        path = self._repo.worktree.relative(read.path, self._repo.root)
        entry = snapshots.get_entry(self._repo.store, self._snapshot, path)
        if entry is None and gathering.is_pattern(path):
            return self._gathered(read, path), None
        if entry is not None and entry.origin is not Origin.FILE:
            if entry.origin is Origin.MADE and partitions.space_of(path) == self._space:
                raise UsageError(
                    f"{read.where}: {path} is made by this very flow: pass the op's result instead"
                )
            origin = entry.origin.name.lower()
            return Source(path=path, artifact=entry.artifact, origin=origin, options=options), None
        path = self._followed(read, path)
        place = self._repo.root / path
        if place.is_dir() or not lexists(place):
            raise self._missing(read, path, tracked=entry is not None)
        with unfinished.held(self._repo.worktree, alone=False):
            file = self._repo.worktree.store_file(path)
        return Source(path=path, artifact=file.artifact, options=options), file

    def _gathered(self, read: Read, path: str) -> Source:
        """All partitions of a path, brought together."""
        store, at = self._repo.store, head(self._repo.store).id
        runs = {**(facts.of(store, at).flows if at else {}), **self._earlier}
        found = gathering.parts(store, self._snapshot, path, runs, self.also)
        gathering.require(found, path, read.where)
        artifact, self.gathered[path] = gathering.gathered(store, found)
        return Source(path=path, artifact=artifact, origin="made")

    def _followed(self, read: Read, path: str) -> str:
        """The path of the file that a symbolic link leads to; links themselves hold no data."""
        root = self._repo.root.resolve()
        place = root / path
        if not place.is_symlink() or not place.exists():
            return path
        goal = place.resolve()
        if not goal.is_relative_to(root):
            raise UsageError(
                f"{read.where}: {path} is a link out of the repository: read its target under a name",
                hint=f'aq.read("{goal}", name="{path}")',
            )
        return goal.relative_to(root).as_posix()

    def _outside(self, read: Read) -> tuple[Source, Entry | None]:
        if read.name is None:
            name = Path(read.path).name
            raise UsageError(
                f"{read.where}: {read.path} lies outside the repository: it needs a name",
                hint=f'aq.read("{read.path}", name="data/{name}")',
            )
        from aq.formats.contents.files import encode_stream

        place = Path(read.path)
        place = place if place.is_absolute() else self._repo.root / place
        try:
            with place.open("rb", buffering=0) as stream:
                artifact = put_record(self._repo.store, encode_stream(stream, self._repo.store))
        except OSError as error:
            raise NotFound(f"{read.where}: {read.path} cannot be read: {error.strerror}") from None
        name = self._repo.worktree.relative(read.name, self._repo.root)
        options = {key: repr(value) for key, value in read.options.items()}
        source = Source(path=name, artifact=artifact, origin="given", options=options, outside=str(place))
        return source, Entry(artifact, Origin.GIVEN)

    def _missing(self, read: Read, path: str, *, tracked: bool) -> NotFound:
        from difflib import get_close_matches

        folder = self._repo.root / path
        if folder.is_dir():
            return NotFound(f"{read.where}: {path or '.'} is a folder: read its files one by one")
        if tracked:
            text = f"{read.where}: {path} is gone from the folder"
            return NotFound(text, hint=f"aq restore {quote(path)}")
        known = [name for name, _ in snapshots.entries(self._repo.store, self._snapshot)]
        beside = folder.parent
        if beside.is_dir():
            prefix = path.rpartition("/")[0]
            known += [f"{prefix}/{one.name}" if prefix else one.name for one in beside.iterdir()]
        near = get_close_matches(path, known, n=1, cutoff=0.6)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return NotFound(f"{read.where}: no path {path!r} in the folder or at HEAD{guess}", hint="aq ls")


class CommitReader:
    """Reads for a reproduction or a probe: only what a commit holds, or what a run of it read."""

    def __init__(
        self, store: Store, snapshot: Digest, recorded: Sequence[Source], commit: Digest | None = None
    ) -> None:
        self._store = store
        self._commit = commit
        self._snapshot = snapshot
        self._pinned = [source for source in recorded if source.pinned]
        self._recorded = {source.path: source for source in recorded if not source.pinned}
        self.sources: dict[int, Source] = {}

    def __call__(self, read: Read) -> Digest:
        """See `Reader`."""
        known = self._recorded.get(read.label) or next(
            filter(partial(freshness.pins, read.path), self._pinned), None
        )
        source = known or _pinned(self._store, read) or self._found(read)
        self.sources[read.index] = source
        return Digest(source.artifact)

    def _found(self, read: Read) -> Source:
        entry = snapshots.get_entry(self._store, self._snapshot, read.label)
        if entry is not None:
            return Source(path=read.label, artifact=entry.artifact, origin=entry.origin.name.lower())
        if not gathering.is_pattern(read.label):
            raise NotFound(f"{read.where}: this commit holds no {read.label}", hint="aq ls REV")
        runs = facts.of(self._store, self._commit).flows if self._commit else {}
        found = gathering.parts(self._store, self._snapshot, read.label, runs)
        gathering.require(found, read.label, read.where)
        return Source(
            path=read.label, artifact=gathering.gathered(self._store, found).artifact, origin="made"
        )


def value(repo: Repo, path: str, name: str | None, options: Mapping[str, Any]) -> Any:
    """What `aq.read` gives outside a flow: the value, read from the same place, stored nowhere."""
    from aq.pipeline.step import inputs

    read = Read(path=path, name=name, options=options, where="aq.read", index=0)
    reader = FolderReader(repo, head(repo.store).snapshot, space="")
    artifact = reader(read)
    record = get_record(repo.store, Record, artifact)
    label = path.rpartition(":")[2]
    folder = Path(mkdtemp(prefix="aq-read-"))
    found = inputs.native(repo.store, record, label, options, folder)
    place = _place(repo, reader.sources[read.index])
    if isinstance(found, Path) and place is None:
        return found  # a copy of what lies only in the store: the caller's to delete
    rmtree(folder, ignore_errors=True)
    return place if isinstance(found, Path) else found


def _place(repo: Repo, source: Source) -> Path | None:
    """Where the file that was read lies, or None where only the store has it."""
    if source.outside:
        return Path(source.outside)
    return repo.root / source.path if source.origin == "file" and not source.pinned else None


def is_outside(path: str, root: Path) -> bool:
    """Whether a path as written in a flow leads out of the repository."""
    if not path.startswith(("/", "..", "~")):
        return False
    place = Path(path) if path.startswith("/") else root / path
    try:
        place.resolve().relative_to(root.resolve())
    except ValueError:
        return True
    return False


def _pinned(store: Store, read: Read) -> Source | None:
    """The source that a flow pins. Raises NotFound, with the line of the flow."""
    try:
        return pinned_source(store, read.path)
    except NotFound as error:
        raise NotFound(f"{read.where}: {error.message}", hint=error.hints) from None


def pinned_source(store: Store, text: str) -> Source | None:
    """The source that `REV:PATH` pins; None where there is no such revision in front of a colon."""
    revision, path = revisions.split_path(store, text)
    if revision is None or path is None:
        return None
    from aq.pipeline.look.show import locate

    at = revisions.resolve(store, revision)
    if gathering.is_pattern(path):
        found = gathering.parts(store, at.snapshot, path, facts.runs_at(store, at))
        gathering.require(found, path)
        artifact = gathering.gathered(store, found).artifact
        return Source(path=path, artifact=artifact, origin="made", pinned=revision)
    full, entry = locate(store, at, path)
    return Source(path=full, artifact=entry.artifact, origin=entry.origin.name.lower(), pinned=revision)
