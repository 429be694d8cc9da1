"""Executing an old flow in a process of its own: the code of a commit in a clean folder.

Invariant: the code comes from a snapshot and the data from the store; nothing of the folder that
the user works in is read. One request comes as JSON on standard input; answers go out as JSON, a
line each: events, then `result` or `error`. `Replay` is the caller's side, `main` the other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from traceback import format_exc
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from aq.formats import partitions
from aq.formats.errors import AqError, Damaged, NewerFormat, NotTrusted, OpFailed, Refused, Temporary
from aq.formats.identity import Digest
from aq.formats.records import Source
from aq.store.commits import snapshots
from aq.store.system import disk
from aq.store.system.staging import Staging

if TYPE_CHECKING:
    from aq.pipeline.code.load import Project
    from aq.pipeline.flow.graph import Graph
    from aq.pipeline.repo import Repo
    from aq.store.store import Store

OnEvent = Callable[[dict[str, Any]], None]
_OTHERS: Final[dict[str, type[AqError]]] = {
    one.kind: one for one in (Damaged, NewerFormat, NotTrusted, Refused, Temporary)
}
"""What is not the fault of the code that was executed."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`code`: the snapshot with the code; `snapshot`: where reads look, that of `commit`; `sources`: what a
    run read.

    `targets`: steps that are wanted with what they need (none: all). `fresh`: execute everything
    again and leave no trace in the repository. `params`: texts.
    """

    root: str
    folder: str
    code: str
    snapshot: str
    file: str
    flow: str
    params: dict[str, str]
    time: int
    targets: list[str] = []
    fresh: bool = False
    sources: list[Source] = []
    expected: dict[str, str] = {}
    environ: dict[str, str] = {}
    rtol: float = 1e-9
    atol: float = 0.0
    commit: str = ""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One output: who made it, its id, and how it compares with the expected one."""

    path: str
    step: str
    artifact: str
    verdict: str = ""
    detail: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution gave, in the order of the flow."""

    made: list[Made]
    metrics: dict[str, float | None]
    executed: int
    error: dict[str, str] = {}


def replay(repo: Repo, request: Callable[[str], Request], on_event: OnEvent) -> Result:
    """Execute a request (made for a temporary folder) in a new process. Raises OpFailed, AqError."""
    repo.store.before_executing()
    base = repo.store.control / "tmp"
    with Staging(os.fsencode(base), b"replay") as staging:
        folder = os.fsdecode(staging.path)
        asked = request(folder)
        code = Path(folder) / "code"
        disk.mkdir(str(code))
        repo.worktree.export(Digest.parse(asked.code), code)
        command = [sys.executable, "-P", "-m", "aq.pipeline.prove.replay"]
        # what the code says on import goes to a file: a pipe that nobody reads would stop it when full
        with (Path(folder) / "said").open("w+b") as said:
            return converse(command, code, msgspec.json.encode(asked), said, on_event)


def converse(command: list[str], folder: Path, request: bytes, said: IO[bytes], on_event: OnEvent) -> Result:
    """Start the other side and hear it out; its standard error goes to the file `said`.

    Raises OpFailed for whatever is the fault of the old code, the AqError of the other side for all else,
    and RuntimeError for a bug there.
    """
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=folder
    ) as child:
        try:
            result = _heard(child, request, on_event)
        except BaseException:
            child.kill()
            raise
    if result is not None:
        return result
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise OpFailed(f"the process that executed the old flow was killed ({name})")
    said.seek(0)
    tail = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    raise OpFailed(f"the process that executed the old flow ended early: {(tail or ['no word'])[0]}")


def _heard(child: subprocess.Popen[bytes], request: bytes, on_event: OnEvent) -> Result | None:
    assert child.stdin is not None and child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.write(request)
    child.stdin.close()
    for line in child.stdout:
        answer = msgspec.json.decode(line)
        if "event" in answer:
            on_event(answer["event"])
        elif "result" in answer:
            return msgspec.convert(answer["result"], Result)
        elif "bug" in answer:
            raise RuntimeError(f"in the process that executed the old flow\n{answer['bug']}")
        elif "error" in answer:
            told = answer["error"]
            raise _OTHERS.get(told["kind"], OpFailed)(told["message"], hint=told["hints"])
    return None


def main() -> None:
    """The other side: read a request, execute it, answer. Standard output carries answers alone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(record: dict[str, Any]) -> None:
        answers.write(msgspec.json.encode(record) + b"\n")
        answers.flush()

    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
        result = _execute(request, lambda event: answer({"event": event}))
        answer({"result": msgspec.to_builtins(result)})
    except AqError as error:
        answer({"error": {"kind": error.kind, "message": error.message, "hints": list(error.hints)}})
    except Exception:
        answer({"bug": format_exc()})
    os._exit(0)  # taking down pandas and scikit-learn in good order would cost a second


