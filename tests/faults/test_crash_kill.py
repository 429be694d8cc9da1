"""Killed at any change that the store makes, or at any system call: the oracle holds, others go on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.cases import CASES, Prepared, prepared
from tests.faults.points import SYSCALLS, killed_at_change, killed_at_syscall, memory, server, warm_up

MANY = 2_000
"""So many points at least are injected by `make soak`, without a single violation."""


@pytest.fixture(scope="module")
def cases() -> Iterator[list[Prepared]]:
    with memory() as folder:
        (folder / "warm").mkdir()
        warm_up(folder / "warm")
        yield [prepared(case, folder) for case in CASES]


def examine(one: Prepared, root: Path, done: int, where: str, *, again: bool, fresh: bool = False) -> None:
    """After a crash: the folder first, then the oracle at once, or the command again."""
    try:
        one.judge_folder(root, done)
        if again:
            one.go_on(root, done)
        else:
            one.judge_store(root, done, fresh=fresh)
    except BaseException as error:
        error.add_note(f"case {one.case.name}, killed at {where}, {done} commands done")
        raise


def kill_at_changes(cases: Sequence[Prepared], *, every: int = 1) -> int:
    """At each `every`-th change, from a random one on; returns the number of points."""
    points = 0
    for one in cases:
        root = one.template.parent / "r"
        n = random.randrange(every)
        while (done := killed_at_change(one, n, root)) is not None:
            examine(one, root, done, f"change {n}", again=(n // every) % 2 == 0, fresh=n % 97 == 96)
            points += 1
            n += every
    return points


def kill_at_syscalls(cases: Sequence[Prepared], syscalls: Sequence[str], *, every: int = 1) -> int:
    """The same for system calls, which the seam does not see all: LMDB's and the interpreter's own."""
    points = 0
    for syscall in syscalls:
        with server(syscall) as traced:
            for one in cases:
                root = one.template.parent / "r"
                n = 1 + random.randrange(every)
                while (done := killed_at_syscall(one, traced, n, root)) is not None:
                    examine(one, root, done, f"{syscall} {n}", again=(n // every) % 2 == 0)
                    points += 1
                    n += every
    return points


def test_killed_at_some_changes(cases: list[Prepared]) -> None:
    assert kill_at_changes(cases, every=37) > 15


def test_killed_at_some_system_calls(cases: list[Prepared]) -> None:
    """LMDB writes with pwrite64 and makes that durable with fdatasync: steps that the seam cannot see."""
    chosen = [one for one in cases if one.case.name in ("commit", "large", "gc", "switch")]
    assert kill_at_syscalls(chosen, ["pwrite64", "fdatasync"], every=13) > 3


@pytest.mark.soak
def test_killed_everywhere(cases: list[Prepared], capsys: pytest.CaptureFixture[str]) -> None:
    changes = kill_at_changes(cases)
    calls = kill_at_syscalls(cases, SYSCALLS)
    with capsys.disabled():
        print(f"\nkilled at {changes} changes and at {calls} system calls: no violation")
    assert changes + calls >= MANY
