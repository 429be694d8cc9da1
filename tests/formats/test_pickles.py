"""Pickles are the same for the same value, in every process; aliases, cycles and places survive."""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import functools
import io
import os
import pathlib
import pickle
import pickletools
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aq.formats.artifacts.values import decode, encode, summarise
from aq.formats.contents.files import parts
from aq.formats.errors import AqError, Unstorable
from aq.formats.identity import Kind, object_id
from aq.formats.objects import MemoryObjects
from aq.formats.python.pickler import Pickler
from hypothesis import given, strategies as st

from tests.formats.test_values import same


class Box:
    """Anything with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def opcodes(value: Any) -> bytes:
    pickler = Pickler(lambda data, dtype: None)
    pickler.save(value)
    return pickler.opcodes


def identity(value: Any) -> str:
    return str(encode(value, MemoryObjects()).id)


def back(value: Any) -> Any:
    objects = MemoryObjects()
    return decode(encode(value, objects).artifact, objects)


@pytest.fixture
def restored_random() -> Iterator[None]:
    state = np.random.get_state()
    yield
    np.random.set_state(state)


def unshared(text: str) -> str:
    """An equal text that is another object."""
    return bytes(text, "utf-8").decode()


TWO = {
    "texts": ([unshared("name"), unshared("name")], ["name"] * 2),
    "byte strings": ([bytes(bytearray(b"ab")), b"ab"], [b"ab"] * 2),
    "tuples": ([(1, "a", (2.5,)), (1, unshared("a"), (float("2.5"),))], [(1, "a", (2.5,))] * 2),
    "frozensets": ([frozenset({1, 2}), frozenset([2, 1])], [frozenset({1, 2})] * 2),
    "dates": ([datetime.date(2026, 1, 1), datetime.date(2026, 1, 1)], [datetime.date(2026, 1, 1)] * 2),
    "decimals": ([decimal.Decimal("1.5"), decimal.Decimal("1.5")], [decimal.Decimal("1.5")] * 2),
    "ids": ([uuid.UUID(int=7), uuid.UUID(int=7)], [uuid.UUID(int=7)] * 2),
    "paths": (
        [pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("a", "b")],
        [pathlib.PurePosixPath("a/b")] * 2,
    ),
    "numpy scalars": ([np.float64(1.5), np.float64(1.5)], [np.float64(1.5)] * 2),
    "dtypes": ([np.dtype("f8"), np.dtype("f8", copy=True)], [np.dtype("f8")] * 2),
    "sets": ([{"b", "a", (1, 2), None}], [{None, (1, 2), "a", "b"}]),
    "memory order": (
        {"w": np.arange(6.0).reshape(2, 3)},
        {"w": np.asfortranarray(np.arange(6.0).reshape(2, 3))},
    ),
    "views": ({"w": np.arange(5)}, {"w": np.arange(10)[:5] + 0}),
    "strides": ({"w": np.arange(0, 10, 2)}, {"w": np.arange(10)[::2]}),
    "object arrays": ([np.array([["a", 1], [None, 2]], object)], [np.array([["a", None], [1, 2]], object).T]),
    "attributes": (Box(a=unshared("x"), b=("y",)), Box(a="x", b=(unshared("y"),))),
}


@pytest.mark.parametrize("name", TWO)
def test_equal_values_have_equal_ids_however_they_are_shared(name: str) -> None:
    one, other = TWO[name]
    assert identity(one) == identity(other)
    assert identity(back(one)) == identity(one)


DIFFERENT = [
    ([(1, 2), (1, 2)], [(1, 2), (1.0, 2)], [(1, 2), (True, 2)], [(1, 2), [1, 2]]),
    ([(0.0,)], [(-0.0,)]),
    (
        {"w": np.arange(3.0)},
        {"w": np.arange(3)},
        {"w": np.arange(3, dtype=">f8")},
        {"w": np.arange(3.0)[None]},
    ),
    ([{1, 2}, None], [frozenset({1, 2}), None], [[1, 2], None]),
    ({1: "a", 2: "b"}, {2: "b", 1: "a"}),
    (Box(a=1), Box(a=2), Box(b=1)),
]


@pytest.mark.parametrize("group", DIFFERENT, ids=range(len(DIFFERENT)))
def test_different_values_have_different_ids(group: tuple[Any, ...]) -> None:
    assert len({identity(value) for value in group}) == len(group)


@pytest.mark.parametrize(
    "array",
    [
        np.ma.masked_array([1.5, 2.5], [0, 1]),
        np.ma.masked_array(["a", "bc"], [0, 1]),
        np.ma.masked_array([0.1, "x"], [1, 0], dtype=object),
        np.ma.masked_array([(1, 2.0)], [(0, 1)], dtype="i4,f8"),
        np.ma.masked_array([1, 2], [0, 1], fill_value=7),
    ],
    ids=range(5),
)
def test_masked_arrays_are_the_same_once_loaded_or_filled(array: Any) -> None:
    first = identity([array])
    loaded = back([array])[0]
    assert loaded.fill_value == array.fill_value
    assert identity([loaded]) == identity([array]) == first
    if array.dtype.kind in "fi":
        array.fill_value = 3
        assert identity([array]) != first


def test_the_generator_of_numpys_functions_is_named(restored_random: None) -> None:
    """scipy's distributions hold it, whose state no two processes share."""
    holder = {"C": Box(random=np.random.mtrand._rand)}
    first = identity(holder)
    np.random.seed(5)
    assert identity(holder) == first
    assert back(holder)["C"].random is np.random.mtrand._rand
    assert identity(np.random.RandomState(5)) != identity(np.random.RandomState(6))


