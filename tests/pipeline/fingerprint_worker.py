"""Run by the tests: fingerprints and results of `op` in many small projects, one JSON line each.

Arguments: a file that holds a JSON list of [folder, file].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
from aq.pipeline.code.fingerprint import fingerprint
from aq.pipeline.code.load import Project
from aq.pipeline.code.static import snapshot_static


def main() -> None:
    environ = {"DECLARED": "1"}
    for folder, file in json.loads(Path(sys.argv[1]).read_text()):
        project = Project(Path(folder))
        with project:
            module = project.load(file)
            made = msgspec.to_builtins(fingerprint(module.op, project, environ=environ))
            again = msgspec.to_builtins(fingerprint(module.op, project, environ=environ))
            static = snapshot_static(module.flow, {"flow/op": module.op}, project)
            try:
                result = repr(module.op(2))
            except Exception as error:
                result = repr(error)
        print(json.dumps([made, again == made, result, static]))


if __name__ == "__main__":
    main()
