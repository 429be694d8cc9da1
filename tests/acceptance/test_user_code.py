"""Whatever a user's code does while aq hosts it: the answer stays the answer, and the fault is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from aq.tests.cli.shell import Shell

NOISY = """
import os
import subprocess

import aq

print("importing")
subprocess.run(["echo", "a child while importing"])

@aq.op
def one():
    print("running")
    return 1

@aq.flow
def noisy():
    print("calling")
    os.write(1, b"past Python\\n")
    one()
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.aq("init")
    return shell


def test_what_a_flow_prints_is_no_part_of_the_answer(shell: Shell) -> None:
    shell.write("noisy.py", NOISY)
    ran = shell.aq("run", "noisy.py", "--json")
    assert [event["event"] for event in ran.events] == ["step", "done"]
    said = ["importing", "a child while importing", "calling", "past Python"]
    assert sorted(ran.err.splitlines()) == sorted(said)
    again = shell.aq("run", "--force", "-q")
    assert (again.out, sorted(again.err.splitlines())) == ("", sorted(said))
    assert shell.aq("logs", "one").out.splitlines()[0] == "running"


@pytest.mark.parametrize("raised", ["SystemExit(3)", "asyncio.CancelledError('gone')"])
@pytest.mark.parametrize("where", ["module", "flow", "op"])
def test_what_ends_python_is_a_failure_of_the_code_that_raised_it(
    shell: Shell, where: str, raised: str
) -> None:
    lines = {place: f"raise {raised}" if place == where else "pass" for place in ("module", "flow", "op")}
    shell.write(
        "end.py",
        f"import asyncio\nimport aq\n{lines['module']}\n"
        f"@aq.op\ndef one():\n    {lines['op']}\n"
        f"@aq.flow\ndef end():\n    {lines['flow']}\n    one()\n",
    )
    told = shell.aq("run", "end.py", code=1)
    assert f"raise {raised}" in told.out + told.err
    name = raised.partition("(")[0].rpartition(".")[2]
    assert [name in line for line in told.err.splitlines() if line.startswith("error: ")] == [True]


def test_an_argument_that_cannot_be_compared_is_told_as_one(shell: Shell) -> None:
    shell.write(
        "given.py",
        "import aq\n@aq.op\ndef one(x):\n    return 1\n"
        "@aq.flow\ndef given():\n    one({'a': [1, open('/dev/null')]})\n",
    )
    told = shell.aq("run", "given.py").err
    assert (
        "given/one: argument 'x' → ['a'][1] is a TextIOWrapper, which cannot be compared between runs" in told
    )
