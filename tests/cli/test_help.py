"""Help texts: one shape, examples that parse, a reference page that is up to date."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from aq.cli import reference
from aq.cli.command import Command, Verbs
from aq.cli.main import root
from aq.cli.registry import COMMANDS, SECTIONS
from aq.cli.session import Session
from aq.cli.topics import TOPICS

from tests.cli.shell import Shell

PAGE = Path(__file__).parent.parent.parent / "docs" / "commands.md"


def everything() -> Iterator[tuple[str, click.Command]]:
    """Every command, and every verb of a noun."""
    group = root()
    context = click.Context(group, info_name="aq")
    for name in COMMANDS:
        found = group.get_command(context, name)
        assert found is not None
        yield name, found
        if isinstance(found, Verbs):
            yield from ((f"{name} {verb}", inner) for verb, inner in found.commands.items())


ALL = dict(everything())
LEAVES = {name: found for name, found in ALL.items() if isinstance(found, Command)}


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == reference.page(), "python -m aq.cli.reference"


@pytest.mark.parametrize("name", ALL)
def test_help_begins_with_an_imperative_line_without_full_stop(name: str) -> None:
    first = (ALL[name].help or "").splitlines()[0]
    assert first[:1].isupper() and not first.endswith(".") and len(first) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name: str) -> None:
    assert COMMANDS[name].summary == (ALL[name].help or "").splitlines()[0]
    assert COMMANDS[name].section in SECTIONS


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_is_explained(name: str) -> None:
    for option in LEAVES[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help and not option.help.endswith("."), option.name


def examples() -> Iterator[tuple[str, str]]:
    for name, found in LEAVES.items():
        assert found.examples, f"aq {name} has no example"
        yield from ((name, example) for example in found.examples)


@pytest.mark.parametrize(("name", "example"), list(examples()))
def test_every_example_is_a_correct_call(name: str, example: str) -> None:
    words = shlex.split(example.partition(" > ")[0])
    verbs = name.split()
    assert words[0] == "aq" and words[1 : 1 + len(verbs)] in (verbs, verbs[:1])
    parent = click.Context(root(), info_name="aq", obj=Session())
    rest = words[1 + len(verbs) :] if words[1 : 1 + len(verbs)] == verbs else words[2:]
    LEAVES[name].make_context(verbs[-1], rest, parent=parent)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_the_exit_codes(name: str) -> None:
    lines = reference.help_of(ALL[name], click.Context(root(), info_name="aq")).rstrip().splitlines()
    assert lines[-2] == "Exit codes:" and lines[-1].startswith("  0 ok · ")


def test_the_overview_has_a_line_for_every_command(tmp_path: Path) -> None:
    text = Shell(tmp_path).aq("--help").out
    for entry in COMMANDS.values():
        assert f"\n  {entry.name:8}  {entry.summary[:30]}" in text
    assert Shell(tmp_path).aq().out == text == Shell(tmp_path).aq("help").out


def test_help_of_a_topic_and_of_a_command(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for topic, text in TOPICS.items():
        assert shell.aq("help", topic).out == text
    assert shell.aq("help", "log").out == shell.aq("log", "--help").out
    wrong = shell.aq("help", "revision", code=2)
    assert wrong.err == "error: no command or topic 'revision'\nhint: aq help revisions\n"
