"""Whether the process that is to execute a step is what the step's key says: Python, packages, variables.

Invariant: a result is recorded under a key only where all that the key holds was so when it was made. What is
different is told in one line, and the step is not executed there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from aq.formats.records import Step
from aq.pipeline.code.environs import package_changes, variable_changes
from aq.pipeline.code.fingerprint import fingerprint, installed
from aq.pipeline.step.planning import PYTHON

if TYPE_CHECKING:
    from aq.pipeline.code.load import Project

_TOLD: Final = 3


class Needs(msgspec.Struct, frozen=True):
    """What a step's key holds of the process around it.

    `packages`: distribution → version; `locals`: of those that count by the bytes of their files, the
    top-level module; `variables`: environment variable → digest of its value; `values`: name of a global, a
    default or a closure cell → token.
    """

    python: str = ""
    packages: Mapping[str, str] = {}
    locals: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}
    values: Mapping[str, str] = {}


def needs(step: Step, project: Project) -> Needs:
    """What whoever executes a step has to have."""
    known = installed(project).locals
    locals_ = {name: known[name] for name in step.packages if name in known}
    return Needs(PYTHON, step.packages, locals_, step.variables, step.values)


def mismatch(wanted: Needs) -> str:
    """What this process has otherwise, in one line; nothing where it may execute the step."""
    found = list(_differences(wanted))
    return _line(found) if found else ""


def told(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The line for libraries of other versions."""
    names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return _line([f"{name} {wanted.get(name)} → {found.get(name)}" for name in names])


def other_value(function: Callable[..., object], project: Project, wanted: Needs) -> str:
    """What of the code's values, computed when it was imported, is not what the key says."""
    if not wanted.values or function.__module__.startswith("aq."):
        return ""
    for name, token in fingerprint(function, project).values.items():
        if token not in wanted.values.get(name, "").split("+"):
            return f"{name} has another value in its worker"
    return ""


def _line(found: Sequence[str]) -> str:
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return f"its worker has another environment than this run: {', '.join(found[:_TOLD])}{more}"


def _differences(wanted: Needs) -> Iterator[str]:
    if wanted.python and wanted.python != PYTHON:
        yield f"Python {wanted.python} → {PYTHON}"
    yield from package_changes(wanted.packages, wanted.locals)
    yield from variable_changes(wanted.variables, os.environ)
