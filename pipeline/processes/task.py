"""A task: one step, or the parsing of one file, to be done by any process that reaches the repository.

Invariant: a task names code and data by their ids in the store, and whoever does it runs the code of that
snapshot, never what lies in the folder; so the answer is the same. The flow is traced again where it is done;
if it does not say the same a second time, or the environment is another, nothing is executed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Lock, current_thread, main_thread
from time import perf_counter
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec
from aq import __version__
from aq.formats.artifacts import values
from aq.formats.errors import OpFailed, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Step
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Argument, Constant, Graph, Group, Node
from aq.pipeline.processes import matching
from aq.pipeline.processes.matching import Needs
from aq.pipeline.processes.relay import Packed, Relay
from aq.pipeline.step import constants, parsed, parsing, rowwise, unfolding
from aq.pipeline.step.capture import Log
from aq.pipeline.step.execute import Executor, Outcome
from aq.pipeline.step.execution import Failure
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.parsing import Parser
from aq.store.commits import snapshots
from aq.store.store import Store
from aq.store.system.turns import Turns
from blake3 import blake3
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.processes.pool import Pool


class Code(msgspec.Struct, frozen=True):
    """What a task's step is part of. `snapshot` holds the project's files as they were digested.

    `root`: the repository, where it is done; `given`: the flow's explicit params as texts; `folders`: where
    else modules are looked for, as paths from the root; `path`: the same for libraries, as folders of this
    machine. `asker` is the process of who asks, `aq` its version.
    """

    root: str
    snapshot: bytes
    file: str
    flow: str
    given: Mapping[str, str]
    folders: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    asker: str = ""
    aq: str = __version__


class Parsing(msgspec.Struct, frozen=True):
    """A file to be parsed; `read` is the index of the `aq.read` that has the options, -1 for none.

    `libraries`: the versions that the key of the parsing holds.
    """

    file: bytes
    parser: Parser
    read: int
    label: str
    libraries: Mapping[str, str] = {}


class Task(msgspec.Struct, frozen=True):
    """One step of `Code`, or a `Parsing`. `params`: what its constants were digested as.

    `last`: the step that made such results before. `carried`: objects that may not be in the store yet.
    `tried`: attempts that have failed already. `record`: the step, if its op makes row of row.
    `timeout` in seconds, `memory` in bytes. `item`: the place of the step among those of its map.
    `needs`: what its process must have. `verify`: what it makes of new rows is compared with the whole.
    """

    step: str
    inputs: Mapping[str, Input] = {}
    params: Mapping[str, str] = {}
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
    needs: Needs = msgspec.field(default_factory=Needs)
    verify: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether somebody has to watch it."""
        return self.timeout is not None or self.memory is not None


class Answer(msgspec.Struct, frozen=True):
    """What came of a task; `outcome` is None where the flow did not say the same a second time.

    `objects` and `summaries` are to be stored by who asked; `log` is what a step wrote whose process died;
    `note` says why nothing was executed.
    """

    outcome: Outcome | None
    objects: tuple[Packed, ...] = ()
    summaries: tuple[tuple[bytes, dict[str, object]], ...] = ()
    seconds: float = 0.0
    log: BinaryIO | bytes | None = None
    note: str = ""


OnTrial = Callable[[int], None]
_site: Site | None = None
_apart: dict[str, Pool[Any]] = {}
_asking: set[str] = set()
_guard = Lock()
_MOST: Final = 1_000


def perform(code: Code, task: Task) -> Answer:
    """Do a task in this process, which any executor may have started. Raises AqError.

    A task with limits is done by a process of its own, which can be ended; so is one of a thread, since
    what an op writes, its seeds and its modules belong to a whole process, and whatever aq itself is at.
    """
    if not (task.is_limited or code.asker in _asking or current_thread() is not main_thread()):
        return done(code, task)
    answer: Answer = _workers(code).submit(perform, code, task).result()
    if answer.log is None or isinstance(answer.log, bytes):
        return answer
    with closing(answer.log) as log:
        log.seek(0)
        return replace(answer, log=log.read())


def _workers(code: Code) -> Pool[Any]:
    """Processes for tasks of threads; they stay warm, those of aq itself until its command ends."""
    from aq.pipeline.processes.workers import Workers

    whose = code.asker if code.asker in _asking else code.root
    with _guard:
        if whose not in _apart:
            _apart[whose] = Workers(_MOST, Path(code.root) / ".aq", is_wanted).pool
        return _apart[whose]


def is_wanted(code: Code) -> bool:
    """Whether who asked is still there: a turn is his for as long as he waits for answers."""
    if code.asker in _asking or not code.asker:
        return True
    with closing(Turns(Path(code.root) / ".aq")) as turns:
        return not turns.take(turn_of(code.asker))


def turn_of(asker: str) -> bytes:
    """The key of the turn that tells of who asks."""
    return blake3(b"aq asker 1" + asker.encode()).digest()


def begin_asking(asker: str) -> None:
    """From here on tasks of this name come from this very process."""
    _asking.add(asker)


