"""What is shipped: the wheel and the sdist hold exactly the right files, and aq works from the wheel.

The wheel is built once, from the sdist, and installed into a folder of its own, ahead of the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("formats", "store", "pipeline", "cli")
QUICK = ("formats/test_values.py", "store/test_store.py", "pipeline/test_trace.py", "cli/test_text.py")


def run(*argv: str | Path, cwd: Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The paths of the sdist, of the wheel built from it, and of the folder where the wheel is installed."""
    folder = tmp_path_factory.mktemp("shipped")
    ignored = shutil.ignore_patterns(".git", ".venv", "aq-demo", "*.egg-info", "build", "dist", ".*cache")
    shutil.copytree(ROOT, folder / "checkout", ignore=ignored, symlinks=True)
    build = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    name = run(sys.executable, "-c", build, "build_sdist", folder, cwd=folder / "checkout").split()[-1]
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / name.removesuffix(".tar.gz")
    wheel = run(sys.executable, "-c", build, "build_wheel", folder, cwd=unpacked).split()[-1]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    run(*pip, "--target", folder / "site", folder / wheel, cwd=folder)
    return {"sdist": folder / name, "wheel": folder / wheel, "site": folder / "site"}


def modules() -> set[str]:
    """Every file that must be shipped, relative to the checkout."""
    files = {path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    files |= {path for path in (ROOT / "cli").rglob("*") if path.suffix in (".txt", ".html")}
    return {str(path.relative_to(ROOT)) for path in files} | {"__init__.py", "__main__.py", "py.typed"}


def test_the_wheel_holds_the_package_and_nothing_else(shipped: dict[str, Path]) -> None:
    with zipfile.ZipFile(shipped["wheel"]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licence = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert names == {f"aq/{name}" for name in modules()}
    assert licence


def test_the_sdist_holds_what_the_wheel_is_built_from(shipped: dict[str, Path]) -> None:
    with tarfile.open(shipped["sdist"]) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    names = {name.split("/", 1)[1] for name in files}
    names = {name for name in names if "egg-info" not in name}
    assert names == modules() | {
        "LICENSE",
        "MANIFEST.in",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        "setup.cfg",
    }


def test_aq_runs_from_the_wheel(shipped: dict[str, Path], tmp_path: Path) -> None:
    site = str(shipped["site"])
    where = run(sys.executable, "-c", "import aq; print(aq.__file__)", cwd=tmp_path, PYTHONPATH=site)
    assert where.startswith(site)
    assert "bisect" in run(shipped["site"] / "bin" / "aq", "--help", cwd=tmp_path, PYTHONPATH=site)


def test_whoever_opens_urls_finds_aq(shipped: dict[str, Path], tmp_path: Path) -> None:
    code = "import fsspec; print(fsspec.get_filesystem_class('aq').__module__)"
    assert run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(shipped["site"])) == (
        "aq.pipeline.filesystem\n"
    )


def test_the_tests_pass_against_the_wheel(shipped: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    quick = [f"tests/{name}" for name in QUICK]
    said = run(sys.executable, "-m", "pytest", "-q", *quick, cwd=tmp_path, PYTHONPATH=str(shipped["site"]))
    assert " passed" in said
