"""Digests of code objects, for functions whose source cannot be had or cannot be trusted.

Invariant: line numbers, file names and Python's own specialisations do not count. It is a second
best: bytecode differs between minor releases of Python, which the key names anyway.
"""

from __future__ import annotations

from types import CodeType

from aq.pipeline.code.syntax import Source
from blake3 import blake3


def code_digest(code: CodeType) -> str:
    """64 hex digits of what a code object does."""
    hasher = blake3(b"aq bytecode 1")
    for part in _parts(code):
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest()


def _parts(code: CodeType) -> list[bytes]:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    constants = [
        code_digest(one).encode()
        if isinstance(one, CodeType)
        else f"{type(one).__name__} {_text(one)}".encode()
        for one in code.co_consts
    ]
    return [code.co_code, repr(names).encode(), repr(counts).encode(), code.co_exceptiontable, *constants]


def _text(constant: object) -> str:
    if isinstance(constant, frozenset):
        return repr(sorted(map(repr, constant)))
    if isinstance(constant, tuple):
        return repr([f"{type(one).__name__} {_text(one)}" for one in constant])
    return repr(constant)


def same_code(source: Source, code: CodeType) -> bool:
    """Whether a function that something else has loaded is what its file says now."""
    known = source.memo.get("bytecode")
    if not isinstance(known, dict):
        known = source.memo["bytecode"] = _all(source)
    return code_digest(code) in known.get((code.co_qualname, code.co_firstlineno), ())


def _all(source: Source) -> dict[tuple[str, int], set[str]]:
    found: dict[tuple[str, int], set[str]] = {}
    try:
        waiting = [compile(source.data, source.path, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return found
    while waiting:
        code = waiting.pop()
        found.setdefault((code.co_qualname, code.co_firstlineno), set()).add(code_digest(code))
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
    return found
