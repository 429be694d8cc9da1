"""docs/commands.md, written from the commands themselves: `python -m aq.cli.reference`.

Invariant: nothing in that page is written by hand; a test compares it with what this prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import click
import msgspec
from aq.cli.command import EXITS
from aq.cli.failure import BUG, INTERRUPTED, TERMINATED
from aq.cli.main import root
from aq.cli.registry import COMMANDS, SECTIONS
from aq.cli.topics import TOPICS
from aq.formats import errors
from aq.pipeline.records import blamed, inventory, outcomes, results

WIDTH: Final = 100
_INTRODUCTION: Final = """\
# Commands

Written by `python -m aq.cli.reference`; do not edit. Every command takes `-C DIR` (run there),
`--json`, `--color auto|always|never`, `-q` and `-v`, before or after its name. The answer goes to
standard output; progress, notes and errors to standard error. Nothing ever asks.
"""
_RECORDS: Final[dict[str, tuple[str, type[msgspec.Struct]]]] = {
    "add": ("", results.Tracked), "remove": ("", results.Tracked), "status": ("", results.Status),
    "commit": ("", results.CommitResult), "undo": ("", results.Undone),
    "ops": ("list of", results.OperationEntry), "log": ("list of", results.LogEntry),
    "show": ("", results.ShowRevision), "blame": ("", blamed.Blame),
    "diff": ("", results.Diff), "ls": ("list of", results.PathEntry),
    "branch": ("list of", results.Ref), "tag": ("list of", results.Ref), "switch": ("", results.Moved),
    "restore": ("", results.Moved), "run": ("stream ending in", outcomes.RunDone),
    "runs": ("list of", outcomes.RunEntry), "steps": ("list of", results.StepEntry),
    "logs": ("", outcomes.LogText), "checks": ("list of", outcomes.CheckEntry),
    "fsck": ("", inventory.Checked), "du": ("", inventory.DiskUsage),
    "gc": ("", inventory.Collected),
    "repro": ("", outcomes.Repro), "lineage": ("", outcomes.Lineage), "bisect": ("", outcomes.Bisect),
    "metrics": ("map from metric to list of", outcomes.MetricPoint),
}  # fmt: skip
_ALSO: Final[dict[str, tuple[str, type[msgspec.Struct]]]] = {
    "show": ("with a path:", results.ShowPath),
    "run": ("with `-n`:", outcomes.Plan),
    "lineage": ("with `--downstream`:", outcomes.Downstream),
}


def page() -> str:
    """The whole of docs/commands.md."""
    return "\n".join((_INTRODUCTION, *_commands(), *_topics(), *_errors()))


def _commands() -> Iterator[str]:
    group = root()
    context = click.Context(group, info_name="aq", terminal_width=WIDTH, obj=None)
    for section in SECTIONS:
        yield f"## {section.capitalize()}\n"
        for entry in COMMANDS.values():
            if entry.section == section:
                found = group.get_command(context, entry.name)
                assert found is not None
                yield f"### aq {entry.name}\n\n```text\n{help_of(found, context)}\n```\n"
                yield from _json(entry.name)


def help_of(command: click.Command, parent: click.Context) -> str:
    """What `aq X --help` prints, at a fixed width."""
    context = click.Context(command, parent=parent, info_name=command.name, terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def _json(name: str) -> Iterator[str]:
    if name in _RECORDS:
        shape, record = _RECORDS[name]
        also = f"; {_ALSO[name][0]} {keys(_ALSO[name][1])}" if name in _ALSO else ""
        yield f"JSON: {f'{shape} ' if shape else ''}{keys(record)}{also}\n"


def keys(record: type[msgspec.Struct]) -> str:
    """`{a, b: {c, d}, e: [{f}]}`: the JSON keys of a record and of the records inside it."""
    return f"`{_keys(record, ())}`"


def _keys(record: type[msgspec.Struct], above: tuple[type, ...]) -> str:
    hints = get_type_hints(record, {**vars(results), **vars(outcomes), **vars(inventory), **vars(blamed)})
    parts = []
    for field in msgspec.structs.fields(record):
        inner = _inner(hints[field.name])
        nested = _keys(inner, (*above, record)) if inner and inner not in (*above, record) else ""
        listed = "list" in str(hints[field.name])
        shown = f": [{nested}]" if nested and listed else f": {nested}" if nested else ""
        parts.append(f"{field.encode_name}{shown}")
    return "{" + ", ".join(parts) + "}"


def _inner(hint: Any) -> type[msgspec.Struct] | None:
    """The record inside a type: itself, of a list, or of an optional."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next((found for one in getattr(hint, "__args__", ()) if (found := _inner(one))), None)


def _topics() -> Iterator[str]:
    yield "## Topics\n"
    for name, text in TOPICS.items():
        yield f"### aq help {name}\n\n```text\n{text}```\n"


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield "| kind | exit code | when |\n|---|---|---|"
    found: set[type[errors.AqError]] = {errors.AqError, *_below(errors.AqError)}
    for error in sorted(found, key=lambda one: (one.exit_code, one.kind)):
        when = (error.__doc__ or "").splitlines()[0].replace("|", "\\|")
        yield f"| {error.kind} | {error.exit_code} | {when} |"
    yield f"| bug | {BUG} | A bug in aq; with its traceback under `trace`. |"
    yield f"| interrupted | {INTERRUPTED} | Ctrl-C. |"
    yield f"| terminated | {TERMINATED} | SIGTERM. |"
    yield ""
    yield "Exit codes: " + ", ".join(f"{code} {what}" for code, what in EXITS.items()) + ".\n"


def _below(error: type[errors.AqError]) -> Iterator[type[errors.AqError]]:
    for one in error.__subclasses__():
        if one.__module__ == errors.__name__:  # others say more of the same kind, where they are imported
            yield one
            yield from _below(one)


def main() -> None:
    """Write docs/commands.md beside the package."""
    from pathlib import Path

    (Path(__file__).parent.parent / "docs" / "commands.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
