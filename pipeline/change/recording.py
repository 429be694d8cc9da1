"""Recording: one commit on top of HEAD, by compare-and-swap, rebased where the paths are disjoint.

Invariant: a commit holds exactly its edits on top of its parent; losing a race never loses either
side's paths; commit times never precede the parent's. What counts as an edit is the caller's say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
from aq.formats.errors import Conflict, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Commit, Git
from aq.pipeline.change.context import Context, redact
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.facts import Facts
from aq.pipeline.history.head import Head, head
from aq.store.commits import snapshots
from aq.store.commits.refs import TRACKING, Ref
from aq.store.commits.snapshots import Entry, Tally
from aq.store.store import Store
from msgspec.structs import replace


class Taken(msgspec.Struct, frozen=True):
    """A snapshot that was made already, and its tally against the one that it was made from."""

    snapshot: Digest
    tally: Tally


class Proposal(msgspec.Struct, frozen=True):
    """A commit to be: edits {path: entry, or None to drop it}, message, author and runs.

    `base` is the snapshot that the edits were made from; where they are many, they are given as what
    was made of it; `ref` what HEAD named then, None where any branch will do; `given` the metrics
    among them, changed or not; `tags` are set in the same operation; `followed` the pending tracking
    rules that were followed: they go, unless others came meanwhile; None where all of them stay.
    """

    command: str
    base: Digest
    edits: Mapping[str, Entry | None] | Taken
    message: str
    author: str
    runs: Sequence[Digest] = ()
    given: Sequence[str] = ()
    git: Git | None = None
    time: int | None = None
    tags: Sequence[str] = ()
    followed: Ref | None = None
    ref: str | None = None


class Recorded(msgspec.Struct, frozen=True):
    """What was committed; `created` is false where there was nothing to commit."""

    id: Digest
    commit: Commit
    facts: Facts
    created: bool


def record(store: Store, context: Context, proposal: Proposal) -> Recorded | None:
    """Commit the proposal; None where there is nothing to commit and no commit yet.

    Raises Conflict where another commit changed one of the same paths otherwise in the meantime, or where
    HEAD has gone to another branch.
    """
    require_text(proposal.message)
    while True:
        at = head(store)
        _refuse_elsewhere(proposal, at)
        _refuse_overlap(store, proposal, at)
        snapshot, tally = _edited(store, proposal, at)
        if snapshot == at.snapshot and not proposal.runs and _is_known(at, proposal.given):
            return _nothing(store, context, proposal, at)
        commit = _commit(store, context, proposal, at, snapshot)
        id = put_record(store, commit)
        parent = facts.of(store, at.id) if at.id else facts.NONE
        known = facts.derive(store, commit, parent, tally)
        facts.save(store, id, known)
        try:
            _move(store, context, proposal, at, id)
        except Conflict as lost:
            if getattr(lost, "ref", None) is None or (lost.ref or "").startswith("tag/"):
                raise
            if lost.ref == TRACKING:
                proposal = replace(proposal, followed=None)
            continue
        return Recorded(id, commit, known, created=True)


def _edited(store: Store, proposal: Proposal, at: Head) -> tuple[Digest, Tally | None]:
    """HEAD's snapshot with the proposal's edits, and its tally where that is known."""
    if isinstance(proposal.edits, Taken) and at.snapshot == proposal.base:
        return proposal.edits.snapshot, proposal.edits.tally
    return snapshots.edit(store, at.snapshot, _edits(store, proposal)), None


def _edits(store: Store, proposal: Proposal) -> Mapping[str, Entry | None]:
    if not isinstance(proposal.edits, Taken):
        return proposal.edits
    changes = snapshots.changes(store, proposal.base, proposal.edits.snapshot)
    return {path: after for path, _, after in changes}


def require_text(message: str) -> None:
    """Raise UsageError for a message that is no text, or no Unicode text (a lone surrogate)."""
    try:
        message.encode("utf-8")
    except (AttributeError, UnicodeEncodeError):
        raise UsageError(f"the message {message!r} is no valid text") from None


def _refuse_elsewhere(proposal: Proposal, at: Head) -> None:
    if proposal.ref not in (None, at.ref):
        meant, now = (ref.removeprefix("branch/") for ref in (proposal.ref or "", at.ref))
        raise Conflict(
            f"HEAD went from {meant} to {now} in the meantime; nothing was committed",
            hint=f"aq switch {meant}" if meant != "HEAD" else "aq ops",
        )


def _refuse_overlap(store: Store, proposal: Proposal, at: Head) -> None:
    if at.snapshot == proposal.base:
        return
    theirs = {path: now for path, _, now in snapshots.changes(store, proposal.base, at.snapshot)}
    ours = _edits(store, proposal)
    both = sorted(path for path in theirs.keys() & ours.keys() if theirs[path] != ours[path])
    if both:
        more = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise Conflict(
            f"another commit changed {both[0]}{more} in the meantime; nothing was committed",
            hint=["aq diff", "aq log"],
        )


def _is_known(at: Head, given: Sequence[str]) -> bool:
    """Whether HEAD records these metrics as its own: the same value, measured again, is news elsewhere."""
    return set(given) <= set(at.commit.given if at.commit else ())


def _commit(store: Store, context: Context, proposal: Proposal, at: Head, snapshot: Digest) -> Commit:
    now = context.now() if proposal.time is None else proposal.time
    time = max(now, at.commit.time) if at.commit else now
    return Commit(
        snapshot=snapshot,
        time=time,
        offset=context.offset(time),
        author=proposal.author,
        message=proposal.message,
        parents=[at.id] if at.id else [],
        runs=list(proposal.runs),
        given=sorted(proposal.given),
        current=freshness.current_flows(store, at, snapshot, proposal.runs, context.environ),
        git=proposal.git,
    )


def _nothing(store: Store, context: Context, proposal: Proposal, at: Head) -> Recorded | None:
    """Nothing to commit: HEAD stands. Pending rules that led to nothing go, as after a commit."""
    if proposal.followed is not None and at.id is not None:
        change = store.transaction(
            proposal.command, time=context.now(), user=context.user, argv=redact(context.argv)
        )
        change.set(TRACKING, None, expect=proposal.followed)
        with suppress(Conflict):
            change.commit()
    store.flush()  # what was lost, and has come back with a file or value that HEAD holds
    if at.id is None or at.commit is None:
        return None
    return Recorded(at.id, at.commit, facts.of(store, at.id), created=False)


def _move(store: Store, context: Context, proposal: Proposal, at: Head, id: Digest) -> None:
    first_line = proposal.message.partition("\n")[0]
    change = store.transaction(
        proposal.command,
        time=context.now(),
        user=context.user,
        argv=redact(context.argv),
        description=first_line,
    )
    old = Ref(id=at.id) if at.id else None
    change.set(at.ref, Ref(id=id), expect=old)
    if at.branch:
        change.set("HEAD", Ref(target=at.ref), expect=Ref(target=at.ref))
    for tag in proposal.tags:
        change.set(f"tag/{tag}", Ref(id=id), expect=None)
    if proposal.followed is not None:
        change.set(TRACKING, None, expect=proposal.followed)
    for run in proposal.runs:
        change.add_run(run)
    change.commit()
