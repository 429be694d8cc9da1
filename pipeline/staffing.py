"""The code of a flow, stored for the processes that execute its steps.

Invariant: they get the very bytes of every file of the project that was read here, digested or loaded.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aq.formats.files import encode_stream
from aq.formats.objects import put_record
from aq.pipeline.load import Project
from aq.pipeline.task import Code, this_process
from aq.store import snapshots
from aq.store.snapshots import Entry, Mode, Origin

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


def code_of(repo: Repo, project: Project, file: str, flow: str, given: Mapping[str, str]) -> Code:
    """The code of a flow that is defined in `file`; `given` are its explicit params as texts."""
    store = repo.store
    entries: dict[str, Entry | None] = {
        path: Entry(put_record(store, encode_stream(io.BytesIO(data), store)), Origin.FILE, None, Mode.FILE)
        for path, data in project.files.data.items()
    }
    return Code(
        root=str(repo.root),
        snapshot=snapshots.edit(store, snapshots.empty(store), entries),
        file=file,
        flow=flow,
        given=dict(given),
        environ=dict(repo.context.environ),
        path=tuple(sys.path),
        asker=this_process(),
    )
