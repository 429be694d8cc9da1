"""Killed while a second process reads or writes small files for a command: the oracle, the folder, the rest.

The sweeps of `test_crash_kill` count the changes of one process and so start no second one; here the command
kills itself at an answer of the second process, which may be in the middle of its next piece of work.
"""

from __future__ import annotations

import os
import random
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aq.store.folder import filling, intake, second, second_writer

from tests.faults.cases import Case, Prepared, aq, noise, prepared, silent, write
from tests.faults.oracle import copy_of
from tests.faults.points import Told, memory, warm_up

FILES, AT_A_TIME = 1_200, 16
pytestmark = pytest.mark.skipif(not second.is_of_use(), reason="one processor: no second process is started")


def uncommitted(root: Path) -> None:
    write(root, "first", "1")
    aq(root, "init", "add first", "commit -m first", "tag add empty")
    for number in range(FILES):
        write(root, f"data/{number % 7}/{number}", noise(number, 300))
    aq(root, "add data")


def committed(root: Path) -> None:
    """All files in a commit, none of them in the folder."""
    uncommitted(root)
    aq(root, "commit -m second", "tag add full", "branch add old empty", "switch old")


CASES = (
    Case("commit", uncommitted, [("commit", "-m", "second")]),
    Case("switch", committed, [("switch", "main")]),
)


def played(one: Prepared, root: Path, last: int) -> tuple[int, int]:
    """The case in a process that kills itself at its `last` answer: its wait status, the answers it heard."""
    copy_of(one.template, root)
    told = Told()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1], told.number()
    code = 99
    try:
        _have_helped(told, last)
        with silent():
            code = one.case.play(root, lambda number: None)
    finally:
        os._exit(code)


def _have_helped(told: Told, last: int) -> None:
    """Have a second process begin at the first files, in small pieces, and the rest wait until it has."""
    hear, begin, heard = second.Helper.hear, second.Helper.begin, 0

    def counted(helper: second.Helper[Any], *, wait: bool) -> Any:
        nonlocal heard
        found = hear(helper, wait=wait)
        heard += bool(found and found[1])
        told(heard)
        if heard and heard == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def begun(helper: second.Helper[Any], setup: bytes) -> None:
        begin(helper, setup)
        select.select([helper._child.stdout], [], [], 30)

    second.Helper.hear = counted  # type: ignore[assignment, method-assign]
    second.Helper.begin = begun  # type: ignore[method-assign]
    intake._HELPED_FROM = second_writer.WORTH_FROM = 64  # type: ignore[misc]
    intake._AT_A_TIME = filling._AT_A_TIME = AT_A_TIME  # type: ignore[misc]


@pytest.fixture(scope="module", params=CASES, ids=[case.name for case in CASES])
def made(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    with memory() as folder:
        warm_up(folder / "warm")
        yield prepared(request.param, folder)


def kill(one: Prepared, turns: int) -> None:
    """At the first answer, then at some that are drawn: not each is reached where the second one is slow."""
    root = one.template.parent / "r"
    status, answers = played(one, root, 0)
    assert not status and answers, "the second process had nothing to do"
    one.judge(root, 0)
    draw = random.Random(len(one.case.name))
    for turn in range(turns):
        status, _ = played(one, root, draw.randint(2, answers) if turn else 1)
        assert turn or os.WIFSIGNALED(status)
        one.judge_folder(root, 0)
        one.judge_store(copy_of(root, one.template.parent / "again"), 0)
        one.go_on(root, 0)


def test_killed_at_an_answer(made: Prepared) -> None:
    kill(made, 1)


@pytest.mark.slow
def test_killed_at_many_answers(made: Prepared) -> None:
    kill(made, 40)
