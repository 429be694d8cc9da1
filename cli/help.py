"""`aq help`."""

from __future__ import annotations

from collections.abc import Iterator

import click
from aq.cli.command import command
from aq.cli.failure import meant
from aq.cli.registry import COMMANDS
from aq.cli.session import Session
from aq.cli.text import View
from aq.cli.topics import TOPICS
from aq.formats.errors import NotFound


@command("help", examples=["aq help", "aq help run", "aq help revisions"], exits=(2,))
@click.argument("topic", metavar="[TOPIC]", required=False)
@click.pass_context
def help(  # noqa: A001
    context: click.Context, session: Session, topic: str | None
) -> None:
    """Explain a command or a topic

    Topics: revisions, runs, metrics, json, exit, ignore. Without TOPIC: all commands.
    """
    session.answer({"topic": topic, "text": explain(context, topic)}, _text)


def _text(record: dict[str, str], view: View) -> Iterator[str]:
    yield record["text"].rstrip("\n")


def explain(context: click.Context, topic: str | None) -> str:
    """The help of everything, of a command, or of a topic. Raises NotFound."""
    root = context.find_root()
    if topic is None:
        return root.get_help()
    if topic in TOPICS:
        return TOPICS[topic]
    group = root.command
    found = group.get_command(root, topic) if isinstance(group, click.Group) else None
    if found is None:
        near = meant(topic, [*TOPICS, *COMMANDS])
        raise NotFound(f"no command or topic '{topic}'", hint=f"aq help {near}" if near else "aq help")
    return found.get_help(click.Context(found, parent=root, info_name=topic))
