"""The index: where each frame lies, and what can be derived from the packs (docs/format.md, 4.4).

Invariant: everything here but `stat` can be made again from the packs. Readers never lock: each
look is one short transaction, copied out. Writes other than `stat` go through `store.transactions.publish`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from struct import Struct
from typing import Any, Final, NamedTuple

import lmdb
from aq.formats.errors import AqError
from aq.formats.identity import Kind
from aq.formats.packing.packs import Place
from aq.store.frames.environment import DamagedIndex, Environment, explain, is_current, open_environment
from aq.store.frames.place_rows import decode_place, rows_of

_state = Struct("<Q32s32sQQ8s")
_position = Struct(">Q")
_PAGE: Final = 64
_STATE: Final = b"state 1"  # the number is the version of everything in the index
_PREFIXES: Final = {
    "objects": b"o",
    "summaries": b"s",
    "refs": b"r",
    "steps": b"k",
    "lost": b"l",
    "runs": b"u",
    "packs": b"p",
    "gaps": b"g",
    "condemned": b"c",
    "meta": b"m",
    "stat": b"t",
}
"""Databases share one tree: LMDB's named ones cannot be opened without the lock of the writers."""
_MARKS: Final = frozenset(_PREFIXES.values())


_collected = Struct("<QQ")
_condemned = Struct("<QQ")
_COLLECTED: Final = b"collected"


class Collected(NamedTuple):
    """How often something was condemned, and when something was swept last (ns UTC)."""

    generation: int
    swept: int


class Condemned(NamedTuple):
    """In which generation an object was condemned, and when (ns UTC)."""

    generation: int
    time: int


class State(NamedTuple):
    """How far the index has followed the journal.

    `sequence`, `operation`, `refs`: the current operation's number and id, and the root of its refs map.
    """

    sequence: int
    operation: bytes
    refs: bytes
    ordinal: int
    end: int
    journal: bytes


def _fields(struct: Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) != struct.size:
        raise DamagedIndex("a row of it is cut short")
    return struct.unpack(data)


def _sound_id(value: bytes) -> bytes:
    if len(value) != 32:
        raise DamagedIndex("a row of it is cut short")
    return value


