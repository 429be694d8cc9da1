"""A pickler whose output depends on the value alone (docs/format.md, section 9).

Invariant: equal values give equal opcodes in every process, whatever the hash seed, interning or
memory layout; aliases of mutable objects and cycles survive. The opcodes are pickle protocol 5
for any unpickler. It does not recurse, so depth has no limit; it stores nothing.
"""

from __future__ import annotations

import copyreg
import pickle
import struct
import sys
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from aq.formats.classes import library_of
from aq.formats.errors import Unstorable
from aq.formats.identity import Buffer
from aq.formats.places import Place, placed
from aq.formats.python.leftovers import without_addresses
from aq.formats.python.opcodes import Tape
from aq.formats.python.reducing import Columnwise, Typed, columnwise, global_name, recipe, reduction, refused

if TYPE_CHECKING:
    from aq.formats.models.torch_values import Tensors

IN_OPCODES_BELOW: Final = 1024
"""A buffer of fewer bytes lies in the opcodes."""
BYTES_PART_FROM: Final = 64 * 1024
"""A byte string of at least this many bytes is a part."""
_BATCH: Final = 1000
_REENTRIES_MOST: Final = 100
_TUPLES: Final = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
_TYPES_OF: Final = {type(None): None, type(NotImplemented): NotImplemented, type(...): ...}

Steps = Generator[tuple[Place, Any], None, None]
"""A writer that hands each inner object, with its place, to the loop in `save`."""


