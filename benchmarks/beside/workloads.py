"""The workloads: what lies in `data/`, what changes, and which steps are timed.

Invariant: a round starts every tool in a fresh folder; before each timed step all earlier writes are on
the disk, and what a tool brought back is compared with what it was given. Peers that do not flush pay
for a `sync` behind each step that stores; aq flushes by itself.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from beside.peers import Tool, environment
from beside.timing import Commands, Cost, Costs, Failed, disk_bytes, flush, run

MIB = 1 << 20
Place = tuple[Path, Mapping[str, str]]
Round = Callable[[Tool, Path, Mapping[str, str], Costs], None]


@dataclass(frozen=True)
class Bench:
    """Where and how often to measure, and where further programs lie."""

    folder: Path
    rounds: int
    path: tuple[Path, ...] = ()

    @contextmanager
    def fresh(self, name: str) -> Iterator[Place]:
        """An empty folder with `work/`, and the variables for tools in it; removed in the end."""
        home = self.folder / name
        (home / "work").mkdir(parents=True)
        try:
            yield home, environment(home / "home", path=self.path)
        finally:
            shutil.rmtree(home, ignore_errors=True)


def interleaved(bench: Bench, tools: Sequence[Tool], costs: Costs, once: Round) -> None:
    """One warm-up and `rounds` measured rounds, tool after tool; a peer that fails is left out."""
    left = list(tools)
    for _ in range(bench.rounds + 1):
        for tool in list(left):
            try:
                with bench.fresh(tool.name) as (home, variables):
                    once(tool, home, variables, costs)
            except Failed as error:
                if tool.durable:
                    raise
                print(f"skipped {tool.name}: {error}")
                left.remove(tool)
                costs.drop(tool.name)


def storing(tool: Tool, commands: Commands, home: Path, variables: Mapping[str, str]) -> Cost:
    """The cost of a step that stores, up to where it is on the disk, and the bytes it took there."""
    run([flush(home)], home, variables)
    before = sum(disk_bytes(home / store) for store in tool.stores)
    behind = [] if tool.durable else [flush(home)]
    cost = run([*commands, *behind], home / "work", variables)
    return replace(cost, bytes=sum(disk_bytes(home / store) for store in tool.stores) - before)


def reading(commands: Commands, home: Path, variables: Mapping[str, str]) -> Cost:
    """The cost of a step that stores nothing, with nobody's earlier writes under way."""
    run([flush(home)], home, variables)
    return run(commands, home / "work", variables)


