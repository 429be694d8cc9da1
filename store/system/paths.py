"""Paths of a repository: text above, bytes in snapshots, places on the disk.

Invariant: a path that `require_safe` lets through, joined to a folder, names a place inside it
(symbolic links on the way apart) and never aq's or Git's own folder. Nothing here is normalised
in what is stored; only the user's way of writing a path is.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from aq.formats.errors import Unstorable, UsageError

PART_MOST: Final = 255
CONTROL_NAMES: Final = frozenset((".aq", ".git"))
_plain = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-=,+@")


def encode(path: str) -> bytes:
    """A path's bytes. Raises Unstorable on text that is no path (a lone high surrogate)."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Unstorable(f"{path!r} cannot be a path") from None


def decode(path: bytes) -> str:
    """A path's text; bytes that are no UTF-8 become lone surrogates."""
    return path.decode("utf-8", "surrogateescape")


def problem(path: bytes) -> str:
    """Why a snapshot may not hold this path, or "" where it may (docs/format.md, section 6)."""
    if not path:
        return "is empty"
    if b"\0" in path:
        return "holds a NUL byte"
    if path[:1] == b"/":
        return "is absolute"
    for part in path.split(b"/"):
        if part[:1] and part[0] in _plain and len(part) <= PART_MOST:
            continue
        if part in (b"", b".", b".."):
            return f"has a part {decode(part)!r}"
        if len(part) > PART_MOST:
            return f"has a part longer than {PART_MOST} bytes"
        if is_control(part):
            return f"leads into {folded(part)}"
    return ""


def check(path: str) -> None:
    """Raise Unstorable unless a snapshot may hold this path."""
    require_safe(encode(path))


def require_safe(path: bytes) -> None:
    """As `check`."""
    reason = problem(path)
    if reason:
        raise Unstorable(f"path {show(decode(path))} {reason}")


def is_control(part: bytes) -> bool:
    """Whether some file system takes this name for `.aq` or `.git`."""
    return folded(part) in CONTROL_NAMES


def folded(part: bytes) -> str:
    """A name without case and without the code points and trailing marks that file systems ignore."""
    text = decode(part)
    if not part.isascii():
        kept = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
        text = "".join(kept)
    return text.casefold().rstrip(". ")


def twins(chosen: Iterable[bytes]) -> tuple[bytes, bytes] | None:
    """Two paths that are one on a file system that ignores case or normalises names, or None.

    Folders count: in `a/x` and `A/y`, or `a/x` and `A`, these are `a` and `A`.
    """
    seen: dict[tuple[str, ...], bytes] = {}
    for path in chosen:
        for place in (*reversed(list(ancestors(path))), path):
            other = seen.setdefault(tuple(folded(part) for part in place.split(b"/")), place)
            if other != place:
                return other, place
    return None


def show(path: str) -> str:
    """A path as one line of text for a message: quoted only where it must be."""
    return path if path.isprintable() and path.strip() == path else ascii(path)


def ancestors(path: bytes) -> Iterator[bytes]:
    """The folders above a path, from the closest to the outermost; not the root."""
    while (cut := path.rfind(b"/")) > 0:
        path = path[:cut]
        yield path


def from_user(path: str) -> bytes:
    """The bytes of a repository path as `relative` gives it; "" and "." are the root. Raises Unstorable."""
    if path in ("", "."):
        return b""
    raw = encode(path.rstrip("/"))
    require_safe(raw)
    return raw


def outermost(chosen: Iterable[bytes]) -> list[bytes]:
    """Paths in order, without those that lie in another one."""
    places = set(chosen)
    if b"" in places:
        return [b""]
    return sorted(place for place in places if places.isdisjoint(ancestors(place)))


def relative(root: Path, path: str | Path, cwd: Path) -> str:
    """The repository path of what a user typed in `cwd`; "" is the root itself.

    From a `cwd` outside the repository a relative path that leads nowhere inside starts at the root.
    Raises UsageError outside the repository, behind a symbolic link inside it, or in `.aq`.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is no path")
    inside = _inside(root, os.path.join(cwd, text))
    if inside is None and not os.path.isabs(text) and _inside(root, os.fspath(cwd)) is None:
        inside = _inside(root, os.path.join(root, text))
    if inside is None:
        raise UsageError(f"{show(text)} is outside the repository {root}")
    if inside:
        raw = encode(inside)
        reason = problem(raw)
        if reason:
            raise UsageError(f"{show(text)} {reason}")
        link = link_above(os.fsencode(root), raw)
        if link:
            raise UsageError(f"{show(text)} lies behind the symbolic link {show(decode(link))}")
    return inside


def _inside(root: Path, path: str) -> str | None:
    """A place below the root, as written or with symbolic links above both followed."""
    place = os.path.normpath(path)
    inside = _below(place, os.fspath(root))
    if inside is None:
        head, name = os.path.split(place)
        inside = _below(os.path.join(os.path.realpath(head), name), os.path.realpath(root))
    return inside


def _below(place: str, root: str) -> str | None:
    if place == root:
        return ""
    start = root if root.endswith("/") else root + "/"
    return place[len(start) :] if place.startswith(start) else None


def link_above(root: bytes, path: bytes) -> bytes | None:
    """The first symbolic link among the folders above a repository path, if there is one."""
    for folder in reversed(list(ancestors(path))):
        if os.path.islink(os.path.join(root, folder)):
            return folder
    return None
