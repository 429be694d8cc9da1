"""Branches and tags: names for commits.

Invariant: one transaction a change, each name by compare-and-swap; names are checked by the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from unicodedata import normalize

from aq.formats.errors import Conflict, NotFound, UsageError
from aq.formats.identity import Kind, is_hex_prefix
from aq.formats.objects import get_record
from aq.formats.records import Commit
from aq.pipeline.history import log
from aq.pipeline.records import results
from aq.store import revisions
from aq.store.commits.refs import Ref, check_name

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo

ACTIONS = ("list", "add", "remove", "rename")
_ID_DIGITS = 64


def branch(repo: Repo, action: str, names: Sequence[str], at: str | None) -> list[results.Ref]:
    """See `Repo.branch`."""
    return _collection(repo, "branch", action, names, at)


def tag(repo: Repo, action: str, names: Sequence[str], at: str | None) -> list[results.Ref]:
    """See `Repo.tag`."""
    return _collection(repo, "tag", action, names, at)


def _collection(
    repo: Repo, noun: str, action: str, names: Sequence[str], at: str | None
) -> list[results.Ref]:
    if action not in ACTIONS:
        raise UsageError(f"'{action}' is no action of {noun} (there are {', '.join(ACTIONS)})")
    wanted = {"list": 0, "add": 1, "rename": 2}.get(action)
    if (wanted is not None and len(names) != wanted) or (action == "remove" and not names):
        raise UsageError(f"{noun} {action} takes {wanted or 'at least one'} name{'s' * (wanted != 1)}")
    if action == "add":
        _add(repo, noun, names[0], at)
    elif action == "remove":
        _remove(repo, noun, names)
    elif action == "rename":
        _rename(repo, noun, names[0], names[1])
    return listing(repo, noun)


def listing(repo: Repo, noun: str) -> list[results.Ref]:
    """All branches or tags by name; the current branch is marked, also before its first commit."""
    refs = repo.store.refs()
    head = refs.get("HEAD") or Ref()
    found = {}
    for name, ref in refs.items():
        if name.startswith(noun + "/") and ref.id is not None:
            short = name.removeprefix(noun + "/")
            message = get_record(repo.store, Commit, ref.id).message.partition("\n")[0]
            found[short] = results.Ref(
                name=short, commit=str(ref.id), current=name == head.target, message=message
            )
    if noun == "branch" and head.target and head.target not in refs:
        short = head.target.removeprefix("branch/")
        found[short] = results.Ref(name=short, commit=None, current=True)
    return [found[name] for name in sorted(found)]


def _add(repo: Repo, noun: str, name: str, at: str | None) -> None:
    full = f"{noun}/{name}"
    check_name(full)
    refuse_hidden(repo, noun, name)
    commit = log.commit_of(revisions.resolve(repo.store, at or "HEAD"))
    if full in repo.store.refs():
        raise Conflict(f"{noun} '{name}' is there already", hint=f"aq {noun} remove {name}")
    change = repo.transaction(f"{noun} add", name)
    change.set(full, Ref(id=commit), expect=None)
    change.commit()


def refuse_hidden(repo: Repo, noun: str, name: str) -> None:
    """Refuse a new name that a revision could not be asked by, or that would hide an id."""
    reason = ""
    if name in ("HEAD", "@"):
        reason = "it means the current commit"
    elif name.startswith(("branch/", "tag/", "remote/")):
        reason = f"it begins as full names do, with {name.partition('/')[0]}/"
    elif normalize("NFC", name) != name:
        reason = "it is not in Unicode's composed form (NFC), so another name could look the same"
    elif len(name) == _ID_DIGITS and is_hex_prefix(name.lower()):
        reason = "it reads as an id"
    elif is_hex_prefix(name.lower()) and repo.store.with_prefix(name.lower(), (Kind.COMMIT, Kind.RUN)):
        reason = "a commit or run has an id that begins so"
    if reason:
        raise UsageError(f"{name!r} cannot be the name of a {noun}: {reason}", hint=f"aq {noun}")


def _remove(repo: Repo, noun: str, names: Sequence[str]) -> None:
    refs = repo.store.refs()
    for name in names:
        _known(repo, noun, name)
        if noun == "branch" and refs["HEAD"].target == f"branch/{name}":
            raise Conflict(f"branch '{name}' is the current one", hint="aq branch")
    change = repo.transaction(f"{noun} remove", " ".join(names))
    for name in names:
        change.set(f"{noun}/{name}", None, expect=refs[f"{noun}/{name}"])
    change.commit()


def _rename(repo: Repo, noun: str, old: str, new: str) -> None:
    refs = repo.store.refs()
    unborn = noun == "branch" and refs["HEAD"].target == f"branch/{old}" and f"branch/{old}" not in refs
    if not unborn:
        _known(repo, noun, old)
    check_name(f"{noun}/{new}")
    refuse_hidden(repo, noun, new)
    if f"{noun}/{new}" in refs:
        raise Conflict(f"{noun} '{new}' is there already", hint=f"aq {noun} remove {new}")
    change = repo.transaction(f"{noun} rename", f"{old} to {new}")
    if not unborn:
        change.set(f"{noun}/{new}", refs[f"{noun}/{old}"], expect=None)
        change.set(f"{noun}/{old}", None, expect=refs[f"{noun}/{old}"])
    if noun == "branch" and refs["HEAD"].target == f"branch/{old}":
        change.set("HEAD", Ref(target=f"branch/{new}"), expect=refs["HEAD"])
    change.commit()


def _known(repo: Repo, noun: str, name: str) -> None:
    """Raise NotFound, with the nearest name, for what is none."""
    from difflib import get_close_matches

    names = [ref.name for ref in listing(repo, noun) if ref.commit]
    if name in names:
        return
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]}?)" if near else ""
    raise NotFound(f"no {noun} '{name}'{guess}", hint=f"aq {noun}")
