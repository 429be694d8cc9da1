"""Make the golden repository: `python -m tests.golden.make FOLDER`.

Invariant: the same ids on every machine, for ever: all content, times and names are fixed here. Packs get
random names, so their bytes differ from one making to the next; what they hold does not.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Final

import msgspec
from aq.formats.contents.files import encode_stream
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.records import Artifact, Commit, Git, Run, RunStep, Source, Step
from aq.formats.trees.prolly import build_map
from aq.pipeline.step.keys import step_key
from aq.store.commits.refs import Ref
from aq.store.store import Store
from blake3 import blake3

START: Final = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC in nanoseconds."""
HOUR: Final = 3_600 * 10**9
AUTHOR: Final = "Ada Lovelace <ada@example.org>"


def noise(count: int) -> bytes:
    """`count` bytes that do not compress: the extended output of BLAKE3."""
    return blake3(b"noise").digest(length=count)


def file_artifact(store: Store, content: bytes) -> Digest:
    """A file, as the product stores it: inline, or cut into chunks."""
    return put_record(store, encode_stream(BytesIO(content), store))


def entry(artifact: bytes, origin: int, step: bytes | None = None) -> bytes:
    """A snapshot's value."""
    return msgspec.msgpack.encode([bytes(artifact), origin, None if step is None else bytes(step), 0])


def step_of(store: Store, name: str, source: Digest, output: Digest) -> Digest:
    """One step from a file to a value."""
    step = Step(
        key=bytes(32),
        op=name,
        seed=7,
        python="3.11",
        code={f"flow:{name}": "00" * 32},
        params={"depth": f"6 {'11' * 32}"},
        inputs={"data": bytes(source)},
        packages={"pandas": "2.2.3"},
        outputs=[("", bytes(output))],
    )
    return put_record(store, msgspec.structs.replace(step, key=bytes(step_key(step))))


def commit(store: Store, number: int, rows: bytes, parents: list[Digest]) -> Digest:
    """One month: a tracked file, a made value, the run that made it, a summary of the commit."""
    time = START + number * HOUR
    data = file_artifact(store, rows)
    made = put_record(store, Artifact(kind="value", format="json", size=4, data=b"0.%02d" % (93 - number)))
    step = step_of(store, "auc", data, made)
    many = {f"notes/{at:04d}.txt": entry(file_artifact(store, b"note %d" % at), 0) for at in range(300)}
    paths = {**many, "data/flights.csv": entry(data, 0), "delays/auc": entry(made, 1, step)}
    snapshot = build_map(store, sorted((path.encode(), value) for path, value in paths.items()))
    git = Git(commit="0123456789abcdef0123456789abcdef01234567", dirty=number == 1)
    run = put_record(
        store,
        Run(
            flow="delays",
            file="flow.py",
            time=time,
            status="committed",
            snapshot=snapshot,
            params={"depth": "6"},
            git=git,
            sources=[Source(path="data/flights.csv", artifact=bytes(data))],
            steps=[RunStep(name="delays/auc", status="run", role="metric", step=bytes(step), seconds=0.5)],
            metrics={"delays/auc": 0.93 - number / 100},
        ),
    )
    made_by = Commit(
        snapshot=snapshot,
        time=time,
        author=AUTHOR,
        message=f"month {number}\n\nwith ümlauts ✓",
        offset=60,
        parents=[bytes(parent) for parent in parents],
        runs=[bytes(run)],
        current=["delays"],
        git=git,
    )
    id = put_record(store, made_by)
    store.put_summary(id, {"number": number, "metrics": {"delays/auc": 0.93 - number / 100}})
    return id


def make(root: Path) -> None:
    """Make the repository in a new folder."""
    with Store.create(root, time=START, user=AUTHOR, argv=["aq", "init"]) as store:
        previous: list[Digest] = []
        for number, rows in enumerate(
            (b"a,b\n1,2\n" * 10_000, b"a,b\n1,2\n" * 10_000 + noise(1_060_000), b"a,b\n")
        ):
            id = commit(store, number, rows, previous)
            transaction = store.transaction(
                "run", time=START + number * HOUR + 1, user=AUTHOR, argv=["aq", "run"]
            )
            transaction.set("branch/main", Ref(id), expect=Ref(previous[0]) if previous else None)
            if number == 1:
                transaction.set("tag/v1", Ref(id), expect=None)
            transaction.commit()
            previous = [id]
        store.put(Kind.CHUNK, b"a finished step's object, not named by any ref")
        store.flush()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
