"""A task: one step, or the parsing of one file, to be done by any process that reaches the repository.

Invariant: a task names code and data by their ids in the store; whoever does it, the answer is the same.
The flow is traced again where it is done; if it does not say the same a second time, nothing is executed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import gethostname
from threading import current_thread, local, main_thread
from time import perf_counter
from typing import BinaryIO

from aq.formats.errors import UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Step
from aq.pipeline import constants, parsed, unfolding
from aq.pipeline.capture import Log
from aq.pipeline.execute import Executor, Outcome
from aq.pipeline.graph import Argument, Constant, Graph, Group, Node
from aq.pipeline.inputs import Input
from aq.pipeline.load import Project
from aq.pipeline.parsing import Parser
from aq.pipeline.relay import Packed, Relay
from aq.store import snapshots
from aq.store.store import Store


@dataclass(frozen=True, slots=True)
class Code:
    """What a task's step is part of. `snapshot` holds the project's files as they were digested.

    `given` are the flow's explicit params as texts; `path` is `sys.path` and `asker` the process of who asks.
    """

    root: str
    snapshot: bytes
    file: str
    flow: str
    given: Mapping[str, str]
    environ: Mapping[str, str]
    path: tuple[str, ...] = ()
    asker: str = ""


@dataclass(frozen=True, slots=True)
class Parsing:
    """A file to be parsed; `read` is the index of the `aq.read` that has the options, -1 for none."""

    file: bytes
    parser: Parser
    read: int
    label: str


@dataclass(frozen=True, slots=True)
class Task:
    """One step of `Code`, or a `Parsing`. `params`: what its constants were digested as.

    `last`: the step that made such results before. `carried`: objects that may not be in the store yet.
    `tried`: attempts that have failed already. `record`: the step, if its op makes row of row.
    `timeout` in seconds, `memory` in bytes. `item`: the place of the step among those of its map.
    """

    step: str
    inputs: Mapping[str, Input] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    last: bytes | None = None
    carried: tuple[Packed, ...] = ()
    parsing: Parsing | None = None
    trials: int = 1
    tried: int = 0
    record: Step | None = None
    timeout: float | None = None
    memory: int | None = None
    item: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether somebody has to watch it."""
        return self.timeout is not None or self.memory is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task; `outcome` is None where the flow did not say the same a second time.

    `objects` and `summaries` are to be stored by who asked; `log` is what a step wrote whose process died.
    """

    outcome: Outcome | None
    objects: tuple[Packed, ...] = ()
    summaries: tuple[tuple[bytes, dict[str, object]], ...] = ()
    seconds: float = 0.0
    log: BinaryIO | bytes | None = None


OnTrial = Callable[[int], None]
_site: Site | None = None
_local = local()


def perform(code: Code, task: Task) -> Answer:
    """Do a task in this process, which any executor may have started. Raises AqError.

    A task with limits is done by a process of its own, which can be ended; so is one of a thread, since
    what an op writes, its seeds and its modules belong to a whole process.
    """
    if code.asker == this_process():
        raise UsageError("this executor runs tasks in threads of aq's own process: give one of processes")
    if task.is_limited or current_thread() is not main_thread():
        return _apart(code, task)
    return site(code).do(task)


def this_process() -> str:
    """What tells this process from all others, also on other hosts."""
    return f"{gethostname()} {os.getpid()}"


def _apart(code: Code, task: Task) -> Answer:
    """Have it done by a worker of this thread's own, which stays warm."""
    from aq.pipeline.workers import Workers

    if not hasattr(_local, "workers"):
        _local.workers = Workers(1, Path(code.root) / ".aq")
    answer: Answer = _local.workers.submit(perform, code, task).result()
    if answer.log is None or isinstance(answer.log, bytes):
        return answer
    with closing(answer.log) as log:
        log.seek(0)
        return replace(answer, log=log.read())


def site(code: Code) -> Site:
    """The code of a task, loaded; that of the last task is kept."""
    global _site
    if _site is None or _site.code != code:
        if _site is not None:
            _site.close()
            _site = None
        _site = Site(code)
    return _site


class Site:
    """A flow, loaded and traced in this process, beside an open store."""

    def __init__(self, code: Code) -> None:
        self.code = code
        with ExitStack() as stack:
            self.store = stack.enter_context(Store.open(Path(code.root)))
            self.relay = Relay(self.store)
            sys.path[:] = [*sys.path, *(one for one in code.path if one not in sys.path)]
            self.project = stack.enter_context(Project(Path(code.root)))
            self.project.files.data.update(_files(self.store, code.snapshot))
            self.graph = _traced(self.project, code)
            stack.enter_context(self.project.beside(code.file))
            self.nodes = {node.name: node for node in self.graph.steps}
            self.items: dict[str, list[Argument] | None] = {}
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Let go of the store and the code."""
        self._stack.close()

    def do(self, task: Task, log: Log | None = None, on_trial: OnTrial = lambda trial: None) -> Answer:
        """Do one task. Raises AqError for what is wrong with the store."""
        self.relay.begin(task.carried)
        began = perf_counter()
        outcome = self._parse(task) if task.parsing else self._step(task, log, on_trial)
        self.relay.finish()
        seconds = perf_counter() - began
        return Answer(outcome, tuple(self.relay.made), tuple(self.relay.summaries), seconds)

    def _step(self, task: Task, log: Log | None, on_trial: OnTrial) -> Outcome | None:
        node = self._node(task)
        if node is None or self._params(node) != task.params:
            return None
        executor = Executor(self.relay, self.project.root, None, lambda name: task.last)
        return executor.attempt(
            node, task.inputs, task.seed, log=log, step=task.record, tried=task.tried, on_trial=on_trial
        )

    def _node(self, task: Task) -> Node | None:
        """The step, as the flow has it here; of a map one of its items."""
        if task.item is None:
            return self.nodes.get(task.step)
        name, _, key = task.step.rpartition("/")
        node = self.nodes.get(name)
        if node is None or not node.each:
            return None
        if name not in self.items:
            self.items[name] = unfolding.given_items(node)
        known = self.items[name]
        if known is not None and task.item >= len(known):
            return None
        return unfolding.item_node(node, key, unfolding.Found() if known is None else known[task.item])

    def _params(self, node: Node) -> dict[str, str]:
        return {
            name: constants.described(self.graph, name, argument, name, self.project, self.code.environ)[0]
            for name, argument in node.arguments.items()
            if isinstance(argument, Constant | Group)
        }

    def _parse(self, task: Task) -> Outcome:
        wanted = task.parsing
        assert wanted is not None
        record = get_record(self.relay, Artifact, wanted.file)
        options = self.graph.reads[wanted.read].options if wanted.read >= 0 else {}
        return parsed.table(self.relay, record, wanted.parser, options, wanted.label, task.last)


def _files(store: Store, snapshot: bytes) -> dict[str, bytes]:
    from aq.formats import values

    found = {}
    for path, entry in snapshots.entries(store, Digest(snapshot)):
        record = get_record(store, Artifact, entry.artifact)
        found[path] = b"".join(values.file_bytes(record, store))
    return found


def _traced(project: Project, code: Code) -> Graph:
    from aq.pipeline.ops import flows_of
    from aq.pipeline.params import bind
    from aq.pipeline.trace import trace

    module = project.load(code.file)
    flow = flows_of(vars(module), module.__name__)[code.flow]
    with project.beside(code.file):
        return trace(flow, bind(flow, code.given).values, root=project.root)
