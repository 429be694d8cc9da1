"""Where a class comes from, by its name: what a library is known by is never imported for that.

Invariant: any class has an answer: of one that C code made, `__module__` may be no text at all (functions of
Cython 3.1 have a class of such a kind, and a generator of numpy 2.2 is made by one).
"""

from __future__ import annotations


def module_of(kind: type) -> str:
    """The module that a class says it is of; empty where it says nothing."""
    found: object = kind.__module__
    return found if isinstance(found, str) else ""


def library_of(kind: type) -> str:
    """The first part of that: `numpy`, `sklearn`."""
    return module_of(kind).partition(".")[0]
