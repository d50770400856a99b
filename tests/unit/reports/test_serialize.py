from __future__ import annotations

import json

import pytest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from support.examples import decision, drift_report


def test_a_report_reads_back_as_it_was_written() -> None:
    written = drift_report()
    read = record_from_json(DriftReport, record_to_json(written))
    assert repr(read) == repr(written)  # nan is not equal to itself, its repr is
    assert read.drifted is True
    assert list(read.features) == ["amount"]


def test_a_decision_keeps_its_times_and_its_order() -> None:
    assert record_from_json(Decision, record_to_json(decision())) == decision()


def test_undefined_numbers_are_standard_json() -> None:
    plain = json.loads(
        record_to_json(drift_report()), parse_constant=lambda name: pytest.fail(f"bare {name}")
    )
    feature = plain["features"]["amount"]
    assert feature["statistic"] == "Infinity"
    assert feature["p_value"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rule": {}}', '{"rule": 3}'])
def test_text_that_is_no_report_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(DataError, match="must be JSON of class DriftReport"):
        record_from_json(DriftReport, text)
