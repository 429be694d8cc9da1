"""Reads code_cases.txt: edits of code, and what each must do to the fingerprint of `op`.

`### NAME: VERDICT` begins a case (R: re-run, H: hit, W: re-run, and listed as opaque; `unseen`: calling
`op(2)` does not show the difference). Then come the lines of main.py, or of the file after `% `;
`--- PATH` begins another file, `+++ PATH` a file as it is after the edit. `@ OLD => NEW` is the edit
of a case of one file, `@ crlf` and `@ bom` write its bytes otherwise. `= TEXT` is a heading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Case:
    name: str
    verdict: str
    seen: bool
    file: str = "main.py"
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


def _cases(text: str) -> Iterator[Case]:
    for part in text.split("\n### ")[1:]:
        head, _, body = part.partition("\n")
        name, _, verdict = head.rpartition(": ")
        yield _read(Case(name, verdict[0], verdict[0] != "H" and not verdict.endswith("unseen")), body)


def _read(case: Case, body: str) -> Case:
    files, path, edit = case.before, "", ""
    for line in body.rstrip().split("\n"):
        if line.startswith("% "):
            case.file = line[2:]
        elif line.startswith("@ "):
            edit = line[2:]
        elif line.startswith(("--- ", "+++ ")):
            files, path = (case.before if line[0] == "-" else case.after), line[4:]
            files[path] = ""
        elif not line.startswith("= "):
            path = path or case.file
            files[path] = files.get(path, "") + line + "\n"
    case.before = {path: _trimmed(text) for path, text in case.before.items()}
    case.after = {**case.before, **{path: _trimmed(text) for path, text in case.after.items()}}
    if edit:
        case.after[case.file] = _edited(case.before[case.file], edit)
    return case


def _trimmed(text: str) -> str:
    return text.rstrip("\n") + "\n" if text.strip() else ""


def _edited(text: str, edit: str) -> str:
    if edit == "crlf":
        return text.replace("\n", "\r\n")
    if edit == "bom":
        return "\ufeff" + text
    old, new = (
        one.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\") for one in edit.split(" =>", 1)
    )
    assert old in text, edit
    return text.replace(old, new.removeprefix(" "))


CASES = list(_cases("\n" + Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")))
