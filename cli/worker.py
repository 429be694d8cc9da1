"""`aq worker`."""

from __future__ import annotations

import sys

from aq.cli.command import command
from aq.cli.session import Session
from aq.formats.errors import UsageError


@command(
    "worker",
    examples=["aq worker"],
    exits=(1, 2, 6),
)
def worker(session: Session) -> int:
    """Execute steps for an `aq run` elsewhere: tasks come in, answers go out

    Started by `aq run --executor 'cmd:COMMAND'`, through standard input and output. It needs
    the repository's .aq and the packages of the run, not the project's files: code comes from
    the store. SIGTERM gives back what is under way.
    """
    if sys.stdin.isatty():
        raise UsageError(
            "aq worker takes its tasks from an aq run, and a terminal gives none",
            hint="aq run -j 2 --executor 'cmd:aq worker'",
        )
    session.repo().worker(sys.stdin.buffer, sys.stdout.buffer)
    return 0
