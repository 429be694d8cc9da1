"""The walk of `blame`: parts of a value are handed from each version to the parents that had them already.

Invariant: every part ends at one commit, which has it while none of its parents does. A merge asks
its first parent first. A commit in which the path is the same object costs a look at its snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact, Commit
from aq.store.commits import history, snapshots

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Version:
    """A path at a commit: the id of its artifact, and the artifact."""

    commit: Digest
    id: Digest
    artifact: Artifact


class Tracer(Protocol[P]):
    """How parts of one kind of value are told apart; a `P` is a set of parts by their places in a version."""

    def inherited(self, parent: Version, child: Version, parts: P) -> tuple[P, P]:
        """The parts that the parent has too, by their places there; and the others, as they were."""

    def joined(self, one: P, other: P) -> P:
        """Both sets."""

    def is_empty(self, parts: P) -> bool:
        """Whether there is none."""


@dataclass(frozen=True, slots=True)
class Step:
    """A version, and those of the parents that have a value of the same format at the path."""

    commit: Commit
    child: Version
    parents: list[Version]


def steps(source: Source, tip: bytes, path: str, waiting: Mapping[bytes, Any]) -> Iterator[Step]:
    """The commits that wait, newest first, for as long as any does; who takes a step may let more wait."""
    for id, commit in history.walk(source, [tip]):
        if id in waiting:
            child = _version(source, id, commit, path)
            assert child is not None
            above = [_version(source, Digest(p), history.commit(source, p), path) for p in commit.parents]
            yield Step(commit, child, [one for one in above if one is not None and _alike(one, child)])
        if not waiting:
            return


def _version(source: Source, id: Digest, commit: Commit, path: str) -> Version | None:
    entry = snapshots.get_entry(source, commit.snapshot, path)
    if entry is None:
        return None
    return Version(id, entry.artifact, get_record(source, Artifact, entry.artifact))


def _alike(one: Version, other: Version) -> bool:
    return (one.artifact.kind, one.artifact.format) == (other.artifact.kind, other.artifact.format)


def walk(
    source: Source, tip: bytes, path: str, tracer: Tracer[P], parts: P, since: int | None
) -> Iterator[tuple[Digest | None, P]]:
    """Each commit with the parts that it brought; None with those that were there before `since`."""
    waiting: dict[bytes, P] = {} if tracer.is_empty(parts) else {bytes(tip): parts}
    for step in steps(source, tip, path, waiting):
        rest = waiting.pop(step.child.commit)
        if since is not None and step.commit.time < since:
            yield None, rest
            continue
        for parent in step.parents:
            same = parent.id == step.child.id
            passed, others = rest, None
            if not same:
                passed, others = tracer.inherited(parent, step.child, rest)
            if not tracer.is_empty(passed):
                known = waiting.get(parent.commit)
                waiting[parent.commit] = passed if known is None else tracer.joined(known, passed)
            if others is None or tracer.is_empty(others):
                break
            rest = others
        else:
            yield step.child.commit, rest
