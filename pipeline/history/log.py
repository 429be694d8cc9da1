"""The log: commits newest first, each with its refs, runs, recorded metrics and checks.

Invariant: one commit record and one summary are read per entry; values are recorded ones, never
inherited from an older commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from sys import maxsize
from types import EllipsisType
from typing import TYPE_CHECKING

from aq.formats import partitions
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit, Git, Run
from aq.pipeline.history import facts, jumps
from aq.pipeline.records import times
from aq.pipeline.records.outcomes import MetricPoint
from aq.pipeline.records.results import LogEntry
from aq.store import revisions
from aq.store.commits import history, snapshots
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.pipeline.records.sequences import Log


def git_json(git: Git | None) -> dict[str, object] | None:
    """{commit, dirty} or None."""
    return None if git is None else {"commit": git.commit, "dirty": git.dirty}


def names_by_commit(store: Store, prefix: str) -> dict[bytes, list[str]]:
    """{commit: names} of all refs under `branch/` or `tag/`."""
    found: dict[bytes, list[str]] = {}
    for name, ref in sorted(store.refs().items()):
        if name.startswith(prefix) and ref.id is not None:
            found.setdefault(bytes(ref.id), []).append(name.removeprefix(prefix))
    return found


def entry_fields(
    store: Store, id: Digest, commit: Commit, tags: Sequence[str], branches: Sequence[str]
) -> dict[str, object]:
    """The fields that a log entry and a shown revision share."""
    known = facts.of(store, id)
    flows = list(dict.fromkeys(get_record(store, Run, run).flow for run in commit.runs))
    values = recorded(store, id, renames(store))
    return {
        "id": str(id),
        "parents": [bytes(parent).hex() for parent in commit.parents],
        "message": commit.message,
        "author": commit.author,
        "time": times.text(commit.time),
        "flow": flows[-1] if flows else None,
        "tags": list(tags),
        "branches": list(branches),
        "metrics": values,
        "newest": newest(known, values),
        "checks": known.checks,
        "git": git_json(commit.git),
        "flows": flows,
        "runs": [bytes(run).hex() for run in commit.runs],
    }


def listed(
    store: Store,
    range: str | None,
    *,
    metric: str | None,
    since: str | None,
    until: str | None,
    paths: Sequence[str],
    limit: int | None,
) -> Log:
    """See `Repo.log`. Raises NotFound for a metric or paths that no commit has."""
    from aq.pipeline.records.sequences import Log

    if metric is not None:
        resolve_group(metric_names(store, range), metric)
    most = None if limit is None else min(max(limit, 0), maxsize)
    found = Log(islice(entries(store, range, since=since, until=until, paths=paths), most))
    if paths and not found:
        require_paths(store, range, paths)
    return found


def entries(
    store: Store,
    range: str | None = None,
    *,
    since: str | None = None,
    until: str | None = None,
    paths: Sequence[str] = (),
) -> Iterator[LogEntry]:
    """Log entries of a range `A..B`, or of a revision and its ancestors (default HEAD)."""
    tags, branches = names_by_commit(store, "tag/"), names_by_commit(store, "branch/")
    earliest = times.parse(since) if since else None
    latest = times.parse(until, end_of_day=True) if until else None
    for id, commit in commits(store, range):
        if latest is not None and commit.time > latest:
            continue
        if earliest is not None and commit.time < earliest:
            continue
        if paths and not _touches(store, commit, paths):
            continue
        fields = entry_fields(store, id, commit, tags.get(id, ()), branches.get(id, ()))
        runs = commit.runs
        run = bytes(runs[-1]).hex() if runs else None
        yield LogEntry(**fields, run=run)  # type: ignore[arg-type]


def commits(store: Store, range: str | None) -> Iterator[tuple[Digest, Commit]]:
    """The commits of a range, newest first; nothing for an unborn HEAD."""
    if range is not None and ".." in range:
        start, end = ends(store, range)
        yield from history.walk(store, [end], exclude=[start])
        return
    if range is None and _unborn(store):
        return
    yield from history.walk(store, [commit_of(revisions.resolve(store, range or "HEAD"))])


def ends(store: Store, range: str) -> tuple[Digest, Digest]:
    """The two commits of a range `A..B`; a side left out is HEAD. Raises UsageError for what is none."""
    first, last = revisions.resolve_range(store, range)
    if first is None:
        raise UsageError(f"'{range}' is no range: write A..B", hint="aq log")
    return commit_of(first), commit_of(last)


def _unborn(store: Store) -> bool:
    refs = store.refs()
    head = refs.get("HEAD")
    return head is None or (head.id is None and head.target not in refs)


def commit_of(revision: revisions.Revision) -> Digest:
    """The commit that a revision names. Raises NotFound for a run that no commit holds."""
    if revision.commit is None:
        raise NotFound(f"{revision.text} is a run that no commit holds", hint=f"aq show {revision.text}")
    return revision.commit


def _touches(store: Store, commit: Commit, paths: Sequence[str]) -> bool:
    """Whether a commit changed one of these files or folders against its first parent."""
    before = get_record(store, Commit, commit.parents[0]).snapshot if commit.parents else None
    root = snapshots.empty(store) if before is None else before
    wanted = [path.rstrip("/") for path in paths]
    for path, old, new in snapshots.changes(store, root, commit.snapshot):
        same = old is not None and new is not None and old.artifact == new.artifact
        if not same and any(path == one or path.startswith(one + "/") for one in wanted):
            return True
    return False


def require_paths(store: Store, range: str | None, paths: Sequence[str]) -> None:
    """Raise NotFound for a path that no commit up to the end of the range ever had."""
    from difflib import get_close_matches

    end = str(ends(store, range)[1]) if range is not None and ".." in range else range
    history_of = list(commits(store, end))
    for path in paths:
        if path in ("", ".") or any(_touches(store, commit, [path]) for _, commit in history_of):
            continue
        known = (
            [name for name, _ in snapshots.entries(store, history_of[0][1].snapshot)] if history_of else []
        )
        near = get_close_matches(path, known, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        hint = f"aq log -- {near[0]}" if near else "aq ls"
        raise NotFound(f"no path {path!r} in any commit{guess}", hint=hint)


def metric_names(store: Store, range: str | None = None) -> list[str]:
    """Every metric recorded anywhere in a range."""
    names = renames(store)
    return sorted({path for id, _ in commits(store, range) for path in recorded(store, id, names)})


def resolve_metric(known: Sequence[str], name: str) -> str:
    """The full name of a metric from any unique suffix. Raises NotFound with the candidates."""
    if name in known:
        return name
    found = [full for full in known if full.endswith(("/" + name, "." + name))]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"'{name}' could be {', '.join(found)}", hint=f"aq metrics {found[0]}")
    from difflib import get_close_matches

    last = {full.rpartition("/")[2]: full for full in known}
    near = get_close_matches(name, [*known, *last], n=1, cutoff=0.4)
    if near:
        full = last.get(near[0], near[0])
        raise NotFound(f"no metric '{name}' (did you mean {near[0]}?)", hint=f"aq metrics {full}")
    raise NotFound(f"no metric '{name}' is recorded here", hint="aq metrics")


def resolve_group(known: Sequence[str], name: str) -> list[str]:
    """The full names behind a metric's name: several where it is one metric of many partitions.

    Such a one has a name for all, without the partition: `delays/auc` or `delays/*/auc`. Raises NotFound.
    """
    if name in known:
        return [name]
    wanted = name.replace("/*/", "/")
    series: dict[str, list[str]] = {}
    for full in known:
        series.setdefault(partitions.general(full), []).append(full)
    if wanted in series:
        return series[wanted]
    found = [one for one in series if one.endswith(("/" + wanted, "." + wanted))]
    if len(found) == 1:
        return series[found[0]]
    return [resolve_metric(found or known, name)]


def newest(known: facts.Facts, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """{name without a partition: value in the newest one} of metrics of partitioned flows, where recorded."""
    found = {}
    for flow in dict.fromkeys(map(partitions.flow_of, known.flows)):
        last = known.ordered(flow)[-1]
        if partitions.names(last):
            inside = (path for path in values if path.startswith(last + "/"))
            found.update({partitions.general(path): values[path] for path in inside})
    return found


def in_newest(known: facts.Facts, metric: str) -> str:
    """The full name of a metric at a commit: of one that many partitions have, in the newest of them."""
    space, rest = partitions.split(metric)
    spaces = known.ordered(space)
    return f"{spaces[-1]}/{rest}" if rest and spaces and not partitions.names(space) else metric


def value_at(
    store: Store, commit: bytes, metric: str, names: Mapping[str, str]
) -> float | EllipsisType | None:
    """The recorded value of a metric at a commit (in its newest partition); ... where there is none."""
    return recorded(store, commit, names).get(in_newest(facts.of(store, commit), metric), ...)


def renames(store: Store) -> Mapping[str, str]:
    """{old name: new name} of the metrics that HEAD's flows have renamed."""
    at = history.head(store).commit
    return {} if at is None else facts.of(store, at).renamed


