"""What a new version of a file takes: bytes and seconds, beside other tools in the same run.

For each kind of change: what the store grows by for the second version, and that in percent of the first.
Git is followed by `git gc`, which is when it makes deltas. Peers that are missing are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from beside.file_data import versions
from beside.peers import Tool, aq, available, words
from beside.timing import Costs, run
from beside.workloads import Bench, check, interleaved, reading, storing

PEERS = ("git", "restic", "borg")
_COLLECT = words("git gc -q")


def collected(tool: Tool) -> Tool:
    """Git with its garbage collection behind each commit; other tools as they are."""
    if tool.name != "git":
        return tool
    return replace(tool, name="git + gc", first=[*tool.first, *_COLLECT], second=[*tool.second, *_COLLECT])


def measure(bench: Bench, tools: list[Tool], rows: int, only: str) -> None:
    for title, (first, second) in versions(rows).items():
        if only not in title:
            continue
        costs = Costs()

        def once(tool: Tool, home: Path, variables: Mapping[str, str], costs: Costs) -> None:
            data = home / "work" / "data"
            data.mkdir()
            first(data / "file")  # noqa: B023  # called in this turn of the loop
            before = (data / "file").read_bytes()
            run(tool.setup, home / "work", variables)
            costs.add(tool.name, "first", storing(tool, tool.first, home, variables))
            second(data / "file")  # noqa: B023
            after = (data / "file").read_bytes()
            costs.add(tool.name, "second", storing(tool, tool.second, home, variables))
            (data / "file").unlink()
            costs.add(tool.name, "checkout", reading(tool.checkout, home, variables))
            check((data / "file").read_bytes() == after, "restored other bytes")
            costs.add(tool.name, "back", reading(tool.back, home, variables))
            check((data / "file").read_bytes() == before, "restored other bytes")

        interleaved(bench, tools, costs, once)
        report(title, costs, tools)


def report(title: str, costs: Costs, tools: list[Tool]) -> None:
    print(f"\n{title}\n(seconds wall/CPU)")
    print(costs.table(("first", "second", "checkout", "back")))
    for tool in tools:
        before, after = costs.median(tool.name, "first"), costs.median(tool.name, "second")
        if before and after and before.bytes and after.bytes is not None:
            print(f"{tool.name:12} second version: {after.bytes / before.bytes:.1%} of the first")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round, git alone: does it run?")
    parser.add_argument("--rows", type=int, default=500_000, help="of a table: 22 MB as CSV")
    parser.add_argument("--rounds", type=int, default=3, help="measured, after the warm-up")
    parser.add_argument("--only", default="", help="a part of the names of what is measured")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(rows=3_000, rounds=1, peers="git")
    with tempfile.TemporaryDirectory(prefix="aq-bench-", dir=options.folder) as folder:
        peers = available(set(options.peers.split(",")), ())
        bench = Bench(Path(folder), options.rounds)
        measure(bench, [aq(), *map(collected, peers)], options.rows, options.only)


if __name__ == "__main__":
    main()
