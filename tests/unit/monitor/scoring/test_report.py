from __future__ import annotations

import math

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.scoring.report import SLO, ScoringReport, Watch


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"percentile": 0}, "percentile"),
        ({"percentile": 101}, "percentile"),
        ({"metric": "s"}, "metric"),
    ],
)
def test_an_objective_without_sense_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        SLO(**{"name": "p99", "value": 50, **changed})


def test_no_time_gives_no_rate():
    assert math.isnan(ScoringReport(n_rows=0, n_batches=0, duration_s=0.0, predict_s=0).rows_per_s)


def test_no_rows_give_no_error_rate():
    report = ScoringReport(n_rows=0, n_batches=0, duration_s=0.0, predict_s=0)
    assert math.isnan(report.error_rate)
    assert report.to_dict()["n_rows"] == 0
    assert "0 rows scored" in report.to_html()


def test_a_threshold_of_confidence_is_a_probability():
    with pytest.raises(ConfigError, match="low_confidence"):
        Watch(low_confidence=60)
