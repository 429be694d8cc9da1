"""Objects in C that pickle cannot take apart: what they hold, seen as the garbage collector sees it.

Invariant: only types are listed of which that is everything that a call of theirs depends on, beside
the numbers named here. For any other object the answer is that it is not known.
"""

from __future__ import annotations

import gc
import io
import sys
from typing import Any, Final

_TYPES: Final = {
    "numpy.ufunc": ("__name__", "nin", "nout", "identity"),
    "functools.KeyWrapper": (),
    "_struct.Struct": ("format",),
    "msgspec.Meta": ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz"),
}
"""What `numpy.frompyfunc`, `cmp_to_key`, `struct` and msgspec make; with the attributes that count."""


def parts(value: object) -> list[object] | None:
    """The attributes and the objects inside; None where they are not all that there is."""
    kind = type(value)
    if isinstance(value, io.IOBase) and value.closed:  # as `with open(…) as file` in a class leaves it
        return []
    names = _TYPES.get(f"{kind.__module__}.{kind.__qualname__}")
    if names is None:
        return None
    return [
        *(getattr(value, name) for name in names),
        *(one for one in gc.get_referents(value) if one is not kind),
    ]


def is_global(value: object, name: str) -> bool:
    """Whether a module has this very object under the name that it gives to pickle.

    Taken for granted of a type variable, which is nothing but its name.
    """
    if type(value).__module__ == "typing":
        return True
    own = sys.modules.get(str(getattr(value, "__module__", None)))
    return _at(own, name) is value or any(_at(one, name) is value for one in list(sys.modules.values()))


def _at(found: Any, name: str) -> Any:
    for part in name.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found
