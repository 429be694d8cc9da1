"""`bisect`: which commit made a metric worse.

Invariant: values are those of the metric at each commit: recorded ones for nothing, missing ones by
running the metric's part of the flow there. What cannot be told is said (`inconclusive`, `unprobed`).
The search proper is in `pipeline.prove.search`, the segmentation of recorded values in
`pipeline.history.segments`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType

from aq.formats.errors import No
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit
from aq.pipeline.history import log
from aq.pipeline.history.directions import better_of
from aq.pipeline.history.segments import LevelShift, noise, shifts
from aq.pipeline.prove.judge import Judge, Rule, by_endpoints, fixed_judge
from aq.pipeline.prove.search import Found, Skipped, Trail, first_bad
from aq.pipeline.records.outcomes import Bisect, CommitValue, Culprit, Evaluations, Shift
from aq.store import revisions
from aq.store.commits import history
from aq.store.store import Store

Compute = Callable[[Digest, str], float | None]
"""The value of a metric at a commit, computed there. Raises Skipped."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `range` is GOOD..BAD or None; `recompute` distrusts recorded values."""

    metric: str
    range: str | None
    rule: Rule
    first_parent: bool = False
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A recorded value on the first-parent line."""

    commit: Digest
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """The recorded values on a first-parent line, oldest first, and where their level changes."""

    points: list[Point]
    shifts: list[LevelShift]

    def records(self) -> list[Shift]:
        """The changes of level, as they are told."""
        return [
            Shift(commit=str(self.points[one.index].commit), from_=one.before, to=one.after)
            for one in self.shifts
        ]


@dataclass(frozen=True, slots=True)
class Hunt:
    """Where the search takes place: its ends, the commits in question, what counts as bad."""

    good: Digest
    bad: Digest
    graph: dict[Digest, Commit]
    judge: Judge


def bisect(store: Store, query: Query, compute: Compute) -> Bisect:
    """Find the commit. Raises No where the ends cannot be told apart, NotFound for unknown names."""
    trail = Trail(recorded=_recorded(store, query), compute=lambda commit: compute(commit, query.metric))
    points = _recorded_line(store, query)
    series = Series(points, shifts([point.value for point in points]))
    if query.range is None:
        ends = _ends_from_series(store, query, series)
        if ends is None:
            return _nothing(query, series, trail)
        good, bad = ends
    else:
        good, bad = log.ends(store, query.range)
    judge = by_endpoints(query.rule, _end(trail, good), _end(trail, bad))
    hunt = Hunt(good, bad, _candidates(store, good, bad, first_parent=query.first_parent), judge)
    return _answer(store, query, trail, hunt, first_bad(hunt.graph, bad, judge, trail), series)


def _end(trail: Trail, commit: Digest) -> float | None:
    try:
        return trail.value(commit)
    except Skipped as why:
        raise No(f"the metric has no value at {commit.short()}: {why}", hint="aq metrics") from None


def _recorded(store: Store, query: Query) -> Callable[[Digest], float | EllipsisType | None]:
    names = log.renames(store)

    def read(commit: Digest) -> float | EllipsisType | None:
        if query.recompute:
            return ...
        return log.value_at(store, commit, query.metric, names)

    return read


def _recorded_line(store: Store, query: Query) -> list[Point]:
    """The recorded numbers on the first-parent line of the bad end, oldest first."""
    start, tip = None, None
    if query.range is not None:
        start, tip = log.ends(store, query.range)
    else:
        tip = log.commit_of(revisions.resolve(store, "HEAD"))
    points, names = [], log.renames(store)
    for id, _ in history.first_parents(store, tip):
        value = log.value_at(store, id, query.metric, names)
        if isinstance(value, float | int):
            points.append(Point(id, value))
        if id == start:
            break
    return points[::-1]


def _ends_from_series(store: Store, query: Query, series: Series) -> tuple[Digest, Digest] | None:
    """The two neighbouring recorded commits of the most recent adverse change."""
    rule, line = query.rule, series.points
    if rule.fixed():
        judge = fixed_judge(rule)
        bad = [judge.is_bad(point.value) for point in line]
        edges = [i for i in range(1, len(line)) if bad[i] and not bad[i - 1]]
        return (line[edges[-1] - 1].commit, line[edges[-1]].commit) if edges else None
    better = better_of(store, query.metric)
    for shift in reversed(series.shifts):
        delta = shift.after - shift.before
        adverse = rule.either or better is None or (delta < 0) == (better == "higher")
        if adverse and abs(delta) >= (rule.worse_by or 0.0):
            return line[shift.index - 1].commit, line[shift.index].commit
    return None


def _nothing(query: Query, series: Series, trail: Trail) -> Bisect:
    count = len(series.points)
    if count < 2:
        values = f"{count} recorded value{'s' * (count != 1)}"
        reason = f"{values} of {query.metric}: name a range GOOD..BAD"
    else:
        reason = f"no change for the worse beyond noise among {count} recorded values of {query.metric}"
    return Bisect(
        metric=query.metric,
        good=None,
        bad=None,
        culprit=None,
        verdict="inconclusive",
        confidence=0.0,
        evaluations=Evaluations(recorded=count),
        path=trail.probes,
        shifts=series.records(),
        unprobed=[],
        reason=reason,
    )


def _candidates(store: Store, good: Digest, bad: Digest, *, first_parent: bool) -> dict[Digest, Commit]:
    """BAD and its ancestors that are none of GOOD's. Raises No where GOOD is no ancestor's side."""
    if first_parent:
        graph: dict[Digest, Commit] = {}
        for id, commit in history.first_parents(store, bad):
            if id == good:
                break
            graph[id] = commit
    else:
        graph = dict(history.walk(store, [bad], exclude=[good]))
    if bad not in graph:
        raise No(f"{bad.short()} lies in the history of {good.short()}: swap the ends of the range")
    return graph


def _answer(store: Store, query: Query, trail: Trail, hunt: Hunt, found: Found, series: Series) -> Bisect:
    culprit, verdict, confidence, reason = None, "inconclusive", 0.0, ""
    if found.culprit is not None:
        culprit = _culprit(store, trail, found.culprit)
        verdict, confidence = _grade(query, culprit, series, hunt.judge)
    else:
        reason = f"one of {len(found.candidates)} commits; none of the rest could be evaluated"
    seen = {probe.commit for probe in trail.probes if probe.source == "recorded"}
    if query.range is None:
        seen |= {str(point.commit) for point in series.points}
    return Bisect(
        metric=query.metric,
        good=CommitValue(commit=str(hunt.good), value=trail.values[hunt.good]),
        bad=CommitValue(commit=str(hunt.bad), value=trail.values[hunt.bad]),
        culprit=culprit,
        verdict=verdict,
        confidence=confidence,
        evaluations=Evaluations(
            recorded=len(seen), computed=trail.count("computed"), skipped=trail.count("skipped")
        ),
        path=trail.probes,
        shifts=series.records(),
        unprobed=_unprobed(hunt.graph, trail),
        reason=reason,
    )


def _culprit(store: Store, trail: Trail, id: Digest) -> Culprit:
    commit = get_record(store, Commit, id)
    parent_value = None
    if commit.parents:
        try:
            parent_value = trail.value(Digest(commit.parents[0]))
        except Skipped:
            parent_value = None
    return Culprit(commit=str(id), message=commit.message, value=trail.values[id], parent_value=parent_value)


def _grade(query: Query, culprit: Culprit, series: Series, judge: Judge) -> tuple[str, float]:
    """`proved` needs both neighbours computed afresh; recorded values make it `confirmed`.

    Confidence: the probability that two values which differ by so much lie on different levels,
    given the noise of the recorded series; 1 for a series without noise.
    """
    if culprit.parent_value is None or judge.is_bad(culprit.parent_value):
        return "inconclusive", 0.0
    if query.recompute:
        return "proved", 1.0
    sigma = noise([point.value for point in series.points])
    if sigma == 0.0 or culprit.value is None:
        return "confirmed", 1.0
    z = abs(culprit.value - culprit.parent_value) / (sigma * math.sqrt(2))
    return "confirmed", round(math.erf(z / math.sqrt(2)), 6)


def _unprobed(graph: dict[Digest, Commit], trail: Trail) -> list[str]:
    """Stretches of commits without a value, each as a range."""
    ranges: list[str] = []
    newest: Digest | None = None
    oldest: Digest | None = None
    for id in graph:
        if id not in trail.values:
            newest, oldest = newest or id, id
            continue
        if newest is not None and oldest is not None:
            ranges.append(_range(graph, oldest, newest))
        newest = oldest = None
    if newest is not None and oldest is not None:
        ranges.append(_range(graph, oldest, newest))
    return ranges


def _range(graph: dict[Digest, Commit], oldest: Digest, newest: Digest) -> str:
    parents = graph[oldest].parents
    start = Digest(parents[0]) if parents else oldest
    return f"{start}..{newest}"
