"""The fraud model of the synthetic payments."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import joblib
import pandas as pd
from flytekit import current_context, task
from flytekit.types.file import FlyteFile
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from flytekitplugins.wbmon import SLO, batch_scoring
from workflows.payments import FEATURES


class Trained(NamedTuple):
    """A fitted pipeline, and its training rows with scores made out of fold."""

    model: FlyteFile
    scored: pd.DataFrame


@task(cache=True, cache_version="1")
def train_payments(nights: pd.DataFrame) -> Trained:
    """Gradient boosting on the reference nights; each night's scores come from the others."""
    features, fraud = nights[list(FEATURES)], nights["fraud"]
    scores = cross_val_predict(_pipeline(), features, fraud, cv=KFold(4), method="predict_proba")
    path = Path(current_context().working_directory) / "payments.joblib"
    joblib.dump(_pipeline().fit(features, fraud), path)
    return Trained(model=FlyteFile(str(path)), scored=nights.assign(p_fraud=scores[:, 1]))


@batch_scoring(
    batch_rows=2_000,
    load={"model": joblib.load},
    slos=[SLO(name="batch_p99", metric="latency_ms", percentile=99, value=1_000)],
)
def score_payments(batch: pd.DataFrame, model: Pipeline) -> pd.DataFrame:
    """The probability of fraud of each payment."""
    return pd.DataFrame({"p_fraud": model.predict_proba(batch[list(FEATURES)])[:, 1]})


def _pipeline() -> Pipeline:
    encode = make_column_transformer(
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            ["merchant", "channel"],
        ),
        remainder="passthrough",
    )
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=80, random_state=0))
