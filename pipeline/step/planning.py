"""Planning: the record of a step before it runs, and whether its result is known already.

Invariant: the parts of a step's record are exactly those of docs/format.md, section 10. Reads,
fingerprints and constants are settled for the whole graph before its first step, so that what runs
is what was digested, and bad input is told before anything has run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import msgspec
from aq.formats.identity import Digest
from aq.formats.objects import Overlay, get_record
from aq.formats.records import Artifact, Step
from aq.pipeline.code.fingerprint import Fingerprint, fingerprint, variable_digest
from aq.pipeline.code.hidden_reads import Files
from aq.pipeline.code.lines import Lines
from aq.pipeline.code.load import Project
from aq.pipeline.flow import hints, ops
from aq.pipeline.flow.graph import Constant, Graph, Group, Leaf, Node, Read
from aq.pipeline.flow.hints import Form
from aq.pipeline.flow.seeds import seed_of
from aq.pipeline.step import amounts, constants, inputs, mapped, parsing
from aq.pipeline.step.carried import Carried
from aq.pipeline.step.execution import Made, StepStore
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.parsing import Parser
from aq.pipeline.step.reasons import KINDS, Details, Reason, differences, reason
from aq.store.commits.snapshots import items_of

_KEPT: Final = 10_000
_KEPT_BYTES: Final = 1_000
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_PRESETS: Final = "aq.pipeline.presets"
_OWN: Final = {"ops": "aq.pipeline.ops", "presets": _PRESETS}
"""What modules of aq are called in keys, wherever they lie (docs/format.md, section 10)."""
ReadSource = Callable[[Read], Digest | None]
Previous = Callable[[str], bytes | None]


class Parse(msgspec.Struct, frozen=True):
    """A table file that an op wants as a table."""

    read: Leaf
    label: str
    file: Digest
    record: Artifact
    parser: Parser
    options: Mapping[str, Any]
    step: Step


class Prepared(msgspec.Struct, frozen=True):
    """What is settled about one node before anything runs."""

    node: Node
    fingerprint: Fingerprint
    params: Mapping[str, str]
    forms: Mapping[str, Form]
    seed: int


@dataclass(slots=True)
class Planner:
    """Settles a graph against a store and a project.

    `read` finds the artifact of a source (None where only a run will make it), `previous` the id of
    the step recorded last under FLOW/NAME.
    """

    graph: Graph
    store: StepStore
    project: Project
    read: ReadSource
    environ: Mapping[str, str] = field(default_factory=dict)
    previous: Previous = lambda name: None
    sources: dict[int, Digest] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)
    carried: Carried = field(init=False)
    held: Overlay = field(init=False)
    files: Files = field(init=False)
    details: Details = field(init=False)
    _reached: dict[int, Fingerprint] = field(default_factory=dict)
    _records: dict[bytes, Artifact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.previous = mapped.through(self.store, self.previous)
        self.held = Overlay(self.store)
        self.carried = Carried(self.project, self.held)
        self.files = Files(self.project.root, self.project.file_id)
        lines = Lines(self.project)
        self.details = Details(lines.code, lines.value, self._amount)

    def prepare(self) -> None:
        """Find the sources and fingerprint the ops. Raises AqError; nothing has run then."""
        for read in self.graph.reads:
            found = self.read(read)
            if found is not None:
                self.sources[read.index] = found
        for node in self.graph.steps:
            self.prepared[node.name] = self.prepare_one(node)
            if self.graph.reads:
                self._refuse_unreadable(node)

    def _refuse_unreadable(self, node: Node) -> None:
        """A source that an op wants as a table must be one, or a file of a known kind with options
        that can be compared.
        """
        for place, leaf in node.leaves():
            if isinstance(leaf, Read) and leaf.index in self.sources:
                record = get_record(self.store, Artifact, self.sources[leaf.index])
                file = inputs.file_name(leaf)
                form = inputs.handed_over(record, self.prepared[node.name].forms[place], file)
                if record.kind == "file" and form in hints.TABLES:
                    parsing.parse_step(self.sources[leaf.index], parsing.parser_for(file, form), leaf.options)

    def prepare_one(self, node: Node) -> Prepared:
        """What is settled about one node."""
        params: dict[str, str] = {}
        reached = [self._reaches(node)]
        for name, argument in node.arguments.items():
            if isinstance(argument, Constant | Group):
                at = f"argument {name!r} of {node.name} ({node.where})"
                params[name], inside = constants.described(
                    self.graph, name, argument, at, self.project, self.environ
                )
                reached.append(inside)
        return Prepared(node, constants.merged(*reached), params, inputs.forms(node), self.seed(node))

    def seed(self, node: Node) -> int:
        """The seed of a step."""
        return seed_of(self.graph.name, node, self.graph.params)

    def _reaches(self, node: Node) -> Fingerprint:
        function = node.op.function
        if function is ops.within:
            return Fingerprint(code={"aq:within": "1"})
        if op_text(function).startswith(_PRESETS):
            from aq.pipeline.flow.presets import VERSION

            return Fingerprint(code={f"aq:checks.{function.__name__.removeprefix('_')}": VERSION})
        if id(function) not in self._reached:
            self._reached[id(function)] = fingerprint(function, self.project, environ=self.environ)
        return self._reached[id(function)]

    # --- inputs

    def inputs_of(
        self, node: Node, made: Mapping[str, Made], parse: Callable[[Parse], Digest | None]
    ) -> dict[str, Input | None]:
        """The node's inputs by place; None for one that is not known yet.

        `made` holds what earlier steps made by path; `parse` gives the table of a file, or None.
        """
        found: dict[str, Input | None] = {}
        for place, leaf in node.leaves():
            wanted = self.prepared[node.name].forms[place]
            if isinstance(leaf, Read):
                file = self.sources.get(leaf.index)
                found[place] = self._input(place, leaf, file, wanted, parse) if file is not None else None
            elif leaf.path in made:
                found[place] = self._input(place, leaf, made[leaf.path].artifact, wanted, parse)
            else:
                found[place] = None
        return found

    def _input(
        self, place: str, leaf: Leaf, artifact: Digest, wanted: Form, parse: Callable[[Parse], Digest | None]
    ) -> Input | None:
        record = self.record(artifact)
        file, label = inputs.file_name(leaf), label_of(leaf)[1]
        form = inputs.handed_over(record, wanted, file)
        if record.kind == "file" and form in hints.TABLES:
            parser = parsing.parser_for(file or label, form)
            options = leaf.options if isinstance(leaf, Read) else {}
            step = parsing.parse_step(artifact, parser, options)
            table = parse(Parse(leaf, label, artifact, record, parser, options, step))
            if table is None:
                return None
            form = form if form in ("arrow", "polars") else "native"
            return Input(place, label, table, form)
        return Input(place, label, artifact, form, file if form == "path" else "")

    # --- the record

    def step(self, node: Node, given: Mapping[str, Input | None], prepared: Prepared | None = None) -> Step:
        """The record without outputs; its key holds only where every input is known.

        `prepared`: of an item of a map, which is prepared when it is its turn.
        """
        from aq.pipeline.step.keys import step_key

        prepared = prepared or self.prepared[node.name]
        known = {place: one for place, one in given.items() if one is not None}
        reached = constants.merged(prepared.fingerprint, *map(self._brought, known.values()))
        declared = {name: variable_digest(self.environ.get(name)) for name in node.op.options.variables}
        step = Step(
            key=b"",
            op=op_text(node.op.function),
            role=node.role,
            seed=prepared.seed,
            python=PYTHON,
            code=reached.code,
            values=reached.values,
            params=dict(prepared.params),
            inputs={place: bytes(one.artifact) for place, one in known.items()},
            packages=reached.packages,
            variables={**reached.variables, **declared},
            options=dict(_options(node, known)),
            opaque=reached.opaque,
        )
        return msgspec.structs.replace(step, key=bytes(step_key(step)))

    def _brought(self, given: Input) -> Fingerprint:
        return self.carried.by(bytes(given.artifact), self.record(given.artifact), given.form)

    def record(self, artifact: bytes) -> Artifact:
        """An artifact, stored or only looked at. Small ones are kept: the next steps take what one made."""
        known = self._records.get(artifact)
        if known is None:
            known = get_record(self.held, Artifact, artifact)
            if len(known.data or b"") <= _KEPT_BYTES and len(self._records) < _KEPT:
                self._records[bytes(artifact)] = known
        return known

    def recorded(self, step: Step, name: str = "") -> tuple[Digest, Step] | None:
        """The step of this key whose outputs are all in the store, and which read by itself what is
        there now: the one recorded last under the name, so that nothing moves without need, else the newest.
        """
        last = self.previous(name) if name else None
        newest = None
        for id in reversed(self.store.steps_with_key(step.key)):
            found = get_record(self.store, Step, id)
            if not self._is_whole(found):
                continue
            if next(self.files.changed(found.hidden), None) is not None:
                continue
            if last in (None, id):
                return id, found
            newest = newest or (id, found)
        return newest

    def _is_whole(self, step: Step) -> bool:
        """Whether what a step made is in the store, and of a map what each of its items made."""
        items = (id for one in items_of(self.store, step) for id, _ in one.outputs)
        ids = chain((id for _, id in step.outputs), items)
        return bool(step.outputs) and all(self.store.has(id) for id in ids)

    def last(self, name: str) -> Step | None:
        """The record of the step that was recorded last under a name."""
        id = self.previous(name)
        return None if id is None or not self.store.has(id) else get_record(self.store, Step, id)

    # --- reasons

    def why(self, node: Node, step: Step, unknown: Set[str] = frozenset(), *, force: bool) -> list[Reason]:
        """Why a step must run; `unknown` are the places of inputs that only a run will make."""
        before = self.last(node.name)
        if before is None:
            return [reason("param", "new partition") if self._begins() else reason("code", "new step")]
        told = labels(node)
        why = [
            reason(kind, f"{label} runs" if kind == "upstream" else f"{label} changed{self._amount(label)}")
            for kind, label in dict.fromkeys(told[place] for place in told if place in unknown)
        ]
        why += differences(_without(before, step, unknown), step, told, self.details)
        why += [reason("data", f"{what} (read by itself)") for _, what in self.files.changed(before.hidden)]
        why = [one for at, one in enumerate(why) if one not in why[:at]]  # a file may be read in two forms
        why.sort(key=lambda one: KINDS.index(one["kind"]))
        if not why and node.op.options.cache == "never":
            return [reason("code", 'declared with cache="never"')]
        if not why and force:
            return [reason("param", "forced")]
        return why or [reason("data", "its result is no longer in the store")]

    def _amount(self, label: str, before: bytes = b"", now: bytes = b"") -> str:
        """How much more or less an input holds; of a table that is parsed, its file."""
        file = next((self.sources.get(read.index) for read in self.graph.reads if read.label == label), None)
        parsed = self.last(label) if file is not None else None
        if parsed is not None and file is not None:
            before, now = parsed.inputs.get("file", b""), file
        if not (self.store.has(before) and self.store.has(now)):
            return ""
        found = [amounts.of_artifact(self.store, one, label) for one in (before, now)]
        return amounts.change(*found)

    def _begins(self) -> bool:
        """Whether nothing of this partition was made before: that is news, not the code."""
        if self.graph.space == self.graph.name:
            return False
        return all(self.previous(node.name) is None for node in self.graph.steps)

    def opaque(self) -> tuple[str, ...]:
        """What of the code could not be followed, step by step."""
        told = ((name, one) for name, known in self.prepared.items() for one in known.fingerprint.opaque)
        return tuple(dict.fromkeys(f"{name}: {one}" for name, one in told))


def _without(before: Step, now: Step, unknown: Set[str]) -> Step:
    """A recorded step without some of its inputs and what they brought along, to compare with `now`."""
    if not unknown:
        return before
    inputs = {place: id for place, id in before.inputs.items() if place not in unknown}
    forms = {f"{word} {place}" for place in unknown for word in ("as", "file")}
    return msgspec.structs.replace(
        before,
        inputs=inputs,
        options={name: text for name, text in before.options.items() if name not in forms},
        code={name: text for name, text in before.code.items() if name in now.code},
        values={name: text for name, text in before.values.items() if name in now.values},
        packages={name: text for name, text in before.packages.items() if name in now.packages},
    )


def _options(node: Node, given: Mapping[str, Input]) -> Iterator[tuple[str, str]]:
    """What of the declaration changes the result, and how inputs are handed over."""
    options = node.op.options
    plain: dict[str, Any] = {
        "version": options.version,
        "key": list(options.key),
        "outputs": [] if node.outputs == ("",) else list(node.outputs),
        "rowwise": options.rowwise,
        "better": options.better,
    }
    for name, value in plain.items():
        if value:
            yield (
                name,
                value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode(),
            )
    for place, one in given.items():
        if one.form != "native":
            yield f"as {place}", one.form
        if one.file:
            yield f"file {place}", one.file


def op_text(function: Callable[..., Any]) -> str:
    """What a step's record calls its op: `module:qualname`."""
    module = function.__module__
    own = _OWN.get(module.rpartition(".")[2]) if module.startswith("aq.") else None
    return f"{own or module}:{function.__qualname__}"


def label_of(leaf: Leaf) -> tuple[str, str]:
    """(data | upstream, the path that people know it by)."""
    return ("data", leaf.label) if isinstance(leaf, Read) else ("upstream", leaf.path)


def labels(node: Node) -> dict[str, tuple[str, str]]:
    """The labels of a node's inputs by place."""
    return {place: label_of(leaf) for place, leaf in node.leaves()}