def recorded(store: Store, commit: bytes, names: Mapping[str, str]) -> dict[str, float | None]:
    """The recorded values of a commit, under the names that the metrics have now."""
    return {_today(path, names): value for path, value in facts.of(store, commit).recorded.items()}


def _today(path: str, names: Mapping[str, str]) -> str:
    """The name of today; a key of a metric that is a dict (`scores.f1`) stays, and so does a partition."""
    space = partitions.space_of(path)
    if names and partitions.names(space):
        today = partitions.split(_today(partitions.general(path), names))[1]
        return f"{space}/{today}"
    for _ in names:
        base, dot, key = path.rpartition(".")
        if path in names:
            path = names[path]
        elif dot and base in names:
            path = f"{names[base]}.{key}"
        else:
            break
    return path


def series(store: Store, name: str | None, range: str | None) -> dict[str, list[MetricPoint]]:
    """{metric: points}, oldest first; both ends of a range included; recorded values only."""
    chosen = list(commits(store, range))
    if range is not None and ".." in range:
        start = ends(store, range)[0]
        chosen.append((start, get_record(store, Commit, start)))
    names = renames(store)
    found: dict[str, list[MetricPoint]] = {}
    for id, commit in reversed(chosen):
        for path, value in recorded(store, id, names).items():
            point = MetricPoint(commit=str(id), time=times.text(commit.time), value=value)
            found.setdefault(path, []).append(point)
    found = {path: jumps.marked(points) for path, points in found.items()}
    if name is None:
        return dict(sorted(found.items(), key=_place))
    group = resolve_group(list(found) or metric_names(store), name)
    return dict(sorted(((full, found.get(full, [])) for full in group), key=_place))


def _place(item: tuple[str, object]) -> tuple[object, ...]:
    """Sorts by name, and series of one metric from the smallest partition to the largest."""
    path = item[0]
    return partitions.general(path), partitions.order(partitions.space_of(path)), path
