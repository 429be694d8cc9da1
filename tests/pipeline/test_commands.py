"""Workers that a command starts: with the store alone, elsewhere, lost, sent away, answering twice."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from aq import __version__
from aq.formats.errors import AqError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Run
from aq.pipeline.processes import wire

from tests.pipeline.test_executors import wait
from tests.pipeline.test_workers import SLOW, Place

AQ = [sys.executable, "-P", "-m", "aq"]

PLAIN = """
    import helper

    @aq.op
    def one(k: int) -> str:
        folder = pathlib.Path(__file__).parent
        print("one", k)
        DO
        return f"{helper.VALUE} {k}"

    @aq.flow
    def f():
        one(1)
"""
ONCE = """once = pathlib.Path(TMP) / "once"
        if not once.exists():
            once.touch()
            ACT
            time.sleep(60)"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "r")
    (found.root / "helper.py").write_text("VALUE = 'mine'")
    found.write(PLAIN.replace("DO", "pass"))
    yield found
    found.repo.close()


def command(*words: str) -> str:
    return f"cmd:{shlex.join(words)}"


def worker(folder: Path) -> list[str]:
    return [*AQ, "-C", str(folder), "worker"]


def steps(place: Place, run: str) -> list[bytes | None]:
    return [one.step for one in get_record(place.repo.store, Run, Digest.parse(run)).steps]


def once(place: Place, act: str) -> None:
    """A step that does something the first time that it is executed."""
    place.write(PLAIN.replace("DO", ONCE.replace("ACT", act).replace("TMP", repr(str(place.root.parent)))))


@pytest.mark.parametrize("what", ["other", pytest.param("bare", marks=SLOW)])
def test_a_worker_with_the_store_alone_or_another_working_copy_gives_the_same(
    place: Place, tmp_path: Path, what: str
) -> None:
    here = place.run(commit=False)
    assert here.error is None
    folder = tmp_path / what
    folder.mkdir()
    (folder / ".aq").symlink_to(place.root / ".aq")
    if what == "other":
        (folder / "flow.py").write_text("raise SystemExit('another')")
        (folder / "helper.py").write_text("VALUE = 'other'")
    done = place.run(executor=command(*worker(folder)), force=True, commit=False)
    assert done.error is None, done.error
    assert place.snapshot(done) == place.snapshot(here)
    assert steps(place, done.run) == steps(place, here.run)
    assert place.repo.logs(f"{done.run}:one").text == "one 1\n"


@pytest.mark.slow
def test_another_repository_is_told(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.repo.close()
    with pytest.raises(AqError, match="other does not hold the code of this run: it is another repository"):
        place.run(executor=command(*worker(other.root)))


def test_what_modules_read_while_imported_is_that_of_the_run_or_the_step_runs_here(
    place: Place, tmp_path: Path
) -> None:
    (place.root / "helper.py").write_text(
        "import pathlib\nVALUE = (pathlib.Path(__file__).parent / 'set.txt').read_text()"
    )
    (place.root / "set.txt").write_text("mine")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / ".aq").symlink_to(place.root / ".aq")
    (folder / "set.txt").write_text("other")
    done = place.run(executor=command(*worker(folder)))
    assert place.repo.get(f"{done.run}:f/one").load() == "mine 1"
    assert [note for note in done.notes if "set.txt" in note] == [
        "f/one ran in this process: set.txt is not what it was when the run began"
    ]


