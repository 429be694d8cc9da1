"""A repository with a folder, driven as commands drive it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Commit, Git
from aq.store.commits import history, snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry
from aq.store.folder.checkout import Rewrite
from aq.store.folder.marks import Marks
from aq.store.folder.worktree import WorkStatus, Worktree
from aq.store.store import Store

SECOND = 1_000_000_000


class Bench:
    """Adds, commits and switches with a counted clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.create(root, time=SECOND, user="ada")
        self.work = Worktree(self.store)
        self.time = 100

    def reopen(self) -> None:
        """As the next process does."""
        self.store.close()
        self.store = Store.open(self.root)
        self.work = Worktree(self.store)

    def write(self, path: str, data: bytes | str = b"") -> Path:
        """A file with its folders; old enough to be trusted by the stat cache."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.encode() if isinstance(data, str) else data)
        return place

    def settle(self) -> None:
        """Wait until files written so far are older than the clock's next tick."""
        time.sleep(0.02)

    def refs(self, changes: Mapping[str, Ref | None], files: Digest | None = None) -> Digest:
        """One operation."""
        self.time += 1
        move = self.store.transaction("test", time=self.time * SECOND, user="ada")
        for name, ref in changes.items():
            move.set(name, ref)
        move.files = files
        return move.commit()

    def add(self, *paths: str, force: bool = False) -> list[str]:
        """Track."""
        return self._mark(self.work.add(paths, force=force))

    def remove(self, *paths: str, delete: bool = False) -> list[str]:
        """Untrack."""
        return self._mark(self.work.remove(paths, delete=delete))

    def _mark(self, marks: Marks) -> list[str]:
        self.refs({"tracking": marks.ref}, marks.files)
        return marks.paths

    def commit(self, message: str = "m", *paths: str, git: str = "", at: int | None = None) -> Digest:
        """Snapshot the folder."""
        root = self.work.snapshot(self.work.head(), paths=paths or None)
        return self.commit_snapshot(root, message, git=git, at=at)

    def commit_snapshot(
        self, root: Digest, message: str = "m", *, git: str = "", at: int | None = None
    ) -> Digest:
        """A commit of a snapshot on top of HEAD."""
        head = history.head(self.store)
        self.time += 1
        record = Commit(
            snapshot=root,
            time=self.time * SECOND if at is None else at,
            author="ada",
            message=message,
            parents=[head.commit] if head.commit else [],
            git=Git(commit=git) if git else None,
        )
        id = put_record(self.store, record)
        self.refs({head.branch or "HEAD": Ref(id), "tracking": None})
        return id

    def snapshot_of(self, commit: Digest) -> Digest:
        """A commit's snapshot."""
        return Digest(history.commit(self.store, commit).snapshot)

    def files(self, root: Digest) -> dict[str, Entry]:
        """All entries of a snapshot."""
        return dict(snapshots.entries(self.store, root))

    def status(self) -> WorkStatus:
        """The folder against HEAD."""
        return self.work.status(self.work.head())

    def changes(self) -> dict[str, str]:
        """What status lists as changed."""
        return dict(self.status().changes)

    def checkout(self, commit: Digest, *, force: bool = False) -> Rewrite:
        """Move HEAD's branch and the folder to a commit."""
        done = self.work.checkout(self.work.head(), self.snapshot_of(commit), force=force)
        self.refs({history.head(self.store).branch or "HEAD": Ref(commit)}, done.files)
        return done

    def lying(self) -> dict[str, bytes]:
        """Every file of the folder with its content; links as their target."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            if folder == str(self.root):
                folders.remove(".aq")
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in names + links:
                path = Path(folder) / name
                data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
                found[str(path.relative_to(self.root))] = data
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A new repository."""
    made = Bench(tmp_path / "repo")
    yield made
    made.store.close()
