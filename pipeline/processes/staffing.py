"""The code of a flow, stored for the processes that execute its steps.

Invariant: they get the very bytes of every file of the project that was read here, digested or loaded.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from aq.formats.contents.files import encode_stream
from aq.formats.objects import put_record
from aq.pipeline.code.load import Project
from aq.pipeline.processes.task import Code
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


class FlowCode(msgspec.Struct):
    """The code of a flow that is defined in `file`; `given` are its explicit params as texts.

    Calling it stores what of the project has been read by then: an input may bring classes of other files.
    """

    repo: Repo
    project: Project
    file: str
    flow: str
    given: Mapping[str, str]
    asker: str
    _files: int = 0
    _code: Code | None = None

    def __call__(self) -> Code:
        """The code, as of now."""
        if self._code is None or self._files != len(self.project.files.data):
            self._code = self._stored()
        return self._code

    def _stored(self) -> Code:
        self.project.loaded()  # what modules read while they were imported belongs to the code
        store, known = self.repo.store, dict(self.project.files.data)
        self._files = len(known)
        entries: dict[str, Entry | None] = {}
        for path, data in known.items():
            stored = put_record(store, encode_stream(io.BytesIO(data), store))
            entries[path] = Entry(stored, Origin.FILE, None, Mode.FILE)
        return Code(
            root=str(self.repo.root),
            snapshot=bytes(snapshots.edit(store, snapshots.empty(store), entries)),
            file=self.file,
            flow=self.flow,
            given=dict(self.given),
            folders=tuple(self.project.folders_on_path()),
            path=tuple(sys.path),
            asker=self.asker,
        )
