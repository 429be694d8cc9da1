"""The JSON keys that scripts depend on: more are fine, fewer or renamed are not."""

from __future__ import annotations

from typing import Any

KEYS: dict[str, Any] = {
    "commit": {
        "id": 0, "parents": 0, "message": 0, "author": 0, "time": 0,
        "paths": {"added": 0, "changed": 0, "removed": 0}, "bytes": {"new": 0, "total": 0},
    },
    "status": {
        "branch": 0, "head": 0, "changes": [{"path": 0, "change": 0}], "untracked": 0,
        "flows": [{"flow": 0, "stale": [{"step": 0, "exact": 0, "reasons": [{"kind": 0, "detail": 0}]}]}],
    },
    "log": [{
        "id": 0, "parents": 0, "message": 0, "author": 0, "time": 0, "flow": 0, "run": 0, "tags": 0,
        "branches": 0, "metrics": 0, "checks": 0,
    }],
    "show": {
        "id": 0, "parents": 0, "message": 0, "author": 0, "time": 0, "flow": 0, "tags": 0, "branches": 0,
        "metrics": 0, "checks": 0, "snapshot": [{"path": 0, "kind": 0, "id": 0, "size": 0, "origin": 0}],
        "run": 0,
    },
    "show run": {"flow": 0, "params": 0, "steps": 0, "environment": 0, "code": 0, "git": 0},
    "show path": {
        "path": 0, "kind": 0, "id": 0, "size": 0, "origin": 0, "format": 0, "summary": 0, "step": 0,
    },
    "diff": {
        "from": 0, "to": 0, "paths": [{"path": 0, "kind": 0, "change": 0, "detail": 0}],
        "code": [{"op": 0, "change": 0, "diff": 0}], "params": [{"name": 0, "from": 0, "to": 0}],
        "environment": [{"package": 0, "from": 0, "to": 0}], "metrics": [{"name": 0, "from": 0, "to": 0}],
    },
    "table detail": {
        "schema": {"added": 0, "removed": 0, "retyped": 0, "renamed": 0},
        "rows": {"added": 0, "removed": 0, "changed": 0, "from": 0, "to": 0},
        "columns": [{"name": 0, "changed_rows": 0, "guess": 0}], "sample": 0,
    },
    "step event": {"event": 0, "step": 0, "status": 0, "seconds": 0, "reasons": 0, "error": 0},
    "done event": {
        "event": 0, "run": 0, "commit": 0, "status": 0,
        "steps": {"total": 0, "run": 0, "reused": 0, "failed": 0, "cancelled": 0}, "metrics": 0, "checks": 0,
        "violations": [{"check": 0, "value": 0, "bound": 0, "rows": 0}], "reused_seconds": 0, "error": 0,
    },
    "plan": {"steps": [{"step": 0, "action": 0, "reasons": 0}]},
    "runs": [{
        "run": 0, "flow": 0, "time": 0, "status": 0, "commit": 0, "params": 0, "metrics": 0, "checks": 0,
        "seconds": 0,
    }],
    "repro": {
        "commit": 0, "verdict": 0, "environment": 0,
        "artifacts": [{"path": 0, "verdict": 0, "detail": 0}], "first_difference": 0,
    },
    "bisect": {
        "metric": 0, "good": {"commit": 0, "value": 0}, "bad": {"commit": 0, "value": 0},
        "culprit": {"commit": 0, "message": 0, "value": 0, "parent_value": 0}, "verdict": 0, "confidence": 0,
        "evaluations": {"recorded": 0, "computed": 0, "skipped": 0},
        "path": [{"commit": 0, "value": 0, "source": 0}], "shifts": [{"commit": 0, "from": 0, "to": 0}],
        "unprobed": 0, "why": 0,
    },
    "lineage": {
        "path": 0, "artifact": 0, "step": 0, "inputs": [{"path": 0, "artifact": 0, "step": 0, "inputs": 0}],
    },
    "downstream": {"used_by": [{"commit": 0, "path": 0}]},
    "blame": {
        "path": 0, "kind": 0, "revision": 0, "by": 0, "rows": 0, "key": 0, "column": 0,
        "ranges": [{"commit": 0, "first": 0, "last": 0, "key": 0, "text": 0}],
        "columns": [{"name": 0, "commit": 0, "change": 0, "rows": 0}], "items": [], "commits": 0,
    },
    "merge": {
        "status": 0, "id": 0, "branch": 0, "parents": 0, "message": 0,
        "paths": {"added": 0, "changed": 0, "removed": 0}, "conflicts": 0, "stale": 0,
    },
    "merge conflict": {"path": 0, "kind": 0, "ours": 0, "theirs": 0, "base": 0},
    "metrics point": {"commit": 0, "time": 0, "value": 0},
}  # fmt: skip


def has_keys(value: Any, wanted: Any, at: str = "data") -> None:
    """Assert that a JSON value has the keys; every element of a list, and a list must not be empty."""
    if isinstance(wanted, list):
        assert isinstance(value, list), at
        for index, item in enumerate(value):
            has_keys(item, wanted[0], f"{at}[{index}]")
    elif isinstance(wanted, dict):
        assert isinstance(value, dict), f"{at} is {value!r}"
        assert wanted.keys() <= value.keys(), f"{at} has no {wanted.keys() - value.keys()}"
        for key, inner in wanted.items():
            has_keys(value[key], inner, f"{at}.{key}")
