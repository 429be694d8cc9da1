"""Whether a run's steps fit together: what each names, and in which order they stand (I51, I53).

Invariant: a step that takes what a later one gave is told only if nothing else in the store gave it:
two ops may return the same value.
"""

from __future__ import annotations

from collections.abc import Iterator

from aq.formats.artifacts import collected
from aq.formats.errors import Damaged
from aq.formats.objects import get_record
from aq.formats.records import Artifact, MappedItem, Run, RunStep, Step, decode
from aq.formats.trees.prolly import list_items
from aq.store.store import Store


class RunCheck:
    """One check of many runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._makers: dict[bytes, set[bytes]] | None = None

    def problems(self, run: Run) -> Iterator[str]:
        """What is wrong with the steps of a run; damage to a step is its own to tell."""
        for one in run.steps:
            problem = self._named(one)
            if problem:
                yield f"its step {one.name} is {one.status}, and {problem}"
        yield from self._order(run)

    def _named(self, one: RunStep) -> str:
        done = one.status in ("run", "reused")
        if done != (one.step is not None) or (one.attempt is not None and one.status != "failed"):
            return "does not name what this goes with"
        step, attempt = self._step(one.step), self._step(one.attempt)
        if step is not None and not step.outputs:
            return "names one without outputs"
        if attempt is not None and attempt.outputs:
            return "names an attempt that has outputs"
        return ""

    def _step(self, id: bytes | None) -> Step | None:
        try:
            return None if id is None else get_record(self._store, Step, id)
        except Damaged:
            return None

    def _order(self, run: Run) -> Iterator[str]:
        known = {bytes(source.artifact) for source in run.sources}
        later = self._outputs(run)
        for at, one in enumerate(run.steps):
            step = self._step(one.step)
            if step is None:
                continue
            for name, id in step.inputs.items():
                if id not in known and later.get(id, -1) > at and not self._is_made_elsewhere(id, run, at):
                    maker = run.steps[later[id]].name
                    yield f"its step {one.name} takes {name} from {maker}, which comes later"
            known.update(bytes(id) for _name, id in step.outputs)

    def _outputs(self, run: Run) -> dict[bytes, int]:
        """The last step that gives each artifact, by its position."""
        found: dict[bytes, int] = {}
        for at, one in enumerate(run.steps):
            step = self._step(one.step)
            found.update({bytes(id): at for _name, id in (step.outputs if step else ())})
        return found

    def _is_made_elsewhere(self, artifact: bytes, run: Run, at: int) -> bool:
        """Whether a step that does not come after this one in the run gave the same."""
        if self._makers is None:
            self._makers = self._all_makers()
        after = {bytes(one.step) for one in run.steps[at + 1 :] if one.step is not None}
        return bool(self._makers.get(artifact, set()) - after)

    def _all_makers(self) -> dict[bytes, set[bytes]]:
        makers: dict[bytes, set[bytes]] = {}
        for _key, id in self._store.index.items("steps"):
            step = self._step(id)
            for _name, output in step.outputs if step is not None else ():
                makers.setdefault(bytes(output), set()).add(bytes(id))
        return makers


def map_problems(store: Store, step: Step) -> Iterator[str]:
    """What is wrong with the items of a map's step: each made what it says, all together its result."""
    if step.items is None:
        return
    try:
        items = [decode(MappedItem, one) for one in list_items(store, step.items)]
        if len({one.key for one in items}) != len(items):
            yield "two of its items have one name"
        for at, (name, id) in enumerate(step.outputs):
            held = collected.elements(get_record(store, Artifact, id), store)
            if [one.outputs[at][0] for one in items] != [artifact for _, artifact in held]:
                yield f"its result {name} is not what its items made".replace("  ", " ")
        for one in items:
            made = [id for _, id in get_record(store, Step, one.step).outputs]
            if made != [id for id, _ in one.outputs]:
                yield f"its item {one.key} made something else"
    except IndexError:
        yield "its items have other outputs than it"
    except Damaged:
        return  # the object itself is named
