"""`aq branch`."""

from __future__ import annotations

import click
from aq.cli import text_history
from aq.cli.command import noun, verb
from aq.cli.session import Session

EXITS = (1, 2, 4, 5, 6)


@noun("branch")
def branch(session: Session) -> None:
    """List, add, remove or rename branches

    A branch of aq is independent of Git's branches.
    """
    session.answer(session.repo().branch("list"), text_history.refs)


@verb(branch, "list", examples=["aq branch"], exits=(1, 2, 5, 6))
def list_branches(session: Session) -> None:
    """List branches with their newest commit"""
    session.answer(session.repo().branch("list"), text_history.refs)


@verb(branch, "add", examples=["aq branch add wider-window", "aq branch add from-v1 v1"], exits=EXITS)
@click.argument("name")
@click.argument("rev", metavar="[REV]", required=False)
def add_branch(session: Session, name: str, rev: str | None) -> None:
    """Add a branch at REV, or at HEAD, without going there"""
    session.report(session.repo().branch("add", name, at=rev), text_history.refs)


@verb(branch, "remove", examples=["aq branch remove wider-window"], exits=EXITS)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def remove_branches(session: Session, names: tuple[str, ...]) -> None:
    """Remove branches; `aq undo` brings them back"""
    session.report(session.repo().branch("remove", *names), text_history.refs)


@verb(branch, "rename", examples=["aq branch rename main trunk"], exits=EXITS)
@click.argument("old")
@click.argument("new")
def rename_branch(session: Session, old: str, new: str) -> None:
    """Rename a branch"""
    session.report(session.repo().branch("rename", old, new), text_history.refs)
