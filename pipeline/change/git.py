"""What Git says of the folder: the commit that is checked out and whether the tree is dirty.

Invariant: reads only, never fails: without Git, or outside a work tree, there is nothing to record.
"""

from __future__ import annotations

from pathlib import Path

from aq.formats.records import Git


def work_tree(folder: Path) -> Path | None:
    """The top of the Git work tree that holds `folder`, or None."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def state(folder: Path) -> Git | None:
    """The commit and dirtiness (of files that Git tracks) of the work tree around `folder`."""
    if work_tree(folder) is None:
        return None
    text = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if text is None:
        return None
    commit, dirty = "", False
    for line in text.splitlines():
        if line.startswith("# branch.oid "):
            commit = line.removeprefix("# branch.oid ").strip()
        elif not line.startswith("#"):
            dirty = True
    if not commit or commit == "(initial)":
        return None
    return Git(commit=commit, dirty=dirty)


def tracked_files(folder: Path) -> frozenset[str]:
    """Paths relative to `folder` that Git tracks; empty outside a work tree."""
    if work_tree(folder) is None:
        return frozenset()
    text = _git(folder, "ls-files", "-z", "--", ".")
    return frozenset(path for path in (text or "").split("\0") if path)


def author(folder: Path) -> str | None:
    """`Name <email>` as Git would record it, or None."""
    text = _git(folder, "config", "--get-regexp", r"^user\.(name|email)$")
    values = dict(line.split(" ", 1) for line in (text or "").splitlines() if " " in line)
    name, email = values.get("user.name"), values.get("user.email")
    if name and email:
        return f"{name} <{email}>"
    return name or email


def _git(folder: Path, *arguments: str) -> str | None:
    import subprocess

    command = ["git", "-c", "core.quotepath=off", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None
