"""`repro`: whether an old run gives the same again.

Invariant: everything is executed anew, nothing is taken from the history of results, and the
repository is left as it was. Ids are compared; where they differ, values, within a tolerance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec
from aq.formats import partitions
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit, Run
from aq.pipeline.code.hidden_reads import Files, plain_id
from aq.pipeline.flow import redacted
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.history import environment, facts, freshness
from aq.pipeline.look import show
from aq.pipeline.prove import replay
from aq.pipeline.prove.replay import Made, Request
from aq.pipeline.records.outcomes import ArtifactVerdict, FirstDifference, Repro
from aq.pipeline.records.results import PackageDiff
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.revisions import Revision

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo

OnEvent = Callable[[dict[str, Any]], None]
_ORDER = ("identical", "equal", "different")


def repro(repo: Repo, spec: str, *, rtol: float, atol: float, on_event: OnEvent) -> Repro:
    """See `Repo.repro`."""
    started = repo.context.now()
    for name, share in (("rtol", rtol), ("atol", atol)):
        if not 0 <= share < inf:
            raise UsageError(f"{name} is a number from 0 on, not {share}", hint="aq repro --help")
    text, path = revisions.split_path(repo.store, spec)
    revision = revisions.resolve(repo.store, text or "HEAD")
    if path is not None:
        full, entry = show.locate(repo.store, revision, path)
        if entry.origin is not Origin.MADE:
            return _source(repo, revision, full, started)
        runs, targets = [_maker(repo, revision, full)], [show.step_name(full, entry) or full]
    else:
        runs, targets = _own_runs(repo, revision), []
    verdicts: list[ArtifactVerdict] = []
    first: FirstDifference | None = None
    differences: list[PackageDiff] = []
    for id in runs:
        made = _replayed(repo, id, targets, rtol, atol, on_event)
        verdicts += [ArtifactVerdict(path=one.path, verdict=one.verdict, detail=one.detail) for one in made]
        first = first or _first(made)
        recorded = environment.load(repo.store, get_record(repo.store, Run, id).environment)
        differences = differences or environment.differences(recorded, environment.capture())
    worst = max((one.verdict for one in verdicts), key=_ORDER.index, default="identical")
    return Repro(
        commit=str(revision.commit or revision.run),
        verdict=worst,
        environment=differences,
        artifacts=verdicts,
        first_difference=first,
        seconds=max(0, repo.context.now() - started) / 1e9,
    )


def _source(repo: Repo, revision: Revision, path: str, started: int) -> Repro:
    note = ArtifactVerdict(path=path, verdict="identical", detail="source, nothing to re-run")
    return Repro(
        commit=str(revision.commit or revision.run),
        verdict="identical",
        environment=[],
        artifacts=[note],
        first_difference=None,
        seconds=max(0, repo.context.now() - started) / 1e9,
    )


def _own_runs(repo: Repo, revision: Revision) -> list[Digest]:
    """The runs that a commit itself recorded. Raises NotFound where there are none."""
    if revision.run is not None:
        return [revision.run]
    assert revision.commit is not None
    runs = [Digest(run) for run in get_record(repo.store, Commit, revision.commit).runs]
    if runs:
        return runs
    made = [
        path
        for path, entry in snapshots.entries(repo.store, revision.snapshot)
        if entry.origin is Origin.MADE
    ]
    hint = f"aq repro {revision.text}:{made[0]}" if made else "aq log"
    raise NotFound(f"{revision.text} records no run of its own", hint=hint)


def _maker(repo: Repo, revision: Revision, path: str) -> Digest:
    """The run that made a path: the newest one of its flow that published it."""
    if revision.run is not None:
        return revision.run
    assert revision.commit is not None
    space = partitions.space_of(path)
    run = facts.of(repo.store, revision.commit).flows.get(space)
    if run is None:
        raise NotFound(f"no run of {space} is recorded at {revision.text}", hint="aq runs")
    return Digest(run)


def _replayed(
    repo: Repo, id: Digest, targets: Sequence[str], rtol: float, atol: float, on_event: OnEvent
) -> list[Made]:
    run = get_record(repo.store, Run, id)
    _refuse_secrets(run)
    expected = _expected(repo, run, targets)

    def request(folder: str) -> Request:
        assert run.code is not None
        return Request(
            root=str(repo.root),
            folder=folder,
            code=str(Digest(run.code)),
            snapshot=str(Digest(run.snapshot)),
            file=run.file,
            flow=run.flow,
            params=redacted.to_pass_again(run.params, run.given),
            time=repo.context.now(),
            environ=dict(repo.context.environ),
            targets=list(targets),
            fresh=True,
            sources=run.sources,
            expected={path: str(Digest(entry.artifact)) for path, entry in expected.items()},
            rtol=rtol,
            atol=atol,
        )

    result = replay.replay(repo, request, on_event)
    return _explained(_complete(result, expected), _changed_elsewhere(repo, run))


def _refuse_secrets(run: Run) -> None:
    """Raise UsageError where the run was given what no record holds."""
    name = next((name for name, text in run.given.items() if redacted.is_mark(text)), None)
    if name is not None:
        hint = f"aq run {run.file}:{run.flow} -p {name}=VALUE --force"
        raise UsageError(f"{run.flow} ran with {name}, a secret that is not recorded", hint=hint)


def _expected(repo: Repo, run: Run, targets: Sequence[str]) -> dict[str, Entry]:
    """The made paths of a run, or only those of the wanted steps."""
    found = {
        path: entry
        for path, entry in snapshots.entries(repo.store, run.snapshot, prefix=of_run(run) + "/")
        if entry.origin is Origin.MADE
    }
    if not targets:
        return found
    return {path: entry for path, entry in found.items() if show.step_name(path, entry) in targets}


def _complete(result: replay.Result, expected: dict[str, Entry]) -> list[Made]:
    """Every expected path with a verdict, in the order of execution; what failed is different."""
    made = {one.path: one for one in result.made}
    order = [one.path for one in result.made if one.path in expected]
    order += [path for path in expected if path not in made]
    why = result.error.get("message", "it was not made again")
    found = []
    for path in order:
        step = partitions.step_of(path)
        missing = Made(path=path, step=step, artifact="", verdict="different", detail=why)
        found.append(made.get(path, missing))
    return found


def _changed_elsewhere(repo: Repo, run: Run) -> dict[str, str]:
    """{step: what became of a file outside the folder that it read by itself}: no commit holds these."""
    static = freshness.load_static(repo.store, run)
    files = Files(repo.root, plain_id)
    found: dict[str, str] = {}
    for step, read in (static.hidden if static else {}).items():
        outside = {path: id for path, id in read.items() if os.path.isabs(path)}
        for _, what in files.changed(outside):
            found.setdefault(step, f"{what}: it reads this outside the repository, and no commit holds it")
    return found


def _explained(made: list[Made], reasons: dict[str, str]) -> list[Made]:
    return [
        msgspec.structs.replace(one, detail=reasons[one.step])
        if one.verdict == "different" and one.step in reasons
        else one
        for one in made
    ]


def _first(made: Sequence[Made]) -> FirstDifference | None:
    for one in made:
        if one.verdict == "different":
            return FirstDifference(step=one.step, path=one.path, detail=one.detail)
    return None
