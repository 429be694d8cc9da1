"""A batch prediction by a row-wise op: the whole, then 1 % of its rows changed, scattered or in one place.

Invariant: each change is made to the same first table, whose results were made last. In tiny sizes what is
predicted for the changed rows is compared with the whole, by aq itself (`--verify`). CPU is that of `aq run`
alone: what stores a committed table is whoever commits it, which is said apart; a file is parsed by the run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from beside.flows import FlowTool, aq
from beside.timing import Cost, Costs, Limit, ratio, run
from beside.workloads import Bench

CHANGES = ("here and there", "one place", "gone and new")
STEPS = ("few rows", "whole", *CHANGES)
"""`few rows`: starting Python, importing what the op needs, reading the model."""

STORED = "committing "
"""What storing the table costs whoever makes it, before the run."""

FLOW = """
import pandas as pd
import aq

COLUMNS = [f"x{k}" for k in range(8)]

@aq.op(rowwise=True)
def predict(rows: pd.DataFrame, model) -> pd.DataFrame:
    return pd.DataFrame({"id": rows["id"], "prediction": PREDICTION})

@aq.flow
def batch():
    predict(aq.read("SOURCE"), aq.read("model"))
"""

PREDICTIONS = {
    "sum": 'rows["x0"] * model[0] + rows["x1"]',
    "trees": "model.predict(rows[COLUMNS])",
    "forest": "model.predict(rows[COLUMNS])",
}
"""`trees`, `forest`: scikit-learn's HistGradientBoostingRegressor and RandomForestRegressor as they come."""
SOURCES = {"value": "rows", "file": "rows.parquet"}
CASES = [(kind, source) for kind in PREDICTIONS for source in SOURCES if (kind, source) != ("forest", "file")]

ROWS = """
import sys
import time
import numpy as np
import pandas as pd
import aq

count, how, source, kind = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
draw, again = np.random.default_rng(1), np.random.default_rng(2)
count = min(count, 1_000) if how == "few rows" else count
measures = {f"x{k}": draw.normal(size=count).round(3) for k in range(8)}
frame = pd.DataFrame({"id": np.arange(count), "group": draw.integers(0, 50, count), **measures})
some = count // 100
at = {"here and there": again.choice(count, some, replace=False),
      "one place": np.arange(count // 2, count // 2 + some)}.get(how, [])
frame.loc[at, "x0"] = again.normal(size=len(at)).round(3)
if how == "gone and new":
    new = frame[: some // 2].assign(id=count + np.arange(some // 2), x0=again.normal(size=some // 2))
    kept = frame.drop(index=np.arange(count // 2, count // 2 + some - some // 2))
    frame = pd.concat([kept, new], ignore_index=True)
values = {}
if how == "few rows":
    values["model"] = [2]
    if kind != "sum":
        from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

        table = pd.DataFrame(draw.normal(size=(20_000, 8)), columns=list(measures))
        made = RandomForestRegressor() if kind == "forest" else HistGradientBoostingRegressor()
        values["model"] = made.fit(table, table["x0"] * table["x1"] + table["x2"])
if source == "file":
    frame.to_parquet("rows.parquet", compression="zstd")
else:
    values["rows"] = frame
if values:
    with aq.open(".") as repo:
        start = time.perf_counter(), time.process_time()
        repo.commit(values, message=how)
        took = time.perf_counter() - start[0], time.process_time() - start[1]
    open("stored.txt", "w").write(f"{took[0]} {took[1]}")
"""


def measure(bench: Bench, count: int, *, quick: bool) -> Costs:
    """One warm-up and `rounds` measured rounds, of one round itself.

    `quick`: a sum over a file only, and aq compares with the whole.
    """
    costs = Costs()
    cases = [case for case in CASES if case[0] == "sum" or (find_spec("sklearn") and not quick)]
    if len(cases) < len(CASES) and not quick:
        print("skipped trees and forest: scikit-learn is not installed")
    for _ in range(bench.rounds + 1 if bench.rounds > 1 else 1):
        for kind, source in [case for case in cases if not quick or case[1] == "file"]:
            with bench.fresh("rowwise") as (home, variables):
                flow = FLOW.replace("PREDICTION", PREDICTIONS[kind]).replace("SOURCE", SOURCES[source])
                (home / "work" / "flow.py").write_text(flow)
                tool = aq(f"{kind}/{source}")
                _once(tool, home / "work", variables, costs, [str(count), source, kind], quick=quick)
    return costs


def _once(
    tool: FlowTool,
    work: Path,
    variables: Mapping[str, str],
    costs: Costs,
    given: list[str],
    *,
    quick: bool,
) -> None:
    """All steps, the first table and its results put back before each change."""
    count, *rest = given
    (work / "rows.py").write_text(ROWS)
    run(tool.setup, work, variables)
    for step in [*STEPS[:2], CHANGES[-1]] if quick else STEPS:
        if step in CHANGES[1:] and not quick:
            run([[sys.executable, "rows.py", count, "whole", *rest], *tool.run], work, variables)
        run([[sys.executable, "rows.py", count, step, *rest]], work, variables)
        if rest[0] == "value" and step != "few rows":
            wall, cpu = map(float, (work / "stored.txt").read_text().split())
            costs.add(f"{STORED}{tool.name}", step, Cost(wall, cpu))
        again = [[*tool.run[0], "--verify"]] if quick and step in CHANGES else tool.run
        costs.add(tool.name, step, run(again, work, variables))


def limits(costs: Costs) -> list[Limit]:
    """What a changed hundredth may cost of the whole: all of both processes, reading a file included.

    A sum costs nothing for all rows: there pieces are to cost no more than the whole.
    """
    found = []
    for name in dict.fromkeys(tool for tool, _ in costs.rounds if not tool.startswith(STORED)):
        start, whole = (costs.median(name, step) for step in ("few rows", "whole"))
        for step in CHANGES:
            cost = costs.median(name, step)
            if start is None or whole is None or cost is None:
                continue
            value = ratio(cost.cpu, whole.cpu)
            most = 1 if name.startswith("sum") else 0.05
            found.append(Limit(f"{name}: 1 % changed, {step} ÷ whole, CPU", value, most))
            own = ratio(cost.cpu - start.cpu, whole.cpu - start.cpu)
            print(f"{name}, {step}: {own:.1%} of the whole without starting, {cost.cpu - start.cpu:.2f} s")
    return found
