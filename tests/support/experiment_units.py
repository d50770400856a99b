"""People who visit an app and rate its answers, and a recount of what its log says of them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.service.experiment import compare_variants
from flytekitplugins.wbmon.monitor.service.experiment_plan import ExperimentPlan
from flytekitplugins.wbmon.serving import Experiment, PredictionLogger

LAYOUT = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
PLAN = ExperimentPlan(experiment="layout", outcome="thumbs", control="old")
KEY = "secret"


@dataclass
class Visit:
    """One use of an app: the session, who is logged in, and what the app keeps of the session."""

    session: str
    user: str | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Who is in the experiment."""
        return self.user or self.session


def visits() -> list[Visit]:
    """200 people, each twice: 80 anonymous, 80 logged in, and 40 who log in between the visits.

    Those who are logged in come from two devices. So there are 240 units.
    """
    found = []
    for i in range(200):
        first = Visit(f"s{i}", f"ann{i}@corp.com" if 80 <= i < 160 else None)
        later = f"ann{i}@corp.com" if i >= 80 else None
        own = ("t", {}) if first.user else ("s", first.state)
        found += [first, Visit(f"{own[0]}{i}", later, own[1])]
    return found


def rate_and_recount(log: PredictionLogger, rate: Callable[[Visit, float], None]) -> None:
    """Let all people use an app, and check what the experiment says of them.

    Args:
        log: The log of the app, with `KEY`.
        rate: Lets a visitor ask and rate the answer.

    Raises:
        AssertionError: If a unit is not measured or not once, or a name is in the log.
    """
    rng = np.random.default_rng(1)
    given: dict[str, list[float]] = {}
    for visit in visits():
        score = float(rng.random() < 0.6)
        given.setdefault(visit.unit, []).append(score)
        rate(visit, score)
    table = feedback_of(log)
    report = compare_variants(table, PLAN)

    told = pd.DataFrame(
        [(LAYOUT.variant(unit), np.mean(scores)) for unit, scores in given.items()],
        columns=["variant", "score"],
    )
    expected = told.groupby("variant").score.agg(["count", "mean"])
    assert expected["count"].sum() == 240
    assert {each.variant: each.n_exposed for each in report.variants} == dict(expected["count"])
    assert {each.variant: each.n_measured for each in report.variants} == dict(expected["count"])
    means = {each.variant: each.mean for each in report.variants}
    assert means == pytest.approx(dict(expected["mean"]))
    assert report.n_crossed == 0

    # the same, read from the files without our code
    exposures = table[table.name == "exposure"].drop_duplicates("unit")
    ratings = table[table.name == "thumbs"].drop_duplicates("feedback_id", keep="last")
    by_unit = ratings.groupby("unit", as_index=False).score.mean()
    joined = exposures[["unit", "variant"]].merge(by_unit, on="unit", validate="one_to_one")
    pd.testing.assert_frame_equal(joined.groupby("variant").score.agg(["count", "mean"]), expected)
    assert set(joined.unit) == {
        hmac.new(KEY.encode(), unit.encode(), sha256).hexdigest() for unit in given
    }

    files = [path for path in Path(log.destination).rglob("*") if path.is_file()]
    assert not any(b"corp.com" in path.read_bytes() for path in files)


def feedback_of(log: PredictionLogger) -> pd.DataFrame:
    """The feedback log as any reader of Parquet has it, by time."""
    log.close()
    compact_prediction_log(log.destination, log.service, keep_segments=True)
    parts = Path(log.destination, "feedback_log").glob("*/*/part-*.parquet")
    return pd.concat([pd.read_parquet(part) for part in parts]).sort_values("timestamp")