class Pickler:
    """Writes one value: `save`, then `opcodes`.

    Buffers go to `part` in the order of NEXT_BUFFER, with the dtype where they are arrays.
    `outside` gives the id of an object that is an artifact of its own, else None.
    """

    def __init__(
        self,
        part: Callable[[Buffer, Any], None],
        outside: Callable[[object], bytes | None] = lambda _: None,
        *,
        sorting: frozenset[int] = frozenset(),
    ) -> None:
        self._tape = Tape()
        self._part, self._outside, self._sorting = part, outside, sorting
        self._making: dict[int, int] = {}
        self._numpy: Any = sys.modules.get("numpy")
        self._tensors: Tensors | None = None
        self._writers: dict[type, Callable[[Any], Steps]] = {
            bytes: self._bytes,
            bytearray: self._bytearray,
            tuple: self._tuple,
            frozenset: self._frozenset,
            list: self._list,
            dict: self._dict,
            set: self._set,
            FunctionType: self._global,
            pickle.PickleBuffer: self._pickle_buffer,
            Typed: self._typed,
            Columnwise: self._columnwise,
        }

    @property
    def opcodes(self) -> bytes:
        """What was written, ended."""
        return bytes(self._tape.out) + pickle.STOP

    def save(self, value: object, *, at: str = "") -> None:
        """Write the value and all that it holds. Raises Unstorable with the place, which begins with `at`."""
        stack: list[Steps] = []
        places: list[Place] = []
        try:
            self._open(value, stack)
            while stack:
                del places[len(stack) - 1 :]
                step = next(stack[-1], None)
                if step is None:
                    stack.pop()
                else:
                    places.append(step[0])
                    self._open(step[1], stack)
        except Unstorable as error:
            raise placed(error, at, places) from error.__cause__

    def _open(self, value: Any, stack: list[Steps]) -> None:
        """Write what is complete in itself or known; put the writer of anything else on the stack."""
        kind = type(value)
        direct = self._tape.direct.get(kind)
        if direct is not None:
            direct(value)
            return
        index = self._tape.seen(value)
        if index is not None:
            self._tape.fetch(index)
            return
        stack.append((self._writers.get(kind) or self._other)(value))

    def _bytes(self, value: bytes) -> Steps:
        key = self._tape.key(value)
        if self._tape.fetch_equal(value, key):
            return
        if len(value) >= BYTES_PART_FROM:
            yield from self._made_of_part(bytes, value)
        else:
            self._tape.sized(value, pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8)
        self._tape.memoise(value, key)

    def _bytearray(self, value: bytearray) -> Steps:
        if len(value) >= BYTES_PART_FROM:
            yield from self._made_of_part(bytearray, value)
        else:
            self._tape.write(pickle.BYTEARRAY8 + struct.pack("<Q", len(value)) + value)
        self._tape.memoise(value)

    def _made_of_part(self, kind: type, value: Buffer) -> Steps:
        yield "", kind
        self._part(value, None)
        self._tape.write(pickle.NEXT_BUFFER + pickle.TUPLE1 + pickle.REDUCE)

    def _tuple(self, value: tuple[Any, ...]) -> Steps:
        tape = self._tape
        if not value:
            tape.write(pickle.EMPTY_TUPLE)
            return
        if tape.fetch_equal(value, tape.key(value)):
            return
        close = _TUPLES.get(len(value))
        tape.write(b"" if close else pickle.MARK)
        for at, item in enumerate(value):
            direct = tape.direct.get(type(item))
            if direct is not None:
                direct(item)
            else:
                yield at, item
        key = tape.key(value)
        if tape.seen(value) is not None or tape.knows(key):
            # A part led back to this tuple, which was completed there.
            tape.write(pickle.POP * len(value) if close else pickle.POP_MARK)
            self._again(value, key)
            return
        tape.write(close or pickle.TUPLE)
        tape.memoise(value, key)

    def _again(self, value: object, key: Any) -> None:
        index = self._tape.seen(value)
        if index is not None:
            self._tape.fetch(index)
        else:
            self._tape.fetch_equal(value, key)

    def _frozenset(self, value: frozenset[Any]) -> Steps:
        tape = self._tape
        if tape.fetch_equal(value, tape.key(value)):
            return
        tape.write(pickle.MARK)
        yield from (("", item) for item in self._ordered(value))
        key = tape.key(value)
        if tape.seen(value) is not None or tape.knows(key):
            tape.write(pickle.POP_MARK)
            self._again(value, key)
            return
        tape.write(pickle.FROZENSET)
        tape.memoise(value, key)

    def _list(self, value: list[Any]) -> Steps:
        self._tape.write(pickle.EMPTY_LIST)
        self._tape.memoise(value)
        yield from self._appends(value)

    def _appends(self, values: Iterable[Any]) -> Steps:
        tape, start, rest = self._tape, 0, iter(values)
        while batch := list(islice(rest, _BATCH)):
            tape.write(pickle.MARK if len(batch) > 1 else b"")
            for at, item in enumerate(batch, start):
                direct = tape.direct.get(type(item))
                if direct is not None:
                    direct(item)
                else:
                    yield at, item
            start += len(batch)
            tape.write(pickle.APPENDS if len(batch) > 1 else pickle.APPEND)

    def _dict(self, value: dict[Any, Any]) -> Steps:
        self._tape.write(pickle.EMPTY_DICT)
        self._tape.memoise(value)
        yield from self._pairs(value.items())

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], *, attributes: bool = False) -> Steps:
        tape, rest = self._tape, iter(pairs)
        while batch := list(islice(rest, _BATCH)):
            tape.write(pickle.MARK if len(batch) > 1 else b"")
            for key, item in batch:
                direct = tape.direct.get(type(key))
                if direct is not None:
                    direct(key)
                else:
                    yield "", key
                direct = tape.direct.get(type(item))
                if direct is not None:
                    direct(item)
                else:
                    yield f".{key}" if attributes else (key,), item
            tape.write(pickle.SETITEMS if len(batch) > 1 else pickle.SETITEM)

    def _set(self, value: set[Any]) -> Steps:
        self._tape.write(pickle.EMPTY_SET)
        self._tape.memoise(value)
        rest = iter(self._ordered(value))
        while batch := list(islice(rest, _BATCH)):
            self._tape.write(pickle.MARK)
            yield from (("", item) for item in batch)
            self._tape.write(pickle.ADDITEMS)

    def _ordered(self, values: set[Any] | frozenset[Any]) -> list[Any]:
        """The elements in an order that does not depend on their hashes."""
        kinds = set(map(type, values))
        if kinds <= {int} or kinds <= {str}:
            return sorted(values)
        if id(values) in self._sorting:
            raise Unstorable(
                "a set that leads back to itself has no order", hint="use a list or a dict instead"
            )
        inside = self._sorting | {id(values)}

        def alone(item: Any) -> list[bytes]:
            buffers: list[bytes] = []
            pickler = Pickler(lambda data, _: buffers.append(bytes(data)), self._outside, sorting=inside)
            pickler.save(item)
            return [pickler.opcodes, *buffers]

        return sorted(values, key=alone)

    def _pickle_buffer(self, value: pickle.PickleBuffer) -> Steps:
        yield from ()
        tape, memory = self._tape, value.raw()
        if memory.nbytes >= IN_OPCODES_BELOW:
            self._part(memory, None)
            tape.write(pickle.NEXT_BUFFER + (pickle.READONLY_BUFFER if memory.readonly else b""))
        elif memory.readonly:
            tape.sized(memory, pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8)
        else:
            tape.write(pickle.BYTEARRAY8 + struct.pack("<Q", memory.nbytes) + memory)

    def _other(self, value: Any) -> Steps:
        numpy = self._numpy
        if isinstance(value, type):
            return self._global(value)
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self._array(value)
        id = self._outside(value)
        return self._object(value) if id is None else self._elsewhere(value, id)

    def _elsewhere(self, value: Any, id: bytes) -> Steps:
        yield "", ("artifact", id)
        self._tape.write(pickle.BINPERSID)
        self._tape.memoise(value)

    def _global(self, value: Any, name: str | None = None) -> Steps:
        if isinstance(value, type) and value in _TYPES_OF:
            yield from self._call(value, (type, (_TYPES_OF[value],)))
            return
        for text in global_name(value, name):
            self._tape.text(text)
        self._tape.write(pickle.STACK_GLOBAL)
        self._tape.memoise(value)

    def _array(self, value: Any) -> Steps:
        """A plain array as a call of `arrays.rebuild`; others in C order, as numpy reduces them."""
        from aq.formats import arrays

        exact = type(value) in (self._numpy.ndarray, self._numpy.memmap)
        described = arrays.describe(value.dtype) if exact else None
        if described is None:
            yield from self._call(value, self._odd_array(value, exact=exact))
            return
        yield "", arrays.rebuild
        yield "", Typed(arrays.c_bytes(value), described)
        yield "", described
        yield "", value.shape
        self._tape.write(pickle.TUPLE3 + pickle.REDUCE)
        self._tape.memoise(value)

    def _odd_array(self, value: Any, *, exact: bool) -> tuple[Any, ...]:
        """The call that rebuilds an array which `arrays.rebuild` does not."""
        from aq.formats import arrays
        from aq.formats.models import numpy_values

        call = numpy_values.recipe(value) if exact else None
        if call is not None:
            return call
        plain = value if value.flags.c_contiguous else value.copy("C")
        state = arrays.objects_state(plain) if exact else None
        return (arrays.empty_objects, (), state) if state else reduction(plain)  # type: ignore[return-value]

    def _typed(self, value: Typed) -> Steps:
        if len(value.data) < IN_OPCODES_BELOW:
            yield "", bytes(value.data)
        else:
            self._part(value.data, value.dtype)
            self._tape.write(pickle.NEXT_BUFFER)

    def _columnwise(self, value: Columnwise) -> Steps:
        yield from self._call(value, (self._numpy.asfortranarray, (value.array,)))

    def _native(self, value: Any) -> tuple[Any, ...] | None:
        """The call of aq's own that rebuilds the object, None where it is reduced by its library."""
        library = library_of(type(value))
        if library == "torch":
            if self._tensors is None:
                from aq.formats.models.torch_values import Tensors

                self._tensors = Tensors()
            return self._tensors.recipe(value)
        if library == "onnx":
            from aq.formats.models import onnx_values

            return onnx_values.recipe(value)
        return recipe(value)

    def _object(self, value: Any) -> Steps:
        tape = self._tape
        if tape.is_value(value) and tape.fetch_equal(value, tape.key(value)):
            return
        call = self._native(value) or reduction(value)
        if isinstance(call, str):
            yield from self._global(value, call)
            return
        yield from self._call(value, columnwise(value, call))
        if tape.is_value(value):
            tape.learn(value)

    def _call(self, value: Any, call: tuple[Any, ...]) -> Steps:
        """An object as its reduction: callable, arguments, state, list items, dict items, state setter."""
        tape = self._tape
        function, arguments, state, items, pairs, setter = (list(call) + [None] * 4)[:6]
        entered = self._making[id(value)] = self._making.get(id(value), 0) + 1
        if entered > _REENTRIES_MOST or not isinstance(arguments, tuple):
            raise refused(value, None)
        yield from self._made(function, arguments)
        self._making[id(value)] -= 1
        index = tape.seen(value)
        if index is not None:
            # An argument led back to this object, which was completed there.
            tape.write(pickle.POP)
            tape.fetch(index)
        else:
            tape.memoise(value)
        if items is not None:
            yield from self._appends(items)
        if pairs is not None:
            yield from self._pairs(pairs)
        if state is not None:
            yield from self._state(value, state, setter)

    def _made(self, function: Any, arguments: tuple[Any, ...]) -> Steps:
        """Leave the new object on the unpickler's stack."""
        name = getattr(function, "__name__", "")
        if name == "__newobj_ex__" and len(arguments) == 3:
            yield "", arguments[0]
            yield "", arguments[1]
            yield "", arguments[2]
            self._tape.write(pickle.NEWOBJ_EX)
        elif function is copyreg.__newobj__:  # type: ignore[attr-defined]
            yield "", arguments[0]
            yield "", arguments[1:]
            self._tape.write(pickle.NEWOBJ)
        else:
            yield "", function
            yield "", arguments
            self._tape.write(pickle.REDUCE)

    def _state(self, value: Any, state: Any, setter: Any) -> Steps:
        tape = self._tape
        if setter is not None:
            yield "", setter
            yield "", value
            yield "", state
            tape.write(pickle.TUPLE2 + pickle.REDUCE + pickle.POP)
            return
        if type(state) is dict and tape.seen(state) is None:
            tape.write(pickle.EMPTY_DICT)
            tape.memoise(state)
            yield from self._pairs(without_addresses(state).items(), attributes=True)
        else:
            yield "", state
        tape.write(pickle.BUILD)
