"""`--accept CHECK`: which checks of a command may fail this once, and what is kept of that.

Invariant: a name is settled before anything runs. Without a partition it means the check in all partitions
that this command runs, as a metric's name does (docs/partitions.md); of two flows it must say which one.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from aq.formats import partitions
from aq.formats.errors import NotFound
from aq.formats.objects import get_record
from aq.formats.records import Run
from aq.pipeline.history import facts
from aq.pipeline.step import gathering

if TYPE_CHECKING:
    from aq.pipeline.history.head import Head
    from aq.pipeline.repo import Repo
    from aq.pipeline.run.selecting import Job
    from aq.pipeline.step.execution import Execution


_SHOWN: Final = 5


def accepted(jobs: Sequence[Job], names: Sequence[str], rest: Container[str] = ()) -> frozenset[str]:
    """The full paths of the checks that are meant. Raises NotFound for a name of none, or of several flows.

    `rest`: partitions that have nothing to do, so that there is nothing to accept.
    """
    known = [node.name for job in jobs for node in job.graph.steps if node.role == "check"]
    asked = [name for name in names if partitions.space_of(name) not in rest or "=" not in name]
    return frozenset(full for name in asked for full in _meant(known, name))


def _meant(known: Sequence[str], name: str) -> list[str]:
    found = [full for full in known if _is_meant(name, full)]
    several = list(dict.fromkeys(partitions.general(full) for full in found))
    if len(several) == 1:
        return found
    if several:
        hint = f"aq run --accept {several[0]} -m WHY"
        raise NotFound(f"'{name}' could be {', '.join(several)}", hint=hint)
    near = get_close_matches(name, [*known, *(full.rpartition("/")[2] for full in known)], n=1)
    names = list(dict.fromkeys(partitions.general(full) for full in known))
    there = f" (there {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none'})"
    guess = f" (did you mean {near[0]}?)" if near else there if len(names) <= _SHOWN else ""
    raise NotFound(f"no check '{name}' in what is to run{guess}", hint="aq checks")


def _is_meant(name: str, full: str) -> bool:
    if gathering.is_pattern(name):
        return gathering.means(name, full)
    return any(one == name or one.endswith(f"/{name}") for one in (full, partitions.general(full)))


def judged(
    found: Execution, may_fail: Container[str], author: str, why: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The states of the checks after `--accept`, and who accepted what and why."""
    checks, accepted = dict(found.checks), {}
    for full, state in found.checks.items():
        if full in may_fail and state in ("failed", "error"):
            checks[full] = "accepted"
            accepted[full] = f"{author}: {why}"
    return checks, accepted


def keep_accepted(repo: Repo, at: Head, job: Job, checks: dict[str, str], accepted: dict[str, str]) -> None:
    """Enter what was accepted when HEAD's result was published: for the very same it holds."""
    assert at.id is not None
    before = get_record(repo.store, Run, facts.of(repo.store, at.id).flows[job.space]).accepted
    for name, who in before.items():
        if checks.get(name) in ("failed", "error"):
            checks[name] = "accepted"
            accepted[name] = who
