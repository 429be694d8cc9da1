"""What a run publishes: its made paths, the files that it read, the code that it reached.

Invariant: a run replaces all made paths of its flow (a renamed op leaves no zombie) and touches no
other path of the folder than those it read or reached.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from aq.formats import partitions
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Run, Source
from aq.pipeline.code.hidden_reads import ABSENT
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Output
from aq.pipeline.flow.ops import flows_of
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.freshness import Static, store_static
from aq.pipeline.history.head import Head
from aq.pipeline.step.execution import Execution
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo
    from aq.pipeline.run.selecting import Job


def refuse_files_inside(repo: Repo, at: Head, flow: str) -> None:
    """A path that is not made, or a file, inside a flow's folder would hide what the flow makes."""
    for path, entry in snapshots.entries(repo.store, at.snapshot, prefix=flow + "/"):
        if entry.origin is not Origin.MADE:
            raise _inside(flow, path, f"aq remove {quote(path)}")
    if not (repo.root / flow).is_dir():
        return
    found = repo.worktree.status(at.snapshot)
    for path in [*found.untracked, *(path for path, _ in found.changes)]:
        if path.startswith(flow + "/"):
            path = _first_file(repo, path) if path.endswith("/") else path
            raise _inside(flow, path, f"mv {quote(flow)} {quote(flow + '_files')}")


def _first_file(repo: Repo, folder: str) -> str:
    files = sorted(one for one in (repo.root / folder).rglob("*") if not one.is_dir())
    return files[0].relative_to(repo.root).as_posix() if files else folder


def _inside(flow: str, path: str, hint: str) -> UsageError:
    return UsageError(
        f"{path} lies in {flow}/, which holds what the flow {flow} makes: move it elsewhere", hint=hint
    )


def last_steps(store: Store, at: Head, space: str) -> dict[str, bytes]:
    """{FLOW/NAME, or what was parsed: id of the step} of the newest run of a flow, or partition, at HEAD.

    What reasons are told against, and what new results may resemble.
    """
    run = facts.of(store, at.id).flows.get(space) if at.id else None
    if run is None:
        return {}
    steps = get_record(store, Run, run).steps
    return {one.name: bytes(one.step) for one in steps if one.step is not None}


def code_at(repo: Repo, at: Head, space: str) -> Callable[[str], bytes | None]:
    """The bytes that project files had at the newest run of a flow, or partition, at HEAD."""
    from aq.pipeline.change.present import code_before

    run = facts.of(repo.store, at.id).flows.get(space) if at.id else None
    return code_before(repo, None if run is None else get_record(repo.store, Run, run))


def edits_of(
    repo: Repo,
    project: Project,
    root: Digest,
    job: Job,
    found: Execution,
    hidden: Hidden,
    read: Mapping[str, Entry],
    former: Sequence[str] = (),
) -> dict[str, Entry | None]:
    """The entries that the run's snapshot has instead of `root`'s: those of its own space, and those of
    `former` ones, which another declaration of partitions left.
    """
    edits: dict[str, Entry | None] = {
        path: None
        for space in (job.space, *former)
        for path, entry in snapshots.entries(repo.store, root, prefix=space + "/")
        if entry.origin is Origin.MADE and partitions.space_of(path) == space
    }
    for path, made in found.artifacts.items():
        edits[path] = Entry(Digest(made.artifact), Origin.MADE, Digest(made.step), Mode.FILE)
    edits.update(hidden.entries)
    edits.update(read)
    edits.update(_code_entries(repo, project))
    return edits


def former_spaces(store: Store, at: Head, job: Job) -> list[str]:
    """Where HEAD has results of a flow that was partitioned otherwise than it is now."""
    known = facts.of(store, at.id).flows if at.id else {}
    now = partitions.names(job.space)
    return [one for one in partitions.of_flow(known, job.name) if partitions.names(one) != now]


class Hidden(NamedTuple):
    """What the steps of an execution read by themselves: by step {path: what it counts by}, and the
    entries of those files that enter a snapshot.
    """

    files: dict[str, dict[str, str]]
    entries: dict[str, Entry]


def hidden_of(repo: Repo, found: Execution) -> Hidden:
    """As the steps' records say."""
    files = {name: dict(read) for name, read in found.hidden.items()}
    return Hidden(files, _hidden_entries(repo, files))


def _hidden_entries(repo: Repo, files: Mapping[str, Mapping[str, str]]) -> dict[str, Entry]:
    """Entries of the files that ops read by themselves; what rules ignore (secrets) enters no snapshot."""
    wanted = {path: id for read in files.values() for path, id in read.items()}
    if not wanted:
        return {}
    from aq.store.folder.ignore import Scopes

    rules = Scopes(os.fsencode(repo.root))
    entries = {}
    for path, id in wanted.items():
        if path.endswith("/") or id == ABSENT or os.path.isabs(path) or not (repo.root / path).is_file():
            continue
        if not rules.ignores(os.fsencode(path)):
            entries[path] = repo.worktree.store_file(path)
    return entries


