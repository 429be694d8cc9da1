"""Versions of a model of which one layer changed take that layer's bytes, however the model is kept."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aq
import numpy as np
import pytest

Layers = dict[str, Any]
LAYERS = 12
OVERHEAD = 16_000
"""Bytes of a commit beside its content: records, snapshot, a graph's or archive's head."""


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[aq.Repo]:
    with aq.init(tmp_path / "r") as repo:
        yield repo


def layers(width: int) -> Layers:
    source = np.random.default_rng(0)
    return {f"layer{n}": source.normal(size=(width, 700)).astype("f4") for n in range(LAYERS)}


def tune(held: Layers, version: int) -> int:
    """Change one layer; returns its bytes."""
    name = f"layer{version * 5 % LAYERS}"
    held[name] = held[name] + np.random.default_rng(version).normal(size=held[name].shape).astype("f4") / 100
    return int(held[name].nbytes)


def as_torch(held: Layers) -> Any:
    torch = pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
    return {name: torch.from_numpy(array) for name, array in held.items()}


def as_module(held: Layers) -> Any:
    torch = pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
    module = torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in held])
    for layer, array in zip(module, held.values(), strict=True):
        layer.weight = torch.nn.Parameter(torch.from_numpy(array))
    return module


def as_network(held: Layers) -> Any:
    networks = pytest.importorskip("sklearn.neural_network")
    network = networks.MLPRegressor((2,), max_iter=1)
    network.coefs_ = list(held.values())
    return network


VALUES: dict[str, Callable[[Layers], Any]] = {
    "arrays by name": lambda held: held,
    "one array of all": lambda held: np.stack([*held.values()]),
    "a state of torch": as_torch,
    "a module of torch": as_module,
    "a network of scikit-learn": as_network,
}


def torch_file(held: Layers) -> bytes:
    state, stream = as_torch(held), io.BytesIO()
    import torch

    torch.save(state, stream)
    return stream.getvalue()


def safetensors(held: Layers) -> bytes:
    data: bytes = pytest.importorskip("safetensors.numpy").save(held)
    return data


def npz(held: Layers) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **held)
    return stream.getvalue()


FILES: dict[str, Callable[[Layers], bytes]] = {
    "m.safetensors": safetensors,
    "m.npz": npz,
    "m.pt": torch_file,
    "m.pkl": pickle.dumps,
}


def commit(repo: aq.Repo, kind: str, held: Layers) -> int:
    """Commit the layers, as a value or as a file; returns the new bytes."""
    if kind in VALUES:
        return int(repo.commit({"model": VALUES[kind](held)}).bytes.new)
    (repo.root / kind).write_bytes(FILES[kind](held))
    repo.add([kind])
    return int(repo.commit(message="tuned").bytes.new)


@pytest.mark.parametrize("kind", [*VALUES, *FILES])
def test_a_tuned_layer_takes_its_own_bytes(repo: aq.Repo, kind: str) -> None:
    held = layers(600)
    commit(repo, kind, held)
    took = [(commit(repo, kind, held), layer) for layer in (tune(held, n) for n in range(1, 5))]
    most = 1.0 if kind in VALUES and kind != "one array of all" else 1.1
    assert all(new <= most * layer + OVERHEAD for new, layer in took), [new / layer for new, layer in took]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrays by name", "a state of torch", "m.safetensors", "m.npz"])
def test_a_hundred_versions_take_a_layer_each(repo: aq.Repo, kind: str) -> None:
    held = layers(600)
    commit(repo, kind, held)
    took = [(commit(repo, kind, held), layer) for layer in (tune(held, n) for n in range(1, 101))]
    assert sum(new for new, _ in took) <= (1.1 if kind in FILES else 1.01) * sum(layer for _, layer in took)
    revisions = ("main", "main~50", "main~100")
    if kind in FILES:
        assert repo.get(f"main:{kind}").bytes() == FILES[kind](held)
        assert [len(repo.get(f"{one}:{kind}").summary["tensors"]) for one in revisions] == [LAYERS] * 3
    else:
        again = repo.get("main:model").load()
        assert all(np.array_equal(again[name], array) for name, array in held.items())


@pytest.mark.parametrize("kind", ["arrays by name", "one array of all", "a state of torch"])
def test_a_few_changed_numbers_take_little(repo: aq.Repo, kind: str) -> None:
    held = layers(600)
    commit(repo, kind, held)
    held["layer7"] = held["layer7"].copy()
    held["layer7"][[3, 400]] *= 2
    assert commit(repo, kind, held) < 2 * 700 * 4 + OVERHEAD
    again = repo.get("main:model").load()
    found = again[7] if kind == "one array of all" else again["layer7"]
    assert np.array_equal(found, held["layer7"])
    before = repo.get("main~1:model").load()
    assert not np.array_equal(before[7] if kind == "one array of all" else before["layer7"], held["layer7"])
