"""Tokens: short texts that stand for run-time values (globals, defaults, closure cells).

Invariant: equal tokens mean values that code cannot tell apart, across processes and machines; code
inside a value is followed, not skipped. What cannot be compared gets a token that never comes
again, so the step re-runs. No absolute path below the project's root enters a token.
"""

from __future__ import annotations

import enum
import functools
import os
import struct
import sys
import types
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import PurePath
from typing import Any, Final, Protocol

from aq.formats.classes import library_of, module_of
from aq.formats.errors import Unstorable
from aq.pipeline.code import held
from blake3 import blake3

_TAG: Final = b"aq value 1"
_CANONICAL_TEXT: Final = """
numpy pandas pyarrow polars torch datetime decimal fractions uuid zoneinfo pytz dateutil
"""
_CANONICAL: Final = frozenset(_CANONICAL_TEXT.split())
_WITHOUT_STATE_TEXT: Final = """
_thread.lock _thread.RLock weakref.ReferenceType weakref.WeakKeyDictionary
weakref.WeakValueDictionary weakref.WeakSet _weakrefset.WeakSet _abc._abc_data
_contextvars.Token builtins.getset_descriptor builtins.member_descriptor builtins.wrapper_descriptor
builtins.method_descriptor builtins.classmethod_descriptor builtins.method-wrapper
"""
_WITHOUT_STATE: Final = frozenset(_WITHOUT_STATE_TEXT.split())


_TOLD: Final = frozenset(
    {object, dict, list, tuple, set, frozenset, str, bytes, int, float, complex, enum.Enum}
)
"""Types whose instances are told by their attributes and by what they hold."""


class Follower(Protocol):
    """What turns code found inside values into text, and follows it."""

    root: str
    through_ops: bool

    def function(self, function: types.FunctionType) -> str:
        """The name of a function, which is followed."""

    def klass(self, klass: type) -> str:
        """The name of a class, which is followed."""

    def module(self, module: types.ModuleType, *, whole: bool) -> str:
        """The name of a module; `whole`: anything in it may be used."""

    def is_users(self, klass: type) -> bool:
        """Whether a class is the user's own."""

    def note(self, what: str) -> None:
        """List something that cannot be followed."""


