"""A library that aq knows nothing about: its models are equal where it is deterministic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aq.formats.artifacts.values import decode, encode, summarise
from aq.formats.objects import MemoryObjects

lightgbm: Any = pytest.importorskip("lightgbm", exc_type=(ImportError, OSError))  # it may lack libgomp


def test_a_booster_is_the_same_when_it_is_fitted_again() -> None:
    rows = np.random.default_rng(0).random((300, 4))
    target = (rows[:, 0] > 0.5).astype(int)

    def fitted(rounds: int) -> Any:
        model = lightgbm.LGBMClassifier(n_estimators=rounds, random_state=0, verbose=-1, n_jobs=1)
        return model.fit(rows, target)

    objects, model = MemoryObjects(), fitted(5)
    encoded = encode(model, objects)
    again = decode(encoded.artifact, objects)
    assert encode(fitted(5), objects).id == encode(again, objects).id == encoded.id
    assert encode(fitted(6), objects).id != encoded.id
    assert (again.predict(rows) == model.predict(rows)).all()
    assert encoded.artifact.kind == "model"
    assert encoded.summary["hyperparameters"]["n_estimators"] == 5
    assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)
