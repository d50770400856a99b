"""Synthetic card payments, night by night, with faults at known nights: a monitor's truth.

Nothing here is real. Amounts follow a weekly season, every night has a small effect of its own, and
fraud follows a known probability, so that what a monitor says can be held against what happened.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
from flytekit import task

FIRST_NIGHT = date(2026, 1, 5)
N_REFERENCE_NIGHTS = 28
FEATURES = ("amount", "hour", "distance_km", "account_age_days", "merchant", "channel")
FAULTS = {
    6: "unit_change",
    10: "broken_sensor",
    11: "broken_sensor",
    12: "broken_sensor",
    14: "new_merchant",
    18: "concept_drift",
    19: "concept_drift",
    22: "population_shift",
    26: "flipped_label",
}
"""WindowSummary (0 is the first one after the reference) to what goes wrong in it."""

_MERCHANTS = ("grocery", "fuel", "travel", "online", "restaurant", "pharmacy", "other")
_SHARES = (0.3, 0.14, 0.06, 0.22, 0.15, 0.08, 0.05)
_RISK = {"travel": 0.7, "online": 0.9}


def night_date(night: int) -> date:
    """The day of a night; nights count from the first one after the reference."""
    return FIRST_NIGHT + timedelta(days=N_REFERENCE_NIGHTS + night)


def generate_payments(
    night: int, *, n_rows: int = 5_000, fault: str | None = None, seed: int = 7
) -> pd.DataFrame:
    """One night of payments; the same arguments give the same rows.

    Args:
        night: 0 is the first night after the reference; -28 to -1 are the reference.
        n_rows: Rows; any number.
        fault: `unit_change` (amounts in cents), `broken_sensor` (distance missing in 30 % of
            rows), `new_merchant` (a category never seen), `concept_drift` (fraud moves to small
            amounts while every feature stays as it was), `population_shift` (newer accounts),
            `flipped_label` (the truth of 20 % of rows is recorded the wrong way round).
        seed: Of the whole history.

    Returns:
        `FEATURES`, `timestamp` (UTC) and the truth `fraud` (0 or 1).
    """
    if fault not in {None, *FAULTS.values()}:
        raise ValueError(f"fault must be one of {sorted(FAULTS.values())}, got {fault!r}")
    rng = np.random.default_rng([seed, night + 1_000])
    day = night_date(night)
    weekend = day.weekday() >= 5  # noqa: PLR2004 - Saturday
    mood = rng.normal(0, 0.02)
    frame = pd.DataFrame(
        {
            "timestamp": pd.Timestamp(day, tz="UTC")
            + pd.to_timedelta(np.sort(rng.uniform(0, 86_400, n_rows)).round(3), unit="s"),
            "amount": rng.lognormal(3.2 + mood + 0.06 * weekend, 0.9, n_rows).round(2),
            "hour": np.clip(rng.normal(14 + weekend * 0.5, 4.5, n_rows), 0, 23).astype("int64"),
            "distance_km": rng.gamma(1.4, 6.0, n_rows).round(2),
            "account_age_days": rng.gamma(2.0, 420.0, n_rows).astype("int64"),
            "merchant": rng.choice(_MERCHANTS, n_rows, p=_SHARES),
            "channel": rng.choice(["chip", "contactless", "online"], n_rows, p=[0.35, 0.4, 0.25]),
        }
    )
    frame = _population_shift(frame) if fault == "population_shift" else frame
    frame["fraud"] = rng.binomial(1, _fraud_probability(frame, flipped=fault == "concept_drift"))
    return _break(frame, fault, rng)


@task
def payments_window(kickoff: datetime, n_rows: int) -> pd.DataFrame:
    """The synthetic payments of the day before a scheduled run, with that night's fault if any."""
    night = (kickoff.date() - night_date(1)).days
    return generate_payments(night, n_rows=n_rows, fault=FAULTS.get(night))


def _population_shift(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(account_age_days=(frame["account_age_days"] * 0.55).astype("int64"))


def _fraud_probability(frame: pd.DataFrame, *, flipped: bool) -> np.ndarray:
    amount = np.log(frame["amount"]) - 3.2
    risk = frame["merchant"].map(_RISK).fillna(0.0)
    logit = (
        -3.6
        + (-1.3 if flipped else 1.3) * amount
        + 0.05 * frame["distance_km"]
        - 0.0008 * frame["account_age_days"]
        + (-risk if flipped else risk)
    )
    return (1 / (1 + np.exp(-logit))).to_numpy()


def _break(frame: pd.DataFrame, fault: str | None, rng: np.random.Generator) -> pd.DataFrame:
    if fault == "unit_change":
        return frame.assign(amount=frame["amount"] * 100)
    if fault == "broken_sensor":
        broken = rng.random(len(frame)) < 0.3  # noqa: PLR2004 - of the rows
        return frame.assign(distance_km=frame["distance_km"].mask(broken))
    if fault == "new_merchant":
        strange = rng.random(len(frame)) < 0.12  # noqa: PLR2004 - of the rows
        return frame.assign(merchant=frame["merchant"].where(~strange, "crypto"))
    if fault == "flipped_label":
        wrong = rng.random(len(frame)) < 0.2  # noqa: PLR2004 - of the rows
        return frame.assign(fraud=frame["fraud"].where(~wrong, 1 - frame["fraud"]))
    return frame
