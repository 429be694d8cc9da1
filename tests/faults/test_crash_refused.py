"""Refused by the kernel once, in LMDB's own calls too: exit code 1, nothing lost; trying again works.

What the store's seam refuses is in `test_resources_disk`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from tests.faults.cases import CASES, Prepared, prepared
from tests.faults.oracle import copy_of
from tests.faults.points import memory, server, warm_up


@pytest.fixture(scope="module")
def cases() -> Iterator[list[Prepared]]:
    with memory() as folder:
        (folder / "warm").mkdir()
        warm_up(folder / "warm")
        yield [prepared(case, folder) for case in CASES]


def refuse(cases: Sequence[Prepared], syscall: str, error: str, points: Sequence[int]) -> int:
    """Refuse the n-th call of each case once; returns how many commands failed of it."""
    failed = 0
    with server(syscall, f"error={error}") as traced:
        for one in cases:
            root = one.template.parent / "r"
            for n in points:
                copy_of(one.template, root)
                status, done = traced.play(one.case, root, n)
                where = f"{one.case.name}, {error} at {syscall} {n}: status {status}"
                assert os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1), where
                if os.WEXITSTATUS(status):
                    failed += 1
                    one.judge_folder(root, done)
                    one.judge_store(root, done) if n % 2 else one.go_on(root, done)
    return failed


@pytest.mark.parametrize(("syscall", "error"), [("pwrite64", "ENOSPC"), ("fdatasync", "EIO")])
def test_refused_by_the_kernel(cases: list[Prepared], syscall: str, error: str) -> None:
    chosen = [one for one in cases if one.case.name in ("commit", "large", "run")]
    assert refuse(chosen, syscall, error, [2, 3, 5])  # the fifth: LMDB's meta page


@pytest.mark.slow
@pytest.mark.parametrize("syscall", ["pwrite64", "writev", "fdatasync", "fsync"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_refused_by_the_kernel_everywhere(cases: list[Prepared], syscall: str, error: str) -> None:
    assert refuse(cases, syscall, error, range(1, 13)) or syscall == "fsync"
