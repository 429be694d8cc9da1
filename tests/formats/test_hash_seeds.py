"""Equal values and equally fitted models have equal ids in other processes and under other hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEEDS = ("0", "1", "2", "3", "4")
VALUES = """
import json, pickle, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd
from aq.formats.python.canonical import fingerprint, show
from aq.formats.objects import MemoryObjects
from aq.formats.artifacts.values import decode, encode

names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", None, 1.5, ("eta",)]
values = {
    "set": set(names), "frozenset": frozenset(names), "aliased": [set(names)] * 2,
    "inside": {1: {(name, frozenset(names)) for name in names}}, "dict": {name: {name} for name in names},
    "sets": {frozenset({a, b}) for a in names for b in names}, "series": [pd.Series([1]), set(names)],
}
ids, prints, again = {}, {}, []
for name, value in values.items():
    ids[name] = str(encode(value, MemoryObjects()).id)
    prints[name] = fingerprint(value), show(value)
"""
MODELS = """
from sklearn import ensemble, linear_model as linear, neighbors, neural_network, pipeline
from sklearn import preprocessing, svm, tree
from sklearn import cluster, compose, decomposition, feature_extraction, impute, naive_bayes, base
random = np.random.default_rng(0)
X = random.normal(size=(300, 5))
y = (X @ [1, -2, 0.5, 0, 3] + random.normal(size=300) > 0).astype(int)
frame = pd.DataFrame(X, columns=list("abcde"))
frame = frame.assign(kind=np.where(y, "up", "down"), text="flight to " + pd.Series(y.astype(str)))
columns = compose.ColumnTransformer([
    ("number", pipeline.make_pipeline(impute.SimpleImputer()), list("abc")),
    ("kind", preprocessing.OneHotEncoder(), ["kind"]),
    ("text", feature_extraction.text.TfidfVectorizer(), "text"),
])
models = {
    "linear": (linear.LinearRegression(), X), "logistic": (linear.LogisticRegression(), X),
    "boosting": (ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0), X),
    "forest": (ensemble.RandomForestClassifier(10, random_state=0), X), "svm": (svm.SVC(random_state=0), X),
    "gradient": (ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0), X),
    "tree": (tree.DecisionTreeClassifier(random_state=0), X),
    "neighbours": (neighbors.KNeighborsClassifier(), X),
    "network": (neural_network.MLPClassifier((8,), max_iter=5, random_state=0), X),
    "bayes": (naive_bayes.GaussianNB(), X), "clusters": (cluster.KMeans(2, n_init=1, random_state=0), X),
    "votes": (ensemble.VotingClassifier([("one", linear.LogisticRegression())]), X),
    "balls": (neighbors.KNeighborsClassifier(algorithm="ball_tree"), X),
    "components": (decomposition.PCA(2, random_state=0), X),
    "pipeline": (pipeline.make_pipeline(columns, linear.LogisticRegression()), frame),
}
for name, (model, data) in models.items():
    objects = MemoryObjects()
    stored = encode(model.fit(data, y), objects)
    assert stored.artifact.kind == "model" and stored.summary["class"].startswith("sklearn."), name
    ids[name] = str(stored.id)
    loaded = decode(stored.artifact, objects)
    same = lambda other: str(encode(other, MemoryObjects()).id) == ids[name]
    found = [name, same(loaded), same(base.clone(model).fit(data, y)), same(model)]
    if hasattr(model, "predict"):
        found.append(bool((model.predict(data) == loaded.predict(data)).all()))
        found.append(same(model))
    found.append(same(pickle.loads(pickle.dumps(model))))
    again.append(found)
"""
SAY = "print(json.dumps([ids, prints, again]))"


def run(script: str, folder: Path) -> list[Any]:
    """What each process says, two at a time."""
    found: list[str] = []
    for batch in (SEEDS[:2], SEEDS[2:4], SEEDS[4:]) if MODELS not in script else (SEEDS[:2],):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", script + SAY],
                env={**os.environ, "PYTHONHASHSEED": seed},
                cwd=folder,
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in batch
        ]
        found += [process.communicate()[0] for process in running]
    return [json.loads(text) for text in found]


def test_values_do_not_depend_on_the_process(tmp_path: Path) -> None:
    first, *others = run(VALUES, tmp_path)
    assert len(first[0]) == len(first[1]) == 7
    assert others == [first] * 4


def test_models_do_not_depend_on_the_process_and_come_back_as_they_were(tmp_path: Path) -> None:
    """`again`: the loaded model's, a clone's fitted anew, once more, predictions, id after them, pickled."""
    pytest.importorskip("sklearn")
    first, second = run(VALUES + MODELS, tmp_path)
    assert first == second
    assert len(first[2]) == 15
    for name, *same in first[2]:
        assert all(same), (name, same)
