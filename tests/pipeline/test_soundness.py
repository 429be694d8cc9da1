"""By property: after any sequence of edits a run gives what running everything gives, and runs no
step whose code, inputs and arguments were seen before.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import given, settings, strategies as st

from tests.pipeline.workshop import Workshop, states

MOST = 5


@dataclass(frozen=True)
class Pipeline:
    """Step i: `(sum of its inputs + its argument) * FACTORi + helper(i % 2) % modulus`."""

    wiring: tuple[tuple[int, ...], ...]
    factors: tuple[int, ...]
    helpers: tuple[int, int] = (1, 2)
    arguments: tuple[int, ...] = (0,) * MOST
    data: int = 3
    modulus: int = 4
    comment: str = ""

    def text(self) -> str:
        lines = [f"# {self.comment}", f"MODULUS = {self.modulus}"]
        lines += [f"def helper{k}(x):\n    return x + {value}" for k, value in enumerate(self.helpers)]
        for i, factor in enumerate(self.factors):
            lines.append(f"FACTOR{i} = {factor}  # {self.comment}")
            lines.append(f"@aq.op\ndef step{i}(source, *inputs, more: int):")
            lines.append(f"    '''{self.comment}'''")
            total = f"(int(source) + sum(inputs) + more) * FACTOR{i}"
            lines.append(f"    return helper{i % 2}({total}) % MODULUS")
        lines.append("@aq.flow\ndef f():\n    data = aq.read('n.json')")
        for i, inputs in enumerate(self.wiring):
            names = "".join(f", s{j}" for j in inputs)
            lines.append(f"    s{i} = step{i}(data{names}, more={self.arguments[i]})")
        return "\n".join(lines)

    def step(self, i: int, results: list[int]) -> tuple[tuple[int, ...], int]:
        """All that step i depends on, and its result."""
        inputs = [results[j] for j in self.wiring[i]]
        parts = (i, self.factors[i], self.helpers[i % 2], self.modulus, self.data, self.arguments[i], *inputs)
        total = (self.data + sum(inputs) + self.arguments[i]) * self.factors[i]
        return parts, (total + self.helpers[i % 2]) % self.modulus


small = st.integers(0, 3)


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    size = draw(st.integers(1, MOST))
    wiring = [tuple(draw(st.lists(st.integers(0, i - 1), max_size=2))) if i else () for i in range(size)]
    return Pipeline(tuple(wiring), tuple(draw(small) for _ in range(size)))


@st.composite
def edits(draw: st.DrawFn, before: Pipeline) -> Pipeline:
    what = draw(st.sampled_from(["factors", "helpers", "arguments", "data", "modulus", "comment", "nothing"]))
    if what == "nothing":
        return before
    if what == "comment":
        return replace(before, comment=draw(st.sampled_from(["a", "b"])))
    if what in ("data", "modulus"):
        return replace(before, **{what: draw(small) + 1})
    values = list(getattr(before, what))
    values[draw(st.integers(0, len(values) - 1))] = draw(small)
    return replace(before, **{what: tuple(values)})


@settings(max_examples=10)
@given(st.data())
def test_a_run_equals_running_everything_and_runs_nothing_twice(data: st.DataObject) -> None:
    pipeline = data.draw(pipelines())
    seen: set[tuple[int, ...]] = set()
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        for _ in range(data.draw(st.integers(2, 6))):
            shop.write(pipeline.text())
            (shop.root / "n.json").write_text(str(pipeline.data))
            planned = {one.step.partition("/")[2]: one.action for one in shop.plan()}
            done = shop.run()
            results: list[int] = []
            for i in range(len(pipeline.wiring)):
                parts, result = pipeline.step(i, results)
                results.append(result)
                state = "reused" if parts in seen else "run"
                assert states(done)[f"step{i}"] == state
                assert planned[f"step{i}"] == "run" or state == "reused"
                assert shop.value(done, f"f/step{i}") == result
                seen.add(parts)
            pipeline = data.draw(edits(pipeline))
        shop.store.close()