def _execute(request: Request, on_event: OnEvent) -> Result:
    from aq.pipeline.code.load import Project
    from aq.store.store import Store

    with Store.open(Path(request.root)) as store, Project(Path.cwd()) as project:
        graph = _graph(project, request)
        if not request.fresh:
            return _run(store, store, project, graph, request, on_event)
        from aq.pipeline.prove.scratch import Scratch

        top = Scratch(store, Path(request.folder) / "scratch", time=request.time)
        try:
            return _run(store, top, project, graph, request, on_event)
        finally:
            top.close()


def _graph(project: Project, request: Request) -> Graph:
    from aq.formats.errors import NotFound
    from aq.pipeline.flow.ops import flows_of
    from aq.pipeline.flow.params import bind, parameters
    from aq.pipeline.flow.trace import trace

    module = project.load(request.file)
    flows = flows_of(vars(module), module.__name__)
    if request.flow not in flows:
        raise NotFound(f"{request.file} had no flow '{request.flow}' at that commit")
    flow = flows[request.flow]
    names = parameters(flow)
    bound = bind(flow, {key: text for key, text in request.params.items() if key in names})
    with project.beside(request.file):
        graph = trace(flow, bound.values, root=project.root)
    if not request.targets:
        return graph
    known = {node.name for node in graph.steps}
    missing = [name for name in request.targets if name not in known]
    if missing:
        raise NotFound(f"the flow {request.flow} had no step {missing[0]} at that commit")
    return graph.up_to(request.targets)


def _run(
    below: Store, store: Any, project: Project, graph: Graph, request: Request, on_event: OnEvent
) -> Result:
    from aq.pipeline.run import runner
    from aq.pipeline.run.sources import CommitReader

    commit = Digest.parse(request.commit) if request.commit else None
    reader = CommitReader(below, Digest.parse(request.snapshot), request.sources, commit)
    with project.beside(request.file):
        found = runner.execute(
            graph,
            store=store,
            project=project,
            read=reader,
            clock=perf_counter,
            environ=request.environ,
            on_event=on_event,
        )
    store.flush()
    made = [_made(store, request, path, one) for path, one in found.artifacts.items()]
    executed = found.counts()["run"]
    error = found.error.as_dict() if found.error else {}
    return Result(made=made, metrics=dict(found.metrics), executed=executed, error=error)


def _made(store: Any, request: Request, path: str, one: Any) -> Made:
    artifact = Digest(one.artifact)
    verdict = detail = ""
    expected = request.expected.get(path)
    if expected is not None:
        verdict, detail = _verdict(store, request, expected, artifact)
    step = partitions.step_of(path)
    return Made(path=path, step=step, artifact=str(artifact), verdict=verdict, detail=detail)


def _verdict(store: Any, request: Request, expected: str, artifact: Digest) -> tuple[str, str]:
    if expected == str(artifact):
        return "identical", ""
    from aq.formats.objects import get_record
    from aq.formats.records import Artifact
    from aq.pipeline.prove.equality import verdict

    before = get_record(store, Artifact, Digest.parse(expected))
    after = get_record(store, Artifact, artifact)
    return verdict(before, after, store, rtol=request.rtol, atol=request.atol)


def code_for(repo: Repo, snapshot: bytes, recorded: bytes | None) -> Digest:
    """A snapshot of the Python files that a commit tracks, with what its run loaded or its ops read."""
    entries: dict[str, snapshots.Entry | None] = {
        path: entry
        for path, entry in snapshots.entries(repo.store, snapshot)
        if entry.origin is snapshots.Origin.FILE and path.endswith(".py")
    }
    if recorded is not None:
        for path, entry in snapshots.entries(repo.store, recorded):
            there = snapshots.get_entry(repo.store, snapshot, path)
            own = there is not None and there.origin is snapshots.Origin.FILE
            entries.setdefault(path, there if own else entry)
    return snapshots.edit(repo.store, snapshots.empty(repo.store), entries)


if __name__ == "__main__":
    main()
