"""Fanning out: one map on its way, from what it has in common with the last one to its result.

Invariant: an item whose digest is as it was, in a map that is the same apart from its items, is as it was;
every other item is looked up and executed like any step. The result is complete or there is none; what ran
is kept either way. What it costs follows the items that are new, but for a look at each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from aq.formats.artifacts import collected
from aq.formats.artifacts.collected import Element
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact, MappedItem, RunStep, Step, encode
from aq.formats.trees.prolly import build_list
from aq.pipeline.flow.graph import Node
from aq.pipeline.run.tally import Ended
from aq.pipeline.step.execution import Failure, made_by
from aq.pipeline.step.planning import Planner
from aq.pipeline.step.reasons import Reason, reason
from aq.pipeline.step.unfolding import Unfolded
from aq.store.commits.snapshots import items_of

STATES: Final = ("run", "reused", "failed", "cancelled")


def apart_from_items(node: Node, step: Step) -> tuple[Any, ...]:
    """What two maps have in common where only their items differ."""
    place = node.place

    def own(parts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in parts.items() if not name.startswith(place)}

    options = {name: text for name, text in step.options.items() if f" {place}" not in name}
    plain = (
        step.op,
        step.role,
        step.seed,
        step.python,
        step.code,
        step.values,
        step.packages,
        step.variables,
    )
    return (*plain, options, own(step.params), own(step.inputs))


class Fan(msgspec.Struct, eq=False):
    """One map under way. `index`: its place in the flow; `step`: its record, without a result."""

    planner: Planner
    index: int
    node: Node
    step: Step
    unfolded: Unfolded
    force: bool = False
    before: Step | None = None
    known: dict[str, MappedItem] = {}
    done: dict[str, MappedItem] = {}
    told: list[RunStep] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    failures: list[Failure] = []
    notes: dict[str, None] = {}
    hidden: dict[str, str] = {}
    under_way: int = 0
    seconds: float = 0.0
    saved: float = 0.0
    cost: float = 0.0
    _todo: Iterator[int] | None = None

    @property
    def size(self) -> int:
        """How many items there are."""
        return len(self.unfolded.items)

    def start(self, *, keep: bool = True) -> list[str]:
        """Take over what the last map has in common with this one: the names of these items.

        `keep`: store the other items, as far as only this run knows them.
        """
        last = self.planner.last(self.node.name)
        self.before = last if last is not None and last.role == "map" else None
        taken = [] if self.force else self._taken_over()
        self.counts["reused"] = len(taken)
        taken_keys = set(taken)
        todo = [at for at, key in enumerate(self.unfolded.keys) if key not in taken_keys]
        if keep:
            self.unfolded.keep(todo)
        self._todo = iter(todo)
        return [f"{self.node.name}/{key}" for key in taken]

    def _taken_over(self) -> list[str]:
        before, planner, node = self.before, self.planner, self.node
        if before is None or apart_from_items(node, before) != apart_from_items(node, self.step):
            return []
        if next(planner.files.changed(before.hidden), None) is not None:
            return []
        store, unfolded = planner.store, self.unfolded
        self.known = {one.key: one for one in items_of(store, before)}
        taken = []
        for at, key in enumerate(unfolded.keys):
            one = self.known.get(key)
            is_same = one is not None and one.digest.hex() == unfolded.digest(at)
            if one is not None and is_same and all(store.has(id) for id, _ in one.outputs):
                self.done[key] = one
                taken.append(key)
        self.hidden.update(before.hidden)
        self._account(taken)
        return taken

    def _account(self, taken: list[str]) -> None:
        """What the items had cost that are taken over: all, without those that are not."""
        store, last = self.planner.store, self.planner.previous(self.node.name)
        cost = float((store.summary(last) or {}).get("seconds", 0.0)) if last else 0.0
        kept = set(taken)
        others = (one.step for key, one in self.known.items() if key not in kept)
        cost -= sum(float((store.summary(one) or {}).get("seconds", 0.0)) for one in others)
        self.saved = self.cost = max(0.0, cost) if taken else 0.0

    def next(self) -> int | None:
        """The position of the next item to be looked at; None at the end."""
        assert self._todo is not None
        found = next(self._todo, None)
        if found is None:
            self._todo = iter(())
        return found

    # --- items that ended

    def take(self, at: int, how: Ended) -> None:
        """An item has a result."""
        key, one = self.unfolded.keys[at], how.step
        assert one.step is not None
        store = self.planner.store
        step = get_record(store, Step, one.step)
        formats = [get_record(store, Artifact, id).format for _, id in step.outputs]
        outputs = [(id, format) for (_, id), format in zip(step.outputs, formats, strict=True)]
        digest = bytes.fromhex(self.unfolded.digest(at))
        self.done[key] = MappedItem(key=key, step=one.step, digest=digest, outputs=outputs)
        self._reads(step.hidden)
        self._count(how)

    def _reads(self, hidden: Mapping[str, str]) -> None:
        """What an item read by itself. A file that changed between two items is as neither of them saw it."""
        for path, digest in hidden.items():
            known = self.hidden.get(path, digest)
            self.hidden[path] = digest if known == digest else f"{known}+{digest}"

    def fail(self, how: Ended) -> None:
        """An item has none."""
        if how.failure is not None:
            self.failures.append(how.failure)
        self._count(how)

    def _count(self, how: Ended) -> None:
        one = how.step
        self.counts[one.status] += 1
        self.seconds += one.seconds
        self.saved += one.saved
        self.cost += one.seconds + one.saved
        self.notes.update(dict.fromkeys(note.replace(one.name, self.node.name) for note in how.notes))
        if one.status in ("run", "failed"):
            self.told.append(one)

    # --- the end

    def end(self, why: Callable[[], list[Reason]]) -> Ended:
        """The map has ended; items that were not come to are cancelled."""
        rest = self.size - self.counts.total()
        if rest:
            self.counts["cancelled"] += rest
        whole = len(self.done) == self.size
        status = next((one for one in ("failed", "cancelled", "run") if self.counts[one]), "reused")
        made = self._record() if whole else None
        one = RunStep(
            name=self.node.name,
            status=status,
            role="map",
            step=made,
            reasons=self._reasons(why) if status == "run" or self.told else [],
            seconds=self.seconds,
            saved=self.saved,
            error=self._error(),
            counts={state: self.counts[state] for state in STATES if self.counts[state]},
            items=self._told(),
        )
        if made is None:
            return Ended(one, failures=tuple(self.failures), notes=tuple(self.notes))
        outputs = get_record(self.planner.store, Step, made).outputs
        return Ended(one, made_by(self.node, made, outputs), notes=tuple(self.notes), hidden=self.hidden)

    def _error(self) -> str:
        if not self.failures:
            return ""
        first = self.failures[0]
        more = f" (and {len(self.failures) - 1} more items)" if len(self.failures) > 1 else ""
        return f"{first.step}: {first.error}{more}"

    def _told(self) -> bytes | None:
        if not self.told:
            return None
        return build_list(self.planner.store, (encode(one) for one in self.told))

    def _reasons(self, why: Callable[[], list[Reason]]) -> list[Reason]:
        """Why it runs; how many of its items are new instead of how they look together."""
        found = why()
        if self.before is None:
            return found
        place, kind = self.node.place, "data"
        shown = [one for one in found if not one["detail"].startswith(f"{place} ")]
        if len(shown) < len(found):
            kind = "param"
        if self.known:
            new = sum(key not in self.known for key in self.unfolded.keys)
            gone = len(self.known) - sum(key in self.known for key in self.unfolded.keys)
            words = [f"{new} new" if new else "", f"{gone} gone" if gone else ""]
            told = ", ".join(word for word in words if word)
            if told:
                shown = [*shown, reason(kind, f"items: {told}")]
        return shown or found

    def _record(self) -> Digest:
        """The map's step with its result, stored."""
        store, keys = self.planner.store, self.unfolded.keys
        items = [self.done[key] for key in keys]
        outputs = [
            (name, bytes(put_record(store, self._collection(items, at))))
            for at, name in enumerate(self.node.outputs)
        ]
        step = msgspec.structs.replace(
            self.step,
            outputs=outputs,
            hidden=dict(sorted(self.hidden.items())),
            items=bytes(build_list(store, (encode(one) for one in items))),
        )
        id = put_record(store, step)
        store.put_summary(id, {"seconds": self.cost})
        return id

    def _collection(self, items: list[MappedItem], output: int) -> Artifact:
        named = zip(self.unfolded.items, items, strict=True)
        elements = (Element(key, *one.outputs[output]) for (key, _), one in named)
        return collected.collect(elements, self.planner.store, keyed=self.unfolded.keyed)
