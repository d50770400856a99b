"""A rule that cannot be judged is an alert of that rule alone, and is told once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import check_performance
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.reports.report import Report
from support.examples import AT, drift_report, performance_report, scoring_report

DAY = timedelta(days=1)
TYPO = AlertRule(metric="drift.driftd", above=0, name="typo", severity="error")
MENDED = replace(TYPO, metric="drift.drifted")
BROKEN_RULES = [
    TYPO,
    AlertRule(metric="drift.effect_size.amount", drop=0.1, name="no baseline"),
    AlertRule(metric="drift.drifted", below=1, name="gate below"),
    AlertRule(metric="slo.fast", above=0, name="no objective"),
    AlertRule(metric="alerts.fired", above=0, name="itself"),
]
GOOD_RULES = [
    AlertRule(metric="drift.drifted", above=0, name="drift"),
    AlertRule(metric="performance.accuracy", below=0.99, name="accuracy"),
    AlertRule(metric="performance.accuracy", above=0.99, name="fine"),
]
GOOD, BAD = replace(drift_report(), verdict="ok"), replace(drift_report(), verdict="drift")


def nights(*windows: tuple[AlertRule, Report | None]) -> list[Decision]:
    """The decisions of consecutive nights, each with its rule and report."""
    decisions = list[Decision]()
    for number, (rule, report) in enumerate(windows):
        state = decisions[-1].state if decisions else None
        decisions.append(evaluate_rules([rule], [report], state=state, at=AT + number * DAY))
    return decisions


def told(decisions: Sequence[Decision]) -> list[str]:
    return [" ".join(alert.phase for alert in decision.news) for decision in decisions]


@given(st.sets(st.sampled_from(BROKEN_RULES), min_size=1), st.randoms(use_true_random=False))
def test_the_other_rules_are_judged_as_if_it_were_not_there(
    broken: set[AlertRule], random: object
) -> None:
    reports = [BAD, performance_report(), scoring_report()]
    rules = [*GOOD_RULES, *broken]
    random.shuffle(rules)
    decision = evaluate_rules(rules, reports, at=AT)
    alone = evaluate_rules([each for each in rules if each not in broken], reports, at=AT)
    others = [alert for alert in decision.alerts if alert.rule not in broken]
    assert others == list(alone.alerts)
    assert {each.rule for each in decision.alerts if each.is_broken} == broken
    assert len(decision.findings) == len(broken)


def test_it_is_told_once_and_its_end_too() -> None:
    decisions = nights(*[(TYPO, GOOD)] * 3, (MENDED, GOOD), (MENDED, GOOD))
    assert told(decisions) == ["firing", "", "", "resolved", ""]
    assert decisions[0].severity == "error"
    assert decisions[0].findings == (
        "typo: the rule cannot be judged: metric 'drift.driftd' is not in the drift report; did "
        "you mean 'drift.drifted'?",
    )
    assert decisions[3].alerts[0].reason.endswith("the rule can be judged again")


def test_a_fault_that_shows_when_it_is_mended_is_told() -> None:
    assert told(nights((TYPO, GOOD), (MENDED, BAD), (MENDED, GOOD))) == [
        "firing", "firing", "resolved",
    ]  # fmt: skip


def test_a_fault_that_was_open_before_stays_open() -> None:
    decisions = nights((MENDED, BAD), (TYPO, BAD), (MENDED, BAD), (MENDED, GOOD))
    assert told(decisions) == ["firing", "firing", "", "resolved"]
    assert decisions[2].alerts[0].n_windows == 2


def test_it_is_mended_when_it_has_been_judged() -> None:
    waiting = replace(MENDED, for_windows=2)
    decisions = nights((TYPO, GOOD), (MENDED, None), (waiting, BAD), (waiting, GOOD))
    assert [each.alerts[0].phase for each in decisions] == [
        "firing", "no_data", "pending", "resolved",
    ]  # fmt: skip
    assert told(decisions) == ["firing", "", "", "resolved"]


def test_in_silence_it_is_told_when_the_silence_ends() -> None:
    silent = replace(TYPO, silent_until=AT + DAY)
    assert told(nights((silent, GOOD), (silent, GOOD), (silent, GOOD))) == ["", "firing", ""]


def test_any_exception_of_one_rule_is_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent(self: Report, name: str) -> Measurement | None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(type(GOOD), "absent", absent)
    decision = evaluate_rules([TYPO, replace(MENDED, name="drift")], [BAD], at=AT)
    assert {
        each.rule.name: each.is_broken for each in decision.alerts if each.phase == "firing"
    } == {
        "typo": True,
        "drift": False,
    }
    assert "ZeroDivisionError: division by zero" in decision.findings[0]
    assert "typo" in caplog.text


def test_what_is_a_mistake_of_all_rules_is_refused() -> None:
    with pytest.raises(ConfigError, match="different titles"):
        evaluate_rules([TYPO, TYPO], [GOOD])
    with pytest.raises(ConfigError, match="one of a kind"):
        evaluate_rules([TYPO], [GOOD, BAD])


class _Unseen(Report):
    KIND = "rag"

    @property
    def unmeasured(self) -> str:
        return "none of 40 answers could be judged"

    def _measured(self) -> Iterator[Measurement]:
        return iter(())


@pytest.mark.parametrize(
    ("metric", "reports", "findings", "fires"),
    [
        ("alerts.n_findings", [GOOD], (), False),
        ("alerts.n_findings", [GOOD], ("no disk",), True),
        ("alerts.n_findings", [GOOD, _Unseen()], (), True),
        ("alerts.unmeasured", [GOOD], (), False),
        ("alerts.unmeasured", [GOOD, _Unseen()], (), True),
        ("alerts.unmeasured", [GOOD], ("no disk",), False),
        ("alerts.unmeasured", [], (), True),
        ("alerts.unmeasured", [None], (), True),
    ],
)
def test_a_rule_may_page_on_what_was_not_seen(
    metric: str, reports: list[Report], findings: tuple[str, ...], fires: bool
) -> None:
    rules = [AlertRule(metric=metric, above=0, name="blind"), MENDED]
    decision = evaluate_rules(rules, reports, at=AT, findings=findings)
    (alert,) = (each for each in decision.alerts if each.rule.name == "blind")
    assert alert.breached is fires
    named = {each.address: each.value for each in decision.measurements()}
    assert named["alerts.unmeasured"] == (_Unseen in map(type, reports) or GOOD not in reports)
    assert named["alerts.n_findings"] == len(decision.findings)


def test_a_class_that_the_window_lacks_is_no_data_and_no_mistake() -> None:
    classes = ["ok"] * 60 + ["fraud"] * 60
    rows = pa.table({"y": classes, "p": classes})
    report = check_performance(rows, task="classification", label="y", prediction="p")
    rule = AlertRule(metric="performance.recall.chargeback", below=0.5)
    (alert,) = evaluate_rules([rule], [report], at=AT).alerts
    assert (alert.phase, alert.is_broken) == ("no_data", False)
    assert "no row of the window is of class 'chargeback'; it has 'fraud', 'ok'" in alert.reason
    typo = AlertRule(metric="performance.recal.fraud", below=0.5)
    assert evaluate_rules([typo], [report], at=AT).alerts[0].is_broken
