"""Commands to be cut off anywhere: a repository before them, and what it and its folder hold after each.

Every command runs as `aq` runs it, in this process, under a clock that depends on the command alone,
so that a case that is played twice makes the same ids.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from aq.cli.failure import failure, tell
from aq.cli.main import invoke
from aq.cli.session import Session
from aq.pipeline.change.context import Context
from aq.store.store import Store

from tests.faults.oracle import Content, check_oracle, contents_of, reachable, refs_of

SECOND = 10**9
DAY = 86_400 * SECOND
START = 1_700_000_000 * SECOND
FILES = 45
FINISH = ("switch", "-c", "finish")
"""A command on the folder, which finishes what an interrupted one has left, and changes no content."""
Words = tuple[str, ...]
Files = Mapping[str, bytes]


class CountedSession(Session):
    """A session whose clock begins at `began` and ticks a millisecond a look."""

    began: int = START

    def context(self) -> Context:
        ticks: Iterator[int] = count(self.began, 10**6)
        return Context(
            now=lambda: next(ticks),
            offset=lambda now: 0,
            cwd=Path.cwd(),
            user="ada@test",
            author="Ada <ada@example.org>",
            argv=("aq", "test"),
        )


def run_aq(root: Path, words: Sequence[str], *, time: int) -> int:
    """Run one command as `aq.cli.main` does; its exit code. Changes the working directory."""
    os.chdir(root)
    session = CountedSession()
    session.began = time
    try:
        code = invoke(list(words), session)
    except BaseException as error:
        told = failure(error)
        tell(told, json=False, color=False)
        code = told.exit_code
    sys.stdout.flush()
    return code


@contextmanager
def silent() -> Iterator[None]:
    """What commands answer goes nowhere."""
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield


@dataclass(frozen=True)
class Case:
    """Preparation in an empty folder, and the commands that are tested; `later`: time between both (ns)."""

    name: str
    prepare: Callable[[Path], None]
    commands: Sequence[Words]
    later: int = 0
    gc: bool = True

    def play(self, root: Path, done: Callable[[int], None], *, first: int = 0) -> int:
        """The commands from `first` on; tells `done` how many are done. The first exit code that is not 0."""
        for number in range(first, len(self.commands)):
            code = run_aq(
                root, self.commands[number], time=START + DAY + self.later + number * 1_000 * SECOND
            )
            if code:
                return code
            done(number + 1)
        return 0


@dataclass(frozen=True)
class State:
    """What there is after some commands: operations, refs, commits with their content, the folder."""

    operations: int
    refs: Mapping[str, str | None]
    commits: Mapping[str, Content]
    folder: Files


@dataclass(frozen=True)
class Prepared:
    """A case with its template on disk and its states: `states[k]` after k commands."""

    case: Case
    template: Path
    states: Sequence[State] = field(default_factory=list, repr=False)

    def judge(self, root: Path, done: int, *, fresh: bool = False) -> None:
        """The oracle, after a fault in command `done` (counted from 0): all of it or nothing of it."""
        self.judge_folder(root, done)
        self.judge_store(root, done, fresh=fresh)

    def judge_folder(self, root: Path, done: int) -> None:
        """Every path of the folder holds what it held before the command, or what it holds after it."""
        before, after = self.states[done].folder, self.after(done).folder
        found = lying(root)
        for path in {*before, *after, *found}:
            assert found.get(path) in (before.get(path), after.get(path)), f"{path} holds neither old nor new"

    def judge_store(self, root: Path, done: int, *, fresh: bool = False) -> None:
        """Refs old or new, what both know of whole."""
        before, after = self.states[done], self.after(done)
        refs = {name: (before.refs.get(name), after.refs.get(name)) for name in {*before.refs, *after.refs}}
        kept = {id: content for id, content in before.commits.items() if id in after.commits}
        found = check_oracle(root, acknowledged=kept, refs=refs, gc=self.case.gc, fresh=fresh)
        assert set(found.refs) <= set(refs), "a ref of which nobody knows"

    def go_on(self, root: Path, done: int) -> None:
        """Who types the command again if it did not count, and then the others, ends where all end.

        Run again, a command may make another commit of the same content: what it had already done is reused.
        """
        if self.is_done(root, done):
            done += 1
        with silent():
            code = self.case.play(root, lambda number: None, first=done)
            assert code == 0, f"{self.case.commands[done:]} ends with {code} after a fault"
            assert run_aq(root, FINISH, time=START + 900 * DAY) == 0
        assert lying(root) == self.states[-1].folder, "the folder was not finished"
        self.judge_content(root)

    def judge_content(self, root: Path) -> None:
        """The oracle, and refs with the content that they have in the end, in whatever commits."""
        found, wanted = state_of(root), self.states[-1]
        for name, value in wanted.refs.items():
            if value in wanted.commits:
                assert found.commits[str(found.refs.get(name))] == wanted.commits[str(value)], (
                    f"{name} holds other content"
                )
        check_oracle(root, gc=self.case.gc)

    def is_done(self, root: Path, done: int) -> bool:
        """Whether command `done` counts: all its operations are there."""
        with Store.open(root) as store:
            counted = len(list(store.operations())) >= self.after(done).operations
            return counted and refs_of(store) == self.after(done).refs

    def after(self, done: int) -> State:
        """The state that the command after `done` leads to."""
        return self.states[min(done + 1, len(self.states) - 1)]


def prepared(case: Case, folder: Path) -> Prepared:
    """Prepare a case below `folder`, and play it once without any fault."""
    template, trial = folder / f"{case.name}.template", folder / f"{case.name}.trial"
    with silent():
        for root in (template, trial):
            root.mkdir(parents=True)
            case.prepare(root)
        states = [state_of(trial)]
        assert case.play(trial, lambda number: states.append(state_of(trial))) == 0, case.name
    return Prepared(case, template, states)


def state_of(root: Path) -> State:
    """Refs, commits and folder as they are."""
    with Store.open(root) as store:
        refs, operations = refs_of(store), len(list(store.operations()))
        commits = {id: contents_of(store, bytes.fromhex(id)) for id in reachable(store)}
    return State(operations, refs, commits, lying(root))


def lying(root: Path) -> dict[str, bytes]:
    """Every file of the folder with its kind of mode and its content; of a link its target."""
    found = {}
    for folder, folders, names in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name != ".aq"]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            path = Path(folder) / name
            if path.is_symlink():
                data = b"link " + os.fsencode(os.readlink(path))
            else:
                data = (b"exec " if path.stat().st_mode & 0o100 else b"file ") + path.read_bytes()
            found[str(path.relative_to(root))] = data
    return found


def noise(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def write(root: Path, path: str, data: bytes | str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data.encode() if isinstance(data, str) else data)


def aq(root: Path, *commands: str) -> None:
    """Commands of a preparation, one a line, a day before those that are tested; they succeed."""
    for number, line in enumerate(commands):
        assert run_aq(root, line.split(), time=START + number * SECOND) == 0, line


# What the cases begin with


def small_files(root: Path) -> None:
    """One commit; then files changed, added and deleted that are in none."""
    for number in range(8):
        write(root, f"data/{number}.txt", f"{number}\n" * 30)
    aq(root, "init", "add data", "commit -m first")
    write(root, "data/1.txt", "changed\n")
    (root / "data" / "2.txt").unlink()
    for number in range(20):
        write(root, f"more/{number % 4}/{number}.txt", noise(number, 700))


def large_file(root: Path) -> None:
    """A file that takes packs of its own, committed and then changed in the middle; an identical twin."""
    data = noise(1, 2_500_000)
    write(root, "model.bin", data)
    aq(root, "init", "add model.bin", "commit -m first")
    write(root, "model.bin", data[:1_200_000] + noise(2, 1_300_000) + data[1_300_000:])
    write(root, "other.bin", noise(3, 1_600_000))
    write(root, "small.txt", "small")


FLOW = """
import random

