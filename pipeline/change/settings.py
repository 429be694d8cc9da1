"""The configuration of one repository: `.aq/config`, a TOML file of `section.name = value`.

Invariant: only names listed in `KNOWN` are settings; a file that cannot be read is an error
that names the line, never silently ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aq.formats.errors import AqError, NotFound, UsageError
from aq.store.system import disk

KNOWN: Final[dict[str, str]] = {
    "author.name": "the name recorded in commits",
    "author.email": "the address recorded in commits",
    "gc.retention": "how long operations and runs keep what they refer to: 30d",
    "run.jobs": "how many steps aq run executes at once: 1",
    "gc.grace": "how long aq gc leaves alone what nothing needs any more: 1h",
}
_SPANS: Final[dict[str, tuple[str, str]]] = {"gc.retention": ("30", "d"), "gc.grace": ("1", "h")}
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def load(control: Path) -> dict[str, str]:
    """All settings as {"section.name": text}; empty where there is no file."""
    path = control / "config"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise AqError(f".aq/config cannot be read: {error}", hint="edit .aq/config") from None
    import tomllib  # most repositories have no file of settings: 4 ms

    try:
        sections = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AqError(f".aq/config cannot be read: {error}", hint="edit .aq/config") from None
    return {
        f"{section}.{name}": str(value)
        for section, values in sections.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


def require_known(name: str) -> None:
    """Raise NotFound, with the nearest names, for what is no setting."""
    if name in KNOWN:
        return
    from difflib import get_close_matches

    near = get_close_matches(name, KNOWN, n=1, cutoff=0.4)
    hint = f"aq config get {near[0]}" if near else "aq config"
    raise NotFound(f"no setting '{name}' (there are {', '.join(KNOWN)})", hint=hint)


def save(control: Path, name: str, value: str) -> None:
    """Set one setting; an empty value removes it."""
    import json

    require_known(name)
    if "\n" in value or "\0" in value:
        raise UsageError(f"the value of {name} must be one line")
    settings = load(control)
    settings.pop(name, None)
    if value:
        settings[name] = value
    lines: list[str] = []
    for section in sorted({key.split(".", 1)[0] for key in settings}):
        lines.append(f"[{section}]")
        inside = {key: text for key, text in settings.items() if key.split(".", 1)[0] == section}
        lines += [f"{key.split('.', 1)[1]} = {json.dumps(text)}" for key, text in sorted(inside.items())]
    disk.write_whole(str(control / "config"), ("\n".join(lines) + "\n").encode())


def nanoseconds(settings: dict[str, str], name: str) -> int:
    """A time span such as `30d`, `12h`, `15m`, `0s`. Raises AqError where it is none."""
    text = settings.get(name, "").strip()
    number, unit = (text[:-1], text[-1]) if text else _SPANS[name]
    if not number.isdecimal() or unit not in _UNITS:
        raise AqError(
            f"{name} is {text!r}, which is no time span such as 30d, 12h or 0s",
            hint=f"aq config set {name} {''.join(_SPANS[name])}",
        )
    return int(number) * _UNITS[unit] * 10**9


def jobs(settings: dict[str, str]) -> int:
    """How many steps run at once. Raises AqError for what is no such number."""
    text = settings.get("run.jobs", "1")
    if not text.isdecimal() or int(text) < 1:
        raise AqError(f"run.jobs is {text!r}, which is no number of steps", hint="aq config set run.jobs 1")
    return int(text)


def author(settings: dict[str, str]) -> str:
    """`Name <email>` from the settings, or what there is of it."""
    name, email = settings.get("author.name", ""), settings.get("author.email", "")
    return f"{name} <{email}>" if name and email else name or email
