"""Has the code of a flow changed since a run? Told from its files alone, without importing any.

Invariant: where nothing is reported, the fingerprints of the steps are what they were. An exact
change makes a step's key another one; what only an import could tell is inexact. The record holds
no path of the machine and no value, only digests (docs/format.md, section 10). Where no file has
changed nothing is parsed either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blake3 import blake3

if TYPE_CHECKING:
    from aq.pipeline.code.load import Project

VERSION: Final = 2
"""Of the record: a reader that does not know it calls the flow perhaps stale. Version 1 had no groups."""

Read = Callable[[str], bytes | None]
Record = dict[str, Any]


class StaticChange(NamedTuple):
    """One thing that changed. `step` None: the whole flow may be concerned."""

    step: str | None
    exact: bool
    kind: str
    detail: str


def snapshot_static(
    flow: object, steps: Mapping[str, object], project: Project, *, reached: Mapping[str, Any] | None = None
) -> Record:
    """What a later `compare_static` needs, as JSON.

    `steps`: the op of each step. `reached`: fingerprints of steps that reach more than their op does
    (code inside arguments, classes of pickled inputs).
    """
    from aq.pipeline.code.static_record import record

    return record(flow, steps, project, reached or {})


def compare_static(
    recorded: Record,
    read: Read,
    *,
    environ: Mapping[str, str] | None = None,
    python_files: Callable[[], Iterable[str]] | None = None,
    before: Read = lambda path: None,
) -> list[StaticChange]:
    """What of a flow's code and environment is not as recorded.

    `read` gives the bytes of a project file, or None. `python_files` lists the project's Python
    files, for code that may import any of them; without it such code counts as changed, inexactly,
    and so does code that reads environment variables without `environ`. `before` gives a file's bytes at
    the run, to say in which line something changed.
    """
    if recorded.get("version") == 1:
        places = {name: at for at, name in enumerate(recorded["steps"])}
        recorded = {**recorded, "groups": list(recorded["steps"].values()), "steps": places}
    elif recorded.get("version") != VERSION:
        return [StaticChange(None, False, "code", "another aq recorded the run")]
    return list(dict.fromkeys(_Comparison(recorded, read, before).changes(environ, python_files)))


def code_digest_of(data: bytes) -> str:
    """The digest by which unchanged files are passed over without parsing them."""
    return blake3(data).hexdigest()


class _Comparison:
    """One look. `changed` holds the bytes of the files that are not as they were."""

    def __init__(self, recorded: Record, read: Read, before: Read) -> None:
        self.recorded = recorded
        self.groups: list[Record] = recorded["groups"]
        self.steps: dict[str, int] = recorded["steps"]
        self.flow: Record = recorded["flow"]
        self.read = read
        self.before = before
        self.changed: dict[str, bytes] = {}

    def changes(
        self,
        environ: Mapping[str, str] | None,
        python_files: Callable[[], Iterable[str]] | None,
    ) -> Iterator[StaticChange]:
        """All changes: files first, then each step, then what concerns the whole flow."""
        yield from self._files()
        told = [[*self._always("", one), *self._environment("", one, environ)] for one in self.groups]
        if any(told):
            yield from (one._replace(step=name) for name, at in self.steps.items() for one in told[at])
        yield from (one._replace(step=None, exact=False) for one in self._always("", self.flow))
        if any(step["whole"] for step in [*self.groups, self.flow]):
            yield from self._anything(python_files)
        if self.changed:
            from aq.pipeline.code.static_code import code_changes

            yield from code_changes(self.recorded, self.changed, self.read, self.before)
        yield from self._around(environ)
        for path in self.recorded["absent"]:
            if self.read(path) is not None:
                yield StaticChange(None, False, "code", f"{path} is new and is imported instead")

    def _files(self) -> Iterator[StaticChange]:
        for path, known in self.recorded["files"].items():
            data = self.read(path)
            if data is None:
                yield StaticChange(None, False, "code", f"{path} is gone")
            elif code_digest_of(data) != known["bytes"]:
                self.changed[path] = data

    def _always(self, step: str, known: Record) -> Iterator[StaticChange]:
        """What is stale whatever the files say."""
        for detail in known["never"]:
            yield StaticChange(step, True, "code", detail)
        for name in known["drawn"]:
            yield StaticChange(step, False, "code", f"{name} may be another value on each import")
        if known["outside"]:
            yield StaticChange(step, False, "code", "part of its code lies outside the project")

    def _environment(
        self, name: str, step: Record, environ: Mapping[str, str] | None
    ) -> Iterator[StaticChange]:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        if python != self.recorded["python"]:
            yield StaticChange(name, True, "env", f"python {self.recorded['python']} → {python}")
        from aq.pipeline.code.environs import package_changes, variable_changes

        for detail in package_changes(step["packages"], step["locals"]):
            yield StaticChange(name, True, "env", detail)
        if step["variables"] and environ is None:
            yield StaticChange(name, False, "env", "it reads environment variables")
        elif environ is not None:
            for detail in variable_changes(step["variables"], environ):
                yield StaticChange(name, True, "env", detail)

    def _anything(self, python_files: Callable[[], Iterable[str]] | None) -> Iterator[StaticChange]:
        """Steps whose code may import or run anything in the project."""
        names: list[str | None] = [name for name, at in self.steps.items() if self.groups[at]["whole"]]
        if self.flow["whole"]:
            names.append(None)
        if python_files is None:
            for name in names:
                yield StaticChange(name, False, "code", "it runs code that cannot be followed")
            return
        from aq.pipeline.code.environs import project_digest_of

        now = project_digest_of((path, self.read(path)) for path in python_files())
        for name in names:
            if now != self.recorded["project"]:
                detail = "it may run any code of the project, which changed"
                yield StaticChange(name, name is not None, "code", detail)

    def _around(self, environ: Mapping[str, str] | None) -> Iterator[StaticChange]:
        """What the files' imports read beside code: other files, and environment variables."""
        for path, digest in self.recorded["reads"].items():
            data = self.read(path)
            if data is None or code_digest_of(data) != digest:
                yield StaticChange(None, False, "code", f"{path}, which is read on import, changed")
        variables: Mapping[str, str] = self.recorded["variables"]
        if variables and environ is None:
            yield StaticChange(None, False, "env", "its import reads environment variables")
        elif variables and environ is not None:
            from aq.pipeline.code.environs import variable_changes

            for detail in variable_changes(variables, environ):
                yield StaticChange(None, False, "env", detail)
