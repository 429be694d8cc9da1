"""Unfolding a map: its items as steps of their own, each with a name, a digest of what it is given, a record.

Invariant: the step of an item is that of a plain call with the item, under FLOW/NAME/KEY. Two items
of equal names and digests, of maps whose steps are equal apart from the items, have steps with equal keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import msgspec
from aq.formats.artifacts import collected, values
from aq.formats.errors import Unstorable, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Overlay, get_record
from aq.formats.python import canonical
from aq.formats.records import Step
from aq.pipeline.flow import hints, mapping, redacted
from aq.pipeline.flow.graph import Argument, Constant, Group, Node, Output, leaves
from aq.pipeline.step import constants, inputs
from aq.pipeline.step.execution import Made, StepStore
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.planning import Planner, Prepared
from aq.store.commits.snapshots import items_of
from blake3 import blake3
from msgspec.structs import replace

Given = Mapping[str, Input]


class Found(msgspec.Struct, frozen=True):
    """One item that only a run could tell: a value, or the artifact of what a map made."""

    value: Any = None
    artifact: bytes | None = None

    @property
    def shown(self) -> Any:
        """What its name is made of: an artifact has no text of its own."""
        return self.value if self.artifact is None else Group(list, (), ())


Item = Argument | Found


class Unfolded:
    """The items of one map. `keyed`: they come from a dict; `items`: (key of the dict or None, item)."""

    def __init__(self, planner: Planner, node: Node, given: Given, made: Mapping[str, Made]) -> None:
        self.planner, self.node, self.given = planner, node, given
        self._made = made
        self._argument = node.arguments[node.place]
        self._digests: dict[int, str] = {}
        self._ids: dict[tuple[int, bool], Digest] = {}
        self.keyed, self.items = self._spread()

    def _spread(self) -> tuple[bool, list[tuple[Any, Item]]]:
        if isinstance(self._argument, Constant | Group):
            found = mapping.parts(self._argument)
            kind = self._argument.kind if isinstance(self._argument, Group) else type(self._argument.value)
            return kind is dict, list(found)
        whole = self.given[self.node.place]
        record = self.planner.record(whole.artifact)
        if record.format == collected.FORMAT:
            elements = collected.elements(record, self.planner.store)
            return collected.is_dict(record), [(key, Found(artifact=id)) for key, id in elements]
        folder = self.planner.store.control / "tmp"
        value = inputs.load(whole, record, self.planner.store, folder)
        found_in = mapping.spread(
            value, f"{self.node.where}: {whole.label}, which {self.node.name} is called for,"
        )
        pairs = found_in.items() if isinstance(found_in, dict) else ((None, one) for one in found_in)
        return isinstance(found_in, dict), [(key, Found(one)) for key, one in pairs]

    # --- names

    @cached_property
    def keys(self) -> list[str]:
        """The last part of each item's name."""
        known = names_above(self.planner.store, self.node, self._made)
        if known is not None and len(known) == len(self.items):
            return known
        named = [(key, one.shown if isinstance(one, Found) else one) for key, one in self.items]
        return mapping.names(named, self.digest, secret=self._is_secret())

    def _is_secret(self) -> bool:
        if not isinstance(self._argument, Constant):
            return False
        shown = self.planner.prepared[self.node.name].params[self.node.place]
        return shown.startswith(redacted.PLAIN_MARK)

    # --- digests

    def digest(self, at: int) -> str:
        """64 hex digits that stand for what an item is given."""
        known = self._digests.get(at)
        if known is None:
            known = self._digests[at] = self._digest(at)
        return known

    def _digest(self, at: int) -> str:
        item = self.items[at][1]
        if isinstance(item, Constant):
            return self._of_value(item.value, lambda: self._described(at, item)[0].rpartition(" ")[2])
        if isinstance(item, Found):
            artifact = item.artifact
            text = (
                bytes(artifact).hex()
                if artifact is not None
                else self._of_value(item.value, lambda: str(self._stored(at, self.planner.held)))
            )
            return blake3(f"{self._wanted} {text}".encode()).hexdigest()
        text = self._described(at, item)[0] if isinstance(item, Group) else ""
        own = [
            (one.place, bytes(one.artifact), one.form, one.file) for one in self._inputs(at, item).values()
        ]
        return blake3(msgspec.msgpack.encode((text, own))).hexdigest()

    @staticmethod
    def _of_value(value: Any, otherwise: Callable[[], str]) -> str:
        try:
            return canonical.fingerprint(value)
        except Unstorable:
            return otherwise()

    # --- the steps

    def node_of(self, at: int) -> Node:
        """The step of one item, as if the op had been called with it."""
        return item_node(self.node, self.keys[at], self.items[at][1])

    def step_of(self, at: int, *, keep: bool) -> tuple[Node, dict[str, Input], Step]:
        """The step of one item, what it is given, its record without outputs. `keep`: store the item."""
        node, item = self.node_of(at), self.items[at][1]
        given = {**self._shared, **self._inputs(at, item, keep=keep)}
        return node, given, self.planner.step(node, given, self._prepared(at, node, item))

    def _prepared(self, at: int, node: Node, item: Item) -> Prepared:
        params, reached = self._common
        if isinstance(item, Constant | Group):
            text, inside = self._described(at, item)
            params, reached = {**params, self.node.each: text}, constants.merged(reached, inside)
        return Prepared(node, reached, params, {}, self.planner.seed(node))

    @cached_property
    def _common(self) -> tuple[dict[str, str], Any]:
        """What all items share of params and code."""
        plain = {name: one for name, one in self.node.arguments.items() if name != self.node.place}
        prepared = self.planner.prepare_one(replace(self.node, arguments=plain, each=""))
        return dict(prepared.params), prepared.fingerprint

    @cached_property
    def _shared(self) -> dict[str, Input]:
        return {place: one for place, one in self.given.items() if not place.startswith(self.node.place)}

    def _described(self, at: int, item: Constant | Group) -> tuple[str, Any]:
        where = f"item {at} of {self.node.name} ({self.node.where})"
        planner = self.planner
        return constants.described(
            planner.graph, self.node.each, item, where, planner.project, planner.environ
        )

    # --- inputs

    def _inputs(self, at: int, item: Item, *, keep: bool = False) -> dict[str, Input]:
        each = self.node.each
        if isinstance(item, Found):
            return {each: self._found(at, item, keep=keep)}
        before = f"{self.node.place}[{self._place(at)!r}]"
        found = {}
        for place, _ in leaves("", item):
            one = self.given[before + place]
            found[each + place] = replace(one, place=each + place)
        return found

    def _place(self, at: int) -> Any:
        return self._argument.keys[at] if isinstance(self._argument, Group) else at

    def _found(self, at: int, item: Found, *, keep: bool) -> Input:
        store = self.planner.store if keep else self.planner.held
        artifact = Digest(item.artifact) if item.artifact is not None else self._stored(at, store)
        record = self.planner.record(artifact)
        form = inputs.handed_over(record, self._wanted, "")
        label = self.given[self.node.place].label
        if record.kind == "file" and form in hints.TABLES:
            raise UsageError(f"{label} holds files: annotate {self.node.each} of {self.node.name} as Path")
        return Input(self.node.each, label, artifact, form)

    def _stored(self, at: int, sink: StepStore | Overlay) -> Digest:
        item = self.items[at][1]
        assert isinstance(item, Found)
        if (id := self._ids.get((at, sink is self.planner.held))) is None:
            label = self.given[self.node.place].label
            id = values.encode(item.value, sink, at=f"item {at} of {label}").id
            self._ids[at, sink is self.planner.held] = id
        return id

    def keep(self, positions: Iterable[int]) -> None:
        """Store items that only this run knows. One that cannot be is refused when it is its turn."""
        for at in positions:
            item = self.items[at][1]
            if isinstance(item, Found) and item.artifact is None:
                with suppress(Unstorable):
                    self._stored(at, self.planner.store)

    @cached_property
    def _wanted(self) -> hints.Form:
        return hints.form(self.node.annotated.get(self.node.each))


