"""The store: objects, refs and operations of one repository behind one object.

Invariant: what `get` returns was verified; what `commit` or `flush` returned from is durable. Opening
is cheap, reading never locks. Files of the folder, snapshots and history are built above it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

from aq.formats.errors import AqError, Conflict, NotTrusted, Temporary, UsageError
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.packing.packs import NO_ID, Place
from aq.formats.records import Operation
from aq.store.commits import operations, refs as ref_maps
from aq.store.commits.refs import HEAD, Ref
from aq.store.frames import batches, layout, statblocks
from aq.store.frames.environment import DamagedIndex
from aq.store.frames.index import Index, State, create_index
from aq.store.frames.journal import FolderLock, Journal
from aq.store.frames.layout import CONTROL, PREPARED
from aq.store.frames.objects import Batch, Objects, Staged
from aq.store.frames.packs import PackFiles
from aq.store.system import disk, ownership
from aq.store.system.filesystems import refuse_network
from aq.store.system.lease import Lease
from aq.store.transactions import opening, recover
from aq.store.transactions.publish import Make, Publisher
from aq.store.transactions.transaction import Transaction

if TYPE_CHECKING:
    from aq.formats.contents.earlier import Near
    from aq.formats.contents.inline_frames import InlineFrames
    from aq.formats.objects import Origin

FIRST_BRANCH = "branch/main"

_stores: WeakSet[Store] = WeakSet()
P = ParamSpec("P")
R = TypeVar("R")


def _or_nothing(do: Callable[Concatenate[Store, P], R]) -> Callable[Concatenate[Store, P], R]:
    """A change of what is pending. Where a signal ends it half way, nothing is pending any more."""

    @wraps(do)
    def change(self: Store, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return do(self, *args, **kwargs)
        except Exception:
            raise
        except BaseException:
            self.dropped += 1
            self._objects.discard()
            raise

    return change


class Store:
    """One repository. A source and sink of objects; every change of refs is a `transaction`."""

    def __init__(self, root: Path, control: str, *, writable: bool, refusal: AqError | None = None) -> None:
        self.root = root
        self.control = Path(control)
        self.writable = writable
        self._refusal = refusal
        self._files = PackFiles(f"{control}/packs")
        self.index = Index(f"{control}/index", readonly=not writable)
        self._objects = Objects(self.index, self._files)
        self._publisher = Publisher(self.index, self._files)
        self._publishing = RLock()
        self._closed = False
        self.dropped = 0
        """How often a signal came while something was put: what was pending then is forgotten."""
        self._lease: Lease | None = None
        self._refs: tuple[bytes, Mapping[str, Ref]] = NO_ID, {}
        _stores.add(self)

    def after_fork(self) -> None:
        """In the child: begin with nothing pending and no lock held."""
        self._publishing = RLock()
        self._objects.after_fork()
        if self._lease is not None:
            self._lease.after_fork()
            self._lease = None

    @classmethod
    def create(cls, root: Path, *, time: int, user: str, argv: Sequence[str] = ()) -> Store:
        """Make a repository in the folder `root`; HEAD names branch/main, which holds nothing yet.

        `time` is nanoseconds since 1970 UTC. Raises UsageError where there is one already.
        """
        root = Path(os.path.abspath(root))
        control, prepared = f"{root}/{CONTROL}", f"{root}/{PREPARED}"
        if os.path.exists(control):
            raise UsageError(f"{root} already holds an aq repository", hint="aq status")
        disk.mkdir(str(root), parents=True)
        refuse_network(str(root))
        disk.mkdir(prepared)
        lock = FolderLock(prepared)
        try:
            if not lock.take(wait=False) or os.path.exists(control):
                raise Temporary(f"another aq init is at work in {root}")
            _fill_new(cls, root, prepared, time=time, user=user, argv=argv)
            disk.rename(prepared, control)
            disk.fsync_folder(str(root))
        finally:
            lock.free()
        return cls.open(root)

    @classmethod
    def open(cls, root: Path, *, environ: Mapping[str, str] | None = None) -> Store:
        """Open the repository in the folder `root`, finishing what a killed writer had made durable.

        `environ`: who is trusted; without, anybody. Raises NotARepository, NewerFormat, Damaged.
        """
        root = Path(os.path.abspath(root))
        control = f"{root}/{CONTROL}"
        found = layout.read_format(control)
        refuse_network(control)
        stranger = ownership.stranger(root, control, environ) if environ is not None else None
        refusal = stranger or layout.refusal(found)
        writable = refusal is None and opening.is_writable(control)
        opening.make_ready(control, writable=writable)
        try:
            return cls._opened(root, control, writable=writable, refusal=refusal)
        except DamagedIndex:
            if not writable:
                raise
        opening.make_index(control)
        return cls._opened(root, control, writable=writable, refusal=refusal)

    @classmethod
    def _opened(cls, root: Path, control: str, *, writable: bool, refusal: AqError | None) -> Store:
        """A store on an index that is what it should be, as far as that can be seen at once."""
        store = cls(root, control, writable=writable, refusal=refusal)
        try:
            opening.require_sound(store.index, store._files)
            if writable:
                recover.follow_dead_writer(store.index, store._files, store._publisher.publish)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let go of files and index. What was put and not flushed is forgotten."""
        if not self._closed:
            self._closed = True
            self._objects.discard()
            if self._lease is not None:
                self._lease.end()
            self._files.close()
            self.index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state(self) -> State:
        state = self.index.state()
        if state is None:
            raise DamagedIndex("it is empty")
        return state

    # Objects

    def get(self, kind: Kind, id: bytes) -> bytes:
        """The canonical bytes, verified. Raises Damaged where they are missing or do not hold."""
        return self._objects.get(kind, id)

    def visit(self, kind: Kind, ids: Sequence[bytes], see: batches.See) -> None:
        """Show many objects, each verified, in any order and from two threads. Raises Damaged."""
        batches.visit(self._objects, self._files, kind, ids, see)

    def origins(self, ids: Sequence[bytes]) -> list[Origin | None]:
        """What chunks are made from, where that is known without reading them."""
        return batches.origins(self._objects, self._files, ids)

    @_or_nothing
    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """Store the bytes once and return their id; durable after `flush` or a transaction."""
        if self._lease is None:
            self.lease()
        return self._objects.put(kind, data, base=base)

    def stage(
        self,
        kind: Kind,
        data: Buffer,
        *,
        base: bytes | None = None,
        near: Near | None = None,
        id: Digest | None = None,
    ) -> Staged:
        """The half of `put` that any thread may do: hash, look up, compress."""
        if self._lease is None:
            self.lease()
        return self._objects.stage(kind, data, base=base, near=near, id=id)

    @_or_nothing
    def admit(self, staged: Staged) -> Digest:
        """The other half, which keeps order: append."""
        return self._objects.admit(staged)

    @_or_nothing
    def put_frames(self, frames: InlineFrames) -> None:
        """As `put`, of many artifacts at once; the buffer may be used again afterwards."""
        if self._lease is None:
            self.lease()
        self._objects.put_frames(frames)

    def has(self, id: bytes) -> bool:
        """Whether an object of this id is here."""
        return self._objects.kind_of(id) is not None

    def kind_of(self, id: bytes) -> Kind | None:
        """The kind of an object, or None if it is not here."""
        return self._objects.kind_of(id)

    def size_of(self, id: bytes) -> int | None:
        """The length of an object's canonical bytes, or None if it is not here."""
        return self._objects.size_of(id)

    def places(self, ids: Iterable[bytes]) -> list[Place | None]:
        """The place of each object in a pack, None where it has none."""
        return self._objects.places(ids)

    def read_into(self, pack: bytes, offset: int, buffer: memoryview) -> int:
        """Read a part of a pack, unverified; how many bytes there were. Raises MissingPack, Damaged."""
        return self._files.read_into(pack, offset, buffer)

    def with_prefix(self, prefix: str, kinds: Container[Kind]) -> list[Digest]:
        """The ids of objects of these kinds that begin with these hexadecimal digits, in order."""
        return self._objects.with_prefix(prefix, [kind for kind in Kind if kind in kinds])

    def lease(self) -> None:
        """Keep what is met from now on from being swept, until this store is closed. Raises NotTrusted."""
        self.before_executing()
        with self._publishing:
            if self._lease is None and self.writable:
                self._lease = Lease(f"{self.control}/leases", lambda: self.index.collected().generation)

    def before_executing(self) -> None:
        """To be called before anything that lies here is executed, or written. Raises NotTrusted."""
        if isinstance(self._refusal, NotTrusted):
            raise self._refusal

    def renew_lease(self) -> None:
        """Everything that this store relied on is published."""
        if self._lease is not None:
            self._lease.renew()

    @_or_nothing
    def flush(self) -> None:
        """Make everything that was put durable and visible to others; no ref moves."""
        with self._publishing:
            batch = self._objects.take()
            if batch.is_empty or not self._may_publish(batch):
                return
            self._publish(batch, None)

    def new_bytes(self) -> int:
        """Bytes that this store object has added to packs."""
        return self._objects.new_bytes

    def bytes_on_disk(self) -> int:
        """Bytes of all packs."""
        return self._files.size()

    def summary(self, id: bytes) -> dict[str, Any] | None:
        """The derived facts about an artifact or a commit, or None."""
        return self._objects.summary(id)

    @_or_nothing
    def put_summary(self, id: bytes, value: dict[str, Any]) -> None:
        """Keep derived facts about an artifact or a commit; the last ones count."""
        self._objects.put_summary(id, value)

    @_or_nothing
    def put_stat(self, rows: Iterable[statblocks.Rows]) -> None:
        """Set rows of the stat cache with the next flush or transaction, never before the objects that
        they rely on are durable.
        """
        self._objects.put_stat(rows)

    def keep_stat(self, rows: Sequence[statblocks.Rows], *, wait: bool = False) -> bool:
        """Set rows of the stat cache now; False where a writer is at work, unless `wait`, or none may be."""
        if not self.writable:
            return False
        lock = FolderLock(self._files.folder)
        try:
            return lock.take(wait=wait) and self.index.write(lambda change: statblocks.update(change, rows))
        finally:
            lock.free()

    def steps_with_key(self, key: bytes) -> list[Digest]:
        """The flushed steps with this key, oldest first."""
        return [Digest(id) for id in self.index.steps(key)]

    def runs(self) -> Iterator[Digest]:
        """The flushed runs, newest first."""
        return map(Digest, self.index.runs())

    # Refs and operations

    def refs(self) -> Mapping[str, Ref]:
        """All refs, as of one moment: as the last operation left them. Raises Damaged."""
        root, rows = self.index.refs(unless=self._refs[0])
        if rows is not None:
            self._refs = root, ref_maps.verified(self, root, rows)
        return dict(self._refs[1])

    def ref(self, name: str) -> Ref | None:
        """One ref, or None."""
        return self.refs().get(name)

    def operations(self) -> Iterator[tuple[Digest, Operation]]:
        """The operation log, newest first."""
        return operations.walk(self, self._state().operation)

    def refs_after(self, operation: Operation) -> Mapping[str, Ref]:
        """All refs as an operation left them."""
        return operations.refs_after(self, operation)

    def transaction(
        self, command: str, *, time: int, user: str, argv: Sequence[str] = (), description: str = ""
    ) -> Transaction:
        """Begin a change of refs; nothing is written or locked before its `commit`. `time` is ns UTC."""
        return Transaction(self._commit, command, time=time, user=user, argv=argv, description=description)

    @_or_nothing
    def _commit(self, make: Make) -> Digest:
        with self._publishing:
            batch = self._objects.take()
            self._may_publish(batch, needed=True)
            operation = self._publish(batch, make)
        assert operation is not None
        self.renew_lease()
        return Digest(operation)

    def _may_publish(self, batch: Batch, *, needed: bool = False) -> bool:
        if self.writable:
            return True
        if needed or batch.frames or batch.packs:
            raise self._refusal or disk.unwritable(self.control)
        return False

    def _publish(self, batch: Batch, make: Make | None) -> bytes | None:
        self._objects.hand_over(batch)
        try:
            published = self._publisher.publish(batch, make)
        except Conflict:
            self._objects.take_back(batch)
            raise
        except AqError:
            if not self._publisher.may_stand:
                self._objects.take_back(batch)
            self._objects.discard()
            raise
        self._objects.done(batch)
        self._objects.new_bytes += published.bytes
        return published.operation


def _after_fork() -> None:
    for store in _stores:
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _fill_new(
    cls: type[Store], root: Path, prepared: str, *, time: int, user: str, argv: Sequence[str]
) -> None:
    """Build a whole repository in the folder `prepared`, over what a killed attempt left there."""
    for name in ("packs", "index", "tmp"):
        disk.remove_tree(f"{prepared}/{name}")
    layout.make_folders(prepared)
    files = PackFiles(f"{prepared}/packs")
    journal = Journal.begin(files, 1)
    journal.close()
    create_index(f"{prepared}/index", recover.first_state(journal))
    store = cls(root, prepared, writable=True)
    try:
        transaction = store.transaction("init", time=time, user=user, argv=argv)
        transaction.set(HEAD, Ref(target=FIRST_BRANCH))
        transaction.commit()
    finally:
        store.close()
