"""A batch prediction by a row-wise op: the whole, then 1 % of its rows changed, scattered or in one place.

Invariant: the op is a forest of regression trees in numpy, whose cost a user of any library would know; what
is predicted for the changed file is compared with the whole, by aq itself (`--verify`), in tiny sizes.
"""

from __future__ import annotations

import sys

from beside.flows import aq
from beside.timing import Costs, Limit, ratio, run
from beside.workloads import Bench

STEPS = ("whole", "here and there", "one place")

FLOW = """
import numpy as np
import pandas as pd
import aq

TREES, DEPTH, BLOCK = 100, 8, 1 << 16

@aq.op(rowwise=True)
def predict(rows: pd.DataFrame) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    at = draw.integers(0, 6, (TREES, 1 << DEPTH))
    cut, leaf = draw.normal(size=at.shape), draw.normal(size=(TREES, 2 << DEPTH))
    table = rows[[f"x{k}" for k in range(6)]].to_numpy()
    found = np.zeros(len(table))
    for start in range(0, len(table), BLOCK):
        part = table[start : start + BLOCK]
        for tree in range(TREES):
            node = np.ones(len(part), dtype=np.intp)
            for _ in range(DEPTH):
                goes = part[np.arange(len(part)), at[tree, node]] > cut[tree, node]
                node = 2 * node + goes
            found[start : start + BLOCK] += leaf[tree, node]
    return pd.DataFrame({"id": rows["id"], "prediction": found / TREES})

@aq.flow
def batch():
    predict(aq.read("rows.parquet"))
"""

ROWS = """
import sys
import numpy as np
import pandas as pd

count, how = int(sys.argv[1]), sys.argv[2]
draw, again = np.random.default_rng(1), np.random.default_rng(2)
measures = {f"x{k}": draw.normal(size=count).round(3) for k in range(6)}
frame = pd.DataFrame({"id": np.arange(count), **measures})
some = count // 100
at = {"whole": [], "here and there": again.choice(count, some, replace=False),
      "one place": np.arange(count // 2, count // 2 + some)}[how]
frame.loc[at, "x0"] = again.normal(size=len(at)).round(3)
frame.to_parquet("rows.parquet", compression="zstd")
"""


def measure(bench: Bench, count: int, *, verify: bool) -> Costs:
    """One warm-up and `rounds` measured rounds; `verify`: have aq compare with the whole."""
    costs, tool = Costs(), aq("aq")
    for _ in range(bench.rounds + 1):
        with bench.fresh("rowwise") as (home, variables):
            work = home / "work"
            (work / tool.file).write_text(FLOW)
            (work / "rows.py").write_text(ROWS)
            run(tool.setup, work, variables)
            for step in STEPS:
                run([[sys.executable, "rows.py", str(count), step]], work, variables)
                again = [[*tool.run[0], "--verify"]] if verify and step != "whole" else tool.run
                costs.add(tool.name, step, run(again, work, variables))
    return costs


def limits(costs: Costs) -> list[Limit]:
    """What a changed hundredth may cost of the whole, reading the file included."""
    whole = costs.median("aq", "whole")
    found = []
    for step in STEPS[1:]:
        cost = costs.median("aq", step)
        value = ratio(cost.cpu if cost else None, whole.cpu if whole else None)
        found.append(Limit(f"1 % of the rows changed {step} ÷ whole, CPU", value, 0.05))
    return found
