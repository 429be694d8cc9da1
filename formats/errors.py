"""The errors that aq raises on purpose.

Invariant: whatever is not an `AqError` is a bug in aq and shows its traceback.
Each class carries the exit code and the JSON `kind` that docs/commands.md promises.
A message says what is wrong in the user's terms; a hint is a command to type next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class AqError(Exception):
    """Something failed for a reason that the user can act on.

    `message` is one line; `hints` holds at most two lines, each a command that can be pasted.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str | Sequence[str] = ()) -> None:
        message = message.replace("\n", "\\n")  # of a name, or of what a library says
        super().__init__(message)
        self.message = message
        hints = (hint,) if isinstance(hint, str) else hint
        self.hints: tuple[str, ...] = tuple(one for one in hints if one)
        for one in self.hints:  # below the traceback, where Python shows it
            self.add_note(f"hint: {one}")

    @property
    def hint(self) -> str | None:
        """The hints as one text, a line each, or None where there is none."""
        return "\n".join(self.hints) or None


class UsageError(AqError):
    """The command or call is malformed: a bad parameter, a missing flag."""

    exit_code = 2
    kind = "usage"


class NotFound(UsageError):
    """An unknown or ambiguous revision, path, metric, flow or op."""

    kind = "not_found"


class Unstorable(AqError):
    """A value, file or path that the store cannot hold, and where inside it the reason lies."""

    kind = "unstorable"


class Refused(AqError):
    """The operating system refused a change of the store: no space, no permission, a failing disk.

    What was put and not published may be forgotten then: whoever goes on must not rely on it.
    """

    kind = "refused"


class NewerFormat(AqError):
    """The repository needs a feature that this version of aq does not know."""

    kind = "newer_format"


class NotTrusted(AqError):
    """The repository belongs to somebody else: it is looked at, but not written to nor executed."""

    kind = "not_trusted"


class OpFailed(AqError):
    """The user's own code raised; the trace is theirs, the log and the inputs are kept.

    `trace`: the traceback as text, trimmed to the user's frames; empty where there is none.
    """

    kind = "op_failed"
    trace: str = ""


class No(AqError):
    """The answer is no: a check failed, a reproduction differs, a search was inconclusive."""

    exit_code = 3
    kind = "no"


class Conflict(AqError):
    """Another writer won the race, or two sides changed the same thing. `ref` is the ref that moved.

    `result`: where a merge found conflicts, the record that lists them.
    """

    exit_code = 4
    kind = "conflict"
    ref: str | None = None
    result: object = None


class Damaged(AqError):
    """Stored bytes do not match what was written; the message names the object."""

    exit_code = 5
    kind = "damaged"


class NotARepository(AqError):
    """No `.aq` folder here or in any folder above."""

    exit_code = 6
    kind = "not_a_repository"


class Temporary(AqError):
    """Try again later: a lock is held, a disk or a remote is out of reach for now."""

    exit_code = 75
    kind = "temporary"


def with_article(name: str) -> str:
    """`an int`, `a str`: the name of a type in a message."""
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"
