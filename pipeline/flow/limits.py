"""How a step may run, as its op is declared: how long it may take, how much memory its process may hold.

Invariant: a limit is checked when the op is declared; what was exceeded is told with both numbers. Memory is
what the process and its children have resident, as the system counts it (`/proc`): libraries included.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypedDict

from aq.formats.errors import UsageError

_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|min|m|h|d)?")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?i?B)?", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400}
_POWERS: Final = "kmgt"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Running(TypedDict, total=False):
    """What every decorator of a step takes; `ops.op` says what it means."""

    retries: int
    timeout: float | str | None
    memory: int | str | None
    cache: Literal["always", "never"]
    seed: int | str | None
    version: str | int
    variables: Sequence[str]
    tags: Sequence[str]


def seconds(given: object) -> float:
    """A time span: a number of seconds, or text such as `90 s`, `10 min`, `2h`. Raises UsageError."""
    number = float(given) if isinstance(given, int | float) and not isinstance(given, bool) else 0.0
    if isinstance(given, str) and (match := _TIME.fullmatch(given.strip())):
        number = float(match[1]) * _SECONDS[match[2] or "s"]
    if not 0 < number < float("inf"):
        raise UsageError(f'timeout={given!r} is no time span, such as 90, "90 s" or "10 min"')
    return number


def size(given: object) -> int:
    """Bytes: a number, or text such as `512 MiB`, `4 GB`. Raises UsageError."""
    number = float(given) if isinstance(given, int | float) and not isinstance(given, bool) else 0.0
    if isinstance(given, str) and (match := _SIZE.fullmatch(given.strip())):
        unit = (match[2] or "B").lower()
        power = _POWERS.find(unit[0]) + 1
        number = float(match[1]) * (1024 if "i" in unit else 1000) ** power
    if not 1 <= number < 1 << 60:
        raise UsageError(f'memory={given!r} is no size, such as "512 MiB" or "4 GB"')
    if not can_measure():
        raise UsageError("memory= cannot be watched on this system, which has no /proc: leave it out")
    return int(number)


def can_measure() -> bool:
    """Whether this system tells what a process has resident."""
    return os.path.exists("/proc/self/statm")


def resident(process: int) -> int:
    """Bytes that a process and its children have in memory; 0 for one that is gone."""
    found = 0
    with suppress(OSError, IndexError, ValueError):
        found = int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * _PAGE
    with suppress(OSError, ValueError):
        for thread in os.listdir(f"/proc/{process}/task"):
            children = Path(f"/proc/{process}/task/{thread}/children").read_bytes().split()
            found += sum(resident(int(child)) for child in children)
    return found


def shown_size(number: int) -> str:
    """`512 MiB`, `1.5 GiB`."""
    value, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def shown_seconds(number: float) -> str:
    """`2 s`, `10 min`."""
    for unit, length in (("h", 3_600), ("min", 60)):
        if number >= length and number % length == 0:
            return f"{number / length:g} {unit}"
    return f"{number:g} s"
