"""What an op returned, on its way into the store.

Invariant: outputs keep the order in which the op declares them; the number of outputs is the
declared one. A path is stored as the file's bytes or the folder's files, a figure as a PNG, the batches
that a generator gives as one table; memory does not grow with any of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aq.formats.artifacts import values
from aq.formats.artifacts.values import Encoded, Metric
from aq.formats.classes import module_of
from aq.formats.errors import Damaged, Unstorable, UsageError, with_article
from aq.formats.identity import Digest
from aq.formats.objects import Like, get_record, put_record
from aq.formats.records import Artifact, Step
from aq.pipeline.flow import placing
from aq.pipeline.flow.graph import Node
from aq.pipeline.flow.measures import Verdict
from aq.pipeline.step import figures
from aq.pipeline.step.execution import StepStore

if TYPE_CHECKING:
    from aq.formats.tables import EncodedTable

Outputs = list[tuple[str, Digest]]


def finished(result: Any) -> Any:
    """The result of a plain call; a coroutine is run to its end."""
    if not inspect.isawaitable(result):
        return result
    import asyncio

    return asyncio.run(_awaited(result))


async def _awaited(result: Any) -> Any:
    return await result


class Drawn(NamedTuple):
    """A table that is stored already: what a generator gave batch by batch, or what stands for a result."""

    id: Digest


def drawn(store: StepStore, node: Node, result: Any, last: bytes | None) -> Any:
    """The result with what its generators give in their place. Raises what the op's code raises."""
    if node.outputs == ("",):
        return _drawn(store, node, result, "", last)
    if isinstance(result, tuple | list) and len(result) == len(node.outputs):
        pairs = zip(result, node.outputs, strict=True)
        return [_drawn(store, node, value, output, last) for value, output in pairs]
    return result


def _drawn(store: StepStore, node: Node, value: Any, output: str, last: bytes | None) -> Any:
    if node.role != "op" or not _is_stream(value):
        return value
    from aq.formats.tables.streamed import encode_batches

    like = earlier(store, last).get(output)
    try:
        encoded = encode_batches(value, store, key=node.op.options.key, like=like)
    except Unstorable as error:
        raise Unstorable(f"{_place(node, output)}: {error.message}") from error.__cause__
    return stored(store, encoded)


def stored(store: StepStore, encoded: EncodedTable) -> Drawn:
    """A table whose parts are stored already, with its record and summary."""
    id = put_record(store, encoded.artifact)
    if store.summary(id) is None:
        store.put_summary(id, encoded.summary)
    return Drawn(id)


def _is_stream(value: Any) -> bool:
    kind = type(value)
    is_reader = module_of(kind).startswith("pyarrow.") and kind.__name__ == "RecordBatchReader"
    return is_reader or inspect.isgenerator(value)


def _place(node: Node, output: str) -> str:
    return f"the output {output} of {node.op.name}" if output else f"the result of {node.op.name}"


def store_outputs(store: StepStore, node: Node, result: Any, last: bytes | None = None) -> Outputs:
    """Store the results of an op; `last`: the step that made them before, which they may resemble.

    Raises UsageError for their number, Unstorable for a value.
    """
    likes = earlier(store, last)
    if node.outputs == ("",):
        return [("", put(store, result, node.op.options.key, _place(node, ""), likes.get("")))]
    if not isinstance(result, tuple | list) or len(result) != len(node.outputs):
        raise _wrong_number(node, result)
    key = node.op.options.key
    return [
        (output, put(store, value, key, _place(node, output), likes.get(output)))
        for output, value in zip(node.outputs, result, strict=True)
    ]


def _wrong_number(node: Node, result: Any) -> UsageError:
    several = isinstance(result, tuple | list)
    found = f"{len(result)} values" if several else with_article(type(result).__name__)
    wanted = len(node.outputs)
    return UsageError(
        f"{node.op.name} declares {wanted} outputs ({', '.join(node.outputs)}), but returned {found}: "
        f"return a tuple of {wanted}"
    )


def store_metric(store: StepStore, node: Node, result: Any) -> Outputs:
    """Store a metric's value. Raises Unstorable for what is no number."""
    metric = Metric(result, better=node.op.options.better or "")
    return [("", put(store, metric, (), f"the result of {node.op.name}"))]


def store_check(store: StepStore, node: Node, verdict: Verdict, evidence: Any) -> Outputs:
    """Store a check's verdict and the rows that failed."""
    outputs = [("", put(store, msgspec.to_builtins(verdict), (), node.op.name))]
    if evidence is not None:
        outputs.append(("rows", put(store, evidence, (), f"the failing rows of {node.op.name}")))
    return outputs


def earlier(store: StepStore, step: bytes | None) -> dict[str, Like]:
    """The outputs of a step by name; none where they cannot be read."""
    if step is None:
        return {}
    try:
        outputs = get_record(store, Step, step).outputs
        return {name: Like(get_record(store, Artifact, id), store) for name, id in outputs}
    except Damaged:
        return {}


def put(store: StepStore, value: Any, key: Sequence[str], at: str, like: Like | None = None) -> Digest:
    """Store one value with its summary; with `like` it takes less space where it resembles that."""
    if isinstance(value, Drawn):
        return value.id
    if isinstance(value, PurePath) and Path(value).is_dir():
        return placing.store_folder(store, Path(value), at)
    encoded = _encode(store, value, key, at, like)
    if encoded.summary and store.summary(encoded.id) is None:
        store.put_summary(encoded.id, encoded.summary)
    return encoded.id


def _encode(store: StepStore, value: Any, key: Sequence[str], at: str, like: Like | None) -> Encoded:
    if isinstance(value, PurePath):
        return _file(store, Path(value), at, like)
    if figures.is_figure(value):
        stream = figures.png(value)
        return values.encode_file(stream, stream.getbuffer().nbytes, store)
    return values.encode(value, store, key=key, at=at, like=like)


def _file(store: StepStore, path: Path, at: str, like: Like | None) -> Encoded:
    try:
        with path.open("rb") as stream:
            return values.encode_file(stream, path.stat().st_size, store, like=like)
    except OSError as error:
        raise Unstorable(f"{at} is the path {path}, which cannot be read: {error.strerror}") from None
