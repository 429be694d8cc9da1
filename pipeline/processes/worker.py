"""A worker: a process that does tasks until nobody gives it any more.

Invariant: it answers every task, or is gone; it dies with its owner (on Linux at once, elsewhere when it
would answer). Its standard output is the log of the step that it is at.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from aq.formats.errors import AqError
from aq.pipeline.code.frames import trimmed
from aq.pipeline.processes.task import Answer, Code, Task, done
from aq.pipeline.processes.workers import length, receive
from aq.pipeline.step.capture import Log
from aq.pipeline.step.execute import Outcome
from aq.pipeline.step.execution import Failure

_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG


def main(channel: int, owner: int) -> None:
    """Serve the socket `channel` of the process `owner`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(owner)
    log = Log(cast("BinaryIO", os.fdopen(os.dup(1), "w+b")))
    code: Code | None = None
    with socket.socket(fileno=channel) as stream:
        while True:
            try:
                news, task = receive(stream)
                code = news or code
                assert code is not None
                _answer(stream, code, task, log)
            except (EOFError, ConnectionError):
                break
    os._exit(0)  # taking down pandas and scikit-learn in good order would cost a second


def _answer(stream: socket.socket, code: Code, task: Task, log: Log) -> None:
    """Do a task and say what came of it."""
    if not task.tried:
        log.empty()

    def send(kind: str, what: Any) -> None:
        data = pickle.dumps((kind, what), pickle.HIGHEST_PROTOCOL)
        stream.sendall(length.pack(len(data)) + data)

    try:
        answer = done(code, task, log, lambda trial: send("trial", trial))
    except KeyboardInterrupt as error:  # raised by the op itself: signals do not come here
        failure = Failure(task.step, "op_failed", "KeyboardInterrupt", trimmed(error, Path(code.root)))
        send("answer", Answer(Outcome([], failure, None)))
    except (AqError, MemoryError, OSError) as error:
        send("error", error)
    except Exception:
        send("error", RuntimeError(f"in a worker:\n{traceback.format_exc()}"))
    else:
        send("answer", answer)


def _die_with(owner: int) -> None:
    """Be killed when the owner is gone; it may be already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
