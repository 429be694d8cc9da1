"""How text answers look: colour, columns, times, sizes, numbers, ids.

Invariant: pure functions of a value and a `View`; whatever a terminal could take for a command is
made visible; colour never carries meaning alone. What each answer says stands in `text_*`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

MISSING: Final = "–"
MINUS: Final = "−"
_STYLES: Final[Mapping[str, str]] = {
    "id": "33", "good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1", "ref": "36",
}  # fmt: skip
_CONTROLS: Final = (
    r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""Also what turns the direction of a line, or breaks it in some terminals."""
_COLORS: Final = r"\x1b\[[0-9;]*m"


class View(NamedTuple):
    """Where text goes: `width` is 0 where nothing is cut, `now` seconds since 1970."""

    color: bool = False
    terminal: bool = False
    width: int = 0
    now: float = 0.0
    verbose: int = 0

    def paint(self, text: str, style: str) -> str:
        """The text in a style, where colour is on. An empty style leaves it plain."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and style and text else text


class Cell(NamedTuple):
    """One cell of aligned columns."""

    text: str
    style: str = ""
    right: bool = False


Row = Sequence[str | Cell]


def columns(view: View, rows: Sequence[Row], *, indent: int = 0, gap: int = 2) -> Iterator[str]:
    """Aligned lines; the last column is cut at the terminal's width. Empty columns vanish."""
    table = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    count = max((len(row) for row in table), default=0)
    widths = [max((width(row[i].text) for row in table if i < len(row)), default=0) for i in range(count)]
    shown = [i for i in range(count) if widths[i]]
    for row in table:
        yield _line(view, [(row[i], widths[i]) for i in shown if i < len(row)], indent, gap)


def _line(view: View, cells: Sequence[tuple[Cell, int]], indent: int, gap: int) -> str:
    used, parts = indent, []
    for position, (cell, wide) in enumerate(cells):
        last = position == len(cells) - 1
        text = cut(cell.text, view.width - used) if last and view.width else cell.text
        fill = " " * (wide - width(text))
        if cell.right:
            parts.append(fill + view.paint(text, cell.style))
        else:
            parts.append(view.paint(text, cell.style) + ("" if last else fill))
        used += wide + gap
    return (" " * indent + (" " * gap).join(parts)).rstrip(" ")


def width(text: str) -> int:
    """Columns that a text takes on a terminal; styles take none."""
    if text.isascii():
        return len(re.sub(_COLORS, "", text)) if "\x1b" in text else len(text)
    from unicodedata import combining, east_asian_width

    bare = re.sub(_COLORS, "", text) if "\x1b" in text else text
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in bare)


def cut(text: str, most: int) -> str:
    """The text in at most `most` columns, an ellipsis where something is left out."""
    if width(text) <= most or "\x1b" in text:
        return text
    return text[: max(most - 1, 1)] + "…"


def visible(text: str) -> str:
    """Control characters, which could steer a terminal, as escapes; line ends, tabs, colours stay."""
    if text.isprintable():
        return text  # and the pattern is not even compiled: half a millisecond
    return re.sub(_CONTROLS, lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def first_line(text: str) -> str:
    """The subject of a message."""
    return text.split("\n", 1)[0]


def short(id: str | None, length: int = 8) -> str:
    """The first digits of an id, or a dash for none."""
    return id[:length] if id else MISSING


def ref_value(value: str | None) -> str:
    """What a ref points to: an id in short, or the name of another ref."""
    return value if value and "/" in value else short(value)


def when(view: View, time: str) -> str:
    """A time, relative on a terminal, else in UTC to the second."""
    return ago(view.now - moment(time).timestamp()) if view.terminal else f"{time[:19]}Z"


def moment(time: str) -> datetime:
    """Read RFC 3339 text, with up to nine digits of a second."""
    whole = re.sub(r"(\.\d{6})\d+", r"\1", time.replace("Z", "+00:00"))
    read = datetime.fromisoformat(whole)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


_SPANS: Final = (
    (86400 * 365.25, "year"), (86400 * 30.4375, "month"), (86400 * 7, "week"), (86400, "day"),
    (3600, "hour"), (60, "minute"),
)  # fmt: skip


def ago(seconds: float) -> str:
    """How long ago, in the largest unit of which two have passed."""
    if seconds < -60:
        return "in the future"
    for length, unit in _SPANS:
        count = int(seconds // length)
        if count >= 2 or (count == 1 and unit not in ("week", "month")):
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} seconds ago"


def size(count: int) -> str:
    """Bytes in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """A time span: `0.04 s`, `1.2 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < 0.0995:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min"


def number(value: object, digits: int = 4) -> str:
    """A number with `digits` significant ones (whole numbers whole), a dash for none."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    whole = value == int(value) and abs(value) < 1e15
    return (f"{int(value):,}" if whole else f"{value:.{digits}g}").replace("-", MINUS)


def aligned(values: Sequence[float | None], digits: int = 4) -> list[str]:
    """The values of one series, all with as many decimals as give the largest `digits` digits."""
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    if all(value == int(value) for value in known) or not 1e-5 < max(known) < 1e12:
        return [number(value) for value in values]
    decimals = max(digits - 1 - math.floor(math.log10(max(known))), 1)

    def shown(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return number(value)
        return f"{value:,.{decimals}f}".replace("-", MINUS)

    return [shown(value) for value in values]


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign."""
    return number(value, digits) if value < 0 else f"+{number(value, digits)}"


def plural(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(counts: Iterable[tuple[int, str]]) -> str:
    """`2 added, 1 changed`: only what is not zero; "" where all are."""
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)
