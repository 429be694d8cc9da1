"""What holds for every command: where it runs, what it says of errors, streams, colours, signals."""

from __future__ import annotations

import io
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from aq.cli.failure import Terminated, failure
from aq.cli.main import invoke
from aq.cli.session import Session
from aq.formats.errors import AqError, Conflict, NotARepository

from tests.cli.shell import Shell

AQ = [sys.executable, "-P", "-m", "aq"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Two commits of one file; read only."""
    shell = Shell(tmp_path_factory.mktemp("frame"))
    shell.aq("init")
    shell.commit("a.txt", "one\n", "first")
    shell.commit("a.txt", "two\n", "second")
    return shell


@pytest.mark.parametrize(
    ("line", "error", "hints"),
    [
        ("lgo", "unknown command: lgo", ["aq log"]),
        ("checkout", "unknown command: checkout", ["aq switch"]),
        ("rm", "unknown command: rm", ["aq remove"]),
        ("log --metrc x", "no such option: --metrc", ["aq log --metric", "aq log --help"]),
        ("commit", "missing option '-m' / '--message'", ["aq commit -m MSG", "aq commit --help"]),
        ("add", "missing argument 'PATH...'", ["aq add --help"]),
        ("branch ad x", "unknown verb: branch ad", ["aq branch add"]),
        ("tag v1", "unknown verb: tag v1", ["aq tag add v1"]),
        ("-C nowhere log", "cannot go to nowhere: No such file or directory", ["aq --help"]),
        ("run -p depth", "-p takes NAME=VALUE, not 'depth'", ["aq run -p depth=6"]),
    ],
)
def test_wrong_usage_is_told_in_the_users_terms(
    line: str, error: str, hints: list[str], tmp_path: Path
) -> None:
    done = Shell(tmp_path).aq(*line.split(), code=2)
    assert done.out == "" and done.err.splitlines() == [f"error: {error}", *(f"hint: {one}" for one in hints)]
    told = Shell(tmp_path).aq(*line.split(), "--json", code=2).error
    assert (told["kind"], told["message"], told["hint"]) == ("usage", error, "\n".join(hints))


COMMANDS = [
    "add a.txt",
    "status",
    "commit -m x",
    "undo",
    "ops",
    "log",
    "show",
    "diff",
    "ls",
    "cat a:b",
    "branch",
]
COMMANDS += [
    "tag",
    "switch x",
    "restore a.txt",
    "run",
    "runs",
    "steps",
    "logs x",
    "checks",
    "repro x",
    "config",
]
COMMANDS += ["lineage x", "metrics", "bisect x", "remove a.txt"]


@pytest.mark.parametrize("line", COMMANDS)
def test_outside_a_repository_the_exit_code_is_6(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotARepository) as caught:
        invoke(line.split(), Session())
    told = failure(caught.value)
    assert (told.kind, told.exit_code, told.hints) == ("not_a_repository", 6, ("aq init",))


def test_text_of_an_error_is_one_line_and_at_most_two_hints(tmp_path: Path) -> None:
    lines = Shell(tmp_path).aq("status", code=6).err.splitlines()
    assert lines[0].startswith("error: ") and lines[1] == "hint: aq init" and len(lines) == 2


def test_the_folder_can_be_named_before_and_after_the_verb(repository: Shell, tmp_path: Path) -> None:
    elsewhere, folder = Shell(tmp_path), str(repository.folder)
    (repository.folder / "inner").mkdir(exist_ok=True)
    expected = repository.aq("log").out
    assert elsewhere.aq("-C", folder, "log").out == elsewhere.aq("log", "-C", folder).out == expected
    assert Shell(repository.folder / "inner").aq("log").out == expected
    assert (
        elsewhere.aq("-C", str(repository.folder.parent), "log", "-C", repository.folder.name).out == expected
    )


def test_json_can_be_asked_for_before_and_after_the_verb(repository: Shell) -> None:
    before, after = repository.aq("--json", "log"), repository.aq("log", "--json")
    assert before.out == after.out and json.loads(after.out)["command"] == "log"


def test_colour_follows_the_option_then_no_color_then_the_terminal(repository: Shell) -> None:
    def colored(*words: str, **environment: str) -> bool:
        return "\x1b[" in repository.aq(*words, **environment).out

    assert not colored("log")
    assert colored("log", "--color", "always") and colored("--color", "always", "log", NO_COLOR="1")
    assert not colored("log", "--color", "never")
    assert "\x1b[" in repository.aq("log", "nothing", "--color", "always", code=2).err


def on_a_terminal(folder: Path, *words: str, **environment: str) -> str:
    """What `aq WORDS...` shows on a terminal."""
    return "".join(text for _, text in watched(folder, *words, **environment))


def watched(folder: Path, *words: str, **environment: str) -> list[tuple[float, str]]:
    """What `aq WORDS...` shows on a terminal, and when."""
    main, other = pty.openpty()
    child = subprocess.Popen(
        [*AQ, *words], cwd=folder, stdout=other, stderr=other, stdin=other,
        env={**os.environ, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(other)
    parts = []
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append((time.monotonic(), part.decode(errors="replace")))
    os.close(main)
    child.wait(60)
    return parts


def test_on_a_terminal_there_is_colour_and_times_are_relative(repository: Shell) -> None:
    text = on_a_terminal(repository.folder, "log")
    assert "\x1b[33m" in text and (" ago" in text or "just now" in text)
    assert "\x1b" not in on_a_terminal(repository.folder, "log", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(repository.folder, "log", TERM="dumb")


def test_on_a_terminal_a_long_step_is_never_silent(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("long.py", FLOW.replace("sleep(60)", "sleep(2.5)"))
    shown = watched(tmp_path, "run", "long.py")
    text = "".join(part for _, part in shown)
    assert text.count(" long/slow  ") >= 5 and "(0 of 1)" in text
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(shown)]
    assert sum(gap > 1.0 for gap in gaps) <= 1, gaps  # one, on a machine that is busy with other things
    last = text.rpartition("\x1b[K")[2]
    assert last.startswith("long: ") and "committed" in last


def test_a_reader_who_goes_is_no_error(repository: Shell) -> None:
    for words in (["log"], ["--help"], ["log", "--json"], ["cat", "HEAD:a.txt"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [*AQ, *words], cwd=repository.folder, stdout=write, stderr=subprocess.PIPE, check=False
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (0, b""), words


def test_closed_streams_are_no_error(repository: Shell) -> None:
    for redirection in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        line = f'"{sys.executable}" -m aq log {redirection}'
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=repository.folder, check=False, stderr=subprocess.PIPE
        )
        assert (done.returncode, done.stderr) == (0, b""), redirection


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_answer_that_cannot_be_written_is_an_error(repository: Shell) -> None:
    for words in (["log"], ["--help"], ["log", "--json"], ["cat", "HEAD:a.txt"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*AQ, *words],
                cwd=repository.folder,
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                text=True,
            )
        assert done.returncode == 1, words
        assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "encoding", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_any_locale_will_do(encoding: dict[str, str], repository: Shell) -> None:
    environment = {**os.environ, **encoding}
    for words in (["log"], ["diff", "HEAD~1..HEAD"], ["--help"], ["show"]):
        done = subprocess.run(
            [*AQ, *words], cwd=repository.folder, env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), words


def test_without_home_user_and_path(repository: Shell) -> None:
    done = subprocess.run([*AQ, "log"], cwd=repository.folder, env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_deleted_working_directory_is_told(tmp_path: Path) -> None:
    line = f'mkdir gone && cd gone && rmdir ../gone && "{sys.executable}" -P -m aq status'
    done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the working directory does not exist any more\nhint: cd ..\n"


FLOW = """
import aq, time

@aq.op
def slow() -> int:
    open("started", "w").close()
    time.sleep(60)
    return 1

@aq.flow
def long():
    slow()
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """An `aq run` in the middle of an op."""
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("long.py", FLOW.replace('"started"', repr(str(tmp_path / "started"))))
    child = subprocess.Popen(
        [*AQ, "run", "long.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while not (tmp_path / "started").exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    yield child
    child.kill()
    child.communicate()


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_quietly_with_its_code(
    number: int, code: int, word: str, running: subprocess.Popen[str]
) -> None:
    running.send_signal(number)
    _, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert err.splitlines()[-1] == f"error: {word}" and "Traceback" not in err


def test_only_a_bug_shows_a_traceback() -> None:
    def told(error: BaseException) -> tuple[str, int, bool]:
        try:
            raise error
        except BaseException as caught:
            found = failure(caught)
            return found.kind, found.exit_code, bool(found.trace)

    assert told(KeyError("x")) == ("bug", 70, True)
    assert told(OSError("no errno")) == ("bug", 70, True)
    assert told(AqError("no")) == ("failed", 1, False)
    assert told(Conflict("no")) == ("conflict", 4, False)
    assert told(PermissionError(13, "Permission denied", "/x")) == ("failed", 1, False)
    assert told(OSError(28, "No space left on device")) == ("failed", 1, False)
    assert told(MemoryError()) == ("failed", 1, False)
    assert told(KeyboardInterrupt()) == ("interrupted", 130, False)
    assert told(Terminated()) == ("terminated", 143, False)
    assert told(click.UsageError("Bad.")) == ("usage", 2, False)
    assert failure(AqError("m", hint=["a", "b", "c"])).hints == ("a", "b")


def test_the_version() -> None:
    done = Shell(Path.cwd()).aq("--version")
    assert done.out.startswith("aq ") and done.err == ""


def test_descriptor_1_is_left_alone_where_standard_output_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    before, session = os.fstat(1), Session()
    session.keep_out()
    assert session.out is sys.stdout and os.path.samestat(os.fstat(1), before)
