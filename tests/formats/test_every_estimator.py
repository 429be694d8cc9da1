"""Every estimator of scikit-learn that fits a small set: one id, whoever fitted, loaded or used it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import copy, inspect, json, pickle, warnings
warnings.simplefilter("ignore")
import numpy as np
from aq.formats.artifacts.values import decode, encode
from aq.formats.objects import MemoryObjects
from sklearn import base, linear_model, tree
from sklearn.utils import all_estimators

random = np.random.default_rng(0)
rows = np.abs(random.normal(size=(80, 4)))
classes = (rows @ [1, -2, 0.5, 3] > 2).astype(int)
numbers = np.abs(rows @ [1, -2, 0.5, 3]) + 0.1
texts = ["the quick brown fox", "jumps over", "a lazy dog"] * 20
regressors = [("one", linear_model.Ridge())]
both = [("one", tree.DecisionTreeClassifier(random_state=0)), ("two", linear_model.LogisticRegression())]
needed = {
    "estimator": linear_model.LogisticRegression(), "base_estimator": linear_model.LogisticRegression(),
    "estimators": both, "steps": both[1:], "transformers": [("same", "passthrough", [0, 1])],
    "transformer_list": [("same", "passthrough")], "dictionary": np.eye(4), "param_grid": {"C": [1, 2]},
    "param_distributions": {"C": [1, 2]},
}
inputs = {
    "CountVectorizer": texts, "TfidfVectorizer": texts, "HashingVectorizer": texts,
    "DictVectorizer": [{"a": 1, "b": "x"}] * 9, "FeatureHasher": [{"a": 1}] * 9,
    "MultiLabelBinarizer": [("a", "b"), ("c",)] * 9, "LabelEncoder": classes, "LabelBinarizer": classes,
    "IsotonicRegression": rows[:, 0], "PatchExtractor": random.normal(size=(3, 8, 8)),
}


def identity(value):
    return str(encode(value, MemoryObjects()).id)


def made(kind):
    parameters = inspect.signature(kind).parameters.values()
    given = {
        one.name: copy.deepcopy(needed[one.name])
        for one in parameters
        if one.name in needed and one.default is one.empty
    }
    if "estimators" in given and issubclass(kind, base.RegressorMixin):
        given["estimators"] = copy.deepcopy(regressors)
    model = kind(**given)
    return model.set_params(random_state=0) if "random_state" in model.get_params() else model


def fitted(model, data, target):
    return model.fit(data) if target is None else model.fit(data, target)


def used(model, data):
    for name in ("predict", "transform", "predict_proba", "decision_function", "score_samples", "kneighbors"):
        try:
            getattr(model, name)(data)
        except Exception:
            pass


ids, wrong = {}, []
for name, kind in all_estimators():
    data, target = inputs.get(name, rows), numbers if issubclass(kind, base.RegressorMixin) else classes
    if name.startswith("MultiTask"):
        target = np.stack([numbers, -numbers], 1)
    if name in ("MultiOutputClassifier", "ClassifierChain"):
        target = np.stack([classes, 1 - classes], 1)
    if name in inputs and name != "IsotonicRegression":
        target = None
    try:
        model = fitted(made(kind), data, target)
    except Exception:
        continue
    objects = MemoryObjects()
    stored = encode(model, objects)
    ids[name] = str(stored.id)
    loaded = decode(stored.artifact, objects)
    again = fitted(base.clone(model), data, target)
    checks = {"loaded": loaded, "pickled": pickle.loads(pickle.dumps(model)), "fitted again": again}
    for one in (model, loaded):
        used(one, data)
    checks |= {"used": model, "loaded and used": loaded}
    wrong += [f"{name} {how}" for how, other in checks.items() if identity(other) != ids[name]]
    if stored.artifact.kind != "model" or not stored.summary["class"].endswith(f".{name}"):
        wrong.append(f"{name} summary")
    missing = model.get_params(deep=False).keys() - stored.summary["hyperparameters"].keys()
    arrays = {tensor["name"] for tensor in stored.summary["tensors"]}
    if missing - arrays:
        wrong.append(f"{name} lacks {sorted(missing - arrays)}")
print(json.dumps([ids, wrong]))
"""
TIMED = {"GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"}
"""They keep how long each fit took."""


@pytest.mark.slow
def test_an_estimator_has_one_id(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    found = []
    for seed in ("1", "7"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        ids, wrong = json.loads(done.stdout)
        assert [one for one in wrong if one.split()[0] not in TIMED] == []
        found.append({name: id for name, id in ids.items() if name not in TIMED})
    assert len(found[0]) > 180
    assert found[0] == found[1]
