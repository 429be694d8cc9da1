"""The entry point of `aq`: start quickly, call one command, turn what happens into an exit code.

Invariant: standard output carries the answer alone, standard error the rest; a reader who has gone
is no error, an answer that could not be written is one.
"""

from __future__ import annotations

import gc

gc.disable()  # Start-up makes tens of thousands of objects and no garbage: 8 ms.

import io  # noqa: E402
import itertools  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import TYPE_CHECKING, NoReturn, TextIO  # noqa: E402

import click  # noqa: E402
from aq.cli.command import SETTINGS, Aq, common_options  # noqa: E402
from aq.cli.failure import Terminated, failure, tell  # noqa: E402
from aq.cli.session import ClosedOutput, Session, silence  # noqa: E402

if TYPE_CHECKING:
    from types import FrameType

HELP = """Git for predictions: version data, models and predictions, run what changed, find what broke

\b
Start with `aq demo`, or with `aq init`, `aq add data/`, `aq commit -m "first data"`.
`aq help TOPIC` explains revisions, runs, metrics, json, exit and ignore.
"""


def root() -> Aq:
    """The command group, without any command imported."""
    group = Aq("aq", help=HELP, context_settings=SETTINGS, invoke_without_command=True, callback=_bare)
    group.params.extend(common_options())
    group.params.append(
        click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version,
                     help="The version of aq")
    )  # fmt: skip
    return group


@click.pass_context
def _bare(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from aq import __version__

        click.echo(f"aq {__version__}")
        context.exit()


def main() -> NoReturn:
    """Run the command line and end the process with cli.md's exit codes."""
    _occupy_standard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _heed_signals
    session = Session()
    try:
        code = invoke(sys.argv[1:], session)
    except (ClosedOutput, BrokenPipeError):
        silence(session.out.fileno())
        code = 0
    except BaseException as error:
        told = failure(error, session.command)
        code = told.exit_code
        json = session.json or "--json" in itertools.takewhile(lambda word: word != "--", sys.argv[1:])
        tell(told, json=json, color=session.colored(terminal=sys.stderr.isatty()))
    leave(code, session.out, slowly=session.hosts_code and "aq.pipeline.code.importing" in sys.modules)


def invoke(arguments: list[str], session: Session) -> int:
    """Call one command; its exit code."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
    group = root()
    try:
        with group.make_context("aq", arguments, obj=session) as context:
            result = group.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    finally:
        session.close()
    return result if isinstance(result, int) else 0


def leave(code: int, out: TextIO, *, slowly: bool) -> NoReturn:
    """Flush and end. At once where possible: tearing the interpreter down takes 10 ms."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)  # all is said
    try:
        out.flush()
    except BrokenPipeError:
        silence(out.fileno())
    except OSError as error:
        silence(out.fileno())
        sys.stderr.write(f"error: standard output: {error.strerror}\n")
        code = code or 1
    sys.stderr.flush()
    if slowly:
        gc.collect()  # what the user's code has left in circles ends here, as it would below
        gc.freeze()  # what its modules hold is not searched for circles: .3 s with scikit-learn
        sys.exit(code)
    os._exit(code)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _heed_signals(told: sys.UnraisableHookArgs) -> None:
    """A signal that came while a finalizer ran, where Python drops what is raised, comes again."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        again = _terminate if isinstance(told.exc_value, Terminated) else signal.default_int_handler
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # at once, it would come while this still runs
    else:
        sys.__unraisablehook__(told)


def _occupy_standard_streams() -> None:
    """Open what the caller closed, so that no file of the store ever gets descriptor 0, 1 or 2."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if utf8 else "replace")
