"""Files, values, steps and runs, each broken in one way."""

from __future__ import annotations

import msgspec
from aq.formats.contents.files import put_text_part
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.python.pickles import encode_pickle
from aq.formats.records import Commit, Run, RunStep, Step
from aq.formats.trees.prolly import build_list
from aq.store.commits import history, snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Origin

from tests.store.breaking import (
    Broken,
    breaks,
    commit_of,
    found_in,
    given,
    listed,
    put,
)
from tests.store.folder import Bench


@breaks("I30")
def too_much_in_a_record(bench: Bench) -> Broken:
    data = bytes(65_536)
    return given(bench, "lie in the record itself", kind="file", format="bytes", size=65_536, data=data)


@breaks("I30")
def too_little_in_chunks(bench: Bench) -> Broken:
    root = build_list(bench.store, put_text_part(bench.store, b"x"))
    return given(bench, "do not lie in the record itself", kind="file", format="bytes", size=1, root=root)


@breaks("I30")
def nowhere(bench: Bench) -> Broken:
    return given(bench, "not exactly one of data and root", format="json", size=1)


def pieces(bench: Bench, *cuts: bytes, last_goes_on: bool = False, more: int = 0) -> Digest:
    elements = []
    for at, cut in enumerate(cuts):
        goes_on = at < len(cuts) - 1 or last_goes_on
        length = len(cut) + more | goes_on << 31
        elements.append(bytes(bench.store.put(Kind.CHUNK, cut)) + length.to_bytes(4, "little"))
    return build_list(bench.store, elements)


@breaks("I31")
def a_piece_with_another_length(bench: Bench) -> Broken:
    root = pieces(bench, bytes(65_536), more=1)
    id = put(bench, kind="file", format="bytes", size=65_537, root=root)
    commit_of(bench, id)
    return Broken("has 65536 bytes instead of 65537", root.hex(), "data/odd", full=True, commit=True)


@breaks("I31")
def cut_elsewhere(bench: Bench) -> Broken:
    root = pieces(bench, bytes(70_000), bytes(70_000))
    return given(
        bench,
        "not cut where its content says",
        full=True,
        kind="file",
        format="bytes",
        size=140_000,
        root=root,
    )


@breaks("I31")
def a_part_without_an_end(bench: Bench) -> Broken:
    root = pieces(bench, bytes(70_000), last_goes_on=True)
    return given(bench, "does not end a part", kind="file", format="bytes", size=70_000, root=root)


@breaks("I32")
def another_size(bench: Bench) -> Broken:
    return given(bench, "it holds 1 bytes instead of 2", format="json", size=2, data=b"1")


@breaks("I33")
def json_with_a_space(bench: Bench) -> Broken:
    return given(bench, "not the one in which its value is written", format="json", size=4, data=b"[1 ]")


@breaks("I33")
def json_that_is_none(bench: Bench) -> Broken:
    return given(bench, "a JSON value cannot be read", format="json", size=2, data=b"[1")


@breaks("I33")
def json_in_chunks(bench: Bench) -> Broken:
    text = b'["' + b"a" * 70_000 + b'" ]'
    root = build_list(bench.store, put_text_part(bench.store, text))
    return given(bench, "not the one in which", full=True, format="json", size=len(text), root=root)


@breaks("I33")
def a_metric_of_words(bench: Bench) -> Broken:
    better = {"better": "higher"}
    return given(bench, "other than a number", format="metric", size=3, data=b'"a"', type=better)


@breaks("I33")
def a_metric_without_a_direction(bench: Bench) -> Broken:
    return given(bench, "which direction", format="metric", size=1, data=b"1", type={"better": "up"})


def array(bench: Bench, detail: str, dtype: object, shape: object, data: bytes) -> Broken:
    information = {"dtype": dtype, "shape": shape}
    fields = {"kind": "array", "format": "array", "type": information}
    return given(bench, detail, size=len(data), data=data, **fields)


@breaks("I34")
def an_array_with_too_few_bytes(bench: Bench) -> Broken:
    return array(bench, "which its dtype and shape do not give", "<f8", [2], bytes(8))