def test_aliases_survive_and_count() -> None:
    inner, array = [1], np.arange(2_000.0)
    shared = back({"a": inner, "b": inner, "c": array, "d": array, "e": (inner, array)})
    assert shared["a"] is shared["b"] is shared["e"][0]
    assert shared["c"] is shared["d"] is shared["e"][1]
    apart = back({"a": [1], "b": [1], "c": array, "d": array.copy(), "e": 1})
    assert apart["a"] is not apart["b"]
    assert apart["c"] is not apart["d"]
    assert identity({1: inner, 2: inner}) != identity({1: [1], 2: [1]})


def test_cycles_survive() -> None:
    flat: list[Any] = [()]
    flat.append(flat)
    flat.append((flat, {"again": flat}))
    box = Box()
    box.me, box.tuple = box, (box,)
    box.list = [box.tuple, (box,)]
    node = collections.deque([1])
    node.append(node)
    for value in (flat, box, node):
        assert identity(value) == identity(value)
    found = back(flat)
    assert found[1] is found
    assert found[2][0] is found
    assert found[2][1]["again"] is found
    again = back(box)
    assert again.me is again
    assert again.tuple[0] is again
    assert again.list[0] == again.list[1] == again.tuple
    assert back(node)[1][0] == 1


class Loop:
    """Its arguments lead back to itself: through a list of its own, or through a new tuple each time."""

    def __init__(self, held: Any = None, *, endless: bool = False) -> None:
        self.held = [self] if held is None else held
        self.endless = endless

    def __reduce__(self) -> Any:
        return Loop, ((self,) if self.endless else self.held,)


def test_arguments_that_lead_back_end() -> None:
    again = back([Loop()])[0]
    assert again.held[0] is again
    with pytest.raises(Unstorable, match="…"):
        encode([Loop(endless=True)], MemoryObjects())


def test_tuples_of_equal_mutables_stay_apart() -> None:
    ((one, other, *_),) = (back([({"a": 1},), ({"a": 1},), ([1],), ([1],)]),)
    assert one[0] is not other[0]
    deep: Any = (1,)
    for _ in range(1_000):
        deep = (deep,)
    wide: Any = (1, "a")
    for _ in range(12):
        wide = (wide,) * 64
    again = back([deep, wide, copy_of(wide)])
    assert opcodes(again) == opcodes([deep, wide, wide])


def copy_of(value: Any) -> Any:
    """The same nesting of tuples in new memory, as shared as it was."""
    return pickle.loads(pickle.dumps(value))


def test_depth_has_no_limit() -> None:
    deep: Any = ()
    for _ in range(20_000):
        deep = [deep, 1]
    again = back(deep)
    for _ in range(20_000):
        (again, one) = again
        assert one == 1
    assert again == ()


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.text(), st.integers()), inner)
        | st.sets(st.text() | st.integers() | st.binary())
        | st.frozensets(st.tuples(st.text(), st.booleans()))
    ),
    max_leaves=25,
)


