"""`aq fsck`: everything that docs/format.md promises and that can be looked at (section 11).

Invariant: checking changes nothing, and goes on behind everything that it finds. What `--rebuild`
does is `store.upkeep.mend`. A user's pickles are never loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aq.formats.errors import AqError
from aq.formats.identity import Digest, Kind
from aq.store.frames.index import State
from aq.store.frames.packs import PackFiles
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from aq.store.system import lease, paths
from aq.store.upkeep.affected import Affected, User
from aq.store.upkeep.findings import REBUILD, Finding, Problem
from aq.store.upkeep.fsck_objects import ObjectCheck, StepKey, roots
from aq.store.upkeep.fsck_packs import PackCheck
from aq.store.upkeep.fsck_stat import stat_findings


class Checked(NamedTuple):
    """What a check found. `bytes` of whole frames; `garbage`: bytes that nothing refers to."""

    objects: int
    bytes: int
    garbage: int
    problems: list[Problem]
    full: bool


def fsck(
    store: Store, *, full: bool = False, step_key: StepKey | None = None, known: Sequence[Finding] = ()
) -> Checked:
    """Check a repository. `full` reads and hashes every byte.

    `step_key` is what a step's key must be; `known` what was found before this check.
    """
    with lease.undisturbed(f"{store.control}/leases"):
        return _fsck(store, full=full, step_key=step_key, known=known)


def _fsck(store: Store, *, full: bool, step_key: StepKey | None, known: Sequence[Finding]) -> Checked:
    store.index.require_sound()
    state = store.index.state()
    assert state is not None
    files = PackFiles(f"{store.control}/packs")
    try:
        packs = PackCheck(store.index, files, store, state, full=full)
        findings = [*known, *_control(str(store.control)), *packs.run()]
    finally:
        files.close()
    findings += _current(packs, state)
    objects = ObjectCheck(store, full=full, step_key=step_key, ordinals=packs.ordinals())
    findings += objects.run(packs.operations)
    reached = objects.walk.ids()
    if store.index.collected().swept:
        findings = [one for one in findings if not one.is_unlisted or one.id in reached]
    findings += _summaries(store, findings)
    findings += stat_findings(store, full=full)
    problems = list(_named(store, _once(findings), packs.operations))
    unneeded = _unreached(store, reached)
    return Checked(packs.objects, packs.bytes, packs.garbage + unneeded, problems, full)


def _current(packs: PackCheck, state: State) -> Iterator[Finding]:
    """The index follows the last operation (I7)."""
    if state.operation in packs.operations[:-1]:
        detail = "the index follows an older operation than the last one of the journals"
        yield Finding("index", Digest(state.operation), detail, "" if packs.left else REBUILD)


def _control(control: str) -> Iterator[Finding]:
    """Files beside packs and index (I13)."""
    for name in ("format", ".gitignore"):
        if not os.path.exists(f"{control}/{name}"):
            yield Finding("file", f".aq/{name}", "it is missing", REBUILD)


def _summaries(store: Store, findings: list[Finding]) -> Iterator[Finding]:
    known = {finding.id for finding in findings}
    for id, _place in store.index.items("summaries"):
        try:
            store.summary(id)
        except AqError as error:
            if id not in known:
                yield Finding("summary", id, error.message, REBUILD)


def _once(findings: list[Finding]) -> Iterator[Finding]:
    """One finding an object: the first, which says most."""
    seen: set[tuple[object, str]] = set()
    for finding in findings:
        key = finding.id, finding.detail if isinstance(finding.id, str | None) else ""
        if key not in seen:
            seen.add(key)
            yield finding


def _named(store: Store, findings: Iterator[Finding], operations: list[bytes]) -> Iterator[Problem]:
    affected: Affected | None = None
    for finding in findings:
        users: list[User] = []
        if isinstance(finding.id, bytes) and finding.kind != "index":
            affected = affected or Affected(store, roots(store, operations))
            users = affected.users(finding.id)
        yield _problem(finding, users)


def _problem(finding: Finding, users: list[User]) -> Problem:
    path = next((user.path for user in users if user.path is not None), None)
    commits = list(dict.fromkeys(user.id.hex() for user in users if user.kind is Kind.COMMIT))
    detail = finding.detail
    if not commits and isinstance(finding.id, bytes) and finding.kind not in ("index", "summary"):
        others = [f"{user.kind.name.lower()} {Digest(user.id).short()}" for user in users[:1]]
        detail += f"; only {others[0]} needs it" if others else "; nothing refers to it"
    id = finding.id.hex() if isinstance(finding.id, bytes) else finding.id
    shown = None if path is None else paths.decode(path)
    return Problem(finding.kind, id, shown, detail, finding.repair, commits)


def _unreached(store: Store, reached: set[bytes]) -> int:
    """Bytes of frames of objects that nothing refers to."""
    with store.index.look() as look:
        return sum(decode_place(value).size for id, value in look.items("objects") if id not in reached)
