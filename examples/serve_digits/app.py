"""The model server.

SERVING_DIR=out/serving .venv/bin/uvicorn examples.serve_digits.app:app
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import joblib
import pandas as pd
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.serving import (
    PredictionLogger,
    PredictionLoggingMiddleware,
    SamplingPolicy,
)

HOME = Path(os.environ.get("SERVING_DIR", "out/serving"))
NAMES = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]

model = joblib.load(HOME / "model.joblib")
log = PredictionLogger(
    "digits",
    str(HOME / "log"),
    model="digits",
    model_version="1",
    sampling=SamplingPolicy(rate=0.5, slow_threshold_ms=250),
)
api = FastAPI(title="Digits")


class Image(BaseModel):
    """An image of 8 x 8 pixels of 0 to 16 ink, row by row."""

    pixels: Annotated[list[int], Field(min_length=64, max_length=64)]


class Rating(BaseModel):
    """What somebody says of a prediction."""

    request_id: str
    name: str = "label"
    label: str | None = None
    score: float | None = None
    comment: str | None = None


@api.post("/predict")
def predict(image: Image) -> dict[str, str | float]:
    """The digit in an image and its probability."""
    if not any(image.pixels):
        raise ValueError("the image is empty")
    with log.stage("model"):
        scores = model.predict_proba(pd.DataFrame([image.pixels], columns=NAMES))[0]
    digit, score = str(scores.argmax()), float(scores.max())
    log.log_prediction(
        features=dict(zip(NAMES, image.pixels, strict=True)), prediction=digit, score=score
    )
    return {"digit": digit, "score": score}


@api.post("/feedback")
def feedback(rating: Rating) -> dict[str, str]:
    """Take a label or rating; the same source's last word counts."""
    try:
        said = log.log_feedback(
            rating.request_id,
            rating.name,
            label=rating.label,
            score=rating.score,
            comment=rating.comment,
        )
    except DataError as error:
        raise HTTPException(422, str(error)) from error
    return {"feedback_id": said}


app = PredictionLoggingMiddleware(api, log, tenant="x-tenant")