class Look:
    """One transaction, for reading; `Change` adds writing."""

    def __init__(self, txn: lmdb.Transaction) -> None:
        self.txn = txn

    def get(self, database: str, key: bytes) -> bytes | None:
        """One value."""
        return self.txn.get(_PREFIXES[database] + key)  # type: ignore[return-value]

    def values(self, database: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """Many values."""
        get, mark = self.txn.get, _PREFIXES[database]
        return [get(mark + key) for key in keys]  # type: ignore[misc]

    def place(self, id: bytes, kind: int) -> Place | None:
        """Where the object lies, or the summary of the object of this id."""
        found = self.get("summaries" if kind == Kind.SUMMARY else "objects", id)
        return None if found is None else decode_place(found)

    def unreliable(self, ids: Iterable[bytes]) -> list[bytes]:
        """Those that are in no pack, or that are condemned and may be gone when they are needed."""
        get, objects, condemned = self.txn.get, _PREFIXES["objects"], _PREFIXES["condemned"]
        return [id for id in ids if get(objects + id) is None or get(condemned + id) is not None]

    def state(self) -> State | None:
        """How far the index has followed the journal; None in one that was never filled."""
        found = self.get("meta", _STATE)
        return None if found is None else State(*_fields(_state, found))

    def collected(self) -> Collected:
        """What collectors have done so far."""
        found = self.get("meta", _COLLECTED)
        return Collected(0, 0) if found is None else Collected(*_fields(_collected, found))

    def condemned(self) -> Iterator[tuple[bytes, Condemned]]:
        """Objects that nothing needed when a collector looked, in order."""
        for id, value in self.items("condemned"):
            yield id, Condemned(*_fields(_condemned, value))

    def items(
        self, database: str, *, prefix: bytes = b"", start: bytes = b""
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order, of the keys that begin with `prefix`, from `start` on."""
        mark = _PREFIXES[database]
        prefix = mark + prefix
        with self.txn.cursor() as cursor:
            if cursor.set_range(max(mark + start, prefix)):
                for key, value in cursor:
                    if not key.startswith(prefix):  # type: ignore[union-attr]
                        _require_known(key)  # type: ignore[arg-type]
                        return
                    yield key[1:], value  # type: ignore[misc]

    def before(self, database: str, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values from the last one before `end` backwards."""
        mark = _PREFIXES[database]
        with self.txn.cursor() as cursor:
            stop = bytes((mark[0] + 1,)) if end is None else mark + end
            found = cursor.prev() if cursor.set_range(stop) else cursor.last()
            while found and cursor.key()[:1] == mark:
                yield cursor.key()[1:], cursor.value()  # type: ignore[misc]
                found = cursor.prev()
            if found:
                _require_known(cursor.key())  # type: ignore[arg-type]


def _require_known(key: bytes) -> None:
    """Raise DamagedIndex where a key is of no database: others may be out of reach behind it."""
    if key[:1] not in _MARKS:
        raise DamagedIndex("a key in it is of no known sort")


class Change(Look):
    """The one write transaction."""

    def put(self, database: str, key: bytes, value: bytes) -> None:
        """Set one value."""
        self.txn.put(_PREFIXES[database] + key, value)

    def delete(self, database: str, key: bytes) -> None:
        """Remove one key."""
        self.txn.delete(_PREFIXES[database] + key)

    def put_many(
        self, database: str, items: Iterable[tuple[bytes, bytes]], *, overwrite: bool = True
    ) -> None:
        """Set many values, in ascending order of their keys: random order costs twice as much."""
        mark = _PREFIXES[database]
        with self.txn.cursor() as cursor:
            cursor.putmulti([(mark + key, value) for key, value in sorted(items)], overwrite=overwrite)

    def set_state(self, state: State) -> None:
        """Say how far the index has followed the journal."""
        self.put("meta", _STATE, _state.pack(*state))

    def set_collected(self, collected: Collected) -> None:
        """Say what collectors have done."""
        self.put("meta", _COLLECTED, _collected.pack(*collected))

    def condemn(self, ids: Iterable[bytes], condemned: Condemned) -> None:
        """Note objects as condemned; those that are already stay as they are."""
        value = _condemned.pack(*condemned)
        self.put_many("condemned", ((id, value) for id in ids), overwrite=False)

    def add_places(self, places: Iterable[tuple[bytes, Place]]) -> None:
        """Record frames. The first place of an object stays; the last summary of an object wins."""
        objects, summaries = rows_of(_PREFIXES["objects"], places)
        with self.txn.cursor() as cursor:
            cursor.putmulti(objects, overwrite=False)
        self.put_many("summaries", summaries.items())

    def add_step(self, key: bytes, id: bytes) -> None:
        """Record a step under its key, behind the earlier ones."""
        self.delete("lost", id)
        position = 0
        for _key, known in self.items("steps", prefix=key):
            if known == id:
                return
            position += 1
        self.put("steps", key + _position.pack(position), id)

    def add_run(self, id: bytes) -> None:
        """Record a run behind the earlier ones."""
        last = next(self.before("runs"), None)
        position = 0 if last is None else _position.unpack(last[0])[0] + 1
        self.put("runs", _position.pack(position), id)


class Index:
    """The databases of one repository. Every method is one short transaction."""

    def __init__(self, folder: str, *, readonly: bool) -> None:
        self.folder = folder
        self.readonly = readonly
        self.environment = open_environment(folder, readonly=readonly)

    def close(self) -> None:
        """Give the environment up."""
        self.environment.close()

    def reopen(self) -> None:
        """Open the files that are in the folder now: the index was rebuilt under us."""
        new = open_environment(self.folder, readonly=self.readonly)
        old, self.environment = self.environment, new  # at once: another thread may do the same
        old.close()

    def follow(self) -> bool:
        """Open the files that are in the folder now, if they are others, and can be: whether so.

        Whoever only reads would see nothing new in an index that another process has replaced.
        """
        if self.is_current():
            return False
        with suppress(AqError, OSError):  # it is being put into its place: what was there serves
            self.reopen()
            return True
        return False

    def is_current(self) -> bool:
        """Whether nobody has rebuilt the index since it was opened here."""
        return is_current(self.environment)

    def require_sound(self) -> None:
        """Look at every page of it. Raises DamagedIndex."""
        problem = self.environment.problem()
        if problem:
            raise DamagedIndex(problem)

    def look(self) -> _Look:
        """A consistent view: `with index.look() as look`. Keep it short: it holds back freed pages."""
        return _Look(self.environment)

    def get(self, database: str, key: bytes) -> bytes | None:
        """One value, or None."""
        environment = self.environment
        try:
            with environment.begin() as txn:
                return txn.get(_PREFIXES[database] + key)  # type: ignore[return-value]
        except lmdb.Error as error:
            raise explain(error) from error

    def has(self, id: bytes) -> bool:
        """Whether an object of this id lies in a pack."""
        return self.get("objects", id) is not None

    def place(self, id: bytes, kind: int = 0) -> Place | None:
        """Where the object lies, or, for kind SUMMARY, the summary of the object of this id."""
        found = self.get("summaries" if kind == Kind.SUMMARY else "objects", id)
        return None if found is None else decode_place(found)

    def state(self) -> State | None:
        """How far the index has followed the journal."""
        self.follow()
        with self.look() as look:
            return look.state()

    def collected(self) -> Collected:
        """What collectors have done so far."""
        with self.look() as look:
            return look.collected()

    def refs(self, *, unless: bytes) -> tuple[bytes, list[tuple[bytes, bytes]] | None]:
        """The root of the refs map, and the refs as they are listed here; None if the root is `unless`."""
        self.follow()
        with self.look() as look:
            state = look.state()
            root = bytes(32) if state is None else state.refs
            return root, None if root == unless else list(look.items("refs"))

    def runs(self) -> Iterator[bytes]:
        """The runs, newest first. Raises DamagedIndex where one in between is not listed."""
        above = 0
        for position, id in self.newest("runs"):
            at = _fields(_position, position)[0] + 1
            if above not in (0, at + 1):
                break
            above = at
            yield _sound_id(id)
        if above > 1:
            raise DamagedIndex(f"run {above - 1} is not listed")

    def steps(self, key: bytes) -> list[bytes]:
        """The steps with this key, oldest first."""
        return [_sound_id(id) for _key, id in self.items("steps", prefix=key)]

    def items(self, database: str, *, prefix: bytes = b"", start: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Keys and values in order, copied out of one transaction."""
        with self.look() as look:
            return list(look.items(database, prefix=prefix, start=start))

    def newest(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values from the last to the first, a page a transaction."""
        end: bytes | None = None
        while True:
            with self.look() as look:
                page = list(islice(look.before(database, end), _PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            end = page[-1][0]

    def put_many(self, database: str, items: Iterable[tuple[bytes, bytes | None]]) -> bool:
        """As `write`: set many values of a database that no pack backs (None deletes)."""
        changes = list(items)
        return self.write(lambda change: _put(change, database, changes))

    def write(self, do: Callable[[Change], None]) -> bool:
        """Change what no pack backs, in a transaction of its own; False in a read-only repository.

        Durable on return. `do` may be called again, after the map has grown.
        """
        if self.readonly:
            return False
        while True:
            try:
                with self.environment.writing() as txn:
                    do(Change(txn))
                return True
            except lmdb.MapFullError:
                self.environment.grow()
            except lmdb.Error as error:
                self.environment.reset()
                raise explain(error) from error


def _put(change: Change, database: str, items: list[tuple[bytes, bytes | None]]) -> None:
    for key, value in items:
        if value is None:
            change.delete(database, key)
    change.put_many(database, [(key, value) for key, value in items if value is not None])


class _Look:
    """The context of `Index.look`."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> Look:
        try:
            self._txn = self._environment.begin()
        except lmdb.Error as error:
            raise explain(error) from error
        return Look(self._txn)

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        self._txn.abort()
        if isinstance(error, lmdb.Error):
            raise explain(error) from error


def create_index(folder: str, state: State) -> None:
    """Make the databases of a new repository in an empty folder."""
    environment = Environment(folder, readonly=False)
    try:
        with environment.begin(write=True) as txn:
            Change(txn).set_state(state)
    except lmdb.Error as error:
        raise explain(error) from error
    finally:
        environment.close()
