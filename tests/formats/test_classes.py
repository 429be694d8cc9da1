"""Classes by their names, of which some have none."""

from __future__ import annotations

import numpy as np
from aq.formats.classes import library_of, module_of

from tests.formats.test_pickles import back


class Compiled:
    """As the functions of Cython 3.1 are: what the class says of its module is a descriptor."""

    __module__ = property(lambda self: __name__)  # type: ignore[assignment]

    def __reduce__(self) -> str:
        return "COMPILED"


COMPILED = Compiled()


def test_the_first_part_of_the_module_is_the_library() -> None:
    assert (module_of(np.random.Generator), library_of(np.random.Generator)) == (
        "numpy.random._generator",
        "numpy",
    )


def test_a_class_whose_module_is_no_text_is_of_none() -> None:
    """Of such a kind is what makes the generators of numpy 2.2: models that hold one could not be stored."""
    assert not isinstance(Compiled.__module__, str)
    assert module_of(Compiled) == ""
    assert back([COMPILED, COMPILED])[1] is COMPILED
