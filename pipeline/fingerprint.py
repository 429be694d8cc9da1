"""Fingerprints of code: all that running a function may use, each part apart.

Invariant: equal fingerprints mean that the code, the values and the packages that the function
reaches are the same. It says nothing of inputs, parameters or the interpreter: see `pipeline.plan`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import msgspec
from aq.pipeline import dynamic
from aq.pipeline.load import Project
from aq.pipeline.packages import Packages
from aq.pipeline.reach import Reach
from aq.pipeline.syntax import ANNOTATIONS
from blake3 import blake3


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
    reach = Reach(project)
    reach.run(function)
    if ANNOTATIONS in dynamic.variant(reach):
        reach.follow_annotations()
    return _finish(reach, project, environ)


def _finish(reach: Reach, project: Project, environ: Mapping[str, str] | None) -> Fingerprint:
    reach.note_changes()
    code = reach.digests()
    packages = installed(project).versions(reach.modules.values())
    if reach.dynamic:
        code["*"] = project_digest(project)
        packages["*"] = installed(project).everything()
    return Fingerprint(
        code=dict(sorted(code.items())),
        values=dict(sorted(reach.values.items())),
        packages=packages,
        variables=environment(sorted(reach.environment), environ),
        opaque=list(reach.opaque),
        files=sorted(reach.files),
    )


def environment(names: list[str], environ: Mapping[str, str] | None) -> dict[str, str]:
    """{variable: digest of its value}: the value itself may be a secret and is not kept."""
    if environ is None:
        return {}
    return {name: variable_digest(environ.get(name)) for name in names}


def variable_digest(value: str | None) -> str:
    """A digest of an environment variable's value; "unset" where it has none."""
    if value is None:
        return "unset"
    return blake3(b"aq variable 1" + value.encode("utf-8", "surrogateescape")).hexdigest()


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
        hasher = blake3(b"aq project 1")
        for path in project.python_files():
            hasher.update(f"{path}\0{file_digest(project, path)}\0".encode())
        known = project.memo["digest"] = hasher.hexdigest()
    return known


def file_digest(project: Project, path: str) -> str:
    """A digest of a file's normal form; of its bytes where it does not parse."""
    source = project.source(path)
    try:
        return source.digest(source.tree.body)
    except (SyntaxError, ValueError, RecursionError):
        return blake3(source.data).hexdigest()
