"""Text of `diff`: paths with what differs inside them, code, params, environment, metrics.

Invariant: every list of the record has its section, in the order of the record; a detail of a
form that is not known here is printed as facts rather than left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aq.cli.text import MISSING, Cell, Row, View, aligned, columns, listed, plural, short, signed, size
from aq.cli.text_record import heading
from aq.cli.text_show import value
from aq.cli.text_table_diff import table_diff
from aq.pipeline.records.results import Diff, PathDiff
from aq.store.system.paths import show as shown

_STYLES: Final = {"added": "good", "changed": "warn", "removed": "bad", "provenance": "dim"}
_DIFF_LINES: Final = 60
_SAMPLED: Final = 3
_TENSORS: Final = 8
_COUNTED: Final = ("added", "removed", "changed", "retyped", "renamed")
_SAME_ROWS: Final = "rows: the same"
"""Of a file whose bytes differ all the same: by the ends of its lines, or by how they say nothing."""
_LINE_STYLES: Final = {"+": "good", "-": "bad", "@": "ref"}


def differs(record: Diff) -> bool:
    """Whether anything differs at all."""
    return bool(record.paths or record.code or record.params or record.environment or record.metrics)


def diff(record: Diff, view: View) -> Iterator[str]:
    """Everything that differs; one line where nothing does."""
    left = view.paint(short(record.from_) if record.from_ else "nothing", "id")
    right = view.paint(short(record.to) if record.to else "folder", "id")
    yield f"{left} → {right}{'' if differs(record) else ': no difference'}"
    if record.paths:
        yield from heading(view, "Paths")
        sampled = view.verbose > 0 or len(record.paths) <= _SAMPLED
        for one in record.paths:
            yield from path_diff(one, view, sampled=sampled)
        tables = [one.path for one in record.paths if one.detail.get("sample")]
        if tables and not sampled:
            sides = (
                f"{short(record.from_)}{f'..{short(record.to)}' if record.to else ''} "
                if record.from_
                else ""
            )
            yield view.paint(f"  rows of a table: aq diff {sides}-- {shown(tables[0])}", "dim")
    if record.code:
        yield from heading(view, "Code")
        for changed in record.code:
            yield f"  {view.paint(changed.change, _STYLES.get(changed.change, ''))} {changed.op}"
            yield from unified(changed.diff, view, indent=4)
    yield from _pairs(view, "Params", [(p.name, value(p.from_, 60), value(p.to, 60)) for p in record.params])
    packages = [(p.package, p.from_ or MISSING, p.to or MISSING) for p in record.environment]
    yield from _pairs(view, "Environment", packages)
    if record.metrics:
        yield from heading(view, "Metrics")
        rows: list[Row] = []
        for metric in record.metrics:
            before, after = aligned([metric.from_, metric.to])
            step = _step(metric.from_, metric.to)
            rows.append([metric.name, Cell(before, right=True), "→", Cell(after, right=True), step])
        yield from columns(view, rows, indent=2)


def stat(record: Diff, view: View) -> Iterator[str]:
    """A line a path: its kind, and how many rows, lines, keys, tensors or bytes differ."""
    rows: list[Row] = []
    for one in record.paths:
        change = Cell(one.change, _STYLES.get(one.change, ""))
        rows.append([change, shown(one.path), Cell(one.kind, "dim"), _counts(one.detail)])
    yield from columns(view, rows)
    counts = Counter(one.change for one in record.paths)
    told = [*((counts[word], word) for word in _STYLES), (len(record.code), "definitions changed")]
    yield listed([*told, (len(record.params), "params"), (len(record.metrics), "metrics")]) or "no difference"


def _counts(detail: Mapping[str, Any]) -> str:
    """What of a path differs, in numbers."""
    told = []
    for name, nouns in (("schema", "columns"), ("rows", "rows"), ("lines", "lines"), ("tensors", "tensors")):
        found = detail.get(name)
        if isinstance(found, Mapping):
            counts = [(_number(found.get(word)), word) for word in _COUNTED]
            told += [f"{nouns}: {listed(counts)}"] if any(count for count, _ in counts) else []
    for name in ("hyperparameters", "metadata"):
        told += [f"{name}: {len(detail[name])} changed"] if isinstance(detail.get(name), list) else []
    if isinstance(detail.get("keys"), list):
        told.append(f"keys: {len(detail['keys'])} changed" if detail["keys"] else "keys: the same")
    rows = detail.get("rows")
    if isinstance(rows, Mapping) and rows.get("reordered"):
        told.append("rows: in another order")
    if detail.get("other"):
        told.append(f"also: {', '.join(detail['other'])}")
    if not told and isinstance(rows, Mapping):
        told.append(_SAME_ROWS)
    told = told or list(filter(None, [_sizes(detail.get("size"))]))
    return ", ".join([*told, *(_unreadable(detail)[:1] if "unreadable" in detail else ())])


def _number(found: Any) -> int:
    return len(found) if isinstance(found, list) else found or 0


def _step(before: float | None, after: float | None) -> str:
    return f"({signed(after - before)})" if before is not None and after is not None else ""


def _pairs(view: View, title: str, pairs: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    if pairs:
        yield from heading(view, title)
        yield from columns(view, [[name, before, "→", after] for name, before, after in pairs], indent=2)


def path_diff(one: PathDiff, view: View, *, sampled: bool = True) -> Iterator[str]:
    """One path: how it changed, its kind, and what differs inside."""
    change = view.paint(f"{one.change:10}", _STYLES.get(one.change, ""))
    detail = dict(one.detail)
    sizes = _sizes(detail.pop("size", None)) if "schema" not in detail else ""
    yield f"  {change}  {shown(one.path)}  {view.paint(f'{one.kind} {sizes}'.rstrip(), 'dim')}"
    if one.change == "provenance":
        yield f"    {view.paint('same content, made by another step', 'dim')}"
    if not sampled:
        detail.pop("sample", None)
    yield from _detail(detail, view)


def _sizes(found: Mapping[str, int | None] | None) -> str:
    known = [size(n) for n in (found or {}).values() if n is not None]
    return " → ".join(dict.fromkeys(known))


def _detail(detail: Mapping[str, Any], view: View) -> Iterator[str]:
    if "schema" in detail or "rows" in detail:
        yield from list(table_diff(detail, view)) or [f"    {_SAME_ROWS}"]
        return
    if "unreadable" in detail:
        yield f"    {view.paint(': '.join(_unreadable(detail)), 'warn')}"
    if "diff" in detail:
        yield from unified(str(detail["diff"]), view, indent=4)
    rest = {k: v for k, v in detail.items() if k not in ("diff", "lines", "binary", "unreadable")}
    yield from facts(rest, view)


def _unreadable(detail: Mapping[str, Any]) -> tuple[str, str]:
    """Which version of a file is a table or model by its name alone, and why it cannot be read."""
    what, before, after = (detail["unreadable"][name] for name in ("as", "from", "to"))
    if before and after:
        return f"no {what}", str(after)
    return (f"no longer a {what}", str(after)) if after else (f"a {what} now, which it was not", str(before))


def facts(found: Mapping[str, Any], view: View) -> Iterator[str]:
    """What differs, a line a name: `depth  6 → 8`; then what is only counted."""
    rows: list[Row] = []
    counted: list[Row] = []
    for name, item in found.items():
        if isinstance(item, Mapping) and set(item) == {"from", "to"}:
            rows += [[Cell(inner, "dim"), *_from_to(pair)] for inner, pair in _inside(name, item)]
        elif isinstance(item, list):
            changes = [one for one in item if isinstance(one, Mapping)]
            rows += [[Cell(str(one.get("name", name)), "dim"), *_from_to(one)] for one in changes]
        elif isinstance(item, Mapping):
            counts = [f"{value(one)} {key}" for key, one in item.items() if one and key != "changes"]
            counted.append([Cell(name, "dim"), ", ".join(counts)])
            counted += [["", *_moved(one)] for one in (item.get("changes") or [])[: _moved_most(view)]]
        else:
            counted.append([Cell(name, "dim"), value(item, 100)])
    yield from columns(view, rows, indent=4)
    yield from columns(view, counted, indent=4)


def _moved_most(view: View) -> int | None:
    return None if view.verbose else _TENSORS


def _moved(tensor: Mapping[str, Any]) -> list[str | Cell]:
    """One tensor: its name, and how far it moved."""
    relative = tensor.get("relative")
    far = "another shape or kind" if relative is None else f"moved by {relative:.2%} of its norm"
    return [str(tensor.get("name") or "the array"), Cell(far, "dim")]


def _inside(name: str, item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A change of a document, as the changes of what differs inside it."""
    before, after = item["from"], item["to"]
    if not isinstance(before, dict) or not isinstance(after, dict):
        yield name, item
        return
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key) or (key in before) != (key in after):
            yield from _inside(f"{name}.{key}", {"from": before.get(key), "to": after.get(key)})


