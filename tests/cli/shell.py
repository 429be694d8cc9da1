"""Runs the real `aq` in a process of its own, as a person or a script would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The `data` of a JSON answer."""
        answer = json.loads(self.out)
        assert answer.keys() == {"version", "command", "data"}
        assert answer["version"] == 1
        return answer["data"]

    @property
    def error(self) -> Any:
        """The `error` of a JSON error, which is the last line of standard error."""
        answer = json.loads(self.err.splitlines()[-1])
        assert answer.keys() == {"version", "error"}
        assert {"kind", "message", "hint", "exit_code"} <= answer["error"].keys()
        assert answer["error"]["exit_code"] == self.code
        return answer["error"]

    @property
    def events(self) -> list[Any]:
        """The objects of a stream."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Shell:
    """A folder to type commands in."""

    folder: Path

    def aq(self, *words: str, code: int | None = 0, **environment: str) -> Done:
        """Run `aq WORDS...` and expect an exit code (None: any)."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "aq", *words],
            cwd=self.folder,
            env={**os.environ, "AQ_AUTHOR": "Ann Lee", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=120,
        )
        told = f"aq {' '.join(words)} → {done.returncode}\n{done.stdout}{done.stderr}"
        assert code is None or done.returncode == code, told
        assert done.returncode == 70 or "Traceback (most recent call last)" not in done.stderr, told
        return Done(done.returncode, done.stdout, done.stderr)

    def data(self, *words: str, code: int | None = 0) -> Any:
        """The JSON answer of a command."""
        return self.aq("--json", *words, code=code).data

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def commit(self, name: str, text: str, message: str) -> str:
        """Write, track and commit a file; the commit's id."""
        self.write(name, text)
        self.aq("add", name)
        return str(self.data("commit", "-m", message)["id"])
