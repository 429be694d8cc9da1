"""Executors by address: `local`, `dask://HOST:PORT`, or `cmd:COMMAND` for workers that a command starts.

Invariant: an address is judged by its form alone, before anything runs; whoever is there is asked when there
is something to do. What is opened here is closed here; a given cluster goes on. Only ids and small results go
through its scheduler. Dask is imported when it is asked for.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aq.formats.errors import Temporary, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor

LOCAL: Final = "local"
_DASK: Final = "dask://"
_COMMAND: Final = "cmd:"
_PATIENCE: Final = 10


class Address(NamedTuple):
    """Where steps are to be done: `place` of a scheduler, or the words of a `command`; neither: here."""

    place: str = ""
    command: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether own workers do it."""
        return not self.place and not self.command


def address(text: str) -> Address:
    """What an address means. Raises UsageError where it is none."""
    if text == LOCAL:
        return Address()
    place = text.removeprefix(_DASK)
    if text.startswith(_DASK) and place.rpartition(":")[0] and place.rpartition(":")[2].isdecimal():
        return Address(place=place)
    if text.startswith(_COMMAND):
        return Address(command=_words(text.removeprefix(_COMMAND)))
    raise UsageError(
        f"no executor '{text}': it is local, dask://HOST:PORT or cmd:COMMAND",
        hint=["aq run --executor dask://localhost:8786", "aq run -j 4 --executor 'cmd:aq worker'"],
    )


def require_valid(executor: object) -> None:
    """Raise UsageError for an address that is none."""
    if isinstance(executor, str):
        address(executor)


def _words(command: str) -> tuple[str, ...]:
    """A command as a shell would take it apart; none is ever asked."""
    import shlex

    hint = "aq run --executor 'cmd:docker exec -i CONTAINER aq -C /repo worker'"
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        message = f"the command of the executor cannot be taken apart: {str(error).lower()}"
        raise UsageError(message, hint=hint) from None
    if not words:
        raise UsageError("cmd: needs the command that starts a worker", hint=hint)
    return words


def opened(where: Address, jobs: int, control: Path, stack: ExitStack) -> tuple[Executor, int]:
    """The executor at an address, and how many tasks it does at once (0: as many as it is given).

    The stack closes it. Raises UsageError for what is not installed, Temporary for what cannot be reached.
    """
    if where.command:
        from aq.pipeline.processes.commands import Commands

        commands = Commands(where.command, jobs, control)
        stack.push(lambda kind, *_: commands.pool.shutdown(cancel_futures=kind is not None))
        commands.meet()
        return commands.pool, 0
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("Dask is not installed", hint='pip install "aqstore[dask]"') from None
    try:
        client = Client(f"tcp://{where.place}", timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).partition("\n")[0][:100]
        port = where.place.rpartition(":")[2]
        raise Temporary(
            f"no Dask scheduler answers at {where.place}: {reason}", hint=f"dask scheduler --port {port}"
        ) from None
    stack.enter_context(client)
    return client.get_executor(pure=False), sum(client.nthreads().values())
