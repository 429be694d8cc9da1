"""By property, through the public face: after any sequence of edits of code, data, params, files read in
secret, variables and packages, a run gives what a fresh repository gives, runs nothing that it has seen, and
does what `run -n` and `status` said.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo
from hypothesis import given, settings, strategies as st

from tests.pipeline.repository import context

MOST = 6
HEAD = """
import os
from pathlib import Path
import aq
import aq_test_stub
HERE = Path(__file__).parent
"""
USES = (
    "",
    " + int((HERE / 'secret.txt').read_text())",
    " + int(os.environ.get('AQ_TEST_MODE', '0'))",
    " + aq_test_stub.VALUE",
)


@dataclass(frozen=True)
class World:
    """Step i: `(data + inputs + its argument) * FACTORi + helper(i % 2) + what it uses, % MODULUS`."""

    wiring: tuple[tuple[int, ...], ...]
    uses: tuple[int, ...]
    factors: tuple[int, ...]
    arguments: tuple[int, ...]
    helpers: tuple[int, int] = (1, 2)
    modulus: int = 5
    data: int = 3
    param: int = 1
    secret: int = 1
    mode: int = 0
    package: int = 1
    comment: str = ""

    def text(self) -> str:
        lines = [HEAD, f"# {self.comment}", f"MODULUS = {self.modulus}"]
        lines += [f"def helper{k}(x):\n    return x + {value}" for k, value in enumerate(self.helpers)]
        for i, factor in enumerate(self.factors):
            lines.append(
                f"FACTOR{i} = {factor}\n@aq.op\ndef step{i}(source, *inputs, more: int, times: int):"
            )
            total = f"(int(source) + sum(inputs) + more + times) * FACTOR{i}"
            lines.append(f"    '''{self.comment}'''\n    total = helper{i % 2}({total}){USES[self.uses[i]]}")
            lines.append("    return total % MODULUS")
        lines.append("@aq.flow\ndef f(times: int = 1):\n    data = aq.read('n.json')")
        for i, inputs in enumerate(self.wiring):
            names = "".join(f", s{j}" for j in inputs)
            lines.append(f"    s{i} = step{i}(data{names}, more={self.arguments[i]}, times=times)")
        return "\n".join(lines)

    def step(self, i: int, results: list[int]) -> tuple[tuple[int, ...], int]:
        """All that step i depends on, and its result."""
        inputs = [results[j] for j in self.wiring[i]]
        used = (0, self.secret, self.mode, self.package * 10)[self.uses[i]]
        parts = (i, self.factors[i], self.helpers[i % 2], self.modulus, self.data, self.param)
        total = (self.data + sum(inputs) + self.arguments[i] + self.param) * self.factors[i]
        result = (total + self.helpers[i % 2] + used) % self.modulus
        return (*parts, self.arguments[i], self.uses[i], used, *inputs), result


small = st.integers(0, 3)
SINGLE = ("modulus", "data", "param", "secret", "mode", "package")
SEVERAL = ("factors", "helpers", "arguments", "uses")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    size = draw(st.integers(2, MOST))
    wiring = [tuple(draw(st.lists(st.integers(0, i - 1), max_size=2))) if i else () for i in range(size)]
    drawn = [tuple(draw(small) for _ in range(size)) for _ in range(3)]
    return World(tuple(wiring), drawn[0], drawn[1], drawn[2])


@st.composite
def edits(draw: st.DrawFn, before: World) -> World:
    what = draw(st.sampled_from([*SINGLE, *SEVERAL, "comment", "nothing"]))
    if what == "nothing":
        return before
    if what == "comment":
        return replace(before, comment=draw(st.sampled_from(["a", "b"])))
    if what in SINGLE:
        return replace(before, **{what: draw(small) + 1})
    values = list(getattr(before, what))
    values[draw(st.integers(0, len(values) - 1))] = draw(small)
    return replace(before, **{what: tuple(values)})


def stubs(folder: Path) -> None:
    """The same distribution in four versions, each in an environment of its own."""
    for version in range(5):
        site = folder / str(version) / "site-packages"
        (site / "aq_test_stub").mkdir(parents=True)
        (site / "aq_test_stub" / "__init__.py").write_text(f"VALUE = {version * 10}\n")
        info = site / f"aq_test_stub-{version}.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: aq_test_stub\nVersion: {version}.0\n\n")
        (info / "RECORD").write_text("aq_test_stub/__init__.py,,\n")


@contextmanager
def installed(folder: Path, version: int) -> Iterator[None]:
    entry = str(folder / str(version) / "site-packages")
    sys.path.append(entry)
    sys.modules.pop("aq_test_stub", None)
    try:
        yield
    finally:
        sys.path.remove(entry)
        sys.modules.pop("aq_test_stub", None)


def opened(root: Path, environ: dict[str, str]) -> Repo:
    plain = context(root)
    known = Context(plain.now, plain.offset, root, plain.user, plain.author, ("aq",), environ)
    return Repo.create(root, known)


def write(root: Path, world: World, environ: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    root.mkdir(exist_ok=True)
    (root / "flow.py").write_text(world.text())
    (root / "n.json").write_text(str(world.data))
    (root / "secret.txt").write_text(str(world.secret))
    environ["AQ_TEST_MODE"] = str(world.mode)
    patch.setenv("AQ_TEST_MODE", str(world.mode))


def values(repo: Repo, run: str, size: int) -> list[int]:
    found: list[int] = [repo.get(f"{run}:f/step{i}").load() for i in range(size)]
    return found


def check(data: st.DataObject, rounds: int) -> None:
    world = data.draw(worlds())
    seen: set[tuple[int, ...]] = set()
    environ: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        base = Path(name)
        stubs(base / "stubs")
        with opened(base / "kept", environ) as repo:
            for number in range(rounds):
                write(base / "kept", world, environ, patch)
                with installed(base / "stubs", world.package):
                    look(repo, world, seen)
                    with opened(base / f"fresh{number}", environ) as fresh:
                        write(base / f"fresh{number}", world, environ, patch)
                        done = fresh.run("flow.py", params={"times": str(world.param)})
                        size = len(world.wiring)
                        assert values(repo, "run:last", size) == values(fresh, done.run, size)
                world = data.draw(edits(world))


def look(repo: Repo, world: World, seen: set[tuple[int, ...]]) -> None:
    """One run, against the model, the plan and the status."""
    params = {"times": str(world.param)}
    known = repo.status().flows
    planned: Any = repo.run("flow.py", params=params, dry_run=True)
    events: dict[str, tuple[str, list[Any]]] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            events[event["step"]] = (event["status"], event["reasons"])

    is_same = bool(known) and repo.runs()[0].params.get("times") == world.param
    done = repo.run("flow.py", params=params, on_event=hear)
    if known and is_same and not known[0].stale:
        assert done.status == "unchanged"
    results: list[int] = []
    for i, plan in enumerate(planned.steps):
        parts, result = world.step(i, results)
        results.append(result)
        state, reasons = events[f"f/step{i}"]
        assert state == ("reused" if parts in seen else "run")
        assert plan.action == "run" or state == "reused"
        assert (state == "run") == bool(reasons)
        seen.add(parts)
    assert values(repo, done.run, len(results)) == results


@settings(max_examples=5)
@given(st.data())
def test_any_edits(data: st.DataObject) -> None:
    check(data, 4)


@pytest.mark.soak
@settings(max_examples=150)
@given(st.data())
def test_any_edits_at_length(data: st.DataObject) -> None:
    check(data, 12)
