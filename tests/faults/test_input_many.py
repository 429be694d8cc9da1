"""Any number of files in one folder: recorded, found unchanged, one of them changed, restored."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from aq.store.store import Store

from tests.faults.cases import aq, run_aq, silent
from tests.faults.oracle import check_oracle
from tests.faults.points import memory

LATER = 1_800_000_000 * 10**9


def content(number: int) -> bytes:
    return b"%d\n" % number


def packed(root: Path) -> int:
    """Bytes of all packs."""
    return sum(one.stat().st_size for one in (root / ".aq" / "packs").iterdir())


def changes(root: Path) -> list[str]:
    from aq.pipeline.change.context import Context
    from aq.pipeline.repo import Repo

    context = Context(
        now=lambda: LATER, offset=lambda now: 0, cwd=root, user="ada@test", author="Ada <a@b.c>"
    )
    with Repo(Store.open(root), context) as repo:
        return [one.path for one in repo.status().changes]


@pytest.mark.parametrize("count", [3_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_one_folder_of_many_files(count: int) -> None:
    with memory() as folder, silent():
        root = folder / "r"
        data = root / "data"
        data.mkdir(parents=True)
        for number in range(count):
            (data / str(number)).write_bytes(content(number))
        aq(root, "init", "add data", "commit -m all")
        assert changes(root) == []
        before = packed(root)
        (data / "77").write_bytes(b"another\n")
        assert changes(root) == ["data/77"]
        assert run_aq(root, ["commit", "-m", "one"], time=LATER) == 0
        assert packed(root) - before < 100_000
        shutil.rmtree(data)
        assert run_aq(root, ["restore", "."], time=LATER) == 0
        with os.scandir(data) as entries:
            found = {int(entry.name) for entry in entries}
        assert found == {*range(count)}
        wrong = [n for n in found - {77} if (data / str(n)).read_bytes() != content(n)]
        assert wrong == [] and (data / "77").read_bytes() == b"another\n"
        assert changes(root) == []
        check_oracle(root)
