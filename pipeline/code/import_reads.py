"""What the modules of a project read while they are imported, and its flows while they are called:
settings, lists, tables, names in folders.

Invariant: it only looks on. The hook of Python's audit events cannot be taken out again; it is put in
when the first project module is loaded and does nothing while none is. Readers of `native_reads` tell
what they read meanwhile; a name that a module keeps of them is the reader itself again afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from aq.pipeline.code import elsewhere
from aq.pipeline.code.frames import asked
from aq.pipeline.code.hidden_reads import ASKED, asked_digest, file_digest, names_digest
from aq.pipeline.code.native_reads import Telling, original
from aq.pipeline.code.watching import opened_folder

if TYPE_CHECKING:
    from aq.pipeline.code.load import Project

ASKING: Final = "aq.asked"
_EVENTS: Final = ("open", "os.listdir", "os.scandir", "import", ASKING)

_watching: list[Project] = []
_telling: list[Telling] = []
_busy: list[bool] = []
_installed: list[bool] = []


def watch(project: Project) -> None:
    """Note what is opened from now on, until `unwatch`."""
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    if not _watching:
        telling = Telling(_note, _asked, _note)
        telling.__enter__()
        _telling.append(telling)
    _watching.append(project)


@contextmanager
def noted(project: Project, flow: str) -> Iterator[None]:
    """Note what a flow's own body reads within, as if a module of this name did."""
    project.loading.append(f"flow {flow}")
    watch(project)
    try:
        yield
    finally:
        unwatch(None)
        project.loading.pop()


def unwatch(module: ModuleType | None) -> None:
    """Stop noting for the project that was watched last; `module`: what was loaded."""
    _watching.pop()
    for name, value in list(vars(module).items()) if module is not None else ():
        if (reader := original(value)) is not None:
            setattr(module, name, reader)
    if not _watching:
        _telling.pop().__exit__()


def _note(path: object) -> None:
    if isinstance(path, str | os.PathLike):
        _hook("open", (os.fspath(path), "r", 0))


def _asked(path: object) -> None:
    if isinstance(path, str | os.PathLike):
        _hook(ASKING, (os.fspath(path),))


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or _busy or event not in _EVENTS:
        return
    project = _watching[-1]
    if event == "import":
        _telling[-1].on_import(arguments[0])
        return
    name = opened_folder(arguments[0])
    if not project.loading or not isinstance(name, str | bytes):
        return
    _busy.append(True)  # a digest is made by reading
    try:
        with suppress(OSError, ValueError):
            if event == ASKING:
                _asked_about(project, os.path.abspath(os.fsdecode(name)), sys._getframe(1))
            elif event != "open":
                _listed(project, os.path.abspath(os.fsdecode(name)), sys._getframe(1))
            elif not _writes(*arguments[1:3]):
                _opened(project, os.path.abspath(os.fsdecode(name)), sys._getframe(1))
    finally:
        _busy.clear()


def _opened(project: Project, place: str, frame: FrameType) -> None:
    if place.endswith((".py", ".pyc")):
        return
    path = project.files.relative(place)
    if path and os.path.lexists(place):
        project.reads.setdefault(project.loading[-1], set()).add(path)
        project.looked.pop(path + ASKED, None)
    elif asked(frame) and (path or elsewhere.counts(place, lambda: True, is_name=False)):
        known = path or place.removeprefix(project.files.prefix)
        if known not in project.looked:
            project.looked[known] = file_digest(place, project.file_id)
        project.looked.pop(known + ASKED, None)


def _asked_about(project: Project, place: str, frame: FrameType) -> None:
    path = project.files.relative(place)
    if asked(frame) and (path or elsewhere.counts(place, lambda: True, is_name=False)):
        known = path or place.removeprefix(project.files.prefix)
        if known not in project.looked and not place.endswith((".py", ".pyc")):
            project.looked.setdefault(known + ASKED, asked_digest(place))


def _listed(project: Project, place: str, frame: FrameType) -> None:
    name = os.path.join(place, "_")
    path = project.files.relative(name)
    if asked(frame) and (path or elsewhere.counts(name, lambda: True, is_name=True)):
        known = path or name.removeprefix(project.files.prefix)
        project.looked.setdefault(known[:-1] or "./", names_digest(place))


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
