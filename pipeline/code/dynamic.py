"""Where names do not tell what runs: `eval`, imports by computed names, sources of notebooks.

Invariant: each such place is listed; where any code of the project may run, all of it counts, and
every installed distribution with it. A warning too many is cheaper than a stale result.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from aq.pipeline.code import grafted
from aq.pipeline.code.bindings import LIKE_VARIABLE, likely_variables
from aq.pipeline.code.scopes import Import, Reference, uses_of
from aq.pipeline.code.spelled import variables_in
from aq.pipeline.code.syntax import ANNOTATIONS, DOCSTRINGS, PLAIN, SOURCES

if TYPE_CHECKING:
    from aq.pipeline.code.reach import Reach
    from aq.pipeline.code.spaces import Space

_ANYTHING_TEXT: Final = """
builtins.eval builtins.exec builtins.__import__ builtins.globals importlib.import_module
importlib.__import__ importlib.reload importlib.util.spec_from_file_location
importlib.util.module_from_spec importlib.machinery.SourceFileLoader
_frozen_importlib_external.SourceFileLoader runpy.run_path runpy.run_module sys.modules pkgutil.walk_packages
pkgutil.iter_modules pkgutil.resolve_name pkgutil.get_loader _pickle.loads _pickle.load pickle.loads
pickle.load _pickle.Unpickler pickle.Unpickler pandas.read_pickle pandas.io.pickle.read_pickle
joblib.load joblib.numpy_pickle.load cloudpickle.load cloudpickle.loads dill.load dill.loads torch.load
shelve.open marshal.loads inspect.getmembers gc.get_objects
"""
ANYTHING: Final = frozenset(_ANYTHING_TEXT.split())
"""Calls that may run any code of the project."""

_IMPORTERS: Final = frozenset({"importlib.import_module", "builtins.__import__", "importlib.__import__"})

_ENVIRONMENTS_TEXT: Final = """
os.getenv os.getenvb os.environ os.environb os.environ.get os.environ.setdefault os.environ.pop
os.environ.copy os.environ.items os.environ.values os.environ.keys
"""
_ENVIRONMENTS: Final = frozenset(_ENVIRONMENTS_TEXT.split())

_PLACES: Final = frozenset({"sys.path.append", "sys.path.insert", "sys.path.extend"})
"""What an op makes other modules importable by."""

UNBOUNDED: Final = frozenset({"__subclasses__", "__globals__", "f_globals", "tb_frame", "gi_frame"})
"""Attributes that lead to code of any name."""

NOTED: Final = frozenset(
    {"builtins.getattr", "builtins.vars", "operator.attrgetter", "operator.methodcaller"}
)
"""Calls that reach by a computed name into something that names do show."""

_DRAWN_TEXT: Final = """
time.time time.time_ns datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today
datetime.date.today pandas.Timestamp.now pandas.Timestamp.today pandas.Timestamp.utcnow uuid.uuid1 uuid.uuid4
os.urandom posix.urandom random.SystemRandom secrets.token_hex secrets.token_bytes secrets.token_urlsafe
secrets.randbelow secrets.choice secrets.randbits
"""
_DRAWN: Final = frozenset(_DRAWN_TEXT.split())
"""Calls that give something else each time; timers are none, they measure."""

_SEEDED: Final = frozenset({"numpy.random.default_rng", "numpy.random._generator.default_rng"})
"""Calls that do so without an argument. Python's and numpy's global generators are seeded for each step."""

_ANNOTATION_READERS_TEXT: Final = """
__annotations__ get_type_hints get_annotations getfullargspec signature validate_call beartype
validate_arguments typechecked check_types inject create_model
"""
_ANNOTATION_READERS: Final = frozenset(_ANNOTATION_READERS_TEXT.split())
_DOCSTRING_READERS: Final = frozenset(["__doc__", "getdoc", "pydoc", "render_doc"])
_SOURCE_READERS_TEXT: Final = """
getsource getsourcelines findsource getcomments f_lineno tb_lineno co_firstlineno __firstlineno__ format_exc
format_exception format_tb extract_tb format_stack extract_stack
"""
_SOURCE_READERS: Final = frozenset(_SOURCE_READERS_TEXT.split())


def check(reach: Reach, value: Any, path: tuple[str, ...], reference: Reference, label: str) -> None:
    """List a use of something that cannot be followed, or of an environment variable."""
    name = _dotted(value, path)
    if value is None and isinstance(reference.root, Import):  # a library that is not loaded yet
        name = ".".join(filter(None, (reference.root.module, reference.root.name, *reference.path)))
    reach.called.add(name.rpartition(".")[2])
    if name in _ENVIRONMENTS:
        _environment(reach, [reference.text] if reference.text else [], label)
    elif name in ("os.path.expandvars", "posixpath.expandvars", "ntpath.expandvars"):
        _environment(reach, variables_in(reference.text or ""), label)
    elif name in _IMPORTERS and reference.text and not reference.text.startswith("."):
        _named_import(reach, reference.text, label)
    elif name in ANYTHING or (name in _PLACES and not reach.acting):  # modules that act may add places
        reach.dynamic = True
        reach.note(f"{label} calls {_short(name)}: what it runs cannot be followed")
    elif name in _DRAWN or (name in _SEEDED and reference.arguments == 0):
        reach.note(f"{label} calls {_short(name)}: it may give something else each time")
    elif name in NOTED and (name != "builtins.getattr" or reference.arguments != 1):
        reach.note(f"{label} calls {_short(name)} with a name that only running it would tell")


def _short(name: str) -> str:
    return name.removeprefix("builtins.").removeprefix("_")


def _environment(reach: Reach, names: Sequence[str], label: str) -> None:
    for name in names:
        reach.environment.add(name)
        reach.note(f"{label} reads the environment variable {name}")
    if not names:
        reach.note(f"{label} reads environment variables")
        reach.environment.add("")


def _named_import(reach: Reach, name: str, label: str) -> None:
    found = reach.import_module(Import(name, 0, ""), None)
    if found is not None:
        reach.module(found, whole=True)
    reach.note(f"{label} imports {name} by its name as text")


def _dotted(value: Any, path: tuple[str, ...]) -> str:
    """`os.environ.get` for what a chain of names leads to; "" where nothing is known of it."""
    if isinstance(value, ModuleType):
        found: Any = value
        for name in path[:2]:
            found = getattr(found, name, None) if isinstance(found, ModuleType) else None
            if found is None:
                break
        own = _dotted(found, ()) if found is not None and not isinstance(found, ModuleType) else ""
        plain = ".".join((value.__name__, *path))
        return own if own in ANYTHING else plain
    if value is sys.modules:
        return "sys.modules"
    if type(value).__name__ == "_Environ" and type(value).__module__ == "os":
        return ".".join(("os.environ", *path))
    if isinstance(value, type) and path:
        return ".".join((value.__module__, value.__qualname__, *path))
    module, own_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(own_name, str) and not path:
        return f"{module}.{own_name}"
    return ""


def added_by(reach: Reach) -> set[str]:
    """The libraries whose methods and accessors on tables the code may use by their names alone."""
    own = {name.partition(".")[0] for name in reach.project.modules}
    return grafted.libraries(_identifiers(reach)) - own


def variables(reach: Reach) -> set[str]:
    """The environment variables that count: where names are computed, all that the code spells."""
    if "" not in reach.environment:
        return reach.environment
    found = {text for one in reach.spaces.known.values() for text in _texts_of(reach, one)}
    for _, one, _ in reach.units:
        found |= likely_variables(one.node)
    return (reach.environment | found) - {""}


def _texts_of(reach: Reach, space: Space) -> list[str]:
    """The globals looked up in a module that are texts and look like names of variables."""
    found = [space.variables.get(name) for module, name in reach.names if module == space.name]
    return [text for text in found if isinstance(text, str) and LIKE_VARIABLE.fullmatch(text)]


def may_hold_code(value: object) -> bool:
    """Whether a value inside a library's function is, or holds, the user's code or plain data."""
    if isinstance(value, FunctionType | MethodType | type | partial | bool | int | float | str | bytes):
        return True
    if isinstance(value, list | tuple | set | frozenset):
        return all(may_hold_code(one) for one in value)
    if isinstance(value, dict):
        return all(may_hold_code(one) for one in value.values())
    return hasattr(value, "__wrapped__") or hasattr(value, "function")


def variant(reach: Reach) -> str:
    """Whether annotations, docstrings and files as written count: where code that is reached reads them."""
    found = _identifiers(reach)
    readers = (
        (ANNOTATIONS, _ANNOTATION_READERS), (DOCSTRINGS, _DOCSTRING_READERS), (SOURCES, _SOURCE_READERS),
    )  # fmt: skip
    return "".join(kept if found & names else PLAIN for kept, names in readers)


def reads_annotations(reach: Reach) -> bool:
    """Whether code that is reached reads annotations at run time."""
    return bool(_identifiers(reach) & _ANNOTATION_READERS)


def _identifiers(reach: Reach) -> set[str]:
    """Every name and attribute in what is reached, and what aliases are called where they come from."""
    found = set(reach.called)
    for _, one, source in reach.units:
        found |= uses_of(one, source).identifiers
    return found
