"""The same flow for each tool: one source, N trivial steps that take it, and a sum of them.

Invariant: every tool computes the same number, which is checked after every run; each step is one that the
tool itself decides to run or to skip. Files and commands are what a user of the tool would write.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beside.timing import Commands

AQ = """
import aq

@aq.op
def source() -> int:
    return 1

@aq.op
def step(value: int, k: int) -> int:
    return value + k

@aq.op
def total(values: list) -> int:
    found = sum(values)
    open("total.txt", "w").write(str(found))
    return found

@aq.flow
def flow():
    start = source()
    total([step.named(f"step{k}")(start, LEAF if k == 0 else k) for k in range(COUNT)])
"""

AQ_MAP = """
import aq

@aq.op
def step(k: int) -> int:
    return k + 1

@aq.flow
def flow():
    aq.map(step, [LEAF if k == 0 else k for k in range(COUNT)])
"""

JOBLIB = """
from joblib import Memory
memory = Memory(".cache", verbose=0)

@memory.cache
def source():
    return 1

@memory.cache
def step(value, k):
    return value + k

@memory.cache
def total(values):
    return sum(values)

start = source()
open("total.txt", "w").write(str(total([step(start, LEAF if k == 0 else k) for k in range(COUNT)])))
"""

HAMILTON = """
import sys
from hamilton import ad_hoc_utils, driver
from hamilton.function_modifiers import parameterize, source as of, value, inject, group

def start() -> int:
    return 1

@parameterize(**{f"step{k}": {"k": value(LEAF if k == 0 else k)} for k in range(COUNT)})
def step(start: int, k: int) -> int:
    return start + k

@inject(values=group(*[of(f"step{k}") for k in range(COUNT)]))
def total(values: list[int]) -> int:
    return sum(values)

if __name__ == "__main__":
    made = driver.Builder().with_modules(sys.modules["__main__"]).with_cache(path=".cache").build()
    open("total.txt", "w").write(str(made.execute(["total"])["total"]))
"""

REDUN = """
from redun import task
redun_namespace = "bench"

@task()
def source():
    return 1

@task()
def step(value, k):
    return value + k

@task()
def total(values):
    return sum(values)

@task(cache=False)
def write(found):
    open("total.txt", "w").write(str(found))

@task()
def main():
    start = source()
    return write(total([step(start, LEAF if k == 0 else k) for k in range(COUNT)]))
"""

SNAKEMAKE = """
def leaf(k):
    return LEAF if k == 0 else k

rule total:
    input: [f"out/{k}" for k in range(COUNT)]
    output: "total.txt"
    shell: "cat out/* | awk '{{s += $1}} END {{printf \\"%d\\", s}}' > {output}"

rule source:
    output: "source.txt"
    shell: "echo 1 > {output}"

rule step:
    input: "source.txt"
    output: "out/{k}"
    params: k=lambda wildcards: leaf(int(wildcards.k))
    shell: "read v < {input}; echo $((v + {params.k})) > {output}"
"""

DVC_HEAD = """
vars:
  - leaf: LEAF
stages:
  source:
    cmd: echo 1 > source.txt
    outs: [source.txt]
"""
DVC_STEP = """
  step{k}:
    cmd: read v < source.txt; echo $((v + {value})) > {k}.txt
    deps: [source.txt]
    outs: [{k}.txt]
"""
DVC_TOTAL = """
  total:
    cmd: "cat [0-9]*.txt | awk '{{s += $1}} END {{printf \\"%d\\", s}}' > total.txt"
    deps: [{deps}]
    outs: [total.txt]
"""


def _dvc(count: int, leaf: int) -> str:
    steps = "".join(DVC_STEP.format(k=k, value="${leaf}" if k == 0 else k) for k in range(count))
    deps = ", ".join(f"{k}.txt" for k in range(count))
    return (DVC_HEAD + steps + DVC_TOTAL.format(deps=deps)).replace("LEAF", str(leaf))


def _plain(text: str) -> Callable[[int, int], str]:
    return lambda count, leaf: text.replace("COUNT", str(count)).replace("LEAF", str(leaf))


@dataclass(frozen=True)
class FlowTool:
    """One tool: the file that says what is to be done for (count, leaf), and how it is told to do it."""

    name: str
    file: str
    source: Callable[[int, int], str]
    setup: Commands
    run: Commands
    durable: bool = False

    def write(self, folder: Path, count: int, leaf: int) -> None:
        (folder / self.file).write_text(self.source(count, leaf))


def _program() -> list[str]:
    """aq, as installed beside this Python."""
    beside = Path(sys.executable).parent / "aq"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "aq"]


def by_command(name: str, *options: str) -> FlowTool:
    """aq, with its steps done by workers that a command starts."""
    return aq(name, *options, "--executor", f"cmd:{shlex.join([*_program(), 'worker'])}")


def aq(name: str, *options: str, source: str = AQ) -> FlowTool:
    """aq, by its command line."""
    program = _program()
    run = [[*program, "run", "flow.py", "-q", *options]]
    return FlowTool(name, "flow.py", _plain(source), [[*program, "init"]], run, durable=True)


def peers(programs: Path) -> dict[str, FlowTool]:
    """The peers in a virtual environment."""
    python, redun = str(programs / "python"), str(programs / "redun")
    snakemake, dvc = str(programs / "snakemake"), str(programs / "dvc")
    return {
        "joblib": FlowTool("joblib", "flow.py", _plain(JOBLIB), [], [[python, "flow.py"]]),
        "hamilton": FlowTool("hamilton", "flow.py", _plain(HAMILTON), [], [[python, "flow.py"]]),
        "redun": FlowTool(
            "redun", "flow.py", _plain(REDUN), [[redun, "init"]], [[redun, "run", "flow.py", "main"]]
        ),
        "snakemake": FlowTool(
            "snakemake", "Snakefile", _plain(SNAKEMAKE), [], [[snakemake, "-c1", "-q", "all"]]
        ),
        "dvc": FlowTool("dvc", "dvc.yaml", _dvc, [[dvc, "init", "-q", "--no-scm"]], [[dvc, "repro", "-q"]]),
    }


PACKAGES = {
    "joblib": "joblib",
    "hamilton": "sf-hamilton",
    "redun": "redun",
    "snakemake": "snakemake",
    "dvc": "dvc",
}
