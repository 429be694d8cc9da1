"""Inputs: what an op receives for which file or artifact under which annotation."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from aq.formats.errors import UsageError
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Step
from aq.pipeline.flow.hints import form, inside, tuple_width
from aq.pipeline.step import inputs
from aq.pipeline.step.parsing import file_kind, parser_for

from tests.pipeline.workshop import Workshop, reasons, states

TABLE = pa.table({"n": pa.array([1, None, 3], pa.int64()), "s": ["a", "b", "c"]})

ONE = """
    from pathlib import Path
    import pyarrow as pa
    import polars as pl

    @aq.op
    def take(x: ANNOTATION):
        print(type(x).__module__.partition(".")[0], type(x).__name__)
        return RESULT

    @aq.flow
    def f():
        take(aq.read(FILE))
"""


def files(folder: Path) -> None:
    pq.write_table(TABLE, folder / "t.parquet")
    feather.write_feather(TABLE, folder / "t.feather")
    rows = [{"n": 1, "s": "a"}, {"n": None, "s": "b"}, {"n": 3, "s": "c"}]
    (folder / "t.csv").write_text("n,s\n1,a\n,b\n3,c\n")
    (folder / "t.tsv").write_text("n\ts\n1\ta\n\tb\n3\tc\n")
    (folder / "t.csv.gz").write_bytes(gzip.compress(b"n,s\n1,a\n,b\n3,c\n"))
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.json").write_text(json.dumps(rows))
    (folder / "t.txt").write_text("grüße\n", encoding="utf-8")
    (folder / "t.bin").write_bytes(b"\xff\0")


def taken(shop: Workshop, annotation: str, file: str, result: str = "1") -> tuple[str, Any]:
    files(shop.root)
    text = ONE.replace("x: ANNOTATION" if not annotation else "ANNOTATION", annotation or "x")
    shop.write(text.replace("RESULT", result).replace("FILE", file if "," in file else repr(file)))
    done = shop.run()
    assert not done.failed, done.error
    log = next(one.log for one in done.steps if one.role == "op")
    return shop.log(log).strip(), shop.value(done, "f/take")


TABLES = ["t.csv", "t.tsv", "t.csv.gz", "t.jsonl", "t.json", "t.parquet", "t.feather"]


@pytest.mark.parametrize("file", TABLES)
@pytest.mark.parametrize(
    ("annotation", "kind", "rows"),
    [
        ("pd.DataFrame", "pandas DataFrame", "[len(x), float(x.n.sum())]"),
        ("pa.Table", "pyarrow Table", '[x.num_rows, float(sum(v for v in x["n"].to_pylist() if v))]'),
        ("pl.DataFrame", "polars DataFrame", '[len(x), float(x["n"].sum())]'),
    ],
)
def test_table_files_are_parsed_as_annotated(
    shop: Workshop, file: str, annotation: str, kind: str, rows: str
) -> None:
    assert taken(shop, annotation, file, rows) == (kind, [3, 4.0])


@pytest.mark.parametrize("file", ["t.csv", "t.jsonl", "t.parquet"])
def test_arrow_keeps_integers_with_nulls(shop: Workshop, file: str) -> None:
    assert taken(shop, "pa.Table", file, 'str(x.schema.field("n").type)')[1] == "int64"


@pytest.mark.parametrize(
    ("annotation", "file", "kind", "result", "value"),
    [
        ("", "t.csv", "pandas DataFrame", "len(x)", 3),
        ("", "t.json", "builtins list", 'x[0]["s"]', "a"),
        ("", "t.txt", "pathlib PosixPath", "x.name", "t.txt"),
        ("Path", "t.csv", "pathlib PosixPath", "[x.name, x.read_text()[:3]]", ["t.csv", "n,s"]),
        ("bytes", "t.bin", "builtins bytes", "list(x)", [255, 0]),
        ("bytes", "t.csv", "builtins bytes", "len(x)", 15),
        ("str", "t.txt", "builtins str", "x", "grüße\n"),
        ("list[dict]", "t.json", "builtins list", "len(x)", 3),
        ("pd.DataFrame | None", "t.csv", "pandas DataFrame", "len(x)", 3),
        ("'pd.DataFrame'", "t.csv", "pandas DataFrame", "len(x)", 3),
        ("pandas.DataFrame", "t.csv", "pandas DataFrame", "len(x)", 3),
    ],
)
def test_other_forms_follow_annotation_and_name(
    shop: Workshop, annotation: str, file: str, kind: str, result: str, value: Any
) -> None:
    assert taken(shop, annotation, file, result) == (kind, value)


def test_options_go_to_the_parser_and_into_the_key(shop: Workshop) -> None:
    assert taken(shop, "pd.DataFrame", '"t.csv", usecols=["s"]', "list(x.columns)")[1] == ["s"]
    shop.replace('usecols=["s"]', 'usecols=["n"]')
    done = shop.run()
    assert shop.value(done, "f/take") == ["n"]
    parse = next(one for one in done.steps if one.role == "parse")
    assert shop.step(parse).params["usecols"].startswith("['n'] ")


def test_parsing_is_a_step_with_a_key_that_runs_once(shop: Workshop) -> None:
    taken(shop, "pd.DataFrame", "t.csv", "len(x)")
    first = shop.run()
    (parse,) = [one for one in first.steps if one.role == "parse"]
    assert (parse.name, parse.status) == ("t.csv", "reused")
    assert first.counts()["total"] == 1
    step = shop.step(parse)
    assert (step.op, step.role, step.options["parser"]) == ("parse", "parse", "pandas.read_csv")
    assert step.packages == {"pandas": pd.__version__}
    assert get_record(shop.store, Artifact, step.outputs[0][1]).kind == "table"
    (shop.root / "t2.csv").write_bytes((shop.root / "t.csv").read_bytes())
    shop.replace("'t.csv'", "'t2.csv'")
    assert [one.status for one in shop.run().steps] == ["reused", "reused"]


def test_two_readers_of_one_file_share_its_parse(shop: Workshop) -> None:
    files(shop.root)
    shop.write(ONE.replace("ANNOTATION", "pd.DataFrame").replace("RESULT", "1").replace("FILE", '"t.csv"'))
    shop.replace("take(aq.read", 'take.named("b")(aq.read("t.csv")); take(aq.read')
    done = shop.run()
    assert [one.role for one in done.steps] == ["parse", "op", "op"]


def test_an_annotation_that_changes_the_form_reruns(shop: Workshop) -> None:
    taken(shop, "pd.DataFrame", "t.parquet")
    shop.replace("x: pd.DataFrame", "x: pa.Table")
    done = shop.run()
    assert states(done) == {"take": "run"}
    assert ("code", "as x: none → arrow") in reasons(done, "take")
    shop.replace("x: pa.Table", "x: 'pa.Table'")
    assert states(shop.run()) == {"take": "reused"}


def test_a_file_name_that_the_op_sees_is_part_of_its_key(shop: Workshop) -> None:
    taken(shop, "Path", "t.txt")
    (shop.root / "u.txt").write_bytes((shop.root / "t.txt").read_bytes())
    shop.replace("t.txt", "u.txt")
    assert reasons(shop.run(), "take") == [("code", "file x: t.txt → u.txt")]
    shop.replace("x: Path", "x: bytes")
    shop.run()
    shop.replace("u.txt", "t.txt")
    assert states(shop.run()) == {"take": "reused"}


def test_a_copy_is_read_only_and_gone_afterwards(shop: Workshop) -> None:
    _, (mode, place) = taken(shop, "Path", "t.txt", "[oct(x.stat().st_mode)[-3:], str(x)]")
    assert mode == "444"
    assert str(shop.root / ".aq" / "tmp") in place
    assert not Path(place).exists()


def test_text_that_is_none_fails_in_the_users_terms(shop: Workshop) -> None:
    files(shop.root)
    shop.write(ONE.replace("ANNOTATION", "str").replace("RESULT", "1").replace("FILE", '"t.bin"'))
    done = shop.run()
    assert done.error is not None
    assert done.error.error == "t.bin is no UTF-8 text: annotate x as bytes or Path"
    (shop.root / "t.json").write_text("{")
    shop.replace("x: str", "x")
    shop.replace('"t.bin"', '"t.json"')
    done = shop.run()
    assert done.error is not None and "t.json is no JSON document" in done.error.error


def test_a_path_that_an_op_returns_is_a_file_and_reaches_the_next_as_path(shop: Workshop) -> None:
    shop.write(
        """
        from pathlib import Path

        @aq.op
        def make(place: str) -> Path:
            Path(place).write_bytes(b"model")
            return Path(place)

        @aq.op
        def use(file):
            return file.read_bytes().decode()

        @aq.flow
        def f(place: str):
            use(make(place))
        """
    )
    done = shop.run({"place": str(shop.root / "m.bin")})
    assert shop.record(done, "f/make").kind == "file"
    assert shop.value(done, "f/use") == "model"


def test_containers_are_annotated_inside(shop: Workshop) -> None:
    files(shop.root)
    shop.write(
        """
        import pyarrow as pa

        @aq.op
        def names(*one: pa.Table, many: dict[str, pd.DataFrame], pair: tuple[pa.Table, pd.DataFrame]):
            return [type(x).__name__ for x in (*one, *many.values(), *pair)]

        @aq.flow
        def f():
            t = aq.read("t.csv")
            names(t, many={"a": t}, pair=(t, t))
        """
    )
    assert shop.value(shop.run(), "f/names") == ["Table", "DataFrame", "Table", "DataFrame"]


def test_a_table_that_is_made_reaches_the_next_as_annotated_pandas_by_default(shop: Workshop) -> None:
    shop.write(
        """
        import pyarrow as pa

        @aq.op
        def make() -> pa.Table:
            return pa.table({"a": [1]})

        @aq.op
        def kinds(a, b: pa.Table, c: pd.DataFrame):
            return [type(x).__module__.partition(".")[0] for x in (a, b, c)]

        @aq.flow
        def f():
            t = make()
            kinds(t, t, t)
        """
    )
    assert shop.value(shop.run(), "f/kinds") == ["pandas", "pyarrow", "pandas"]


def test_a_file_as_a_table_without_a_record(shop: Workshop) -> None:
    files(shop.root)
    with (shop.root / "t.csv").open("rb") as stream:
        from aq.formats.artifacts import values

        record = values.encode_file(stream, None, shop.store).artifact
    assert inputs.as_table(shop.store, record, "data/t.csv", "pandas").shape == (3, 2)
    assert inputs.as_table(shop.store, record, "data/t.csv", "arrow").num_rows == 3
    assert inputs.as_table(shop.store, record, "data/t.csv", "polars").height == 3
    with pytest.raises(UsageError, match="no table file"):
        inputs.as_table(shop.store, record, "data/t.bin", "pandas")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", ("csv", "")),
        ("A.CSV", ("csv", "")),
        ("a.csv.gz", ("csv", "gzip")),
        ("a.jsonl.zst", ("jsonl", "zstd")),
        ("data.v2/a.tsv", ("tsv", "")),
        ("a.parquet", ("parquet", "")),
        ("a.parquet.gz", None),
        ("a.gz", None),
        ("csv", None),
        ("a.csv/b", None),
        ("a.txt", None),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_name(name: str, kind: tuple[str, str] | None) -> None:
    assert file_kind(name) == kind


def test_the_parsers_name_their_libraries() -> None:
    assert parser_for("a.csv", "pandas").libraries == ("pandas",)
    assert parser_for("a.csv", "arrow").preset == {"dtype_backend": "pyarrow"}
    assert parser_for("a.parquet", "arrow").name == "pyarrow.parquet.read_table"
    assert parser_for("a.parquet", "pandas").name == "pandas.read_parquet"


class Frame(pd.DataFrame):
    """A subclass: still a table."""


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (pd.DataFrame, "pandas"),
        (Frame, "pandas"),
        (pa.Table, "arrow"),
        (pd.DataFrame | None, "pandas"),
        (int | pa.Table, "arrow"),
        (Path, "path"),
        (bytes, "bytes"),
        (str, "str"),
        (dict[str, int], "document"),
        (int, "native"),
        (None, "native"),
        (Any, "native"),
        ("pl.DataFrame", "polars"),
        ("polars.DataFrame", "polars"),
        ("Optional[pd.DataFrame]", "pandas"),
        ("None | 'pa.Table'", "arrow"),
        ("Annotated[Path, 'x']", "path"),
        ("np.ndarray", "native"),
        ("not python", "native"),
    ],
)
def test_the_form_of_an_annotation(annotation: Any, expected: str) -> None:
    assert form(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "key", "expected"),
    [
        (list[int], 3, int),
        (tuple[int, str], 1, str),
        (tuple[int, str], 2, None),
        (tuple[int, ...], 5, int),
        (dict[str, bytes], "a", bytes),
        ("list[pa.Table]", 0, "pa.Table"),
        ("dict[str, pa.Table]", "k", "pa.Table"),
        ("tuple[pa.Table, str]", 1, "str"),
        (list, 0, None),
        (None, 0, None),
    ],
)
def test_the_annotation_inside_a_container(annotation: Any, key: int | str, expected: Any) -> None:
    assert inside(annotation, key) == expected


@pytest.mark.parametrize(
    ("annotation", "width"),
    [
        (tuple[int, str], 2),
        (tuple[int, ...], None),
        (tuple, None),
        (int, None),
        ("Tuple[a, b, c]", 3),
        (None, None),
    ],
)
def test_the_width_of_a_tuple(annotation: Any, width: int | None) -> None:
    assert tuple_width(annotation) == width


def test_step_records_hold_no_path_of_this_machine(shop: Workshop) -> None:
    taken(shop, "Path", "t.txt")
    for one in shop.run().steps:
        assert isinstance(shop.step(one), Step)
        assert str(shop.root) not in repr(shop.step(one))
