"""A flow that trains a network: nothing re-runs for the address of a tensor, and it proves itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
pytestmark = pytest.mark.slow

FLOW = """
import aq, torch
from torch import nn

SHIFT = torch.arange(4.0)
SCALE = nn.Linear(4, 1)
nn.init.constant_(SCALE.weight, 0.5)
nn.init.constant_(SCALE.bias, 0.0)

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.last = nn.Linear(4, width), nn.Linear(width, 1)

    def forward(self, rows):
        return self.last(torch.relu(self.first(rows)))

@aq.op
def data():
    return torch.rand(8, 4)

@aq.op
def train(rows, width, start):
    net = Net(width)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (net(rows + SHIFT) + start.sum()).square().mean().backward()
        optimizer.step()
    return net

@aq.op
def state(net):
    return net.state_dict()

@aq.metric(better="lower")
def loss(net, rows):
    with torch.no_grad():
        return float((net(rows) + SCALE(rows)).square().mean())

@aq.flow
def fit(width: int = 3):
    rows = data()
    net = train(rows, width, torch.ones(3))
    state(net)
    loss(net, rows)
"""


def aq(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The answer of a command, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "aq", *arguments, "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": str(len(arguments))},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def states(events: list[dict[str, Any]]) -> dict[str, str]:
    return {event["step"]: event["status"] for event in events if event["event"] == "step"}


def test_a_network_is_trained_once_and_reproduced(tmp_path: Path) -> None:
    aq(tmp_path, "init")
    (tmp_path / "net.py").write_text(FLOW)
    assert set(states(aq(tmp_path, "run", "net.py")).values()) == {"run"}
    (tmp_path / "net.py").write_text(FLOW + "\n# a remark\n")
    assert set(states(aq(tmp_path, "run", "net.py")).values()) == {"reused"}
    wider = states(aq(tmp_path, "run", "net.py", "-p", "width=4"))
    assert wider == {"fit/data": "reused", "fit/train": "run", "fit/state": "run", "fit/loss": "run"}
    (tmp_path / "net.py").write_text(FLOW.replace("weight, 0.5", "weight, 0.6"))
    assert states(aq(tmp_path, "run", "net.py", "-p", "width=4"))["fit/loss"] == "run"
    aq(tmp_path, "repro", "main")