@breaks("I34")
def an_array_of_objects(bench: Bench) -> Broken:
    return array(bench, "dtype or shape is none of an array", "|O", [1], bytes(8))


@breaks("I34")
def padding_that_holds_something(bench: Bench) -> Broken:
    return array(bench, "padding is not zero", [["a", "|u1"], ["", "|V1"]], [1], b"\1\1")


@breaks("I35")
def a_pickle_with_a_buffer_too_many(bench: Bench) -> Broken:
    import pickle

    opcodes = b"\x80\x05N."
    data = msgspec.msgpack.encode([opcodes, b"more"])
    assert pickle.loads(opcodes) is None
    return given(bench, "name 0 buffers, and it has 1", format="pickle", size=8, data=data)


@breaks("I35")
def a_pickle_that_names_another_artifact(bench: Bench) -> Broken:
    other = put(bench, format="json", size=1, data=b"1")
    artifact, _summary = encode_pickle([object, 1j], bench.store, outside=lambda value: None)
    wrong = msgspec.structs.replace(artifact, type={"artifacts": [bytes(other)]})
    id = put_record(bench.store, wrong)
    commit_of(bench, id)
    return Broken("other artifacts than its type", id.hex(), "data/odd", commit=True)


@breaks("I35")
def a_pickle_that_aq_does_not_write(bench: Bench) -> Broken:
    data = msgspec.msgpack.encode([b"cos\nsystem\n(S'true'\ntR."])
    return given(bench, "opcodes", format="pickle", size=23, data=data)


@breaks("I50")
def a_key_of_other_parts(bench: Bench) -> Broken:
    (id,) = listed(bench, Step(key=bytes(32), op="odd"))
    return Broken("its key is not that of its parts", id.hex())


def run_of(bench: Bench, *steps: RunStep, detail: str) -> Broken:
    root = snapshots.empty(bench.store)
    run = put_record(
        bench.store, Run(flow="f", file="f.py", time=1, status="failed", snapshot=root, steps=list(steps))
    )
    record = Commit(snapshot=root, time=10**18, author="a", message="m", runs=[bytes(run)])
    commit = put_record(bench.store, record)
    bench.refs({history.head(bench.store).branch or "HEAD": Ref(commit)})
    return Broken(detail, run.hex(), commit=True)


@breaks("I51")
def a_step_that_ran_without_one(bench: Bench) -> Broken:
    return run_of(bench, RunStep(name="f/a", status="run"), detail="does not name what this goes with")


@breaks("I51")
def a_reused_attempt(bench: Bench) -> Broken:
    (attempt,) = listed(bench, Step(key=bytes(32), op="f"))
    one = RunStep(name="f/a", status="reused", step=bytes(attempt))
    return run_of(bench, one, detail="names one without outputs")


@breaks("I52")
def another_output(bench: Bench) -> Broken:
    one, two = (put(bench, format="json", size=1, data=text) for text in (b"1", b"2"))
    (step,) = listed(bench, Step(key=bytes(32), op="f", outputs=[("", bytes(one))]))
    commit_of(bench, two, "f/g", origin=Origin.MADE, step=step)
    return Broken("f/g is no output of its step", commit=True)


@breaks("I53")
def a_step_before_its_input(bench: Bench) -> Broken:
    one, two = (bytes(put(bench, format="json", size=1, data=text)) for text in (b"1", b"2"))
    first = Step(key=bytes([1] * 32), op="f", outputs=[("", one)])
    second = Step(key=bytes([2] * 32), op="g", inputs={"x": one}, outputs=[("", two)])
    ids = [bytes(id) for id in listed(bench, first, second)]
    order = [
        RunStep(name=name, status="run", step=id)
        for name, id in zip(("f/late", "f/first"), reversed(ids), strict=True)
    ]
    assert run_problems(bench, list(reversed(order))) == []
    return run_of(bench, *order, detail="f/late takes x from f/first, which comes later")


def run_problems(bench: Bench, steps: list[RunStep]) -> list[str]:
    run_of(bench, *steps, detail="")
    return [problem.detail for problem in found_in(bench, full=True)]
