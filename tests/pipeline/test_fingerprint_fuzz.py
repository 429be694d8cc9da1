"""Random small projects, one random edit: where the result changes, the fingerprint must."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.code.fingerprint import fingerprint
from aq.pipeline.code.load import Project
from aq.pipeline.code.static import compare_static, snapshot_static

MODULES = ("pkg/sub", "lib", "main")
Use = tuple[str, str]  # lines to put before, and an expression of a number


class Maker:
    """Writes modules whose later definitions use earlier ones, each with numbers that an edit may change."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.count = 0
        self.lines: dict[str, list[str]] = {module: [] for module in MODULES}
        self.uses: list[tuple[str, str, str]] = []  # module, name, expression of a number with {}

    def number(self) -> int:
        return self.choose.randrange(2, 9)

    def name(self) -> str:
        self.count += 1
        return f"d{self.count}"

    def use(self, module: str) -> Use:
        """An expression over what was defined before, by whatever way leads there."""
        if not self.uses or self.choose.random() < 0.15:
            return "", str(self.number())
        home, name, expression = self.choose.choice(self.uses)
        if home == module:
            return "", expression.format(name)
        dotted = home.replace("/", ".")
        ways: list[tuple[str, str]] = [
            (f"import {dotted}", f"{dotted}.{name}"),
            (f"from {dotted} import {name}", name),
            (f"from {dotted} import {name} as other_{name}", f"other_{name}"),
            (f"import {dotted} as m_{name}", f"m_{name}.{name}"),
            (f"import {dotted} as m_{name}", f"getattr(m_{name}, '{name}')"),
        ]
        line, reached = self.choose.choice(ways)
        return line, expression.format(reached)

    def define(self, module: str) -> None:
        kinds: list[Callable[[str, str, Use], Iterator[str]]] = [
            self.constant, self.function, self.default, self.klass, self.closure, self.decorated, self.table,
            self.partial, self.instance, self.inherited, self.recursive, self.computed,
        ]  # fmt: skip
        name, use = self.name(), self.use(module)
        inside = self.choose.random() < 0.3 and "import" in use[0]
        self.inside = f"    {use[0]}\n" if inside else ""
        if use[0] and not inside:
            self.lines[module].append(use[0])
        kind = self.choose.choice([self.function, self.klass, self.closure] if inside else kinds)
        self.lines[module] += list(kind(module, name, use))

    def add(self, module: str, name: str, expression: str) -> None:
        self.uses.append((module, name, expression))

    # --- kinds of definitions: each line of code, with the expression that uses it

    def constant(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"{name} = {self.number()}"
        self.add(module, name, "{}")

    def computed(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"{name} = [{use[1]} + {self.number()}]"
        self.add(module, name, "{}[0]")

    def function(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"def {name}(x):\n{self.inside}    return x + {use[1]} * {self.number()}"
        self.add(module, name, "{}(1)")

    def default(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"def {name}(x, k={use[1]}, *, j={self.number()}):\n    return x + k + j"
        self.add(module, name, "{}(2)")

    def recursive(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"def {name}(x):\n    return {use[1]} if x < 1 else {name}(x - 1) + {self.number()}"
        self.add(module, name, "{}(2)")

    def klass(self, module: str, name: str, use: Use) -> Iterator[str]:
        body = self.inside.replace("    ", "        ", 1) + f"        return self.k + {use[1]}"
        yield f"class {name}:\n    k = {self.number()}\n    def f(self):\n{body}"
        self.add(module, name, "{}().f()")

    def inherited(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"class B{name}:\n    @property\n    def p(self):\n        return {use[1]}"
        yield f"class {name}(B{name}):\n    @staticmethod\n    def s():\n        return {self.number()}"
        self.add(module, name, self.choose.choice(["{}().p", "{}.s()"]))

    def instance(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"class C{name}:\n    def __init__(self, k):\n        self.k = k + {self.number()}"
        yield f"{name} = C{name}({use[1]})"
        self.add(module, name, "{}.k")

    def closure(self, module: str, name: str, use: Use) -> Iterator[str]:
        inner = f"    def inner(x):\n        return x + k + {use[1]}\n    return inner"
        yield f"def make_{name}(k):\n{self.inside}{inner}"
        yield f"{name} = make_{name}({self.number()})"
        self.add(module, name, "{}(3)")

    def decorated(self, module: str, name: str, use: Use) -> Iterator[str]:
        wraps = self.choose.choice(["", "    @functools.wraps(f)\n"])
        yield "import functools"
        inner = f"    def w(x):\n        return f(x) + {self.number()}\n    return w"
        yield f"def deco_{name}(f):\n{wraps}{inner}"
        yield f"@deco_{name}\ndef {name}(x):\n    return x * {use[1]}"
        self.add(module, name, "{}(2)")

    def table(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield f"{name} = {{'a': lambda x: x + {self.number()}, 'b': [{use[1]}]}}"
        self.add(module, name, self.choose.choice(["{}['a'](1)", "{}['b'][0]"]))

    def partial(self, module: str, name: str, use: Use) -> Iterator[str]:
        yield "import functools"
        yield f"def h{name}(a, b):\n    return a - b * {self.number()}"
        yield f"{name} = functools.partial(h{name}, {use[1]})"
        self.add(module, name, "{}(4)")

    def project(self) -> dict[str, str]:
        for module in MODULES:
            for _ in range(self.choose.randrange(1, 5)):
                self.define(module)
        lines, found = self.use("main"), self.use("main")
        self.lines["main"] += [lines[0], found[0], f"def op(x):\n    return x + {lines[1]} + {found[1]}"]
        self.lines["main"].append("def flow():\n    return op(1)")
        return {f"{module}.py": "\n".join(filter(None, text)) + "\n" for module, text in self.lines.items()}


def edited(files: dict[str, str], choose: random.Random) -> dict[str, str]:
    """The same with one number changed."""
    places = [(path, match) for path, text in files.items() for match in re.finditer(r"(?<!\[)\b\d\b", text)]
    path, match = choose.choice(places)
    text = files[path]
    return {**files, path: text[: match.start()] + str(int(match[0]) + 1) + text[match.end() :]}


def look(root: Path, files: dict[str, str]) -> tuple[object, Any, dict[str, Any]]:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    with Project(root) as project:
        main = project.load("main.py")
        made = fingerprint(main.op, project)
        static = snapshot_static(main.flow, {"flow/op": main.op}, project)
        try:
            result: object = main.op(1)
        except Exception as error:
            result = repr(error)
    assert made.opaque == []
    return result, (made.code, made.values, made.packages), static


def reader(files: dict[str, str]) -> Callable[[str], bytes | None]:
    return lambda path: files[path].encode() if path in files else None


@pytest.mark.parametrize("seed", range(30))
def test_no_stale_result(tmp_path: Path, seed: int) -> None:
    edit_at_random(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 1000))
def test_no_stale_result_at_length(tmp_path: Path, seed: int) -> None:
    edit_at_random(tmp_path, seed)


def edit_at_random(tmp_path: Path, seed: int) -> None:
    """Four edits of one project, each against the project as it was."""
    choose = random.Random(seed)
    files = Maker(choose).project()
    result, key, static = look(tmp_path / "a", files)
    assert look(tmp_path / "b", files)[:2] == (result, key)
    for number in range(4):
        changed = edited(files, choose)
        other, now, _ = look(tmp_path / f"c{number}", changed)
        if other != result:
            assert now != key
        found = compare_static(static, reader(changed))
        if now != key:
            assert found
        if any(one.exact for one in found):
            assert now != key, found
