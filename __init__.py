"""aq: Git for predictions.

Every data snapshot, model and prediction batch is a versioned artifact; pipelines re-run only
what changed; when a metric gets worse, one command names the commit that did it.
Importing this module is cheap: pandas, pyarrow and friends are loaded only when they are used.
"""

from __future__ import annotations

from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aq.formats.errors import AqError, Conflict
    from aq.pipeline.change.context import Context
    from aq.pipeline.flow import presets as checks
    from aq.pipeline.flow.mapping import map
    from aq.pipeline.flow.ops import check, flow, metric, op, read
    from aq.pipeline.flow.placing import Path
    from aq.pipeline.look.face import Artifact
    from aq.pipeline.records.results import Commit, Diff
    from aq.pipeline.repo import Repo

__version__ = "0.1.0"
__all__ = [
    "AqError",
    "Artifact",
    "Commit",
    "Conflict",
    "Diff",
    "Path",
    "Repo",
    "__version__",
    "check",
    "checks",
    "flow",
    "init",
    "map",
    "metric",
    "op",
    "open",
    "read",
]

_HOMES = {
    "AqError": ("aq.formats.errors", "AqError"),
    "Conflict": ("aq.formats.errors", "Conflict"),
    "Artifact": ("aq.pipeline.look.face", "Artifact"),
    "Path": ("aq.pipeline.flow.placing", "Path"),
    "Repo": ("aq.pipeline.repo", "Repo"),
    "Commit": ("aq.pipeline.records.results", "Commit"),
    "Diff": ("aq.pipeline.records.results", "Diff"),
    "check": ("aq.pipeline.flow.ops", "check"),
    "checks": ("aq.pipeline.flow.presets", ""),
    "flow": ("aq.pipeline.flow.ops", "flow"),
    "map": ("aq.pipeline.flow.mapping", "map"),
    "metric": ("aq.pipeline.flow.ops", "metric"),
    "op": ("aq.pipeline.flow.ops", "op"),
    "read": ("aq.pipeline.flow.ops", "read"),
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'aq' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    home = import_module(module)
    value = globals()[name] = getattr(home, attribute) if attribute else home
    if name == "read":
        from aq.pipeline.flow import ops

        ops.outside_reader = _read
    return value


def _read(path: str, name: str | None, options: dict[str, Any]) -> Any:
    """`aq.read` outside a flow: the value, in the nearest repository."""
    from aq.pipeline.run import sources

    with open() as repo:
        return sources.value(repo, path, name, options)


def init(path: str | _Path = ".") -> Repo:
    """Make a folder an aq repository and open it; an existing one is left as it is."""
    from aq.formats import arguments
    from aq.pipeline.repo import Repo

    arguments.require("aq.init", "path", "str | Path", path)
    return Repo.create(_Path(path).absolute(), _context())


def open(path: str | _Path = ".") -> Repo:
    """Open the nearest repository at or above `path`. Raises AqError (exit code 6) without one."""
    from aq.formats import arguments
    from aq.pipeline.repo import Repo

    arguments.require("aq.open", "path", "str | Path", path)
    return Repo.find(_Path(path).absolute(), _context())


def _context(argv: Sequence[str] = ()) -> Context:
    """What only the outermost layer may know: the clock, the user, the working directory."""
    import os
    import time

    from aq.pipeline.change.context import Context

    def offset(now: int) -> int:
        return (time.localtime(now // 1_000_000_000).tm_gmtoff or 0) // 60

    try:
        cwd = _Path.cwd()
    except FileNotFoundError:  # the working directory was deleted under us
        cwd = _Path("/")
    return Context(
        now=time.time_ns,
        offset=offset,
        cwd=cwd,
        author=os.environ.get("AQ_AUTHOR", ""),
        user=_user(),
        argv=tuple(argv),
        environ=os.environ,
    )


def _user() -> str:
    """user@host, whatever is missing; never an error."""
    import os
    import platform  # not socket, which nothing else here needs: 2 ms

    user = os.environ.get("LOGNAME") or os.environ.get("USER") or ""
    if not user:
        try:
            import pwd

            user = pwd.getpwuid(os.getuid()).pw_name
        except (ImportError, KeyError):
            user = "unknown"
    return f"{user}@{platform.node() or 'localhost'}"
