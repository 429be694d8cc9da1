"""`aq tag`."""

from __future__ import annotations

import click
from aq.cli import text_history
from aq.cli.command import noun, verb
from aq.cli.session import Session

EXITS = (1, 2, 4, 5, 6)


@noun("tag")
def tag(session: Session) -> None:
    """List, add, remove or rename tags

    A tag names one commit for good.
    """
    session.answer(session.repo().tag("list"), text_history.refs, nothing="No tags")


@verb(tag, "list", examples=["aq tag"], exits=(1, 2, 5, 6))
def list_tags(session: Session) -> None:
    """List tags with their commits"""
    session.answer(session.repo().tag("list"), text_history.refs, nothing="No tags")


@verb(tag, "add", examples=["aq tag add v1", "aq tag add v0 main~3"], exits=EXITS)
@click.argument("name")
@click.argument("rev", metavar="[REV]", required=False)
def add_tag(session: Session, name: str, rev: str | None) -> None:
    """Add a tag at REV, or at HEAD"""
    session.report(session.repo().tag("add", name, at=rev), text_history.refs)


@verb(tag, "remove", examples=["aq tag remove v1"], exits=EXITS)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove_tags(session: Session, names: tuple[str, ...]) -> None:
    """Remove tags; `aq undo` brings them back"""
    session.report(session.repo().tag("remove", *names), text_history.refs)


@verb(tag, "rename", examples=["aq tag rename v1 2026-q1"], exits=EXITS)
@click.argument("old")
@click.argument("new")
def rename_tag(session: Session, old: str, new: str) -> None:
    """Rename a tag"""
    session.report(session.repo().tag("rename", old, new), text_history.refs)
