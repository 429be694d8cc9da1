"""`aq run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shlex import quote
from typing import Any, Final

import click
from aq.cli import text_run
from aq.cli.command import command
from aq.cli.debugging import debuggable
from aq.cli.failure import Failure, tell
from aq.cli.progress import progress
from aq.cli.session import Session, utf8
from aq.cli.text import short
from aq.formats.errors import OpFailed, UsageError
from aq.pipeline.records.outcomes import Plan, RunDone

CODES: Final = {"failed": 1, "gated": 3}
WORST_FIRST: Final = (1, 4, 3)


@command(
    "run",
    examples=[
        "aq run",
        "aq run flights.py:delays -p depth=8 --tag deeper",
        "aq run -n",
        "aq run -j 4 --keep-going",
        "aq run -j 2 --executor 'cmd:docker exec -i CONTAINER aq -C /repo worker'",
        'aq run --accept auc_holds -m "a short month, agreed with Ann"',
    ],
    exits=(1, 2, 3, 4, 5, 6),
    hosts_code=True,
)
@click.argument("target", metavar="[FILE[:FLOW]]", required=False)
@click.option(
    "-p", "--param", "params", metavar="NAME=VALUE", multiple=True, help="A param (can be repeated)"
)
@click.option("-n", "--dry-run", is_flag=True, help="Only what would run, and why")
@click.option("-m", "--message", metavar="MSG", help="The commit's message")
@click.option("--tag", metavar="NAME", help="A tag for the commit")
@click.option("--no-commit", is_flag=True, help="The run is recorded, the branch stays")
@click.option("-f", "--force", is_flag=True, help="Every step, whatever could be reused")
@click.option(
    "--accept",
    metavar="CHECK",
    multiple=True,
    help="A check that may fail this once, in all partitions or in FLOW/NAME=VALUE/CHECK (can be repeated)",
)
@click.option("--keep-going", is_flag=True, help="Steps that do not depend on a failed one still run")
@click.option("--verify", is_flag=True, help="What row-wise ops make of new rows is compared with the whole")
@click.option("-j", "--jobs", metavar="N", type=int, help="Steps at once, each in a process (1: in this one)")
@click.option(
    "--executor",
    metavar="ADDRESS",
    help="Who does the steps: local, dask://HOST:PORT, cmd:COMMAND",
)
def run(
    session: Session, target: str | None, params: Sequence[str], dry_run: bool, no_commit: bool, **given: Any
) -> int:
    """Bring flows up to date: run what changed, reuse the rest

    Without FILE: every flow of HEAD, with the params given last. What was read and what was
    made become one commit; the branch moves only if no check of severity error fails.
    """
    given["message"] = given["message"] and utf8(given["message"])
    arguments = {"params": _params(params), "commit": not no_commit, **given}
    session.outlive_reader = True
    with progress(session) as shown, debuggable(shown):

        def heard(event: dict[str, Any]) -> None:
            if session.json and event.get("event") in ("step", "done"):
                session.event(event)
            shown(event)

        record = session.repo().run(target, dry_run=dry_run, on_event=heard, **arguments)
    if isinstance(record, Plan):
        session.answer(record, text_run.plan)
        session.notes(record.notes)
        return 0
    for done in record:
        session.notes(done.notes)
        if session.json:
            session.event(done)
        else:
            session.report(done, text_run.done)
    for done in record:
        _tell_failure(session, done)
    session.hints(_ways_on(done, target) for done in record if done.status == "gated")
    codes = {CODES.get(done.status, 0) for done in record}
    return next((code for code in WORST_FIRST if code in codes), 0)


def _tell_failure(session: Session, done: RunDone) -> None:
    """`error:` and `hint:` of a flow that failed, on standard error as for every failure."""
    if done.status != "failed" or not done.error:
        return
    step = str(done.error.get("step") or "")
    place = f"{step}: " if step else ""
    kind = str(done.error.get("kind") or OpFailed.kind)
    log = f"aq logs {short(done.run)}:{step}" if step else f"aq show {short(done.run)}"
    told = Failure(kind, f"{place}{done.error.get('message', '')}", (log,), CODES["failed"])
    tell(told, json=session.json, color=session.colored(terminal=sys.stderr.isatty()))


def _ways_on(done: RunDone, target: str | None) -> str:
    """How a run that a check has stopped is published all the same."""
    names = [name for name, state in done.checks.items() if state in ("failed", "error")]
    accepted = " ".join(f"--accept {quote(name)}" for name in names)
    return f"aq run {f'{quote(target)} ' if target else ''}{accepted} -m WHY"


def _params(texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts; VALUE stays text, which the flow's annotations turn into values."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"-p takes NAME=VALUE, not '{text}'", hint=f"aq run -p {name or 'depth'}=6")
        found[name] = value
    return found
