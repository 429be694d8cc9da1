"""What storing costs: large and small files, many paths and many commits, beside other tools in the same run.

Interleaved, one warm-up round discarded, the median of the rest. Every tool is a command of its own;
peers are followed by `sync` where they store, aq flushes by itself. Peers that are missing are fetched
into the temporary folder where that is possible (not with `--no-install` or `--quick`), else skipped
with a message.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from beside.peers import Tool, aq, available, install
from beside.timing import Costs, Limit, ratio
from beside.workloads import MIB, Bench, git_commits, many_commits, many_paths, one_file, small_files

UNITS = {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}
ONE_FILE_PEERS = ("git-lfs", "dvc", "oxen", "restic", "borg")
SMALL_FILE_PEERS = ("git", "dvc", "oxen", "restic", "borg")
MEMORY = Path("/dev/shm")
WORKLOADS = ("w1", "w2", "paths", "commits")


def size(text: str) -> int:
    """Bytes from text such as 512MiB."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text)


def paths(text: str) -> list[tuple[int, int]]:
    """Numbers of files and folders from text such as 300000/300,1000000/1."""
    return [
        (int(files), int(folders or 1))
        for files, _, folders in (one.partition("/") for one in text.split(","))
    ]


def report(title: str, costs: Costs, steps: tuple[str, ...], limits: list[Limit]) -> list[Limit]:
    print(f"\n{title}\n(seconds wall/CPU)\n{costs.table(steps)}")
    for limit in limits:
        print(limit)
    sys.stdout.flush()
    return limits


def one_file_limits(costs: Costs, peers: list[Tool]) -> list[Limit]:
    first = costs.wall("aq", "add+commit")
    second, over = costs.median("aq", "commit v2"), costs.wall("aq", "restore over v2")
    added = None if second is None or second.bytes is None else second.bytes / 1e6
    return [
        Limit("add+commit ÷ (cp + fsync)", ratio(first, costs.wall("cp+fsync", "add+commit")), 1.5),
        *(
            Limit(f"add+commit ÷ {peer.name} + sync", ratio(first, costs.wall(peer.name, "add+commit")), 1)
            for peer in peers
        ),
        Limit("no-op", costs.wall("aq", "no-op"), 0.15, "s"),
        Limit("commit v2", costs.wall("aq", "commit v2"), 1.0, "s"),
        Limit("new bytes of v2", added, 2.0, "MB"),
        *(
            Limit(f"{step} ÷ cp", ratio(costs.wall("aq", step), costs.wall("cp", step)), 2)
            for step in ("restore over v2", "restore missing")
        ),
        Limit("restore over v2 ÷ cp to a new file", ratio(over, costs.wall("cp", "restore missing")), 2),
    ]


def small_file_limits(costs: Costs) -> list[Limit]:
    most = {"add+commit": 0.3, "no-op status": 3, "commit 100": 1.3, "checkout": 0.5}
    return [
        Limit(f"{step} ÷ git", ratio(costs.wall("aq", step), costs.wall("git", step)), factor)
        for step, factor in most.items()
    ]


