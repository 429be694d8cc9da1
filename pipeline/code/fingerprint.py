"""Fingerprints of code: all that running a function may use, each part apart.

Invariant: equal fingerprints mean that the code, the values and the packages that the function
reaches are the same. It says nothing of inputs, parameters or the interpreter: see `pipeline.plan`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
from aq.pipeline.code import dynamic
from aq.pipeline.code.environs import project_digest_of, variable_digest as variable_digest
from aq.pipeline.code.load import Project
from aq.pipeline.code.packages import Packages
from aq.pipeline.code.reach import Reach
from aq.pipeline.code.spaces import plain
from aq.pipeline.code.syntax import combine


class Fingerprint(msgspec.Struct, frozen=True):
    """What a function reaches.

    `code`: module:qualname → digest of the normalised definition. `values`: name of a global, a
    default, a closure cell or an attribute → token. `packages`: distribution → version.
    `variables`: environment variable → digest of its value. `opaque`: what cannot be followed.
    `files`: the project files that hold it all, by their path from the root.
    """

    code: dict[str, str] = {}
    values: dict[str, str] = {}
    packages: dict[str, str] = {}
    variables: dict[str, str] = {}
    opaque: list[str] = []
    files: list[str] = []

    def __or__(self, other: Fingerprint) -> Fingerprint:
        """What either reaches. A name that means two things in them stands for both."""
        return Fingerprint(
            code=_both(self.code, other.code),
            values=_both(self.values, other.values),
            packages=_both(self.packages, other.packages),
            variables=_both(self.variables, other.variables),
            opaque=list(dict.fromkeys([*self.opaque, *other.opaque])),
            files=sorted({*self.files, *other.files}),
        )


def _both(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """A union that loses nothing, whichever comes first."""
    made = {**first, **second}
    for name in first.keys() & second.keys():
        if first[name] != second[name]:
            made[name] = "+".join(sorted({*first[name].split("+"), *second[name].split("+")}))
    return dict(sorted(made.items()))


def fingerprint(
    function: object, project: Project, *, environ: Mapping[str, str] | None = None
) -> Fingerprint:
    """What a function (an op, or any value that holds code) reaches in a project.

    `environ`: the environment, for the variables that the code names; without it they are only
    listed as opaque. Raises AqError where a module that the code imports cannot be loaded.
    """
    if environ is not None:
        project.memo["environ"] = environ
    return _trace(plain(function), project, environ, through_ops=True).fingerprint


def argument(
    value: object, project: Project, *, environ: Mapping[str, str] | None = None
) -> tuple[str, Fingerprint]:
    """(64 hex digits that stand for a value with code inside, what that code reaches).

    The digits hold what is reached too: of two arguments each its own, should they be exchanged.
    """
    made = _trace(value, project, environ, through_ops=True)
    reached = made.fingerprint
    parts = (f"{name}\0{text}" for part in (reached.code, reached.values) for name, text in part.items())
    return combine([made.token, *parts]), reached


@dataclass(slots=True)
class Traced:
    """Where the parts of a fingerprint lie: what a look at files alone can compare later.

    `units`: (path, qualified name) of definitions; `names`: (path, name) of globals looked up;
    `whole`: anything in the project may run; `outside`: code lies in no project file.
    """

    function: object
    fingerprint: Fingerprint
    token: str = ""
    units: set[tuple[str, str]] = field(default_factory=set)
    names: set[tuple[str, str]] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    locals: dict[str, str] = field(default_factory=dict)
    variant: str = ""
    whole: bool = False
    outside: bool = False

    def joined(self, other: Traced) -> Traced:
        """Both; the variant is this one's."""
        return replace(
            self,
            units=self.units | other.units,
            names=self.names | other.names,
            paths=self.paths | other.paths,
            locals={**other.locals, **self.locals},
        )


def traced(function: object, project: Project, *, through_ops: bool = True) -> Traced:
    """The same walk as `fingerprint`, with the places; remembered from there where it was made."""
    function = plain(function)
    known = project.memo.get(("traced", id(function), through_ops))
    if isinstance(known, Traced) and known.function is function:
        return known
    return _trace(function, project, None, through_ops=through_ops)


def _trace(
    function: object, project: Project, environ: Mapping[str, str] | None, *, through_ops: bool
) -> Traced:
    reach = Reach(project, through_ops=through_ops)
    reach.run(function)
    made = Traced(
        function,
        _finish(reach, project, environ),
        reach.token,
        reach.unit_places(),
        reach.named_places(),
        {space.source.path for space in reach.spaces.known.values() if space.source is not None},
        installed(project).locals,
        dynamic.variant(reach),
        reach.dynamic,
        reach.outside or reach.spaces.outside,
    )
    project.memo[("traced", id(function), through_ops)] = made
    return made


def _finish(reach: Reach, project: Project, environ: Mapping[str, str] | None) -> Fingerprint:
    reach.note_changes()
    code = reach.digests()
    packages = installed(project).versions({*reach.tops, *dynamic.added_by(reach)})
    if reach.dynamic:
        code["*"] = project_digest(project)
        packages["*"] = installed(project).everything()
    return Fingerprint(
        code=dict(sorted(code.items())),
        values=dict(sorted(reach.values.items())),
        packages=packages,
        variables=environment(sorted(dynamic.variables(reach)), environ),
        opaque=list(reach.opaque),
        files=sorted(reach.spaces.files),
    )


def environment(names: list[str], environ: Mapping[str, str] | None) -> dict[str, str]:
    """{variable: digest of its value}: the value itself may be a secret and is not kept."""
    if environ is None:
        return {}
    return {name: variable_digest(environ.get(name)) for name in names}


def installed(project: Project) -> Packages:
    """The distributions along the path, looked up once for a project."""
    known = project.memo.get("packages")
    if not isinstance(known, Packages) or known.path != sys.path:
        known = project.memo["packages"] = Packages()
    return known


def project_digest(project: Project) -> str:
    """A digest of the normal forms of all Python files of a project."""
    known = project.memo.get("digest")
    if not isinstance(known, str):
        files = ((path, project.read(project.root / path)) for path in project.python_files())
        known = project.memo["digest"] = project_digest_of(files)
    return known
