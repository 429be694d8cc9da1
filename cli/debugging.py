"""`breakpoint()` and `pdb.set_trace()` inside an op: the debugger gets the terminal.

Invariant: without a terminal on both sides nothing is changed. What the op prints from then on is
shown, and missing in its log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from aq.cli.progress import Progress


@contextmanager
def debuggable(shown: Progress) -> Iterator[None]:
    """Within: a breakpoint ends the capture of the op's streams, and progress is silent meanwhile."""
    before = sys.breakpointhook
    if not sys.stdin.isatty() or not sys.stderr.isatty() or before is not sys.__breakpointhook__:
        yield
        return
    import pdb  # noqa: T100

    def set_trace(*, header: str | None = None) -> None:
        _stop(shown, sys._getframe(1), header)

    known, set_trace.__module__ = pdb.set_trace, "pdb"
    pdb.set_trace = set_trace  # as `from pdb import set_trace` in a file that is loaded from here on gets it
    sys.breakpointhook = lambda *args, **kwargs: _break(shown, args, kwargs)
    try:
        yield
    finally:
        sys.breakpointhook, pdb.set_trace = before, known


def _break(shown: Progress, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What Python's own hook does, in the frame of the op and on the terminal."""
    named = os.environ.get("PYTHONBREAKPOINT", "")
    if named in ("", "pdb.set_trace"):
        _stop(shown, sys._getframe(2), kwargs.get("header"))
    elif named != "0":
        _leave_terminal(shown)
        sys.__breakpointhook__(*args, **kwargs)  # noqa: T100


def _stop(shown: Progress, frame: FrameType, header: str | None) -> None:
    """Debug from the next line of a frame on. Ctrl-C goes on to end the run."""
    import pdb  # noqa: T100

    _leave_terminal(shown)
    debugger = pdb.Pdb(nosigint=True)
    if header is not None:
        debugger.message(header)
    debugger.set_trace(frame)


def _leave_terminal(shown: Progress) -> None:
    from aq.pipeline.step import capture

    shown.pause()
    capture.release()