def end_asking(asker: str, *, at_once: bool) -> None:
    """Nobody waits for answers any more."""
    _asking.discard(asker)
    if asker in _apart:
        _apart.pop(asker).shutdown(cancel_futures=at_once)


def done(code: Code, task: Task, log: Log | None = None, on_trial: OnTrial = lambda trial: None) -> Answer:
    """Do a task here and now, unless this process is not what the step's key says. Raises AqError."""
    if code.aq != __version__:
        return failed(task, "environment", f"its worker has aq {__version__}, and this run aq {code.aq}")
    if wrong := matching.mismatch(task.needs):
        return failed(task, "environment", wrong)
    try:
        place = site(code)
    except OpFailed as error:
        return failed(task, error.kind, f"its worker: {error.message}", error.trace)
    with rowwise.verified(on=task.verify):
        return place.do(task, log, on_trial)


def failed(task: Task, kind: str, why: str, trace: str = "") -> Answer:
    """The answer where a task was not done."""
    return Answer(_failure(task, kind, why, trace))


def _failure(task: Task, kind: str, why: str, trace: str = "") -> Outcome:
    return Outcome([], Failure(task.step, kind, why, trace), None)


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
    """A flow, loaded and traced in this process, beside an open store. Raises UsageError where the store
    is another one.
    """

    def __init__(self, code: Code) -> None:
        self.code = code
        root = Path(code.root)
        with ExitStack() as stack:
            self.store = stack.enter_context(Store.open(root))
            if not self.store.has(code.snapshot):
                raise UsageError(f"{root} does not hold the code of this run: it is another repository")
            self.relay = Relay(self.store)
            path = [*(str(root / folder) for folder in code.folders), *code.path]
            sys.path[:] = [*sys.path, *(one for one in path if one not in sys.path)]
            files = _files(self.store, code.snapshot)
            self.project = stack.enter_context(Project(root, given=files))
            self.graph = _traced(self.project, code)
            stack.enter_context(self.project.beside(code.file))
            self.nodes = {node.name: node for node in self.graph.steps}
            self.items: dict[str, list[Argument] | None] = {}
            self.other = _read_otherwise(self.project)
            self._values: dict[int, str] = {}
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Let go of the store and the code."""
        self._stack.close()

    def do(self, task: Task, log: Log | None = None, on_trial: OnTrial = lambda trial: None) -> Answer:
        """Do one task. Raises AqError for what is wrong with the store."""
        node = None if task.parsing else self._node(task)
        why = None if task.parsing else self._unlike(node, task)
        if why is not None:
            return Answer(None, note=why)
        self.relay.begin(task.carried)
        began = perf_counter()
        outcome = self._parse(task) if node is None else self._step(node, task, log, on_trial)
        self.relay.finish()
        seconds = perf_counter() - began
        return Answer(outcome, tuple(self.relay.made), tuple(self.relay.summaries), seconds)

    def _unlike(self, node: Node | None, task: Task) -> str | None:
        """Why a step is not here what it was where it was planned; None where it is the same.

        Nothing is said of a flow that differs each time it is traced.
        """
        if node is None or self._params(node) != task.params:
            return ""
        if self.other:
            return self.other
        function = node.op.function
        if id(function) not in self._values:
            self._values[id(function)] = matching.other_value(function, self.project, task.needs)
        return self._values[id(function)] or None

    def _step(self, node: Node, task: Task, log: Log | None, on_trial: OnTrial) -> Outcome:
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
            name: constants.described(self.graph, name, argument, name, self.project, {})[0]
            for name, argument in node.arguments.items()
            if isinstance(argument, Constant | Group)
        }

    def _parse(self, task: Task) -> Outcome:
        wanted = task.parsing
        assert wanted is not None
        record = get_record(self.relay, Artifact, wanted.file)
        options = self.graph.reads[wanted.read].options if wanted.read >= 0 else {}
        libraries = parsing.versions(wanted.parser)
        if libraries != wanted.libraries:
            return _failure(task, "environment", matching.told(wanted.libraries, libraries))
        return parsed.table(self.relay, record, wanted.parser, options, wanted.label, task.last)


def _files(store: Store, snapshot: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path, entry in snapshots.entries(store, Digest(snapshot)):
        record = get_record(store, Artifact, entry.artifact)
        found[path] = b"".join(values.file_bytes(record, store))
    return found


def _read_otherwise(project: Project) -> str:
    """What of the files that modules read while they were imported holds something else here."""
    for path in sorted({path for paths in project.reads.values() for path in paths}):
        if path in project.files.data and (project.root / path).read_bytes() != project.files.data[path]:
            return f"{path} is not what it was when the run began"
    return ""


def _traced(project: Project, code: Code) -> Graph:
    from aq.pipeline.flow.ops import flows_of
    from aq.pipeline.flow.params import bind
    from aq.pipeline.flow.trace import trace

    module = project.load(code.file)
    flow = flows_of(vars(module), module.__name__)[code.flow]
    with project.beside(code.file):
        return trace(flow, bind(flow, code.given).values, root=project.root)