class Tokens:
    """Makes the tokens of one fingerprint. Objects seen stay alive, so that their ids stay theirs."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.place = ""
        self._strict = True
        self._is_unique = False
        self._known: dict[int, tuple[object, bytes]] = {}
        self._active: dict[int, int] = {}
        self._lowest = 0

    def token(self, value: object, place: str, *, strict: bool = True) -> str:
        """The token of a value; `place` says where it was found, for what cannot be compared.

        Not `strict`: such a thing counts by its type, since code that is followed has made it.
        """
        outer = self.place, self._strict, self._is_unique
        self.place, self._strict, self._is_unique = place, strict, False
        try:
            made = self._readable(value) or self._hex(self.form(value))
        except RecursionError:
            made = self._unique("nests too deep to be compared")
        finally:
            is_unique = self._is_unique
            self.place, self._strict, self._is_unique = outer
        return f"never {made}" if is_unique else made

    def _readable(self, value: object) -> str | None:
        if isinstance(value, types.FunctionType):
            return "code " + self.follower.function(value)
        if isinstance(value, type) and not isinstance(value, types.GenericAlias):
            return "code " + self.follower.klass(value)
        if isinstance(value, types.ModuleType):
            return "module " + self.follower.module(value, whole=False)
        return None

    def _hex(self, form: bytes) -> str:
        return blake3(_TAG + form).hexdigest()

    def _unique(self, why: str) -> str:
        self._is_unique = True
        self.follower.note(f"{self.place} {why}")
        return os.urandom(16).hex()

    # --- pre-images: a type tag, then a length or a count, then the content

    def form(self, value: Any) -> bytes:
        """The pre-image of a value: short, or the digest of a longer one."""
        maker = _MAKERS.get(type(value))
        if maker is not None:
            return maker(self, value)
        if isinstance(value, type) and not isinstance(value, types.GenericAlias):
            return _text(b"C", self.follower.klass(value))
        return self._once(value, self._object)

    def _once(self, value: Any, maker: Callable[[Any], bytes]) -> bytes:
        """Digest a value that may hold itself: a second meeting on the way down is its depth."""
        key = id(value)
        if key in self._known:
            return self._known[key][1]
        if key in self._active:
            self._lowest = min(self._lowest, self._active[key])
            return b"@" + struct.pack("<I", len(self._active) - self._active[key])
        depth = len(self._active)
        self._active[key] = depth
        outer, self._lowest = self._lowest, depth
        try:
            form = b"#" + blake3(maker(value)).digest()
            if self._lowest >= depth:  # nothing inside points above: the digest holds anywhere
                self._known[key] = (value, form)
        finally:
            del self._active[key]
            self._lowest = min(outer, self._lowest)
        return form

    def _many(self, tag: bytes, items: Iterable[bytes]) -> bytes:
        parts = list(items)
        return b"".join((tag, struct.pack("<Q", len(parts)), *parts))

    def text(self, value: str) -> bytes:
        """A text; the root of the project inside it stands as a mark, wherever the project lies."""
        if self.follower.root in value:
            return _text(b"L", value.replace(self.follower.root, "\0"))
        return _text(b"s", value)

    def sequence(self, value: Any) -> bytes:
        """A list or a tuple."""
        tag = b"[" if type(value) is list else b"("
        return self._once(value, lambda one: self._many(tag, map(self.form, one)))

    def mapping(self, value: Any) -> bytes:
        """A dict, in its order: code that walks it sees the order."""
        return self._once(value, lambda one: self._many(b"{", self._pairs(one)))

    def _pairs(self, value: Any) -> list[bytes]:
        return [self.form(key) + self.form(item) for key, item in value.items()]

    def elements(self, value: Any) -> bytes:
        """A set, by the forms of its elements."""
        tag = b"<" if isinstance(value, frozenset) else b">"
        return self._once(value, lambda one: self._many(tag, sorted(map(self.form, sorted(one, key=_rank)))))

    def function(self, value: Any) -> bytes:
        """A function is the name of its code, which is followed."""
        return _text(b"f", self.follower.function(value))

    def builtin(self, value: Any) -> bytes:
        """A function in C, with what it is bound to."""
        owner = getattr(value, "__self__", None)
        name = f"{value.__module__ or ''}:{value.__qualname__}"
        if owner is None or isinstance(owner, types.ModuleType):
            if value.__module__:
                self._mention(value.__module__)
            return _text(b"B", name)
        return _text(b"B", name) + self.form(owner)

    def method(self, value: Any) -> bytes:
        """A bound method: its function and its object."""
        return b"M" + self.form(value.__func__) + self.form(value.__self__)

    def module(self, value: Any) -> bytes:
        """A module that code can reach into at will."""
        return _text(b"m", self.follower.module(value, whole=True))

    def partial(self, value: Any) -> bytes:
        """Function, arguments and keywords."""
        parts = (value.func, tuple(value.args), dict(value.keywords))
        return self._many(b"P", map(self.form, parts))

    def wrapped(self, value: Any) -> bytes:
        """staticmethod, classmethod."""
        return _text(b"W", type(value).__name__) + self.form(value.__func__)

    def accessors(self, value: Any) -> bytes:
        """Getter, setter and deleter."""
        return self._many(b"p", map(self.form, (value.fget, value.fset, value.fdel)))

    # --- objects

    def _object(self, value: Any) -> bytes:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in _WITHOUT_STATE:
            return _text(b"K", name)
        if module_of(kind).startswith("aq.") and hasattr(value, "function"):
            return self._op(value)
        if isinstance(value, enum.Enum):
            return b"E" + self.form(kind) + _text(b"s", value.name or "") + self.form(value.value)
        if stream := _stream(value):
            return _text(b"K", stream)
        if isinstance(value, PurePath):
            return _text(b"F", kind.__name__) + self.text(os.fspath(value))
        if isinstance(value, ContextVar) or name == "_thread._local":
            return self._local(value)
        if isinstance(value, functools.partial | property | staticmethod | classmethod):
            return self._subclass_of_wrapper(value)
        if library_of(kind) in _CANONICAL and (known := self._canonical(value)):
            return known
        if self.follower.is_users(kind):
            return self._instance(value)
        return self._reduced(value)

    def _local(self, value: Any) -> bytes:
        """What a context variable or a thread's own object holds here."""
        if isinstance(value, ContextVar):
            try:
                return _text(b"X", value.name) + self.form(value.get())
            except LookupError:
                return _text(b"x", value.name)
        return b"Y" + self.form(type(value)) + self.form(dict(vars(value)))

    def _op(self, value: Any) -> bytes:
        """An op of aq is the function that it wraps."""
        if self.follower.through_ops:
            return b"O" + self.form(value.function)
        return _text(b"O", f"{value.function.__module__}:{value.function.__qualname__}")

    def _subclass_of_wrapper(self, value: Any) -> bytes:
        parts = [
            getattr(value, name, None) for name in ("func", "args", "keywords", "fget", "fset", "__func__")
        ]
        return self._many(b"w", map(self.form, [type(value), *parts, dict(getattr(value, "__dict__", {}))]))

    def _canonical(self, value: Any) -> bytes | None:
        from aq.formats.python.canonical import fingerprint

        try:
            text = fingerprint(value, at=self.place, foreign=self._inner)
        except Unstorable:
            return None
        self._mention(module_of(type(value)))
        return _text(b"V", text)

    def _inner(self, value: object) -> str | None:
        """What stands for code, and for objects of the user, inside an array or a table."""
        code = isinstance(value, types.FunctionType | types.MethodType | types.ModuleType)
        if code or self.follower.is_users(value if isinstance(value, type) else type(value)):
            return self.form(value).hex()
        return None

    def _instance(self, value: Any) -> bytes:
        """An instance of a class of the user: class, attributes, slots, and what a container holds."""
        state: dict[str, Any] = dict(getattr(value, "__dict__", {}))
        for klass in type(value).__mro__:
            slots = klass.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                name = _mangled(klass, slot)
                if slot not in ("__dict__", "__weakref__") and hasattr(value, name):
                    state[name] = getattr(value, name)
        inner = self.form(_content(value))
        if any(self._hides_state(klass) for klass in type(value).__mro__):
            inner += self._reduced(value)
        return b"I" + self.form(type(value)) + self._many(b"{", self._pairs(state)) + inner

    def _hides_state(self, klass: type) -> bool:
        """Whether a class may keep what is in no attribute: an array its data, an exception its words."""
        return klass not in _TOLD and not self.follower.is_users(klass)

    def _reduced(self, value: Any) -> bytes:
        """An object of a library: what pickle would need to rebuild it."""
        wrapped = getattr(value, "__wrapped__", None) or getattr(value, "py_func", None)  # the latter: numba
        if callable(wrapped) and not isinstance(value, type):
            return _text(b"w", f"{type(value).__module__}.{type(value).__qualname__}") + self.form(wrapped)
        try:
            parts = _reduce(value)
        except RecursionError:
            raise
        except Exception:
            return self._without_reduction(value)
        self._mention(module_of(type(value)))
        if isinstance(parts, str):
            name = f"{getattr(value, '__module__', type(value).__module__)}:{parts}"
            return _text(b"G", name) if held.is_global(value, parts) else self._without_reduction(value)
        made = [parts[0], parts[1], *parts[2:3]]
        items = list(parts[3] or ()) if len(parts) > 3 else []
        pairs = list(parts[4] or ()) if len(parts) > 4 else []
        return self._many(b"R", map(self.form, [*made, items, pairs]))

    def _without_reduction(self, value: Any) -> bytes:
        kind = type(value)
        if (inside := held.parts(value)) is not None:
            return _text(b"H", kind.__qualname__) + self._many(b"(", map(self.form, inside))
        if not self._strict:
            return _text(b"U", f"{kind.__module__}.{kind.__qualname__}")
        return _text(b"U", self._unique(f"is a {kind.__qualname__}, which cannot be compared between runs"))

    def _mention(self, module: str) -> None:
        found = sys.modules.get(module.partition(".")[0])
        if found is not None:
            self.follower.module(found, whole=False)


