"""Has the code of a flow changed since a run? Told from its files alone, without importing any.

Invariant: where nothing is reported, the fingerprints of the steps are what they were. An exact
change makes a step's key another one; what only an import could tell is inexact. The record holds
no path of the machine and no value, only digests (docs/format.md, section 10).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from aq.pipeline.bindings import binding_digest, full_digest, import_digest, literal
from aq.pipeline.resolving import import_paths
from aq.pipeline.syntax import ANNOTATIONS, Source, combine, decorators
from blake3 import blake3

if TYPE_CHECKING:
    from aq.pipeline.load import Project

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
    from aq.pipeline.static_record import record

    return record(flow, steps, project, reached or {})


def compare_static(
    recorded: Record,
    read: Read,
    *,
    environ: Mapping[str, str] | None = None,
    python_files: Callable[[], Iterable[str]] | None = None,
) -> list[StaticChange]:
    """What of a flow's code and environment is not as recorded.

    `read` gives the bytes of a project file, or None. `python_files` lists the project's Python
    files, for code that may import any of them; without it such code counts as changed, inexactly,
    and so does code that reads environment variables without `environ`.
    """
    return list(dict.fromkeys(_Comparison(recorded, read).changes(environ, python_files)))


def code_digest_of(data: bytes) -> str:
    """The digest by which unchanged files are passed over without parsing them."""
    return blake3(data).hexdigest()


def unit_digest(source: Source, qualname: str, variant: str) -> str | None:
    """A digest of all definitions of a qualified name; None where there is none.

    Several are `many …`: an edit may concern one of them that is not the one reached.
    """
    found = source.by_name.get(qualname, [])
    if len(found) == 1:
        return source.digest(found[0].node, variant)
    return f"many {combine(source.digest(one.node, variant) for one in found)}" if found else None


def face_digest(source: Source, qualname: str) -> str:
    """A digest of what aq itself reads of an op: its decorators and its annotations."""
    found = source.by_name.get(qualname, [])
    own = [one for definition in found for one in decorators(definition.node, source.aq_names)[0]]
    return combine([source.digest(own), *(source.digest(one.node, ANNOTATIONS) for one in found)])


class _Comparison:
    """One look at the files. `now` holds the parsed form of each changed one, None where it has none."""

    def __init__(self, recorded: Record, read: Read) -> None:
        self.recorded = recorded
        self.read = read
        self.now: dict[str, Source | None] = {}

    def changes(
        self,
        environ: Mapping[str, str] | None,
        python_files: Callable[[], Iterable[str]] | None,
    ) -> Iterator[StaticChange]:
        """All changes: files first, then each step, then what concerns the whole flow."""
        yield from self._files()
        steps: dict[str, Record] = self.recorded["steps"]
        for name, step in steps.items():
            yield from self._code(name, step)
            yield from self._environment(name, step, environ)
        if any(step["whole"] for step in [*steps.values(), self.recorded["flow"]]):
            yield from self._anything(python_files)
        yield from (one._replace(step=None, exact=False) for one in self._code("", self.recorded["flow"]))
        yield from self._on_import()
        yield from self._around(environ)
        yield from self._shadows()

    # --- files

    def _files(self) -> Iterator[StaticChange]:
        for path, known in self.recorded["files"].items():
            data = self.read(path)
            if data is None:
                self.now[path] = None
                yield StaticChange(None, False, "code", f"{path} is gone")
            elif code_digest_of(data) != known["bytes"]:
                source = Source(path, data)
                self.now[path] = source if source.is_valid else None
                if self.now[path] is None:
                    yield StaticChange(None, False, "code", f"{path} is not valid Python")

    def _changed(self, paths: Mapping[str, Any]) -> Iterator[tuple[Source, Any]]:
        for path, wanted in paths.items():
            source = self.now.get(path)
            if source is not None:
                yield source, wanted

    # --- one step

    def _code(self, step: str, known: Record) -> Iterator[StaticChange]:
        for detail in known["never"]:
            yield StaticChange(step, True, "code", detail)
        for name in known["drawn"]:
            yield StaticChange(step, False, "code", f"{name} may be another value on each import")
        if known["outside"]:
            yield StaticChange(step, False, "code", "part of its code lies outside the project")
        units = self.recorded["units"]
        for source, qualnames in self._changed(known["units"]):
            for qualname in qualnames:
                before = units[source.path][qualname][known["variant"]]
                now = unit_digest(source, qualname, known["variant"])
                if now != before:
                    exact = not before.startswith("many ") and not (now or "").startswith("many ")
                    yield StaticChange(step, exact, "code", f"{_shown(source, qualname)} changed")
        for source, qualnames in self._changed(known["faces"]):
            for qualname, digest in qualnames.items():
                if face_digest(source, qualname) != digest:
                    detail = f"how {_shown(source, qualname)} is declared changed"
                    yield StaticChange(step, False, "code", detail)
        for source, names in self._changed(known["names"]):
            for name in names:
                yield from self._name(step, source, name)

    def _name(self, step: str, source: Source, name: str) -> Iterator[StaticChange]:
        digest, text = self.recorded["names"][source.path][name]
        if binding_digest(source, name) != digest:
            now = literal(source, name)
            exact = text is not None and now is not None and now != text
            if text is None or now != text:
                yield StaticChange(step, exact, "code", f"{name} changed")

    def _environment(
        self, name: str, step: Record, environ: Mapping[str, str] | None
    ) -> Iterator[StaticChange]:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        if python != self.recorded["python"]:
            yield StaticChange(name, True, "env", f"python {self.recorded['python']} → {python}")
        from aq.pipeline.environs import package_changes, variable_changes

        for detail in package_changes(step["packages"], step["locals"]):
            yield StaticChange(name, True, "env", detail)
        if step["variables"] and environ is None:
            yield StaticChange(name, False, "env", "it reads environment variables")
        elif environ is not None:
            for detail in variable_changes(step["variables"], environ):
                yield StaticChange(name, True, "env", detail)

    # --- the whole flow

    def _anything(self, python_files: Callable[[], Iterable[str]] | None) -> Iterator[StaticChange]:
        """Steps whose code may import or run anything in the project."""
        names: list[str | None] = [name for name, step in self.recorded["steps"].items() if step["whole"]]
        if self.recorded["flow"]["whole"]:
            names.append(None)
        if python_files is None:
            for name in names:
                yield StaticChange(name, False, "code", "it runs code that cannot be followed")
            return
        from aq.pipeline.environs import project_digest_of

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
            from aq.pipeline.environs import variable_changes

            for detail in variable_changes(variables, environ):
                yield StaticChange(None, False, "env", detail)

    def _on_import(self) -> Iterator[StaticChange]:
        for path, source in self.now.items():
            if source is None:
                continue
            known = self.recorded["files"][path]
            if import_digest(source) != known["import"]:
                yield StaticChange(None, False, "code", f"code that runs on import of {path} changed")
            if import_paths(source, self.recorded["folders"], self._exists) != known["imports"]:
                yield StaticChange(None, False, "code", f"{path} imports other files")
            for name, digest in self.recorded["runs"].get(path, {}).items():
                if full_digest(source, name) != digest:
                    detail = f"{name} of {path} changed, which an import may use"
                    yield StaticChange(None, False, "code", detail)

    def _exists(self, path: str) -> bool:
        return self.read(path) is not None

    def _shadows(self) -> Iterator[StaticChange]:
        for path in self.recorded["absent"]:
            if self._exists(path):
                yield StaticChange(None, False, "code", f"{path} is new and is imported instead")


def _shown(source: Source, qualname: str) -> str:
    """`clean()` or `Model`, as people name it."""
    import ast

    plain = qualname.replace(".<locals>", "")
    found = source.by_name.get(qualname)
    return plain if found and isinstance(found[0].node, ast.ClassDef) else f"{plain}()"
