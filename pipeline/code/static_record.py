"""What a run records so that `pipeline.code.static` can later compare files without importing them.

Invariant: whatever could change a step's fingerprint by an edit of a project file is named: the
definitions reached, the statements that bind the names looked up, all code that runs on import,
and the files whose appearance would change what an import means.
"""

from __future__ import annotations

import ast
import marshal
import sys
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Final

import msgspec
from aq.pipeline.code.bindings import (
    binders,
    binding_digest,
    full_digest,
    identifiers,
    import_digest,
    import_targets_of,
    likely_variables,
    literal,
    reads_any_variable,
    run_on_import,
    variables_named,
)
from aq.pipeline.code.fingerprint import Fingerprint, Traced, environment, project_digest, traced
from aq.pipeline.code.load import Project
from aq.pipeline.code.resolving import absent, import_paths, meant
from aq.pipeline.code.scopes import Import
from aq.pipeline.code.spaces import plain
from aq.pipeline.code.static import VERSION, Record, code_digest_of
from aq.pipeline.code.static_code import face_digest, unit_digest
from aq.pipeline.code.syntax import DEFINITIONS, Source

_DRAWN_TEXT: Final = """
now today utcnow time_ns perf_counter monotonic uuid1 uuid4 urandom SystemRandom token_hex token_bytes
mkdtemp mktemp getpid
"""
_DRAWN: Final = frozenset(_DRAWN_TEXT.split())
"""What gives another value each time, by last name."""


def record(
    flow: object, steps: Mapping[str, object], project: Project, reached: Mapping[str, Fingerprint]
) -> Record:
    """See `static.snapshot_static`."""
    return _Recorder(project).record(flow, steps, reached)


