"""Time zones as text, and back (docs/format.md, section 8.6).

Invariant: `read_zone(zone_text(z))` gives the same times as `z`, and is `z` where the standard library
made it. Zones without a key of the IANA data base (those of a file, the local one) are refused.
"""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from aq.formats.classes import library_of
from aq.formats.errors import Unstorable

_FOLDER = "zoneinfo/"


def zone_text(zone: tzinfo | None) -> str:
    """A zone as text: empty for none, an IANA key, or an offset in seconds after `@` (and its name)."""
    if zone is None:
        return ""
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    if type(zone) is timezone:
        return _offset_text(zone)
    library = library_of(type(zone))
    text = _OF_LIBRARIES[library](zone) if library in _OF_LIBRARIES else None
    if text is None:
        raise Unstorable(f"nothing maps the time zone {zone!r}")
    return text


def read_zone(text: str) -> tzinfo | None:
    """The zone that `zone_text` wrote."""
    if not text:
        return None
    if text.startswith("@"):
        seconds, _, name = text[1:].partition(" ")
        offset = timedelta(seconds=float(seconds))
        return timezone(offset, name) if name else timezone(offset)
    return ZoneInfo(text)


def _offset_text(zone: timezone) -> str:
    offset, name = zone.utcoffset(None), zone.tzname(None)
    text = f"@{offset.total_seconds():g}"
    if abs(offset.total_seconds()) >= 100_000 or offset.microseconds:
        text = f"@{offset.total_seconds()!r}"
    return text if name == timezone(offset).tzname(None) else f"{text} {name}"


def _pytz_text(zone: Any) -> str | None:
    if getattr(zone, "zone", None):
        return str(zone.zone)
    return _offset_text(timezone(zone.utcoffset(None))) if hasattr(zone, "_minutes") else None


def _dateutil_text(zone: Any) -> str | None:
    kind = type(zone).__name__
    if kind == "tzutc":
        return "UTC"
    if kind == "tzoffset":
        return _offset_text(timezone(zone.utcoffset(None)))
    path = str(getattr(zone, "_filename", ""))
    return path.rpartition(_FOLDER)[2] if _FOLDER in path else None


_OF_LIBRARIES = {"pytz": _pytz_text, "dateutil": _dateutil_text}
