"""A disk that is full, fails or writes less than it was asked to (docs/faults.md, resources)."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from aq.store.system import disk

from tests.cli.shell import Shell
from tests.faults import points
from tests.faults.cases import CASES, Prepared, prepared
from tests.faults.mounting import unshare
from tests.faults.oracle import check_oracle, copy_of
from tests.faults.points import Told, at, in_child

CODES = {
    "full": (errno.ENOSPC, "create write mkdir rename symlink"),
    "failing": (errno.EIO, "fsync"),
    "fails anywhere": (errno.EIO, ""),
}


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    with points.memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def known(memory: Path) -> dict[str, Prepared]:
    """Cases as they are asked for, each prepared once."""
    return {}


def case(known: dict[str, Prepared], memory: Path, name: str) -> Prepared:
    if name not in known:
        known[name] = prepared(next(case for case in CASES if case.name == name), memory)
    return known[name]


def refusals(one: Prepared, root: Path, calls: str) -> int:
    """How many changes of these sorts the case makes."""
    seen: list[str] = []
    copy_of(one.template, root)
    counted = Told()

    def body() -> int:
        def hook(call: str, path: str) -> None:
            seen.append(call)
            counted(sum(1 for call in seen if not calls or call in calls.split()))

        with disk.observed(hook):
            return one.case.play(root, lambda number: None)

    assert in_child(body) == 0
    return counted.number()


def play_refused(
    one: Prepared, n: int, what: str, root: Path, *, stays: bool = False
) -> tuple[int, int, str]:
    """Exit code, commands done, and what was said, where the n-th change is refused (or all from it on)."""
    code, calls = CODES[what]
    copy_of(one.template, root)
    told, log = Told(), root.parent / "log"

    def refuse(call: str, path: str) -> None:
        raise OSError(code, os.strerror(code))

    def from_then_on() -> disk.Hook:
        seen = 0

        def hook(call: str, path: str) -> None:
            nonlocal seen
            seen += 1
            if seen > n:
                refuse(call, path)

        return hook

    def body() -> int:
        with disk.observed(from_then_on() if stays else at(n, refuse, calls=calls)):
            return one.case.play(root, told)

    status = in_child(body, log)
    assert os.WIFEXITED(status), f"{what} {n}: died of {status}"
    return os.WEXITSTATUS(status), told.number(), log.read_text()


def survive(one: Prepared, n: int, what: str, root: Path, *, stays: bool = False) -> None:
    """One line, the right exit code, nothing lost; and afterwards the same command does its work."""
    code, done, said = play_refused(one, n, what, root, stays=stays)
    where = f"{one.case.name}, {what} at {n}: {code}\n{said}"
    assert "Traceback" not in said, where
    assert code in (0, 1), where
    if code == 0:  # what was refused is not needed, such as a row of the stat cache
        assert done == len(one.case.commands), where
        check_oracle(root, gc=one.case.gc)
        return
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and (os.strerror(CODES[what][0]) in errors[0] or "no space left" in errors[0]), (
        where
    )
    try:
        again = copy_of(root, root.parent / "again")
        one.judge(root, done)
        one.go_on(again, done)
    except AssertionError as error:
        raise AssertionError(f"{where}\n{error}") from error


@pytest.mark.parametrize("name", ["commit", "large", "run", "gc", "restore"])
def test_refused_once(known: dict[str, Prepared], memory: Path, name: str) -> None:
    one, some = case(known, memory, name), random.Random(name)
    for what, count in (("full", 2), ("failing", 1)):
        total = refusals(one, memory / "trial", CODES[what][1])
        for n in some.sample(range(total), min(count, total)):
            survive(one, n, what, memory / "trial")


@pytest.mark.parametrize("name", ["commit", "large", "run", "undo"])
def test_refused_for_good_and_then_mended(known: dict[str, Prepared], memory: Path, name: str) -> None:
    one, some = case(known, memory, name), random.Random(name)
    total = refusals(one, memory / "trial", "")
    for n in some.sample(range(total), min(2, total)):
        survive(one, n, "fails anywhere", memory / "trial", stays=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in CASES])
@pytest.mark.parametrize("what", CODES)
@pytest.mark.parametrize("stays", [False, True])
def test_refused_everywhere(
    known: dict[str, Prepared], memory: Path, name: str, what: str, stays: bool
) -> None:
    one = case(known, memory, name)
    for n in range(refusals(one, memory / "trial", "" if stays else CODES[what][1])):
        survive(one, n, what, memory / "trial", stays=stays)


# Calls that do less than they were asked


def short_calls(seed: int) -> Callable[[], None]:
    """Make every write of this process short, as a signal or a quota may."""
    some = random.Random(seed)
    write, pwrite, pwritev = os.write, os.pwrite, os.pwritev

    def some_of(size: int) -> int:
        return max(1, some.randrange(size + 1)) if size else 0

    def short_write(fd: int, data: bytes) -> int:
        view = memoryview(data).cast("B")
        return write(fd, view[: some_of(len(view))])

    def short_pwrite(fd: int, data: bytes, offset: int) -> int:
        view = memoryview(data).cast("B")
        return pwrite(fd, view[: some_of(len(view))], offset)

    def short_pwritev(fd: int, pieces: Sequence[bytes], offset: int, flags: int = 0) -> int:
        whole = b"".join(pieces)
        return pwritev(fd, [whole[: some_of(len(whole))]], offset, flags)

    def begin() -> None:
        os.write, os.pwrite, os.pwritev = short_write, short_pwrite, short_pwritev  # type: ignore[assignment]

    return begin


@pytest.mark.parametrize("name", ["commit", "large", "restore"])
def test_short_writes(known: dict[str, Prepared], memory: Path, name: str) -> None:
    one = case(known, memory, name)
    for seed in range(3):
        root = copy_of(one.template, memory / "trial")
        shorten = short_calls(seed)

        def body(root: Path = root, shorten: Callable[[], None] = shorten) -> int:
            shorten()
            return one.case.play(root, lambda number: None)

        assert in_child(body, memory / "log") == 0, (memory / "log").read_text()
        one.judge(root, len(one.case.commands))


@pytest.mark.parametrize("call", ["pwrite64", "pwritev", "write", "flock"])
def test_interrupted_calls_are_made_again(known: dict[str, Prepared], memory: Path, call: str) -> None:
    """EINTR at every other call of a whole command, LMDB's own among them."""
    one = case(known, memory, "commit")
    root = copy_of(one.template, memory / "trial")
    tracer = [*points.strace(), "-e", f"trace={call}", "-e", f"inject={call}:error=EINTR:when=1+2"]
    for words in (("add", "."), ("commit", "-m", "second")):
        done = subprocess.run(
            [*tracer, sys.executable, "-P", "-m", "aq", *words], cwd=root, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    check_oracle(root)


# What the disk does not give back


def packs_of(root: Path) -> list[Path]:
    return sorted((root / ".aq" / "packs").iterdir(), key=lambda path: path.stat().st_size)


def test_a_read_that_fails_names_the_object(known: dict[str, Prepared], memory: Path) -> None:
    one = case(known, memory, "large")
    root = copy_of(one.template, memory / "trial")
    pack = packs_of(root)[-1]
    for call in ("pread64", "preadv"):
        tracer = [*points.strace(), "-P", str(pack), "-e", f"trace={call}", "-e", f"inject={call}:error=EIO"]
        for words, code in (
            (("restore", "model.bin", "-o", str(memory / "copy")), 5),
            (("cat", "HEAD:model.bin"), 5),
        ):
            done = subprocess.run(
                [*tracer, sys.executable, "-P", "-m", "aq", *words], cwd=root, capture_output=True
            )
            said = done.stderr.decode()
            assert "Traceback" not in said, said
            if done.returncode == 0 and call == "preadv":
                continue  # this command reads otherwise
            assert done.returncode == code, (words, said)
            if code:
                assert pack.name in said or pack.stem in said, said
                assert "Input/output error" in said, said
    check_oracle(root)


# A real disk that is full

TIGHT = """
import json, os, subprocess, sys
from pathlib import Path

root, size = Path(sys.argv[1]), sys.argv[2]
control = root / ".aq"
told = []

def shell(command):
    subprocess.run(command, shell=True, check=True, cwd=root)

def aq(*words):
    command = [sys.executable, "-P", "-m", "aq", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    told.append([" ".join(words), done.returncode, done.stderr])

def fill():
    with open(control / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

shell("mv .aq held && mkdir .aq && mount -t tmpfs -o size=" + size + " tmpfs .aq && cp -a held/. .aq/")
aq("add", "big.bin")
aq("commit", "-m", "too much")
aq("status"); aq("log"); aq("fsck", "--full")
(root / "small.txt").write_text("small again")
aq("commit", "-m", "only this", "small.txt")
fill()
(root / "small.txt").write_text("and again")
aq("log"); aq("status"); aq("fsck", "--full"); aq("ops")
aq("commit", "-m", "on a full disk", "small.txt")
aq("gc")
aq("log"); aq("fsck")
os.unlink(control / "filler")
aq("commit", "-m", "there is room", "small.txt")
aq("gc"); aq("fsck", "--full")
print(json.dumps(told))
"""


@pytest.mark.parametrize("size", ["8m", pytest.param("128m", marks=pytest.mark.slow)])
def test_a_real_disk_that_is_full(tmp_path: Path, size: str) -> None:
    alone = unshare()
    root = tmp_path / "repo"
    root.mkdir()
    shell = Shell(root)
    shell.aq("init")
    shell.commit("small.txt", "small", "first")
    with (root / "big.bin").open("wb") as file:
        for _ in range(int(size[:-1]) + 4):
            file.write(os.urandom(1 << 20))
    done = subprocess.run(
        [*alone, sys.executable, "-c", TIGHT, str(root), size], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for command, code, said in told:
        assert "Traceback" not in said and code >= 0, (command, said)
    codes = [(command.split()[0], code) for command, code, _said in told]
    assert codes == [
        ("add", 0), ("commit", 1), ("status", 0), ("log", 0), ("fsck", 0), ("commit", 0),
        ("log", 0), ("status", 0), ("fsck", 0), ("ops", 0), ("commit", 1), ("gc", 0), ("log", 0), ("fsck", 0),
        ("commit", 0), ("gc", 0), ("fsck", 0),
    ], json.dumps(told, indent=1)  # fmt: skip
    for command, code, said in told:
        if code:
            assert said.startswith("error: no space left for ") and said.count("error:") == 1, (command, said)
