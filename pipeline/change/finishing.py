"""Commands that record the folder or write into it first finish what an interrupted one has left in it.

Invariant: no half-rewritten folder is ever recorded as if somebody had made it so, whether its writer is dead
or alive. What was finished is told in the notes of the result. Commands that only look finish nothing and
wait for nobody (`store.folder.unfinished`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from aq.store.folder import unfinished
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


class Noted(Protocol):
    """A result with notes."""

    @property
    def notes(self) -> list[str]: ...


P = ParamSpec("P")
R = TypeVar("R", bound=Noted)


def finishing(
    *, alone: bool
) -> Callable[[Callable[Concatenate[Repo, P], R]], Callable[Concatenate[Repo, P], R]]:
    """`do`, after finishing, while it holds the folder: `alone` to write into it; notes in front of its own.

    Raises Temporary where others hold the folder too long.
    """

    def decorated(do: Callable[Concatenate[Repo, P], R]) -> Callable[Concatenate[Repo, P], R]:
        @wraps(do)
        def finished(repo: Repo, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with unfinished.turn(repo.worktree, alone=alone) as notes:
                return _noting(do(repo, *args, **kwargs), notes)

        return finished

    return decorated


def finishing_all(do: Callable[Concatenate[Repo, P], list[R]]) -> Callable[Concatenate[Repo, P], list[R]]:
    """`do`, after finishing; the first of its results tells.

    It takes longer than others can wait, and calls code that may do anything: it does not hold the folder.
    """

    @wraps(do)
    def finished(repo: Repo, /, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        with unfinished.turn(repo.worktree, alone=False) as notes:
            pass
        done = do(repo, *args, **kwargs)
        return [_noting(one, notes if at == 0 else []) for at, one in enumerate(done)]

    return finished


def _noting(done: R, notes: list[str]) -> R:
    return replace(done, notes=[*notes, *done.notes]) if notes else done  # type: ignore[type-var]
