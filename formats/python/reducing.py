"""What an object is made of: its reduction, its global name, and why it may have none.

Invariant: the answer depends on the object alone, not on which modules happen to be imported or
in which order. It stores nothing; the pickler and the fingerprints build on it.
"""

from __future__ import annotations

import copyreg
import sys
from types import ModuleType
from typing import Any, Final, NamedTuple

from aq.formats.classes import library_of
from aq.formats.errors import AqError, Unstorable, with_article
from aq.formats.identity import Buffer
from aq.formats.python.leftovers import is_shared, settled

_HINT: Final = "build it where it is used, or leave it out of the value in __getstate__"
_WRITTEN_IN_PYTHON: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE, which a class statement sets, and Cython does not."""
_PUBLIC: Final = {"pathlib._local": "pathlib"}
_IMMUTABLE: Final = frozenset(
    {
        ("builtins", "complex"),
        ("builtins", "range"),
        ("builtins", "slice"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("fractions", "Fraction"),
        ("pandas", "Interval"),
        ("pandas", "NAType"),
        ("pandas", "NaTType"),
        ("pandas", "Period"),
        ("pandas", "Timedelta"),
        ("pandas", "Timestamp"),
        ("pathlib", "PosixPath"),
        ("pathlib", "PurePosixPath"),
        ("pathlib", "PureWindowsPath"),
        ("pathlib", "WindowsPath"),
        ("re", "Pattern"),
        ("uuid", "UUID"),
        ("zoneinfo", "ZoneInfo"),
    }
)
_PLANS: Final = (
    {
        ("polars", "LazyFrame"): ".collect()",
        ("pyarrow", "RecordBatchReader"): ".read_all()",
        ("duckdb", "DuckDBPyRelation"): ".df()",
    }
    | {
        ("pyarrow", name): ".to_table()"
        for name in ("FileSystemDataset", "InMemoryDataset", "UnionDataset", "Scanner")
    }
    | {
        ("dask", name): ".compute()"
        for name in ("Array", "Bag", "DataFrame", "Delayed", "Index", "Item", "Scalar", "Series")
    }
)
"""How to get the rows that an object would read: some pickle as the names of files, which then change."""
_FILES: Final = {
    **dict.fromkeys(
        ("RecursiveScriptModule", "ScriptFunction", "ScriptModule", "TopLevelTracedModule", "TracedModule"),
        "torch.jit.save(model, 'model.pt')",
    ),
    "ExportedProgram": "torch.export.save(model, 'model.pt2')",
}
"""How torch writes what it compiled, which does not pickle, or only until somebody loads it."""


class Typed(NamedTuple):
    """An argument of a call that rebuilds a tensor: its bytes, and the dtype where they are numbers."""

    data: Buffer
    dtype: Any


class Columnwise(NamedTuple):
    """An array that comes back in Fortran order."""

    array: Any


def is_immutable(kind: type) -> bool:
    """Whether two equal objects of this library type can stand for each other."""
    return (library_of(kind), kind.__name__) in _IMMUTABLE


def reduction(value: object, verb: str = "cannot be stored") -> str | tuple[Any, ...]:
    """What `pickle` would write for the object: a global's name, or a callable, its arguments, and so on.

    Raises Unstorable where the object, or its own code, refuses.
    """
    kind = type(value)
    _require_data(kind, verb)
    if is_shared(value):
        return "_rand"
    reduce = copyreg.dispatch_table.get(kind)
    try:
        answer = reduce(value) if reduce else value.__reduce_ex__(5)
    except AqError:
        raise
    except Exception as error:
        raise refused(value, error, verb) from error
    if not isinstance(answer, str) and not (isinstance(answer, tuple) and 2 <= len(answer) <= 6):
        raise refused(value, None, verb)
    return answer if isinstance(answer, str) else settled(value, answer)


def columnwise(value: object, call: tuple[Any, ...]) -> tuple[Any, ...]:
    """A reduction whose arrays keep their Fortran order, where a compiled type is handed them.

    What is declared as `double[::1, :]` there takes no other; whatever is written in Python asks numpy.
    """
    kind = type(value)
    if kind.__flags__ & _WRITTEN_IN_PYTHON or library_of(kind) in sys.stdlib_module_names:
        return call
    return (call[0], *map(_columnwise, call[1:3]), *call[3:])


def _columnwise(part: Any) -> Any:
    numpy = sys.modules.get("numpy")
    held = part.values() if type(part) is dict else part if type(part) is tuple else ()
    if numpy is None or not any(isinstance(one, numpy.ndarray) and one.flags.fnc for one in held):
        return part
    kept = [Columnwise(one) if isinstance(one, numpy.ndarray) and one.flags.fnc else one for one in held]
    return dict(zip(part, kept, strict=True)) if type(part) is dict else tuple(kept)


def _require_data(kind: type, verb: str) -> None:
    """Raises Unstorable for what is read later, or compiled."""
    library, name = library_of(kind), kind.__name__
    if (call := _PLANS.get((library, name))) is not None:
        raise Unstorable(
            f"{with_article(name)} is a plan, not data: it {verb}", hint=f"call {call} on it first"
        )
    if library == "torch" and (save := _FILES.get(name)) is not None:
        hints = f"{save}, then track the file", "commit its .state_dict()"
        raise Unstorable(f"{with_article(name)} is compiled: it {verb} as a value", hint=hints)


def refused(value: object, error: Exception | None, verb: str = "cannot be stored") -> Unstorable:
    """The error for an object that cannot be reduced."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    text = f"{with_article(name)} {verb}"
    if error is not None and not (isinstance(error, TypeError) and "pickle" in str(error)):
        text += f" ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    return Unstorable(text, hint="commit its .state_dict()" if hasattr(kind, "state_dict") else _HINT)