@given(PLAIN)
def test_any_structure_survives_and_python_reads_it(value: Any) -> None:
    assert same(value, back((value,))[0])
    data = opcodes(value)
    assert same(value, pickle.loads(data))
    pickletools.dis(data, io.StringIO())
    assert opcodes(pickle.loads(data)) == data
    assert opcodes(pickle.loads(pickle.dumps(value))) == data


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """Lists, dicts, tuples, sets, boxes and arrays that refer to each other at will, in cycles too."""
    nodes: list[Any] = [1, "a", b"b", 2.5, np.arange(3), (1, "a")]
    open_nodes: list[Any] = []
    for kind in draw(
        st.lists(st.sampled_from(["list", "dict", "box", "tuple", "set"]), min_size=1, max_size=12)
    ):
        held = [nodes[draw(st.integers(0, len(nodes) - 1))] for _ in range(draw(st.integers(0, 3)))]
        if kind == "set":
            node: Any = {draw(st.integers(0, 3)) for _ in held} | {"a"}
        else:
            make = {"list": list, "tuple": tuple, "dict": lambda items: dict(enumerate(items))}
            node = (
                make[kind](held) if kind in make else Box(**{f"a{at}": item for at, item in enumerate(held)})
            )
        nodes.append(node)
        if kind in ("list", "dict", "box"):
            open_nodes.append(node)
    for node in open_nodes:
        other = nodes[draw(st.integers(0, len(nodes) - 1))]
        if isinstance(node, list):
            node.append(other)
        else:
            (node if isinstance(node, dict) else node.__dict__)["more"] = other
    return nodes[6:]


def shape(value: Any) -> list[Any]:
    """Every object met on a walk, with the number that its identity has there."""
    seen: dict[int, int] = {}
    keep, found, stack = [], [], [value]
    while stack:
        item = stack.pop()
        keep.append(item)
        if isinstance(item, (int, float, str, bytes)):
            found.append(item)
            continue
        known = id(item) in seen
        if not isinstance(item, tuple):
            found.append((type(item).__name__, seen.setdefault(id(item), len(seen))))
        if known and not isinstance(item, tuple):
            continue
        if isinstance(item, np.ndarray):
            found.append(item.tolist())
        elif isinstance(item, set):
            found.append(sorted(map(repr, item)))
        elif isinstance(item, (list, tuple)):
            found.append(len(item))
            stack.extend(item)
        else:
            pairs = item if isinstance(item, dict) else item.__dict__
            found.append(list(pairs))
            stack.extend(pairs.values())
        if len(found) > 5_000:
            break
    return found


@given(graphs())
def test_any_graph_keeps_its_shape_and_its_id(value: Any) -> None:
    (again,) = back((value,))
    assert shape(again) == shape(value)
    assert opcodes(again) == opcodes(value)
    assert opcodes(copy.deepcopy(value)) == opcodes(value)
    assert opcodes(pickle.loads(pickle.dumps(value))) == opcodes(value)


@pytest.mark.parametrize("length", [999, 1_000, 1_001, 2_001])
@pytest.mark.parametrize("make", [list, set, dict.fromkeys, collections.deque])
def test_long_containers_survive(length: int, make: Any) -> None:
    value = make(range(length))
    assert back((value,))[0] == value


class Counted(dict[str, int]):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.extra = 1


class Slotted:
    __slots__ = ("a", "b")


class Keyword:
    def __new__(cls, *, size: int = 0) -> Any:
        made = super().__new__(cls)
        made.size = size
        return made

    def __getnewargs_ex__(self) -> Any:
        return (), {"size": self.size}


Point = collections.namedtuple("Point", "x y")


def test_objects_of_every_making_survive() -> None:
    slotted = Slotted()
    slotted.a = [1]
    assert back(slotted).a == [1]
    counted = back(Counted({"b": 1, "a": 2}))
    assert (counted, counted.extra, list(counted)) == ({"b": 1, "a": 2}, 1, ["b", "a"])
    assert back(Keyword(size=3)).size == 3
    assert back([Point(1, 2)]) == [Point(1, 2)]
    assert back(functools.partial(int, base=2))("101") == 5
    assert (
        back([len, np.sin, Point, type(None), NotImplemented, ..., str.join, "x".join])[7](["a", "b"])
        == "axb"
    )
    assert back(ValueError("x", 1)).args == ("x", 1)
    state = np.random.default_rng(3)
    expected = back(state).random(4)
    assert (expected == state.random(4)).all()


