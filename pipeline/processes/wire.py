"""What `aq run` and `aq worker` say to each other: messages as JSON, one a line, told apart by `type`.

Invariant: both sides begin with a `hello`, and go on only where protocol and version of aq are the same. A
task goes out with a number, and its answer, error or return comes back with it. docs/running.md has the form.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Final, cast

import msgspec
from aq import __version__
from aq.formats import errors
from aq.formats.errors import AqError
from aq.formats.identity import Digest
from aq.pipeline.processes.relay import Packed
from aq.pipeline.processes.task import Answer, Code, Task
from aq.pipeline.step.execute import Outcome

PROTOCOL: Final = 1


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Who speaks. `attends`: it waits for the answers, so that what it asked for ends with it."""

    protocol: int = PROTOCOL
    aq: str = __version__
    attends: bool = False


class Give(msgspec.Struct, frozen=True, tag="task"):
    """A task to be done; `code` is left out where it is that of the task before."""

    number: int
    task: Task
    code: Code | None = None


class Done(msgspec.Struct, frozen=True, tag="answer"):
    """What came of a task: see `task.Answer`. Summaries are msgpack, which keeps all numbers."""

    number: int
    outcome: Outcome | None
    objects: tuple[Packed, ...] = ()
    summaries: tuple[tuple[bytes, bytes], ...] = ()
    seconds: float = 0.0
    log: bytes | None = None
    note: str = ""


class Wrong(msgspec.Struct, frozen=True, tag="error"):
    """No failure of the step, but of its worker or the store; `kind` as in the JSON of every error."""

    number: int
    kind: str
    message: str
    hints: tuple[str, ...] = ()


class Back(msgspec.Struct, frozen=True, tag="back"):
    """The worker has to go, and gives a task back."""

    number: int


Message = Hello | Give | Done | Wrong | Back


class WorkerError(Exception):
    """What a worker met that is no error of aq's own kinds."""


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return bytes(value)
    raise NotImplementedError(f"no message holds a {type(value).__name__}")


def _typed(kind: type, value: object) -> object:
    if kind is Digest and isinstance(value, str):
        return Digest(b64decode(value))
    raise NotImplementedError(f"no message holds a {kind.__name__}")


_ESCAPED: Final = b"\\udc"
"""A byte of a name that is no UTF-8, which msgspec takes for an error."""
_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder(Message, dec_hook=_typed)
_KINDS: Final = {
    one.kind: one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, AqError)
}


def line(message: Message) -> bytes:
    """A message as a line. A name that is no UTF-8 has its bytes escaped, as Python's own `json` does it."""
    try:
        return _encoder.encode(message) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(message, enc_hook=_plain)).encode() + b"\n"


def read(text: bytes) -> Message:
    """The message of a line. Raises ValueError where it is none of this protocol."""
    try:
        if _ESCAPED in text:
            return cast("Message", msgspec.convert(json.loads(text), Message, dec_hook=_typed))
        message: Message = _decoder.decode(text)
    except (msgspec.DecodeError, NotImplementedError, ValueError) as error:
        raise ValueError(str(error)) from None
    return message


def done(number: int, answer: Answer) -> Done:
    """An answer on its way."""
    log = answer.log
    if log is not None and not isinstance(log, bytes):
        log.seek(0)
        log = log.read()
    summaries = tuple(
        (bytes(id), msgspec.msgpack.encode(value, enc_hook=_plain)) for id, value in answer.summaries
    )
    return Done(number, answer.outcome, answer.objects, summaries, answer.seconds, log, answer.note)


def answer(told: Done) -> Answer:
    """The answer as it was given."""
    summaries = tuple((id, msgspec.msgpack.decode(value)) for id, value in told.summaries)
    return Answer(told.outcome, told.objects, summaries, told.seconds, told.log, told.note)


def wrong(number: int, error: BaseException) -> Wrong:
    """What was raised, on its way."""
    if isinstance(error, AqError):
        return Wrong(number, error.kind, error.message, error.hints)
    return Wrong(number, "", str(error) or type(error).__name__)


def raised(told: Wrong) -> Exception:
    """What was raised, to be raised again."""
    known = _KINDS.get(told.kind)
    return WorkerError(told.message) if known is None else known(told.message, hint=told.hints)
