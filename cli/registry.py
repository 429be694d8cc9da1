"""Every command of `aq`: its name, module, section and one-line help.

Invariant: `aq --help` is written from this table alone, so that no command's module is imported
for it; a test compares each summary with the command's own first line of help.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """One command. Its click object is the attribute of the same name in `module`."""

    name: str
    section: str
    summary: str
    module: str


SECTIONS: Final = ("start", "record", "look", "branch", "run", "explain", "keep")

_TABLE: Final = (
    ("init", "start", "Create an empty repository"),
    ("demo", "start", "Tell a story on 336,776 real flights and leave the repository to explore"),
    ("add", "record", "Track files and folders"),
    ("remove", "record", "Stop tracking files, folders and given values, drop partitions"),
    ("status", "record", "List what changed since HEAD: files, untracked paths, stale steps"),
    ("commit", "record", "Record all tracked paths as one commit"),
    ("undo", "record", "Take back the last operation; undo again to redo"),
    ("ops", "record", "List operations: what each command did to the refs"),
    ("log", "look", "List commits with their metrics, newest first"),
    ("show", "look", "Describe a commit, a run, or one path of it"),
    ("diff", "look", "Compare two revisions, or one with the folder, down to rows and columns"),
    ("ls", "look", "List the paths of a revision"),
    ("cat", "look", "Write one artifact to standard output"),
    ("blame", "look", "Say which commit last changed each row and column, line, key or tensor"),
    ("branch", "branch", "List, add, remove or rename branches"),
    ("switch", "branch", "Go to another branch"),
    ("merge", "branch", "Bring what another revision changed into the current branch"),
    ("tag", "branch", "List, add, remove or rename tags"),
    ("restore", "branch", "Bring back files as they were at a revision"),
    ("run", "run", "Bring flows up to date: run what changed, reuse the rest"),
    ("worker", "run", "Execute steps for an `aq run` elsewhere: tasks come in, answers go out"),
    ("runs", "run", "List runs, also failed and uncommitted ones"),
    ("steps", "run", "Draw the steps of a revision's run"),
    ("logs", "run", "Print what a step wrote"),
    ("checks", "run", "List the checks of a revision and how they ended"),
    ("repro", "run", "Run a revision's code again in a clean folder and compare"),
    ("lineage", "explain", "Show what an artifact was made from, or what was made from it"),
    ("metrics", "explain", "Show the recorded series of metrics"),
    ("bisect", "explain", "Find the commit that made a metric worse"),
    ("fsck", "keep", "Check the store, byte by byte where asked, and name what is damaged"),
    ("gc", "keep", "Free what nothing needs any more"),
    ("du", "keep", "Count the bytes of the store by kind, folder, flow, branch and tag"),
    ("config", "keep", "List, get or set configuration values"),
    ("help", "keep", "Explain a command or a topic"),
)

COMMANDS: Final[dict[str, Entry]] = {
    name: Entry(name, section, summary, f"aq.cli.{name}") for name, section, summary in _TABLE
}
