from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal

import numpy as np
import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, PageBudget


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "exactly one of"),
        ({"below": 0.5, "above": 0.9}, "got 2"),
        ({"drop": 0.0}, "positive share"),
        ({"beyond_sd": -1}, "must be positive"),
        ({"trend": 4}, "whole number of at least 5"),
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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drop": "5%"}, "got '5%'; write 0.05"),
        ({"drop": 5}, "at most 1; got 5.*0.05 is 5 %"),
        ({"below": "90%"}, "write 0.9"),
        ({"above": "0"}, "write 0 without quotes"),
        ({"above": "many"}, "finite number; got 'many'; give a number"),
        ({"above": float("nan")}, "finite number; got nan"),
        ({"below": float("-inf")}, "finite number; got -inf"),
        ({"above": 10**400}, "finite number"),
        ({"above": True}, "finite number; got True"),
        ({"above": Decimal("0.5")}, r"give float\(0.5\)"),
        ({"above": [0]}, "got one list"),
        ({"beyond_sd": "3"}, "beyond_sd must be positive and finite; got '3'; write 3 without"),
        ({"trend": 5.5}, "whole number of at least 5, got 5.5"),
        ({"above": 0, "for_windows": "2"}, "for_windows must be a whole number"),
        ({"above": 0, "for_windows": 1.5}, "for_windows must be a whole number"),
        ({"above": 0, "resolve_after": float("nan")}, "resolve_after must be a whole number"),
        ({"worse_than_baseline": "yes"}, "must be True or False"),
        ({"above": 0, "name": 5}, "name must be text, got 5; put it in quotes"),
        ({"above": 0, "owner": None}, "owner must be text, got None"),
        ({"above": 0, "runbook": 5}, "runbook must be text"),
        ({"above": 0, "metric": 5}, "metric must be text"),
        ({"above": 0, "severity": ["warn"]}, "severity must be info, warn or error"),
        ({"above": 0, "silent_until": "soon"}, "silent_until must be a moment"),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_to_write(changed, message):
    with pytest.raises(ConfigError, match=message):
        AlertRule(**{"metric": "performance.accuracy", **changed})


def test_numbers_and_times_of_others_become_those_of_python():
    rule = AlertRule(
        metric="performance.accuracy",
        trend=np.int64(7),
        for_windows=np.int8(2),
        silent_until=date(2026, 3, 1),
    )
    assert (type(rule.trend), type(rule.for_windows)) == (int, int)
    assert rule.silent_until == datetime(2026, 3, 1, tzinfo=timezone.utc)
    limit = AlertRule(metric="performance.accuracy", below=np.float32(0.5)).below
    assert (type(limit), limit) == (float, 0.5)


@pytest.mark.parametrize("value", ["1", True, float("nan"), 0, None])
def test_a_budget_of_no_number_is_refused(value):
    with pytest.raises(ConfigError, match="false_pages_per_year must be positive and finite"):
        PageBudget(false_pages_per_year=value)
