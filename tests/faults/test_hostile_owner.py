"""A repository that belongs to somebody else: it is looked at, and neither written to nor executed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from aq.pipeline.repo import Repo
from msgspec.structs import replace

from tests.faults.crowd import context, created, opened

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of somebody else")
THEIRS, OURS = 64_001, 64_002
FLOW = """
import pathlib
import aq

pathlib.Path(__file__).with_name("loaded").touch()

class Model:
    pass

@aq.op
def model():
    return Model()

@aq.op
def number():
    return 1

@aq.flow
def made():
    model()
    number()
"""
LOAD = "import aq; print(aq.open().get('bad').load())"
LOOKS = [
    "status",
    "log",
    "show",
    "show made/number",
    "show bad",
    "diff HEAD~1..HEAD",
    "ls",
    "cat file",
    "ops",
    "runs",
    "logs model",
    "lineage made/model",
    "fsck",
    "fsck --full",
    "du",
    "gc -n",
    "branch",
    "tag",
    "metrics",
    "config",
]
REFUSED = [
    "run --force",
    "run flow.py -n -f",
    "worker",
    "repro HEAD:made/model",
    "commit -m x",
    "gc",
    "undo",
    "switch -c x",
    "restore file",
    "tag add x",
    "branch add x",
    "add loose",
    "remove file",
    "fsck --rebuild",
    "commit --run RUN -m x",
]


class Bomb:
    """Makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.canary,)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def root(place: Path) -> Path:
    """With a flow, a pickle that leaves a trace, a changed file; whose it is, the test says."""
    root = created(place / "repo")
    (root / "flow.py").write_text(FLOW)
    with opened(root) as repo:
        repo.run("flow.py")
        repo.commit({"bad": Bomb(root / "loaded")}, message="a pickle")
    (root / "file").write_text("changed")
    (root / "loose").write_text("untracked")
    (root / "loaded").unlink()
    return root


def give(root: Path, owner: int) -> None:
    for path in (root, *root.rglob("*")):
        os.lchown(path, owner, owner)


def call(root: Path, *words: str, user: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of `user` in this folder."""
    command = [sys.executable, "-P", *words]
    kept: Mapping[str, str] = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ
    }
    return subprocess.run(
        command,
        cwd=root,
        env={**kept, **environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        user=user,
        group=user,
        extra_groups=[],
    )


def aq(root: Path, words: str, *, user: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    return call(root, "-m", "aq", *words.split(), user=user, **environ)


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file, and when it was changed last."""
    return {
        str(path.relative_to(root)): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
    }


def test_looking_writes_nothing_and_executes_nothing(root: Path) -> None:
    give(root, THEIRS)
    before = contents(root)
    for words in LOOKS:
        done = aq(root, words)
        assert done.returncode == 0, (words, done.stderr)
        assert contents(root) == before, words


def test_whatever_writes_or_executes_is_refused(root: Path) -> None:
    with opened(root) as repo:
        run = repo.runs()[0].run
    give(root, THEIRS)
    before = contents(root)
    for words in REFUSED:
        done = aq(root, words.replace("RUN", run))
        lines = done.stderr.splitlines()
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        assert f"belongs to user {THEIRS}" in lines[0] and lines[1] == f"hint: export AQ_TRUST={root}", words
        assert contents(root) == before, words
    done = call(root, "-c", LOAD)
    assert "NotTrusted" in done.stderr and contents(root) == before


@pytest.mark.parametrize("how", ["AQ_TRUST", "any", "sudo"])
def test_whoever_says_so_trusts_it(root: Path, how: str) -> None:
    give(root, THEIRS)
    said = {
        "AQ_TRUST": {"AQ_TRUST": f"/nowhere:{root}"},
        "any": {"AQ_TRUST": "*"},
        "sudo": {"SUDO_UID": str(THEIRS)},
    }[how]
    assert aq(root, "commit -m x", **said).returncode == 0
    assert aq(root, "run --force", **said).returncode == 0
    (root / "loaded").unlink(missing_ok=True)
    assert call(root, "-c", LOAD, **said).returncode == 0 and (root / "loaded").exists()


def refused(user: int, root: Path, do: Callable[[Repo], object], environ: Mapping[str, str]) -> str:
    """Why it is refused when another user does it, "" if it is not. In a fork: Python may be root's."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            with Repo.find(root, replace(context(root), environ=environ)) as repo:
                do(repo)
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as said:
        text = said.read().decode()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def test_another_user(root: Path) -> None:
    def commit(repo: Repo) -> object:
        return repo.commit(message="x")

    give(root, THEIRS)
    for folder in (root, *root.rglob("*")):
        folder.chmod(folder.stat().st_mode | (0o777 if folder.is_dir() else 0o666))
    sudo = {"SUDO_UID": str(THEIRS)}
    assert refused(OURS, root, lambda repo: list(repo.log()), {}) == ""
    assert refused(OURS, root, lambda repo: repo.status(), {}) == ""
    assert refused(OURS, root, commit, sudo).startswith("NotTrusted: "), "that counts for root alone"
    assert refused(OURS, root, commit, {"AQ_TRUST": str(root)}) == ""
    assert refused(THEIRS, root, commit, {}) == ""


def test_what_root_keeps_is_trusted(root: Path) -> None:
    """It cannot be written to, but its models can be loaded."""

    def load(repo: Repo) -> object:
        return repo.get("bad").load()

    (root / "loaded").touch()
    (root / "loaded").chmod(0o666)
    assert refused(OURS, root, load, {}) == ""
    assert refused(OURS, root, lambda repo: repo.commit({"x": 1}), {}) != ""
    give(root, THEIRS)
    assert refused(OURS, root, load, {}).startswith("NotTrusted: ")


def test_a_link_to_a_repository_of_mine_is_theirs(root: Path, place: Path) -> None:
    """Its code would be theirs."""
    trap = place / "trap"
    trap.mkdir()
    (trap / "flow.py").write_text(FLOW)
    (trap / ".aq").symlink_to(root / ".aq")
    for path in (trap, *trap.iterdir()):
        os.lchown(path, THEIRS, THEIRS)
    done = aq(trap, "run flow.py --force")
    assert done.returncode == 1 and "belongs to" in done.stderr and not (trap / "loaded").exists()
