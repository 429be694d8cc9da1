"""What is published when: accepted results stay so, adopting twice is nothing new, params keep their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aq
import pytest
from aq.tests.cli.shell import Done, Shell

FLOW = """
import aq

@aq.op
def product(text: str, depth):
    return len(text) * depth

@aq.metric(better="lower")
def size(product):
    return product / 100

@aq.check(severity="error")
def small(size):
    return size < 1

@aq.flow
def delays(depth: int = 3, name: str = "7", deep: bool = False):
    small(size(product(aq.read("data/t.txt"), depth)))
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.folder.mkdir()
    shell.aq("init")
    shell.write("p.py", FLOW)
    shell.write("data/t.txt", "12345")
    shell.aq("run", "p.py:delays")
    return shell


def done(told: Done) -> Any:
    (event,) = [event for event in told.events if event["event"] == "done"]
    return event


def test_nothing_stale_means_unchanged_also_where_a_check_was_accepted(shell: Shell) -> None:
    gated = done(shell.aq("run", "--json", "p.py", "-p", "depth=50", code=3))
    assert (gated["status"], gated["checks"]) == ("gated", {"delays/small": "failed"})
    taken = ("--accept", "small", "-m", "a short month")
    accepted = done(shell.aq("run", "--json", "p.py", "-p", "depth=50", *taken))
    assert (accepted["status"], accepted["checks"]) == ("committed", {"delays/small": "accepted"})
    assert not any(flow["stale"] for flow in shell.data("status")["flows"])
    again = done(shell.aq("run", "--json"))
    assert (again["status"], again["commit"]) == ("unchanged", accepted["commit"])
    assert again["checks"] == {"delays/small": "accepted"}
    shell.write("data/t.txt", "123456")
    assert done(shell.aq("run", "--json", code=3))["status"] == "gated"


def test_adopting_what_head_holds_is_nothing_to_commit(shell: Shell) -> None:
    run = done(shell.aq("run", "--json", "p.py", "-p", "depth=7", "--no-commit"))["run"]
    adopted = shell.data("commit", "--run", run, "-m", "deeper")
    assert shell.data("log")[0]["run"] == run
    assert shell.data("commit", "--run", run, "-m", "deeper")["id"] == adopted["id"]
    shell.aq("run")
    for again in (run, "run:last"):
        assert shell.data("commit", "--run", again, "-m", "deeper")["id"] == adopted["id"]


def test_params_are_what_they_are_in_json(shell: Shell) -> None:
    shell.aq("run", "p.py", "-p", "depth=6", "-p", "deep=yes")
    params = {"depth": 6, "name": "7", "deep": True}
    assert shell.data("runs")[0]["params"] == params
    assert shell.data("show")["run"]["params"] == params
    assert shell.data("diff", "HEAD~1..HEAD")["params"] == [
        {"name": "deep", "from": False, "to": True},
        {"name": "depth", "from": 3, "to": 6},
    ]
    assert "deep=true depth=6 name=7" in shell.aq("show").out
    assert done(shell.aq("run", "--json"))["params"] == {"depth": 6, "deep": True}


def test_a_step_that_wrote_nothing_has_an_empty_log(shell: Shell) -> None:
    told = shell.data("logs", "product")
    assert (told["text"], told["status"], told["inputs"][0]["path"]) == ("", "run", "data/t.txt")
    shell.aq("logs", "nothing", code=2)


UPSTREAM = """
import aq

@aq.op
def model(text: str, k):
    return len(text) * k

@aq.flow
def training(k: int = 1):
    model(aq.read("data/t.txt"), k)
"""
DOWNSTREAM = """
import aq

@aq.op
def guess(model):
    return model + 1

@aq.op
def other(text: str):
    return text[:1]

@aq.flow
def scoring():
    guess(aq.read("training/model"))
    other(aq.read("data/t.txt"))
"""


def test_a_plan_follows_what_flows_read_of_each_other(shell: Shell) -> None:
    shell.write("up.py", UPSTREAM)
    shell.write("down.py", DOWNSTREAM)
    shell.aq("run", "up.py")
    shell.aq("run", "down.py")

    def planned(*words: str) -> dict[str, str]:
        steps = shell.data("run", "-n", *words)["steps"]
        return {step["step"]: step["action"] for step in steps if not step["step"].startswith("delays/")}

    assert set(planned().values()) == {"reuse"}
    shell.write("up.py", UPSTREAM.replace("* k", "* k + 1"))
    assert planned() == {"training/model": "run", "scoring/guess": "run", "scoring/other": "reuse"}
    shell.aq("run")
    assert set(planned().values()) == {"reuse"}
    shell.write("up.py", UPSTREAM)
    assert set(planned().values()) == {"reuse"}, "A, B, A: all of it is known"
    told = [event for event in shell.aq("run", "--json").events if event["event"] == "step"]
    assert {event["status"] for event in told} == {"reused"}
    assert shell.aq("cat", "scoring/guess").out == "6\n"


def test_a_run_is_adopted_with_what_the_same_command_made_for_it(shell: Shell) -> None:
    shell.write("up.py", UPSTREAM)
    shell.write("down.py", DOWNSTREAM)
    shell.aq("run", "up.py")
    shell.aq("run", "down.py")
    shell.aq("run", "--no-commit", "-p", "k=4")
    assert shell.aq("cat", "run:last:scoring/guess").out == "21\n"
    shell.aq("commit", "--run", "run:last", "-m", "k is 4")
    assert shell.aq("cat", "HEAD:scoring/guess").out == "21\n"
    assert shell.data("log")[0]["flows"] == ["training", "scoring"]
    assert [one["stale"] for one in shell.data("status")["flows"]] == [[], [], []]
    assert {event["status"] for event in shell.aq("run", "--json").events if event["event"] == "done"} == {
        "unchanged"
    }
    assert shell.aq("cat", "HEAD:scoring/guess").out == "21\n", "k is that of the run that was adopted"


