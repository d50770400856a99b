"""Handwritten digits in file order, from scikit-learn: real data with a known history.

The file holds the writers one after another, so later rows are written by other hands.
"""

from __future__ import annotations

import functools
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from flytekit import current_context, task
from flytekit.types.file import FlyteFile
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

N_TRAIN = 900
N_WINDOWS = 6
CLASSES = tuple(str(digit) for digit in range(10))


def digit_rows(start: int, stop: int) -> pd.DataFrame:
    """Rows `start` to `stop` of the file: 64 pixels of 0 to 16 ink, and the digit as `label`."""
    digits = load_digits()
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    frame = pd.DataFrame(digits.data[start:stop].astype("int64"), columns=names)
    return frame.assign(label=digits.target[start:stop].astype(str))


@task
def digits_window(window: int) -> pd.DataFrame:
    """The rows of one window after the training rows, 0 the earliest, 5 the latest."""
    if not 0 <= window < N_WINDOWS:
        raise ValueError(f"window must be 0 to {N_WINDOWS - 1}, got {window}")
    edges = np.linspace(N_TRAIN, 1797, N_WINDOWS + 1).astype(int)
    return digit_rows(edges[window], edges[window + 1])


@task(cache=True, cache_version="1")
def train_digits() -> FlyteFile:
    """A logistic regression on the first 900 rows."""
    train = digit_rows(0, N_TRAIN)
    model = _pipeline().fit(train.drop(columns="label"), train["label"])
    path = Path(current_context().working_directory) / "digits.joblib"
    joblib.dump(model, path)
    return FlyteFile(str(path))


@task(cache=True, cache_version="1")
def digits_reference_window() -> pd.DataFrame:
    """The training rows, each predicted by a model that saw none of its neighbours.

    Folds are runs of consecutive rows, so a writer is never on both sides.
    """
    train = digit_rows(0, N_TRAIN)
    pixels, label = train.drop(columns="label"), train["label"]
    scores = cross_val_predict(_pipeline(), pixels, label, cv=KFold(10), method="predict_proba")
    return pd.concat([train, _predictions(scores)], axis=1)


@functools.lru_cache(maxsize=1)
def load_model(path: str) -> Pipeline:
    """The fitted pipeline of a file that `train_digits` wrote."""
    return joblib.load(path)


def predict_digits(batch: pd.DataFrame, model: Pipeline) -> pd.DataFrame:
    """The digit, its probability, and the probability of each digit."""
    return _predictions(model.predict_proba(batch[list(model.feature_names_in_)]))


def _pipeline() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def _predictions(scores: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(scores, columns=[f"score_{name}" for name in CLASSES])
    best = np.array(CLASSES)[scores.argmax(axis=1)]
    return frame.assign(prediction=best, confidence=scores.max(axis=1))
