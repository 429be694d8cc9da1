"""Revisions: what a user types for a commit or a run, and for a path in one.

Invariant: a name means one thing or is refused with the candidates; names of refs win over
prefixes of ids. Grammar: cli.md's, in docs/commands.md: `BASE`, then any of `~n ^n @{DATE}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest, Kind, is_hex_prefix
from aq.formats.objects import get_record
from aq.formats.records import Commit, Run
from aq.store.commits import history
from aq.store.commits.nearest import nearest
from aq.store.commits.refs import HEAD, Ref
from aq.store.commits.snapshots import get_entry
from aq.store.store import Store
from aq.store.system.paths import show

_SHOWN: Final = 5
_SUFFIX: Final = re.compile(r"(.*?)((?:[~^]\d*|@\{[^{}]*\})*)", re.DOTALL)
_STEP: Final = re.compile(r"[~^]\d*|@\{[^{}]*\}")
_REVISION_KINDS: Final = (Kind.COMMIT, Kind.RUN)
_FOLDERS: Final = ("branch/", "tag/", "remote/")
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Revision(NamedTuple):
    """What a revision names: a commit, or a run (which has a snapshot too, of what it would commit)."""

    text: str
    commit: Digest | None
    run: Digest | None
    snapshot: Digest


def resolve(store: Store, text: str) -> Revision:
    """The commit or run that `text` names. Raises NotFound with what is close, or the candidates."""
    match = _SUFFIX.fullmatch(text)
    assert match is not None
    base, suffix = match.groups()
    id = _base(store, base or HEAD, whole=text)
    for step in _STEP.findall(suffix):
        id = _step(store, id, step, text)
    return _revision(store, text, id)


def resolve_range(store: Store, text: str) -> tuple[Revision | None, Revision]:
    """`A..B`; a side left out is HEAD. A single revision gives (None, it)."""
    first, dots, last = text.partition("..")
    if not dots:
        return None, resolve(store, text)
    if last.startswith("."):
        raise UsageError(f"a range is A..B, not {text}", hint=f"aq log {first or HEAD}..{last[1:] or HEAD}")
    return resolve(store, first or HEAD), resolve(store, last or HEAD)


def split_path(store: Store, text: str) -> tuple[str | None, str | None]:
    """`REV:PATH` as (REV, PATH), `:PATH` as (None, PATH), anything without such a colon as (text, None).

    What stands before a colon is a revision unless it names none and the whole text is a path of HEAD.
    """
    at = _colon(text)
    if at is None:
        return text, None
    revision, path = text[:at], text[at + 1 :]
    if not revision:
        return None, path
    return (revision, path) if _names_revision(store, revision, text) else (None, text)


def parse_date(text: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO date (its end, UTC) or time (UTC unless it says otherwise)."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no date: write 2026-03-01 or 2026-03-01T12:00Z") from None
    is_date = not any(mark in text for mark in ("T", ":", " ")) and moment.tzinfo is None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if is_date:
        return _nanoseconds(moment + _DAY) - 1
    return _nanoseconds(moment)


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _colon(text: str) -> int | None:
    """Where the path begins: the first colon that is part neither of a prefix nor of a date."""
    begin = 4 if text.startswith(("run:", "git:")) else 0
    depth = 0
    for at in range(begin, len(text)):
        if text.startswith("@{", at):
            depth += 1
        elif text[at] == "}" and depth:
            depth -= 1
        elif text[at] == ":" and not depth:
            return at
    return None


def _names_revision(store: Store, revision: str, whole: str) -> bool:
    try:
        resolve(store, revision)
    except NotFound:
        at = history.head(store).commit
        if at is None:
            return True
        return get_entry(store, history.commit(store, at).snapshot, whole) is None
    return True


def _revision(store: Store, text: str, id: Digest) -> Revision:
    if store.kind_of(id) is Kind.RUN:
        return Revision(text, None, id, Digest(get_record(store, Run, id).snapshot))
    return Revision(text, id, None, Digest(history.commit(store, id).snapshot))


def _base(store: Store, base: str, *, whole: str) -> Digest:
    if base in (HEAD, "@"):
        found = history.head(store).commit
        if found is None:
            raise _unborn()
        return found
    if base.startswith("run:"):
        return _run(store, base[4:])
    if base.startswith("git:"):
        return _git(store, base[4:])
    refs = store.refs()
    named = _named(refs, base)
    if len(named) > 1:
        raise NotFound(f"{base} is ambiguous: {' or '.join(sorted(named))}", hint=f"aq show {min(named)}")
    if named:
        return next(iter(named.values()))
    found = _by_prefix(store, base)
    if found is None:
        raise _unknown(refs, base, whole)
    return found


def _unborn() -> NotFound:
    return NotFound("there are no commits yet", hint="aq commit -m MSG")


def _named(refs: Mapping[str, Ref], name: str) -> dict[str, Digest]:
    """The refs that a short or full name may mean."""
    places = [name] if name.startswith(_FOLDERS) else []
    found = {}
    for full in [*places, *(folder + name for folder in _FOLDERS)]:
        ref = refs.get(full)
        if ref is not None and ref.id is not None:
            found[full] = ref.id
    return found


def _by_prefix(store: Store, text: str) -> Digest | None:
    """The commit or run whose id begins so, or None."""
    prefix = text.lower()
    if not is_hex_prefix(prefix):
        return None
    found = store.with_prefix(prefix, _REVISION_KINDS)
    if len(found) > 1:
        shown = "; ".join(_describe(store, id) for id in found[:_SHOWN])
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        hints = [f"aq show {_shortest(id, found)}" for id in found[:2]]
        raise NotFound(f"{text} is ambiguous: {shown}{more}", hint=hints)
    return found[0] if found else None


def _describe(store: Store, id: Digest) -> str:
    if store.kind_of(id) is Kind.RUN:
        run = get_record(store, Run, id)
        return f"{id.short()} run of {run.flow}, {run.status}"
    return f"{id.short()} commit {show(_first_line(history.commit(store, id)))}"


def _first_line(commit: Commit) -> str:
    return commit.message.partition("\n")[0]


def _shortest(id: Digest, others: list[Digest]) -> str:
    """The shortest prefix, of at least 8 digits, that tells an id from others."""
    length = 8
    while any(other != id and other.hex()[:length] == id.hex()[:length] for other in others):
        length += 1
    return id.hex()[:length]


def _unknown(refs: Mapping[str, Ref], base: str, whole: str) -> NotFound:
    names = [name.partition("/")[2] for name in refs if name.startswith(_FOLDERS)]
    if not names and f"branch/{base}" == refs.get(HEAD, Ref()).target:
        return _unborn()
    near = nearest(base, [HEAD, *names])
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    said = base if base == whole else f"{base} in {whole}"
    hint = f"aq show {whole.replace(base, near[0], 1)}" if near else "aq log"
    return NotFound(f"no revision {show(said)}{guess}", hint=hint)


def _run(store: Store, text: str) -> Digest:
    """`run:last`, or `run:` and a prefix of a run's id."""
    if text == "last":
        found = next(store.runs(), None)
        if found is None:
            raise NotFound("nothing has been run yet", hint="aq run FILE")
        return found
    runs = store.with_prefix(text.lower(), (Kind.RUN,)) if is_hex_prefix(text.lower()) else []
    if len(runs) > 1:
        shown = "; ".join(_describe(store, id) for id in runs[:_SHOWN])
        raise NotFound(f"run:{text} is ambiguous: {shown}", hint=f"aq show {_shortest(runs[0], runs)}")
    if not runs:
        raise NotFound(f"no run {show(text)}", hint="aq runs")
    return runs[0]


