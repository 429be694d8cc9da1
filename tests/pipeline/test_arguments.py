"""What is no argument of a public function is refused in one line, before anything happens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aq
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq import checks
from aq.formats import arguments
from aq.formats.errors import AqError, UsageError
from aq.pipeline.look.face import Artifact
from aq.pipeline.look.selection import Parts
from aq.pipeline.repo import Repo
from aq.pipeline.run.asked import Asked

from tests.pipeline.repository import create

BAD = [
    5,
    -1,
    1.5,
    b"x",
    [5],
    {5: 5},
    object(),
    (1, 2),
    {1},
    "\ud800",
    "a\0b",
    "x\ny",
    Path("x"),
    True,
    float("nan"),
]
NEEDED: dict[str, dict[str, Any]] = {
    "add": {"paths": "d.csv"},
    "remove": {"paths": "d.csv"},
    "get": {"spec": "f/a"},
    "cat": {"spec": "d.csv"},
    "blame": {"spec": "d.csv"},
    "switch": {"branch": "main"},
    "merge": {"rev": "HEAD"},
    "restore": {"paths": "d.csv"},
    "logs": {"spec": "a"},
    "lineage": {"spec": "f/a"},
    "bisect": {"metric": "m"},
    "run": {"target": "flow.py"},
    "save": {"path": "copy"},
}
FLOW = """
import aq

@aq.op
def a(x: int): return x
@aq.metric
def m(a): return float(a)
@aq.flow
def f(n: int = 2): m(a(n))
"""


def methods(owner: type) -> Iterator[tuple[str, dict[str, str]]]:
    """Each public method with its parameters and how they are annotated."""
    for name, method in inspect.getmembers(owner, inspect.isfunction):
        if not name.startswith("_"):
            found = {}
            for one in list(inspect.signature(method).parameters.values())[1:]:
                if one.kind is one.VAR_KEYWORD:
                    rest = {"Unpack[Asked]": Asked, "Unpack[Parts]": Parts}[one.annotation]
                    found |= {key: kind.__forward_arg__ for key, kind in rest.__annotations__.items()}
                else:
                    found[one.name] = one.annotation
            yield name, found


def test_every_annotation_is_known() -> None:
    kinds = {kind for owner in (Repo, Artifact) for _, found in methods(owner) for kind in found.values()}
    for kind in kinds:
        with pytest.raises(UsageError, match=r"^f\(x=…\) takes .*, not an object$"):
            arguments.require("f", "x", kind, object())
            assert kind in arguments.UNCHECKED
            raise UsageError("f(x=…) takes anything, not an object")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    (tmp_path / "r").mkdir()
    monkeypatch.chdir(tmp_path / "r")
    repo = create(tmp_path / "r")
    (repo.root / "flow.py").write_text(FLOW)
    (repo.root / "d.csv").write_text("a,b\n1,2\n")
    repo.add(["d.csv"])
    repo.commit(message="data")
    repo.run("flow.py")
    return repo


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    """The one line of a refusal; anything but a result and an AqError fails the test."""
    try:
        call(*args, **kwargs)
    except AqError as error:
        assert error.message and "\n" not in error.message
        return error.message
    return None


@pytest.mark.parametrize("owner", [Repo, Artifact])
def test_whatever_a_method_is_given_it_answers_or_refuses(repo: Repo, owner: type) -> None:
    told = 0
    for name, found in methods(owner):
        if name in ("transaction", "progress", "close", "worker", "repro"):
            continue
        for parameter in found:
            for bad in BAD:
                one = repo if owner is Repo else repo.get("d.csv")
                method = getattr(one, name)
                rest = {key: value for key, value in NEEDED.get(name, {}).items() if key != parameter}
                if parameter == "names":
                    told += bool(refused(method, "list", bad))
                else:
                    told += bool(refused(method, **{**rest, parameter: bad}))
    assert told > 100


def test_it_says_which_one_and_what_it_takes(repo: Repo) -> None:
    assert refused(repo.get, 5) == "get(spec=…) takes a text, not 5 (int)"
    assert refused(repo.add, [b"d.csv"]) == "b'd.csv' (bytes) is no path: use texts and pathlib.Path"
    message = "commit(keys=…) takes a dict from path to a list of columns or None, not a list"
    assert refused(repo.commit, {"x": 1}, keys=["id"]) == message
    assert (
        refused(lambda: repo.run("flow.py", jobs="2"))
        == "run(jobs=…) takes a whole number or None, not '2' (str)"
    )
    for columns in (["a"], ("a",), pd.Index(["a"]), np.array(["a"])):
        assert repo.get("d.csv").to_pandas(columns=columns).shape == (1, 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'job'"):
        repo.run(job=None)
    assert [one.message for one in repo.log()] == ["run f: 2 ran, 0 reused, m 2", "data"]


def decorated(role: str, **options: Any) -> Any:
    return getattr(aq, role)(**options)(lambda x: x)


READY: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (aq.read, (), "path"),
    (aq.read, ("d.csv",), "name"),
    (aq.open, (), "path"),
    (checks.rows, (), "at_least"),
    (checks.nulls, (), "at_most"),
    (checks.isin, ("a",), "values"),
    (checks.matches, ("a",), "pattern"),
    (checks.schema, (), "columns"),
    (checks.drift, (), "alarm"),
    (checks.drift, (), "psi"),
    (checks.fresh, ("a",), "within"),
]


def test_decorators_and_ready_checks_refuse_as_well(repo: Repo) -> None:
    names = ["name", "outputs", "key", "rowwise", "retries", "timeout", "memory", "cache", "seed", "version"]
    names += ["variables", "tags", "better", "was", "severity"]
    score = aq.metric(name="score")(lambda value: value)
    for bad in BAD:
        for name in names:
            for role in ("op", "metric", "check"):
                refused(decorated, role, **{name: bad})
        for name in ("name", "partition"):
            refused(decorated, "flow", **{name: bad})
        for name in ("below", "above", "key", "severity", "name"):
            refused(score.bound, **{"below": 1, name: bad})
        for function, args, name in READY:
            refused(function, *args, **{name: bad})
    wanted = "5 cannot name the metric: use letters, digits and '_-.', as in @aq.metric(name=\"total\")"
    assert refused(score.named, 5) == wanted
    assert refused(decorated, "op", tags=5) == "@aq.op(tags=…) takes a text or a list of texts, not 5 (int)"


def test_a_table_without_a_name_is_no_list_of_its_columns(tmp_path: Path) -> None:
    with create(tmp_path / "r") as repo:
        for table in (pd.DataFrame({"id": [1]}), pa.table({"id": [1]})):
            with pytest.raises(
                UsageError, match=r"takes a dict or a path or several or None, not a "
            ) as caught:
                repo.commit(table)
            assert caught.value.hint == 'repo.commit({"NAME": table})'
