"""Run commands and count what they cost: wall and CPU seconds, bytes of disk.

Every tool is a process of its own, measured from outside; the first round is a warm-up and is left out
of the medians. Nothing here knows what is measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Commands = Sequence[Sequence[str]]


class Failed(Exception):
    """A tool ended with an error: which command, and the end of what it said."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one step, CPU being user + system of all its processes, and the bytes it added."""

    wall: float
    cpu: float
    bytes: int | None = None


def run(commands: Commands, folder: Path, environment: Mapping[str, str]) -> Cost:
    """Run commands one after the other in `folder`. Raises Failed."""
    wall = cpu = 0.0
    for argv in commands:
        with tempfile.TemporaryFile() as said:
            start = time.perf_counter()
            process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=said, stderr=said)
            _, status, used = os.wait4(process.pid, 0)
            wall += time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += used.ru_utime + used.ru_stime
            if process.returncode:
                said.seek(0)
                raise Failed(f"{' '.join(argv)}: {said.read()[-300:].decode(errors='replace').strip()}")
    return Cost(wall, cpu)


def flush(path: Path) -> list[str]:
    """The command that brings a file system's written pages to the disk."""
    return ["sync", "-f", str(path)] if sys.platform == "linux" else ["sync"]


def disk_bytes(folder: Path) -> int:
    """What the files below `folder` take of the disk."""
    files = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_blocks * 512 for path in files)


class Costs:
    """What each step of each tool cost, round by round."""

    def __init__(self) -> None:
        self.rounds: dict[tuple[str, str], list[Cost]] = defaultdict(list)

    def add(self, tool: str, step: str, cost: Cost) -> None:
        self.rounds[tool, step].append(cost)

    def drop(self, tool: str) -> None:
        """Forget a tool that failed."""
        for key in [key for key in self.rounds if key[0] == tool]:
            del self.rounds[key]

    def median(self, tool: str, step: str) -> Cost | None:
        """Of all rounds but the first; of a single one, itself; None where nothing was measured."""
        costs = self.rounds.get((tool, step), [])
        kept = costs[1:] or costs
        if not kept:
            return None
        sizes = [cost.bytes for cost in kept if cost.bytes is not None]
        return Cost(
            statistics.median(cost.wall for cost in kept),
            statistics.median(cost.cpu for cost in kept),
            int(statistics.median(sizes)) if sizes else None,
        )

    def wall(self, tool: str, step: str) -> float | None:
        cost = self.median(tool, step)
        return cost.wall if cost else None

    def table(self, steps: Iterable[str]) -> str:
        """One row a tool, one column a step: wall/CPU seconds and, where counted, megabytes."""
        steps = list(steps)
        width = 24
        lines = [f"{'':12}" + "".join(f"{step:>{width}}" for step in steps)]
        for tool in dict.fromkeys(tool for tool, _ in self.rounds):
            lines.append(f"{tool:12}" + "".join(f"{_cell(self.median(tool, s)):>{width}}" for s in steps))
        return "\n".join(lines)


def _cell(cost: Cost | None) -> str:
    if cost is None:
        return "–"
    size = "" if cost.bytes is None else f" {cost.bytes / 1e6:.2f} MB"
    return f"{cost.wall:.3f}/{cost.cpu:.3f}{size}"


@dataclass(frozen=True)
class Limit:
    """One line of the verdict: a figure of aq and what it may be at most."""

    name: str
    value: float | None
    most: float
    unit: str = "×"

    @property
    def over(self) -> bool:
        return self.value is not None and self.value > self.most

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name:46} {'–':>10} (at most {self.most:g} {self.unit}; not measured)"
        verdict = "OVER" if self.over else "ok"
        return f"{self.name:46} {self.value:8.2f} {self.unit:2} (at most {self.most:g} {self.unit}) {verdict}"


def ratio(value: float | None, other: float | None) -> float | None:
    """`value` ÷ `other`, where both were measured."""
    return None if value is None or not other else value / other
