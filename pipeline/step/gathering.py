"""All partitions of a path at once: `delays/*/predictions`.

Invariant: what comes of the same parts, under the same partitions, is one artifact; it is made by a step,
once. Tables become one table with the partitions' values as columns, anything else a dict by partition.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aq.formats import partitions
from aq.formats.classes import module_of
from aq.formats.errors import NotFound, Unstorable, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source, get_record, put_record
from aq.formats.records import Artifact, Run, Step
from aq.pipeline.code.environs import packages_now
from aq.pipeline.step.keys import step_key
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Origin

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from aq.store.store import Store

VERSION: Final = "1"
OP: Final = "partitions"
"""The op of a step that brings partitions together."""
Runs = Mapping[str, bytes | Mapping[str, Any]]
"""{space: its newest run, or the typed params of one to be}: what tells a text of digits from a number."""


class Parts(NamedTuple):
    """{space: artifact}, from the smallest partition to the largest. `texts`: params whose values look like
    something else in all of them, and are texts all the same.
    """

    artifacts: Mapping[str, Digest]
    texts: tuple[str, ...] = ()


class Gathered(NamedTuple):
    """What came of a pattern: the artifact, and the step that made it of its parts."""

    artifact: Digest
    step: Digest


def is_pattern(path: str) -> bool:
    """Whether a path of a revision means many partitions: no made path holds a `*`."""
    return "*" in path and "*" not in path.partition("/")[0]


def means(pattern: str, path: str) -> bool:
    """Whether a made path is one of those that a pattern means."""
    wanted, rest = partitions.pattern_of(pattern)
    space, inside = partitions.split(path)
    return inside == rest and bool(partitions.names(space)) and partitions.matches(space, wanted)


def parts(
    source: Source, snapshot: bytes, path: str, runs: Runs, also: Mapping[str, Digest] | None = None
) -> Parts:
    """The artifacts that a pattern means in a snapshot, and among `also`, made paths of a run to be."""
    prefix = partitions.flow_of(path) + "/"
    made = {
        there: Digest(entry.artifact)
        for there, entry in snapshots.entries(source, snapshot, prefix=prefix)
        if entry.origin is Origin.MADE
    }
    known = {**made, **(also or {})}
    found = {partitions.space_of(there): known[there] for there in known if means(path, there)}
    ordered = {space: found[space] for space in sorted(found, key=partitions.order)}
    return Parts(ordered, _texts(source, list(ordered), runs))


def _texts(source: Source, spaces: Sequence[str], runs: Runs) -> tuple[str, ...]:
    """The params that only the runs tell to be texts: one run that says so is enough."""
    looks = {name for name, values in columns(spaces).items() if not all(type(one) is str for one in values)}
    told = set[str]()
    for space in spaces if looks else ():
        if space in runs:
            run = runs[space]
            typed = get_record(source, Run, run).typed if isinstance(run, bytes) else run
            told |= {name for name in looks - told if isinstance(typed.get(name), str)}
        if told == looks:
            break
    return tuple(sorted(told))


def require(found: Parts, path: str, where: str = "") -> None:
    """Raise NotFound where a pattern means nothing."""
    if not found.artifacts:
        lead = f"{where}: " if where else ""
        raise NotFound(
            f"{lead}no partition has what {path!r} means", hint=f"aq ls HEAD:{partitions.flow_of(path)}"
        )


def known(store: Store, found: Parts) -> Gathered | None:
    """What was made of these parts before; None where nothing was."""
    for id in reversed(store.steps_with_key(_step(found).key)) if found.artifacts else ():
        for _, output in get_record(store, Step, id).outputs:
            if store.has(output):
                return Gathered(Digest(output), id)
    return None


def look(store: Store, snapshot: bytes, path: str, runs: Runs) -> Digest | None:
    """What a pattern comes to in a snapshot; None where it means nothing there, and where that was never
    made something that no artifact is.
    """
    found = parts(store, snapshot, path, runs)
    if not found.artifacts:
        return None
    before = known(store, found)
    return Digest(_step(found).key) if before is None else before.artifact


def gathered(store: Store, found: Parts) -> Gathered:
    """What comes of parts, taken from the store or made and put there."""
    before = known(store, found)
    if before is not None:
        return before
    artifact = made_of(found, store, store)
    step = msgspec.structs.replace(_step(found), outputs=[("", bytes(artifact))])
    return Gathered(artifact, put_record(store, step))


def made_of(found: Parts, source: Source, sink: Sink) -> Digest:
    """Put what comes of parts; its artifact. Raises Unstorable where columns do not go together."""
    from aq.formats.artifacts import values

    records = {space: get_record(source, Artifact, id) for space, id in found.artifacts.items()}
    loaded = {space: values.decode(record, source) for space, record in records.items()}
    if all(record.kind == "table" for record in records.values()):
        return values.encode(_table(loaded, found.texts), sink, at="the partitions together").id
    plain = {_key(space): getattr(value, "value", value) for space, value in loaded.items()}
    return values.encode(plain, sink, at="the partitions together").id


def _step(found: Parts) -> Step:
    step = Step(
        key=b"",
        op=OP,
        role="parse",
        inputs={space: bytes(id) for space, id in found.artifacts.items()},
        packages=packages_now().versions(["pandas", "pyarrow"]),
        options={"version": VERSION, **({"texts": ",".join(found.texts)} if found.texts else {})},
    )
    return msgspec.structs.replace(step, key=bytes(step_key(step)))


def _key(space: str) -> str | tuple[str, ...]:
    texts = tuple(partitions.values(space).values())
    return texts[0] if len(texts) == 1 else texts


# --- tables


def columns(spaces: Sequence[str], plain: Container[str] = ()) -> dict[str, list[partitions.Value]]:
    """{param: its value in each partition}, typed where all of them have one type, else as text.

    `plain`: params that are texts whatever they look like.
    """
    found: dict[str, list[partitions.Value]] = {}
    for name in dict.fromkeys(name for space in spaces for name in partitions.names(space)):
        texts = [partitions.values(space).get(name, "none") for space in spaces]
        typed = [partitions.typed(text) for text in texts]
        if name in plain:
            typed = [None if one is None else text for one, text in zip(typed, texts, strict=True)]
        kinds = {type(value) for value in typed} - {type(None)}
        found[name] = typed if len(kinds) <= 1 else [*texts]
    return found


def _table(loaded: Mapping[str, Any], texts: Container[str]) -> Any:
    added = columns(list(loaded), texts)
    tables = list(loaded.values())
    try:
        if all(module_of(type(table)).startswith("pandas") for table in tables):
            return _frames(tables, added)
        return _arrow([_as_arrow(table) for table in tables], added)
    except (TypeError, ValueError) as error:  # what pandas and pyarrow raise for columns of other types
        reason = str(error).partition("\n")[0]
        raise Unstorable(f"the tables of the partitions do not go together: {reason}") from error


def _frames(frames: Sequence[pd.DataFrame], added: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    import pandas as pd

    whole = {name: _series(values) for name, values in added.items()}
    widened = []
    for at, frame in enumerate(frames):
        new = {
            name: column.iloc[[at]].repeat(len(frame)).set_axis(frame.index)
            for name, column in whole.items()
            if name not in frame.columns
        }
        widened.append(frame.assign(**new) if frame.columns.nlevels == 1 else frame)
    counted = all(isinstance(frame.index, pd.RangeIndex) and frame.index.name is None for frame in frames)
    return pd.concat(widened, ignore_index=counted)


def _series(values: Sequence[Any]) -> pd.Series[Any]:
    import datetime as dates

    import pandas as pd

    if any(isinstance(value, dates.date) for value in values):
        times: pd.Series[Any] = pd.to_datetime(pd.Series(values, dtype=object), utc=_is_zoned(values))
        return times.astype("datetime64[us, UTC]" if _is_zoned(values) else "datetime64[us]")
    return pd.Series(values)


def _is_zoned(values: Sequence[Any]) -> bool:
    return any(getattr(value, "tzinfo", None) is not None for value in values)


def _as_arrow(table: Any) -> pa.Table:
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return table
    if module_of(type(table)).startswith("polars"):
        return table.to_arrow()
    return pa.Table.from_pandas(table, preserve_index=False)


def _arrow(tables: Sequence[pa.Table], added: Mapping[str, Sequence[Any]]) -> pa.Table:
    import pyarrow as pa

    widened = []
    for at, table in enumerate(tables):
        for name, values in added.items():
            if name not in table.column_names:
                column = pa.array(values).take(pa.repeat(pa.scalar(at), table.num_rows))
                table = table.append_column(name, column)
        widened.append(table)
    return pa.concat_tables(widened, promote_options="permissive")


def refuse_own(path: str, space: str, where: str) -> None:
    """Raise UsageError where a flow reads all of its own partitions, this one among them."""
    if partitions.matches(space, partitions.pattern_of(path)[0]):
        raise UsageError(f"{where}: {path} holds what is made here: read other partitions by their names")