def _git(store: Store, text: str) -> Digest:
    """The newest commit recorded at a Git commit, among all that a ref reaches."""
    prefix = text.lower()
    if is_hex_prefix(prefix):
        tips = {ref.id for name, ref in store.refs().items() if ref.id and _holds_commit(name)}
        for id, commit in history.walk(store, tips):
            if commit.git is not None and commit.git.commit.startswith(prefix):
                return id
    raise NotFound(f"no commit was recorded at the Git commit {show(text)}", hint="aq log")


def _holds_commit(name: str) -> bool:
    return name == HEAD or name.startswith(_FOLDERS)


def _step(store: Store, id: Digest, step: str, text: str) -> Digest:
    """One suffix applied."""
    if store.kind_of(id) is Kind.RUN:
        raise UsageError(f"{text}: a run has no parents and no history")
    if step.startswith("@"):
        return _at_date(store, id, step[2:-1], text)
    count = int(step[1:] or 1)
    return _ancestor(store, id, count, text) if step[0] == "~" else _parent(store, id, count, text)


def _at_date(store: Store, id: Digest, date: str, text: str) -> Digest:
    time = parse_date(date)
    for found, commit in history.first_parents(store, id):
        if commit.time <= time:
            return found
    raise NotFound(f"{text}: the first commit is later than {date}", hint="aq log")


def _ancestor(store: Store, id: Digest, count: int, text: str) -> Digest:
    for depth, (found, _) in enumerate(history.first_parents(store, id)):
        if depth == count:
            return found
    raise NotFound(f"{text} lies before the first commit", hint="aq log")


def _parent(store: Store, id: Digest, number: int, text: str) -> Digest:
    if number == 0:
        return id
    parents = history.commit(store, id).parents
    if number > len(parents):
        have = f"has {len(parents)} parent{'s' * (len(parents) != 1)}" if parents else "is a first commit"
        raise NotFound(f"{text}: {id.short()} {have}", hint=f"aq show {id.short()}")
    return Digest(parents[number - 1])
