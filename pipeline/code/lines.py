"""The lines in which a step's code changed, by the names that its record has for it.

Invariant: as in `pipeline.code.places`; the project is loaded, so that modules lead to files.
"""

from __future__ import annotations

from aq.pipeline.code.load import Project
from aq.pipeline.code.places import Places
from aq.pipeline.code.syntax import Source


class Lines:
    """Names of code and values, `module:…`, against what the project's files held at the last run."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._places = Places(lambda path: project.before(path), self._source)

    def code(self, name: str) -> str:
        """Where a definition changed."""
        module, _, qualname = name.partition(":")
        return self._places.definition(self._project.path_of(module), qualname)

    def value(self, name: str) -> str:
        """How a global changed, and where."""
        module, _, rest = name.partition(":")
        path = self._project.path_of(module) if rest.isidentifier() else None
        return self._places.name(path, rest)

    def _source(self, path: str) -> Source | None:
        return self._project.files.source(path) if self._project.files.has(path) else None
