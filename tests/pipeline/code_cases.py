"""The table of code edits: what each does to a fingerprint, and to the op's result.

R: must re-run. H: must be a hit. W: must be listed as opaque, and re-run where the result changes.
An op is called `op` and takes one number. Where the result changes, the fingerprint must.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent


@dataclass(frozen=True)
class Case:
    name: str
    verdict: str
    before: dict[str, str]
    after: dict[str, str]
    file: str = "main.py"
    op: str = "op"
    seen: bool = field(default=True)
    """Whether calling the op shows the difference."""


CASES: list[Case] = []


def case(
    name: str,
    verdict: str,
    before: str | dict[str, str],
    after: str | dict[str, str],
    *,
    file: str = "main.py",
    seen: bool | None = None,
) -> None:
    def files(given: str | dict[str, str]) -> dict[str, str]:
        named = {file: given} if isinstance(given, str) else given
        return {path: dedent(text).lstrip("\n") for path, text in named.items()}

    first, second = files(before), files(after)
    CASES.append(
        Case(name, verdict, first, {**first, **second}, file, seen=verdict != "H" if seen is None else seen)
    )


def swap(name: str, verdict: str, text: str, old: str, new: str, *, seen: bool | None = None) -> None:
    """A case of one file in which `old` becomes `new`."""
    assert old in text, name
    case(name, verdict, text, text.replace(old, new), seen=seen)


# --- the body

swap("body literal", "R", "def op(x): return x + 1\n", "+ 1", "+ 2")
swap("body literal 1 to True", "R", "def op(x): return [x, 1]\n", "1]", "True]")
swap("body literal 1 to 1.0", "R", "def op(x): return [x, 1]\n", "1]", "1.0]")
swap("body literal 0.0 to -0.0", "R", "def op(x): return [x, 0.0]\n", "0.0]", "-0.0]")
swap("body literal text to bytes", "R", "def op(x): return [x, 'a']\n", "'a'", "b'a'")
swap("operator", "R", "def op(x): return x + 3\n", "+", "*")
swap("comment", "H", "def op(x):\n    return x + 1  # one\n", "one", "two and more")
swap("comment line above", "H", "def op(x):\n    return x + 1\n", "def op", "# new\n\n\ndef op")
swap("docstring changed", "H", 'def op(x):\n    "doc"\n    return x\n', '"doc"', '"other"')
swap("docstring added", "H", "def op(x):\n    return x\n", "    return", '    """doc"""\n    return')
swap("only a docstring to pass", "H", 'def op(x):\n    "doc"\n', '"doc"', "pass")
swap(
    "docstring of a helper read",
    "R",
    'def h():\n    "doc"\ndef op(x): return h.__doc__\n',
    '"doc"',
    '"other"',
)
swap("own docstring read", "R", 'def op(x):\n    "doc"\n    return op.__doc__\n', '"doc"', '"other"')
swap(
    "docstring read by getattr",
    "R",
    'def op(x):\n    "doc"\n    return getattr(op, "__doc__")\n',
    '"doc"',
    '"other"',
)
swap("docstring of the module read", "R", '"mod"\ndef op(x): return __doc__\n', '"mod"', '"other"')
swap(
    "formatting",
    "H",
    "def op(x): return [x,1]\n",
    "def op(x): return [x,1]",
    "def op(\n    x,\n):\n\n    return [\n        x, 1,\n    ]",
)
swap("quotes", "H", "def op(x): return 'a'\n", "'a'", '"a"')
swap("number format", "H", "def op(x): return 1000\n", "1000", "1_000")
swap("parentheses", "H", "def op(x): return x + 1\n", "x + 1", "(x + 1)")
swap("line shift", "H", "import os\ndef op(x): return x\n", "import os\n", "import os\n\n\n\n")
swap("line endings", "H", "def op(x):\n    return 'a\\nb'\n", "\n", "\r\n")
swap("line endings in a long text", "H", 'def op(x):\n    return """a\nb"""\n', "\n", "\r\n")
swap("a byte order mark", "H", "def op(x): return x\n", "def op", "\ufeffdef op")
swap(
    "unused function in the same file",
    "H",
    "def u(): return 1\ndef op(x): return x\n",
    "return 1",
    "return 2",
)
swap("unused constant in the same file", "H", "U = 1\ndef op(x): return x\n", "U = 1", "U = 2")
swap("unused import", "H", "def op(x): return x\n", "def op", "import json\ndef op")
swap("local variable renamed", "R", "def op(x):\n    a = x\n    return a\n", "a", "bb", seen=False)
swap(
    "assert in the body",
    "R",
    "def op(x):\n    assert x\n    return x\n",
    "assert x",
    "assert x > 0",
    seen=False,
)
swap("match pattern", "R", "def op(x):\n    match x:\n        case 3: return 1\n", "case 3", "case _")
swap("keyword of a call", "R", "def op(x): return sorted([1, x], reverse=True)\n", "True", "False")

# --- annotations

swap("annotation of an argument", "H", "def op(x: int): return x\n", ": int", ": float")
swap("annotation of the result", "H", "def op(x) -> int: return x\n", "int", "float")
swap("annotation added", "H", "def op(x): return x\n", "(x)", "(x: 'int | None')")
swap("annotation of a local", "H", "def op(x):\n    y: int = x\n    return y\n", ": int", ": float")
swap("annotation of a local added", "H", "def op(x):\n    y = x\n    return y\n", "y =", "y: int =")
swap("annotation read", "R", "def op(x: int): return str(op.__annotations__)\n", ": int", ": float")
swap(
    "annotation read by get_type_hints",
    "R",
    "from typing import get_type_hints\ndef h(a: int): 0\ndef op(x): return str(get_type_hints(h))\n",
    "a: int",
    "a: float",
)
swap(
    "annotation read by signature",
    "R",
    "import inspect\ndef h(a: int): 0\ndef op(x): return str(inspect.signature(h))\n",
    "a: int",
    "a: float",
)
swap(
    "type alias of a read annotation",
    "R",
    "T = int\ndef h(a: T): 0\ndef op(x): return str(h.__annotations__)\n",
    "T = int",
    "T = float",
)
swap(
    "field annotation of a dataclass",
    "R",
    "from dataclasses import dataclass, fields\n@dataclass\nclass C:\n    a: int\ndef op(x): return str(fields(C)[0].type)\n",
    "a: int",
    "a: float",
)
swap(
    "field of a dataclass added",
    "R",
    "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\ndef op(x): return str(C())\n",
    "a: int = 1",
    "a: int = 1\n    b: int = 2",
)
swap(
    "field of a NamedTuple",
    "R",
    "from typing import NamedTuple\nclass C(NamedTuple):\n    a: int = 1\ndef op(x): return str(C())\n",
    "a: int",
    "b: int",
)
swap(
    "annotation in a plain class",
    "H",
    "class C:\n    a: int = 1\ndef op(x): return C.a\n",
    ": int",
    ": float",
)
swap(
    "annotation of a registered type",
    "R",
    "from functools import singledispatch\n@singledispatch\ndef g(a): return 0\n@g.register\ndef _(a: int): return 1\ndef op(x): return g(x)\n",
    "a: int",
    "a: str",
)

# --- helpers

swap("helper in the module", "R", "def h(x): return x + 1\ndef op(x): return h(x)\n", "+ 1", "+ 2")
swap("comment in a helper", "H", "def h(x): return x + 1\ndef op(x): return h(x)\n", "+ 1", "+ 1  # 2")
case(
    "helper in another module",
    "R",
    {"main.py": "import lib\ndef op(x): return lib.h(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "unused helper in another module",
    "H",
    {
        "main.py": "import lib\ndef op(x): return lib.h(x)\n",
        "lib.py": "def h(x): return x + 1\ndef u(): return 1\n",
    },
    {"lib.py": "def h(x): return x + 1\ndef u(): return 2\n"},
)
case(
    "two hops",
    "R",
    {
        "main.py": "from a import f\ndef op(x): return f(x)\n",
        "a.py": "import b\ndef f(x): return b.g(x)\n",
        "b.py": "def g(x): return x + 1\n",
    },
    {"b.py": "def g(x): return x + 2\n"},
)
case(
    "three hops",
    "R",
    {
        "main.py": "from a import f\ndef op(x): return f(x)\n",
        "a.py": "import b\ndef f(x): return b.g(x)\n",
        "b.py": "from c import k as g\n",
        "c.py": "def k(x): return x + 1\n",
    },
    {"c.py": "def k(x): return x + 2\n"},
)
case(
    "attribute of a submodule",
    "R",
    {
        "main.py": "import pkg.sub\ndef op(x): return pkg.sub.f(x)\n",
        "pkg/__init__.py": "",
        "pkg/sub.py": "def f(x): return x + 1\n",
    },
    {"pkg/sub.py": "def f(x): return x + 2\n"},
)
case(
    "attribute through a package",
    "R",
    {
        "main.py": "import pkg\ndef op(x): return pkg.sub.f(x)\n",
        "pkg/__init__.py": "from . import sub\n",
        "pkg/sub.py": "def f(x): return x + 1\n",
    },
    {"pkg/sub.py": "def f(x): return x + 2\n"},
)
case(
    "re-export of a package",
    "R",
    {
        "main.py": "from pkg import f\ndef op(x): return f(x)\n",
        "pkg/__init__.py": "from .sub import f\n",
        "pkg/sub.py": "def f(x): return x + 1\n",
    },
    {"pkg/sub.py": "def f(x): return x + 2\n"},
)
case(
    "star import",
    "R",
    {"main.py": "from lib import *\ndef op(x): return h(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "two modules swap their names",
    "R",
    {
        "main.py": "from a import f as g, f2 as h\ndef op(x): return g(x) - h(x)\n",
        "a.py": "def f(x): return 5\ndef f2(x): return 3\n",
    },
    {"main.py": "from a import f2 as g, f as h\ndef op(x): return g(x) - h(x)\n"},
)
case(
    "import from elsewhere",
    "R",
    {
        "main.py": "from a import f\ndef op(x): return f(x)\n",
        "a.py": "def f(x): return 1\n",
        "b.py": "def f(x): return 2\n",
    },
    {"main.py": "from b import f\ndef op(x): return f(x)\n"},
)
case(
    "module handed on",
    "R",
    {
        "main.py": "import lib\ndef call(m, x): return m.h(x)\ndef op(x): return call(lib, x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "module in a list",
    "R",
    {
        "main.py": "import lib\nALL = [lib]\ndef op(x): return ALL[0].h(x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "__getattr__ of a module",
    "R",
    {
        "main.py": "import lib\ndef op(x): return lib.anything\n",
        "lib.py": "def __getattr__(name): return 1\n",
    },
    {"lib.py": "def __getattr__(name): return 2\n"},
)
case(
    "module shadowed by a package",
    "R",
    {"main.py": "import lib\ndef op(x): return lib.h(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib/__init__.py": "def h(x): return x + 2\n"},
)
case(
    "helper beside a file in a folder",
    "R",
    {
        "flows/main.py": "import near\ndef op(x): return near.h(x)\n",
        "flows/near.py": "def h(x): return x + 1\n",
    },
    {"flows/near.py": "def h(x): return x + 2\n"},
    file="flows/main.py",
)
case(
    "helper under src",
    "R",
    {
        "main.py": "import pkg.lib\ndef op(x): return pkg.lib.h(x)\n",
        "src/pkg/lib.py": "def h(x): return x + 1\n",
    },
    {"src/pkg/lib.py": "def h(x): return x + 2\n"},
)
case(
    "a name becomes a builtin no longer",
    "R",
    "def op(x): return abs(x)\n",
    "def abs(x): return 5\ndef op(x): return abs(x)\n",
)
case(
    "a missing name appears",
    "R",
    "def op(x):\n    try: return h(x)\n    except NameError: return 0\n",
    "def op(x):\n    try: return h(x)\n    except NameError: return 0\ndef h(x): return 1\n",
)
swap(
    "a later definition of a helper",
    "R",
    "def h(x): return 1\ndef op(x): return h(x)\n",
    "def op",
    "def h(x): return 2\ndef op",
)
swap(
    "conditional definition",
    "R",
    "F = True\nif F:\n    def h(x): return 1\nelse:\n    def h(x): return 2\ndef op(x): return h(x)\n",
    "F = True",
    "F = False",
)
swap(
    "function attribute", "R", "def h(x): return h.k\nh.k = 1\ndef op(x): return h(x)\n", "h.k = 1", "h.k = 2"
)

# --- imports inside

case(
    "import inside",
    "R",
    {"main.py": "def op(x):\n    import lib\n    return lib.h(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "from-import inside",
    "R",
    {"main.py": "def op(x):\n    from lib import h\n    return h(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "from-import as inside",
    "R",
    {"main.py": "def op(x):\n    from lib import K as k\n    return k\n", "lib.py": "K = 1\n"},
    {"lib.py": "K = 2\n"},
)
case(
    "import of a submodule inside",
    "R",
    {
        "main.py": "def op(x):\n    import pkg.sub as s\n    return s.f(x)\n",
        "pkg/sub.py": "def f(x): return x + 1\n",
    },
    {"pkg/sub.py": "def f(x): return x + 2\n"},
)
case(
    "relative import inside",
    "R",
    {
        "pkg/main.py": "def op(x):\n    from .sub import f\n    return f(x)\n",
        "pkg/__init__.py": "",
        "pkg/sub.py": "def f(x): return x + 1\n",
    },
    {"pkg/sub.py": "def f(x): return x + 2\n"},
    file="pkg/main.py",
)
case(
    "relative import of a module inside",
    "R",
    {
        "pkg/main.py": "def op(x):\n    from . import sub\n    return sub.f(x)\n",
        "pkg/__init__.py": "",
        "pkg/sub.py": "def f(x): return x + 1\n",
    },
    {"pkg/sub.py": "def f(x): return x + 2\n"},
    file="pkg/main.py",
)
case(
    "one of two imports inside",
    "R",
    {
        "main.py": "def op(x):\n    if x > 5:\n        import a as m\n    else:\n        import b as m\n    return m.f(x)\n",
        "a.py": "def f(x): return 1\n",
        "b.py": "def f(x): return 2\n",
    },
    {"b.py": "def f(x): return 3\n"},
)
case(
    "import inside a helper two hops away",
    "R",
    {
        "main.py": "import a\ndef op(x): return a.f(x)\n",
        "a.py": "def f(x):\n    from b import g\n    return g(x)\n",
        "b.py": "def g(x): return x + 1\n",
    },
    {"b.py": "def g(x): return x + 2\n"},
)
case(
    "optional import that appears",
    "R",
    "def op(x):\n    try:\n        import lib\n        return lib.K\n    except ImportError:\n        return 0\n",
    {
        "main.py": "def op(x):\n    try:\n        import lib\n        return lib.K\n    except ImportError:\n        return 0\n",
        "lib.py": "K = 1\n",
    },
)

case(
    "unused function of a module imported inside",
    "H",
    {"main.py": "def op(x):\n    import lib\n    return lib.h(x)\n", "lib.py": "def h(x): return x + 1\ndef u(): 0\n"},
    {"lib.py": "def h(x): return x + 1\ndef u(): 1\n"},
)
case(
    "module imported inside and handed on",
    "W",
    {"main.py": "def op(x):\n    import lib\n    return vars(lib)['h'](x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)

# --- dynamic code

case(
    "importlib with a name",
    "W",
    {
        "main.py": "import importlib\ndef op(x): return importlib.import_module('lib').h(x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "importlib with a computed name",
    "W",
    {
        "main.py": "import importlib\ndef op(x): return importlib.import_module('li' + 'b').h(x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "importlib under another name",
    "W",
    {
        "main.py": "from importlib import import_module as load\ndef op(x): return load('li' + 'b').h(x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "__import__",
    "W",
    {"main.py": "def op(x): return __import__('lib').h(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "a plugin that appears",
    "W",
    {
        "main.py": "import importlib\ndef op(x):\n    try: return importlib.import_module('plug' + 'in').h(x)\n    except ImportError: return 0\n"
    },
    {"plugin.py": "def h(x): return x + 1\n"},
)
case(
    "getattr with a literal",
    "R",
    {"main.py": "import lib\ndef op(x): return getattr(lib, 'h')(x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "getattr with a computed name",
    "W",
    {
        "main.py": "import lib\ndef op(x): return getattr(lib, 'h' + '')(x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "eval",
    "W",
    {"main.py": "import lib\ndef h(x): return x + 1\ndef op(x): return eval('h(x)')\n"},
    {"main.py": "import lib\ndef h(x): return x + 2\ndef op(x): return eval('h(x)')\n", "lib.py": ""},
)
CASES[-1].before["lib.py"] = ""
case(
    "exec",
    "W",
    "def h(x): return x + 1\ndef op(x):\n    d = {}\n    exec('y = h(x)', {'h': globals()['h'], 'x': x}, d)\n    return d['y']\n",
    "def h(x): return x + 2\ndef op(x):\n    d = {}\n    exec('y = h(x)', {'h': globals()['h'], 'x': x}, d)\n    return d['y']\n",
)
case(
    "globals()",
    "W",
    "def h(x): return x + 1\ndef op(x): return globals()['h'](x)\n",
    "def h(x): return x + 2\ndef op(x): return globals()['h'](x)\n",
)
case(
    "sys.modules",
    "W",
    {
        "main.py": "import sys, lib\ndef op(x): return sys.modules['lib'].h(x)\n",
        "lib.py": "def h(x): return x + 1\n",
    },
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "vars of a module",
    "W",
    {"main.py": "import lib\ndef op(x): return vars(lib)['h'](x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
case(
    "__dict__ of a module",
    "R",
    {"main.py": "import lib\ndef op(x): return lib.__dict__['h'](x)\n", "lib.py": "def h(x): return x + 1\n"},
    {"lib.py": "def h(x): return x + 2\n"},
)
swap("a comment beside eval", "H", "def op(x): return eval('x')\n", "def op", "# note\ndef op")
swap(
    "subclasses by __subclasses__",
    "R",
    "class B: pass\nclass C(B):\n    def f(self): return 1\ndef op(x): return B.__subclasses__()[0]().f()\n",
    "return 1",
    "return 2",
)

# --- defaults

swap("default literal", "R", "def op(x, k=1): return x + k\n", "k=1", "k=2")
swap("default by a global", "R", "K = 1\ndef op(x, k=K): return x + k\n", "K = 1", "K = 2")
swap("keyword-only default", "R", "def op(x, *, k=1): return x + k\n", "k=1", "k=2")
swap(
    "default of a helper by a global",
    "R",
    "K = 1\ndef h(x, k=K): return x + k\ndef op(x): return h(x)\n",
    "K = 1",
    "K = 2",
)
swap("default that is a function", "R", "def h(x): return x + 1\ndef op(x, f=h): return f(x)\n", "+ 1", "+ 2")
swap(
    "mutable default changed",
    "W",
    "def op(x, seen=[]):\n    seen.append(x)\n    return len(seen)\n",
    "len(seen)",
    "len(seen) + 1",
)
swap(
    "mutable dict default changed",
    "W",
    "def op(x, seen={}):\n    seen[x] = 1\n    return len(seen)\n",
    "len(seen)",
    "len(seen) + 1",
)
swap(
    "default set by __defaults__",
    "R",
    "def h(x, k=0): return x + k\nh.__defaults__ = (1,)\ndef op(x): return h(x)\n",
    "(1,)",
    "(2,)",
)

# --- globals

swap("global constant", "R", "K = 1\ndef op(x): return x + K\n", "K = 1", "K = 2")
swap("global constant written otherwise", "H", "K = 2\ndef op(x): return x + K\n", "K = 2", "K = 1 + 1")
swap("global constant 1 to True", "R", "K = 1\ndef op(x): return str(K)\n", "K = 1", "K = True")
swap(
    "global constant nan to None", "R", "K = float('nan')\ndef op(x): return str(K)\n", "float('nan')", "None"
)
swap(
    "global constant in a comprehension",
    "R",
    "K = 1\ndef op(x): return [K for _ in range(2)]\n",
    "K = 1",
    "K = 2",
)
swap("global constant in an f-string", "R", "K = 1\ndef op(x): return f'{x:0{K}d}'\n", "K = 1", "K = 4")
swap(
    "global constant in a nested function",
    "R",
    "K = 1\ndef op(x):\n    def g(): return K\n    return g()\n",
    "K = 1",
    "K = 2",
)
swap(
    "global of the name of a local elsewhere",
    "R",
    "K = 1\ndef op(x):\n    def g(K): return K\n    return g(0) + K\n",
    "K = 1",
    "K = 2",
)
swap("global shadowed by a local", "H", "K = 1\ndef op(x):\n    K = 5\n    return x + K\n", "K = 1", "K = 2")
swap("global shadowed by a parameter", "H", "K = 1\ndef op(K): return K\n", "K = 1", "K = 2")
swap("global assigned later in the file", "R", "K = 1\ndef op(x): return x + K\nK = 3\n", "K = 3", "K = 4")
swap(
    "global computed by a function",
    "R",
    "def make(): return 1\nK = make()\ndef op(x): return x + K\n",
    "return 1",
    "return 2",
)
swap(
    "global computed by a function to the same",
    "H",
    "def make(): return 2\nK = make()\ndef op(x): return x + K\n",
    "return 2",
    "return 1 + 1",
)
swap(
    "global in a loop",
    "R",
    "K = 0\nfor i in range(3): K += i\ndef op(x): return x + K\n",
    "range(3)",
    "range(4)",
)
swap("global changed in place", "R", "K = [1]\nK.append(2)\ndef op(x): return K\n", "append(2)", "append(3)")
swap("global dict, one entry", "R", "K = {'a': 1}\ndef op(x): return K['a']\n", ": 1", ": 2")
swap(
    "global dict, order",
    "R",
    "K = {'a': 1, 'b': 2}\ndef op(x): return list(K)\n",
    "'a': 1, 'b': 2",
    "'b': 2, 'a': 1",
)
swap("global nested deep", "R", "K = [[[[[[[[[[1]]]]]]]]]]\ndef op(x): return str(K)\n", "[1]", "[2]")
swap("global set", "R", "K = {'a', 'b', 'c'}\ndef op(x): return sorted(K)\n", "'c'", "'d'")
swap(
    "global set, order written",
    "H",
    "K = {'a', 'b', 'c'}\ndef op(x): return sorted(K)\n",
    "'a', 'b', 'c'",
    "'c', 'a', 'b'",
)
swap("global list to tuple", "R", "K = [1, 2]\ndef op(x): return str(K)\n", "[1, 2]", "(1, 2)")
swap("global that holds itself", "R", "K = [1]\nK.append(K)\ndef op(x): return K[0]\n", "[1]", "[2]")
swap(
    "large array",
    "R",
    "import numpy as np\nA = np.arange(100_000)\nA[99_999] = 1\ndef op(x): return int(A.sum())\n",
    "] = 1",
    "] = 2",
)
swap(
    "array dtype",
    "R",
    "import numpy as np\nA = np.ones(3)\ndef op(x): return str(A.dtype)\n",
    "np.ones(3)",
    "np.ones(3, 'float32')",
)
swap(
    "table",
    "R",
    "import pandas as pd\nT = pd.DataFrame({'a': [1, 2]})\ndef op(x): return int(T.a.sum())\n",
    "2]",
    "3]",
)
swap(
    "table in a dict beside a function",
    "R",
    "import pandas as pd\nT = {'t': pd.DataFrame({'a': [1, 2]}), 'f': len}\ndef op(x): return int(T['t'].a.sum())\n",
    "2]",
    "3]",
)
case(
    "constant by from-import",
    "R",
    {"main.py": "from lib import K\ndef op(x): return x + K\n", "lib.py": "K = 1\n"},
    {"lib.py": "K = 2\n"},
)
case(
    "constant by module attribute",
    "R",
    {"main.py": "import lib\ndef op(x): return x + lib.K\n", "lib.py": "K = 1\n"},
    {"lib.py": "K = 2\n"},
)
case(
    "constant set from another module",
    "R",
    {
        "main.py": "import lib\nlib.K = 1\ndef op(x): return lib.h(x)\n",
        "lib.py": "K = 0\ndef h(x): return x + K\n",
    },
    {"main.py": "import lib\nlib.K = 2\ndef op(x): return lib.h(x)\n"},
)
case(
    "another constant of the same module",
    "H",
    {"main.py": "import lib\ndef op(x): return x + lib.K\n", "lib.py": "K = 1\nOTHER = 1\n"},
    {"lib.py": "K = 1\nOTHER = 2\n"},
)
swap(
    "global enum",
    "R",
    "from enum import Enum\nclass E(Enum):\n    A = 1\n    B = 2\nK = E.A\ndef op(x): return K.value\n",
    "K = E.A",
    "K = E.B",
)
swap(
    "value of an enum",
    "R",
    "from enum import Enum\nclass E(Enum):\n    A = 1\ndef op(x): return E.A.value\n",
    "A = 1",
    "A = 2",
)
swap(
    "global compiled pattern",
    "R",
    "import re\nP = re.compile('a')\ndef op(x): return P.pattern\n",
    "'a'",
    "'b'",
)
swap(
    "global Decimal",
    "R",
    "from decimal import Decimal\nP = Decimal('1.0')\ndef op(x): return str(P)\n",
    "'1.0'",
    "'1.00'",
)
swap(
    "global datetime zone",
    "R",
    "from datetime import datetime, timezone\nP = datetime(2020, 1, 1)\ndef op(x): return str(P)\n",
    "1, 1)",
    "1, 1, tzinfo=timezone.utc)",
)
swap(
    "global namespace object",
    "R",
    "from types import SimpleNamespace\nP = SimpleNamespace(a=1)\ndef op(x): return P.a\n",
    "a=1",
    "a=2",
)
swap(
    "global logger",
    "H",
    "import logging\nlog = logging.getLogger('x')\ndef op(x):\n    log.debug('a')\n    return x\n",
    "def op",
    "\ndef op",
)
swap(
    "global lock",
    "H",
    "import threading\nlock = threading.Lock()\ndef op(x):\n    with lock: return x\n",
    "def op",
    "\ndef op",
)
swap(
    "path below the project",
    "H",
    "from pathlib import Path\nHERE = Path(__file__).parent\nNAME = __file__\ndef op(x): return (HERE / 'a').name, NAME[-3:]\n",
    "def op",
    "\ndef op",
)
swap(
    "path below the project changed",
    "R",
    "from pathlib import Path\nHERE = Path(__file__).parent / 'a'\ndef op(x): return HERE.name\n",
    "'a'",
    "'b'",
)

# --- functions as values

swap(
    "closure cell",
    "R",
    "def make(k):\n    def op(x): return x + k\n    return op\nop = make(1)\n",
    "make(1)",
    "make(2)",
)
swap(
    "closure over a table of functions",
    "R",
    "def h(x): return x + 1\ndef make(d):\n    def op(x): return d['h'](x)\n    return op\nop = make({'h': h})\n",
    "+ 1",
    "+ 2",
)
swap("lambda in a global", "R", "f = lambda x: x + 1\ndef op(x): return f(x)\n", "+ 1", "+ 2")
swap(
    "one of two lambdas in a line",
    "R",
    "f, g = lambda x: x + 1, lambda x: x * 5\ndef op(x): return f(x)\n",
    "+ 1",
    "+ 2",
)
swap("lambda as the op", "R", "op = lambda x: x + 1\n", "+ 1", "+ 2")
swap("lambda as an argument", "R", "def op(x): return list(map(lambda y: y + 1, [x]))\n", "+ 1", "+ 2")
swap("lambda in a dict", "R", "T = {'a': lambda x: x + 1}\ndef op(x): return T['a'](x)\n", "+ 1", "+ 2")
swap(
    "function in a list of tuples",
    "R",
    "def h(x): return x + 1\nT = [('a', h)]\ndef op(x): return T[0][1](x)\n",
    "+ 1",
    "+ 2",
)
swap(
    "partial, argument",
    "R",
    "from functools import partial\ndef h(x, k): return x + k\np = partial(h, k=1)\ndef op(x): return p(x)\n",
    "k=1",
    "k=2",
)
swap(
    "partial, function",
    "R",
    "from functools import partial\ndef h(x, k): return x + k\np = partial(h, k=1)\ndef op(x): return p(x)\n",
    "x + k",
    "x - k",
)
swap(
    "partial as the op",
    "R",
    "from functools import partial\ndef h(k, x): return x + k\nop = partial(h, 1)\n",
    "h, 1",
    "h, 2",
)
swap("nested function", "R", "def op(x):\n    def g(y): return y + 1\n    return g(x)\n", "+ 1", "+ 2")
swap(
    "operator.itemgetter",
    "R",
    "from operator import itemgetter\ng = itemgetter(0)\ndef op(x): return g([x, 5])\n",
    "(0)",
    "(1)",
)
swap(
    "bound method in a global",
    "R",
    "class C:\n    def __init__(self, k): self.k = k\n    def f(self, x): return x + self.k\nf = C(1).f\ndef op(x): return f(x)\n",
    "C(1)",
    "C(2)",
)
swap(
    "composed functions",
    "R",
    "def a(x): return x + 1\ndef b(x): return x * 2\ndef compose(*fs):\n    def run(x):\n        for f in fs: x = f(x)\n        return x\n    return run\nc = compose(a, b)\ndef op(x): return c(x)\n",
    "compose(a, b)",
    "compose(b, a)",
)

# --- decorators

_DECO = "def d(f):\n    def w(x): return f(x) + 1\n    return w\n"
_WRAPS = "import functools\ndef d(f):\n    @functools.wraps(f)\n    def w(x): return f(x) + 1\n    return w\n"
swap("decorator added", "R", _DECO + "def op(x): return x\n", "def op", "@d\ndef op")
swap("decorator removed", "R", _DECO + "@d\ndef op(x): return x\n", "@d\n", "")
swap("decorator's body", "R", _DECO + "@d\ndef op(x): return x\n", "+ 1", "+ 2")
swap("decorated body", "R", _DECO + "@d\ndef op(x): return x\n", "return x\n", "return x * 3\n")
swap("decorator with wraps, its body", "R", _WRAPS + "@d\ndef op(x): return x\n", "+ 1", "+ 2")
swap(
    "decorator with wraps, decorated body",
    "R",
    _WRAPS + "@d\ndef op(x): return x\n",
    "return x\n",
    "return x * 3\n",
)
swap(
    "decorator with wraps of a helper",
    "R",
    _WRAPS + "@d\ndef h(x): return x\ndef op(x): return h(x)\n",
    "return x\n",
    "return x * 3\n",
)
swap(
    "decorator's argument",
    "R",
    "def d(k):\n    def deco(f):\n        def w(x): return f(x) + k\n        return w\n    return deco\n@d(1)\ndef op(x): return x\n",
    "@d(1)",
    "@d(2)",
)
swap(
    "decorator's outer body",
    "R",
    "def d(f):\n    k = 1\n    def w(x): return f(x) + k\n    return w\n@d\ndef op(x): return x\n",
    "k = 1",
    "k = 2",
)
swap(
    "decorator that returns something else",
    "R",
    "def other(x): return 1\ndef d(f): return other\n@d\ndef op(x): return x\n",
    "return 1",
    "return 2",
)
swap(
    "two functions, one decorator",
    "R",
    _DECO + "@d\ndef h(x): return x + 5\n@d\ndef op(x): return h(x)\n",
    "+ 5",
    "+ 6",
)
swap(
    "class as a decorator",
    "R",
    "class D:\n    def __init__(self, f): self.f = f\n    def __call__(self, x): return self.f(x) + 1\n@D\ndef h(x): return x\ndef op(x): return h(x)\n",
    "+ 1",
    "+ 2",
)
swap(
    "class as a decorator, decorated",
    "R",
    "class D:\n    def __init__(self, f): self.f = f\n    def __call__(self, x): return self.f(x) + 1\n@D\ndef h(x): return x\ndef op(x): return h(x)\n",
    "return x\n",
    "return x * 3\n",
)
swap(
    "lru_cache",
    "R",
    "from functools import lru_cache\n@lru_cache\ndef h(x): return x + 1\ndef op(x): return h(x)\n",
    "+ 1",
    "+ 2",
)
swap(
    "contextmanager",
    "R",
    "from contextlib import contextmanager\n@contextmanager\ndef c(): yield 1\ndef op(x):\n    with c() as k: return k\n",
    "yield 1",
    "yield 2",
)
swap(
    "singledispatch",
    "R",
    "from functools import singledispatch\n@singledispatch\ndef g(a): return 0\n@g.register(int)\ndef _(a): return 1\ndef op(x): return g(x)\n",
    "return 1",
    "return 2",
)
case(
    "decorator from another module",
    "R",
    {"main.py": "from lib import d\n@d\ndef op(x): return x\n", "lib.py": _WRAPS},
    {"lib.py": _WRAPS.replace("+ 1", "+ 2")},
)
swap(
    "registry filled by a decorator",
    "R",
    "R = {}\ndef reg(f):\n    R[f.__name__] = f\n    return f\n@reg\ndef h(x): return x + 1\ndef op(x): return R['h'](x)\n",
    "+ 1",
    "+ 2",
)

# --- recursion

swap("recursion", "R", "def op(x): return 1 if x < 1 else op(x - 1) + 1\n", "+ 1", "+ 2")
swap(
    "mutual recursion",
    "R",
    "def a(x): return 1 if x < 1 else b(x - 1)\ndef b(x): return a(x - 1) + 1\ndef op(x): return a(x)\n",
    "+ 1",
    "+ 2",
)
swap(
    "recursion in a closure",
    "R",
    "def make():\n    def f(x): return 1 if x < 1 else f(x - 1) + 1\n    return f\nop = make()\n",
    "+ 1",
    "+ 2",
)
case(
    "mutual recursion over modules",
    "R",
    {
        "main.py": "import a\ndef op(x): return a.f(x)\n",
        "a.py": "import b\ndef f(x): return 1 if x < 1 else b.g(x - 1)\n",
        "b.py": "import a\ndef g(x): return a.f(x - 1) + 1\n",
    },
    {"b.py": "import a\ndef g(x): return a.f(x - 1) + 2\n"},
)

# --- classes

_CLASS = "class B:\n    def f(self, x): return x + 1\nclass C(B):\n    k = 5\n    def g(self, x): return self.f(x) * self.k\n    @classmethod\n    def make(cls): return cls()\n    @property\n    def p(self): return 7\n    @staticmethod\n    def s(): return 9\ndef op(x):\n    c = C.make()\n    return c.g(x), c.p, c.s()\n"
swap("method", "R", _CLASS, "self.f(x) *", "self.f(x) +")
swap("method of a parent", "R", _CLASS, "x + 1", "x + 2")
swap("classmethod", "R", _CLASS, "return cls()", "c = cls(); c.k = 8; return c")
swap("property", "R", _CLASS, "return 7", "return 8")
swap("staticmethod", "R", _CLASS, "return 9", "return 10")
swap("class attribute", "R", _CLASS, "k = 5", "k = 6")
swap("class attribute set afterwards", "R", _CLASS + "C.k = 11\n", "C.k = 11", "C.k = 12")
swap(
    "method set afterwards",
    "R",
    "class C:\n    pass\ndef m(self): return 1\nC.f = m\ndef op(x): return C().f()\n",
    "return 1",
    "return 2",
)
swap("comment in a method", "H", _CLASS, "return 7", "return 7  # seven")
swap("docstring of a class", "H", _CLASS, "class B:\n", 'class B:\n    "doc"\n')
swap(
    "another base",
    "R",
    "class A:\n    k = 1\nclass B:\n    k = 2\nclass C(A): pass\ndef op(x): return C.k\n",
    "C(A)",
    "C(B)",
)
swap(
    "metaclass",
    "R",
    "class M(type):\n    @property\n    def k(cls): return 1\nclass C(metaclass=M): pass\ndef op(x): return C.k\n",
    "return 1",
    "return 2",
)
swap(
    "nested class", "R", "class C:\n    class D:\n        k = 1\ndef op(x): return C.D.k\n", "k = 1", "k = 2"
)
swap(
    "default of a dataclass",
    "R",
    "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\ndef op(x): return C().a\n",
    "= 1",
    "= 2",
)
swap(
    "default of a dataclass by a global",
    "R",
    "from dataclasses import dataclass\nK = 1\n@dataclass\nclass C:\n    a: int = K\ndef op(x): return C().a\n",
    "K = 1",
    "K = 2",
)
swap(
    "default factory of a dataclass",
    "R",
    "from dataclasses import dataclass, field\ndef make(): return [1]\n@dataclass\nclass C:\n    a: list = field(default_factory=make)\ndef op(x): return C().a\n",
    "[1]",
    "[2]",
)
swap(
    "instance in a global",
    "R",
    "class C:\n    def __init__(self, k): self.k = k\nc = C(1)\ndef op(x): return c.k\n",
    "C(1)",
    "C(2)",
)
swap(
    "instance in a global, its method",
    "R",
    "class C:\n    def f(self): return 1\nc = C()\ndef op(x): return c.f()\n",
    "return 1",
    "return 2",
)
swap(
    "instance with slots",
    "R",
    "class C:\n    __slots__ = ('k',)\n    def __init__(self, k): self.k = k\nc = C(1)\ndef op(x): return c.k\n",
    "C(1)",
    "C(2)",
)
swap(
    "instance whose pickle hides state",
    "R",
    "class C:\n    def __init__(self, k): self.k = k\n    def __getstate__(self): return None\nc = C(1)\ndef op(x): return c.k\n",
    "C(1)",
    "C(2)",
)
swap(
    "instance of a dict subclass",
    "R",
    "class C(dict): pass\nc = C(a=1)\ndef op(x): return c['a']\n",
    "a=1",
    "a=2",
)
swap(
    "class made by namedtuple",
    "R",
    "from collections import namedtuple\nC = namedtuple('C', 'a b')\ndef op(x): return C(1, 2).a\n",
    "'a b'",
    "'b a'",
)
swap(
    "class made by type()",
    "R",
    "def f(self): return 1\nC = type('C', (), {'f': f})\ndef op(x): return C().f()\n",
    "return 1",
    "return 2",
)
swap(
    "class in a dict",
    "R",
    "class C:\n    def f(self): return 1\nT = {'c': C}\ndef op(x): return T['c']().f()\n",
    "return 1",
    "return 2",
)
swap(
    "operator of a class",
    "R",
    "class C:\n    def __add__(self, o): return 1\ndef op(x): return C() + x\n",
    "return 1",
    "return 2",
)
swap(
    "super()",
    "R",
    "class B:\n    def f(self): return 1\nclass C(B):\n    def f(self): return super().f()\ndef op(x): return C().f()\n",
    "return 1",
    "return 2",
)
swap(
    "private name of a class",
    "R",
    "_C__k = 1\nclass C:\n    def f(self): return __k\ndef op(x): return C().f()\n",
    "= 1",
    "= 2",
)
swap(
    "__init_subclass__",
    "R",
    "class B:\n    def __init_subclass__(cls): cls.k = 1\nclass C(B): pass\ndef op(x): return C.k\n",
    "= 1",
    "= 2",
)
swap(
    "descriptor",
    "R",
    "class D:\n    def __get__(self, o, t): return 1\nclass C:\n    d = D()\ndef op(x): return C().d\n",
    "return 1",
    "return 2",
)
swap(
    "class in a function", "R", "def op(x):\n    class C:\n        k = 1\n    return C.k\n", "k = 1", "k = 2"
)
swap(
    "class of a factory",
    "R",
    "def make(n):\n    class C:\n        k = n\n    return C\nC = make(1)\ndef op(x): return C.k\n",
    "make(1)",
    "make(2)",
)
swap(
    "property with a setter",
    "R",
    "class C:\n    @property\n    def k(self): return self._k\n    @k.setter\n    def k(self, v): self._k = v + 1\ndef op(x):\n    c = C(); c.k = x\n    return c.k\n",
    "+ 1",
    "+ 2",
)
swap(
    "abstract base class",
    "R",
    "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def f(self): ...\n    def g(self): return 1\nclass C(B):\n    def f(self): return self.g()\ndef op(x): return C().f()\n",
    "return 1",
    "return 2",
)

# --- generators, async, same names

swap("generator", "R", "def g(x):\n    yield x + 1\ndef op(x): return list(g(x))\n", "+ 1", "+ 2")
swap("generator as the op", "R", "def op(x):\n    yield x + 1\n", "+ 1", "+ 2", seen=False)
swap(
    "async",
    "R",
    "import asyncio\nasync def g(x): return x + 1\ndef op(x): return asyncio.run(g(x))\n",
    "+ 1",
    "+ 2",
)
swap("async as the op", "R", "async def op(x): return x + 1\n", "+ 1", "+ 2", seen=False)
swap(
    "async for and with in a generator",
    "R",
    "async def op(x):\n    async for y in x: yield y + 1\n",
    "+ 1",
    "+ 2",
    seen=False,
)

# --- effects of imports

swap(
    "np.seterr in the module",
    "R",
    "import numpy as np\nnp.seterr(divide='ignore')\ndef op(x): return np.geterr()['divide']\n",
    "'ignore'",
    "'warn'",
)
swap(
    "effect bound to a name",
    "R",
    "import numpy as np\nold = np.seterr(divide='ignore')\ndef op(x): return np.geterr()['divide']\n",
    "'ignore'",
    "'warn'",
)
case(
    "effect in an imported module",
    "R",
    {
        "main.py": "import setup_numpy\nimport numpy as np\ndef op(x): return np.geterr()['divide']\n",
        "setup_numpy.py": "import numpy as np\nnp.seterr(divide='ignore')\n",
    },
    {"setup_numpy.py": "import numpy as np\nnp.seterr(divide='warn')\n"},
)
swap(
    "library patched",
    "R",
    "import fractions\ndef twice(self): return 1\nfractions.Fraction.twice = twice\ndef op(x): return fractions.Fraction(1).twice()\n",
    "return 1",
    "return 2",
)
swap(
    "library patched by setattr",
    "R",
    "import fractions\ndef twice(self): return 1\nsetattr(fractions.Fraction, 'twice', twice)\ndef op(x): return fractions.Fraction(1).twice()\n",
    "return 1",
    "return 2",
)
swap(
    "accessor registered",
    "R",
    "import pandas as pd\n@pd.api.extensions.register_series_accessor('own')\nclass Own:\n    def __init__(self, s): pass\n    def f(self): return 1\ndef op(x): return pd.Series([1]).own.f()\n",
    "return 1",
    "return 2",
)
swap(
    "library patched by a decorator",
    "R",
    "import fractions\ndef patch(f):\n    setattr(fractions.Fraction, f.__name__, f)\n    return f\n@patch\ndef twice(self): return 1\ndef op(x): return fractions.Fraction(1).twice()\n",
    "return 1",
    "return 2",
)
swap(
    "library patched by a project decorator",
    "R",
    "import fractions\ndef method(f):\n    fractions.Fraction.twice = f\n    return f\n@method\ndef twice(self): return 1\ndef op(x): return fractions.Fraction(1).twice()\n",
    "return 1",
    "return 2",
)
swap(
    "main guard",
    "H",
    "def op(x): return x\nif __name__ == '__main__':\n    print(op(1))\n",
    "print(op(1))",
    "print(op(2))",
)

# --- aq's own decorators

_AQ = "import aq\n@aq.op\ndef h(x): return x + 1\n@aq.op(retries=1)\ndef op(x): return h(x)\n"
swap("retries", "H", _AQ, "retries=1", "retries=3")
swap("tags", "H", _AQ, "retries=1", "tags=['a']")
swap("decorator without arguments", "H", _AQ, "@aq.op(retries=1)", "@aq.op")
swap(
    "op under a name of its own",
    "H",
    "from aq import op as step\n@step(retries=1)\ndef op(x): return x\n",
    "retries=1",
    "retries=2",
)
swap("an op called by an op", "R", _AQ, "+ 1", "+ 2")
swap("retries of an op called by an op", "H", _AQ, "@aq.op\n", "@aq.op(retries=2)\n")
swap(
    "op over another decorator",
    "R",
    "import aq\n" + _DECO + "@aq.op\n@d\ndef op(x): return x\n",
    "+ 1",
    "+ 2",
)
swap(
    "op under another decorator",
    "R",
    "import aq\n" + _WRAPS + "@d\n@aq.op\ndef op(x): return x\n",
    "return x\n",
    "return x * 3\n",
)

# --- more of the same kinds

swap("lambda that captures by default", "R", "K = 1\nf = lambda x, k=K: x + k\ndef op(x): return f(x)\n", "K = 1", "K = 2")
swap("attribute of an imported exception", "R", "class E(Exception):\n    k = 1\ndef op(x):\n    try: raise E\n    except E as e: return e.k\n", "k = 1", "k = 2")
swap("class pattern", "R", "class C:\n    __match_args__ = ('a',)\n    def __init__(self): self.a = 1; self.b = 2\ndef op(x):\n    match C():\n        case C(v): return v\n", "('a',)", "('b',)")
swap("cached_property", "R", "from functools import cached_property\nclass C:\n    @cached_property\n    def k(self): return 1\ndef op(x): return C().k\n", "return 1", "return 2")
swap("nonlocal counter", "R", "def make():\n    n = 1\n    def f(x):\n        nonlocal n\n        n += x\n        return n\n    return f\nop = make()\n", "n = 1", "n = 2")
swap("np.vectorize", "R", "import numpy as np\ndef h(x): return x + 1\nv = np.vectorize(h)\ndef op(x): return v([x]).tolist()\n", "+ 1", "+ 2")
swap("FunctionTransformer", "R", "from sklearn.preprocessing import FunctionTransformer\ndef h(x): return x + 1\nt = FunctionTransformer(h)\ndef op(x): return t.transform(x)\n", "+ 1", "+ 2")
swap("FunctionTransformer, its argument", "R", "from sklearn.preprocessing import FunctionTransformer\ndef h(x, k): return x + k\nt = FunctionTransformer(h, kw_args={'k': 1})\ndef op(x): return t.transform(x)\n", "'k': 1", "'k': 2")
swap("estimator in a global", "R", "from sklearn.linear_model import Ridge\nm = Ridge(alpha=1.0)\ndef op(x): return m.alpha\n", "1.0", "2.0")
swap("own estimator", "R", "from sklearn.base import BaseEstimator\nclass M(BaseEstimator):\n    def predict(self, x): return x + 1\ndef op(x): return M().predict(x)\n", "+ 1", "+ 2")
swap("array of objects with a lambda", "R", "import numpy as np\nA = np.array([lambda x: x + 1, None], dtype=object)\ndef op(x): return A[0](x)\n", "+ 1", "+ 2")
swap("Enum with a method", "R", "from enum import Enum\nclass E(Enum):\n    A = 1\n    def f(self): return self.value + 1\ndef op(x): return E.A.f()\n", "+ 1", "+ 2")
swap("auto() of an Enum", "R", "from enum import Enum, auto\nclass E(Enum):\n    A = auto()\n    B = auto()\ndef op(x): return E.B.value\n", "    A = auto()\n", "")
swap("conditional import", "R", "try:\n    import no_such_module as m\nexcept ImportError:\n    import json as m\ndef op(x): return m.__name__\n", "json", "pickle")
swap("walrus at module level", "R", "if (K := 1): pass\ndef op(x): return K\n", ":= 1", ":= 2")
swap("global from a with block", "R", "import io\nwith io.StringIO('1') as s:\n    K = s.read()\ndef op(x): return K\n", "'1'", "'2'")
swap("global deleted", "R", "K = 1\ndef op(x):\n    try: return K\n    except NameError: return 0\n", "def op", "del K\ndef op")
swap("generic class", "R", "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass C(Generic[T]):\n    def f(self): return 1\ndef op(x): return C[int]().f()\n", "return 1", "return 2")
swap("protocol", "R", "from typing import Protocol\nclass P(Protocol):\n    def f(self): return 1\nclass C(P): pass\ndef op(x): return C().f()\n", "return 1", "return 2")
swap("helper in a keyword default of a lambda", "R", "def h(): return 1\nop = lambda x, *, f=h: f()\n", "return 1", "return 2")
swap("string formatting with a global object", "R", "class C:\n    def __format__(self, s): return 'a' + s\nc = C()\ndef op(x): return f'{c:1}'\n", "'a'", "'b'")
swap("iterator class", "R", "class C:\n    def __iter__(self): return iter([1])\ndef op(x): return list(C())\n", "[1]", "[2]")
swap("context manager class", "R", "class C:\n    def __enter__(self): return 1\n    def __exit__(self, *a): 0\ndef op(x):\n    with C() as c: return c\n", "return 1", "return 2")
swap("two decorators in another order", "R", "def a(f):\n    def w(x): return f(x) + 1\n    return w\ndef b(f):\n    def w(x): return f(x) * 2\n    return w\n@a\n@b\ndef op(x): return x\n", "@a\n@b", "@b\n@a")
swap("a decorator applied by hand", "R", "def d(f):\n    def w(x): return f(x) + 1\n    return w\ndef h(x): return x\nh = d(h)\ndef op(x): return h(x)\n", "h = d(h)\n", "")
swap("conditional decorator", "R", "def d(f):\n    def w(x): return f(x) + 1\n    return w\nON = True\ndef same(f): return f\n@(d if ON else same)\ndef op(x): return x\n", "ON = True", "ON = False")
swap("singledispatchmethod", "R", "from functools import singledispatchmethod\nclass C:\n    @singledispatchmethod\n    def f(self, a): return 0\n    @f.register(int)\n    def _(self, a): return 1\ndef op(x): return C().f(x)\n", "return 1", "return 2")
swap("sentinel object", "H", "S = object()\ndef op(x, k=S): return k is S\n", "def op", "\ndef op")
swap("class defined in an if", "R", "NEW = True\nif NEW:\n    class C:\n        k = 1\nelse:\n    class C:\n        k = 2\ndef op(x): return C.k\n", "NEW = True", "NEW = False")
swap("weak reference in a global", "R", "import weakref\nclass C:\n    k = 1\nc = C()\nr = weakref.proxy(c)\ndef op(x): return r.k\n", "k = 1", "k = 2")
swap("mapping proxy", "R", "from types import MappingProxyType\nP = MappingProxyType({'a': 1})\ndef op(x): return P['a']\n", ": 1", ": 2")
swap("ordered dict, deque, counter", "R", "from collections import Counter, OrderedDict, deque\nK = (OrderedDict(a=1), deque([1]), Counter('ab'))\ndef op(x): return str(K)\n", "'ab'", "'abb'")
swap("defaultdict factory", "R", "from collections import defaultdict\ndef one(): return 1\nD = defaultdict(one)\ndef op(x): return D.get(0) or one()\n", "return 1", "return 2")
swap("contextvar default", "R", "from contextvars import ContextVar\nV = ContextVar('v', default=1)\ndef op(x): return V.get()\n", "default=1", "default=2")
swap("thread-local set on import", "R", "import threading\nL = threading.local()\nL.k = 1\ndef op(x): return L.k\n", "L.k = 1", "L.k = 2")
swap("random state in a global", "R", "import random\nr = random.Random(1)\ndef op(x): return r.random()\n", "Random(1)", "Random(2)")
swap("numpy generator in a global", "R", "import numpy as np\nr = np.random.default_rng(1)\ndef op(x): return r.random()\n", "rng(1)", "rng(2)")
swap("attribute set by setattr", "R", "class C: pass\nsetattr(C, 'k', 1)\ndef op(x): return C.k\n", "'k', 1", "'k', 2")
swap("slots of a parent", "R", "class B:\n    __slots__ = ('a',)\nclass C(B):\n    __slots__ = ('b',)\n    def __init__(self, a): self.a = a\nc = C(1)\ndef op(x): return c.a\n", "C(1)", "C(2)")
swap("property set from outside the class", "R", "class C: pass\nC.p = property(lambda self: 1)\ndef op(x): return C().p\n", "self: 1", "self: 2")
swap("namedtuple instance", "R", "from collections import namedtuple\nP = namedtuple('P', 'a')\np = P(1)\ndef op(x): return p.a\n", "P(1)", "P(2)")
swap("frozen dataclass instance", "R", "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n    a: int\nc = C(1)\ndef op(x): return c.a\n", "C(1)", "C(2)")
swap("subclass of int", "R", "class I(int):\n    def f(self): return self + 1\nk = I(1)\ndef op(x): return k.f()\n", "I(1)", "I(2)")
swap("subclass of str, its method", "R", "class S(str):\n    def f(self): return 1\nk = S('a')\ndef op(x): return k.f()\n", "return 1", "return 2")
swap("list subclass in a global", "R", "class L(list): pass\nk = L([1])\ndef op(x): return k[0]\n", "[1]", "[2]")
swap("functions reordered", "H", "def a(): return 1\ndef b(): return 2\ndef op(x): return a() + b()\n", "def a(): return 1\ndef b(): return 2\n", "def b(): return 2\ndef a(): return 1\n")
swap("imports reordered", "H", "import os\nimport json\ndef op(x): return json.dumps(os.sep)\n", "import os\nimport json\n", "import json\nimport os\n")
swap("unused class in the same file", "H", "class U:\n    def f(self): return 1\ndef op(x): return x\n", "return 1", "return 2")
swap("another op in the same file", "H", "import aq\n@aq.op\ndef other(x): return 1\n@aq.op\ndef op(x): return x\n", "return 1", "return 2")
swap("a function that only the flow calls", "H", "import aq\ndef wire(): return 1\n@aq.op\ndef op(x): return x\n", "return 1", "return 2")
case("a new module that nothing imports", "H", {"main.py": "def op(x): return x\n"}, {"new.py": "def h(): return 1\n"})
case("comment in another module", "H", {"main.py": "import lib\ndef op(x): return lib.h(x)\n", "lib.py": "def h(x): return x + 1\n"}, {"lib.py": "# c\ndef h(x):\n    '''d'''\n    return x + 1\n"})
case("same names in two modules", "R", {"main.py": "import a, b\ndef op(x): return a.h(x), b.h(x)\n", "a.py": "def h(x): return x + 1\n", "b.py": "def h(x): return x + 1\n"}, {"b.py": "def h(x): return x + 2\n"})
case("same names in two modules, swapped", "R", {"main.py": "import a, b\ndef op(x): return a.h(x) - b.h(x)\n", "a.py": "def h(x): return x + 1\n", "b.py": "def h(x): return x + 2\n"}, {"a.py": "def h(x): return x + 2\n", "b.py": "def h(x): return x + 1\n"})
case("constant that another module computes", "R", {"main.py": "from a import K\ndef op(x): return K\n", "a.py": "from b import make\nK = make()\n", "b.py": "from c import PART\ndef make(): return PART + 1\n", "c.py": "PART = 1\n"}, {"c.py": "PART = 2\n"})
case("star import through a package", "R", {"main.py": "from pkg import *\ndef op(x): return K\n", "pkg/__init__.py": "from .a import *\n", "pkg/a.py": "K = 1\n"}, {"pkg/a.py": "K = 2\n"})
case("lazy submodule by __getattr__", "R", {"main.py": "import pkg\ndef op(x): return pkg.sub.f()\n", "pkg/__init__.py": "import importlib\ndef __getattr__(name): return importlib.import_module('.' + name, __name__)\n", "pkg/sub.py": "def f(): return 1\n"}, {"pkg/sub.py": "def f(): return 2\n"})
case("circular imports", "R", {"main.py": "import a\ndef op(x): return a.f(x)\n", "a.py": "import b\ndef f(x): return b.g(x)\nK = 1\n", "b.py": "import a\ndef g(x): return a.K + x\n"}, {"a.py": "import b\ndef f(x): return b.g(x)\nK = 2\n"})
case("effect of a package around", "R", {"main.py": "import pkg.sub\nimport numpy as np\ndef op(x): return np.geterr()['over']\n", "pkg/__init__.py": "import numpy as np\nnp.seterr(over='ignore')\n", "pkg/sub.py": ""}, {"pkg/__init__.py": "import numpy as np\nnp.seterr(over='warn')\n"})
case("effect of an import inside", "R", {"main.py": "import numpy as np\ndef op(x):\n    import setup_numpy\n    return np.geterr()['over']\n", "setup_numpy.py": "import numpy as np\nnp.seterr(over='ignore')\n"}, {"setup_numpy.py": "import numpy as np\nnp.seterr(over='warn')\n"})
case("registry filled in another module", "R", {"main.py": "import plugins\nfrom registry import R\ndef op(x): return R['h'](x)\n", "registry.py": "R = {}\ndef reg(f):\n    R[f.__name__] = f\n    return f\n", "plugins.py": "from registry import reg\n@reg\ndef h(x): return x + 1\n"}, {"plugins.py": "from registry import reg\n@reg\ndef h(x): return x + 2\n"})
case("decorator with a dotted name", "R", {"main.py": "import lib\n@lib.d\ndef op(x): return x\n", "lib.py": _WRAPS}, {"lib.py": _WRAPS.replace("+ 1", "+ 2")})
case("module that hides the script's own", "R", {"flows/main.py": "import near\ndef op(x): return near.K\n", "near.py": "K = 1\n"}, {"flows/near.py": "K = 2\n"}, file="flows/main.py")
case("environment variable", "R", "import os\ndef op(x): return os.environ['HOME_OF_OP']\n", "import os\ndef op(x): return os.getenv('HOME_OF_OP')\n", seen=True)
