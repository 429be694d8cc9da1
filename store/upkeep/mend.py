"""What `aq fsck --rebuild` does: the index made anew, the ends of packs written again, damage remembered.

Invariant: no whole frame is changed or moved, and no ref moves that the journals do not move. What
is unreadable leaves the index, so that the same content can be stored again.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from aq.formats.errors import AqError
from aq.formats.identity import Digest, Kind
from aq.formats.packing.packs import CONTENTS, HEADER_SIZE, Header, Place, encode_header
from aq.store.frames import layout
from aq.store.frames.index import Index, State
from aq.store.frames.journal import FolderLock
from aq.store.frames.layout import CONTROL
from aq.store.frames.pack_contents import closing, read_header, sealed_places, walked_places
from aq.store.frames.packs import PackFiles
from aq.store.frames.unopened import problem_before_opening
from aq.store.store import Store
from aq.store.system import disk
from aq.store.transactions.rebuild import rebuild
from aq.store.upkeep.findings import Finding
from aq.store.upkeep.fsck_frames import Gap
from aq.store.upkeep.fsck_packs import PackCheck


def mend(root: Path) -> list[Finding]:
    """Bring a repository that no store of this process has open as far back as its packs allow.

    Returns what it cost: the operations that the old index knew and no journal tells of any more.
    Raises Damaged where no operation can be read.
    """
    control = f"{root}/{CONTROL}"
    if not os.access(f"{control}/packs", os.W_OK):
        raise disk.unwritable(control)
    layout.write_missing(control)
    before, known = _before(control)
    rebuild(control, whole=True, known=known)
    with Store.open(root) as store:
        state = store.index.state()
        assert state is not None
        files = PackFiles(f"{control}/packs")
        try:
            with FolderLock(files.folder):
                listed = {name for name, _value in store.index.items("packs")}
                for name in files.names():
                    _mend_ends(files, name, state, listed)
            store.index.put_many("gaps", [(gap.key(), gap.value()) for gap in _gaps(store, files, state)])
        finally:
            files.close()
    return [_lost(before, state)] if before is not None and before.sequence > state.sequence else []


def _before(control: str) -> tuple[State | None, frozenset[bytes]]:
    """What the index said before, if it can be asked: its state, and the data packs that count."""
    if problem_before_opening(f"{control}/index"):
        return None, frozenset()
    try:
        index = Index(f"{control}/index", readonly=True)
    except AqError:
        return None, frozenset()
    try:
        index.require_sound()
        return index.state(), frozenset(name for name, _value in index.items("packs"))
    except AqError:
        return None, frozenset()
    finally:
        index.close()


def _lost(before: State, after: State) -> Finding:
    count = before.sequence - after.sequence
    operations = "the last operation is" if count == 1 else f"the last {count} operations are"
    detail = f"{operations} lost; the refs are as operation {after.sequence} left them"
    return Finding("operation", Digest(before.operation), detail, "aq ops")


def _gaps(store: Store, files: PackFiles, state: State) -> list[Gap]:
    check = PackCheck(store.index, files, store, state, full=True)
    for _finding in check.run():
        pass
    return check.left


def _mend_ends(files: PackFiles, name: bytes, state: State, listed: set[bytes]) -> None:
    """Header, contents and footer of a pack that should have them and does not; not of one being written.

    Garbage stays as it is: with an end it would pass for a pack that counts.
    """
    path = files.path(name)
    header = read_header(path)
    if header is not None and header.name == name and (name == state.journal or _is_sealed(path, name)):
        return
    if name not in listed and not _is_journal(path, name, header):
        return  # its writer was killed before it came to its end
    fd = disk.open_existing(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if header is None or header.name != name:
            ordinal = _ordinal(files, name, state)
            disk.write_at(fd, encode_header(Header(name, ordinal)), 0, path=path)
        if name != state.journal and not _is_sealed(path, name):
            _seal(fd, path, name)
        disk.fsync(fd, path=path)
    except BlockingIOError:
        return  # its writer lives
    finally:
        os.close(fd)


def _is_journal(path: str, name: bytes, header: Header | None) -> bool:
    return _holds_operations(path, name) if header is None else header.ordinal > 0


def _is_sealed(path: str, name: bytes) -> bool:
    with open(path, "rb") as file:
        return sealed_places(file, name) is not None


def _ordinal(files: PackFiles, name: bytes, state: State) -> int:
    """The ordinal that is missing among the journals, for a pack that the index takes for one."""
    if name == state.journal:
        return state.ordinal
    headers = (read_header(files.path(other)) for other in files.names() if other != name)
    taken = {header.ordinal for header in headers if header is not None}
    if not _holds_operations(files.path(name), name):
        return 0
    return next(ordinal for ordinal in range(1, len(taken) + 2) if ordinal not in taken)


def _holds_operations(path: str, name: bytes) -> bool:
    return any(place.kind == Kind.OPERATION for _id, place in _frames(path, name))


def _frames(path: str, name: bytes) -> list[tuple[bytes, Place]]:
    with open(path, "rb") as file:
        return list(walked_places(name, file.read()))


def _seal(fd: int, path: str, name: bytes) -> None:
    """Write contents and footer behind the last whole frame."""
    places = [(id, place) for id, place in _frames(path, name) if place.kind != CONTENTS]
    end = max((place.offset + place.size for _id, place in places), default=HEADER_SIZE)
    pieces = closing(name, places, end)
    disk.truncate(fd, end, path=path)
    disk.write_pieces_at(fd, pieces, end, path=path)
