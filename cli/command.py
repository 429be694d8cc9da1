"""The frame of every command: lazy loading, the options that hold everywhere, help in one shape.

Invariant: `aq --help` imports no command module and `aq X` imports only X's; every command takes
`-C --json --color -q -v` before or after the verb, has an example, and ends its help with its exit codes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import click
from aq.cli.registry import COMMANDS, SECTIONS
from aq.cli.session import Session

EXITS: Final = {
    0: "ok",
    1: "failed",
    2: "usage",
    3: "the answer is no",
    4: "conflict",
    5: "damaged",
    6: "not a repository",
    75: "try again",
}
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EVERYWHERE: Final = (
    ("-C DIR", "The folder to run in"),
    ("--json", "The answer as JSON: aq help json"),
    ("--color WHEN", "auto, always or never"),
    ("-q, --quiet", "No progress, no notes, no report of what was done"),
    ("-v, --verbose", "More of everything"),
    ("-h, --help", "Help on aq or on a command"),
    ("--version", "The version of aq"),
)
EVERYWHERE: Final = "-C DIR, --json, --color auto|always|never, -q/--quiet, -v/--verbose, -h/--help"


def common_options() -> list[click.Parameter]:
    """New instances of the options that hold everywhere; their values go to the session."""
    shared: dict[str, Any] = {"expose_value": False, "is_eager": True, "hidden": True}
    return [
        click.Option(["-C", "run_there"], callback=_go, multiple=True, **shared),
        click.Option(["--json", "as_json"], is_flag=True, callback=_set("json"), **shared),
        click.Option(
            ["--color"], type=click.Choice(["auto", "always", "never"]), callback=_set("color"), **shared
        ),
        click.Option(["-q", "--quiet"], is_flag=True, callback=_set("quiet"), **shared),
        click.Option(["-v", "--verbose"], count=True, callback=_set("verbose"), **shared),
    ]


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def store(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Session), name, value)

    return store


def _go(context: click.Context, _: click.Parameter, value: Sequence[str]) -> None:
    for folder in value:
        try:
            os.chdir(folder)
        except OSError as error:
            raise click.UsageError(f"cannot go to {folder}: {error.strerror}", context) from None


class Command(click.Command):
    """A click command with examples, exit codes and the common options.

    `dashed` names the parameter that takes everything behind `--`, before which `revisions` may stand.
    `hosts_code` says that a user's code runs in this process, so that what that prints is kept out of
    the answer, and it must end the slow way where it imported any.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        exits: Sequence[int] = (1, 2, 6),
        dashed: str = "",
        hosts_code: bool = False,
        **settings: Any,
    ) -> None:
        settings.setdefault("context_settings", SETTINGS)
        super().__init__(*args, **settings)
        self.params.extend(common_options())
        self.examples, self.exits = tuple(examples), (0, *exits)
        self.dashed, self.hosts_code = dashed, hosts_code

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take apart what stands behind `--` where the command wants it apart."""
        if not self.dashed:
            return super().parse_args(ctx, args)
        at = args.index("--") if "--" in args else len(args)
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args[:at])
        if rest:
            from aq.cli.dashes import too_many

            raise too_many(self.name or "", [ctx.params["revisions"], *rest], args[at + 1 :])
        ctx.params[self.dashed] = tuple(args[at + 1 :])
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its result is the exit code where it is an int."""
        session = ctx.ensure_object(Session)
        session.hosts_code = self.hosts_code
        if self.hosts_code:
            session.keep_out()
        with session.waiting():
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then options, then what holds everywhere."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        options = [option for option in self.params if isinstance(option, click.Option)]
        rows = [row for row in (option.get_help_record(ctx) for option in options) if row is not None]
        if rows:
            with formatter.section("Options"):
                formatter.write_dl(rows)
        with formatter.section("Everywhere"):
            formatter.write(f"{'':{formatter.current_indent}}{EVERYWHERE}\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes, at the foot."""
        codes = " · ".join(f"{code} {EXITS[code]}" for code in sorted(set(self.exits)))
        with formatter.section("Exit codes"):
            formatter.write(f"{'':{formatter.current_indent}}{codes}\n")

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Name what may stand behind `--`."""
        pieces = super().collect_usage_pieces(ctx)
        return [*pieces, f"[-- {self.dashed.rstrip('s').upper()}...]"] if self.dashed else pieces


class Verbs(click.Group):
    """A noun with verbs; the bare noun lists."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("context_settings", SETTINGS)
        settings.update(invoke_without_command=True, subcommand_metavar="[VERB [ARGS]...]")
        super().__init__(*args, **settings)
        self.params.extend(common_options())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown verb says what was meant."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            from aq.cli.failure import unknown_verb

            raise unknown_verb(self.name or "", args[0], self.commands)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs with their usage and one line each."""
        for verb in self.commands.values():
            usage = [self.name or "", verb.name or "", *verb.collect_usage_pieces(ctx)[1:]]
            with formatter.section(" ".join(usage)):
                formatter.write_text(verb.get_short_help_str(100))
                for example in getattr(verb, "examples", ()):
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        with formatter.section("Everywhere"):
            formatter.write(f"{'':{formatter.current_indent}}{EVERYWHERE}\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes of all verbs."""
        codes = sorted({code for verb in self.commands.values() for code in getattr(verb, "exits", ())})
        with formatter.section("Exit codes"):
            line = " · ".join(f"{code} {EXITS[code]}" for code in codes)
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Aq(click.Group):
    """The root: commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the sections."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one module that holds the command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found: click.Command = getattr(import_module(entry.module), cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command says what was meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from aq.cli.failure import unknown_command

            raise unknown_command(args[0])
        name, found, rest = super().resolve_command(ctx, args)
        ctx.ensure_object(Session).command = name or ""
        return name, found, rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What holds everywhere, spelt out, then the commands."""
        with formatter.section("Options, before or after the command"):
            formatter.write_dl(_EVERYWHERE)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command, by section, from the registry."""
        for section in SECTIONS:
            listed = [entry for entry in COMMANDS.values() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl([(f"{entry.name:8}", entry.summary) for entry in listed])


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command; its help is the function's docstring, its first argument the session."""

    def declare(function: Callable[..., Any]) -> Command:
        made = click.command(name, cls=Command, **settings)(click.pass_obj(function))
        assert isinstance(made, Command)
        return made

    return declare


def noun(name: str) -> Callable[[Callable[..., Any]], Verbs]:
    """Declare a noun; the function answers where no verb is given."""

    def declare(function: Callable[..., Any]) -> Verbs:
        @click.pass_context
        def bare(context: click.Context) -> Any:
            return function(context.obj) if context.invoked_subcommand is None else None

        return Verbs(name, callback=bare, help=inspect.cleandoc(function.__doc__ or ""))

    return declare


def verb(group: Verbs, name: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a verb of a noun."""

    def declare(function: Callable[..., Any]) -> Command:
        made = command(name, **settings)(function)
        group.add_command(made)
        return made

    return declare
