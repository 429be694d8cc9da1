"""The search for a first bad commit among the ancestors of BAD that are not ancestors of GOOD.

Invariant: the commit found is bad and none of its parents in question is; every value that was
looked at is in the record. Recorded values are free and all used; only then are missing ones
computed, halving what is left. A metric need not be monotone: what is found is one real edge from
good to bad, the one nearest to BAD that the recorded values show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import EllipsisType

from aq.formats.identity import Digest
from aq.formats.records import Commit
from aq.pipeline.prove.judge import Judge
from aq.pipeline.records.outcomes import Probe

Graph = Mapping[Digest, Commit]


class Skipped(Exception):
    """The value of a commit cannot be had; says why."""


@dataclass(slots=True)
class Trail:
    """Values looked at so far, in order."""

    recorded: Callable[[Digest], float | EllipsisType | None]
    compute: Callable[[Digest], float | None]
    values: dict[Digest, float | None] = field(default_factory=dict)
    skipped: dict[Digest, str] = field(default_factory=dict)
    probes: list[Probe] = field(default_factory=list)

    def known(self, commit: Digest) -> bool:
        """Note the recorded value of a commit, if there is one."""
        if commit in self.values:
            return True
        value = self.recorded(commit)
        if isinstance(value, EllipsisType):
            return False
        self._note(commit, value, "recorded")
        return True

    def value(self, commit: Digest) -> float | None:
        """The value, computed where it is not recorded. Raises Skipped."""
        if not self.known(commit):
            if commit in self.skipped:
                raise Skipped(self.skipped[commit])
            try:
                self._note(commit, self.compute(commit), "computed")
            except Skipped as why:
                self.skipped[commit] = str(why)
                self.probes.append(Probe(commit=str(commit), value=None, source="skipped", detail=str(why)))
                raise
        return self.values[commit]

    def _note(self, commit: Digest, value: float | None, source: str) -> None:
        self.values[commit] = value
        self.probes.append(Probe(commit=str(commit), value=value, source=source))

    def count(self, source: str) -> int:
        """How many probes were recorded, computed or skipped."""
        return sum(probe.source == source for probe in self.probes)


@dataclass(frozen=True, slots=True)
class Found:
    """`culprit`, or None where only `candidates` could be told; all of them bad or unknown."""

    culprit: Digest | None
    candidates: list[Digest]


def first_bad(graph: Graph, bad: Digest, judge: Judge, trail: Trail) -> Found:
    """Search the candidates: `graph` maps `bad` and its ancestors that are none of GOOD's to commits."""
    order, ancestors = _ancestor_sets(graph)
    place = {commit: index for index, commit in enumerate(order)}
    for commit in order:
        trail.known(commit)
    first, rest = _narrow(order, ancestors, place[bad], judge, trail)
    while rest & (rest - 1):
        untestable = sum(1 << place[commit] for commit in trail.skipped if commit in place)
        probe = _halving(ancestors, rest, rest & ~(1 << first) & ~untestable)
        if probe is None:
            return Found(None, [order[index] for index in _members(rest)])
        try:
            value = trail.value(order[probe])
        except Skipped:
            continue
        if judge.is_bad(value):
            first, rest = probe, rest & ancestors[probe]
        else:
            rest &= ~ancestors[probe]
    return Found(order[first], [order[first]])


def _narrow(
    order: list[Digest], ancestors: list[int], bad: int, judge: Judge, trail: Trail
) -> tuple[int, int]:
    """Use every recorded value: drop what precedes a good one, then go to the earliest bad one."""
    rest = ancestors[bad]
    for index in _members(rest):
        commit = order[index]
        if index != bad and commit in trail.values and not judge.is_bad(trail.values[commit]):
            rest &= ~ancestors[index]
    known = [i for i in _members(rest) if order[i] in trail.values and judge.is_bad(trail.values[order[i]])]
    first = min([bad, *known], key=lambda i: ((ancestors[i] & rest).bit_count(), i))
    return first, rest & ancestors[first]


def _halving(ancestors: list[int], rest: int, choices: int) -> int | None:
    """The choice whose ancestors among the rest come nearest to half of the rest."""
    half = rest.bit_count() / 2
    members = _members(choices)
    return min(members, key=lambda i: abs((ancestors[i] & rest).bit_count() - half), default=None)


def _members(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found


def _ancestor_sets(graph: Graph) -> tuple[list[Digest], list[int]]:
    """The commits, parents first, and for each the bit set of its ancestors and itself."""
    place: dict[Digest, int] = {}
    order: list[Digest] = []
    sets: list[int] = []
    stack = sorted(graph, key=lambda id: (graph[id].time, id), reverse=True)
    while stack:
        commit = stack[-1]
        parents = [Digest(parent) for parent in graph[commit].parents if Digest(parent) in graph]
        missing = [parent for parent in parents if parent not in place]
        if commit in place or not missing:
            stack.pop()
        if commit in place:
            continue
        if missing:
            stack.extend(missing)
            continue
        place[commit] = len(order)
        bits = 1 << len(order)
        for parent in parents:
            bits |= sets[place[parent]]
        order.append(commit)
        sets.append(bits)
    return order, sets
