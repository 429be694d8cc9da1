"""Which files of a project its modules read while they are imported: settings, lists, styles.

Invariant: it only looks on. The hook of Python's audit events cannot be taken out again; it is put in
when the first project module is loaded and does nothing while none is.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aq.pipeline.load import Project

_watching: list[Project] = []
_installed: list[bool] = []


def watch(project: Project) -> None:
    """Note what is opened from now on, until `unwatch`."""
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    _watching.append(project)


def unwatch() -> None:
    """Stop noting for the project that was watched last."""
    _watching.pop()


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _watching or len(arguments) < 3:
        return
    file, mode, flags = arguments[:3]
    project = _watching[-1]
    if not project.loading or not isinstance(file, str | bytes) or _writes(mode, flags):
        return
    name = os.fsdecode(file)
    if not name.endswith((".py", ".pyc")) and (path := project.files.relative(os.path.abspath(name))):
        project.reads.setdefault(project.loading[-1], set()).add(path)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