def check(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:
        raise Failed(what)


# -- W1: one incompressible file ----------------------------------------------------------------


def write_noise(path: Path, size: int) -> None:
    """A file of random bytes, the same ones each time."""
    source = random.Random(1)
    with path.open("wb") as stream:
        for start in range(0, size, 8 * MIB):
            stream.write(source.randbytes(min(8 * MIB, size - start)))


def middle(path: Path, size: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(size // 2)
        return stream.read(min(MIB, size // 2))


def change_middle(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(random.Random(2).randbytes(min(MIB, size // 2)))


def touch_memory(size: int) -> None:
    """Have so much free memory (at most half of all) that was used before.

    A virtual machine hands out each page at its first touch, which may cost more than the copy that needs it.
    """
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    with mmap.mmap(-1, min(size, most)) as memory:
        for at in range(0, len(memory), mmap.PAGESIZE):
            memory[at] = 1


def one_file(bench: Bench, tools: Sequence[Tool], size: int) -> Costs:
    """Add+commit, no-op, commit of v2, restore of v1 over it and where it is missing, beside `cp`."""
    costs = Costs()
    source = bench.folder / "noise.bin"
    write_noise(source, size)

    def once(tool: Tool, home: Path, variables: Mapping[str, str], costs: Costs) -> None:
        touch_memory(5 * size)
        data = home / "work" / "data"
        data.mkdir()
        run([["cp", str(source), str(data / "noise.bin")], *tool.setup], home / "work", variables)
        costs.add(tool.name, "add+commit", storing(tool, tool.first, home, variables))
        costs.add(tool.name, "no-op", reading(tool.again, home, variables))
        change_middle(data / "noise.bin", size)
        costs.add(tool.name, "commit v2", storing(tool, tool.second, home, variables))
        costs.add(tool.name, "restore over v2", reading(tool.back, home, variables))
        check(middle(data / "noise.bin", size) == middle(source, size), "restored other bytes")
        (data / "noise.bin").unlink()
        costs.add(tool.name, "restore missing", reading(tool.back, home, variables))
        check(middle(data / "noise.bin", size) == middle(source, size), "restored other bytes")

    def copy(home: Path, variables: Mapping[str, str]) -> None:
        touch_memory(5 * size)
        plain = ["cp", str(source), "a"]
        costs.add("cp", "restore missing", reading([plain], home, variables))
        costs.add("cp", "restore over v2", reading([plain], home, variables))
        synced = [["cp", str(source), "b"], ["sync", "b"]]
        costs.add("cp+fsync", "add+commit", reading(synced, home, variables))

    interleaved(bench, [COPY, *tools], costs, either(copy, once))
    source.unlink()
    return costs


COPY = Tool("cp", (), (), (), (), (), (), (), (), durable=True)


def either(copy: Callable[[Path, Mapping[str, str]], None], once: Round) -> Round:
    """`copy` for `cp`, `once` for every other tool."""

    def chosen(tool: Tool, home: Path, variables: Mapping[str, str], costs: Costs) -> None:
        if tool is COPY:
            copy(home, variables)
        else:
            once(tool, home, variables, costs)

    return chosen


# -- W2: many small files -----------------------------------------------------------------------


def write_small(data: Path, files: int, folders: int, size: int) -> None:
    """`files` files of `size` random bytes in `folders` folders."""
    source = random.Random(3)
    for number in range(folders):
        (data / f"{number:04}").mkdir(parents=True)
    for number in range(files):
        (data / f"{number % folders:04}" / f"{number:07}.bin").write_bytes(source.randbytes(size))


def change_some(data: Path, files: int, folders: int, count: int) -> None:
    """New content of the same size for `count` files, spread evenly."""
    for number in range(0, files, max(1, files // count)):
        path = data / f"{number % folders:04}" / f"{number:07}.bin"
        path.write_bytes(random.Random(number).randbytes(path.stat().st_size))


def count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


def small_files(bench: Bench, tools: Sequence[Tool], files: int) -> Costs:
    """Add+commit, status, commit of 100 changed files and checkout of 4 KiB files, beside `cp -r`."""
    costs = Costs()
    folders = min(100, files)
    source = bench.folder / "small"
    write_small(source, files, folders, 4096)

    def once(tool: Tool, home: Path, variables: Mapping[str, str], costs: Costs) -> None:
        data = home / "work" / "data"
        run([["cp", "-r", str(source), "data"], *tool.setup], home / "work", variables)
        costs.add(tool.name, "add+commit", storing(tool, tool.first, home, variables))
        costs.add(tool.name, "no-op status", reading(tool.again, home, variables))
        change_some(data, files, folders, 100)
        costs.add(tool.name, "commit 100", storing(tool, tool.second, home, variables))
        shutil.rmtree(data)
        costs.add(tool.name, "checkout", reading(tool.checkout, home, variables))
        check(count_files(data) == files, "checked out other files")
        changed = (data / "0000" / f"{0:07}.bin").read_bytes()
        check(changed == random.Random(0).randbytes(4096), "checked out other bytes")

    def copy(home: Path, variables: Mapping[str, str]) -> None:
        costs.add("cp", "checkout", reading([["cp", "-r", str(source), "a"]], home, variables))

    interleaved(bench, [COPY, *tools], costs, either(copy, once))
    shutil.rmtree(source)
    return costs


# -- one changed file among many paths ----------------------------------------------------------


def many_paths(bench: Bench, tools: Sequence[Tool], paths: int, folders: int) -> Costs:
    """Status and a commit of one changed file among `paths` small files, in one repository a tool."""
    costs = Costs()

    def prepare(tool: Tool, home: Path, variables: Mapping[str, str]) -> None:
        write_small(home / "work" / "data", paths, folders, 16)
        run(tool.setup, home / "work", variables)
        costs.add(tool.name, "add+commit", storing(tool, tool.first, home, variables))

    def once(tool: Tool, home: Path, variables: Mapping[str, str], number: int) -> None:
        costs.add(tool.name, "status", reading(tool.again, home, variables))
        changed = home / "work" / "data" / "0000" / f"{0:07}.bin"
        changed.write_bytes(random.Random(number + 100).randbytes(16))
        costs.add(tool.name, "commit 1", storing(tool, tool.second, home, variables))

    for tool in tools:
        try:
            with bench.fresh(tool.name) as (home, variables):
                prepare(tool, home, variables)
                for number in range(bench.rounds + 1):
                    once(tool, home, variables, number)
        except Failed as error:
            if tool.durable:
                raise
            print(f"skipped {tool.name}: {error}")
            costs.drop(tool.name)
    return costs


# -- many commits -------------------------------------------------------------------------------

COMMITS = """
import sys, aq
with aq.init() as repo:
    for number in range(int(sys.argv[1])):
        repo.commit({"n": number}, message=f"commit {number}")
"""


def many_commits(bench: Bench, commits: int) -> tuple[Cost, int]:
    """The cost of small commits from one Python process, with the bytes and number of files left."""
    with bench.fresh("commits") as (home, variables):
        work = home / "work"
        cost = run([[sys.executable, "-c", COMMITS, str(commits)]], work, variables)
        left = count_files(work / ".aq")
        return replace(cost, bytes=disk_bytes(work / ".aq")), left


def git_commits(bench: Bench, commits: int) -> Cost:
    """The same with git, a process a commit, on the disk in the end."""
    with bench.fresh("commits") as (home, variables):
        work = home / "work"
        shell = f"for n in $(seq {commits}); do echo $n > n; git add n; git commit -qm $n; done"
        run([["git", "init", "-q"]], work, variables)
        cost = run([["sh", "-c", shell], flush(home)], work, variables)
        return replace(cost, bytes=disk_bytes(work / ".git"))