def test_a_tag_of_a_run_with_nothing_to_do_names_head(shell: Shell) -> None:
    head = shell.data("log")[0]["id"]
    told = done(shell.aq("run", "--tag", "v1", "--json"))
    assert (told["status"], told["commit"]) == ("unchanged", head)
    assert [(one["name"], one["commit"]) for one in shell.data("tag")] == [("v1", head)]
    assert shell.aq("run", "--tag", "v1", code=4).err.startswith("error: tag 'v1' is there already")
    shell.aq("undo")
    assert shell.data("tag") == []


def test_the_log_of_any_step_behind_a_revision(shell: Shell) -> None:
    shell.write("up.py", UPSTREAM.replace("return", "print(text)\n    return"))
    shell.aq("run", "up.py")
    assert shell.data("logs", "HEAD:model")["text"] == "12345\n"
    for step in ("product", "delays/product"):
        assert shell.data("logs", f"HEAD:{step}")["step"] == "delays/product"
    assert "did you mean" in shell.aq("logs", "HEAD:produc", code=2).err


def test_a_file_inside_a_flows_namespace_is_an_error(shell: Shell) -> None:
    shell.write("delays/own.txt", "mine")
    for words in (("run",), ("run", "-n"), ("add", "delays/own.txt"), ("add", ".")):
        assert "delays/own.txt lies in delays/" in shell.aq(*words, code=2).err
    hint = shell.aq("--json", "run", code=2).error["hint"]
    assert hint == "mv delays delays_files"
    (shell.folder / "delays").rename(shell.folder / "delays_files")
    shell.aq("add", ".")
    shell.aq("run")


def test_a_tag_without_a_commit_is_refused(shell: Shell) -> None:
    shell.aq("run", "--no-commit", "--tag", "v1", code=2)
    assert shell.data("tag") == []


def test_a_bound_is_a_number_beside_the_value(shell: Shell) -> None:
    bound = "bound = size.bound(below=.9, above=5)\n\n@aq.flow"
    shell.write("b.py", FLOW.replace("@aq.flow", bound).replace("small(size(", "bound(size("))
    gated = done(shell.aq("run", "--json", "b.py", code=3))
    (violation,) = gated["violations"]
    assert violation == {"check": "delays/size_holds", "value": 0.15, "bound": 0.9, "rows": None}
    (violation,) = done(shell.aq("run", "--json", "b.py", "-p", "depth=1000", code=3))["violations"]
    assert (violation["value"], violation["bound"]) == (50.0, 5.0)
    assert "(bound: 0.9)" in shell.aq("run", "b.py", code=3).out
    hint = shell.aq("--json", "run", "b.py", "--accept", "size_holds", code=2).error["hint"]
    assert hint == 'aq run b.py --accept size_holds -m "WHY"'


def test_a_plan_names_the_params_that_it_takes_over(shell: Shell) -> None:
    shell.aq("run", "p.py", "-p", "depth=4")
    assert "delays with depth=4, as in its last run" in shell.aq("run", "-n").err
    assert "depth=4" not in shell.aq("run", "-n", "-p", "depth=").err
    steps = shell.data("run", "-n", "-p", "depth=")["steps"]
    assert {step["action"] for step in steps} == {"reuse"}
    shell.aq("run", "-p", "depth=")
    assert shell.data("runs")[0]["params"]["depth"] == 3


def test_a_name_inside_a_flows_namespace_is_an_error(shell: Shell, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.csv"
    outside.write_text("a\n1\n")
    for name in ("delays/own", "delays", "other/own"):
        shell.write(
            "named.py",
            FLOW + f"\n@aq.op\ndef rows(own: str):\n    return own\n\n@aq.flow\ndef other():\n"
            f"    rows(aq.read({str(outside)!r}, name={name!r}))\n",
        )
        for words in (("run", "named.py"), ("run", "-n", "named.py"), ("run", "named.py:other")):
            told = shell.aq(*words, code=2).err
            assert f"{name} lies in {name.partition('/')[0]}/" in told and 'name="data/outside.csv"' in told
    repo = aq.open(shell.folder)
    for path in ("delays/own", "delays"):
        with pytest.raises(aq.AqError, match=f"{path} lies in delays/"):
            repo.commit({path: 1})
    shell.aq("run")


@pytest.mark.parametrize("target", [".", "sub"])
def test_a_folder_is_no_file_of_flows(shell: Shell, target: str) -> None:
    (shell.folder / "sub").mkdir()
    told = shell.aq("--json", "run", target, code=2).error
    assert told["message"] == f"{target} is a folder: a flow is defined in a .py file"
    assert told["hint"].startswith("aq run ")


def test_what_is_imported_for_a_type_checker_alone_is_kept_and_leaves_metrics_current(shell: Shell) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from types_of import Row\n"
    shell.write("types_of.py", "from deeper import Row\n")
    shell.write("deeper.py", "class Row: pass\n")
    shell.write("p.py", typed + FLOW)
    first = done(shell.aq("run", "p.py", "--json"))
    assert first["status"] == "committed"
    assert {"types_of.py", "deeper.py"} <= {one["path"] for one in shell.data("ls")}
    assert shell.data("log")[0]["metrics"] == {"delays/size": 0.15}
    again = done(shell.aq("run", "--json"))
    assert (again["status"], again["commit"]) == ("unchanged", first["commit"])
    shell.write("deeper.py", "class Row: height = 1\n")
    assert done(shell.aq("run", "--json"))["steps"]["run"] == 0
    assert done(shell.aq("run", "--json"))["status"] == "unchanged"
