"""The environment of a run: Python, the operating system and every installed package.

Invariant: an allow-list. No environment variable, path, user or host name is captured.
"""

from __future__ import annotations

from typing import Any

from aq.formats import documents
from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source
from aq.pipeline.results import PackageDiff


def capture() -> dict[str, Any]:
    """Python, platform and `packages` {distribution: version} of the running interpreter."""
    import platform
    from importlib.metadata import distributions

    packages: dict[str, str] = {}
    for found in distributions():
        name = found.metadata["Name"]
        if name:
            packages.setdefault(name.lower().replace("_", "-"), found.version)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": dict(sorted(packages.items())),
    }


def store(sink: Sink, environment: dict[str, Any]) -> Digest:
    """Put an environment as a document."""
    return documents.put(sink, environment)


def load(source: Source, id: bytes | None) -> dict[str, Any]:
    """Read an environment back; empty where none was recorded."""
    if id is None:
        return {}
    found: dict[str, Any] = documents.get(source, id)
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[PackageDiff]:
    """What differs, Python and platform first, then packages by name."""
    if not before or not after:
        return []
    result = [
        PackageDiff(package=name, from_=before.get(name), to=after.get(name))
        for name in ("python", "implementation", "system", "machine")
        if before.get(name) != after.get(name)
    ]
    old, new = before.get("packages", {}), after.get("packages", {})
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            result.append(PackageDiff(package=name, from_=old.get(name), to=new.get(name)))
    return result
