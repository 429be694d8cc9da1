"""Values of torch: equal ones have equal ids wherever their memory lies, and come back as they were."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from aq.formats.artifacts.values import Encoded, decode, encode, summarise
from aq.formats.contents.files import parts
from aq.formats.errors import Unstorable
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.formats.python.canonical import fingerprint
from aq.formats.python.tensors import compare_tensors
from aq.pipeline.flow.seeds import seeded
from aq.pipeline.step import mutation
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
nn = torch.nn


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """An embedding whose weights are those of the last layer, and layers of all sorts between."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, width)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(3)])
        self.drop = nn.Dropout(0.3)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 30, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, words: Any) -> Any:
        found = self.embedding(words)
        for layer in self.layers:
            found = torch.relu(layer(found))
        return self.head(self.norm(self.drop(found)))


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def stored(value: Any) -> tuple[Encoded, MemoryObjects]:
    objects = MemoryObjects()
    return encode(value, objects), objects


def identity(value: Any) -> str:
    return str(stored(value)[0].id)


def back(value: Any) -> Any:
    encoded, objects = stored(value)
    assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)
    found = decode(encoded.artifact, objects)
    assert identity(found) == str(encoded.id)
    return found


WIDE = torch.arange(24.0).reshape(4, 6)
ALONE = {
    "float32": WIDE,
    "float64": WIDE.double(),
    "bfloat16": WIDE.bfloat16(),
    "float16": WIDE.half(),
    "float8": WIDE.to(torch.float8_e4m3fn),
    "another float8": WIDE.to(torch.float8_e5m2),
    "float4, two in a byte": torch.arange(24, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    "bool": WIDE > 3,
    "int8": WIDE.to(torch.int8),
    "uint16": WIDE.to(torch.uint16),
    "complex": torch.complex(WIDE, -WIDE),
    "a scalar": torch.tensor(3),
    "nothing": torch.zeros(0, 4),
    "gradients wanted": WIDE.clone().requires_grad_(),
    "a parameter": nn.Parameter(WIDE.clone()),
    "a frozen parameter": nn.Parameter(WIDE.clone(), requires_grad=False),
    "another shape": WIDE.reshape(6, 4),
    "transposed": WIDE.T.contiguous(),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_tensor_comes_back_as_it_was(name: str) -> None:
    value = ALONE[name]
    found = back(value)
    assert type(found) is type(value)
    assert (found.dtype, found.shape, found.requires_grad) == (value.dtype, value.shape, value.requires_grad)
    mine, theirs = (one.detach().reshape(-1).view(torch.uint8) for one in (found, value))
    assert torch.equal(mine, theirs)
    assert stored(value)[0].artifact.kind == "array"
    if value.numel():
        mine[0] = 1  # its memory is its own, and can be written


def test_tensors_that_differ_have_different_ids() -> None:
    assert len({identity(value) for value in ALONE.values()}) == len(ALONE)


SAME = {
    "strides": (WIDE.T, WIDE.T.contiguous()),
    "a view": (WIDE[1:3], WIDE[1:3].clone()),
    "expanded": (torch.ones(1).expand(5), torch.ones(5)),
    "conjugated lazily": (torch.complex(WIDE, WIDE).conj(), torch.complex(WIDE, -WIDE)),
    "negated lazily": (torch.complex(WIDE, WIDE).conj().imag, -WIDE),
    "channels last": (
        torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.ones(2, 3, 4, 5),
    ),
    "one memory, apart": ([*WIDE.view(-1).split(12)], [part.clone() for part in WIDE.view(-1).split(12)]),
    "a stride of one element": (torch.arange(4.0)[::2][:1], torch.zeros(1)),
    "strides of one": (torch.ones(1, 3).as_strided((1, 3), (7, 1)), torch.ones(1, 3)),
}


GOLDEN = {
    "plain": "d5492131f1004ed0da16b26d340ccd24e2e14d0d8a17def667abde07b41eca05",
    "bfloat16": "9c3d17f5972042ccc7e532490d719bb0656ec81c20d414b71f18c6376c1d6682",
    "tied": "5506d6e21cd69dc0467250d470955e9279edbf9d5659b575649c8e46910e16a2",
    "parameter": "aed435a3b02e49c93e0022d23f0cd77984d414d93823f63c7240820438512dfb",
}
"""What is in repositories already: these never change."""


def test_ids_are_what_they_were() -> None:
    values = {
        "plain": WIDE,
        "bfloat16": WIDE.bfloat16(),
        "tied": {"w": WIDE, "tied": WIDE.detach(), "turned": WIDE.T},
        "parameter": nn.Parameter(WIDE.clone()),
    }
    assert {name: identity(value) for name, value in values.items()} == GOLDEN


@pytest.mark.parametrize("name", SAME)
def test_memory_leaves_no_trace(name: str) -> None:
    one, other = SAME[name]
    assert identity(one) == identity(other)
    assert identity({"w": one}) == identity({"w": other})
    assert identity(back(one)) == identity(one)


def test_shared_memory_is_shared_again_and_stored_once() -> None:
    weights = torch.randn(40, 50)
    value = {
        "w": weights,
        "tied": weights.detach(),
        "turned": weights.T,
        "part": weights[3:5],
        "own": weights * 1,
    }
    encoded, objects = stored(value)
    assert len(_parts(encoded, objects)) == 1 + 2
    found = back(value)
    found["w"][3, 7] = 99.0
    assert found["tied"][3, 7] == found["turned"][7, 3] == found["part"][0, 7] == 99.0
    assert found["own"][3, 7] != 99.0
    apart = {name: tensor.clone() for name, tensor in value.items()}
    assert identity(apart) != identity(value)
    around = torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last)
    first, second = back([around, around.detach()])
    first[0, 0, 0, 0] = 7
    assert second[0, 0, 0, 0] == 7


@st.composite
def views(draw: st.DrawFn) -> list[Any]:
    """Tensors in one memory, cut and turned at will, the first of them whole and contiguous or not."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    whole = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    found = [whole.permute(draw(st.permutations(range(whole.dim()))))]
    for _ in range(draw(st.integers(1, 5))):
        view = draw(st.sampled_from([whole, *found]))
        for axis in range(view.dim()):
            first = draw(st.integers(0, view.shape[axis]))
            view = view[(slice(None),) * axis + (slice(first, None, draw(st.integers(1, 2))),)]
        view = view.permute(draw(st.permutations(range(view.dim()))))
        found.append(view.unsqueeze(0).expand(2, *view.shape) if draw(st.booleans()) else view)
    return found


@settings(max_examples=300)
@given(views())
def test_any_views_come_back_and_share_as_they_did(held: list[Any]) -> None:
    encoded, objects = stored(held)
    again = decode(encoded.artifact, objects)
    assert identity(again) == str(encoded.id)
    assert all(map(torch.equal, held, again))
    if held[0].is_contiguous():
        for tensor in (held[0], again[0]):
            tensor += 100.0
        assert all(map(torch.equal, held, again))


def _parts(encoded: Encoded, objects: MemoryObjects) -> list[Any]:
    if encoded.artifact.root is None:
        import msgspec

        found: list[Any] = msgspec.msgpack.decode(encoded.artifact.data or b"")
        return found
    return list(parts(objects, encoded.artifact.root))


def test_a_module_comes_back_with_its_ties_and_answers_alike() -> None:
    model = net().eval()
    found = back(model)
    words = torch.arange(30)
    with torch.no_grad():
        assert torch.equal(found(words), model(words))
    assert found.head.weight is found.embedding.weight
    assert identity(net()) == identity(net())
    assert identity(net(1)) != identity(net())
    assert identity(model) != identity(net())  # which is in training


def test_a_state_comes_back_with_its_ties() -> None:
    model = net()
    found = back(model.state_dict())
    assert found["head.weight"].data_ptr() == found["embedding.weight"].data_ptr()
    again = net(1)
    again.load_state_dict(found)
    assert identity(again) == identity(model)
    assert stored(model.state_dict())[0].artifact.kind == stored(model)[0].artifact.kind == "model"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_else_torch_has_is_stored_whatever_its_address() -> None:
    def others() -> list[Any]:
        plain = torch.arange(6.0).reshape(2, 3)
        return [
            plain.to_sparse(),
            plain.to_sparse_csr(),
            torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
            torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            torch.empty(3, device="meta"),
            plain.untyped_storage(),
            nn.Buffer(plain),
            (torch.float32, torch.device("cpu"), torch.Size([1, 2]), torch.strided, torch.channels_last),
            torch.Generator().manual_seed(3),
            nn.LSTM(3, 4),
        ]

    torch.manual_seed(1)
    first = others()
    torch.manual_seed(1)
    for one, other in zip(first, others(), strict=True):
        assert identity(one) == identity(other)
        back(one)
    assert back(nn.Buffer(WIDE)).persistent is True


COMPILED = {
    "scripted": (lambda: torch.jit.script(nn.Linear(2, 2)), "torch.jit.save"),
    "exported": (lambda: torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), "torch.export.save"),
    "parametrized": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "state_dict()"),
    "without numbers": (lambda: torch.arange(3, dtype=torch.uint8).view(torch.bits8), "view(torch.uint8)"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "exported" else name for name in COMPILED]
)
def test_what_would_not_load_again_is_refused_with_what_to_do(name: str) -> None:
    make, hint = COMPILED[name]
    with pytest.raises(Unstorable) as found:
        encode({"model": make()}, MemoryObjects(), at="out")
    assert "['model']" in found.value.message and "\n" not in found.value.message
    assert hint in str(found.value.hints)


def test_tensors_of_an_optimizer_have_names_of_their_own() -> None:
    layers = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    optimizer = torch.optim.Adam(layers.parameters())
    layers(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    names = [tensor["name"] for tensor in stored(optimizer)[0].summary["tensors"]]
    assert len(set(names)) == len(names) == 8
    assert "state[1]['exp_avg']" in names


def test_summaries_name_the_class_and_print_no_bytes() -> None:
    plain = torch.arange(6.0).reshape(2, 3)
    made = [plain.to_sparse(), plain.to_sparse_csr(), torch.empty(3, device="meta"), plain.clone()]
    assert {stored(one)[0].summary["class"] for one in made} == {"torch.Tensor"}
    told = stored(torch.distributions.Normal(plain, plain + 1))[0].summary
    assert "loc" not in told["hyperparameters"] and told["tensors"][0]["name"] == "loc"
    held = stored(torch.utils.data.TensorDataset(plain))[0].summary["hyperparameters"]
    assert held == {"tensors": "(Tensor(<f4, 2×3),)"}


@pytest.mark.slow
def test_an_optimizer_comes_back() -> None:
    def trained() -> Any:
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model(torch.arange(30)).square().mean().backward()
        optimizer.step()
        return optimizer

    for one, other in zip(*[[made, made.state_dict()] for made in (trained(), trained())], strict=True):
        assert identity(one) == identity(other)
        back(one)


def test_the_summary_of_a_module_reads_like_its_author() -> None:
    summary = stored(net())[0].summary
    assert summary["class"].endswith("test_torch.Net")
    assert summary["hyperparameters"]["drop.p"] == 0.3
    assert summary["hyperparameters"]["layers.1.in_features"] == 16
    tensors = {tensor["name"]: tensor for tensor in summary["tensors"]}
    assert list(tensors)[:3] == ["embedding.weight", "layers.0.weight", "layers.0.bias"]
    weight = net().layers[0].weight
    assert tensors["layers.0.weight"]["norm"] == pytest.approx(weight.norm().item())
    assert (tensors["layers.0.weight"]["dtype"], tensors["layers.0.weight"]["shape"]) == ("<f4", [16, 16])
    half = stored(net().bfloat16().state_dict())[0].summary["tensors"][1]
    assert half["dtype"] == "bfloat16"
    assert half["norm"] == pytest.approx(weight.norm().item(), rel=0.01)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_layer_that_moved_and_how_far(kind: Any) -> None:
    before, after = net().to(kind), net().to(kind)
    with torch.no_grad():
        after.layers[1].weight *= 2
    objects = MemoryObjects()
    found = compare_tensors(encode(before, objects).artifact, encode(after, objects).artifact, objects)
    assert (found["changed"], found["added"], found["removed"]) == (1, 0, 0)
    assert found["changes"][0]["name"] == "layers.1.weight"
    assert found["changes"][0]["relative"] == pytest.approx(1.0)


def test_a_layer_that_did_not_change_is_stored_once() -> None:
    objects = MemoryObjects()
    torch.manual_seed(0)
    state = {f"layer{n}": torch.randn(500, 400) for n in range(12)}
    encode(state, objects)
    sizes = []
    for version in range(6):
        known = set(objects.objects)
        state[f"layer{version}"] += 0.1
        encode(state, objects)
        sizes.append(sum(len(objects.objects[id][1]) for id in set(objects.objects) - known))
    layer = 500 * 400 * 4
    assert all(layer <= size < layer + 4_000 for size in sizes)
    assert sum(kind is Kind.CHUNK for kind, _ in objects.objects.values()) <= 12 + 6 + 7


def test_a_fingerprint_is_of_what_a_tensor_holds() -> None:
    def told(value: Any) -> str:
        return fingerprint(value, foreign=lambda inner: None)

    assert len({told(value) for value in ALONE.values()}) == len(ALONE)
    for one, other in SAME.values():
        assert told(one) == told(other)
    assert told(net()) == told(net()) != told(net(1))


def test_an_op_that_trains_its_input_in_place_is_seen() -> None:
    values = {"model": net(), "rows": torch.arange(6.0), "same": net(1)}
    before = mutation.look(values)
    assert mutation.changed(before, values) == []
    with torch.no_grad():
        values["model"].layers[1].bias += 1
        values["rows"][2] = 9
    assert mutation.changed(before, values) == ["model", "rows"]


def test_an_op_draws_the_same_numbers_again() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with seeded((1 << 64) - 3):
            drawn.append(torch.randn(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.randn(3), expected)


SCRIPT = """
import json, sys
import torch
from aq.formats.objects import MemoryObjects
from aq.formats.artifacts.values import encode
torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.LSTM(8, 2))
rows = torch.randn(16, 4)
for _ in range(3):
    model[0].zero_grad()
    model[0](rows).square().mean().backward()
    with torch.no_grad():
        model[0].weight -= model[0].weight.grad
from aq.formats.python.canonical import fingerprint
prints = [fingerprint([model, rows, rows.to_sparse(), torch.channels_last], foreign=lambda value: None)]
values = [model, model.state_dict(), [{"a", "b", "c"}, rows.to_sparse()]]
print(json.dumps(prints + [str(encode(value, MemoryObjects()).id) for value in values]))
"""


def test_ids_do_not_depend_on_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    here = io.StringIO()
    with redirect_stdout(here):
        exec(SCRIPT, {})
    assert done.stdout == here.getvalue()
    assert len(json.loads(done.stdout)) == 4