import aq

@aq.op
def words(text):
    return text.read_text().split()

@aq.op
def blown(words, times: int = 3):
    return random.Random(len(words)).randbytes(400_000 * times)

@aq.metric(better="higher")
def size(words) -> int:
    return len(words)

@aq.check
def enough(size: int) -> bool:
    return size > 1

@aq.flow
def texts(times: int = 3):
    found = words(aq.read("text.txt"))
    blown(found, times=times)
    enough(size(found))
"""


def flow(root: Path) -> None:
    write(root, "flow.py", FLOW)
    write(root, "text.txt", "one two three\n")
    aq(root, "init", "add text.txt flow.py", "commit -m first")


def flow_again(root: Path) -> None:
    flow(root)
    aq(root, "run flow.py")
    write(root, "text.txt", "one two three four\n")


def garbage(root: Path) -> None:
    """Commits that no ref needs any more, large and small, beside two that are needed.

    Of one file the kept version lies as a delta against a version that is dropped.
    """
    grown = noise(7, 200_000)
    write(root, "kept.bin", noise(1, 1_200_000))
    write(root, "kept.txt", "kept")
    aq(root, "init", "config set gc.grace 0s", "config set gc.retention 1d", "add .", "commit -m kept")
    write(root, "dropped.bin", noise(2, 1_400_000))
    for number in range(5):
        write(root, f"dropped/{number}", noise(number, 3_000))
    write(root, "grown.bin", grown)
    aq(root, "branch add old", "switch old", "add .", "commit -m dropped")
    write(root, "grown.bin", grown + b"more")
    aq(root, "commit -m longer", "switch main")
    write(root, "grown.bin", grown + b"more")
    aq(root, "add grown.bin", "commit -m grown", "branch remove old", "tag add a", "tag add b")


def two_branches(root: Path) -> None:
    """Two branches that differ in many ways; the folder is at main."""
    for number in range(FILES):
        write(root, f"same/{number}", f"{number}")
        write(root, f"data/{number % 5}/{number}.txt", noise(number, 500))
    write(root, "swap", "a file here, a folder there")
    write(root, "run.sh", "echo")
    (root / "link").symlink_to("run.sh")
    write(root, "large.bin", noise(1, 1_300_000))
    aq(root, "init", "add .", "commit -m first", "branch add other", "switch other")
    for number in range(0, FILES, 2):
        write(root, f"data/{number % 5}/{number}.txt", noise(1_000 + number, 600))
        write(root, f"new/{number}.txt", f"new {number}")
    for number in range(1, FILES, 6):
        (root / f"data/{number % 5}/{number}.txt").unlink()
    (root / "swap").unlink()
    write(root, "swap/inside", "a folder")
    (root / "run.sh").chmod(0o755)
    (root / "link").unlink()
    (root / "link").symlink_to("swap")
    write(root, "large.bin", noise(2, 1_300_000))
    aq(root, "add .", "commit -m second", "switch main")


def two_sides(root: Path) -> None:
    """Both branches went on, in different files."""
    two_branches(root)
    write(root, "same/3", "ours")
    write(root, "ours.txt", "ours")
    aq(root, "add ours.txt", "commit -m ours")


def changed_folder(root: Path) -> None:
    """Tracked files changed and deleted, which no commit holds."""
    two_branches(root)
    for number in range(0, FILES, 2):
        write(root, f"data/{number % 5}/{number}.txt", f"work {number}")
        (root / f"same/{number}").unlink()
    write(root, "large.bin", noise(9, 1_250_000))
    write(root, "untracked", "mine")


def undoable(root: Path) -> None:
    changed_folder(root)
    aq(root, "restore .")


def refs(root: Path) -> None:
    write(root, "a", "a")
    aq(root, "init", "add a", "commit -m first")


CASES = (
    Case("commit", small_files, [("add", "."), ("commit", "-m", "second")]),
    Case("large", large_file, [("add", "."), ("commit", "-m", "second")]),
    Case("run", flow, [("run", "flow.py")]),
    Case("again", flow_again, [("run",), ("run", "-p", "times=4")]),
    Case("gc", garbage, [("gc",)], later=400 * DAY),
    Case("undo", undoable, [("undo",), ("undo",)]),
    Case("restore", changed_folder, [("restore", "data", "same", "large.bin")]),
    Case("switch", two_branches, [("switch", "other"), ("switch", "main")]),
    Case("merge", two_sides, [("merge", "other")]),
    Case("remove", two_branches, [("remove", "--delete", "data", "large.bin"), ("commit", "-m", "without")]),
    Case(
        "refs",
        refs,
        [
            ("tag", "add", "v1"),
            ("branch", "add", "side"),
            ("branch", "rename", "side", "aside"),
            ("switch", "-c", "work"),
            ("tag", "remove", "v1"),
            ("branch", "remove", "aside"),
        ],
    ),
)
