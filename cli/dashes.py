"""Words typed where a revision stands: the command that was meant, with `..` and `--` in their places.

Invariant: what is no file of the folder and has no colon is taken for a revision; nothing is looked up.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aq.formats.errors import NotFound, UsageError


@contextmanager
def revision_or_path(command: str, word: str | None) -> Iterator[None]:
    """Turn "unknown revision" into the command with `--` where the word is, or holds, a path."""
    try:
        yield
    except NotFound as error:
        if word and (Path(word).exists() or ":" in word):
            raise NotFound(error.message, hint=[meant(command, [word]), *error.hints][:2]) from None
        raise


def too_many(command: str, words: Sequence[str], behind: Sequence[str]) -> UsageError:
    """The error for more than one word before `--`."""
    message = f"aq {command} takes one range, A..B, and paths behind --, not {shlex.join(words)}"
    return UsageError(message, hint=meant(command, words, behind))


def meant(command: str, words: Sequence[str], behind: Sequence[str] = ()) -> str:
    """The command for words as Git takes them: `A B`, `A PATH`, `A:PATH B:PATH`; `behind`: after `--`."""
    revisions: list[str] = []
    paths = list(behind)
    for word in words:
        for part in word.split("..") if ":" in word else [word]:
            revision, colon, path = part.partition(":")
            if Path(part).exists():
                paths.append(part)
            else:
                revisions.append(revision or "HEAD")
                paths += [path] if colon and path else []
    named = "..".join(dict.fromkeys(revisions))
    dashed = f"-- {shlex.join(dict.fromkeys(paths))}" if paths else ""
    return " ".join(part for part in ("aq", command, named, dashed) if part)
