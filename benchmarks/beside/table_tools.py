"""The tools of the table benchmark: which Python runs each, and one measured round of each.

Invariant: every tool is a process of its own, in a folder that is fresh for everything it stores. Tools that
store files (DVC, Oxen) are given the Parquet files, and followed by `sync`; aq flushes by itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.feather

from beside import table_data
from beside.peers import Tool, environment
from beside.timing import Cost, Costs, Failed
from beside.workloads import Bench, storing

HERE = Path(__file__).parent.parent
LIBRARIES = ("polars", "duckdb")
"""Peers that are Python libraries; both also need pyarrow and pandas."""


def python_of(library: str, programs: Sequence[Path]) -> str | None:
    """A Python that has a library: this one, or one among the programs of peers."""
    for python in (sys.executable, *(str(folder / "python") for folder in programs)):
        code = f"import {library}, pandas, pyarrow.parquet"
        if Path(python).exists() and not subprocess.run([python, "-c", code], capture_output=True).returncode:
            return python
    return None


def package_folders(programs: Sequence[Path]) -> list[Path]:
    """Where packages lie whose files are read by path."""
    pythons = [Path(sys.executable).parent, *programs]
    return [found for one in pythons for found in sorted(one.parent.glob("lib/python3*/site-packages"))]


def fetch(requirement: str, into: Path) -> bool:
    """Bring one package without what it requires; a message where that fails."""
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*argv, "--target", str(into), requirement], capture_output=True, text=True)
    if done.returncode:
        print(f"not installed: {requirement}: {done.stderr.strip()[-200:]}")
    return not done.returncode


def install_libraries(folder: Path, wanted: Iterable[str]) -> list[Path]:
    """Bring libraries that no Python at hand has into an environment of their own; its programs."""
    missing = [name for name in wanted if python_of(name, ()) is None]
    if not missing:
        return []
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    argv = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not made.returncode:
        made = subprocess.run([*argv, "pandas", "pyarrow", *missing], capture_output=True, text=True)
    if made.returncode:
        print(f"not installed: {', '.join(missing)}: {made.stderr.strip()[-200:]}")
    return [folder / "bin"]


def steps(python: str, bench: Bench, *argv: str) -> dict[str, list[float]]:
    """What `beside.table_steps` measures in a process of its own. Raises Failed."""
    variables = {**environment(bench.folder / "home", path=bench.path), "PYTHONPATH": str(HERE)}
    command = [python, "-m", "beside.table_steps", argv[0], str(bench.folder), *argv[1:]]
    done = subprocess.run(command, env=variables, cwd=bench.folder, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{argv[0]}: {done.stderr.strip()[-300:]}")
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_tables(bench: Bench, rows: int, edited: int) -> None:
    """The frames that every process begins with."""
    first = table_data.sales(rows)
    frames = {"v1": first, "v2": table_data.second(first), "edits": table_data.sales(edited)}
    for name, frame in frames.items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pyarrow.feather.write_feather(table, bench.folder / f"{name}.arrow", compression="uncompressed")


def large_table(bench: Bench, pythons: Mapping[str, str], files: Sequence[Tool]) -> Costs:
    """Both versions of the large table through every tool: one warm-up round and the measured ones."""
    costs = Costs()
    left = [*pythons]
    for _ in range(bench.rounds + 1):
        for tool in list(left):
            try:
                found = steps(pythons[tool], bench, tool)
            except Failed as error:
                if tool in ("aq", "parquet"):
                    raise
                print(f"skipped {tool}: {error}")
                left.remove(tool)
                costs.drop(tool)
                continue
            for step, (wall, cpu, size) in found.items():
                costs.add(tool, step, Cost(wall or 0.0, cpu or 0.0, None if size is None else int(size)))
            shutil.rmtree(bench.folder / "aq", ignore_errors=True)
    for tool in files:
        try:
            _file_tool(bench, tool, costs)
        except Failed as error:
            print(f"skipped {tool.name}: {error}")
            costs.drop(tool.name)
    return costs


def _file_tool(bench: Bench, tool: Tool, costs: Costs) -> None:
    """A tool that stores files: each version is its Parquet file. Twice, of which the first is a warm-up."""
    for _ in range(2):
        with bench.fresh(tool.name) as (home, variables):
            data = home / "work" / "data"
            data.mkdir()
            shutil.copyfile(bench.folder / "v1.parquet", data / "sales.parquet")
            for argv in tool.setup:
                subprocess.run(argv, cwd=home / "work", env=variables, check=True, capture_output=True)
            costs.add(tool.name, "commit v1", storing(tool, tool.first, home, variables))
            shutil.copyfile(bench.folder / "v2.parquet", data / "sales.parquet")
            costs.add(tool.name, "commit v2", storing(tool, tool.second, home, variables))


def growth(bench: Bench, what: str, *argv: str) -> dict[str, list[float]]:
    """The steps of one of aq's workloads that is about bytes: one round tells."""
    return steps(sys.executable, bench, what, *argv)
