"""What running costs: trivial steps cold, with nothing to do, and with one leaf changed, beside other tools;
and the items of a map likewise.

Every run is a process of its own. Interleaved, one warm-up round discarded, the median of the rest. What a
step costs is the difference between a flow of many steps and one of few, so that starting Python and
loading libraries do not count. Peers come into the temporary folder unless `--programs` names an environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from beside import rowwise
from beside.flows import AQ_MAP, PACKAGES, FlowTool, aq, by_command, peers
from beside.timing import Cost, Costs, Failed, Limit, disk_bytes, ratio, run
from beside.workloads import Bench

STEPS = ("cold", "no-op", "one leaf")
FEW = 3


def total(count: int, leaf: int) -> int:
    """What the flow gives: each step is the source, 1, and its number, that of the first being `leaf`."""
    return count + leaf + sum(range(1, count))


def once(tool: FlowTool, home: Path, variables: Mapping[str, str], costs: Costs, count: int) -> None:
    """One round of one tool."""
    work = home / "work"
    tool.write(work, count, 0)
    run(tool.setup, work, variables)
    for step, leaf in zip(STEPS, (0, 0, 7), strict=True):
        tool.write(work, count, leaf)
        costs.add(tool.name, step, run(tool.run, work, variables))
        found = (work / "total.txt").read_text()
        if int(found) != total(count, leaf):
            raise Failed(f"{step} gave {found} instead of {total(count, leaf)}")


def measure(bench: Bench, tools: list[FlowTool], count: int) -> Costs:
    """One warm-up and `rounds` measured rounds, tool after tool; a peer that fails is left out."""
    costs, left = Costs(), list(tools)
    for _ in range(bench.rounds + 1):
        for tool in list(left):
            try:
                with bench.fresh(tool.name) as (home, variables):
                    once(tool, home, variables, costs, count)
            except Failed as error:
                if tool.durable:
                    raise
                print(f"skipped {tool.name}: {error}")
                left.remove(tool)
                costs.drop(tool.name)
    return costs


def each(many: Cost | None, few: Cost | None, count: int, *, wall: bool) -> float | None:
    """Milliseconds of one step, CPU or wall, starting apart."""
    if many is None or few is None:
        return None
    difference = many.wall - few.wall if wall else many.cpu - few.cpu
    return 1e3 * difference / (count - FEW)


def limits(many: Costs, few: Costs, tools: list[FlowTool], count: int) -> list[Limit]:
    """What aq promises, and where it stands beside each peer."""
    cold, empty = many.median("aq", "cold"), few.median("aq", "cold")
    crew, crew_empty = many.median("aq -j 2", "cold"), few.median("aq -j 2", "cold")
    sent, sent_empty = many.median("aq -j 2, aq worker", "cold"), few.median("aq -j 2, aq worker", "cold")
    again = many.median("aq", "no-op")
    found = [
        Limit("no-op, CPU", again.cpu if again else None, 0.12, "s"),
        Limit("a step decided, CPU", each(again, few.median("aq", "no-op"), count, wall=False), 0.02, "ms"),
        Limit("a step in-process, CPU", each(cold, empty, count, wall=False), 1, "ms"),
        Limit("a step in a warm worker, wall", each(crew, crew_empty, count, wall=True), 5, "ms"),
        Limit("a step in a warm aq worker, wall", each(sent, sent_empty, count, wall=True), 5, "ms"),
    ]
    for tool in tools:
        if tool.name.startswith("aq"):
            continue
        for step in STEPS:
            ours, theirs = many.median("aq", step), many.median(tool.name, step)
            value = ratio(ours.cpu if ours else None, theirs.cpu if theirs else None)
            found.append(Limit(f"{step} ÷ {tool.name}, CPU", value, 1))
    return found


def unfold(bench: Bench, count: int) -> Costs:
    """One warm-up and `rounds` measured rounds of a map; the bytes are those that `.aq` grew by."""
    tool, costs = aq("aq.map", source=AQ_MAP), Costs()
    for _ in range(bench.rounds + 1):
        with bench.fresh(tool.name) as (home, variables):
            work, size = home / "work", 0
            tool.write(work, count, 0)
            run(tool.setup, work, variables)
            for step, leaf in zip(STEPS, (0, 0, count + 7), strict=True):
                tool.write(work, count, leaf)
                cost, before = run(tool.run, work, variables), size
                size = disk_bytes(work / ".aq")
                costs.add(tool.name, step, Cost(cost.wall, cost.cpu, size - before))
                argv = [*tool.run[0][:-3], "cat", "HEAD:flow/step"]
                made = subprocess.run(argv, cwd=work, env=dict(variables), check=True, capture_output=True)
                if json.loads(made.stdout) != [leaf + 1, *range(2, count + 1)]:
                    raise Failed(f"{step} gave something else")
    return costs


def limits_of_maps(many: Costs, few: Costs, count: int) -> list[Limit]:
    """What is promised of a map with one item changed, and with none; `few` has `FEW` items."""
    cold, none, one = (many.median("aq.map", step) for step in STEPS)
    return [
        Limit("items, nothing to do, wall", none.wall if none else None, 1, "s"),
        Limit("items, one changed, wall", one.wall if one else None, 1, "s"),
        Limit("items, one changed, CPU", one.cpu if one else None, 1, "s"),
        Limit(
            "an item in-process, CPU", each(cold, few.median("aq.map", "cold"), count, wall=False), 1, "ms"
        ),
        Limit("items, one changed, bytes", (one.bytes or 0) / 1e3 if one else None, 100, "kB"),
    ]


def install(folder: Path, wanted: set[str]) -> Path:
    """A virtual environment with the peers."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *(PACKAGES[name] for name in sorted(wanted))], check=True)
    return folder / "bin"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps, one round, no peers: does it run?")
    parser.add_argument("--steps", type=int, default=1_000, help="in the flow")
    parser.add_argument("--items", type=int, default=10_000, help="of the map")
    parser.add_argument("--only", choices=("steps", "map", "rowwise"), help="of the three")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the batch prediction")
    parser.add_argument("--rounds", type=int, default=5, help="measured, after the warm-up")
    parser.add_argument("--peers", default=",".join(PACKAGES), help="of " + ",".join(PACKAGES))
    parser.add_argument("--programs", type=Path, help="bin/ of an environment that has the peers")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work")
    options = parser.parse_args()
    options.peers = set(filter(None, options.peers.split(",")))
    if options.quick:
        vars(options).update({"steps": 10, "items": 10, "rows": 2_000, "rounds": 1, "peers": set()})
    return options


