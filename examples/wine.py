"""Which of three cultivars a wine is, by 13 measurements (178 wines of scikit-learn). `aq run wine.py`"""

from pathlib import Path

import aq
import pandas as pd
import sklearn.datasets
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA = Path(sklearn.datasets.__file__).parent / "data" / "wine_data.csv"
NAMES = "alcohol acid ash alkalinity magnesium phenols flavanoids others proanthocyanins color hue od proline"


@aq.op
def wines(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis([*NAMES.split(), "cultivar"], axis=1).assign(bottle=range(len(table)))


@aq.op
def model(table: pd.DataFrame, neighbors: int):
    train = table[table["bottle"] % 4 > 0]
    return make_pipeline(StandardScaler(), KNeighborsClassifier(neighbors)).fit(
        train[NAMES.split()], train["cultivar"]
    )


@aq.op(key="bottle")
def predictions(model, table: pd.DataFrame) -> pd.DataFrame:
    test = table[table["bottle"] % 4 == 0]
    return test[["bottle", "cultivar"]].assign(predicted=model.predict(test[NAMES.split()]))


@aq.metric(better="higher")
def accuracy(predictions: pd.DataFrame) -> float:
    return (predictions["predicted"] == predictions["cultivar"]).mean()


@aq.flow
def wine(neighbors: int = 5):
    table = wines(aq.read(DATA, name="data/wine.csv", skiprows=1, header=None))
    aq.checks.nulls()(table)
    aq.checks.between("alcohol", 8, 20)(table)
    aq.checks.isin("cultivar", [0, 1, 2])(table)
    accuracy.bound(below=0.9)(accuracy(predictions(model(table, neighbors), table)))
