"""`Repo`: the public face. Every verb of the command line is a method with the same name.

Invariant: a method resolves names, calls one function of this layer and returns its record; it
prints nothing and reads no environment: what it needs of these is in `context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, Unpack

from aq.formats import arguments
from aq.pipeline.change import settings
from aq.pipeline.change.context import Context, redact
from aq.pipeline.deferred import Deferred
from aq.pipeline.records import inventory, outcomes, results
from aq.store.frames.layout import discover
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.pipeline.change import committing, folder, git, keeping, merging, moving, naming, undoing
    from aq.pipeline.flow.ops import Flow
    from aq.pipeline.history import log
    from aq.pipeline.look import blame, checklist, lineage, runlist, show
    from aq.pipeline.look.face import Artifact
    from aq.pipeline.look.selection import Parts
    from aq.pipeline.processes import serving
    from aq.pipeline.prove import evaluate, repro
    from aq.pipeline.records.blamed import Blame
    from aq.pipeline.records.sequences import Log, Runs
    from aq.pipeline.run import running, settled
    from aq.pipeline.run.asked import Asked
    from aq.store.folder.worktree import Done, Worktree
    from aq.store.transactions.transaction import Transaction
else:
    _ROOMS = {
        "look": "blame checklist lineage runlist show",
        "change": "committing folder git keeping merging moving naming undoing",
        "prove": "evaluate repro",
        "history": "log",
        "run": "running settled",
        "processes": "serving",
    }
    for _room, _names in _ROOMS.items():
        globals().update({name: Deferred(f"{_room}.{name}") for name in _names.split()})

Paths = Sequence[str | Path]
OnEvent = Callable[[dict[str, Any]], None]


@arguments.checked(Asked="aq.pipeline.run.asked", Parts="aq.pipeline.look.selection")
class Repo:
    """A repository: the folder at `root` and the store in its `.aq`.

    Use it as a context manager, or call `close`. Not to be shared between threads.
    """

    def __init__(self, store: Store, context: Context) -> None:
        self.store = store
        self.context = context

    @classmethod
    def create(cls, path: Path, context: Context) -> Self:
        """Make `path` a repository; one that is there already is opened as it is."""
        if (path / ".aq" / "format").exists():
            return cls(Store.open(path, environ=context.environ), context)
        store = Store.create(path, time=context.now(), user=context.user, argv=redact(context.argv))
        return cls(store, context)

    @classmethod
    def find(cls, path: Path, context: Context) -> Self:
        """Open the nearest repository at or above `path`. Raises NotARepository."""
        return cls(Store.open(discover(path), environ=context.environ), context)

    @property
    def root(self) -> Path:
        """The folder that holds `.aq`."""
        return self.store.root

    @cached_property
    def worktree(self) -> Worktree:
        """The folder's tracked files."""
        from aq.store.folder.worktree import Worktree

        return Worktree(self.store)

    @cached_property
    def settings(self) -> dict[str, str]:
        """The configuration of this repository."""
        return settings.load(self.store.control)

    def author(self) -> str:
        """Who is recorded: the configuration, the caller's word, Git's, else user@host."""
        own = settings.author(self.settings) or self.context.author
        return own or git.author(self.root) or self.context.user

    def transaction(self, command: str, description: str = "") -> Transaction:
        """A change of refs under this command line and clock."""
        return self.store.transaction(
            command,
            time=self.context.now(),
            user=self.context.user,
            argv=redact(self.context.argv),
            description=description.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        )

    def progress(self) -> Done | None:
        """What was read of the folder by now, or written; from any thread."""
        return self.worktree.done if "worktree" in self.__dict__ else None

    def close(self) -> None:
        """Let go of the store's files."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<aq.Repo {self.root}>"

    # -- record -----------------------------------------------------------------------------

    def add(self, paths: Paths | str, *, force: bool = False) -> results.Tracked:
        """Track files, and the files in folders. `force` takes ignored ones too."""
        return folder.add(self, arguments.paths(paths), force=force)

    def remove(self, paths: Paths | str, *, delete: bool = False) -> results.Tracked:
        """Stop tracking files (kept in the folder unless `delete`); drop given values and partitions."""
        return folder.remove(self, arguments.paths(paths), delete=delete)

    def status(self) -> results.Status:
        """The folder against HEAD, and which flows are stale. Imports no user code."""
        return folder.status(self)

    def commit(
        self,
        values_or_paths: Mapping[str, Any] | Paths | str | None = None,
        *,
        message: str | None = None,
        keys: Mapping[str, Sequence[str]] | None = None,
        run: str | None = None,
        time: str | int | None = None,
    ) -> results.CommitResult:
        """Commit on top of HEAD.

        A dict commits exactly these values, under these paths; `keys` names the columns that
        identify a row. Paths, or None for all tracked ones, snapshot the folder. `run` adopts the
        results of a run that was not committed. `time`: ISO text or nanoseconds since 1970 UTC.
        """
        if isinstance(values_or_paths, Mapping):
            return committing.values(self, values_or_paths, message, keys or {}, time)
        paths = None if values_or_paths is None else arguments.paths(values_or_paths)
        if run is not None:
            return committing.adopt(self, run, message, time)
        return committing.folder(self, paths, message, time)

    def undo(self) -> results.Undone:
        """Take back the last operation; taking back an undo is redo."""
        return undoing.undo(self)

    def ops(self, limit: int | None = None) -> list[results.OperationEntry]:
        """The operation log, newest first."""
        return undoing.ops(self, limit)

    # -- look -------------------------------------------------------------------------------

    def log(
        self,
        range: str | None = None,
        *,
        metric: str | None = None,
        since: str | None = None,
        until: str | None = None,
        paths: Paths = (),
        limit: int | None = None,
    ) -> Log:
        """Commits newest first: of `A..B`, or of a revision and its ancestors. `metric` must exist."""
        inside = [self.worktree.relative(path, self.context.cwd) for path in arguments.paths(paths)]
        return log.listed(
            self.store, range, metric=metric, since=since, until=until, paths=inside, limit=limit
        )

    def show(self, spec: str = "HEAD") -> results.ShowRevision | results.ShowPath:
        """A commit or a run (REV), or one path (REV:PATH, or PATH at HEAD)."""
        return show.show(self.store, spec)

    def ls(self, rev: str = "HEAD", *, kind: str | None = None) -> list[results.PathEntry]:
        """The paths of a revision (REV or REV:FOLDER), perhaps of one kind only."""
        return show.listing(self.store, rev, kind)

    def get(self, spec: str) -> Artifact:
        """The artifact that REV:PATH, or PATH at HEAD, names."""
        return show.get(self.store, spec)

    def cat(self, spec: str, *, format: str | None = None, **parts: Unpack[Parts]) -> bytes:
        """A file's bytes, a table as CSV (or `format`: parquet, arrow, json), a value as JSON; or parts."""
        return b"".join(self.get(spec).chunks(format, **parts))

    def blame(self, spec: str, *, column: str | None = None, since: str | None = None) -> Blame:
        """Which commit last changed each row and column, line, key or tensor of REV:PATH, or PATH at HEAD."""
        return blame.blame(self, spec, column=column, since=since)

    def diff(
        self,
        a: str | None = None,
        b: str | None = None,
        *,
        paths: Paths = (),
        output: str | Path | None = None,
    ) -> results.Diff:
        """What differs. Nothing: HEAD and the folder; `a`: it and the folder; `a..b` or both: these.

        `output`: a file for the rows in which the one table that differs does, as Parquet or by its name.
        """
        return folder.diff(self, a, b, arguments.paths(paths), output)

    # -- branch -----------------------------------------------------------------------------

    def branch(self, action: str = "list", *names: str, at: str | None = None) -> list[results.Ref]:
        """`list`, `add NAME`, `remove NAME...`, `rename OLD NEW`; returns the branches afterwards."""
        return naming.branch(self, action, names, at)

    def tag(self, action: str = "list", *names: str, at: str | None = None) -> list[results.Ref]:
        """`list`, `add NAME`, `remove NAME...`, `rename OLD NEW`; returns the tags afterwards."""
        return naming.tag(self, action, names, at)

    def switch(
        self, branch: str, *, create: bool = False, code: bool = False, force: bool = False
    ) -> results.Moved:
        """Go to a branch (or, detached, to any revision): the folder's tracked files follow.

        Raises Conflict rather than overwrite work that is in no commit. In a Git work tree files
        that Git tracks are left alone unless `code`.
        """
        return moving.switch(self, branch, create=create, code=code, force=force)

    def merge(
        self,
        rev: str,
        *,
        message: str | None = None,
        ours: Paths | str = (),
        theirs: Paths | str = (),
        take: Paths | str = (),
        code: bool = False,
    ) -> results.Merged:
        """Bring what another revision changed into the current branch.

        A path that both changed is merged inside: tables by key, texts by lines. Where that cannot be, raises
        Conflict with the list in `.result`, and nothing is written: merge again with answers for paths or
        folders (`take`: what lies in the folder).
        """
        answers = {
            "ours": arguments.paths(ours),
            "theirs": arguments.paths(theirs),
            "take": arguments.paths(take),
        }
        return merging.merge(self, rev, message=message, answers=answers, code=code)

    def restore(
        self,
        paths: Paths | str,
        *,
        from_: str | None = None,
        output: str | Path | None = None,
        code: bool = False,
        force: bool = False,
    ) -> results.Moved:
        """Bring back files as they were at a revision (default HEAD); `output` writes a copy elsewhere.

        What is overwritten is stored first, for `undo`; outside the folder only with `force`.
        """
        files = arguments.paths(paths)
        return moving.restore(self, files, from_=from_, output=output, code=code, force=force)

    # -- run --------------------------------------------------------------------------------

    def run(
        self,
        target: str | Flow[..., Any] | None = None,
        *,
        dry_run: bool = False,
        on_event: OnEvent | None = None,
        **asked: Unpack[Asked],
    ) -> Runs | outcomes.Plan:
        """Bring flows up to date: `FILE`, `FILE:FLOW`, a flow object, or None for those of HEAD.

        `params`, `message`, `tag`, `commit`, `force`, `accept`, `keep_going`, `jobs`, `executor`: see
        `asked.Asked`. `on_event` gets each step's record. Returns one record a flow (of a single
        flow, it is that record), or with `dry_run` the plan.
        """
        from aq.pipeline.records.sequences import Runs

        heard = on_event or _ignore
        if dry_run:
            planned = settled.plan(self, target, asked)
            return planned or running.plan(self, running.request(self, target, asked))
        done = settled.unchanged(self, target, asked, heard)
        return Runs(done or running.run(self, running.request(self, target, asked), heard))

    def runs(
        self,
        flow: str | None = None,
        *,
        status: str | None = None,
        metric: str | None = None,
        sort: str | None = None,
    ) -> list[outcomes.RunEntry]:
        """Every run, newest first, also failed, gated and uncommitted ones."""
        return runlist.runs(self.store, flow=flow, status=status, metric=metric, sort=sort)

    def steps(self, rev: str = "HEAD") -> list[results.StepEntry]:
        """The steps of the runs behind a revision."""
        return runlist.steps(self.store, rev)

    def logs(self, spec: str) -> outcomes.LogText:
        """The captured output of one step: OP, or REV:OP with a run or a commit."""
        return runlist.logs(self.store, spec)

    def checks(self, rev: str = "HEAD") -> list[outcomes.CheckEntry]:
        """The checks at a revision."""
        return checklist.checks(self.store, rev)

    def repro(
        self, spec: str = "HEAD", *, rtol: float = 1e-9, atol: float = 0.0, on_event: OnEvent | None = None
    ) -> outcomes.Repro:
        """Execute a commit's run again, in a clean folder with its code, and compare ids."""
        return repro.repro(self, spec, rtol=rtol, atol=atol, on_event=on_event or _ignore)

    def worker(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        """Do the tasks that an `aq run` elsewhere sends, and answer, until nothing more comes in."""
        serving.serve(self, incoming, outgoing)

    # -- explain ----------------------------------------------------------------------------

    def lineage(self, spec: str, *, downstream: bool = False) -> outcomes.Lineage | outcomes.Downstream:
        """What made an artifact, down to its sources; or what it went into."""
        return lineage.downstream(self.store, spec) if downstream else lineage.upstream(self.store, spec)

    def metrics(
        self, name: str | None = None, range: str | None = None
    ) -> dict[str, list[outcomes.MetricPoint]]:
        """Recorded values by full name, oldest first, both ends of a range included."""
        return log.series(self.store, name, range)

    def bisect(
        self,
        metric: str,
        range: str | None = None,
        *,
        worse_by: float | None = None,
        above: float | None = None,
        below: float | None = None,
        either: bool = False,
        first_parent: bool = False,
        recompute: bool = False,
        on_event: OnEvent | None = None,
    ) -> outcomes.Bisect:
        """Which commit made a metric worse: in `GOOD..BAD`, or at the latest change for the worse."""
        from aq.pipeline.prove.judge import Rule

        rule = Rule(worse_by=worse_by, above=above, below=below, either=either)
        listen = on_event or _ignore
        return evaluate.bisect(
            self, metric, range, rule, first_parent=first_parent, recompute=recompute, on_event=listen
        )

    # -- keep -------------------------------------------------------------------------------

    def fsck(self, *, full: bool = False, rebuild: bool = False) -> inventory.Checked:
        """Check the store: its structure, with `full` every byte. Damage is in `problems`.

        `rebuild` first makes the index anew from the packs.
        """
        return keeping.fsck(self, full=full, rebuild=rebuild)

    def gc(self, *, dry_run: bool = False) -> inventory.Collected:
        """Free what no branch, tag, recent operation, recent run or live writer needs."""
        return keeping.gc(self, dry_run=dry_run)

    def du(self) -> inventory.DiskUsage:
        """Where the bytes of `.aq` are: by ref, folder, flow and kind."""
        return keeping.du(self)

    def config(self, name: str | None = None, value: str | None = None) -> dict[str, str]:
        """All settings, one, or (with `value`; empty removes) set one."""
        return keeping.config(self, name, value)


def _ignore(event: dict[str, Any]) -> None:
    """Nobody listens."""
