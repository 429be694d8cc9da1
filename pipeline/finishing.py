"""Commands that record the folder or write into it first finish what an interrupted one has left in it.

Invariant: no half-rewritten folder is ever recorded as if somebody had made it so. What was finished is
told in the notes of the result. Commands that only look finish nothing (`store.unfinished`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from aq.store import unfinished
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


class Noted(Protocol):
    """A result with notes."""

    @property
    def notes(self) -> list[str]: ...


P = ParamSpec("P")
R = TypeVar("R", bound=Noted)


def finishing(do: Callable[Concatenate[Repo, P], R]) -> Callable[Concatenate[Repo, P], R]:
    """`do`, after finishing; notes in front of its own."""

    @wraps(do)
    def finished(repo: Repo, /, *args: P.args, **kwargs: P.kwargs) -> R:
        notes = unfinished.finish(repo.worktree)
        done = do(repo, *args, **kwargs)
        return _noting(done, notes)

    return finished


def finishing_all(do: Callable[Concatenate[Repo, P], list[R]]) -> Callable[Concatenate[Repo, P], list[R]]:
    """The same of what has several results: the first one tells."""

    @wraps(do)
    def finished(repo: Repo, /, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        notes = unfinished.finish(repo.worktree)
        done = do(repo, *args, **kwargs)
        return [_noting(one, notes if at == 0 else []) for at, one in enumerate(done)]

    return finished


def _noting(done: R, notes: list[str]) -> R:
    return replace(done, notes=[*notes, *done.notes]) if notes else done  # type: ignore[type-var]
