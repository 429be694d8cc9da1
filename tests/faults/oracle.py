"""What must hold after every fault, whatever happened.

(a) `aq fsck --full` finds no damage; (b) every commit whose command returned is reachable and holds
the bytes that it was given; (c) each ref has its old or its new value; (d) the next `aq commit` works
without any repair; (e) a collection whose grace is over leaves nothing behind.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from aq.formats.contents.files import stream_bytes
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Commit
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo
from aq.pipeline.step.keys import step_key
from aq.store.commits import history, snapshots
from aq.store.commits.refs import Ref
from aq.store.frames.pack_contents import read_header
from aq.store.frames.packs import PackFiles
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import collect

HOUR = 3_600 * 10**9
IN_CONTROL = {"format", ".gitignore", "config", "packs", "index", "tmp", "leases", "turns"}
IN_INDEX = {"data.mdb", "lock.mdb", "sums"}
_numbers = count(1)

Content = Mapping[str, bytes | str]
"""What a commit holds, by path: a tracked file's bytes; a value's artifact as 64 hexadecimal digits."""
Values = Mapping[str, Collection[str | None]]
"""By name of a ref the values it may have: an id in hexadecimal, another ref's name, or None: absent."""


@dataclass(frozen=True)
class Found:
    """What the repository held when the oracle came: refs (as in `Values`), and the files of each commit."""

    refs: Mapping[str, str | None] = field(default_factory=dict)
    commits: Collection[str] = ()


def check_oracle(
    root: Path,
    *,
    acknowledged: Mapping[str, Content] | None = None,
    refs: Values | None = None,
    gc: bool = True,
    now: int | None = None,
    fresh: bool = False,
) -> Found:
    """Ask everything of the repository in `root`; returns what it held before the oracle's own commit.

    `acknowledged`: by commit id (hexadecimal) everything that the commit holds; it must be reachable from a
    branch, a tag or HEAD. `refs`: a ref that is named here has one of the values given; without it nothing is
    asked of refs; others are free. `gc`: ask (e) too, at the time `now` (ns; default: an hour from now).
    `fresh`: do it in a new process, with the real commands; otherwise a store is opened anew in this one.
    The oracle commits a file named `oracle-N` and drops nothing else from the folder.
    """
    question = _Question(root, acknowledged or {}, refs or {}, gc, now or time.time_ns() + HOUR)
    return _in_a_fresh_process(question) if fresh else question.ask()


def refs_of(store: Store) -> dict[str, str | None]:
    """All refs as `Values` writes them."""
    return {name: _text(ref) for name, ref in store.refs().items()}


def reachable(store: Store) -> set[str]:
    """The commits that branches, tags and a detached HEAD lead to, in hexadecimal."""
    tips = [ref.id for name, ref in store.refs().items() if ref.id is not None and name != "tracking"]
    found: set[str] = set()
    while tips:
        id = tips.pop()
        if id.hex() not in found:
            found.add(id.hex())
            tips += map(Digest, get_record(store, Commit, id).parents)
    return found


def contents_of(store: Store, commit: bytes) -> dict[str, bytes | str]:
    """Everything that a commit holds, read and verified."""
    root = Digest(history.commit(store, Digest(commit)).snapshot)
    found: dict[str, bytes | str] = {}
    for path, entry in snapshots.entries(store, root):
        artifact = get_record(store, Artifact, entry.artifact)
        is_file = entry.origin is snapshots.Origin.FILE
        found[path] = b"".join(stream_bytes(artifact, store)) if is_file else str(Digest(entry.artifact))
    return found


def litter(root: Path) -> list[str]:
    """What no repository should hold while no aq runs: temporary files, leases, packs that nothing lists."""
    control = root / ".aq"
    found = [f".aq/{name}" for name in os.listdir(control) if name not in IN_CONTROL]
    found += [f"tmp/{name}" for name in os.listdir(control / "tmp")]
    found += [f"index/{n}" for n in os.listdir(control / "index") if n not in IN_INDEX]
    if (control / "leases").is_dir():
        found += [f"leases/{name}" for name in os.listdir(control / "leases")]
    found += [name for name in os.listdir(root) if name.startswith(".aq-")]
    return found + _unlisted(root)


