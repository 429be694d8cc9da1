"""Model files are known by their tensors, as values are; whatever lies in them, nothing of it is executed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aq.formats.artifacts.values import encode
from aq.formats.contents.files import encode_stream
from aq.formats.identity import Kind
from aq.formats.models.files import compare_files, is_model_file, summarise_file
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact
from hypothesis import given, settings, strategies as st

Arrays = dict[str, Any]


def arrays(seed: int = 0) -> Arrays:
    source = np.random.default_rng(seed)
    return {
        "big": source.normal(size=(300, 200)).astype("f4"),
        "turned": np.asfortranarray(source.normal(size=(7, 5))),
        "whole": source.integers(-9, 9, 11),
        "one": np.array(2.5),
        "none": np.zeros((0, 3), "i2"),
        "yes": np.array([True, False]),
    }


def saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def safetensors(held: Arrays) -> bytes:
    library = pytest.importorskip("safetensors.numpy")
    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in held.items()}
    data: bytes = library.save(plain, metadata={"epoch": "3"})
    return data


def torch_file(held: Arrays) -> bytes:
    torch = pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
    tensors = {name: torch.from_numpy(array) for name, array in held.items()}
    return saved(lambda stream: torch.save(tensors, stream))


def joblib_file(held: Any, **options: Any) -> bytes:
    joblib = pytest.importorskip("joblib")
    return saved(lambda stream: joblib.dump(held, stream, **options))


def onnx_file(held: Arrays) -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in held.items()]
    weights.append(helper.make_tensor("listed", kind, [2], [1.5, 2.5]))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "big"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", kind, ["N", 300])],
        [helper.make_tensor_value_info("y", kind, ["N", 200])],
        weights,
    )
    data: bytes = helper.make_model(graph, producer_name="tests").SerializeToString()
    return data


WRITERS: dict[str, Callable[[Arrays], bytes]] = {
    "m.safetensors": safetensors,
    "m.npz": lambda held: saved(lambda stream: np.savez(stream, **held)),
    "folder/packed.NPZ": lambda held: saved(lambda stream: np.savez_compressed(stream, **held)),
    "m.pt": torch_file,
    "m.onnx": onnx_file,
    "m.joblib": joblib_file,
    "packed.joblib": lambda held: joblib_file(held, compress=3),
    "gzip.joblib": lambda held: joblib_file(held, compress=("gzip", 3)),
    "m.pickle": lambda held: pickle.dumps(held, protocol=4),
    **{f"m{n}.pkl": lambda held, n=n: pickle.dumps(held, protocol=n) for n in range(6)},  # type: ignore[misc]
    "m.pkl.pkl": lambda held: gzip.compress(pickle.dumps(held)),
}


def stored(data: bytes, objects: MemoryObjects) -> Artifact:
    return encode_stream(io.BytesIO(data), objects)


def summary(name: str, data: bytes) -> dict[str, Any] | None:
    objects = MemoryObjects()
    return summarise_file(name, stored(data, objects), objects)


def compared(name: str, before: bytes, after: bytes) -> dict[str, Any] | None:
    objects = MemoryObjects()
    return compare_files(name, stored(before, objects), stored(after, objects), objects)


@pytest.mark.parametrize("name", WRITERS)
def test_tensors_are_told_as_those_of_a_value(name: str) -> None:
    held = arrays()
    found = summary(name, WRITERS[name](held))
    assert found is not None
    told = {tensor["name"]: tensor for tensor in found["tensors"] if tensor["name"] != "listed"}
    value = encode(dict(held, more=()), MemoryObjects()).summary["tensors"]
    assert told == {tensor["name"]: tensor for tensor in value}


@pytest.mark.parametrize("name", WRITERS)
def test_two_versions_differ_by_the_tensors_that_moved(name: str) -> None:
    held = arrays()
    before = WRITERS[name](held)
    held["big"] = held["big"] * np.float32(1.5)
    held["turned"] = held["turned"].reshape(5, 7)
    held["other"] = held.pop("whole")
    found = compared(name, before, WRITERS[name](held))
    assert found is not None
    tensors = found["tensors"]
    assert (tensors["added"], tensors["removed"], tensors["changed"]) == (1, 1, 2)
    assert [one["name"] for one in tensors["changes"]] == ["big", "turned"]
    assert tensors["changes"][0]["relative"] == pytest.approx(0.5)
    assert tensors["changes"][1]["relative"] is None
    again = compared(name, before, WRITERS[name](arrays()) + b"\0" * (".p" in name))
    assert again is not None
    assert "tensors" not in again


def test_one_array_alone() -> None:
    array = np.asfortranarray(arrays()["big"])
    data = saved(lambda stream: np.save(stream, array))
    found = summary("m.npy", data)
    assert found is not None
    assert found["tensors"][0]["norm"] == pytest.approx(np.linalg.norm(array))
    double = compared("m.npy", data, saved(lambda stream: np.save(stream, array * 2)))
    assert double is not None
    assert double["tensors"]["changes"][0]["relative"] == pytest.approx(1.0)


def test_only_what_differs_is_read() -> None:
    class Counting(MemoryObjects):
        read = 0

        def get(self, kind: Kind, id: bytes) -> bytes:
            data = super().get(kind, id)
            self.read += len(data)
            return data

    objects, held = Counting(), {f"layer{n}": np.random.default_rng(n).random((500, 400)) for n in range(12)}
    before = stored(safetensors(held), objects)
    held["layer7"] += 1
    after = stored(safetensors(held), objects)
    objects.read = 0
    found = compare_files("m.safetensors", before, after, objects)
    assert found is not None
    assert found["tensors"]["changed"] == 1
    assert objects.read < 4 * held["layer7"].nbytes + 8_000_000 < after.size


def estimators() -> tuple[Any, Any]:
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).random((60, 3))
    target = (rows[:, 0] > 0.5).astype(int)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=np.float64(0.5))).fit(rows, target)
    return pipeline, ensemble.RandomForestClassifier(7, random_state=0).fit(rows, target)


def test_an_estimator_in_a_file_reads_like_one_in_the_store() -> None:
    pipeline, forest = estimators()
    for model in (pipeline, forest):
        value = encode(model, MemoryObjects()).summary
        files = [joblib_file(model), joblib_file(model, compress=9), *map(pickle.dumps, [model])]
        for found in (summary("m.pkl", data) for data in files):
            assert found is not None
            assert {name: found[name] for name in value if name != "tensors"} == {
                name: item for name, item in value.items() if name != "tensors"
            }
            digests = {tensor["digest"] for tensor in found["tensors"]}
            assert digests == {tensor["digest"] for tensor in value["tensors"]}
    assert value["fitted"]["trees"] == 7
    assert value["fitted"]["tree_nodes"] == sum(tree.tree_.node_count for tree in forest.estimators_)
    assert value["library"].startswith("scikit-learn 1.")


def test_skops_without_skops() -> None:
    library = pytest.importorskip("skops.io")
    pipeline, forest = estimators()
    found = summary("m.skops", library.dumps(pipeline))
    assert found is not None
    value = encode(pipeline, MemoryObjects()).summary
    assert found["class"] == value["class"]
    assert found["hyperparameters"] == value["hyperparameters"]
    named = {tensor["name"]: tensor["digest"] for tensor in found["tensors"]}
    assert {tensor["name"]: tensor["digest"] for tensor in value["tensors"]}.items() <= named.items()
    changed = compared("m.skops", library.dumps(pipeline), library.dumps(pipeline.set_params(memory="cache")))
    assert changed is not None
    assert changed["hyperparameters"] == [{"name": "memory", "from": None, "to": "cache"}]
    grown = summary("m.skops", library.dumps(forest))
    assert grown is not None
    assert grown["class"].endswith("RandomForestClassifier")


def test_skops_tells_a_model_that_is_held_twice_once() -> None:
    library = pytest.importorskip("skops.io")
    ensemble, tree = pytest.importorskip("sklearn.ensemble"), pytest.importorskip("sklearn.tree")
    rows = np.arange(40.0).reshape(20, 2) % 7
    inner = tree.DecisionTreeClassifier(random_state=0)
    votes = ensemble.VotingClassifier([("one", inner), ("two", inner)]).fit(rows, rows[:, 0] > 3)
    found = summary("m.skops", library.dumps(votes))
    assert found is not None
    assert found["fitted"] == encode(votes, MemoryObjects()).summary["fitted"] != {}


def test_a_checkpoint_in_a_file_reads_like_one_in_the_store() -> None:
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1, momentum=0.9)
    layers(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {"model": layers.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    buffer = {"mean": torch.nn.Buffer(torch.ones(3)), "loss": 0.5}
    for value in (state, buffer, layers.state_dict()):
        stream = io.BytesIO()
        torch.save(value, stream)
        found, expected = summary("m.pt", stream.getvalue()), encode(value, MemoryObjects()).summary
        assert found is not None
        for fact in ("class", "hyperparameters", "tensors"):
            assert found[fact] == expected[fact]
    assert expected["hyperparameters"] == {}
    after = io.BytesIO()
    torch.save({**state, "epoch": 4}, after)
    before = io.BytesIO()
    torch.save(state, before)
    changed = compared("m.pt", before.getvalue(), after.getvalue())
    assert changed == {"parsed": "torch", "hyperparameters": [{"name": "epoch", "from": 3, "to": 4}]}


def test_a_pickle_without_tensors_says_how_it_differs() -> None:
    changed = compared("m.pkl", pickle.dumps(frozenset({1})), pickle.dumps(frozenset({2})))
    assert changed == {"parsed": "pickle", "shown": {"from": "{1}", "to": "{2}"}}


def test_a_module_of_torch_in_a_file() -> None:
    torch = pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")
    weights = torch.arange(20.0).reshape(4, 5)
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Dropout(0.25))
    module[0].weight.data = weights.T.contiguous().T
    state = {"half": weights.bfloat16(), "part": weights[1:3, ::2], "small": weights.to(torch.float8_e5m2)}
    found = summary("m.pth", saved(lambda stream: torch.save(module, stream)))
    assert found is not None
    assert found["class"] == "torch.nn.modules.container.Sequential"
    assert found["hyperparameters"]["1.p"] == 0.25
    assert found["tensors"] == encode(module, MemoryObjects()).summary["tensors"]
    found = summary("m.ckpt", saved(lambda stream: torch.save({"epoch": 3, "model": state}, stream)))
    assert found is not None
    value = encode({"epoch": 3, "model": state}, MemoryObjects()).summary["tensors"]
    assert found["tensors"][0] == value[0]
    assert [tensor["dtype"] for tensor in found["tensors"]] == ["bfloat16", "<f4", "float8_e5m2"]
    assert found["tensors"][1]["digest"] == _digest(state["part"])


def test_a_tensor_that_repeats_itself_is_not_written_out_without_end() -> None:
    torch = pytest.importorskip("torch", reason="`make test TORCH=torch==2.13.0` runs the tests of torch")

    def repeated(times: int) -> dict[str, Any] | None:
        wide = {"w": torch.ones(3).expand(times, 3)}
        return summary("m.pt", saved(lambda stream: torch.save(wide, stream)))

    found = repeated(1000)
    assert found is not None
    assert found["tensors"][0]["norm"] == pytest.approx(3000**0.5)
    assert repeated(1 << 40) is None


def _digest(tensor: Any) -> str:
    return str(encode([tensor.clone(), ()], MemoryObjects()).summary["tensors"][0]["digest"])


def test_a_graph_says_what_goes_in_and_out() -> None:
    found = summary("m.onnx", onnx_file(arrays()))
    assert found is not None
    assert (found["producer"], found["graph"]) == ("tests", "net")
    assert found["inputs"] == {"x": "float32[N, 300]"}
    assert found["operators"] == {"MatMul": 1}
    listed = next(tensor for tensor in found["tensors"] if tensor["name"] == "listed")
    assert listed["norm"] == pytest.approx(np.linalg.norm([1.5, 2.5]))


def test_names_decide_and_content_may_disagree() -> None:
    assert is_model_file("a/b.SafeTensors")
    assert not is_model_file("a.pkl/b")
    assert not is_model_file(".pkl")
    for name in ("m.safetensors", "m.npy", "m.npz", "m.pt", "m.onnx", "m.skops", "m.pkl", "m.joblib"):
        for data in (b"", b"hello world, this is text", b"PK\x03\x04", b"\x80\x04", bytes(100_000)):
            assert summary(name, data) is None
            assert compared(name, data, data) is None


GOOD = {
    name: WRITERS[name]({"w": np.arange(20.0).reshape(4, 5), "o": np.arange(3)})
    for name in ("m.npz", "folder/packed.NPZ", "m2.pkl", "m5.pkl")
}


@settings(max_examples=300)
@given(st.sampled_from(sorted(GOOD)), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_bytes(name: str, at: int, byte: int, cut: bool) -> None:
    data = bytearray(GOOD[name])
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] = byte
    for found in (summary(name, bytes(data)), compared(name, GOOD[name], bytes(data))):
        assert found is None or found


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_of_every_library_are_bytes(seed: int) -> None:
    source = random.Random(seed)
    for name, write in WRITERS.items():
        try:
            good = write({"big": np.arange(20.0).reshape(4, 5), "o": np.arange(3)})
        except pytest.skip.Exception:
            continue
        for _ in range(40):
            data = bytearray(good)
            data[source.randrange(len(data))] = source.randrange(256)
            summary(name, bytes(data[: source.randrange(len(data)) if source.random() < 0.3 else None]))


HOSTILE_HEADERS: list[Any] = [
    {"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
    {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    {"w": {"dtype": "F32", "shape": [2], "data_offsets": [4, 0]}},
    {"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
    {"w": {"dtype": 4, "shape": None}},
    [1],
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=str)
def test_a_header_that_lies_is_not_believed(header: Any) -> None:
    text = json.dumps(header).encode()
    assert summary("m.safetensors", len(text).to_bytes(8, "little") + text + bytes(8)) is None


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch exploded",)


def bombs() -> dict[str, bytes]:
    plain = pickle.dumps({"model": Bomb(), "w": np.arange(3)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("m/data.pkl", plain)
        zipped.writestr("m/byteorder", "little")
    skops = io.BytesIO()
    with zipfile.ZipFile(skops, "w") as zipped:
        node = {"__class__": "system", "__module__": "os", "__loader__": "ObjectNode", "content": None}
        zipped.writestr("schema.json", json.dumps(node))
    objects = np.array([Bomb(), 1], object)
    return {
        "m.pkl": plain,
        "m.pickle": pickle.dumps(Bomb(), protocol=0),
        "m.joblib": joblib_file({"model": Bomb(), "o": objects}),
        "packed.joblib": joblib_file({"model": Bomb()}, compress=3),
        "m.pt": archive.getvalue(),
        "old.pt": plain,
        "m.skops": skops.getvalue(),
        "m.npy": saved(lambda stream: np.save(stream, objects)),
        "m.npz": saved(lambda stream: np.savez(stream, objects=objects, w=np.arange(3))),
    }


LOOK = """
import os, sys
import aq
with aq.open(".") as repo:
    repo.log()
    repo.diff("main~1", "main")
    for name in sys.argv[1:]:
        print(name, sorted(repo.get(name).summary))
