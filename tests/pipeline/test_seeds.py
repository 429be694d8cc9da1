"""numpy is seeded whether an op finds it loaded or loads it first, and is not loaded for the seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = """
import importlib, importlib.resources, importlib.util, json, sys
FIRST
from aq.pipeline.flow.seeds import seeded

def draw():
    BODY

with seeded(1 << 40 | 5):
    assert ("numpy" in sys.modules) is IS_LOADED
    drawn = draw()
assert not [one for one in sys.meta_path if type(one).__module__ == "aq.pipeline.flow.loading"]
import numpy
after = numpy.random.rand()
with seeded(1 << 40 | 5):
    again = draw()
spec = numpy.random.__spec__
plain = type(spec.loader).__name__ == "SourceFileLoader" and numpy.random.__loader__ is spec.loader
found = len(list(importlib.resources.files("numpy.random").iterdir())) > 1
print(json.dumps([drawn, again, after in drawn, plain and found]))
"""
BODIES = [
    "import numpy as np; return [np.random.rand(), int(np.random.randint(1 << 30))]",
    "from numpy.random import rand, randint; return [rand(), int(randint(1 << 30))]",
    "assert importlib.util.find_spec('numpy.random'); import numpy as np; return [np.random.rand()]",
    "from numpy.random.mtrand import rand, randint; return [rand(), int(randint(1 << 30))]",
    "import pandas as pd; return [float(pd.Series([0.0, 1.0, 2.0]).sample(1).iloc[0])]",
]


def run(body: str, first: str) -> list[float]:
    text = LOADED.replace("BODY", body).replace("FIRST", first).replace("IS_LOADED", str(bool(first)))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    drawn, again, goes_on, is_plain = json.loads(done.stdout)
    assert drawn == again, "as where it is loaded already"
    assert not goes_on and is_plain, "the generator and the module are as they would be without"
    found: list[float] = drawn
    return found


@pytest.mark.parametrize(
    "body", [BODIES[0], *(pytest.param(one, marks=pytest.mark.slow) for one in BODIES[1:])]
)
def test_whoever_loads_numpy_it_is_seeded(body: str) -> None:
    assert run(body, "") == run(body, "import numpy.random")


@pytest.mark.slow
def test_torch_is_seeded_too_when_an_op_loads_it() -> None:
    pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
    text = """
FIRST
from aq.pipeline.flow.seeds import seeded
with seeded(7):
    from torch.nn import Linear
    drawn = Linear(2, 1).weight.tolist()
import torch
before = torch.random.get_rng_state()
with seeded(7):
    assert Linear(2, 1).weight.tolist() == drawn
assert torch.equal(torch.random.get_rng_state(), before)
print(drawn)
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", text.replace("FIRST", first)], check=True, capture_output=True
        ).stdout
        for first in ("", "import torch")
    }
    assert len(found) == 1


def test_a_module_of_the_user_with_the_name_of_a_library_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("X = 1\n")
    text = "from aq.pipeline.flow.seeds import seeded\n"
    text += "with seeded(1): import torch\nwith seeded(2): print(torch.X)"
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"1\n"


def test_nothing_is_loaded_for_a_seed() -> None:
    text = "from aq.pipeline.flow.seeds import seeded\n"
    text += "with seeded(1): import sys\nassert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True)
