"""The paths that the inputs of a step had when it read them.

Invariant: a step knows its inputs by content alone; of several paths with the same content the one
is named that the step's flow handed to it, as far as the run recorded that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from aq.formats import partitions
from aq.formats.objects import get_record
from aq.formats.records import Run, Step
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.history.freshness import load_static
from aq.pipeline.look import show
from aq.pipeline.step import gathering
from aq.store.commits import snapshots
from aq.store.store import Store

Place = tuple[str, bytes]


class Readings:
    """What the steps of one run read; `made`: (path, content) of what each made."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self._run = store, run
        self._files = dict(_files_of_tables(store, run))
        self.gathered = dict(_gathered(store, run))
        self._near: dict[str, list[Place]] = {}
        self.made: dict[str, list[Place]] = {}
        for path, entry in snapshots.entries(store, run.snapshot, prefix=of_run(run) + "/"):
            name = show.step_name(path, entry)
            if name is not None:
                self.made.setdefault(name, []).append((path, bytes(entry.artifact)))
        self._static = static = load_static(store, run)
        if static is None:
            return
        for step, above in static.upstream.items():
            self._near[step] = [one for name in above for one in self.made.get(name, [])]
        for source in run.sources:
            for step in static.readers.get(source.path, []):
                self._near.setdefault(step, []).append((source.path, bytes(source.artifact)))

    def waited(self, step: str) -> list[str]:
        """The sources and the steps that a step of the flow waits for."""
        if self._static is None:
            return []
        sources = [path for path, steps in self._static.readers.items() if step in steps]
        return [*sources, *self._static.upstream.get(step, [])]

    @cached_property
    def _known(self) -> dict[bytes, str]:
        return show.makers(self._store, self._run)

    def places(self, step: str, inputs: Mapping[str, bytes]) -> list[tuple[str | None, bytes]]:
        """(path, content) of a step's inputs; of a table that was parsed, the file's; of partitions that were
        brought together, each one's too.
        """
        paths = self.paths(step, inputs)
        found: list[tuple[str | None, bytes]] = []
        for place, id in inputs.items():
            found.append((paths[place], self._files.get(bytes(id), bytes(id))))
            found += self.gathered.get(bytes(id), [])
        return found

    def paths(self, step: str, inputs: Mapping[str, bytes]) -> dict[str, str | None]:
        """{place: path} of a step's inputs; None where no path of the run has the content."""
        near = self._near.get(step, [])
        free = list(near)
        found: dict[str, str | None] = {}
        for place, id in inputs.items():
            wanted = (bytes(id), self._files.get(bytes(id)))
            hits = [one for one in free if one[1] in wanted] or [one for one in near if one[1] in wanted]
            if hits and hits[0] in free:
                free.remove(hits[0])
            found[place] = hits[0][0] if hits else self._known.get(bytes(id))
        return found


def _files_of_tables(store: Store, run: Run) -> list[tuple[bytes, bytes]]:
    """(table, file) of every parse step of the run."""
    found = []
    for one in run.steps:
        if one.role == "parse" and one.step is not None:
            step = get_record(store, Step, one.step)
            for file in step.inputs.values() if step.op != gathering.OP else ():
                found += [(bytes(table), bytes(file)) for _, table in step.outputs]
    return found


def _gathered(store: Store, run: Run) -> list[tuple[bytes, list[Place]]]:
    """(artifact, its parts) of everything that was brought together for the run."""
    found = []
    for one in run.steps:
        if one.role == "parse" and one.step is not None and gathering.is_pattern(one.name):
            step = get_record(store, Step, one.step)
            if step.op == gathering.OP:
                rest = partitions.pattern_of(one.name)[1]
                parts = [(f"{space}/{rest}", bytes(id)) for space, id in step.inputs.items()]
                found += [(bytes(whole), parts) for _, whole in step.outputs]
    return found
