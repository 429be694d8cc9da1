"""What is looked at, and brought in order, when a repository is opened.

Invariant: nothing is taken from an index whose file, pages or state contradict what they say of
themselves: it is made anew first, where it may be. Opening reads a bounded number of pages, unless
somebody has died of them.
"""

from __future__ import annotations

import os

from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.objects import get_record
from aq.formats.packing.packs import NO_ID
from aq.formats.records import Operation
from aq.store.frames import layout
from aq.store.frames.environment import DamagedIndex, is_open
from aq.store.frames.group import Group
from aq.store.frames.index import Index, Look, State
from aq.store.frames.journal import find_journal
from aq.store.frames.pack_contents import read_header
from aq.store.frames.packs import PackFiles
from aq.store.frames.unopened import problem_before_opening


def is_writable(control: str) -> bool:
    """Whether this process may write in a repository."""
    return os.access(control, os.W_OK) and all(
        os.access(path, os.W_OK)
        for path in (f"{control}/packs", f"{control}/index", f"{control}/index/data.mdb")
        if os.path.exists(path)
    )


def make_ready(control: str, *, writable: bool) -> None:
    """Make again, before it is opened, what the packs can give back: format file and index."""
    if is_open(f"{control}/index"):
        return
    if writable and not os.path.exists(f"{control}/format"):
        layout.write_format(control)
    problem = problem_before_opening(f"{control}/index")
    if problem and not writable:
        raise Damaged(f"the index cannot be used ({problem}) and {control} cannot be written")
    if problem:
        make_index(control, always=False)


def make_index(control: str, *, always: bool = True) -> None:
    """Make the index anew from the packs. Raises Damaged rather than go back to older refs."""
    from aq.store.transactions.rebuild import rebuild

    rebuild(control, always=always, strict=True)


def require_sound(index: Index, files: PackFiles) -> None:
    """Raise DamagedIndex where the index does not say how far it has followed the journal, or not rightly."""
    with index.look() as look:
        state = look.state()
        why = "it is of another version" if state is None else contradiction(look, files, state)
    if why:
        raise DamagedIndex(why)


def contradiction(look: Look, files: PackFiles, state: State) -> str:
    """How `state` differs from what its operation and its journal say of themselves, or "".

    It has no checksum of its own; a wrong one would cut the journal off, or number what comes wrongly.
    """
    header = read_header(files.path(state.journal))
    if header is not None and header != (state.journal, state.ordinal):
        return f"it takes pack {state.journal.hex()} for journal {state.ordinal}"
    if header is None and (other := find_journal(files, state.ordinal)) is not None:
        return f"journal {state.ordinal} is pack {other.name.hex()}"
    place = look.place(state.operation, Kind.OPERATION)
    if place is None:
        empty = state.sequence == 0 and (state.operation, state.refs) == (NO_ID, NO_ID)
        return "" if empty else "it does not know its own last operation"
    if place.pack == state.journal and place.offset + place.size > state.end:
        return f"its last operation lies behind the end of journal {state.ordinal}"
    try:
        operation = get_record(Group(look, files), Operation, state.operation)
    except Damaged:
        return ""  # the operation itself may be lost: then nothing else can tell
    if (operation.sequence, bytes(operation.refs)) != (state.sequence, state.refs):
        return f"its last operation is number {operation.sequence}, not {state.sequence}, or has other refs"
    return ""
