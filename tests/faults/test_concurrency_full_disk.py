"""A full disk: what nothing needs can still be collected, and then there is room again.

The index takes some pages to forget with: with nothing at all left, gc says so like any other command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aq.formats.errors import AqError

from tests.faults.crowd import SOURCE, created, opened
from tests.faults.oracle import check_oracle

CENTURY = 36_500 * 86_400 * 10**9
SIZE = 2 << 20
ROOM = 256 << 10
"""Less than any pack that has to be written again."""


def test_collecting_frees_a_full_disk(tmp_path: Path) -> None:
    """On a small file system of its own."""
    mount = f"mount -t tmpfs -o size=24m none {tmp_path}"
    if shutil.which("unshare") is None or run("unshare", "-Urm", "sh", "-c", mount).returncode:
        pytest.skip("no file system may be mounted here")
    script = f"{mount} && exec {sys.executable} -c '{SCRIPT}' {tmp_path}/repo"
    done = run("unshare", "-Urm", "sh", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=SOURCE, capture_output=True, text=True)


SCRIPT = "import sys; from tests.faults.test_concurrency_full_disk import full; full(sys.argv[1])"


def full(name: str) -> None:
    """In the new process: drop a branch with most of the bytes, fill the disk, collect, go on."""
    root = created(Path(name))
    kept = os.urandom(SIZE)
    with opened(root) as repo:
        repo.branch("add", "side")
        repo.switch("side")
        for number in range(4):
            (root / "large").write_bytes(os.urandom(SIZE))
            repo.add("large")
            repo.commit(message=f"{number}")
        repo.switch("main")
        (root / "large").write_bytes(kept)
        repo.add("large")
        acknowledged = repo.commit(message="kept").id
        repo.branch("remove", "side")
        repo.tag("add", "t")
    fill(root)
    with opened(root) as repo:
        (root / "large").unlink()
        fill(root)
        with pytest.raises(AqError, match="no space left"):
            repo.commit({"new": "x" * SIZE})
    os.truncate(root / "filler", (root / "filler").stat().st_size - ROOM)
    before = free(root)
    for turn in (1, 2):
        with opened(root, lambda turn=turn: time.time_ns() + turn * CENTURY) as repo:  # type: ignore[misc]
            repo.gc()
    assert free(root) - before > 3 * SIZE, (before, free(root))
    (root / "filler").unlink()
    check_oracle(root, acknowledged={acknowledged: {"file": b"first", "large": kept}})


def fill(root: Path) -> None:
    with open(root / "filler", "ab", buffering=0) as file:
        for size in (1 << 20, 4096, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def free(root: Path) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_bsize
