"""A folder with a store and a flow, executed as `aq run` does, for the tests of executing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from aq.formats.artifacts import values
from aq.formats.errors import NotFound
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, RunStep, Step
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Graph, Read
from aq.pipeline.flow.ops import flows_of
from aq.pipeline.flow.params import bind
from aq.pipeline.flow.trace import trace
from aq.pipeline.records.outcomes import PlannedStep
from aq.pipeline.run import runner
from aq.pipeline.step.execution import Execution
from aq.store.store import Store

HEAD = """
from __future__ import annotations
import aq
import pandas as pd
"""

DELAYS = """
    LIMIT = 100

    @aq.op
    def clean(flights: pd.DataFrame) -> pd.DataFrame:
        print("cleaning", len(flights))
        return flights[flights["delay"] < LIMIT]

    @aq.op
    def total(table, by: str = "sum"):
        return int(getattr(table["delay"], by)())

    @aq.metric(better="higher")
    def mean(table) -> float:
        return table["delay"].mean()

    @aq.check
    def enough(mean: float) -> bool:
        return mean > 1

    @aq.flow
    def delays(by: str = "sum"):
        table = clean(aq.read("a.csv"))
        total(table, by=by)
        enough(mean(table))
"""
ROWS = "delay,name\n1,a\n5,b\n300,c\n"
ALL_RUN = {"clean": "run", "total": "run", "mean": "run", "enough": "run"}


class Workshop:
    """`write` files, then `run`: each run loads the code anew, as a new process would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.create(root, time=1, user="me@here")
        self.events: list[dict[str, Any]] = []
        self.last: dict[str, bytes] = {}
        self.environ: dict[str, str] = {}
        self.kept: list[Execution] = []

    def write(self, text: str, file: str = "flow.py") -> None:
        """A file of the project; flow.py gets the usual imports."""
        head = HEAD if file == "flow.py" else ""
        (self.root / file).write_text(head + dedent(text), encoding="utf-8")

    def replace(self, old: str, new: str, file: str = "flow.py") -> None:
        """Edit a file."""
        text = (self.root / file).read_text("utf-8")
        assert old in text
        (self.root / file).write_text(text.replace(old, new), encoding="utf-8")

    def read(self, read: Read) -> Digest:
        """What `aq.read` finds: a file of the folder, or what an earlier run made."""
        path = self.root / read.path
        if not path.is_file():
            raise NotFound(f"no path '{read.path}'")
        with path.open("rb") as stream:
            return values.encode_file(stream, None, self.store).id

    def graph(self, project: Project, params: Mapping[str, Any]) -> Graph:
        """The only flow of flow.py, traced."""
        module = project.load("flow.py")
        (flow,) = flows_of(vars(module), module.__name__).values()
        return trace(flow, bind(flow, params).values, root=project.root)

    def run(self, params: Mapping[str, Any] | None = None, **options: Any) -> Execution:
        """Execute; a run that did not fail is what the next one is compared with."""
        self.events.clear()
        with Project(self.root) as project:
            done = runner.execute(
                self.graph(project, params or {}),
                store=self.store,
                project=project,
                read=self.read,
                clock=time.perf_counter,
                previous=self.last.get,
                environ=self.environ,
                on_event=self.events.append,
                on_interrupt=self.kept.append,
                **options,
            )
        if not done.failed:
            self.last = {one.name: bytes(one.step) for one in done.steps if one.step}
        return done

    def plan(self, params: Mapping[str, Any] | None = None, **options: Any) -> list[PlannedStep]:
        """What `run` would do."""
        with Project(self.root) as project:
            return runner.plan(
                self.graph(project, params or {}),
                store=self.store,
                project=project,
                read=self.read,
                previous=self.last.get,
                environ=self.environ,
                **options,
            )

    def value(self, done: Execution, path: str) -> Any:
        """What lies under a path after a run."""
        return values.decode(self.record(done, path), self.store)

    def record(self, done: Execution, path: str) -> Artifact:
        """The artifact under a path."""
        return get_record(self.store, Artifact, done.artifacts[path].artifact)

    def step(self, one: RunStep) -> Step:
        """The record of a step that ran, was reused or was attempted."""
        id = one.step or one.attempt
        assert id is not None
        return get_record(self.store, Step, id)

    def log(self, id: bytes | None) -> str:
        """The text of a log."""
        assert id is not None
        return b"".join(values.file_bytes(get_record(self.store, Artifact, id), self.store)).decode()


def states(done: Execution) -> dict[str, str]:
    """{name without the flow: status}."""
    return {one.name.partition("/")[2]: one.status for one in done.steps if one.role != "parse"}


def reasons(done: Execution, name: str) -> list[tuple[str, str]]:
    """(kind, detail) of why a step ran."""
    return [
        (reason["kind"], reason["detail"])
        for one in done.steps
        if one.name.endswith("/" + name)
        for reason in one.reasons
    ]
