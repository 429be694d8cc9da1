"""The checks of a revision: how each ended, on what evidence, and how it had ended before.

Invariant: reads records only. The history is that of the first-parent line and counts runs, not commits:
a commit that left a flow's results as they were adds nothing to it, a gated run on top of one does.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import dropwhile, islice
from typing import Any, Final, cast

from aq.formats.artifacts import values
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Commit, Run, Step
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.history import facts
from aq.pipeline.look.runlist import runs_behind
from aq.pipeline.records import times
from aq.pipeline.records.outcomes import CheckEntry, CheckPoint
from aq.store import revisions
from aq.store.commits import history
from aq.store.store import Store

_LONGEST: Final = 30
_TOLD_BY: Final = {"warning": "warning", "failed": "error"}
"""The severity of a check that did not hold, for runs that did not record it."""
_WALKED: Final = 1_000
"""So many commits back, at most: flows that run rarely must not make looking slow."""


def checks(store: Store, text: str) -> list[CheckEntry]:
    """Every check of the runs behind a revision, with its evidence and its history, newest last."""
    found: list[CheckEntry] = []
    for id, run in runs_behind(store, text):
        points = _points(store, text, id, run)
        found += [_entry(store, run, name, points.get(name, [])) for name in sorted(run.checks)]
    return found


def _entry(store: Store, run: Run, name: str, points: list[CheckPoint]) -> CheckEntry:
    seen: dict[str, Any] = next((one for one in run.violations if one.get("check") == name), {})
    seen = seen or _verdict(store, run, name)
    state = run.checks[name]
    return CheckEntry(
        check=name,
        state=state,
        severity=run.severities.get(name) or _TOLD_BY.get(state),
        value=seen.get("value"),
        bound=seen.get("bound"),
        rows=seen.get("rows"),
        accepted=run.accepted.get(name),
        history=points,
    )


def _verdict(store: Store, run: Run, name: str) -> dict[str, Any]:
    """What a check that held had judged, as its step has it; nothing where that is not here."""
    step = next((one.step for one in run.steps if one.name == name), None)
    if step is None or not store.has(step):
        return {}
    output = get_record(store, Step, step).outputs[0][1]
    if not store.has(output):
        return {}
    return cast("dict[str, Any]", values.decode(get_record(store, Artifact, output), store))


def _points(store: Store, text: str, id: Digest, run: Run) -> dict[str, list[CheckPoint]]:
    """By check, how it ended in the last runs of its flow up to this one, oldest first."""
    found: dict[str, list[CheckPoint]] = {}
    for commit, earlier, one in reversed(list(_line(store, text, id, run))):
        for name, state in one.checks.items():
            point = CheckPoint(commit=commit, run=str(earlier), time=times.text(one.time), state=state)
            found.setdefault(name, []).append(point)
    return found


def _line(store: Store, text: str, id: Digest, run: Run) -> Iterator[tuple[str | None, Digest, Run]]:
    """The runs of a flow, newest first, each with the commit that holds it; the run itself in front."""
    revision = revisions.resolve(store, text)
    start = history.head(store).commit if revision.commit is None else revision.commit
    line = list(_commits(store, start, of_run(run))) if start is not None else []
    published = {bytes(found): commit for commit, found, is_new in line if is_new}
    others = [Digest(one) for one in published if one != bytes(id)]
    others += _gated(store, id, of_run(run), {bytes(commit) for commit, _, _ in line})
    yield _text(published.get(bytes(id))), id, run
    known = [(get_record(store, Run, one), one) for one in others]
    for earlier, one in sorted(known, key=lambda pair: -pair[0].time)[: _LONGEST - 1]:
        yield _text(published.get(bytes(one))), one, earlier


def _text(commit: Digest | None) -> str | None:
    return None if commit is None else str(commit)


def _gated(store: Store, id: Digest, space: str, bases: Container[bytes]) -> Iterator[Digest]:
    """The gated runs of a flow, or partition, before a run, that would have followed one of some commits."""
    before = dropwhile(lambda one: one != id, islice(store.runs(), _WALKED))
    for one in islice(before, 1, None):
        run = get_record(store, Run, one)
        if run.status == "gated" and run.base in bases and of_run(run) == space:
            yield one


def _commits(store: Store, start: Digest, space: str) -> Iterator[tuple[Digest, Digest, bool]]:
    """The commits of the first-parent line since a flow, or partition, ran first, newest first: each with
    the newest run that it holds, and whether it brought that one.
    """
    at: Digest | None = start
    told = 0
    for _ in range(_WALKED):
        run = None if at is None else facts.of(store, at).flows.get(space)
        if at is None or run is None or told == _LONGEST:
            return
        commit = history.commit(store, at)
        is_new = bytes(run) in [bytes(one) for one in commit.runs]
        told += is_new
        yield at, Digest(run), is_new
        at = _parent(commit)


def _parent(commit: Commit) -> Digest | None:
    return Digest(commit.parents[0]) if commit.parents else None
