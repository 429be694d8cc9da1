"""The tools, each as the commands a user would type for the same task.

Invariant: every command runs in a folder that holds `data/`; a tool keeps what it stores below that
folder's parent, so that it can be counted and removed. No tool's daemon or cache outlives its folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from beside.timing import Commands


@dataclass(frozen=True)
class Tool:
    """What one tool is told at each step; `stores` are the folders whose growth is counted."""

    name: str
    programs: tuple[str, ...]
    setup: Commands
    first: Commands
    again: Commands
    second: Commands
    back: Commands  # data/ as of the first commit
    checkout: Commands  # data/ as of the last, where it is missing
    stores: tuple[str, ...]
    durable: bool = False


def words(*lines: str) -> list[list[str]]:
    """Commands from lines; no word of them holds a space."""
    return [line.split() for line in lines]


def aq() -> Tool:
    """aq, as installed beside this Python."""
    beside = Path(sys.executable).parent / "aq"
    program = str(beside) if beside.exists() else f"{sys.executable} -m aq"
    return Tool(
        name="aq",
        programs=(),
        setup=words(f"{program} init"),
        first=words(f"{program} add data", f"{program} commit -m first"),
        again=words(f"{program} status"),
        second=words(f"{program} commit -m second"),
        back=words(f"{program} restore --from main~1 data"),
        checkout=words(f"{program} restore data"),
        stores=("work/.aq",),
        durable=True,
    )


_GIT = ("git init -q", "git config gc.auto 0")  # no collection in the background of the next measurement

PEERS = (
    Tool(
        name="git",
        programs=("git",),
        setup=words(*_GIT),
        first=words("git add data", "git commit -qm first"),
        again=words("git status --short"),
        second=words("git add data", "git commit -qm second"),
        back=words("git checkout -q HEAD~1 -- data"),
        checkout=words("git checkout -q -- data"),
        stores=("work/.git",),
    ),
    Tool(
        name="git-lfs",
        programs=("git", "git-lfs"),
        setup=words(*_GIT, "git lfs install --local", "git lfs track data/**", "git add .gitattributes"),
        first=words("git add data", "git commit -qm first"),
        again=words("git status --short"),
        second=words("git add data", "git commit -qm second"),
        back=words("git checkout -q HEAD~1 -- data"),
        checkout=words("git checkout -q -- data"),
        stores=("work/.git",),
    ),
    Tool(
        name="dvc",
        programs=("git", "dvc"),
        setup=words(*_GIT, "dvc init -q"),
        first=words("dvc add -q data", "git add data.dvc .gitignore", "git commit -qm first"),
        again=words("dvc status -q"),
        second=words("dvc add -q data", "git add data.dvc", "git commit -qm second"),
        back=words("git checkout -q HEAD~1 -- data.dvc", "dvc checkout -q -f"),
        checkout=words("dvc checkout -q -f"),
        stores=("work/.dvc", "work/.git"),
    ),
    Tool(
        name="oxen",
        programs=("oxen-bench",),
        setup=words("oxen-bench init"),
        first=words("oxen-bench add data", "oxen-bench commit first"),
        again=words("oxen-bench status"),
        second=words("oxen-bench add data", "oxen-bench commit second"),
        back=words("oxen-bench first data"),
        checkout=words("oxen-bench restore data"),
        stores=("work/.oxen",),
    ),
    Tool(
        name="restic",
        programs=("restic",),
        setup=words("restic init -q"),
        first=words("restic backup -q --tag first data"),
        again=words("restic backup -q --tag again data"),
        second=words("restic backup -q --tag second data"),
        back=words("restic restore -q latest --tag first --target ."),
        checkout=words("restic restore -q latest --tag second --target ."),
        stores=("store",),
    ),
    Tool(
        name="borg",
        programs=("borg",),
        setup=words("borg init -e none ../store"),
        first=words("borg create ../store::first data"),
        again=words("borg create ../store::again data"),
        second=words("borg create ../store::second data"),
        back=words("borg extract ../store::first"),
        checkout=words("borg extract ../store::second"),
        stores=("store",),
    ),
)


OXEN = """
import sys
from oxen import Repo
from oxen.user import config_user
verb, *words = sys.argv[1:]
repo = Repo(".")
if verb == "init":
    config_user("aq", "aq@example.org")
    repo.init()
elif verb == "first":
    repo.restore(words[0], source=repo.log()[-1].id)
else:
    getattr(repo, verb)(*words)
"""


_DROPPED = ("GIT_", "AQ_", "PYTHONDONTWRITE")  # the last: every start would compile all over again


def environment(home: Path, *, path: Iterable[Path] = ()) -> dict[str, str]:
    """Variables for all tools alike: settings and caches of their own, below `home`."""
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text("[user]\nname = aq\nemail = aq@example.org\n")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)},
        "PATH": os.pathsep.join([*map(str, path), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "AQ_AUTHOR": "aq",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "RESTIC_REPOSITORY": str(home.parent / "store"),
        "RESTIC_PASSWORD": "aq",
        "BORG_BASE_DIR": str(home),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }


def install(folder: Path, wanted: Iterable[str]) -> tuple[Path, ...]:
    """Bring the peers of these names that are missing into `folder`; the folders of their programs.

    DVC and Oxen come into a virtual environment, git-lfs and restic out of the system's packages, unpacked
    beside it. Nothing else of the machine changes; a message for each that did not come.
    """
    missing = {tool.name for tool in PEERS if tool.name in set(wanted) and _missing(tool, ())}
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    if missing & {"dvc", "oxen"}:
        python = folder / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if _did([sys.executable, "-m", "venv", str(folder)], folder) and _did(
            [*pip, "dvc", "oxenai"], folder
        ):
            write_oxen(folder / "bin")
    for name in sorted(missing & {"git-lfs", "restic"}):
        if _did(["apt-get", "download", "-qq", name], packages):
            for package in packages.glob(f"{name}_*.deb"):
                _did(["dpkg", "-x", str(package), str(folder)], packages)
    return (folder / "bin", folder / "usr" / "bin")


def _did(argv: list[str], folder: Path) -> bool:
    """Whether a command succeeded; a message where it did not."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder)
    except OSError as error:
        print(f"not installed: {argv[0]}: {error.strerror}")
        return False
    if done.returncode:
        print(f"not installed: {' '.join(argv[-2:])}: {done.stderr.strip()[-200:]}")
    return not done.returncode


def write_oxen(programs: Path) -> None:
    """The program `oxen-bench`: the verbs used here, since the Python package of Oxen brings no command."""
    program = programs / "oxen-bench"
    program.write_text(f"#!{programs / 'python'}\n{OXEN}")
    program.chmod(0o755)


def available(names: Iterable[str], path: Iterable[Path]) -> list[Tool]:
    """The peers of these names that are installed; a message for each that is not."""
    found = []
    for tool in (tool for tool in PEERS if tool.name in set(names)):
        missing = _missing(tool, path)
        if missing:
            print(f"skipped {tool.name}: {', '.join(missing)} not installed")
        else:
            found.append(tool)
    return found


def _missing(tool: Tool, path: Iterable[Path]) -> list[str]:
    """The programs of a tool that are nowhere."""
    search = os.pathsep.join([*map(str, path), os.environ.get("PATH", os.defpath)])
    return [program for program in tool.programs if not shutil.which(program, path=search)]
