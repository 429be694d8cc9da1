"""`breakpoint()` inside an op: the debugger gets the terminal.

Invariant: without a terminal on both sides nothing is changed. What the op prints from then on is
shown, and missing in its log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aq.cli.progress import Progress


@contextmanager
def debuggable(shown: Progress) -> Iterator[None]:
    """Within: a breakpoint ends the capture of the op's streams, and progress is silent meanwhile."""
    before = sys.breakpointhook
    if sys.stdin.isatty() and sys.stderr.isatty() and before is sys.__breakpointhook__:
        sys.breakpointhook = lambda *args, **kwargs: _stop(shown, args, kwargs)
    try:
        yield
    finally:
        sys.breakpointhook = before


def _stop(shown: Progress, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What Python's own hook does, in the frame of the op and on the terminal."""
    from aq.pipeline.step import capture

    named = os.environ.get("PYTHONBREAKPOINT", "")
    if named == "0":
        return
    shown.pause()
    capture.release()
    if named not in ("", "pdb.set_trace"):
        sys.__breakpointhook__(*args, **kwargs)  # noqa: T100
        return
    import pdb  # noqa: T100

    pdb.Pdb(nosigint=True).set_trace(sys._getframe(2))
