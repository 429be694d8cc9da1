"""The linters are part of the tests: ruff's rules and format, and strict types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("formats", "store", "pipeline", "cli")


def check(*argv: str, cwd: Path, **variables: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *argv],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("argv", [("check", "."), ("format", "--check", ".")], ids=lambda argv: argv[0])
def test_ruff(argv: tuple[str, ...]) -> None:
    check("ruff", *argv, cwd=ROOT)


def test_types() -> None:
    """mypy wants a folder named `aq`, which `.dev/aq` is."""
    wanted = [word for name in PACKAGES for word in ("-p", f"aq.{name}")]
    check("mypy", "--strict", "-m", "aq", *wanted, cwd=ROOT / ".dev", MYPYPATH=".")