def names_above(store: StepStore, node: Node, made: Mapping[str, Made]) -> list[str] | None:
    """The names of the items that a map of the same flow made for this one: they keep them."""
    argument = node.arguments[node.place]
    if not isinstance(argument, Output) or argument.path not in made:
        return None
    step = get_record(store, Step, made[argument.path].step)
    return None if step.items is None else [one.key for one in items_of(store, step)]


def keeps_names(store: StepStore, node: Node, step: Step, made: Mapping[str, Made]) -> bool:
    """Whether the items of a map that was recorded would be called the same now.

    Its key stands for what they are, but other items of the map above may have given the same.
    """
    names = names_above(store, node, made)
    return names is None or names == [one.key for one in items_of(store, step)]


def given_items(node: Node) -> list[Argument] | None:
    """The items of a map that the flow gives itself; None where only a run can tell."""
    argument = node.arguments[node.place]
    if not isinstance(argument, Constant | Group):
        return None
    return [item for _, item in mapping.parts(argument)]


def item_node(node: Node, key: str, item: Item) -> Node:
    """The step of one item of a map."""
    argument = node.arguments[node.place]
    shared = {name: one for name, one in node.arguments.items() if name != node.place}
    if isinstance(item, Found):
        assert not isinstance(argument, Constant | Group)
        item = argument
    return replace(node, name=f"{node.name}/{key}", arguments={**shared, node.each: item}, each="")
