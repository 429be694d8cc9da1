"""Times as text: RFC 3339 in UTC from nanoseconds, and back.

Invariant: `parse(text(t))` is `t` to the microsecond.
"""

from __future__ import annotations

from datetime import UTC, datetime

from aq.formats.errors import UsageError


def text(time: int) -> str:
    """RFC 3339 in UTC with microseconds, from nanoseconds since 1970."""
    seconds, rest = divmod(time, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse(value: str, *, end_of_day: bool = False) -> int:
    """Nanoseconds since 1970 UTC from an ISO 8601 date or time (UTC unless it says otherwise).

    A bare date is its start, or its last instant with `end_of_day`. Raises UsageError.
    """
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise UsageError(
            f"'{value}' is no date", hint="write it like 2026-03-01 or 2026-03-01T12:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = round(moment.timestamp()) if moment.microsecond == 0 else None
    time = whole * 1_000_000_000 if whole is not None else round(moment.timestamp() * 1_000_000) * 1000
    if len(value) == 10 and end_of_day:
        time += 86_400 * 1_000_000_000 - 1
    return time