def _rank(value: object) -> tuple[str, int]:
    """An order for code in a set, which takes its labels in it."""
    code = getattr(value, "__code__", None)
    return str(getattr(value, "__qualname__", "")), getattr(code, "co_firstlineno", 0)


def _mangled(klass: type, slot: str) -> str:
    """The attribute of a private slot."""
    if slot.startswith("__") and not slot.endswith("__"):
        return f"_{klass.__name__.lstrip('_')}{slot}"
    return slot


def _content(value: Any) -> Any:
    """What an instance of a subclass of a builtin type holds as that type."""
    if isinstance(value, dict):
        return dict(dict.items(value))
    containers: tuple[Any, ...] = (list, tuple, set, frozenset)
    for base in containers:
        if isinstance(value, base):
            return base(base.__iter__(value))
    scalars: tuple[Any, ...] = (str, bytes, int, float, complex)
    for base in scalars:
        if isinstance(value, base):
            return base.__getnewargs__(value)[0]
    return None


def _stream(value: object) -> str | None:
    """Which of the standard streams a file object is."""
    for name in ("stdin", "stdout", "stderr"):
        if value is getattr(sys, name) or value is getattr(sys, f"__{name}__"):
            return name
    return None


def _reduce(value: Any) -> Any:
    import copyreg

    special = copyreg.dispatch_table.get(type(value))
    return special(value) if special is not None else value.__reduce_ex__(4)