def _from_to(item: Mapping[str, Any]) -> list[str | Cell]:
    before, after = item.get("from"), item.get("to")
    numbers = all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in (before, after))
    change = _step(before, after) if numbers else ""
    return [_side(item, "from", "added"), "→", _side(item, "to", "removed"), change]


def _side(item: Mapping[str, Any], side: str, absent: str) -> str:
    """One side of a change; of a key of a JSON file null is a value, which may be there or not."""
    if item.get(side) is None and item.get("change", absent) != absent:
        return "null"
    return value(item.get(side), 60)


def unified(text: str, view: View, *, indent: int) -> Iterator[str]:
    """A unified diff, the first lines of a long one unless `-v`."""
    lines = text.replace("\r", "\\r").split("\n") if text else []
    lines = lines[2:] if lines[:1] and lines[0].startswith("--- ") else lines
    shown = lines if view.verbose or len(lines) <= _DIFF_LINES + 1 else lines[:_DIFF_LINES]
    for line in shown:
        yield f"{'':{indent}}{view.paint(line, _LINE_STYLES.get(line[:1], ''))}"
    if len(shown) < len(lines):
        rest = plural(len(lines) - len(shown), "more line")
        yield f"{'':{indent}}{view.paint(f'and {rest}: aq diff -v', 'dim')}"
