"""Refused by the system once, at any change: one line, an exit code, nothing lost; trying again works."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aq.store import disk

from tests.faults.cases import CASES, Prepared, prepared
from tests.faults.oracle import copy_of
from tests.faults.points import Told, at, in_child, memory, server, warm_up

REFUSALS = {errno.ENOSPC: "create write mkdir rename symlink truncate", errno.EIO: ""}
"""By error: the calls that it comes from; "" is all."""


@pytest.fixture(scope="module")
def cases() -> Iterator[list[Prepared]]:
    with memory() as folder:
        (folder / "warm").mkdir()
        warm_up(folder / "warm")
        yield [prepared(case, folder) for case in CASES]


def refused_at(one: Prepared, code: int, n: int, root: Path) -> tuple[int, int, str, bool]:
    """Play the case, its n-th change refused once: exit code, commands done, what was told, if it was."""
    copy_of(one.template, root)
    done, reached, log = Told(), Told(), root.parent / "log"

    def refuse(call: str, path: str) -> None:
        reached(1)
        raise OSError(code, os.strerror(code))

    def body() -> int:
        with disk.observed(at(n, refuse, calls=REFUSALS[code])):
            return one.case.play(root, done)

    status = in_child(body, log)
    assert os.WIFEXITED(status), f"{one.case.name} ends with {status}"
    return os.WEXITSTATUS(status), done.number(), log.read_text(), bool(reached.number())


def examine(one: Prepared, root: Path, ended: int, done: int, told: str, *, again: bool) -> None:
    """A refusal is told in one line, or does not matter (a cache that is not written)."""
    errors = [line for line in told.splitlines() if line.startswith("error:")]
    assert "Traceback" not in told and ended in (0, 1), told
    assert len(errors) == (ended != 0), told
    if not ended:
        one.judge(root, len(one.case.commands))
        return
    one.judge_folder(root, done)
    if again:
        one.go_on(root, done)
    else:
        one.judge_store(root, done)


def refuse_everywhere(cases: Sequence[Prepared], *, every: int = 1) -> int:
    points = 0
    for one in cases:
        for code in REFUSALS:
            root, n = one.template.parent / "r", random.randrange(every)
            while True:
                ended, done, told, reached = refused_at(one, code, n, root)
                if not reached:
                    break
                try:
                    examine(one, root, ended, done, told, again=(n // every) % 2 == 0)
                except BaseException as error:
                    error.add_note(f"case {one.case.name}, {errno.errorcode[code]} at change {n}: {told}")
                    raise
                points += 1
                n += every
    return points


def test_refused_at_some_changes(cases: list[Prepared]) -> None:
    assert refuse_everywhere(cases, every=41) > 25


@pytest.mark.soak
def test_refused_everywhere(cases: list[Prepared], capsys: pytest.CaptureFixture[str]) -> None:
    points = refuse_everywhere(cases)
    with capsys.disabled():
        print(f"\nrefused at {points} changes: no violation")
    assert points > 1_000


@pytest.mark.slow
@pytest.mark.parametrize("syscall", ["pwrite64", "writev", "fdatasync", "fsync"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EINTR"])
def test_refused_by_the_kernel(cases: list[Prepared], syscall: str, error: str) -> None:
    """LMDB's own calls among them."""
    points = 0
    with server(syscall, f"error={error}") as traced:
        for one in cases:
            root, n = one.template.parent / "r", 1
            while n <= 12:
                copy_of(one.template, root)
                status, done = traced.play(one.case, root, n)
                assert os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1), (one.case.name, n, status)
                one.judge_folder(root, done)
                if os.WEXITSTATUS(status):
                    one.judge_store(root, done)
                    points += 1
                n += 1
    assert points or error == "EINTR" or syscall in ("fsync", "writev")