def _text(tag: bytes, value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return tag + struct.pack("<Q", len(data)) + data


def _bytes(tag: bytes, data: bytes | bytearray) -> bytes:
    return tag + struct.pack("<Q", len(data)) + data


_MAKERS: Final[dict[type, Callable[[Tokens, Any], bytes]]] = {
    type(None): lambda made, value: b"N",
    type(Ellipsis): lambda made, value: b".",
    type(NotImplemented): lambda made, value: b"!",
    bool: lambda made, value: b"T" if value else b"F",
    int: lambda made, value: _text(b"i", format(value, "x")),
    float: lambda made, value: b"d" + (struct.pack("<d", value) if value == value else b"NaN NaN "),
    complex: lambda made, value: b"c" + struct.pack("<dd", value.real, value.imag),
    str: Tokens.text,
    bytes: lambda made, value: _bytes(b"b", value),
    bytearray: lambda made, value: _bytes(b"a", value),
    range: lambda made, value: _text(b"r", repr(value)),
    slice: lambda made, value: made._many(b":", map(made.form, (value.start, value.stop, value.step))),
    list: Tokens.sequence,
    tuple: Tokens.sequence,
    dict: Tokens.mapping,
    types.MappingProxyType: Tokens.mapping,
    set: Tokens.elements,
    frozenset: Tokens.elements,
    types.FunctionType: Tokens.function,
    types.BuiltinFunctionType: Tokens.builtin,
    types.MethodType: Tokens.method,
    types.ModuleType: Tokens.module,
    functools.partial: Tokens.partial,
    staticmethod: Tokens.wrapped,
    classmethod: Tokens.wrapped,
    property: Tokens.accessors,
}
