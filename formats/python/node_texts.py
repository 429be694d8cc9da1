"""Nodes of a pickle in words: the name of a class, a value as Python would write it, in short.

Invariant: texts are bounded, however much a node holds and however often it holds itself.
"""

from __future__ import annotations

from typing import Any, Final

from aq.formats import arrays
from aq.formats.python.pickle_reading import Global, Group, Made, Outside, Pairs

REBUILD: Final = "aq.formats.arrays.rebuild"
EXTENDED: Final = "aq.formats.models.numpy_values.rebuild"
TORCH: Final = "aq.formats.models.torch_values.rebuild"
_SCALAR: Final = "aq.formats.arrays.rebuild_scalar"
ONNX: Final = "aq.formats.models.onnx_values.rebuild"
_VIEW: Final = "aq.formats.models.torch_values.view"
_MADE_AS: Final = (TORCH, ONNX, _VIEW)
"""Calls whose first argument is the class of what they make; so it is where a function `_…` is given one."""
_TENSORS: Final = ("numpy.ndarray", "torch.Tensor", "torch.nn.parameter.Parameter")
_OWN: Final = {
    REBUILD: "numpy.ndarray",
    EXTENDED: "numpy.ndarray",
    "numpy.asfortranarray": "numpy.ndarray",
    "numpy.random._pickle.__bit_generator_ctor": "numpy.random.BitGenerator",
    "numpy.random._pickle.__generator_ctor": "numpy.random.Generator",
    "numpy.random._pickle.__randomstate_ctor": "numpy.random.RandomState",
    _SCALAR: "numpy.generic",
    "aq.formats.arrays.empty_objects": "numpy.ndarray",
    "aq.formats.arrays.dtype_of": "numpy.dtype",
    "aq.formats.models.torch_values.storage": "torch.Storage",
    "re._compile": "re.Pattern",
}
_TEXT_MOST: Final = 200
_SHOWN_DEPTH: Final = 3
_SHOWN_ITEMS: Final = 8


def class_of(node: Any) -> str:
    """The name of a node's class."""
    match node:
        case Made(function=Global() as function, arguments=tuple() as arguments) if str(function) in _MADE_AS:
            return class_of(Made(arguments[0], ())) if arguments else "object"
        case Made(function=Global() as function):
            return _OWN.get(str(function)) or _class_made(function, node.arguments)
        case Pairs():
            return "dict"
        case Group():
            return "frozenset" if node.frozen else "set"
        case Outside(name=("storage", *_)):
            return "torch.Storage"
        case Outside():
            return "table"
        case Global():
            return "global"
        case _:
            return type(node).__name__


def _class_made(function: Global, arguments: Any) -> str:
    """The class of what a library's function makes, as far as that can be told from its name."""
    match arguments:
        case (_, Global() as kind, *_) if function.name == "_rebuild_from_type_v2":
            return str(kind)
        case _ if function.module == "torch._utils" and "tensor" in function.name:
            return "torch.Tensor"
        case _ if function.module == "torch._utils" and "parameter" in function.name:
            return "torch.nn.parameter.Parameter"
        case (Global() as kind, *_) if function.name.startswith("_"):
            return str(kind)
        case _:
            return str(function)


def in_short(value: Any) -> tuple[bool, Any]:
    """(whether it can be said in short, the value for JSON)."""
    match value:
        case int() if value.bit_length() > 63:
            return True, show(value)
        case None | bool() | int() | float():
            return True, value
        case str():
            return True, value if len(value) <= _TEXT_MOST else value[: _TEXT_MOST - 1] + "…"
        case Made(function=Global() as function) if str(function) == _SCALAR:
            return True, _scalar(value)
        case Made() if class_of(value) in _TENSORS:
            return False, None
        case list() | tuple() | Pairs() | Group() | Made() | Global() | bytes():
            return True, show(value)
        case _:
            return False, None


def _scalar(node: Made) -> Any:
    """The number or text that a numpy scalar holds."""
    try:
        value = arrays.rebuild_scalar(*node.arguments).item()
    except (TypeError, ValueError, AttributeError, IndexError):
        return show(node.arguments)
    return value if isinstance(value, (bool, float, str)) or type(value) is int else str(value)


def show(node: Any) -> str:
    """A short text that reads like Python."""
    text = inner_text(node)
    return text if len(text) <= _TEXT_MOST else text[: _TEXT_MOST - 1] + "…"


def inner_text(node: Any, depth: int = _SHOWN_DEPTH) -> str:
    """As `show`, of any length that the depth allows."""
    if depth == 0:
        return "…"

    def inner(items: Any) -> str:
        shown = [inner_text(item, depth - 1) for item in items[:_SHOWN_ITEMS]]
        return ", ".join(shown + ["…"] * (len(items) > _SHOWN_ITEMS))

    match node:
        case str() | bytes():
            return repr(node[:_TEXT_MOST])
        case int() if node.bit_length() > 64:
            return f"int of {node.bit_length()} bits"
        case None | bool() | int() | float():
            return repr(node)
        case list():
            return f"[{inner(node)}]"
        case tuple():
            return f"({inner(node)}{',' * (len(node) == 1)})"
        case Group():
            return f"{{{inner(node.items)}}}"
        case Pairs():
            pairs = [
                f"{inner_text(key, depth - 1)}: {inner_text(held, depth - 1)}"
                for key, held in node.items[:_SHOWN_ITEMS]
            ]
            return "{" + ", ".join(pairs + ["…"] * (len(node.items) > _SHOWN_ITEMS)) + "}"
        case Global():
            return str(node)
        case Made(function=Global() as function) if str(function) == _SCALAR:
            return repr(_scalar(node))
        case Made() if class_of(node) in _TENSORS:
            return _tensor(node)
        case Made():
            return f"{class_of(node).rpartition('.')[2]}({inner(_listed(node.arguments))})"
        case _:
            return "…"


def _tensor(node: Made) -> str:
    """A tensor without its elements: class, dtype and shape."""
    match node.arguments:
        case (_, str() as dtype, tuple() as shape) | (_, _, str() as dtype, tuple() as shape, _):
            said = [dtype[:_TEXT_MOST]]
        case (Outside(), int(), tuple() as shape, *_):  # as torch has it in its files
            said = []
        case _:
            return f"{class_of(node).rpartition('.')[2]}(…)"
    sizes = "×".join(str(size) for size in shape[:_SHOWN_ITEMS] if type(size) is int)
    return f"{class_of(node).rpartition('.')[2]}({', '.join([*said, *([sizes] if sizes else [])])})"


def _listed(arguments: Any) -> Any:
    return arguments if isinstance(arguments, (tuple, list)) else ()
