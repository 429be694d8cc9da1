"""Few descriptors, little address space (docs/faults.md, resources)."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.oracle import check_oracle

MIB = 1 << 20


def limited(what: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (most, most))


def aq(root: Path, *words: str, limit: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    """A command under a limit; it never shows a traceback."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "aq", *words],
        cwd=root,
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def fill(root: Path, files: int) -> None:
    """Files of some sizes in many folders, deep ones among them."""
    some = random.Random(1)
    for number in range(files):
        folder = root / "data" / f"{number % 97}" / f"{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_bytes(some.randbytes(some.choice([0, 30, 900])) + b"%d" % number)
    deep = root / "data"
    for level in range(20):
        deep = deep / f"d{level}"
    deep.mkdir(parents=True)
    (deep / "deep.txt").write_text("deep")
    (root / "large.bin").write_bytes(some.randbytes(3 * MIB))


@pytest.mark.parametrize("files", [400, pytest.param(25_000, marks=pytest.mark.slow)])
def test_few_descriptors(tmp_path: Path, files: int) -> None:
    """Whatever the number of files, folders and packs, no command holds more than a handful of them open."""
    fill(tmp_path, files)
    limit = limited(resource.RLIMIT_NOFILE, 40 if files < 10_000 else 256)

    def done(*words: str) -> str:
        got = aq(tmp_path, *words, limit=limit)
        assert got.returncode == 0, f"{words}\n{got.stderr}"
        return got.stdout

    done("init")
    done("add", ".")
    done("commit", "-m", "all")
    for number in range(4 if files < 10_000 else 100):  # each a pack of its own
        (tmp_path / "large.bin").write_bytes(random.Random(number).randbytes(MIB + MIB // 8))
        done("commit", "-m", f"{number}", "large.bin")
    shutil.rmtree(tmp_path / "data")
    done("restore", "data")
    assert json.loads(done("--json", "status"))["data"]["changes"] == []
    done("fsck", "--full")
    done("gc")
    done("switch", "-c", "old")
    check_oracle(tmp_path)


def test_too_few_descriptors_are_one_line(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    fill(root, 60)
    free = limited(resource.RLIMIT_NOFILE, 256)
    for words in (("init",), ("add", "."), ("commit", "-m", "all")):
        assert aq(root, *words, limit=free).returncode == 0
    (root / "data" / "0" / "0" / "0.txt").write_text("changed")
    (root / "large.bin").write_bytes(random.Random(9).randbytes(2 * MIB))
    told = set()
    for most in (7, 9, 11):
        for words in (("status",), ("commit", "-m", "few")):
            done = aq(root, *words, limit=limited(resource.RLIMIT_NOFILE, most))
            if done.returncode and "error:" in done.stderr:  # below that Python itself does not start
                told.add(done.returncode)
                line = done.stderr.splitlines()[0]
                assert line.startswith("error: "), done.stderr
    assert told <= {1, 75} and told
    check_oracle(root)


def test_little_address_space(tmp_path: Path) -> None:
    """LMDB's large map, threads and buffers make do with what there is, or the error is one line."""
    root = tmp_path / "repo"
    root.mkdir()
    (root / "large.bin").write_bytes(random.Random(1).randbytes(40 * MIB))
    limit = limited(resource.RLIMIT_AS, 900 * MIB)
    for words in (("init",), ("add", "."), ("commit", "-m", "large")):
        done = aq(root, *words, limit=limit)
        assert done.returncode == 0, done.stderr
    wanted = (root / "large.bin").read_bytes()
    os.unlink(root / "large.bin")
    assert aq(root, "restore", "large.bin", limit=limit).returncode == 0
    assert (root / "large.bin").read_bytes() == wanted
    (root / "large.bin").write_bytes(wanted[::-1])
    for most in (90, 200):
        done = aq(root, "commit", "-m", "reversed", limit=limited(resource.RLIMIT_AS, most * MIB))
        if "error:" in done.stderr:
            assert done.returncode in (1, 75), done.stderr
    check_oracle(root)
