"""Parsing as work: the table in a file, stored, or why there is none.

Invariant: a file that cannot be parsed is the failure of the step that wants it, with the parser's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aq.formats.errors import AqError, Conflict, Damaged, Refused, Temporary
from aq.formats.records import Artifact
from aq.pipeline.step import parsing, returns
from aq.pipeline.step.execute import Outcome
from aq.pipeline.step.execution import Failure, StepStore
from aq.pipeline.step.parsing import Parser


def table(
    store: StepStore,
    record: Artifact,
    parser: Parser,
    options: Mapping[str, Any],
    label: str,
    last: bytes | None,
) -> Outcome:
    """Parse and store; `last` is the step that parsed the file's last version."""
    try:
        found = parsing.parse(record, store, parser, options, label=label)
        likes = returns.earlier(store, last)
        return Outcome([("", returns.put(store, found, (), label, likes.get("")))], None, None)
    except (Damaged, Conflict, Temporary, Refused):
        raise
    except AqError as error:
        return Outcome([], Failure(label, error.kind, error.message), None)