def run_one_file(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    peers = available(set(ONE_FILE_PEERS) & options.peers, bench.path)
    costs = one_file(bench, [aq(), *peers], options.size)
    title = f"W1: one incompressible file of {options.size / MIB:g} MiB, 1 MiB of it changed"
    steps = ("add+commit", "no-op", "commit v2", "restore over v2", "restore missing")
    return report(title, costs, steps, one_file_limits(costs, peers))


def run_small_files(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    peers = available(set(SMALL_FILE_PEERS) & options.peers, bench.path)
    costs = small_files(bench, [aq(), *peers], options.files)
    title = f"W2: {options.files} files of 4 KiB, then 100 of them changed"
    steps = ("add+commit", "no-op status", "commit 100", "checkout")
    return report(title, costs, steps, small_file_limits(costs))


def run_paths(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    return [limit for some in options.paths for limit in run_some_paths(bench, options, *some)]


def run_some_paths(bench: Bench, options: argparse.Namespace, paths: int, folders: int) -> list[Limit]:
    peers = available({"git"} & options.peers, bench.path)
    costs = many_paths(bench, [aq(), *peers], paths, folders)
    walk, commit = costs.wall("aq", "status"), costs.wall("aq", "commit 1")
    beyond = None if walk is None or commit is None else commit - walk
    limits = [Limit("commit of one file − status", beyond, 1.0, "s")]
    title = f"One changed file among {paths} in {folders} folder{'s' if folders > 1 else ''}"
    return report(title, costs, ("add+commit", "status", "commit 1"), limits)


def run_commits(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    cost, left = many_commits(bench, options.commits)
    print(f"\n{options.commits} small commits from one Python process")
    each = 1e3 / options.commits
    took = f"{cost.wall * each:.2f}/{cost.cpu * each:.2f} ms a commit"
    print(f"aq   {took}, {(cost.bytes or 0) / 1e6:.2f} MB in {left} files")
    if available({"git"} & options.peers, bench.path):
        few = min(options.commits, 200)
        cost = git_commits(bench, few)
        each = 1e3 / few
        took = f"{cost.wall * each:.2f}/{cost.cpu * each:.2f} ms a commit"
        print(f"git  {took} (a process each, {few} of them)")
    sys.stdout.flush()
    return []


RUNNERS: dict[str, Callable[[Bench, argparse.Namespace], list[Limit]]] = {
    "w1": run_one_file,
    "w2": run_small_files,
    "paths": run_paths,
    "commits": run_commits,
}


def home(workload: str, options: argparse.Namespace) -> Path:
    """Memory for many small files, where all copies of them fit; else the given folder."""
    most = max(paths for paths, _ in options.paths)
    need = {"w2": options.files * 8 * 4096, "paths": most * 4 * 4096}.get(workload)
    roomy = need is not None and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > need
    return MEMORY if roomy else options.folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round, git alone: does it run?")
    parser.add_argument("--size", type=size, default=size("2GiB"), help="of the one file (512MiB, 2GiB)")
    parser.add_argument("--files", type=int, default=100_000, help="of 4 KiB")
    parser.add_argument(
        "--paths",
        type=paths,
        default=paths("300000/300,1000000/1"),
        help="FILES/FOLDERS among which one file changes",
    )
    parser.add_argument("--commits", type=int, default=10_000, help="small ones, from Python")
    parser.add_argument("--rounds", type=int, default=5, help="measured, after the warm-up")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="of " + ",".join(WORKLOADS))
    every = ",".join(dict.fromkeys((*SMALL_FILE_PEERS, *ONE_FILE_PEERS)))
    parser.add_argument("--peers", default=every, help=f"of {every}")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work")
    parser.add_argument("--no-install", action="store_true", help="do without the peers that are missing")
    parser.add_argument("--programs", type=Path, help="a folder with further programs of peers")
    options = parser.parse_args()
    options.peers = set(options.peers.split(","))
    if options.quick:
        small = {"size": 4 * MIB, "files": 200, "paths": [(300, 3), (300, 1)], "commits": 10, "rounds": 1}
        small |= {"peers": {"git"}, "no_install": True}
        vars(options).update(small)
    return options


def main() -> int:
    """Print tables and limits; 1 where aq is over one, tiny sizes apart."""
    options = arguments()
    limits: list[Limit] = []
    with tempfile.TemporaryDirectory(prefix="aq-bench-", dir=options.folder) as scratch:
        programs = [options.programs] if options.programs else []
        if not (options.no_install or programs):
            programs += install(Path(scratch) / "peers", options.peers)
        for workload in options.only.split(","):
            where = home(workload, options)
            with tempfile.TemporaryDirectory(prefix="aq-bench-", dir=where) as folder:
                bench = Bench(Path(folder), options.rounds, tuple(programs))
                limits += RUNNERS[workload](bench, options)
    over = [limit.name for limit in limits if limit.over]
    print(f"\nover their limit: {', '.join(over) or 'none'}")
    return 1 if over and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
