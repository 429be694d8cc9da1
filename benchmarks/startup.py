"""What starting costs: CPU of `aq --help`, `log` and `status` on a small repository, beside git and Python.

The wheel is built and installed into a folder of its own, so that no editable install takes part.
Interleaved, one warm-up round discarded, the median of the rest; CPU is user + system of the process.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT_MS = 100


def install(folder: Path) -> dict[str, str]:
    """Install the wheel of this checkout; the environment in which it comes first."""
    copy = folder / "checkout"  # building leaves files behind
    ignored = shutil.ignore_patterns(".*", "aq-demo", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)
    quiet = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*quiet, "--target", str(folder / "site"), str(copy)], check=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


def cpu_ms(argv: list[str], folder: Path, environment: dict[str, str]) -> float:
    """User + system milliseconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def small_repository(folder: Path, aq: list[str], environment: dict[str, str]) -> None:
    """Twenty files and ten commits, in aq and in git."""
    folder.mkdir()
    git = ["git", "-c", "user.name=aq", "-c", "user.email=aq@example.org"]
    for argv in ([*aq, "init"], [*git, "init", "-q"]):
        subprocess.run(argv, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    for number in range(20):
        (folder / f"file-{number}.csv").write_text("a,b\n1,2\n" * 100)
    subprocess.run([*aq, "add", "."], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    for number in range(10):
        (folder / "file-0.csv").write_text(f"a,b\n{number},2\n")
        for argv in ([*aq, "commit", "-m", "more"], [*git, "add", "."], [*git, "commit", "-qm", "more"]):
            subprocess.run(argv, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def measure(rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each command."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = install(Path(scratch))
        aq = [sys.executable, str(Path(scratch) / "site" / "bin" / "aq")]
        small_repository(Path(scratch) / "small", aq, environment)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "git status": ["git", "status"],
            "aq --help": [*aq, "--help"],
            "aq log": [*aq, "log"],
            "aq status": [*aq, "status"],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, argv in commands.items():
                taken[name].append(cpu_ms(argv, Path(scratch) / "small", environment))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def main() -> int:
    """Print the table; 1 where a command of aq is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each command")
    medians = measure(parser.parse_args().rounds)
    floor = medians["python -c pass"]
    print(f"{'command':16} {'CPU ms':>8} {'× Python':>9}")
    for name, milliseconds in medians.items():
        print(f"{name:16} {milliseconds:8.1f} {milliseconds / floor:9.1f}")
    slow = [
        name for name, milliseconds in medians.items() if name.startswith("aq") and milliseconds > LIMIT_MS
    ]
    print(f"over {LIMIT_MS} ms: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