def _unlisted(root: Path) -> list[str]:
    """Files in `packs/` that are neither a listed data pack nor the one journal of their ordinal."""
    files = PackFiles(str(root / ".aq" / "packs"))
    with Store.open(root) as store:
        listed = {name for name, _ in store.index.items("packs")}
        pointed = {decode_place(value).pack for _, value in store.index.items("objects")}
    names = files.names()
    journals: dict[int, bytes] = {}
    found = []
    for name in names:
        header = read_header(files.path(name))
        if header is not None and header.ordinal:
            if header.ordinal in journals:
                found.append(f"packs/{name.hex()}: a second journal {header.ordinal}")
            journals[header.ordinal] = name
        elif name not in listed:
            found.append(f"packs/{name.hex()}: not listed")
    assert pointed <= set(names), "the index points to packs that are not there"
    known = {f"{name.hex()}.pack" for name in names}
    return found + [f"packs/{name}" for name in os.listdir(files.folder) if name not in known]


def _text(ref: Ref) -> str | None:
    return ref.target if ref.id is None else str(Digest(ref.id))


@dataclass(frozen=True)
class _Question:
    root: Path
    acknowledged: Mapping[str, Content]
    refs: Values
    gc: bool
    now: int

    def ask(self) -> Found:
        with Store.open(self.root) as store:
            self._sound(store)
            found = self._look(store)
        self._commit(found)
        if self.gc:
            with Store.open(self.root) as store:
                collect(store, now=self.now, user="oracle", grace=0)
                self._sound(store)
                self._look(store, refs={})
            assert (left := litter(self.root)) == [], f"left over: {left}"
        return found

    def _sound(self, store: Store) -> None:
        """(a)."""
        problems = fsck(store, full=True, step_key=step_key).problems
        assert problems == [], f"damaged: {problems}"

    def _look(self, store: Store, refs: Values | None = None) -> Found:
        """(b) and (c)."""
        found = refs_of(store)
        for name, allowed in (self.refs if refs is None else refs).items():
            assert found.get(name) in allowed, (
                f"{name} is {found.get(name)}, not one of {sorted(map(str, allowed))}"
            )
        commits = reachable(store)
        for id, content in self.acknowledged.items():
            assert id in commits, f"commit {id} was acknowledged and is in no history"
            holds = contents_of(store, bytes.fromhex(id))
            assert holds.keys() == content.keys(), f"commit {id} holds {sorted(holds)}, not {sorted(content)}"
            for path, data in content.items():
                assert holds[path] == data, f"{path} in commit {id} has other bytes"
        return Found(found, commits)

    def _commit(self, before: Found) -> None:
        """(d)."""
        name, text = f"oracle-{os.getpid()}-{next(_numbers)}", os.urandom(40)
        (self.root / name).write_bytes(text)
        with Repo(Store.open(self.root), _context(self.root)) as repo:
            repo.add([name], force=True)
            done = repo.commit([name], message="the oracle")
        with Store.open(self.root) as store:
            id = bytes.fromhex(done.id)
            head = history.head(store)
            assert head.commit == id and contents_of(store, id)[name] == text
            parent = before.refs.get(f"branch/{done.branch}") if done.branch else before.refs.get("HEAD")
            assert done.parents == ([parent] if parent else [])


def _context(root: Path) -> Context:
    return Context(
        now=time.time_ns,
        offset=lambda now: 0,
        cwd=root,
        user="oracle",
        author="Oracle",
        argv=("aq", "oracle"),
    )


def _in_a_fresh_process(question: _Question) -> Found:
    """The real commands for (a), (d) and (e); (b) and (c) are read by a new interpreter."""
    root, name = question.root, f"oracle-{os.getpid()}-{next(_numbers)}"
    _aq(root, "fsck", "--full")
    asked = pickle.dumps(_Question(root, question.acknowledged, question.refs, False, question.now))
    (root / name).write_text(name)
    look = [sys.executable, "-c", "from tests.faults.oracle import answer; answer()"]
    source = Path(__file__).parents[2]
    done = subprocess.run(look, input=asked, cwd=source, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: Found = pickle.loads(done.stdout)
    _aq(root, "add", "-f", name)
    _aq(root, "commit", "-m", "the oracle", name)
    if question.gc:
        _aq(root, "config", "set", "gc.grace", "0s")
        _aq(root, "gc")
        _aq(root, "config", "set", "gc.grace", "")
        _aq(root, "fsck", "--full")
        assert (left := litter(root)) == [], f"left over: {left}"
    return found


def answer() -> None:
    """In the new interpreter: a question on standard input, what was found on standard output."""
    question: _Question = pickle.load(sys.stdin.buffer)
    with Store.open(question.root) as store:
        sys.stdout.buffer.write(pickle.dumps(question._look(store)))


def _aq(root: Path, *words: str) -> None:
    """A command that must succeed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "aq", *words],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"aq {' '.join(words)} → {done.returncode}\n{done.stdout}{done.stderr}"


def copy_of(template: Path, target: Path) -> Path:
    """A copy of a repository with its folder, times included, in place of what was there."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(template, target, symlinks=True))
