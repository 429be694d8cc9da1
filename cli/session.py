"""What one invocation of `aq` knows of its surroundings: switches, terminal, clock, repository.

Invariant: together with `aq.cli.main` this is where the command line looks at the terminal and at
environment variables; below, they are arguments. It renders nothing by itself.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aq.cli.text import View, visible
from aq.formats.errors import AqError

if TYPE_CHECKING:
    from aq.cli.waiting import Waiting
    from aq.pipeline.change.context import Context
    from aq.pipeline.repo import Repo


class ClosedOutput(Exception):
    """Nobody reads standard output any more: what is left of the answer is not wanted."""


class Session:
    """The switches that hold for every command, and the ways to answer."""

    def __init__(self) -> None:
        self.command = ""
        self.json = False
        self.quiet = False
        self.verbose = 0
        self.color = "auto"
        self.hosts_code = False
        self.outlive_reader = False
        self.opened: Repo | None = None
        self.closed = False
        self.own: TextIO | None = None
        self.sign: Waiting | None = None

    def repo(self) -> Repo:
        """The nearest repository upward from the working directory."""
        from aq.pipeline.repo import Repo

        if self.opened is None:
            self.opened = Repo.find(working_directory(), self.context())
        return self.opened

    @property
    def out(self) -> TextIO:
        """Where the answer goes."""
        return self.own or sys.stdout

    def keep_out(self) -> None:
        """Leave standard output to the answer: what a user's code and its children print goes to
        standard error, also while it is imported. Where a caller has put another file in its place,
        descriptor 1 is the caller's.
        """
        kept = sys.stdout
        if isinstance(kept, io.TextIOWrapper) and descriptor_of(kept) == 1:
            self.own = os.fdopen(os.dup(1), "w", encoding=kept.encoding, errors=kept.errors)
            os.dup2(2, 1)
            kept.reconfigure(line_buffering=True)

    def close(self) -> None:
        """Let go of the repository, if one was opened."""
        if self.opened is not None:
            self.opened.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show a sign of life on a terminal for as long as the block is silent."""
        if self.hosts_code or self.quiet or not sys.stderr.isatty():
            yield
            return
        from aq.cli.waiting import Waiting, counted

        width = self._view(sys.stderr).width
        self.sign = Waiting(f"aq {self.command}", lambda: counted(self.opened), width=width)
        try:
            yield
        finally:
            self._speak()

    def _speak(self) -> None:
        """Something is about to be written: the sign goes."""
        if self.sign is not None:
            self.sign.stop()
            self.sign = None

    def context(self) -> Context:
        """The clock, the user and this command line, for the layers below."""
        from aq import _context

        return _context(["aq", *(utf8(word) for word in sys.argv[1:])])

    def view(self) -> View:
        """How text is to look on standard output."""
        return self._view(self.out)

    def error_view(self) -> View:
        """How text is to look on standard error."""
        return self._view(sys.stderr)

    def _view(self, stream: TextIO) -> View:
        terminal, width = stream.isatty(), 0
        if terminal:
            with suppress(OSError):
                width = os.get_terminal_size(stream.fileno()).columns or 80
        return View(
            color=self.colored(terminal=terminal),
            terminal=terminal,
            width=width,
            now=time.time(),
            verbose=self.verbose,
        )

    def colored(self, *, terminal: bool) -> bool:
        """Whether to colour a stream: `--color`, else NO_COLOR, else whether it is a terminal."""
        if self.color != "auto":
            return self.color == "always"
        return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def answer(self, record: Any, text: Callable[[Any, View], Iterable[str]], *, nothing: str = "") -> None:
        """Give the answer: the record as JSON, or the lines that `text` makes of it, or a note of none."""
        if self.json:
            from aq.cli.render import envelope

            self.write(envelope(self.command, record))
            return
        for line in text(record, self.view()):
            self.write(visible(line) + "\n")
            nothing = ""
        self.note(nothing)

    def report(self, record: Any, text: Callable[[Any, View], Iterable[str]]) -> None:
        """The answer of a command that did something: `-q` drops its text."""
        if self.json or not self.quiet:
            self.answer(record, text)

    def event(self, record: Any) -> None:
        """Write one bare JSON object of a stream, at once."""
        from aq.cli.render import encode

        self.write(encode(record) + "\n")
        self.flush()

    def write(self, text: str) -> None:
        """Write to standard output. Raises ClosedOutput where nobody reads it, unless outlived."""
        self._speak()
        try:
            if not self.closed:
                self.out.write(text)
        except OSError as error:
            self._unwritten(error)

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Write raw bytes to standard output."""
        self._speak()
        try:
            if not self.closed:
                self.out.buffer.write(data)
        except OSError as error:
            self._unwritten(error)

    def flush(self) -> None:
        """Hand what was written to the reader."""
        try:
            if not self.closed:
                self.out.flush()
        except OSError as error:
            self._unwritten(error)

    def _unwritten(self, error: OSError) -> None:
        """Nobody reads, or the disk is full: in both cases nothing more can be written."""
        self.closed = True
        silence(self.out.fileno())
        if not isinstance(error, BrokenPipeError):
            raise AqError(f"standard output: {error.strerror}") from None
        if not self.outlive_reader:
            raise ClosedOutput

    def note(self, text: str) -> None:
        """One line on standard error beside the answer, unless `-q`."""
        if not self.quiet and text:
            self._speak()
            with suppress(OSError):
                sys.stderr.write(f"{visible(text)}\n")

    def hints(self, commands: Iterable[str]) -> None:
        """Commands that would tell more."""
        if not self.json:
            for command in commands:
                self.note(f"hint: {command}")

    def notes(self, texts: Iterable[str]) -> None:
        """Several notes; JSON carries them in the record."""
        if not self.json:
            for text in texts:
                self.note(f"note: {text}")


def working_directory() -> Path:
    """Where the command was started, or sent by `-C`. Raises AqError where it was deleted since."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise AqError("the working directory does not exist any more", hint="cd ..") from None


def utf8(text: str) -> str:
    r"""A text with bytes that are no UTF-8 written out, as in `\xff`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def silence(descriptor: int) -> None:
    """Point a descriptor at nothing, so that flushing what its buffer still holds cannot fail."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def descriptor_of(stream: TextIO) -> int | None:
    """The descriptor that a stream writes to; None where it has none, as one in memory."""
    try:
        return stream.fileno()
    except OSError:
        return None