DTYPES = ["?", "i1", ">u2", "f2", "f4", ">f8", "g", "c8", "G", "M8[us]", "m8", "S3", "U2", "V4", "i4,f8", "O"]
DTYPES += [{"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 24}]
DTYPES += [[("a", "i4", (2, 3)), ("b", [("c", "U1"), ("d", "M8[D]")])], np.dtypes.StringDType()]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_numpy_array_of_any_dtype_survives(dtype: Any) -> None:
    array = np.zeros((2, 3), np.dtype(dtype))
    if array.dtype.kind in "biufc":
        array[1] = [1, 2, 3]
    for value in (array, array.T, array[:, :0], array[0, 0]):
        again = back([value])[0]
        assert type(again) is type(value)
        assert getattr(again, "dtype", None) == getattr(value, "dtype", None)
        assert np.array_equal(again, value)
        assert np.array_equal(back(value), value)
        assert not isinstance(again, np.ndarray) or again.flags.writeable


def test_padding_leaves_no_trace() -> None:
    kind = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 24})
    clean, dirty = np.zeros(4, kind), np.frombuffer(bytearray([255]) * 96, kind)
    for name in ("a", "b"):
        clean[name] = dirty[name] = [1, 2, 3, 4]
    assert bytes(clean.data) != bytes(dirty.data)
    assert identity(clean) == identity(dirty)
    assert identity([clean]) == identity([dirty])
    first, second = np.zeros(2, "g"), np.frombuffer(bytearray([255]) * 32, "g")
    second[:] = 0
    assert identity(first) == identity(second)


def test_an_unchanged_buffer_is_stored_once() -> None:
    objects = MemoryObjects()
    layers = [np.full(100_000, 10 * at, "f4") for at in range(5)]
    encode({"layers": layers, "epoch": 1}, objects)
    before = set(objects.objects)
    layers[3] = layers[3] + 1
    encoded = encode({"layers": layers, "epoch": 2}, objects)
    new = [objects.objects[id] for id in set(objects.objects) - before]
    chunks = sorted(len(data) for kind, data in new if kind is Kind.CHUNK)
    assert len(chunks) == 2
    assert chunks[1] == 400_000
    assert chunks[0] < 1_000
    assert [len(part) for part in parts(objects, encoded.artifact.root or b"")] == [1] * 6


def test_a_large_buffer_is_cut_and_shares_its_pieces() -> None:
    objects = MemoryObjects()
    array = np.random.default_rng(0).random(3_000_000)
    encode([array, 1], objects)
    before = sum(len(data) for _, data in objects.objects.values())
    array[1_500_000] = 0.5
    encoded = encode([array, 1], objects)
    assert sum(len(data) for _, data in objects.objects.values()) - before < 3_000_000
    assert (decode(encoded.artifact, objects)[0] == array).all()


REFUSED = [
    ({"model": Box(callback=lambda x: x)}, "['model'].callback: a lambda cannot be stored"),
    (
        Box(steps=[("a", 1), ("b", Box(lock=threading.Lock()))]),
        ".steps[1][1].lock: a _thread.lock cannot be stored",
    ),
    ([1, (x for x in ())], "[1]: a generator cannot be stored"),
    ({"f": os}, "['f']: a module cannot be stored"),
    ({(1, "k" * 100): {2: sys.stdout}}, f"[(1, '{'k' * 54}…][2]: "),
    (Box(a={1, Box(b=lambda: 1)}), ".a: .b: a lambda cannot be stored"),
]


@pytest.mark.parametrize(("value", "why"), REFUSED, ids=lambda value: str(value)[:20])
def test_what_cannot_be_stored_is_named_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(Unstorable) as caught:
        encode(value, MemoryObjects(), at="argument 'model' of train")
    assert caught.value.message.startswith(f"argument 'model' of train → {why}")
    assert caught.value.hint