def global_name(value: Any, name: str | None = None) -> tuple[str, str]:
    """(module, qualified name) under which Python finds exactly this object. Raises Unstorable."""
    if isinstance(value, ModuleType):
        raise Unstorable(f"the module {value.__name__} cannot be stored", hint=_HINT)
    name = name or getattr(value, "__qualname__", None) or str(value.__name__)
    if "<lambda>" in name:
        raise Unstorable("a lambda cannot be stored", hint="write it as a function at the top of a module")
    what = "class" if isinstance(value, type) else "function"
    if "<locals>" in name:
        short, outer = name.rpartition(".")[2], name.partition(".<locals>")[0]
        raise Unstorable(
            f"the {what} {short}, defined inside {outer}, cannot be stored",
            hint=f"define {short} at the top of its module",
        )
    module = getattr(value, "__module__", None)
    if module is None:
        module, name = _module_of(value, name)
    module = _PUBLIC.get(module, module)
    if _found(module, name) is not value:
        raise Unstorable(
            f"the {what} {name} cannot be stored: {module}.{name} is not it",
            hint=f"give it the name under which {module} holds it",
        )
    return module, name


def _found(module: str, name: str) -> object:
    """What stands at module.name, or a fresh object where nothing does."""
    try:
        __import__(module, level=0)
        found: object = sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, KeyError, AttributeError, ValueError):
        return object()
    return found


def _module_of(value: object, name: str) -> tuple[str, str]:
    """Module and name of what does not tell its module: told by the name, else the shortest that holds it."""
    head, _, tail = name.rpartition(".")
    if head in sys.modules and vars(sys.modules[head]).get(tail) is value:
        return head, tail
    holders = [
        module
        for module, content in list(sys.modules.items())
        if module not in {"__main__", "__mp_main__"}
        and isinstance(content, ModuleType)
        and vars(content).get(name) is value
    ]
    return min(holders, key=lambda module: (len(module), module), default="__main__"), name


def recipe(value: object) -> tuple[Any, ...] | None:
    """The call that rebuilds a path, a numpy scalar or a dtype whatever the version, else None."""
    if library_of(type(value)) == "pathlib":
        return type(value), (str(value),)
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.generic, numpy.dtype)):
        return None
    from aq.formats import arrays

    if isinstance(value, numpy.dtype):
        described = arrays.describe(value)
        return None if described is None else (arrays.dtype_of, (described,))
    array = numpy.asarray(value)
    described = arrays.describe(array.dtype)
    return None if described is None else (arrays.rebuild_scalar, (bytes(arrays.c_bytes(array)), described))
