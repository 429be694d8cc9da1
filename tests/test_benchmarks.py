"""The benchmarks run: at tiny sizes, with no peer but Git, and print what they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_store_quick(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "benchmarks" / "store.py"), "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("W1: one incompressible file", "W2: 200 files", "One changed file among 300", "ms a commit"):
        assert line in done.stdout
    for figure in ("add+commit ÷ (cp + fsync)", "restore over v2 ÷ cp", "add+commit ÷ git", "checkout ÷ git"):
        measured = next(line for line in done.stdout.splitlines() if line.startswith(figure))
        assert "not measured" not in measured and "at most" in measured
    assert os.listdir(tmp_path) == []


def test_a_missing_peer_is_skipped_with_a_message(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "benchmarks" / "store.py"), "--only", "w1", "--size", "1MiB"]
    options = ["--rounds", "1", "--peers", "restic", "--folder", str(tmp_path)]
    environment = {**os.environ, "PATH": str(only_programs(tmp_path / "programs", "cp", "sync"))}
    done = subprocess.run([*argv, *options], env=environment, capture_output=True, text=True, check=False)
    assert "skipped restic: restic not installed" in done.stdout, done.stdout + done.stderr
    assert "commit v2" in done.stdout


def only_programs(folder: Path, *names: str) -> Path:
    """A folder with these programs of the system and no others."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def test_tables_quick(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("W3: 30000 rows × 10 columns", "One edit of 30000 rows", "2 versions of a model"):
        assert line in done.stdout
    for figure in ("stored ÷ zstd Parquet", "row diff", "inserted in one place", "bytes of a version ÷"):
        measured = [
            line for line in done.stdout.splitlines() if line.startswith(figure) and "at most" in line
        ]
        assert len(measured) == 1 and "not measured" not in measured[0]
    assert os.listdir(tmp_path) == []


def test_pipeline_quick(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "benchmarks" / "pipeline.py"), "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    promised = ("items, nothing to do, wall", "items, one changed, wall", "an item in-process, CPU")
    promised += ("sum/file: 1 % changed, gone and new ÷ whole, CPU",)
    for figure in ("no-op, CPU", "a step in-process, CPU", "a step in a warm worker, wall", *promised):
        measured = next(line for line in done.stdout.splitlines() if line.startswith(figure))
        assert "not measured" not in measured and "at most" in measured
    assert os.listdir(tmp_path) == []


def test_deltas_quick(tmp_path: Path) -> None:
    argv = [sys.executable, str(ROOT / "benchmarks" / "deltas.py"), "--quick", "--folder", str(tmp_path)]
    done = subprocess.run([*argv, "--only", "1 %"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("CSV, 1 % of the rows changed", "JSON lines, 1 % changed", "SQLite, 1 % updated in place"):
        assert line in done.stdout
    assert "skipped git" not in done.stdout and done.stdout.count("of the first") == 2 * 5
    assert os.listdir(tmp_path) == []
