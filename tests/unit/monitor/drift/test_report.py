from __future__ import annotations

import math

import pandas as pd
import pytest

from flytekitplugins.wbmon import check_drift, profile_data
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 5])
def test_alpha_must_be_a_rate(alpha):
    with pytest.raises(ConfigError, match="alpha of a DriftRule must be between 0 and 1"):
        DriftRule(alpha=alpha)


@pytest.mark.parametrize("effects", [(0.2, 0.1), (0.0, 0.1), (0.05, 1.5)])
def test_the_warning_lies_below_the_drift(effects):
    with pytest.raises(ConfigError, match="0 < warn_effect <= min_effect <= 1"):
        DriftRule(warn_effect=effects[0], min_effect=effects[1])


def test_a_window_needs_a_row():
    with pytest.raises(ConfigError, match="min_rows must be a whole number of at least 1"):
        DriftRule(min_rows=0)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, "2", None])
def test_importance_is_a_weight(weight):
    with pytest.raises(ConfigError, match="importance must be a finite number >= 0"):
        DriftRule(importance={"amount": weight})


def test_shares_of_a_report_without_features_are_undefined():
    report = DriftReport(
        rule=DriftRule(), n_reference=0, n_current=0, verdict="insufficient", reason="", features={}
    )

    assert math.isnan(report.share_drifted)
    assert report.to_dict()["verdict"] == "insufficient"


def test_a_series_without_windows_has_not_drifted():
    series = DriftSeries(windows=())

    assert not series.drifted
    assert series.effect_sizes("x") == ()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"alpha": "0.05"}, "alpha must be a number, got '0.05'"),
        ({"min_rows": None}, "min_rows must be a whole number of at least 1, got None"),
        ({"min_effect": True}, "min_effect must be a number, got True"),
        ({"features": "amount"}, "features must be a sequence of column names, got 'amount'"),
        ({"kinds": ["store"]}, "kinds must be a mapping from columns"),
        ({"missing_values": -999}, "missing_values must be a mapping from columns"),
    ],
)
def test_settings_of_another_type_are_refused(given, match):
    with pytest.raises(ConfigError, match=match):
        DriftRule(**given)


def test_what_is_no_rule_and_no_reference_is_refused():
    frame = pd.DataFrame({"x": range(200)})
    with pytest.raises(ConfigError, match="rule must be a DriftRule, got dict"):
        check_drift(frame, frame, rule={"alpha": 0.01})
    with pytest.raises(ConfigError, match="like must be a profile, got DataFrame"):
        profile_data(frame, like=frame)
