"""Which flights out of New York will land more than half an hour late, once they have left the gate?"""

import aq
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

WEATHER = ["wind_speed", "precip", "visib"]
INPUTS = ["dep_delay", "distance", "hour", "weekday", "origin", "carrier", *WEATHER]


@aq.op(name="flights")
def load(feed: pd.DataFrame) -> pd.DataFrame:
    """The flights that landed, whether late, and a tenth of them held out: no model is trained on it."""
    flights = feed.dropna(subset=["arr_delay"]).reset_index(drop=True)
    flights["late"] = flights["arr_delay"] > 30
    lot = pd.util.hash_pandas_object(flights[["time_hour", "carrier", "flight"]], index=False)
    flights["held_out"] = lot % 10 == 0
    return flights


@aq.op(name="weather")
def observe(stations: pd.DataFrame) -> pd.DataFrame:
    return stations[["origin", "time_hour", *WEATHER]].drop_duplicates(["origin", "time_hour"])


@aq.op
def features(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    table = flights.merge(weather, on=["origin", "time_hour"], how="left")
    table["weekday"] = table["time_hour"].dt.day_of_week
    for name in ("origin", "carrier"):
        table[name] = table[name].factorize(sort=True)[0]
    return table[["month", "day", "late", "held_out", *INPUTS]]


@aq.op(name="model")
def train(features: pd.DataFrame, window: int) -> HistGradientBoostingClassifier:
    """Learn from the last months, except for the flights that are held out."""
    recent = features[(features["month"] > features["month"].max() - window) & ~features["held_out"]]
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    with threadpool_limits(1):  # for so small a model, threads would mostly wait for each other
        return model.fit(recent[INPUTS], recent["late"])


@aq.op
def newest(features: pd.DataFrame) -> pd.DataFrame:
    return features[features["month"] == features["month"].max()]


@aq.op
def exam(features: pd.DataFrame) -> pd.DataFrame:
    """The same questions every month: the flights held out from January to August."""
    return features[features["held_out"] & (features["month"] <= 8)]


@aq.op(name="predictions", rowwise=True)
def predict(model: HistGradientBoostingClassifier, flights: pd.DataFrame) -> pd.DataFrame:
    risk = model.predict_proba(flights[INPUTS])[:, 1]
    return flights[["month", "day", "late", "held_out"]].assign(risk=risk)


@aq.metric(better="higher")
def auc(predictions: pd.DataFrame) -> float:
    unseen = predictions[predictions["held_out"]]
    return float(roc_auc_score(unseen["late"], unseen["risk"]))


@aq.check(severity="error")
def auc_holds(auc: float) -> bool:
    return auc > 0.9


@aq.flow
def delays(window: int = 3) -> None:
    flights, weather = load(aq.read("data/flights.parquet")), observe(aq.read("data/weather.parquet"))
    table = features(flights, weather)
    model = train(table, window=window)
    auc_holds(auc(predict(model, newest(table))))
    auc.named("clean_auc")(predict.named("answers")(model, exam(table)))
