"""What around the code a recorded step depends on, as it is now: packages, variables, any file.

Invariant: nothing is imported, and versions come from the names of folders. Needed only by
comparisons, so that `aq log` never pays for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from aq.pipeline.code.packages import Packages, located
from blake3 import blake3

if TYPE_CHECKING:
    from aq.pipeline.code.syntax import Source

_known: list[Packages] = []


def packages_now() -> Packages:
    """What is installed along the path of this process, listed once."""
    import sys

    if not _known or _known[-1].path != sys.path:
        _known[:] = [Packages()]
    return _known[-1]


def package_changes(recorded: Mapping[str, str], locals_: Mapping[str, str]) -> Iterator[str]:
    """A line for each distribution that is not as recorded.

    `locals_`: the top-level module of each distribution that counts by the bytes of its files.
    """
    packages = packages_now()
    now: dict[str, str] = {}
    if "*" in recorded:
        now["*"] = packages.everything()
    for told in locals_.values():
        top, place = located(told)
        if place is not None:
            now.update(packages.local_version(top, place))
    now.update(packages.closure([name for name in recorded if name not in locals_ and name != "*"]))
    for name in sorted(recorded.keys() | now.keys()):
        if recorded.get(name) != now.get(name):
            if name == "*":
                yield "the installed packages changed"
            elif "+" in recorded.get(name, "") or name.startswith("local:"):
                yield f"{name.removeprefix('local:')} changed"
            else:
                yield f"{name} {recorded.get(name, 'absent')} → {now.get(name, 'absent')}"


def variable_changes(recorded: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each environment variable that is not as recorded."""
    for name, digest in recorded.items():
        if variable_digest(environ.get(name)) != digest:
            yield f"the variable {name} changed"


def variable_digest(value: str | None) -> str:
    """A digest of an environment variable's value, which may be a secret; "unset" where it has none."""
    if value is None:
        return "unset"
    return blake3(b"aq variable 1" + value.encode("utf-8", "surrogateescape")).hexdigest()


def project_digest_of(files: Iterable[tuple[str, bytes | None]]) -> str:
    """A digest of the normal forms of Python files; of its bytes where one does not parse."""
    from aq.pipeline.code.syntax import Source

    hasher = blake3(b"aq project 1")
    for path, data in sorted(files):
        if data is not None:
            hasher.update(f"{path}\0{file_digest(Source(path, data))}\0".encode())
    return hasher.hexdigest()


def file_digest(source: Source) -> str:
    """A digest of a file's normal form; of its bytes where it does not parse."""
    return source.digest(source.tree.body) if source.is_valid else blake3(source.data).hexdigest()
