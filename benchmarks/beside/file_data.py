"""Two versions of a file, for each kind of file and of change that people make.

Invariant: the same rows and seeds give the same bytes each time; sizes follow the number of rows.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

Rows = list[list[str]]
Write = Callable[[Path], None]
_HEAD = "id,carrier,delay,airport,distance,day,fare"
_CARRIERS = "AA B6 DL EV F9 HA MQ OO UA US VX WN YV".split()


def table(rows: int, start: int = 0) -> Rows:
    """Rows of flights: numbers, words, a date."""
    source = random.Random(start)
    return [
        [
            str(start + at),
            source.choice(_CARRIERS),
            f"{source.gauss(10, 40):.1f}",
            f"{source.randrange(26**3):04d}",
            str(source.randrange(50, 5_000)),
            f"2024-{source.randrange(1, 13):02d}-{source.randrange(1, 29):02d}",
            f"{source.random() * 900:.2f}",
        ]
        for at in range(rows)
    ]


def edited(rows: Rows, share: float) -> Rows:
    """Another delay in some rows, anywhere."""
    source, made = random.Random(7), list(rows)
    for at in source.sample(range(len(rows)), int(len(rows) * share)):
        made[at] = [*rows[at][:2], f"{source.gauss(10, 40):.1f}", *rows[at][3:]]
    return made


def csv(rows: Rows) -> Write:
    return lambda path: path.write_text("\n".join([_HEAD, *map(",".join, rows), ""])) and None


def lines(rows: Rows) -> Write:
    names = _HEAD.split(",")
    made = "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    return lambda path: path.write_text(made) and None


def database(rows: Rows) -> Write:
    """SQLite; an existing one is updated where rows differ."""

    def write(path: Path) -> None:
        held = sqlite3.connect(path)
        with held:
            held.execute("create table if not exists flights (id primary key, a, b, c, d, e, f)")
            known = {row[0]: list(row) for row in held.execute("select * from flights")}
            changed = [row for row in rows if known.get(row[0]) != row]
            held.executemany("insert or replace into flights values (?, ?, ?, ?, ?, ?, ?)", changed)
        held.close()

    return write


def parquet(rows: Rows) -> Write:
    def write(path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        columns = list(map(list, zip(*rows, strict=True)))
        numbers = [
            pa.array(map(float, column)) if at in (2, 6) else column for at, column in enumerate(columns)
        ]
        parquet.write_table(pa.table(dict(zip(_HEAD.split(","), numbers, strict=True))), path)

    return write


def noise(size: int, *, changed: bool) -> Write:
    """Random bytes; of the changed ones a sixty-fourth in the middle is other."""

    def write(path: Path) -> None:
        data = bytearray(random.Random(1).randbytes(size))
        if changed:
            data[size // 2 : size // 2 + size // 64] = random.Random(2).randbytes(size // 64)
        path.write_bytes(data)

    return write


def versions(rows: int) -> dict[str, tuple[Write, Write]]:
    """What is measured: the first version and the second one."""
    old = table(rows)
    some, new = edited(old, 0.01), table(rows // 10, rows)
    return {
        "CSV, 1 % of the rows changed": (csv(old), csv(some)),
        "CSV, 10 % of the rows changed": (csv(old), csv(edited(old, 0.1))),
        "CSV, 1 in 1,000 rows deleted": (csv(old), csv([row for at, row in enumerate(old) if at % 1_000])),
        "CSV, 1 % changed, 10 % put in": (csv(old), csv(some[: rows // 2] + new + some[rows // 2 :])),
        "CSV, 10 % appended": (csv(old), csv(old + new)),
        "CSV, sorted another way": (csv(old), csv(sorted(old, key=lambda row: row[1:]))),
        "JSON lines, 1 % changed": (lines(old), lines(some)),
        "SQLite, 1 % updated in place": (database(old), database(some)),
        "Parquet, 1 % changed": (parquet(old), parquet(some)),
        "noise, 1/64 changed in the middle": (
            noise(rows * 64, changed=False),
            noise(rows * 64, changed=True),
        ),
    }