print(sorted({"torch", "sklearn", "joblib", "skops", "safetensors"} & set(sys.modules)))
"""


def test_looking_at_files_executes_nothing_of_what_is_in_them(tmp_path: Path) -> None:
    import aq

    with aq.init(tmp_path) as repo:
        for extra in (b"", b" "):
            for name, data in bombs().items():
                (tmp_path / name).write_bytes(data + extra)
            repo.add(["."])
            repo.commit(message="bombs")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *bombs()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "m.pkl ['class', 'format'" in done.stdout
    assert "m.npz ['format', 'objects', 'tensors']" in done.stdout
    for command in (["fsck", "--full"], ["show", "main"], ["show", "main:m.pkl"], ["diff", "main~1..main"]):
        subprocess.run([sys.executable, "-m", "aq", *command], cwd=tmp_path, capture_output=True, check=True)
    assert not (tmp_path / "exploded").exists()
    pickle.loads((tmp_path / "m.pkl").read_bytes())  # the bomb is a bomb
    assert Path("exploded").exists()
    Path("exploded").unlink()


UNASKED = """
import sys
import numpy as np, pandas as pd
import aq
with aq.init(sys.argv[1]) as repo:
    repo.commit({"t": pd.DataFrame({"a": [1, 2]}), "w": {"a": np.arange(9)}, "x": [1, "a"], "s": {1, 2}})
    repo.diff("main", "main")
    libraries = {"torch", "onnx", "safetensors", "skops", "sklearn", "joblib", "ml_dtypes"}
    print(sorted(libraries & set(sys.modules)))
"""


def test_nothing_is_imported_that_nobody_asked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNASKED, str(tmp_path / "r")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_what_aq_hands_out_as_a_pickle_reads_like_the_value() -> None:
    from aq.formats.artifacts.values import file_bytes

    pipeline, _ = estimators()
    values = [pipeline, {"more": (), **arrays()}]
    torch = sys.modules.get("torch")
    if torch is not None:
        values.append({"w": torch.arange(5000.0), "half": torch.ones(3).bfloat16()})
    for value in values:
        objects = MemoryObjects()
        encoded = encode(value, objects)
        data = b"".join(file_bytes(encoded.artifact, objects))
        found = summary("m.pkl", data)
        assert found is not None
        assert found["tensors"] == encoded.summary["tensors"]
        assert type(pickle.loads(data)) is type(value)
