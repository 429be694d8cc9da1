"""One step, in this process: decode the inputs, call the op, store what it returned.

Invariant: whatever the user's code raises becomes a `Failure` with a log that is kept; a damaged or
full store is no failure of the step and passes through, as do Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aq.formats.artifacts import values
from aq.formats.errors import AqError, Conflict, Damaged, Refused, Temporary
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Step
from aq.pipeline.code import hidden_reads
from aq.pipeline.code.frames import last_place, one_line, trimmed
from aq.pipeline.code.hidden_reads import NOTHING, Seen
from aq.pipeline.code.native_reads import Telling
from aq.pipeline.code.tree import CodeTree
from aq.pipeline.code.watching import Watch
from aq.pipeline.flow import measures, placing
from aq.pipeline.flow.graph import Node
from aq.pipeline.flow.ops import executing
from aq.pipeline.flow.seeds import seeded
from aq.pipeline.step import figures, inputs, returns, rowwise
from aq.pipeline.step.capture import Log, Tee, captured, new_log
from aq.pipeline.step.execution import Failure, StepStore
from aq.pipeline.step.handed import Handed
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.returns import Outputs
from aq.pipeline.step.undone import undone
from aq.store.system.staging import Staging
from msgspec.structs import replace


class Outcome(msgspec.Struct, frozen=True):
    """What came of one step: outputs, or a failure. `log` is None where nothing was written.

    `seen`: what the op read that its step does not name. `whole`: where it ran on new rows alone, the seconds
    that it took for all of them when it last did.
    """

    outputs: Outputs
    failure: Failure | None
    log: Digest | None = None
    notes: tuple[str, ...] = ()
    seen: Seen = NOTHING
    whole: float | None = None


class Executor(msgspec.Struct, frozen=True):
    """Runs steps one after the other. `root` shortens file names; `tee` hears what ops write.

    `last` is the id of the step that an op's results were made by before.
    """

    store: StepStore
    root: Path | None = None
    tee: Tee | None = None
    last: Callable[[str], bytes | None] = lambda name: None

    def attempt(
        self,
        node: Node,
        given: Mapping[str, Input],
        seed: int,
        *,
        log: Log | None = None,
        step: Step | None = None,
        tried: int = 0,
        on_trial: Callable[[int], None] = lambda trial: None,
    ) -> Outcome:
        """Run a step, again after an exception as often as its op allows; `tried` attempts have failed.

        What it writes goes into `log`, else into one of its own. `step`: its record, for an op that makes row
        of row. `on_trial` hears of each attempt.
        """
        trials = node.op.options.retries + 1
        with ExitStack() as stack:
            log = log or stack.enter_context(new_log(self._folder()))
            for trial in range(tried + 1, trials + 1):
                on_trial(trial)
                outcome = self._once(node, given, seed, log, step)
                failure = outcome.failure
                if failure is None:
                    break
                log.write(failure.trace or failure.error + "\n")
                if trial < trials:
                    log.write(f"attempt {trial} of {trials} failed\n")
            stored = self._stored(log)
        if failure is not None:
            failure = Failure(failure.step, failure.kind, failure.error, failure.trace, stored)
        return replace(outcome, failure=failure, log=stored)

    def _folder(self) -> Path:
        folder = self.store.control / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def _stored(self, log: Log) -> Digest | None:
        if not log.size:
            return None
        return values.encode_file(log.reader(), log.size, self.store).id

    def _once(
        self, node: Node, given: Mapping[str, Input], seed: int, log: Log, step: Step | None
    ) -> Outcome:
        try:
            with ExitStack() as stack:
                folder = self._copies(stack, given)
                earlier = self._earlier(node, step, given)
                later = earlier.place if isinstance(earlier, rowwise.Earlier) else None
                handed = Handed(given, lambda one: self._load(one, folder), later)
                stack.enter_context(placing.place(self._folder()))
                stack.enter_context(figures.apart())
                watch = self._watch(stack)
                call = partial(self._call, node, seed=seed, log=log)
                done = rowwise.call(earlier, handed, self.store, node.name, call)
                notes = [done.note] if done.note else []
                notes += [
                    f"{node.name} changes its input {place} in place: later steps get it as it was"
                    for place in handed.changed()
                ]
                outputs = self._store(node, done.result, handed)
                if done.is_pieced and rowwise.verifying.get():
                    whole = self._store(node, call(handed.whole()), handed)
                    rowwise.require_same(node.name, outputs, whole)
            seen = hidden_reads.seen(watch, done.hidden)
            took = earlier.took if isinstance(earlier, rowwise.Earlier) and done.is_pieced else None
            return Outcome(outputs, None, None, (*notes, *watch.notes(node.name)), seen, took)
        except (Damaged, Conflict, Temporary, Refused):
            raise
        except AqError as error:
            trace = trimmed(error, self.root) if last_place(error) else ""
            return Outcome([], Failure(node.name, error.kind, error.message, trace))
        except _Raised as raised:
            cause = raised.__cause__ or raised
            return Outcome([], Failure(node.name, "op_failed", one_line(cause), trimmed(cause, self.root)))

    def _earlier(
        self, node: Node, step: Step | None, given: Mapping[str, Input]
    ) -> rowwise.Earlier | rowwise.Whole:
        """What of the step before can be taken over row by row."""
        if step is None or not node.op.options.rowwise:
            return rowwise.Whole()
        root = self.root or self.store.control.parent
        return rowwise.earlier(self.store, step, self.last(node.name), given, root)

    def _watch(self, stack: ExitStack) -> Watch:
        """From here on, what the op reads by itself is noted."""
        root = self.root or self.store.control.parent
        telling = Telling()
        watch = Watch(CodeTree(root), hidden_reads.plain_id, Executor._call.__code__, telling.on_import)
        stack.enter_context(telling)
        return stack.enter_context(watch)

    def _copies(self, stack: ExitStack, given: Mapping[str, Input]) -> Path:
        """Where the copies of files lie while the op runs; made only where there are any."""
        if not any(one.form in ("path", "each path") for one in given.values()):
            return self._folder()
        folder = stack.enter_context(Staging(os.fsencode(self._folder()), b"copies"))
        return Path(os.fsdecode(folder.path))

    def _load(self, given: Input, folder: Path) -> Any:
        record = get_record(self.store, Artifact, given.artifact)
        return inputs.load(given, record, self.store, folder)

    def _call(self, node: Node, loaded: Mapping[str, Any], seed: int, log: Log) -> Any:
        args, kwargs = node.call(lambda place, leaf: loaded[place])
        token = executing.set(node.name)
        try:
            with captured(log, tee=self.tee), undone(), seeded(seed):
                result = returns.finished(node.op.function(*args, **kwargs))
                return returns.drawn(self.store, node, result, self.last(node.name))
        except (AqError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise _Raised from error
        finally:
            executing.reset(token)

    def _store(self, node: Node, result: Any, handed: Handed) -> Outputs:
        if node.role == "metric":
            return returns.store_metric(self.store, node, result)
        if node.role == "check":
            verdict, evidence = measures.verdict(result, node.op.name, handed.whole(), node.op.preset)
            return returns.store_check(self.store, node, verdict, evidence)
        return returns.store_outputs(self.store, node, result, self.last(node.name))


class _Raised(Exception):
    """The user's code raised: the cause."""
