"""Tensors of torch as bytes and plain data, and back (docs/format.md, section 9).

Invariant: tensors of equal dtype, shape and elements have equal bytes, on whatever device and in whatever
memory order they lie; tensors that share memory share it again. torch is never imported to store
what is none of its. `rebuild`, `view`, `storage`, `set_attributes` stand in pickles: they never change.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from aq.formats.classes import module_of
from aq.formats.errors import Unstorable
from aq.formats.identity import Buffer
from aq.formats.models.dtypes import name_of, text_of
from aq.formats.python.reducing import Typed

if TYPE_CHECKING:
    import torch

_EXACT: Final = frozenset({("torch", "Tensor"), ("torch.nn.parameter", "Parameter")})
_STORAGES: Final = frozenset({"TypedStorage", "UntypedStorage"})


def rebuild(
    kind: Any,
    data: Buffer,
    dtype: str,
    shape: Any,
    requires_grad: bool,  # noqa: FBT001
) -> torch.Tensor:
    """A tensor, or a parameter, over `data`: the very memory where it is writable. Raises ValueError."""
    import torch

    memory = bytearray(data) if isinstance(data, bytes) else data
    known = getattr(torch, name_of(dtype) or "", None)
    if known is None:
        raise ValueError(f"this torch has no dtype {dtype}")
    plain = (
        torch.frombuffer(memory, dtype=torch.uint8).view(known)
        if len(memory)
        else torch.empty(0, dtype=known)
    )
    return _as(kind, plain.reshape(tuple(shape)), requires_grad=requires_grad)


def view(
    kind: Any,
    base: Any,
    shape: Any,
    strides: Any,
    offset: int,
    requires_grad: bool,  # noqa: FBT001
) -> torch.Tensor:
    """A tensor in the memory of another one; `strides` and `offset` count elements."""
    shared = base.detach().as_strided(tuple(shape), tuple(strides), offset)
    return _as(kind, shared, requires_grad=requires_grad)


def _as(kind: Any, plain: torch.Tensor, *, requires_grad: bool) -> torch.Tensor:
    import torch

    if kind is torch.nn.Parameter:
        return torch.nn.Parameter(plain, requires_grad)
    return plain.requires_grad_(requires_grad)


def storage(dtype: str, data: Buffer) -> Any:
    """Memory that other libraries' tensors are made of; without a dtype where that is empty."""
    import torch

    memory = bytearray(data) if isinstance(data, bytes) else data
    size = len(memory)
    plain = (torch.frombuffer(memory, dtype=torch.uint8) if size else torch.empty(0)).untyped_storage()
    if not dtype:
        return plain
    return torch.storage.TypedStorage(wrap_storage=plain, dtype=getattr(torch, dtype), _internal=True)


def set_attributes(tensor: Any, attributes: dict[str, Any]) -> None:
    """Give a tensor what was set on it beside its elements."""
    tensor.__dict__.update(attributes)


class Tensors:
    """The tensors of one value: how to write each, given those before it."""

    def __init__(self) -> None:
        self._torch: Any = sys.modules.get("torch")
        self._known: dict[int, list[Any]] = {}

    def recipe(self, value: Any) -> tuple[Any, ...] | None:
        """The call that rebuilds a tensor or a storage; None for what torch is to reduce."""
        module = module_of(type(value))
        if self._torch is None or not module.startswith("torch"):
            return None
        if module == "torch.storage" and type(value).__name__ in _STORAGES:
            return _storage_recipe(value)
        if (module, type(value).__name__) not in _EXACT:
            return None
        return self._tensor_recipe(value)

    def _tensor_recipe(self, value: Any) -> tuple[Any, ...] | None:
        torch = self._torch
        dtype = text_of(str(value.dtype).removeprefix("torch."))
        strided = value.layout is torch.strided and not value.is_nested
        if dtype is None and str(value.dtype).startswith("torch.bits"):
            raise Unstorable(f"a tensor of {value.dtype} cannot be stored", hint="tensor.view(torch.uint8)")
        if dtype is None or not strided or value.is_quantized or value.device.type == "meta":
            return None
        kind, shape = type(value), tuple(value.shape)
        shared = self._shared(value)
        if shared is None:
            call: Any = rebuild, (kind, Typed(_bytes(torch, value), dtype), dtype, shape, value.requires_grad)
        else:
            call = view, (kind, *shared, value.requires_grad)
        attributes = dict(value.__dict__)
        return (*call, attributes, None, None, set_attributes) if attributes else call

    def _shared(self, value: Any) -> tuple[Any, ...] | None:
        """(tensor, shape, strides, offset) where this one lies in the memory of one written before.

        Where there is none such, it becomes one itself.
        """
        if not value.numel() or value.is_conj() or value.is_neg():
            return None
        known = self._known.setdefault(value.untyped_storage().data_ptr(), [])
        for base in known:
            if base.dtype != value.dtype:
                continue
            offset = value.storage_offset() - base.storage_offset()
            strides = _strides(value)
            if offset == 0 and base.shape == value.shape and _strides(base) == strides:
                return base, tuple(value.shape), _strides(value.new_empty(value.shape)), 0
            if base.is_contiguous() and offset >= 0 and _last(value) + offset < base.numel():
                return base, tuple(value.shape), strides, offset
        known.append(value)
        return None


def in_full(value: Any) -> tuple[Any, ...] | None:
    """What a tensor or storage is, apart from all others: as `Tensors.recipe`, with its bytes as they are."""
    call = Tensors().recipe(value)
    if call is None:
        return None
    parts = tuple(bytes(part.data) if isinstance(part, Typed) else part for part in call[1])
    return (call[0], parts, *call[2:])


def elements(value: Any) -> Buffer | None:
    """The elements of a tensor in C order, mostly without copying them; None where torch has to reduce it."""
    call = Tensors().recipe(value)
    data: Buffer | None = call[1][1].data if call is not None and call[0] is rebuild else None
    return data


def _strides(value: Any) -> tuple[int, ...]:
    """Elements from one to the next in each dimension, 1 where there is but one."""
    return tuple(1 if size == 1 else stride for size, stride in zip(value.shape, value.stride(), strict=True))


def _last(value: Any) -> int:
    """Elements from the first to the last one in memory."""
    return sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))


def _bytes(torch: Any, value: Any) -> Buffer:
    """The elements in C order; a view of the tensor's own memory where that is possible."""
    packed = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    plain = packed.as_strided((packed.numel(),), (1,))  # of one element, a stride may still be anything
    found: Buffer = plain.view(torch.uint8).numpy().data if plain.numel() else b""
    return found


def _storage_recipe(value: Any) -> tuple[Any, ...]:
    import torch

    typed = type(value).__name__ == "TypedStorage"
    plain = (value._untyped_storage if typed else value).cpu()
    flat = torch.empty(0, dtype=torch.uint8).set_(plain)
    data: Buffer = flat.numpy().data if flat.numel() else b""
    return storage, (str(value.dtype).removeprefix("torch.") if typed else "", Typed(data, None))
