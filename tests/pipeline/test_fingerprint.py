from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aq.pipeline.code.fingerprint import fingerprint
from aq.pipeline.code.load import Project
from aq.pipeline.code.static import StaticChange, compare_static

from tests.pipeline.code_cases import CASES, Case

WORKER = Path(__file__).with_name("fingerprint_worker.py")


class Seen(NamedTuple):
    made: dict[str, Any]
    stable: bool
    result: str
    static: dict[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """What enters a step's key."""
        return {name: self.made[name] for name in ("code", "values", "packages", "variables")}


def look(folders: list[tuple[Path, str]], scratch: Path, *, cwd: Path, env: Mapping[str, str]) -> list[Seen]:
    """Fingerprint all projects in one fresh process."""
    listed = scratch / "projects.json"
    listed.write_text(json.dumps([[str(folder), file] for folder, file in folders]))
    done = subprocess.run(
        [sys.executable, str(WORKER), str(listed)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [Seen(*json.loads(line)) for line in done.stdout.splitlines()]


FLOW = "\n\n\ndef flow():\n    return op\n"
"""Added to each case's file, to be recorded as the flow that its op belongs to."""


def write(folder: Path, case: Case, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        there = folder / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes((text + FLOW if path == case.file else text).encode())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Seen, Seen, Seen]]:
    """For each case: before the edit, after it, and without it elsewhere, in three processes."""
    scratch = tmp_path_factory.mktemp("cases")
    first, elsewhere = scratch / "first", scratch / "deeper" / "else where"
    rounds = [
        (first, "before", {"PYTHONHASHSEED": "1", "TZ": "UTC", "LANG": "C"}, scratch),
        (first, "after", {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LANG": "en_US.UTF-8"}, Path("/")),
        (elsewhere, "before", {"PYTHONHASHSEED": "3", "PYTHONOPTIMIZE": "1"}, WORKER.parent),
    ]
    found = []
    for folder, which, env, cwd in rounds:
        for number, case in enumerate(CASES):
            write(folder / str(number), case, getattr(case, which))
        listed = [(folder / str(number), case.file) for number, case in enumerate(CASES)]
        found.append(look(listed, scratch, cwd=cwd, env=env))
    return {case.name: each for case, *each in zip(CASES, *found, strict=True)}  # type: ignore[misc]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_edit_of_code(case: Case, seen: dict[str, tuple[Seen, Seen, Seen]]) -> None:
    before, after, moved = seen[case.name]
    if case.seen:
        assert before.result != after.result, "the case itself shows nothing"
    if case.verdict == "H":
        assert before.key == after.key
        assert before.result == after.result
    else:
        assert before.key != after.key
    if case.verdict == "W":
        assert before.made["opaque"]
        assert after.made["opaque"]
    assert moved.key == before.key, "no path, hash seed, zone, locale or flag of Python is in a key"
    assert before.stable
    assert after.stable


def changes(case: Case, recorded: dict[str, Any], files: Mapping[str, str]) -> list[StaticChange]:
    texts = {path: text + FLOW if path == case.file else text for path, text in files.items()}

    def read(path: str) -> bytes | None:
        return texts[path].encode() if path in texts else None

    return compare_static(recorded, read, environ={"DECLARED": "1"}, python_files=lambda: sorted(texts))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_look_at_the_files_alone(case: Case, seen: dict[str, tuple[Seen, Seen, Seen]]) -> None:
    before, after, _ = seen[case.name]
    assert changes(case, before.static, case.before) == []
    assert changes(case, after.static, case.after) == []
    found = changes(case, before.static, case.after)
    if before.key != after.key:
        assert found, "what a run would do is never missed"
    if any(one.exact for one in found):
        assert before.key != after.key, found
    assert json.loads(json.dumps(before.static)) == before.static


def test_nothing_but_the_opaque_is_listed(seen: dict[str, tuple[Seen, Seen, Seen]]) -> None:
    listed = {case.name: seen[case.name][0].made["opaque"] for case in CASES if case.verdict != "W"}
    assert {name for name, opaque in listed.items() if opaque} <= {
        "a comment beside eval",
        "environment variable",
        "subclasses by __subclasses__",
    }


def test_no_absolute_path_is_recorded(
    seen: dict[str, tuple[Seen, Seen, Seen]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = str(tmp_path_factory.getbasetemp())
    for case in CASES:
        for one in seen[case.name]:
            assert base not in json.dumps([one.made, one.static]), case.name


USED = """
import abc, copy, dataclasses, enum, functools, pickle, typing

T = typing.TypeVar("T")

@dataclasses.dataclass(frozen=True)
class Data:
    x: int = 1

class Color(enum.Flag):
    RED = 1
    BLUE = 2

class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2

class Box(typing.Generic[T]):
    def get(self):
        return 1

@typing.runtime_checkable
class Gets(typing.Protocol):
    def get(self) -> int: ...

class Abstract(abc.ABC):
    @abc.abstractmethod
    def get(self): ...

class Lazy:
    @functools.cached_property
    def value(self):
        return 2

@functools.singledispatch
def told(x):
    return 1

@told.register
def _(x: int):
    return 2

def op(x):
    return Data(), Color.RED, Mode.READ, Box, Gets, Abstract, Lazy, told

def use():
    for one in (Data(), Color.RED | Color.BLUE, Mode.READ | Mode.WRITE, Mode(8), Box(), Lazy()):
        pickle.loads(pickle.dumps(copy.deepcopy(one)))
    Abstract.register(int)
    return Lazy().value, isinstance(Box(), Gets), isinstance(3, Abstract), told(3), told(True), Box[int]()
"""


def test_using_classes_leaves_their_fingerprint(tmp_path: Path) -> None:
    """Python notes in a class how to pickle it, and which flags were combined: that is no code."""
    (tmp_path / "used.py").write_text(USED)
    with Project(tmp_path) as project:
        module = project.load("used.py")
        before = fingerprint(module.op, project, environ={})
        assert module.use()[:4] == (2, True, True, 2)
        assert fingerprint(module.op, project, environ={}) == before
