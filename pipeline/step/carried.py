"""What an input brings along: the libraries and the classes whose methods an op may call on it.

Invariant: never less than there is. `predict(model, rows)` names neither scikit-learn nor pandas nor
a class of the project, yet their code decides what it returns: so an input's kind, and the names
in a pickle, enter the key of the op that receives it. Nothing that a pickle names is called.
"""

from __future__ import annotations

import io
import pickle
import sys
from importlib import import_module
from importlib.util import find_spec
from itertools import repeat
from types import FunctionType
from typing import Any, Final, cast

from aq.formats.artifacts import collected
from aq.formats.errors import Damaged
from aq.formats.objects import Source, get_record
from aq.formats.python import pickles
from aq.formats.records import Artifact
from aq.pipeline.code.fingerprint import Fingerprint, fingerprint, installed
from aq.pipeline.code.load import Project
from aq.pipeline.flow.hints import TABLES, Form
from aq.pipeline.step.constants import merged

_TABLES: Final[dict[Form, str]] = {"arrow": "pyarrow", "polars": "polars"}
_IGNORED: Final = frozenset({"aq", "builtins", *sys.stdlib_module_names})
_NOTHING: Final = Fingerprint()


class Carried:
    """Knows what inputs bring along, and remembers it for one plan."""

    def __init__(self, project: Project, source: Source) -> None:
        self._project = project
        self._source = source
        self._known: dict[object, Fingerprint] = {}

    def by(self, artifact: bytes, record: Artifact, form: Form) -> Fingerprint:
        """What an artifact that is handed over in this form brings along."""
        if record.format == collected.FORMAT:
            return self._by_items(artifact, record, form)
        if record.kind == "table":
            return self._library(_TABLES.get(form, "pandas"))
        if record.format == "array":
            return self._library("numpy")
        if record.format != "pickle":
            return _NOTHING
        if artifact not in self._known:
            opcodes = bytes(next(pickles.stored_parts(record, self._source)))
            parts = [self._global(module, name) for module, name in sorted(globals_in(opcodes))]
            inside = [self._library("pandas")] if record.type else []
            self._known[artifact] = merged(*parts, *inside)
        return self._known[artifact]

    def _by_items(self, artifact: bytes, record: Artifact, form: Form) -> Fingerprint:
        """What the items bring along; only pickles are looked into one by one."""
        key = bytes(artifact), form
        if key not in self._known:
            held = collected.formats(record)
            inner = cast("Form", form.removeprefix("each "))
            parts = [self._library(_TABLES.get(inner, "pandas"))] if "table" in held or form in TABLES else []
            parts += [self._library("numpy")] if "array" in held else []
            if held & {"pickle", collected.FORMAT}:
                for _, id in collected.elements(record, self._source):
                    parts.append(self.by(id, get_record(self._source, Artifact, id), inner))
            self._known[key] = merged(*parts)
        return self._known[key]

    def _global(self, module: str, name: str) -> Fingerprint:
        top = module.partition(".")[0]
        if top in _IGNORED:
            return _NOTHING
        if not self._is_project(top):
            return self._library(top)
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        found = getattr(found, "function", found)
        return fingerprint(found, self._project) if isinstance(found, type | FunctionType) else _NOTHING

    def _is_project(self, top: str) -> bool:
        if top in sys.modules:
            return self._project.is_project(top)
        spec = find_spec(top)
        return spec is not None and spec.origin is not None and self._project.holds(spec.origin)

    def _library(self, top: str) -> Fingerprint:
        """The versions behind a library, which is not imported for it."""
        if top not in self._known:
            self._known[top] = Fingerprint(packages=installed(self._project).versions([top]))
        return self._known[top]


def globals_in(opcodes: bytes) -> set[tuple[str, str]]:
    """(module, qualified name) of every class and function that a pickle names. Raises Damaged.

    The pickle is read with inert stand-ins in place of them: nothing is imported or called.
    """
    reader = _Reader(opcodes)
    try:
        reader.load()
    except Exception as error:  # whatever a broken pickle makes of the reader
        raise Damaged(f"a pickle cannot be read: {error}") from None
    return reader.names


class _Reader(pickle.Unpickler):
    def __init__(self, opcodes: bytes) -> None:
        super().__init__(io.BytesIO(opcodes), buffers=repeat(b""))
        self.names: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.names.add((module, name))
        return _Inert

    def persistent_load(self, name: Any) -> Any:
        return _Inert()


class _Inert:
    """Takes whatever a pickle does to the objects that it builds, and keeps nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        return

    def __setstate__(self, _: object) -> None:
        return

    def __setitem__(self, _: object, __: object) -> None:
        return

    def append(self, _: object) -> None:
        return

    extend = add = update = append
