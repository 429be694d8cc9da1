"""Modules from places that only the user's code, or nobody's metadata, knows of."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.cli.shell import Shell

SECOND = 1_700_000_000 * 10**9
FLOW = """
import sys
sys.path[:0] = {places}
import helping
import aq

@aq.op
def answer() -> int:
    return helping.number()

@aq.flow
def f():
    answer()
"""


def number(value: int) -> str:
    return f"def number(): return {value}\n"


def archive(file: Path, value: int) -> None:
    with zipfile.ZipFile(file, "w") as stream:
        stream.writestr(zipfile.ZipInfo("helping.py"), number(value))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    folder = tmp_path / "r"
    folder.mkdir()
    shell = Shell(folder)
    shell.aq("init")
    return shell


def stale(shell: Shell) -> list[str]:
    return [reason["detail"] for flow in shell.data("status")["flows"] for step in flow["stale"]
            for reason in step["reasons"]]  # fmt: skip


def test_an_archive_in_the_folder_is_imported_from_and_tracked(shell: Shell) -> None:
    archive(shell.folder / "lib.zip", 1)
    shell.write("flow.py", FLOW.format(places='[__file__.replace("flow.py", "lib.zip")]'))
    shell.aq("run", "flow.py")
    assert (stale(shell), shell.aq("cat", "f/answer").out) == ([], "1\n")
    assert shell.aq("run", "--force", "-j", "2").code == 0, "its worker finds it too"
    archive(shell.folder / "lib.zip", 2)
    assert stale(shell) == ["helping changed", "lib.zip, which is read on import, changed"]
    shell.aq("run")
    assert shell.aq("cat", "f/answer").out == "2\n"
    assert shell.data("repro", "HEAD")["verdict"] == "identical"
    assert "lib.zip" in [one["path"] for one in shell.data("ls")]


def test_a_place_that_the_code_adds_is_looked_at_without_running_it(shell: Shell, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for one in (first, second):
        one.mkdir()
    (second / "helping.py").write_text(number(1))
    shell.write("flow.py", FLOW.format(places=[str(first), str(second)]))
    shell.aq("run", "flow.py")
    assert stale(shell) == []
    (second / "helping.py").write_text(number(2))
    assert stale(shell) == ["helping changed"]
    shell.aq("run")
    (first / "helping.py").write_text(number(3))
    assert stale(shell) == ["helping changed"], "it comes first"
    shell.aq("run")
    assert shell.aq("cat", "f/answer").out == "3\n"


@pytest.mark.parametrize("where", [pytest.param("lib.zip", marks=pytest.mark.slow), "site-packages"])
def test_what_nobody_gave_a_version_counts_by_its_bytes(shell: Shell, tmp_path: Path, where: str) -> None:
    place = tmp_path / where
    if where == "site-packages":
        place.mkdir()

    def put(value: int) -> None:
        if where == "lib.zip":
            archive(place, value)
        else:
            (place / "helping.py").write_text(number(value))

    put(1)
    shell.write("flow.py", FLOW.format(places=[]))
    shell.aq("run", "flow.py", PYTHONPATH=str(place), PYTHONDONTWRITEBYTECODE="1")
    put(2)
    shell.aq("run", PYTHONPATH=str(place))
    assert shell.aq("cat", "f/answer").out == "2\n"


def test_bytecode_that_is_older_than_its_file_is_not_run(shell: Shell, tmp_path: Path) -> None:
    """Python takes it: an edit of one size in the second in which the bytecode was kept is none to it."""
    place = tmp_path / "site-packages"
    place.mkdir()
    shell.write("flow.py", FLOW.format(places=[]))
    for value in (1, 2):
        (place / "helping.py").write_text(number(value))
        os.utime(place / "helping.py", ns=(SECOND, SECOND + value * 1_000_000))
        shell.aq("run", "flow.py", PYTHONPATH=str(place), PYTHONDONTWRITEBYTECODE="")
        (kept,) = (place / "__pycache__").glob("helping.*.pyc")
        os.utime(kept, ns=(SECOND, SECOND + value * 1_000_000 + 1))
        assert shell.aq("cat", "f/answer").out == f"{value}\n"