def test_local_code_is_named() -> None:
    def inner() -> None: ...

    class Local:
        pass

    with pytest.raises(
        Unstorable, match="the function inner, defined inside test_local_code_is_named, cannot"
    ):
        encode(inner, MemoryObjects())
    with pytest.raises(
        Unstorable, match=r"^the class Local, defined inside test_local_code_is_named, cannot"
    ):
        encode(Local(), MemoryObjects())


def test_a_getstate_that_fails_is_told() -> None:
    class Failing:
        def __getstate__(self) -> Any:
            raise RuntimeError("no\nstate")

    Failing.__qualname__ = "Failing"
    with pytest.raises(Unstorable, match=r"Failing cannot be stored \(RuntimeError: no\)"):
        encode(Failing(), MemoryObjects())


def test_a_class_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = MemoryObjects()
    module = type(sys)("passing_by")
    exec("class Thing: pass", module.__dict__)
    sys.modules["passing_by"] = module
    artifact = encode(module.Thing(), objects).artifact
    del module.Thing
    with pytest.raises(AqError, match="needs a class or function that is gone"):
        decode(artifact, objects)
    module.Thing = type("Thing", (), {"__module__": "__main__", "__qualname__": "Thing"})
    monkeypatch.setattr(sys.modules["__main__"], "Thing", module.Thing, raising=False)
    of_script = encode(module.Thing(), objects).artifact
    monkeypatch.undo()
    with pytest.raises(AqError, match="gone") as caught:
        decode(of_script, objects)
    assert "notebook" in caught.value.hint
    del sys.modules["passing_by"]
    with pytest.raises(AqError, match="No module named 'passing_by'") as caught:
        decode(artifact, objects)
    assert caught.value.hint == "pip install passing_by"


def test_summaries_and_bytes_execute_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    objects = MemoryObjects()
    call = type("Call", (), {"__reduce__": lambda self: (os.mkdir, (str(mark),)), "__module__": __name__})
    artifact = encode([call(), np.zeros(2_000)], objects).artifact
    assert summarise(artifact, objects)["tensors"][0]["shape"] == [2_000]
    assert decode(artifact, objects, as_="bytes")
    assert not mark.exists()
    decode(artifact, objects)
    assert mark.exists()


GOLDEN: dict[str, tuple[Any, str]] = {
    "plain": (
        [
            None,
            True,
            0,
            255,
            65535,
            -1,
            1 << 31,
            -(1 << 100),
            0.5,
            "é",
            b"\x00",
            (),
            (1,),
            (1, 2, 3, 4),
            [[]],
            {"a": {1}},
            bytearray(b"ab"),
            frozenset({"x", "y"}),
            "é",
            (1,),
            {2, "b", None},
        ],
        "48db8778473e910123e6702b422aef60b7c81faa99cc448a8b7bffbe0625b9ff",
    ),
    "library": (
        [
            datetime.datetime.fromisoformat("2026-01-02T03:04:05+00:00"),
            datetime.timedelta(1),
            decimal.Decimal("1.50"),
            uuid.UUID(int=3),
            range(3),
            slice(1, 2),
            1j,
            collections.OrderedDict(a=1),
            collections.Counter("aab"),
            collections.defaultdict(list, a=[1]),
            collections.deque([1], 2),
            ...,
            int,
            len,
        ],
        "618f7257802eb7e87caf312ee88db852ed22841f1cb70d219eb6ffe282f789b5",
    ),
    "paths": (
        [pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("/")],
        "67b283579afdf4acd514707d2595adaf3121454db579944c506176fc220051b5",
    ),
    "numpy": (
        [
            np.arange(3.0),
            np.zeros(200),
            np.float32(1.5),
            np.dtype(">i4"),
            np.array(["a", None], object),
            np.zeros((2, 2), [("a", "i4"), ("b", "f8", (2,))]),
        ],
        "31d75b3511c217a31f06855524953b98e8eeed5dbe8093ccb8c87960104d9076",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_opcodes(name: str) -> None:
    """The same under Python 3.11, 3.12 and 3.13, and under numpy 2.4 and 2.5, when they were taken."""
    value, digits = GOLDEN[name]
    assert object_id(Kind.CHUNK, opcodes(value)).hex() == digits
