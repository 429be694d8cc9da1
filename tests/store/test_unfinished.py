"""An interrupted rewrite of the folder is finished by the next command on it, and never recorded as it is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aq.formats.errors import AqError, Conflict
from aq.pipeline.repo import Repo
from aq.store.folder import unfinished
from aq.store.store import Store
from aq.store.system import disk
from aq.store.transactions.rebuild import rebuild

from tests.pipeline.repository import context, create
from tests.store.scenario import in_child

HERE = {f"{name}.txt": f"here {name}" for name in "abcdefgh"}
THERE = {f"{name}.txt": f"there {name}" for name in "abcdefghi"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Branches `main` and `there`; the folder is at main."""
    with create(tmp_path / "repo") as repo:
        write(repo.root, HERE)
        repo.add(".")
        repo.commit(message="here")
        repo.switch("there", create=True)
        write(repo.root, THERE)
        repo.add(".")
        repo.commit(message="there")
        repo.switch("main")
        return repo.root


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).write_text(text)


def lying(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in root.glob("*.txt")}


def open_repo(root: Path) -> Repo:
    return Repo(Store.open(root), context(root))


def interrupt(root: Path, do: Callable[[Repo], object], act: Callable[[], object], *, after: int = 3) -> int:
    """Do it in a child, and `act` where the fourth file of the folder would appear. The child's status."""

    def body() -> None:
        seen = 0

        def hook(call: str, path: str) -> None:
            nonlocal seen
            if call == "rename" and path.endswith(".txt"):
                seen += 1
                if seen == after + 1:
                    act()

        with open_repo(root) as repo, disk.observed(hook):
            do(repo)

    return in_child(body)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def half(root: Path) -> Path:
    """Killed in the middle of `aq switch there`."""
    assert os.WIFSIGNALED(interrupt(root, lambda repo: repo.switch("there"), kill))
    assert 0 < sum(lying(root).get(name) == text for name, text in THERE.items()) < len(THERE)
    return root


def test_status_says_so_and_changes_nothing(half: Path) -> None:
    before = lying(half)
    with open_repo(half) as repo:
        for _ in range(2):
            (note,) = repo.status().notes
            assert note.startswith("switch main to there was interrupted: 6 files still as before")
    assert lying(half) == before


@pytest.mark.parametrize("verb", ["commit", "switch", "restore", "run"])
def test_the_next_command_finishes_it_first(half: Path, verb: str) -> None:
    with open_repo(half) as repo:
        if verb == "commit":
            done = repo.commit(message="nothing of mine")
            assert not done.created
        elif verb == "run":
            (half / "flow.py").write_text(
                "import aq\n\n@aq.op\ndef one():\n    return 1\n\n@aq.flow\ndef f():\n    one()\n"
            )
            (done,) = repo.run("flow.py")
        else:
            done = repo.switch("there") if verb == "switch" else repo.restore(["a.txt"])
        assert any(
            note.startswith("finished what was interrupted: switch main to there, 6 files")
            for note in done.notes
        )
        assert lying(half) == THERE and repo.status().changes == []
        assert not unfinished.warnings(repo.worktree)


def test_undo_takes_back_what_was_done(half: Path) -> None:
    with open_repo(half) as repo:
        repo.undo()
        assert lying(half) == HERE and repo.status().branch == "main" and repo.status().notes == []
        repo.undo()
        assert lying(half) == THERE


def test_an_undo_that_is_refused_changes_nothing(half: Path) -> None:
    """What was edited since is in its way: then nothing else is finished or taken back either."""
    left = next(name for name, text in lying(half).items() if text == HERE.get(name))
    (half / left).write_text("mine")
    before = lying(half)
    with open_repo(half) as repo:
        with pytest.raises(Conflict, match=left):
            repo.undo()
        assert lying(half) == before and "was interrupted" in repo.status().notes[0]
        (half / left).write_text(HERE[left])
        repo.undo()
        assert lying(half) == HERE and repo.status().notes == []


def test_what_was_changed_since_stays(half: Path) -> None:
    left = next(name for name, text in lying(half).items() if text == HERE.get(name))
    (half / left).write_text("mine")
    (half / "i.txt").mkdir()
    (half / "i.txt" / "mine").write_text("mine")
    with open_repo(half) as repo:
        repo.restore([next(name for name in HERE if name != left)])
        assert (half / left).read_text() == "mine" and (half / "i.txt" / "mine").read_text() == "mine"
        assert {one.path for one in repo.status().changes} == {left, "i.txt"}


def test_a_refusal_or_a_signal_is_finished_by_the_same_process_too(root: Path) -> None:
    def refuse(call: str, path: str) -> None:
        if call == "rename" and path.endswith("d.txt"):
            raise OSError(28, "No space left on device")

    with open_repo(root) as repo:
        with disk.observed(refuse), pytest.raises(AqError, match="space"):
            repo.switch("there")
        assert lying(root) != THERE
        with disk.observed(refuse), pytest.raises(AqError, match="space"):
            repo.commit(message="not half of it")
        repo.restore(["a.txt"])
        assert lying(root) == THERE


def test_whoever_still_writes_is_left_alone(root: Path) -> None:
    pid = os.fork()
    if pid == 0:
        interrupt_here(root)
    try:
        deadline = time.monotonic() + 20
        while not (root / "stopped").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        before = lying(root)
        with open_repo(root) as repo:
            (note,) = repo.status().notes
            assert note.startswith("switch main to there is at work") and lying(root) == before
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with open_repo(root) as repo:
        assert len(repo.status().notes) == 1 and lying(root) == before


def interrupt_here(root: Path) -> None:
    try:

        def hook(call: str, path: str) -> None:
            if call == "rename" and path.endswith("d.txt"):
                (root / "stopped").touch()
                signal.pause()

        with open_repo(root) as repo, disk.observed(hook):
            repo.switch("there")
    finally:
        os._exit(1)


def test_content_that_is_lost_does_not_stop_the_rest(half: Path) -> None:
    with open_repo(half) as repo:
        lost = next(name for name, text in lying(half).items() if text == HERE.get(name))
        entry = repo.worktree.head()
        from aq.store.commits import snapshots

        found = snapshots.get_entry(repo.store, entry, lost)
        assert found is not None
        place = repo.store.index.place(found.artifact)
        assert place is not None
    path = half / ".aq" / "packs" / f"{place.pack.hex()}.pack"
    data = bytearray(path.read_bytes())
    data[place.offset + place.size - 1] ^= 1
    path.write_bytes(data)
    with open_repo(half) as repo:
        done = repo.switch("there")
        assert any("damaged" in note for note in done.notes)
        assert lying(half) == THERE | {lost: HERE[lost]} and repo.switch("there").notes == []


def test_a_rebuilt_index_does_not_know_of_it(half: Path) -> None:
    rebuild(str(half / ".aq"))
    before = lying(half)
    with open_repo(half) as repo:
        assert repo.status().notes == [] and len(repo.status().changes) == 6
        assert lying(half) == before