def _code_entries(repo: Repo, project: Project) -> dict[str, Entry]:
    """The project files that were loaded, from the very bytes that ran."""
    from aq.formats.contents.files import encode_stream

    found = {}
    for path, data in project.loaded().items():
        artifact = put_record(repo.store, encode_stream(io.BytesIO(data), repo.store))
        try:
            mode = repo.worktree.store_file(path).mode
        except NotFound:  # it was deleted since
            mode = Mode.FILE
        found[path] = Entry(artifact, Origin.FILE, None, mode)
    return found


def code_snapshot(repo: Repo, project: Project, hidden: Hidden) -> Digest:
    """A snapshot of the project files that were loaded, and of those that ops read by themselves."""
    entries: dict[str, Entry | None] = {**hidden.entries, **_code_entries(repo, project)}
    return snapshots.edit(repo.store, snapshots.empty(repo.store), entries)


def static_of(
    repo: Repo,
    project: Project,
    job: Job,
    found: Execution,
    hidden: Hidden,
    sources: Mapping[int, Source],
) -> Digest:
    """What `status` compares later without importing anything."""
    from aq.pipeline.code.static import snapshot_static

    readers: dict[str, list[str]] = {}
    upstream: dict[str, list[str]] = {}
    for node in job.graph.steps:
        above: set[str] = set()
        for _, leaf in node.leaves():
            if isinstance(leaf, Output):
                above.add(leaf.step)
            elif node.name not in readers.setdefault(leaf.label, []):
                readers[leaf.label].append(node.name)
        upstream[node.name] = sorted(above)
    ops = {node.name: node.op for node in job.graph.steps}
    code = snapshot_static(job.flow, ops, project, reached=found.fingerprints)
    read = {**hidden.files, **({"": dict(project.looked)} if project.looked else {})}
    loose = sorted({path for files in read.values() for path in files if path not in hidden.entries})
    static = Static(
        code=code,
        readers=readers,
        upstream=upstream,
        hidden=read,
        loose=loose,
        always=[node.name for node in job.graph.steps if node.op.options.cache == "never"],
        flows=_flows_beside(project, job),
        links=_links(job, sources),
    )
    return store_static(repo.store, static)


def _links(job: Job, sources: Mapping[int, Source]) -> dict[str, str]:
    """{path asked for: path of the file} of files in the folder that were read through a link."""
    found = ((read, sources[read.index]) for read in job.graph.reads if read.index in sources)
    return {
        read.path: source.path
        for read, source in found
        if source.origin == "file" and not source.pinned and not source.outside and read.path != source.path
    }


def _flows_beside(project: Project, job: Job) -> list[str]:
    """The flows that the job's file defines."""
    module = project.modules.get(project.files.module_name(project.root / job.file))
    return sorted(flows_of(vars(module), module.__name__)) if module is not None else []


def is_unchanged(
    repo: Repo, at: Head, job: Job, working: Digest, snapshot: Digest, sources: Sequence[Source]
) -> bool:
    """Whether HEAD holds this very result already: same made paths, sources, params, and code.

    `working`: HEAD's snapshot with what flows before this one changed. Code is the same where its syntax
    is: an edited comment is left for `aq commit`.
    """
    if at.id is None or at.commit is None:
        return False
    last = facts.of(repo.store, at.id).flows.get(job.space)
    if last is None or job.space not in at.commit.current:
        return False
    run = get_record(repo.store, Run, last)
    if run.params != job.bound.texts or run.given != job.bound.given or run.file != job.file:
        return False
    if snapshot == at.snapshot:
        return True
    changed = [path for path, _, _ in snapshots.changes(repo.store, working, snapshot)]
    if any(path.startswith(job.name + "/") or not path.endswith(".py") for path in changed):
        return False
    return not _code_is_stale(repo, run, sources)


def _code_is_stale(repo: Repo, run: Run, sources: Sequence[Source]) -> bool:
    from aq.pipeline.change.present import present

    now = {source.path: source.artifact for source in sources}
    found = freshness.stale_steps(repo.store, run, present(repo, lambda source: now.get(source.path)))
    return bool(found)


def renamed(job: Job) -> dict[str, str]:
    """{metric: its name before} for metrics declared with `was`, in all partitions."""
    return {
        partitions.general(node.name): f"{job.name}/{node.op.options.was}"
        for node in job.graph.steps
        if node.role == "metric" and node.op.options.was
    }
