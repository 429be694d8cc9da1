"""The pages say what is so: links resolve, each page can be reached, what they type works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return BLOCK.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each internal link of a page: as written, the file, the anchor."""
    for written in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", written):
            name, _, anchor = written.partition("#")
            yield written, (page.parent / name).resolve() if name else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links_resolve(page: Path) -> None:
    for written, target, anchor in links(page):
        assert target.exists(), f"{page.name}: {written}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {written}"


def test_every_page_can_be_reached() -> None:
    seen, wanted = set(), [ROOT / "README.md"]
    while wanted:
        page = wanted.pop()
        if page in seen:
            continue
        seen.add(page)
        for _, target, _ in links(page):
            wanted += sorted(target.glob("*.md")) if target.is_dir() else [target] * (target.suffix == ".md")
    assert not [str(page.relative_to(ROOT)) for page in PAGES if page not in seen]


def typed_lines(text: str) -> list[tuple[str, str]]:
    """The commands of a `console` block, each with what it prints."""
    return re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def matches(wanted: list[str], said: list[str]) -> bool:
    """Whether the lines are as printed; `…` stands for anything; nothing printed for anything at all."""
    pattern = "\n".join(re.escape(line).replace("…", ".*") for line in wanted)
    return not wanted or re.fullmatch(pattern, "\n".join(said), re.DOTALL) is not None


class Reader:
    """Somebody who types what the README says into one folder."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.folder = folder
        self.environment = {**os.environ, "PATH": path, "AQ_AUTHOR": "you", "PYTHONUNBUFFERED": "1"}
        self.typed = 0

    def python(self, text: str) -> None:
        """A block that names a file in its first line is that file; another is run."""
        name = re.match(r"# (\S+\.py)\n", text)
        (self.folder / (name[1] if name else "typed.py")).write_text(text)
        if not name:
            self.console("$ python typed.py\n")

    def console(self, text: str) -> None:
        for command, printed in typed_lines(text):
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            wanted, said = lines(printed), lines(done.stdout)
            assert done.returncode == 0, f"$ {command}\n{done.stdout}"
            assert matches(wanted, said), f"$ {command}\nthe page: {wanted}\nsaid: {said}"
            self.typed += 1


@pytest.mark.parametrize("page", ["README.md", "docs/tables.md"])
def test_what_a_page_types_runs(tmp_path: Path, page: str) -> None:
    reader = Reader(tmp_path)
    for language, text in BLOCK.findall((ROOT / page).read_text("utf-8")):
        if language == "python":
            reader.python(text)
        elif language == "console":
            reader.console(text)
    assert reader.typed >= 9


def test_the_glossary_has_the_words_in_order() -> None:
    words = re.findall(r"^\| ([a-z]+) \|", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.MULTILINE)[
        1:
    ]
    assert words == sorted(words)
    assert {"artifact", "chunk", "segment", "snapshot", "commit", "ref", "operation"} <= set(words)
    assert {"op", "step", "flow", "run", "key", "metric", "check"} <= set(words)
