"""What goes wrong in a run: failures, retries, interruption, and what is kept of them."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aq.formats.artifacts import values
from aq.formats.errors import AqError, NotFound, Refused, UsageError
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store.store import Store
from aq.store.system import disk
from aq.store.upkeep.fsck import fsck

from tests.pipeline.workshop import ALL_RUN, Workshop, states


def test_output_is_captured_in_order_and_survives_reuse(shop: Workshop, capfd: Any) -> None:
    shop.write(
        """
        import ctypes, os, subprocess, sys

        @aq.op
        def noisy():
            print("one")
            os.write(1, b"two\\n")
            print("three", file=sys.stderr)
            subprocess.run(["echo", "four"])
            ctypes.CDLL(None).printf(b"five\\n")
            ctypes.CDLL(None).fflush(None)
            os.write(2, b"six\\n")
            return 1

        @aq.flow
        def f():
            noisy()
        """
    )
    heard: list[str] = []
    done = shop.run(tee=heard.append)
    assert shop.log(done.steps[0].log) == "one\ntwo\nthree\nfour\nfive\nsix\n"
    assert "".join(heard) == "one\nthree\n"
    assert capfd.readouterr() == ("", "")
    print("free again")
    assert capfd.readouterr().out == "free again\n"
    assert shop.log(shop.run().steps[0].log).startswith("one\n")


def test_an_exception_fails_the_step_and_cancels_what_follows(delays: Workshop) -> None:
    delays.replace("return int(", "raise_it()\n    return int(")
    delays.replace("LIMIT = 100", "def raise_it():\n    {}['gone']\nLIMIT = 100")
    done = delays.run()
    assert states(done) == {"clean": "run", "total": "failed", "mean": "cancelled", "enough": "cancelled"}
    assert done.failed and done.error is not None
    assert (done.error.step, done.error.kind, done.error.error) == (
        "delays/total",
        "op_failed",
        "KeyError: 'gone'",
    )
    assert "flow.py" in done.error.trace and "raise_it()" in done.error.trace
    assert "aq/pipeline" not in done.error.trace and "execute.py" not in done.error.trace
    assert str(delays.root) not in done.error.trace
    assert delays.log(done.error.log).endswith("KeyError: 'gone'\n")
    assert done.error.as_dict()["message"] == "KeyError: 'gone'"


def test_a_failed_step_keeps_its_inputs_and_what_ran_before_it(delays: Workshop) -> None:
    delays.replace("return int(", "1 / 0\n    return int(")
    done = delays.run()
    failed = next(one for one in done.steps if one.status == "failed")
    attempt = delays.step(failed)
    table = values.decode(get_record(delays.store, Artifact, attempt.inputs["table"]), delays.store)
    assert list(table["delay"]) == [1, 5]
    assert attempt.outputs == []
    delays.replace("1 / 0\n    ", "")
    assert states(delays.run())["clean"] == "reused"


def test_a_failed_attempt_is_no_result(delays: Workshop) -> None:
    delays.replace("return int(", "1 / 0\n    return int(")
    delays.run()
    assert states(delays.run())["total"] == "failed"


def test_keep_going_runs_what_does_not_depend_on_the_failure(delays: Workshop) -> None:
    delays.replace("return int(", "1 / 0\n    return int(")
    done = delays.run(keep_going=True)
    assert states(done) == {"clean": "run", "total": "failed", "mean": "run", "enough": "run"}
    assert done.failed


def test_sys_exit_in_an_op_is_a_failure_not_the_end(delays: Workshop) -> None:
    delays.replace("return int(", "raise SystemExit(3)\n    return int(")
    assert states(delays.run())["total"] == "failed"


def test_ctrl_c_keeps_what_finished_and_passes_through(delays: Workshop) -> None:
    delays.replace("return int(", "raise KeyboardInterrupt\n    return int(")
    with pytest.raises(KeyboardInterrupt):
        delays.run()
    (kept,) = delays.kept
    assert states(kept) == {"clean": "run", "total": "cancelled", "mean": "cancelled", "enough": "cancelled"}
    assert kept.interrupted and kept.failed
    with Store.open(delays.root) as other:
        assert other.has(kept.artifacts["delays/clean"].artifact)


def test_a_killed_process_keeps_the_steps_that_finished(delays: Workshop) -> None:
    delays.replace('print("cleaning", len(flights))', "import time; time.sleep(0.06)")
    delays.replace("return int(", "import os; os._exit(9)\n    return int(")
    delays.store.close()
    script = "import sys; from pathlib import Path; from tests.pipeline.workshop import *\n"
    script += "shop = Workshop.__new__(Workshop); shop.__dict__.update(root=Path(sys.argv[1]), "
    script += "store=Store.open(Path(sys.argv[1])), events=[], last={}, environ={}, kept=[]); shop.run()"
    done = subprocess.run([sys.executable, "-c", script, str(delays.root)], cwd=Path(__file__).parents[2])
    assert done.returncode == 9
    delays.store = Store.open(delays.root)
    delays.replace("import os; os._exit(9)\n    ", "")
    assert states(delays.run()) == {**ALL_RUN, "clean": "reused"}


def test_a_refused_write_ends_the_run_and_nothing_names_what_is_lost(shop: Workshop) -> None:
    """A full pack takes what earlier steps have put with it: a record of this run would name what is gone."""
    shop.write(
        """
        @aq.op
        def words():
            return ["one", "two"]

        @aq.op(retries=2)
        def blown(words):
            return b"".join(number.to_bytes(4, "big") for number in range(400_000)) * len(words)

        @aq.flow
        def f():
            blown(words())
        """
    )
    refused: list[str] = []

    def full_once(call: str, path: str) -> None:
        if not refused and path.endswith(".pack"):
            refused.append(path)
            raise OSError(errno.ENOSPC, "full")

    with disk.observed(full_once), pytest.raises(Refused, match="no space left"):
        shop.run(keep_going=True)
    ended = [(one["step"], one["status"]) for one in shop.events if one["event"] == "step"]
    assert ended == [("f/words", "run"), ("f/blown", "failed")]
    shop.store.flush()
    assert not fsck(shop.store, full=True).problems
    assert states(shop.run()) == {"words": "run", "blown": "run"}


def test_retries_run_an_op_again_and_keep_both_logs(shop: Workshop) -> None:
    shop.write(
        """
        from pathlib import Path

        @aq.op(retries=2)
        def flaky(place: str):
            tries = Path(place)
            tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
            print("try", tries.read_text())
            if len(tries.read_text()) < 3:
                raise OSError("not yet")
            return len(tries.read_text())

        @aq.flow
        def f(place: str):
            flaky(place)
        """
    )
    done = shop.run({"place": str(shop.root / "tries.txt")})
    assert states(done) == {"flaky": "run"}
    assert shop.value(done, "f/flaky") == 3
    log = shop.log(done.steps[0].log)
    assert (
        "try x\n" in log and "OSError: not yet" in log and "attempt 1 of 3 failed" in log and "try xxx" in log
    )


def test_nothing_runs_where_something_is_wrong_beforehand(delays: Workshop) -> None:
    delays.replace("total(table, by=by)", 'total(table, by=by); total.named("late")(aq.read("b.csv"))')
    with pytest.raises(NotFound, match=r"no path 'b\.csv'"):
        delays.run()
    (delays.root / "b.csv").write_bytes(b"\0")
    delays.replace('aq.read("b.csv")', 'aq.read("b.bin")')
    delays.replace("def total(table,", "def total(table: pd.DataFrame,")
    (delays.root / "b.bin").write_bytes(b"\0")
    with pytest.raises(UsageError, match=r"b.bin is no table file .*annotate the argument as Path"):
        delays.run()
    assert not delays.events


def test_a_file_that_does_not_parse_fails_the_step_that_wants_it(delays: Workshop) -> None:
    (delays.root / "a.csv").write_text("")
    done = delays.run()
    assert states(done)["clean"] == "failed"
    assert done.error is not None and "a.csv cannot be read with pandas.read_csv" in done.error.error


def test_a_read_inside_an_op_is_refused(shop: Workshop) -> None:
    shop.write(
        """
        @aq.op
        def sly():
            return aq.read("a.csv")

        @aq.flow
        def f():
            sly()
        """
    )
    done = shop.run()
    assert done.error is not None
    assert "inside an op: read it in the flow and hand it to f/sly" in done.error.error


def test_errors_before_the_first_step_are_aq_errors(shop: Workshop) -> None:
    shop.write("@aq.flow\ndef f():\n    1 / 0\n")
    with pytest.raises(AqError, match=r"the flow f failed at flow\.py"):
        shop.run()
