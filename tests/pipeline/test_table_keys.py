"""Declared keys: which columns they may name, what is refused, and what repeated or missing ones mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.errors import AqError, NotFound, UsageError
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create
from tests.pipeline.workshop import Workshop


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return create(tmp_path)


def table(ids: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "v": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize(
    ("value", "keys", "error", "message"),
    [
        (table([1, 2, 3]), {"t": ["nobody"]}, NotFound, "'nobody' is not in the table; it has id, v"),
        (
            table([1, 2, 3]),
            {"t": ["idd"]},
            NotFound,
            "value 't': the key column 'idd' is not in the table (did you",
        ),
        (table([1, 2, 3])[[]], {"t": ["id"]}, NotFound, "'id' is not in the table, which has no columns"),
        (table([1, 2, 3]), {"t": ["id", "id"]}, UsageError, "value 't': a key column is named twice"),
        (
            table([1, 2, 3]),
            {"t": 1},
            UsageError,
            "takes a dict from path to a list of columns or None, not {'t': 1}",
        ),
        (table([1, 2, 3]), {"u": ["id"]}, UsageError, "keys= names 'u', which is not among the values"),
        ({"id": 1}, {"t": ["id"]}, UsageError, "value 't' is no table: it has no key columns"),
    ],
)
def test_a_key_that_cannot_be_is_refused_in_a_line(
    repo: Repo, value: Any, keys: Any, error: type[AqError], message: str
) -> None:
    with pytest.raises(error) as caught:
        repo.commit({"t": value}, keys=keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(repo.log())


@pytest.mark.parametrize(
    "given",
    [
        table([1, 2, 3]),
        table([1, 2, 3]).set_index("id"),
        table([1, 2, 9]).set_index("id"),
        table([1, 2, 3]).set_index(["id", "v"]),
        pa.Table.from_pandas(table([1, 2, 3]), preserve_index=False),
    ],
)
@pytest.mark.parametrize("key", ["id", ["id"]])
def test_a_key_names_a_column_or_a_level_of_the_index(repo: Repo, given: Any, key: Any) -> None:
    repo.commit({"t": given}, keys={"t": key})
    back = repo.get("t")
    assert back.to_arrow().column("id").to_pylist()[:2] == [1, 2]
    if isinstance(given, pd.DataFrame):
        pd.testing.assert_frame_equal(back.to_pandas(), given, check_index_type="exact")


def test_a_label_that_is_no_text_is_named_as_it_is(repo: Repo) -> None:
    frame = table([1, 2, 3]).set_axis([0, 1], axis=1)
    repo.commit({"t": frame}, keys={"t": [0]})
    pd.testing.assert_frame_equal(repo.get("t").to_pandas(), frame)


@pytest.mark.parametrize("ids", [[1, 2, 3], [1, 1, 1], [1, None, None], ["a", None, "a"]])
def test_rows_of_one_key_are_paired_in_order(repo: Repo, ids: list[Any]) -> None:
    before = table(ids)
    after = before.copy()
    after.loc[1, "v"] = 9.0
    repo.commit({"t": before}, keys={"t": ["id"]})
    repo.commit({"t": after}, keys={"t": ["id"]})
    (path,) = repo.diff("HEAD~1", "HEAD").paths
    rows = path.detail["rows"]
    assert (rows["by"], rows["changed"], rows["added"], rows["removed"]) == ("key", 1, 0, 0)


def test_a_key_is_part_of_what_is_committed(repo: Repo) -> None:
    frame = table([1, 2, 3])
    ids = []
    for keys in (None, {"t": ["id"]}, {"t": ["v"]}, {"t": ["id", "v"]}, {"t": ["v", "id"]}):
        repo.commit({"t": frame}, keys=keys)
        ids.append(str(repo.get("t").id))
    assert len(set(ids)) == 5


KEYED = """
    @aq.op(key=KEY)
    def table():
        return pd.DataFrame({"id": [1, 1, None], "v": [1.0, 2.0, 3.0]}).set_index("v")

    @aq.flow
    def f():
        table()
"""


@pytest.mark.parametrize("key", ['["id"]', '["id", "v"]', '["v"]'])
def test_the_key_of_an_op_is_its_table_s(shop: Workshop, key: str) -> None:
    shop.write(KEYED.replace("KEY", key))
    done = shop.run()
    assert done.error is None
    assert shop.record(done, "f/table").type["key"] == json.loads(key)


@pytest.mark.parametrize(
    ("key", "said"),
    [('["nobody"]', "the key column 'nobody' is not in the table; it has id, v"), ('["id", "id"]', "twice")],
)
def test_a_wrong_key_of_an_op_fails_its_step_in_a_line(shop: Workshop, key: str, said: str) -> None:
    shop.write(KEYED.replace("KEY", key))
    done = shop.run()
    assert done.error is not None
    assert said in done.error.error
    assert "\n" not in done.error.error.strip()
