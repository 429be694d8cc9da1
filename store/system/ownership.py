"""Whose repository this is: one of somebody else is looked at, but neither written to nor executed.

Invariant: what lies in `.aq` is trusted with the rights of this process only where its owner has these rights
anyway: this user, root, whoever called `sudo`; or where this user said so. After Git's `safe.directory`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Final

from aq.formats.errors import NotTrusted

TRUST: Final = "AQ_TRUST"
"""The environment variable that names folders whose repositories are trusted; `*` is any."""
_ROOT: Final = 0


def stranger(root: Path, control: str, environ: Mapping[str, str]) -> NotTrusted | None:
    """Why this repository is only to be looked at; None if it is trusted."""
    if not hasattr(os, "geteuid"):
        return None
    trusted = {_ROOT, os.geteuid()}
    if os.geteuid() == _ROOT and environ.get("SUDO_UID", "").isdecimal():
        trusted.add(int(environ["SUDO_UID"]))
    found = {os.lstat(control).st_uid, os.stat(control).st_uid}  # a link may lead from theirs to ours
    if found <= trusted or _is_named(root, environ.get(TRUST, "")):
        return None
    owner = _name(max(found - trusted))
    message = f"{control} belongs to {owner}: it may be looked at, not written to, and nothing in it executed"
    return NotTrusted(message, hint=f"export {TRUST}={quote(str(root))}")


def _is_named(root: Path, trust: str) -> bool:
    names = [name for name in trust.split(os.pathsep) if name]
    return "*" in names or os.path.realpath(root) in map(os.path.realpath, names)


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
