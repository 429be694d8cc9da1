"""What can be asked of a run, by name.

Invariant: importing it costs nothing: `Repo.run` looks at its arguments before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from concurrent.futures import Executor


class Asked(TypedDict, total=False):
    """What can be asked of a run.

    `params`: values or texts; `message`, `tag`: of the commit; `commit=False`: the branch stays; `force`:
    every step; `accept`: checks that may fail this once, in all partitions or in those that the name says;
    `keep_going`: past a failed step. `verify`: what row-wise ops make of new rows is compared with one call
    for all. `jobs`: steps at once (1: in this process; not given: the setting run.jobs); `executor`: one
    whose processes or threads reach the repository, in place of own processes, or where one is
    (`dask://HOST:PORT`, `cmd:COMMAND`).
    """

    params: Mapping[str, Any] | None
    message: str | None
    tag: str | None
    commit: bool
    force: bool
    accept: Sequence[str]
    keep_going: bool
    verify: bool
    jobs: int | None
    executor: Executor | str | None
