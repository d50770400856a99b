"""Train, and fix what later windows are held against: the reference profile and the baseline.

pyflyte run workflows/reference_profile.py digits_reference
pyflyte run workflows/reference_profile.py payments_reference
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from flytekit import task, workflow
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon import PerformanceCheck, PerformanceReport, Profile, ProfileData
from workflows.digits import CLASSES, digits_reference_window, train_digits
from workflows.payments import N_REFERENCE_NIGHTS, generate_payments
from workflows.payments_model import train_payments


class Reference(NamedTuple):
    """A model, the profile of its reference window, and how good it was there."""

    model: FlyteFile
    profile: Profile
    baseline: PerformanceReport


digits_profile = ProfileData("digits.profile", cache=True)
digits_performance = PerformanceCheck(
    "digits.performance",
    task="classification",
    label="label",
    prediction="prediction",
    score=tuple(f"score_{name}" for name in CLASSES),
    cache=True,
)
payments_profile = ProfileData("payments.profile", cache=True)
payments_performance = PerformanceCheck(
    "payments.performance",
    task="classification",
    label="fraud",
    prediction="p_fraud",
    threshold=0.2,
    cache=True,
)


@task(cache=True, cache_version="1")
def reference_nights(n_rows: int) -> pd.DataFrame:
    """The 28 nights before night 0, together; synthetic.

    Args:
        n_rows: Rows of each night.
    """
    nights = range(-N_REFERENCE_NIGHTS, 0)
    frames = [generate_payments(night, n_rows=n_rows) for night in nights]
    return pd.concat(frames, ignore_index=True)


@workflow
def digits_reference() -> Reference:
    """Train on the first 900 digits and profile them with predictions made out of fold."""
    window = digits_reference_window()
    baseline = digits_performance(data=window)
    return Reference(
        model=train_digits(), profile=digits_profile(data=window), baseline=baseline.report
    )


@workflow
def payments_reference(n_rows: int = 2000) -> Reference:
    """Train on four synthetic weeks and profile them with predictions made out of fold.

    Args:
        n_rows: Rows of each night.
    """
    nights = reference_nights(n_rows=n_rows)
    trained = train_payments(nights=nights)
    baseline = payments_performance(data=trained.scored)
    return Reference(
        model=trained.model,
        profile=payments_profile(data=trained.scored),
        baseline=baseline.report,
    )
