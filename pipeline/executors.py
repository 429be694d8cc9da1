"""Executors by address: `local`, or `dask://HOST:PORT` for a Dask cluster whose workers reach the repository.

Invariant: what is opened here is closed here; a given cluster goes on. Only ids and small results go through
its scheduler. Dask is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aq.formats.errors import Temporary, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor

_DASK: Final = "dask://"
_PATIENCE: Final = 10


@contextmanager
def opened(address: str) -> Iterator[tuple[Executor | None, int]]:
    """The executor at an address, None for own workers, and how many tasks it does at once (0: unknown).

    Raises UsageError for an address that is none, Temporary for a scheduler that cannot be reached.
    """
    if address == "local":
        yield None, 0
        return
    place = address.removeprefix(_DASK)
    if not address.startswith(_DASK) or not place.rpartition(":")[2].isdecimal():
        raise UsageError(f"no executor '{address}'", hint="aq run --executor dask://localhost:8786")
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("Dask is not installed", hint='pip install "aqstore[dask]"') from None
    try:
        client = Client(f"tcp://{place}", timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).partition("\n")[0][:100]
        raise Temporary(f"no Dask scheduler answers at {place}: {reason}") from None
    with client:
        yield client.get_executor(pure=False), sum(client.nthreads().values())