def steps(folder: Path, options: argparse.Namespace) -> list[Limit]:
    """Measure steps, beside the peers."""
    tools = [aq("aq"), aq("aq -j 2", "-j", "2")]
    if not options.quick:
        tools.append(by_command("aq -j 2, aq worker", "-j", "2"))
    own = list(tools)
    if options.peers:
        known = peers(options.programs or install(folder / "peers", options.peers))
        tools += [tool for name, tool in known.items() if name in options.peers]
    bench = Bench(folder, options.rounds)
    few = measure(bench, own, FEW)
    many = measure(bench, tools, options.steps)
    print(f"{options.steps} trivial steps\n(seconds wall/CPU)\n{many.table(STEPS)}")
    print(f"\n{FEW} of them\n{few.table(STEPS)}\n")
    return limits(many, few, tools, options.steps)


def items(folder: Path, options: argparse.Namespace) -> list[Limit]:
    """Measure the items of a map."""
    bench = Bench(folder, options.rounds)
    few, many = unfold(bench, FEW), unfold(bench, options.items)
    print(f"{options.items} items of a map\n(seconds wall/CPU)\n{many.table(STEPS)}\n")
    return limits_of_maps(many, few, options.items)


def rows(folder: Path, options: argparse.Namespace) -> list[Limit]:
    """Measure a batch prediction by a row-wise op."""
    costs = rowwise.measure(Bench(folder, options.rounds), options.rows, quick=options.quick)
    print(f"A batch prediction for {options.rows} rows\n(seconds wall/CPU)\n{costs.table(rowwise.STEPS)}\n")
    return rowwise.limits(costs)


def main() -> int:
    """Print tables and limits; 1 where aq is over one, tiny sizes apart."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="aq-bench-", dir=options.folder) as scratch:
        folder = Path(scratch)
        found = steps(folder, options) if options.only in (None, "steps") else []
        found += items(folder, options) if options.only in (None, "map") else []
        found += rows(folder, options) if options.only in (None, "rowwise") else []
    for limit in found:
        print(limit)
    over = [limit.name for limit in found if limit.over]
    print(f"\nover their limit: {', '.join(over) or 'none'}")
    return 1 if over and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
