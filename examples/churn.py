"""Which taxi bookings will be cancelled (10,000 of 2013, from the package dmba). `aq run churn.py`"""

from importlib.util import find_spec
from pathlib import Path

import aq
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA = Path(find_spec("dmba").origin).parent / "csvFiles" / "Taxi-cancellation-case.csv.gz"
KNOWN = ["online_booking", "mobile_site_booking", "travel_type_id", "from_lat", "hour", "ahead", "day"]


@aq.op(key="row#")
def features(bookings: pd.DataFrame) -> pd.DataFrame:
    pick_up = pd.to_datetime(bookings["from_date"], format="%m/%d/%y %H:%M")
    booked = pd.to_datetime(bookings["booking_created"], format="%m/%d/%y %H:%M")
    day, ahead = (booked - booked.min()).dt.days, (pick_up - booked).dt.total_seconds() / 3600
    table = bookings.rename(columns={"Car_Cancellation": "cancelled"}).fillna({"from_lat": 0})
    return table.assign(hour=pick_up.dt.hour, day=day, ahead=ahead)[["row#", *KNOWN, "cancelled"]]


@aq.op(outputs=("train", "test"))
def split(table: pd.DataFrame, share: float):
    test = table["row#"] % 100 < 100 * share
    return table[~test], table[test]


@aq.op
def linear(train: pd.DataFrame):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(train[KNOWN], train["cancelled"])


@aq.op
def boosted(train: pd.DataFrame, depth: int):
    model = HistGradientBoostingClassifier(max_depth=depth, max_iter=60, random_state=0)
    return model.fit(train[KNOWN], train["cancelled"])


@aq.op(key="row#")
def ensemble(first, second, test: pd.DataFrame) -> pd.DataFrame:
    chances = [model.predict_proba(test[KNOWN])[:, 1] for model in (first, second)]
    return test[["row#", "cancelled"]].assign(chance=sum(chances) / 2)


@aq.metric(better="higher")
def auc(predictions: pd.DataFrame) -> float:
    return roc_auc_score(predictions["cancelled"], predictions["chance"])


@aq.flow
def churn(depth: int = 3, share: float = 0.25):
    train, test = split(features(aq.read(DATA, name="data/bookings.csv.gz")), share)
    auc.bound(below=0.75)(auc(ensemble(linear(train), boosted(train, depth), test)))
