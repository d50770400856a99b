from __future__ import annotations

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "exactly one of"),
        ({"below": 0.5, "above": 0.9}, "got 2"),
        ({"drop": 0.0}, "positive share"),
        ({"beyond_sd": -1}, "must be positive"),
        ({"trend": 4}, "at least 5 windows"),
        ({"below": 0.5, "resolve_after": 0}, "at least 1"),
        ({"below": 0.5, "on_no_data": "page"}, "keep or breach"),
        ({"below": 0.5, "for_windows": 0}, "at least 1"),
        ({"below": 0.5, "severity": "loud"}, "info, warn or error"),
        ({"below": 0.5, "metric": "accuracy"}, "must read <report>"),
        ({"below": 0.5, "metric": "model.accuracy"}, "must read <report>"),
        ({"below": 0.5, "metric": "performance."}, "must read <report>"),
    ],
)
def test_a_rule_without_sense_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        AlertRule(**{"metric": "performance.accuracy", **changed})


@pytest.mark.parametrize(
    ("condition", "title"),
    [
        ({"below": 0.5}, "drift.share < 0.5"),
        ({"above": 0.5}, "drift.share > 0.5"),
        ({"drop": 0.05}, "drift.share drop > 5%"),
        ({"beyond_sd": 3}, "drift.share beyond 3 sd of past windows"),
        ({"trend": 7}, "drift.share worse over 7 windows"),
        ({"worse_than_baseline": True}, "drift.share worse than baseline"),
        ({"above": 0.5, "name": "mine"}, "mine"),
    ],
)
def test_a_rule_is_called_by_its_name_or_its_condition(condition, title):
    assert AlertRule(metric="drift.share", **condition).title == title
