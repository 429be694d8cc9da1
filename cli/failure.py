"""The one place that turns an exception into `error:` and `hint:` lines, JSON and an exit code.

Invariant: what is no `AqError`, no wrong usage and no refusal by the operating system is a bug:
exit code 70, and the only case that shows a traceback of aq's own.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

import click
from aq.cli.registry import COMMANDS
from aq.formats.errors import AqError, OpFailed, UsageError

BUG: Final = 70
INTERRUPTED: Final = 130
TERMINATED: Final = 143
OF_GIT: Final = {
    "checkout": "switch", "history": "log", "list": "ls", "reflog": "ops", "reset": "undo", "revert": "undo",
    "rm": "remove", "st": "status", "track": "add", "untrack": "remove",
}  # fmt: skip
"""What others call a command that has another name here."""
_HEADING: Final = "Traceback (most recent call last):"
_SHOWS: Final = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "ls -ld") | dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT), "df -h"
)
_REFUSALS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Terminated(KeyboardInterrupt):
    """SIGTERM: everything that stops cleanly for Ctrl-C stops as cleanly for it."""


class Failure(NamedTuple):
    """What is told of an exception. `trace` is that of a bug, or of the user's own code."""

    kind: str
    message: str
    hints: tuple[str, ...]
    exit_code: int
    trace: str = ""


def failure(error: BaseException, command: str = "") -> Failure:
    """What to tell of any exception; of wrong usage that has no better hint, the command's help."""
    error = _stop_behind(error)
    if isinstance(error, AqError):
        trace = error.trace if isinstance(error, OpFailed) else ""
        help_of = (f"aq {command} --help".replace("  ", " "),) if error.exit_code == 2 else ()
        hints = error.hints[:2] or help_of or _look_at(error.__cause__)
        return Failure(error.kind, error.message, hints, error.exit_code, trace)
    if isinstance(error, click.ClickException):
        return _usage(error, f"aq {command}".rstrip())
    if isinstance(error, Terminated):
        return Failure("terminated", "terminated", (), TERMINATED)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure("interrupted", "interrupted", (), INTERRUPTED)
    if isinstance(error, MemoryError):
        return Failure("failed", "out of memory", (), 1)
    if isinstance(error, OSError) and error.strerror and (error.filename or error.errno in _REFUSALS):
        from aq.store.system.paths import show as shown

        place = f"{shown(os.fsdecode(error.filename))}: " if isinstance(error.filename, (str, bytes)) else ""
        return Failure("failed", f"{place}{error.strerror}", _look_at(error), 1)
    return _bug(error)


def _look_at(error: BaseException | None) -> tuple[str, ...]:
    """The command that shows why the operating system refused a file: whose it is, or how full its disk."""
    command = _SHOWS.get(error.errno or 0) if isinstance(error, OSError) else None
    if command is None or not isinstance(name := getattr(error, "filename", None), (str, bytes)):
        return ()
    import shlex

    path = os.path.abspath(os.fsdecode(name))
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return (f"{command} {shlex.quote(path)}",)


def _stop_behind(error: BaseException) -> BaseException:
    """The signal that an error was made of: Python wraps what interrupts the making of a class."""
    cause = error.__cause__
    return cause if isinstance(error, RuntimeError) and isinstance(cause, KeyboardInterrupt) else error


def _usage(error: click.ClickException, command: str) -> Failure:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else command
    hints = [f"{command} --help"]
    text = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        text = f"no such option: {error.option_name}"
        near = meant(error.option_name, error.possibilities or ())
        hints[:0] = [f"{command} {near}"] if near else []
    elif isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
        hints[:0] = [f"{command} {error.param.opts[0]} {error.param.metavar or ''}".rstrip()]
    message = (text[:1].lower() + text[1:]).replace("\n", " ")
    return Failure("usage", message, tuple(hints), 2)


def _bug(error: BaseException) -> Failure:
    import platform
    import traceback

    from aq import __version__

    trace = "".join(traceback.format_exception(error))
    where = f"aq {__version__}, Python {platform.python_version()}, {platform.system()}"
    message = f"a bug in aq: {type(error).__name__}: {error}; please report it with the traceback ({where})"
    return Failure("bug", message.replace("\n", " "), (), BUG, trace)


def _trace(told: Failure) -> list[str]:
    """The traceback as lines; that of the user's code without its heading, to tell it from a bug's."""
    lines = told.trace.rstrip("\n").split("\n") if told.trace else []
    return lines if told.exit_code == BUG else [line for line in lines if line != _HEADING]


def unknown_command(name: str) -> UsageError:
    """The error for a command that does not exist, with the nearest one that does."""
    near = OF_GIT.get(name) or meant(name, COMMANDS)
    return UsageError(f"unknown command: {name}", hint=f"aq {near}" if near else "aq --help")


def unknown_verb(noun: str, word: str, verbs: Iterable[str]) -> UsageError:
    """The error for `aq branch WORD`: a verb misspelt, or the name of a new branch without `add`."""
    near = meant(word, verbs)
    hint = f"aq {noun} {near}" if near else f"aq {noun} {'add' if 'add' in verbs else 'get'} {word}"
    return UsageError(f"unknown verb: {noun} {word}", hint=hint)


def meant(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant, if any is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(words), 1, 0.6)
    return near[0] if near else None


def tell(told: Failure, *, json: bool, color: bool) -> None:
    """Write a failure to standard error; where that fails too there is nobody to tell."""
    from aq.cli.text import View, visible

    if json:
        from aq.cli.render import VERSION, encode

        body = {
            "kind": told.kind,
            "message": told.message,
            "hint": "\n".join(told.hints) or None,
            "exit_code": told.exit_code,
            **({"trace": "\n".join(_trace(told))} if told.trace else {}),
        }
        lines = [encode({"version": VERSION, "error": body})]
    else:
        view = View(color=color)
        lines = _trace(told)
        lines.append(f"{view.paint('error:', 'bad')} {told.message}")
        lines += [f"{view.paint('hint:', 'ref')} {hint}" for hint in told.hints]
    try:
        sys.stderr.write("".join(f"{line if json else visible(line)}\n" for line in lines))
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
