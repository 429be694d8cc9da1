"""What of a recorded flow's code changed in files whose bytes did: definitions, names, imports.

Invariant: as in `pipeline.code.static`. A changed file is parsed, never run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from aq.pipeline.code.bindings import binding_digest, full_digest, import_digest, literal
from aq.pipeline.code.places import Places
from aq.pipeline.code.resolving import import_paths
from aq.pipeline.code.static import Read, Record, StaticChange
from aq.pipeline.code.syntax import ANNOTATIONS, Source, combine, decorators


def code_changes(
    recorded: Record, changed: Mapping[str, bytes], read: Read, before: Read
) -> Iterator[StaticChange]:
    """All changes of code in the changed files: of each step, of the flow, of what runs on import."""
    yield from _Code(recorded, changed, read, before).changes()


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


class _Code:
    """One look at the changed files. `now` holds those that can be parsed."""

    def __init__(self, recorded: Record, changed: Mapping[str, bytes], read: Read, before: Read) -> None:
        self.recorded = recorded
        self.read = read
        self.now = {path: Source(path, data) for path, data in changed.items()}
        self.places = Places(before, self.now.get)

    def changes(self) -> Iterator[StaticChange]:
        """What cannot be parsed first."""
        for path in [path for path, source in self.now.items() if not source.is_valid]:
            del self.now[path]
            yield StaticChange(None, False, "code", f"{path} is not valid Python")
        told = [list(self._step("", one)) for one in self.recorded["groups"]]
        if any(told):
            steps = self.recorded["steps"].items()
            yield from (one._replace(step=name) for name, at in steps for one in told[at])
        yield from (one._replace(step=None, exact=False) for one in self._step("", self.recorded["flow"]))
        yield from self._on_import()

    def _changed(self, paths: Mapping[str, Any]) -> Iterator[tuple[Source, Any]]:
        for path, wanted in paths.items():
            source = self.now.get(path)
            if source is not None:
                yield source, wanted

    def _step(self, step: str, known: Record) -> Iterator[StaticChange]:
        variant, units = known["variant"], self.recorded["units"]
        told: set[tuple[str, str]] = set()
        for source, qualnames in self._changed(known["units"]):
            for qualname in qualnames:
                before, now = units[source.path][qualname][variant], unit_digest(source, qualname, variant)
                if now != before:
                    told.add((source.path, qualname))
                    exact = not before.startswith("many ") and not (now or "").startswith("many ")
                    where = self.places.definition(source.path, qualname)
                    yield StaticChange(step, exact, "code", f"{_shown(source, qualname)} changed{where}")
        for source, faces in self._changed(known["faces"]):
            for qualname, digest in faces.items():
                if (source.path, qualname) not in told and face_digest(source, qualname) != digest:
                    detail = f"how {_shown(source, qualname)} is declared changed"
                    yield StaticChange(step, False, "code", detail)
        for source, names in self._changed(known["names"]):
            for name in names:
                yield from self._name(step, source, name)

    def _name(self, step: str, source: Source, name: str) -> Iterator[StaticChange]:
        digest, text = self.recorded["names"][source.path][name]
        if binding_digest(source, name) != digest:
            now = literal(source, name)
            if text is None or now != text:
                exact = text is not None and now is not None
                yield StaticChange(step, exact, "code", f"{name}{self.places.name(source.path, name)}")

    def _on_import(self) -> Iterator[StaticChange]:
        for path, source in self.now.items():
            known = self.recorded["files"][path]
            if import_paths(source, self.recorded["folders"], self._exists) != known["imports"]:
                yield StaticChange(None, False, "code", f"{path} imports other files")
            elif import_digest(source) != known["import"]:
                yield StaticChange(None, False, "code", f"code that runs on import of {path} changed")
            for name, digest in self.recorded["runs"].get(path, {}).items():
                if full_digest(source, name) != digest:
                    detail = f"{name} of {path} changed, which an import may use"
                    yield StaticChange(None, False, "code", detail)

    def _exists(self, path: str) -> bool:
        return self.read(path) is not None


def _shown(source: Source, qualname: str) -> str:
    """`clean()` or `Model`, as people name it."""
    plain = qualname.replace(".<locals>", "")
    found = source.by_name.get(qualname)
    return plain if found and isinstance(found[0].node, ast.ClassDef) else f"{plain}()"
