"""`aq config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
from aq.cli.command import noun, verb
from aq.cli.session import Session
from aq.cli.text import View, columns


@noun("config")
def config(session: Session) -> None:
    """List, get or set configuration values

    They lie in `.aq/config` and hold for this repository: author.name, author.email.
    """
    session.answer(session.repo().config(), table)


def table(found: Mapping[str, str], view: View) -> Iterator[str]:
    """A line a setting."""
    yield from columns(view, [[name, value] for name, value in found.items()])


def values(found: Mapping[str, str], view: View) -> Iterator[str]:
    """The values alone."""
    yield from found.values()


@verb(config, "list", examples=["aq config"], exits=(1, 2, 6))
def list_settings(session: Session) -> None:
    """List the values that are set"""
    session.answer(session.repo().config(), table)


@verb(config, "get", examples=["aq config get author.name"], exits=(1, 2, 6))
@click.argument("name")
def get_setting(session: Session, name: str) -> int:
    """Print one value; exit code 1 where it is not set"""
    found = session.repo().config(name)
    session.answer(found, values)
    return 0 if found else 1


@verb(config, "set", examples=['aq config set author.name "Ann Lee"'], exits=(1, 2, 6))
@click.argument("name")
@click.argument("value")
def set_setting(session: Session, name: str, value: str) -> None:
    """Set one value; an empty one takes it away"""
    session.report(session.repo().config(name, value), table)
