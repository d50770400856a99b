from __future__ import annotations

import math
from dataclasses import replace

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.scoring.report import (
    ScoringReport,
    Watch,
)
from flytekitplugins.wbmon.monitor.scoring.slo import SLO


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"percentile": 0}, r"percentile must be in \[1, 100\], got 0$"),
        ({"percentile": 101}, "percentile"),
        ({"percentile": 0.99}, r"got 0.99; did you mean 99\?"),
        ({"percentile": 0.999}, r"did you mean 99.9\?"),
        ({"percentile": "99"}, r"got '99'; did you mean 99\?"),
        ({"percentile": True}, "got True$"),
        ({"value": "50"}, "value must be positive and finite; got '50'; write 50 without quotes"),
        ({"value": math.nan}, "value must be positive and finite"),
        ({"name": ""}, "must have a name"),
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


def test_a_run_that_scored_nothing_could_not_be_judged():
    empty = ScoringReport(n_rows=0, n_batches=0, duration_s=0.0, predict_s=0)
    failed = replace(empty, n_failed=7, errors={"KeyError": 6, "ValueError": 1})
    assert empty.unmeasured == "the window has no rows"
    assert failed.unmeasured == "predict failed on all 7 rows: KeyError 6, ValueError 1"
    assert replace(failed, n_rows=1).unmeasured == "predict failed on 7 of 8 rows"
    assert replace(failed, n_rows=133).unmeasured == ""
    for report in (empty, failed):
        assert 'class="verdict good"' not in report.to_html()
    assert "7 rows failed" in failed.to_html()
