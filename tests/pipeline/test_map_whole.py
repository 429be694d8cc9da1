"""Maps by property, through the public face: after any edits of items, code, params, variables and files that
single items read in secret, a run gives what a fresh repository gives, and runs no item that it has seen.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aq.pipeline.repo import Repo
from hypothesis import given, settings, strategies as st

from tests.pipeline.test_soundness_whole import opened

FILES = 4
HEAD = """
import os
from pathlib import Path
import aq
HERE = Path(__file__).parent
"""


@dataclass(frozen=True)
class World:
    """`part` of each item of a file, which reads a file of its own; `more` of each part; `total` of all."""

    items: tuple[int, ...]
    secrets: tuple[int, ...] = (1,) * FILES
    factor: int = 2
    modulus: int = 5
    times: int = 1
    mode: int = 0
    comment: str = ""

    def text(self) -> str:
        return "\n".join(
            (
                HEAD,
                f"# {self.comment}",
                f"MODULUS = {self.modulus}",
                "@aq.op\ndef part(item: int, times: int) -> int:",
                f"    '''{self.comment}'''",
                f"    own = int((HERE / f'secret{{item % {FILES}}}.txt').read_text())",
                f"    return (item * {self.factor} + own + times) % MODULUS",
                "@aq.op\ndef more(value: int) -> int:",
                "    return value + int(os.environ.get('AQ_TEST_MODE', '0'))",
                "@aq.op\ndef total(values: list) -> int:\n    return sum(values)",
                "@aq.flow\ndef f(times: int = 1):",
                "    parts = aq.map(part, aq.read('items.json'), times=times)",
                "    total(aq.map(more, parts))",
            )
        )

    def steps(self) -> dict[str, tuple[tuple[Any, ...], int]]:
        """All that each item's steps depend on, and their results, by name."""
        found: dict[str, tuple[tuple[Any, ...], int]] = {}
        for at, item in enumerate(self.items):
            before = self.items[:at].count(item)
            key = f"{item}.{before + 1}" if before else str(item)
            own = self.secrets[item % FILES]
            part = (item * self.factor + own + self.times) % self.modulus
            parts = ("part", key, self.factor, self.modulus, self.times, own)
            found[f"f/part/{key}"] = parts, part
            found[f"f/more/{key}"] = ("more", key, part, self.mode), part + self.mode
        return found


small = st.integers(0, 3)


@st.composite
def edits(draw: st.DrawFn, before: World) -> World:
    single = ["factor", "modulus", "times", "mode"]
    what = draw(
        st.sampled_from([*single, "put", "put", "drop", "swap", "secret", "secret", "comment", "nothing"])
    )
    if what in single:
        return replace(before, **{what: draw(small) + 1})
    if what == "comment":
        return replace(before, comment=draw(st.sampled_from(["a", "b"])))
    items, secrets = list(before.items), list(before.secrets)
    if what == "put":
        items.insert(draw(st.integers(0, len(items))), draw(st.integers(0, 7)))
    elif what == "drop" and items:
        items.pop(draw(st.integers(0, len(items) - 1)))
    elif what == "swap":
        items.reverse()
    elif what == "secret":
        secrets[draw(st.integers(0, FILES - 1))] = draw(small)
    return replace(before, items=tuple(items), secrets=tuple(secrets))


def write(root: Path, world: World, environ: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    root.mkdir(exist_ok=True)
    (root / "flow.py").write_text(world.text())
    (root / "items.json").write_bytes(msgspec.json.encode(world.items))
    for at, secret in enumerate(world.secrets):
        (root / f"secret{at}.txt").write_text(str(secret))
    environ["AQ_TEST_MODE"] = str(world.mode)
    patch.setenv("AQ_TEST_MODE", str(world.mode))


def look(repo: Repo, world: World, seen: set[tuple[Any, ...]]) -> None:
    """One run, against the model, the plan and the status."""
    params = {"times": str(world.times)}
    known = repo.status().flows
    planned: Any = repo.run("flow.py", params=params, dry_run=True)
    events: dict[str, str] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event.get("map"):
            events[event["step"]] = event["status"]

    is_same = bool(known) and repo.runs()[0].params.get("times") == world.times
    done = repo.run("flow.py", params=params, on_event=hear)
    if known and is_same and not known[0].stale:
        assert done.status == "unchanged"
    steps = world.steps()
    assert events == {name: "reused" if parts in seen else "run" for name, (parts, _) in steps.items()}
    for plan in planned.steps:
        if plan.map is not None:
            assert plan.action == "run" or events[plan.step] == "reused"
    assert done.steps.total == len(steps) + 1
    seen.update(parts for parts, _ in steps.values())
    by_name = {name: value for name, (_, value) in steps.items()}
    assert repo.get(f"{done.run}:f/total").load() == sum(by_name[one] for one in by_name if "/more/" in one)
    for name, value in by_name.items():
        assert repo.get(f"{done.run}:{name}").load() == value


def check(data: st.DataObject, rounds: int) -> None:
    world = World(tuple(data.draw(st.lists(st.integers(0, 7), max_size=5))))
    seen: set[tuple[Any, ...]] = set()
    environ: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name) / "kept"
        with opened(root, environ) as repo:
            for number in range(rounds):
                write(root, world, environ, patch)
                look(repo, world, seen)
                with opened(Path(name) / f"fresh{number}", environ) as fresh:
                    write(Path(name) / f"fresh{number}", world, environ, patch)
                    done = fresh.run("flow.py", params={"times": str(world.times)})
                    for path in ("f/part", "f/more", "f/total"):
                        assert repo.get(f"run:last:{path}").id == fresh.get(f"{done.run}:{path}").id
                world = data.draw(edits(world))
            assert not repo.fsck(full=True).problems


@settings(max_examples=4)
@given(st.data())
def test_any_edits(data: st.DataObject) -> None:
    check(data, 4)


@pytest.mark.soak
@settings(max_examples=150)
@given(st.data())
def test_any_edits_at_length(data: st.DataObject) -> None:
    check(data, 12)