def test_another_environment_is_refused_in_one_line(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2"):
        site = tmp_path / version / "site-packages"
        (site / f"toy-{version}.0.dist-info").mkdir(parents=True)
        (site / f"toy-{version}.0.dist-info" / "METADATA").write_text(f"Name: toy\nVersion: {version}.0\n\n")
        (site / f"toy-{version}.0.dist-info" / "RECORD").write_text("toy.py,,\n")
        (site / "toy.py").write_text(f"def value(): return {version}")
    (place.root / "helper.py").write_text("import toy\nVALUE = 'mine'")
    place.write(PLAIN.replace("DO", "helper.toy.value()"))
    monkeypatch.syspath_prepend(str(tmp_path / "1" / "site-packages"))
    other = f"PYTHONPATH={tmp_path}/2/site-packages:{os.environ.get('PYTHONPATH', '')}"
    done = place.run(executor=command("env", other, *worker(place.root)))
    assert done.error is not None and done.error["kind"] == "environment"
    assert done.error["message"] == "its worker has another environment than this run: toy 1.0 → 2.0"


@pytest.mark.slow
def test_a_value_that_comes_out_otherwise_in_a_worker_does_not_reach_the_result(place: Place) -> None:
    (place.root / "helper.py").write_text("import os\nVALUE = os.getppid()")
    done = place.run(executor=command(*worker(place.root)))
    assert place.repo.get(f"{done.run}:f/one").load() == f"{os.getppid()} 1"
    assert any("VALUE has another value in its worker" in note for note in done.notes)


@pytest.mark.slow
def test_another_value_of_a_variable_that_the_code_reads_is_refused(place: Place) -> None:
    (place.root / "helper.py").write_text("import os\nVALUE = 1\ndef where(): return os.environ.get('WHERE')")
    place.write(PLAIN.replace("DO", "helper.where()"))
    done = place.run(executor=command("env", "WHERE=elsewhere", *worker(place.root)))
    assert done.error is not None
    assert done.error["message"].endswith("than this run: the variable WHERE changed")


@pytest.mark.parametrize(
    ("protocol", "aq"), [pytest.param(wire.PROTOCOL, "9.9", marks=SLOW), (99, __version__)]
)
def test_a_worker_of_another_version_is_refused(place: Place, protocol: int, aq: str) -> None:
    hello = json.dumps({"type": "hello", "protocol": protocol, "aq": aq, "more": 1})
    with pytest.raises(AqError, match=rf"the worker is aq {aq} \(protocol {protocol}\), and this is"):
        place.run(executor=command("sh", "-c", f"echo Welcome to this host; echo '{hello}'; cat >/dev/null"))


def test_a_lost_worker_costs_no_step(place: Place) -> None:
    once(place, "os.kill(os.getppid(), signal.SIGKILL)")
    done = place.run(executor=command(*worker(place.root)))
    assert done.error is None, done.error
    assert place.repo.logs("one").text == "one 1\n"


@pytest.mark.slow
def test_what_loses_every_worker_fails_in_one_line(place: Place) -> None:
    place.write(PLAIN.replace("DO", "os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"))
    done = place.run(executor=command(*worker(place.root)))
    assert done.error is not None
    assert done.error["message"] == "its worker was lost 3 times: it ended (SIGKILL)"


def test_a_worker_that_is_terminated_gives_its_task_back(place: Place, tmp_path: Path) -> None:
    once(place, "os.kill(os.getppid(), signal.SIGTERM)")
    noting = f"{shlex.join(worker(place.root))}; echo $? >> {tmp_path}/codes"
    done = place.run(executor=command("sh", "-c", noting))
    assert done.error is None, done.error
    wait(lambda: (tmp_path / "codes").read_text().split()[:1] == ["143"])


TWICE = """
    import subprocess, sys
    worker = subprocess.Popen(sys.argv[1:], stdin=0, stdout=subprocess.PIPE)
    for line in worker.stdout:
        sys.stdout.buffer.write(line + line)
        sys.stdout.flush()
"""


def test_an_answer_that_comes_twice_counts_once(place: Place, tmp_path: Path) -> None:
    place.write(PLAIN.replace("DO", "pass") + "        one.named('two')(2)\n        one.named('three')(3)\n")
    script = tmp_path / "twice.py"
    script.write_text(dedent(TWICE))
    done = place.run(executor=command(sys.executable, str(script), *worker(place.root)))
    assert done.error is None, done.error
    assert [place.repo.get(f"{done.run}:f/{name}").load() for name in ("one", "two", "three")] == [
        "mine 1",
        "mine 2",
        "mine 3",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["100", "2000"])
def test_a_disk_that_takes_no_more_fails_the_step_alone(place: Place, limit: str) -> None:
    place.write(PLAIN.replace("DO", "return os.urandom(4_000_000)") + "        beside()\n")
    source = (place.root / "flow.py").read_text()
    (place.root / "flow.py").write_text(
        source.replace("@aq.flow", "@aq.op\ndef beside() -> int:\n    return 2\n\n@aq.flow")
    )
    words = shlex.join(worker(place.root))
    done = place.run(executor=command("sh", "-c", f"ulimit -f {limit}; exec {words}"), keep_going=True)
    assert done.error is not None and done.error["kind"] == "refused", done.error
    assert place.states() == {"one": "failed", "beside": "run"}
    assert place.repo.fsck(full=True).problems == []
    place.events.clear()
    assert place.run(executor=command(*worker(place.root))).status == "committed"
    assert place.states() == {"one": "run", "beside": "reused"}


@pytest.mark.slow
def test_tasks_from_a_file_are_all_done_and_nobody_needs_to_wait(place: Place, tmp_path: Path) -> None:
    said = tmp_path / "said"
    listening = f"tee {said} | {shlex.join(worker(place.root))}"
    assert place.run(executor=command("sh", "-c", listening)).error is None
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    tasks = [line for line in lines if line["type"] == "task"]
    text = "".join(json.dumps({**task, "number": number}) + "\n" for number in (7, 8) for task in tasks)
    done = subprocess.run(worker(place.root), input=text, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["type"], one.get("number")) for one in answers] == [
        ("hello", None),
        ("answer", 7),
        ("answer", 8),
    ]
    assert answers[1]["outcome"]["outputs"] == answers[2]["outcome"]["outputs"]


def test_on_a_terminal_it_says_what_it_is_for_and_nonsense_is_refused(place: Place) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        worker(place.root), stdin=theirs, capture_output=True, text=True, check=False, timeout=60
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.splitlines()[0].startswith("error: aq worker takes its tasks from an aq run")
    done = subprocess.run(worker(place.root), input="hello\n", capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "a line on standard input is no task" in done.stderr


@pytest.mark.slow
def test_an_idle_worker_ends_when_it_is_told(place: Place) -> None:
    with subprocess.Popen(worker(place.root), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and b"hello" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