class _Recorder:
    """Collects one record; `files` are the sources of all that is loaded for the flow."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folders = project.search_paths()
        self.files: dict[str, Source] = {}
        self.units: dict[str, dict[str, dict[str, str]]] = {}
        self.names: dict[str, dict[str, list[str | None]]] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._steps: dict[tuple[int, int], Record] = {}

    def record(self, flow: object, steps: Mapping[str, object], reached: Mapping[str, Fingerprint]) -> Record:
        whole = traced(flow, self.project, through_ops=False)
        found = {name: traced(op, self.project) for name, op in steps.items()}
        several = {id(one): one for one in reached.values()}
        self._find_files([whole, *found.values(), *(_named(one, self.project) for one in several.values())])
        listed = {
            name: self._known_step(one, steps[name], reached.get(name, one.fingerprint))
            for name, one in found.items()
        }
        told = self._step(whole, flow, whole.fingerprint)
        runs = run_on_import(self.files.values())
        dynamic = any(one["whole"] for one in [*listed.values(), told])
        return {
            "version": VERSION,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "folders": self.folders,
            "files": {path: self._file(source) for path, source in sorted(self.files.items())},
            "units": self.units,
            "names": self.names,
            "runs": {path: self._full(path, names) for path, names in runs.items()},
            **_grouped(listed),
            "flow": told,
            "absent": sorted(self._absent()),
            "reads": self._reads(flow),
            "variables": self._variables(),
            "project": project_digest(self.project) if dynamic else "",
        }

    # --- files

    def _find_files(self, found: Iterable[Traced]) -> None:
        waiting = {path for one in found for path in one.paths}
        nested = self.project.nested_imports()
        while waiting:
            path = waiting.pop()
            if path in self.files:
                continue
            source = self.project.files.source(path)
            if not source.is_valid:
                continue
            self.files[path] = source
            waiting |= set(import_paths(source, self.folders, self._exists))
            waiting |= nested.get(path, set())

    def _exists(self, path: str) -> bool:
        return self.project.files.has(path)

    def _file(self, source: Source) -> Record:
        return {
            "bytes": code_digest_of(source.data),
            "import": import_digest(source),
            "imports": import_paths(source, self.folders, self._exists),
        }

    def _reads(self, flow: object) -> dict[str, str]:
        found = self.project.read_on_import(f"flow {getattr(flow, 'name', '')}")
        for path in self.files:
            found.update(
                self.project.read_on_import(self.project.files.module_name(self.project.root / path))
            )
        return found

    def _variables(self) -> dict[str, str]:
        """The environment variables that the files name, as the fingerprints saw them."""
        environ = self.project.memo.get("environ")
        if not isinstance(environ, Mapping):
            return {}
        sources = self.files.values()
        names = {name for source in sources for name in variables_named(source)}
        if any(map(reads_any_variable, sources)):
            names |= {name for source in sources for name in likely_variables(source.tree)}
        return environment(sorted(names), environ)

    def _full(self, path: str, names: Iterable[str]) -> dict[str, str]:
        return {name: full_digest(self.files[path], name) for name in names}

    def _absent(self) -> set[str]:
        found: set[str] = set()
        for source in self.files.values():
            targets: list[Import] = []
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Import):
                    targets += [Import(one.name, 0, "") for one in node.names]
                elif isinstance(node, ast.ImportFrom):
                    targets.append(Import(node.module or "", node.level, ""))
            found |= absent(source, targets, self.folders, self._exists)
        return found

    # --- steps

    def _known_step(self, one: Traced, op: object, reached: Fingerprint) -> Record:
        """The record of a step; the same for many steps of one op, which share both."""
        both = id(one), id(reached)
        if both not in self._steps:
            self._steps[both] = self._step(one, op, reached)
        return self._steps[both]

    def _step(self, one: Traced, op: object, reached: Fingerprint) -> Record:
        merged = one.joined(_named(reached, self.project))
        units: dict[str, list[str]] = {}
        names: dict[str, list[str]] = {}
        outside = merged.outside
        for path, qualname in sorted(merged.units):
            if self._unit(path, qualname, merged.variant):
                units.setdefault(path, []).append(qualname)
            else:
                outside = True
        for path, name in sorted(self._followed(merged.names)):
            self._name(path, name)
            names.setdefault(path, []).append(name)
        packages = reached.packages
        return {
            "units": units,
            "names": names,
            "faces": self._faces(op),
            "variant": merged.variant,
            "packages": packages,
            "locals": {name: merged.locals[name] for name in packages if name in merged.locals},
            "variables": reached.variables,
            "whole": merged.whole,
            "outside": outside,
            "never": _never(reached),
            "drawn": sorted({name for path in names for name in names[path] if self._is_drawn(path, name)}),
        }

    def _unit(self, path: str, qualname: str, variant: str) -> bool:
        source = self.files.get(path)
        digest = None if source is None else unit_digest(source, qualname, variant)
        if digest is not None:
            self.units.setdefault(path, {}).setdefault(qualname, {})[variant] = digest
        return digest is not None

    def _faces(self, op: object) -> Record:
        function = plain(op)
        if not isinstance(function, FunctionType):
            return {}
        path = self.project.files.relative(function.__code__.co_filename)
        source = None if path is None else self.files.get(path)
        if source is None:
            return {}
        qualname = function.__code__.co_qualname
        place = source.path, qualname
        if place not in self._digests:  # many steps may be of one op
            self._digests[place] = face_digest(source, qualname)
        return {source.path: {qualname: self._digests[place]}}

    # --- names

    def _followed(self, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """The names, and those that they are imported from."""
        found: set[tuple[str, str]] = set()
        waiting = list(names)
        while waiting:
            path, name = waiting.pop()
            source = self.files.get(path)
            if source is None or (path, name) in found:
                continue
            found.add((path, name))
            for target in import_targets_of(source, name):
                there = next((one for one in meant(path, target, self.folders) if self._exists(one)), None)
                if there is not None:
                    waiting.append((there, target.name))
        return found

    def _name(self, path: str, name: str) -> None:
        known = self.names.setdefault(path, {})
        if name not in known:
            source = self.files[path]
            text = literal(source, name)
            is_so = text is not None and self._holds(source, name)
            known[name] = [binding_digest(source, name), text if is_so else None]

    def _is_drawn(self, path: str, name: str) -> bool:
        """Whether a global is another value on each import, by the look of what computes it."""
        found = binders(self.files[path]).get(name, ())
        return any(identifiers(node) & _DRAWN for node in found if not isinstance(node, DEFINITIONS))

    def _holds(self, source: Source, name: str) -> bool:
        """Whether a name really has its literal's value: nothing else has set it."""
        module = self.project.modules.get(self.project.files.module_name(self.project.root / source.path))
        node = binders(source)[name][0]
        value = getattr(node, "value", None)
        if module is None or value is None or not hasattr(module, name):
            return False
        try:
            return marshal.dumps(ast.literal_eval(value), 0) == marshal.dumps(getattr(module, name), 0)
        except ValueError:
            return False


def _grouped(steps: Mapping[str, Record]) -> Record:
    """`groups`: the records of steps, each once; `steps`: the position of each step's."""
    groups: list[Record] = []
    places: dict[bytes, int] = {}
    several = {id(step): step for step in steps.values()}
    texts = {place: msgspec.json.encode(step, order="sorted") for place, step in several.items()}
    found: dict[str, int] = {}
    for name, step in steps.items():
        text = texts[id(step)]
        if text not in places:
            places[text] = len(groups)
            groups.append(step)
        found[name] = places[text]
    return {"groups": groups, "steps": found}


def _never(reached: Fingerprint) -> list[str]:
    """What makes the step's key another one each time."""
    places = [place for place, token in reached.values.items() if token.startswith("never ")]
    return [f"{place.partition(':')[2]} cannot be compared between runs" for place in places]


def _named(reached: Fingerprint, project: Project) -> Traced:
    """What a fingerprint's own names lead to: for code that no op names."""
    found = Traced(None, reached)
    for label in reached.code:
        module, _, qualname = label.partition(":")
        path = project.path_of(module)
        if path is None:
            continue
        found.paths.add(path)
        plain = qualname.partition("#")[0]
        if plain in project.files.source(path).by_name:  # not so what a library has generated
            found.units.add((path, plain))
    for place in reached.values:
        module, _, name = place.partition(":")
        path = project.path_of(module)
        if path is not None and name.isidentifier():
            found.names.add((path, name))
    return found
