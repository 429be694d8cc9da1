"""What goes over the wire comes out as it went in, names that are no UTF-8 included."""

from __future__ import annotations

import pytest
from aq.formats.errors import AqError, Damaged, Refused, UsageError
from aq.formats.identity import Digest, Kind
from aq.formats.records import Step
from aq.pipeline.code.hidden_reads import Seen
from aq.pipeline.processes import wire
from aq.pipeline.processes.matching import Needs
from aq.pipeline.processes.relay import Packed
from aq.pipeline.processes.task import Answer, Code, Parsing, Task
from aq.pipeline.step.execute import Outcome
from aq.pipeline.step.execution import Failure
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.parsing import Parser
from hypothesis import given, strategies as st

ID = Digest(bytes(range(32)))
NAMES = st.text(st.characters(codec="utf-8")) | st.sampled_from(["\udcff", "a\udc80b", "\\udcff", "é\udcfe"])
IDS = st.binary(min_size=32, max_size=32).map(Digest)


def again(message: wire.Message) -> wire.Message:
    text = wire.line(message)
    assert text.endswith(b"\n") and text.count(b"\n") == 1
    return wire.read(text)


@given(NAMES, NAMES, IDS, st.binary())
def test_a_task_comes_out_as_it_went_in(name: str, text: str, id: Digest, data: bytes) -> None:
    code = Code("", bytes(id), name, "f", {name: text}, folders=(text,))
    task = Task(
        name,
        inputs={name: Input(name, text, id, "native", name)},
        params={text: name},
        seed=2**64 - 1,
        last=bytes(id),
        carried=(Packed(Kind.CHUNK, data, bytes(id)),),
        parsing=Parsing(bytes(id), Parser("pandas.read_csv", {"sep": "\t"}, "", ("pandas",)), 1, name),
        record=Step(key=bytes(id), op=name, inputs={text: bytes(id)}, outputs=[(name, bytes(id))]),
        timeout=0.1,
        memory=2**40,
        needs=Needs("3.11", {name: text}, {}, {text: name}, {name: name}),
    )
    found = again(wire.Give(1, task, code))
    assert isinstance(found, wire.Give) and (found.task, found.code) == (task, code)
    assert isinstance(found.task.inputs[name].artifact, Digest)


@given(NAMES, IDS, st.binary(), st.floats(0, 1e9))
def test_an_answer_comes_out_as_it_went_in(name: str, id: Digest, data: bytes, seconds: float) -> None:
    failure = Failure(name, "op_failed", name, name, id)
    outcome = Outcome([(name, id)], failure, id, (name,), Seen({name: name}, [(name, name)]))
    summaries = ((bytes(id), {"mean": float("inf"), "rows": 2**60, "bytes": data}),)
    answer = Answer(outcome, (Packed(Kind.NODE, data),), summaries, seconds, data, name)
    found = again(wire.done(7, answer))
    assert isinstance(found, wire.Done) and wire.answer(found) == answer


@pytest.mark.parametrize("kind", [UsageError, Refused, Damaged])
def test_an_error_is_raised_as_what_it_was(kind: type[AqError]) -> None:
    found = again(wire.wrong(1, kind("no space", hint=["aq gc", "aq du"])))
    assert isinstance(found, wire.Wrong)
    error = wire.raised(found)
    assert type(error) is kind and (error.message, error.hints) == ("no space", ("aq gc", "aq du"))
    other = again(wire.wrong(1, MemoryError()))
    assert isinstance(other, wire.Wrong) and isinstance(wire.raised(other), wire.WorkerError)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"type":"task"}', b'{"type":"\\udcff"}', b"\xff", b"{"]
)
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        wire.read(text)
