from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flytekit import Secret

import wandb
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
from flytekitplugins.wbmon.publish.alerts.send import deliver
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from support.environment import ROOT, clean_environment
from support.examples import AT, drift_report, performance_report
from support.receiver import Hook, web_hook
from support.wandb_log import find_run

DAY = timedelta(days=1)
RULES = (AlertRule(metric="drift.drifted", above=0, name="drift", severity="error"),)
CHANNEL = Channel(secret=Secret(group="alerts", key="hook"), name="hook", timeout_s=5)

N_FAULTS = 5
# the same windows, judged by two processes as fast as they can
JUDGE = f"""
import sys, time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from flytekit import Secret
from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from support.examples import AT, drift_report

channel = Channel(secret=Secret(group="alerts", key="hook"), name="hook")
routing = AlertRouting(state_uri=sys.argv[1], channels=(channel,))
rule = AlertRule(metric="drift.drifted", above=0, name="drift", severity="error")
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
for number in range({2 * N_FAULTS}):
    report = replace(drift_report(), verdict="ok" if number % 2 else "drift")
    decide_and_notify([rule], [report], at=AT + timedelta(days=number), routing=routing)
"""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with web_hook() as hook:
        monkeypatch.setenv("_FSEC_ALERTS_HOOK", hook.url)
        yield hook


@pytest.fixture
def routing(tmp_path: Path) -> AlertRouting:
    return AlertRouting(state_uri=str(tmp_path / "payments.json"), channels=(CHANNEL,))


def report(*, bad: bool) -> DriftReport:
    return replace(drift_report(), verdict="drift" if bad else "ok")


def night(routing: AlertRouting, number: int, *, bad: bool, **arguments: object) -> Decision:
    at = AT + number * DAY
    return decide_and_notify(RULES, [report(bad=bad)], at=at, routing=routing, **arguments)


def test_a_fault_of_three_nights_is_told_once_and_so_is_its_end(
    hook: Hook, routing: AlertRouting
) -> None:
    fired = [night(routing, n, bad=n in (1, 2, 3)).fired for n in range(5)]
    assert fired == [False, True, True, True, False]
    assert hook.titles == ["drift", "Resolved: drift"]


def test_a_notice_that_was_not_taken_is_sent_with_the_next_window(
    hook: Hook, routing: AlertRouting
) -> None:
    hook.status = 503
    failed = night(routing, 0, bad=True)
    assert failed.fired
    assert any("channel hook" in finding for finding in failed.findings)
    assert len(MemoryFile(routing.state_uri).read().outbox) == 1
    hook.status = 200
    assert night(routing, 1, bad=True).findings == ()
    assert hook.titles == ["drift"]
    assert MemoryFile(routing.state_uri).read().outbox == ()


def test_a_retry_of_the_same_window_counts_and_tells_once(
    hook: Hook, routing: AlertRouting
) -> None:
    first = night(routing, 0, bad=True, sender="execution/n0")
    again = night(routing, 0, bad=True, sender="execution/n0")
    assert first.alerts[0].n_windows == again.alerts[0].n_windows == 1
    assert hook.titles == ["drift"]


def test_a_retry_after_a_death_before_sending_sends(
    hook: Hook, routing: AlertRouting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(
            "flytekitplugins.wbmon.publish.alerts.decide.deliver",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            night(routing, 0, bad=True, sender="execution/n0")
    assert hook.titles == []
    night(routing, 0, bad=True, sender="execution/n0")
    assert hook.titles == ["drift"]


def test_two_executions_of_one_window_tell_once(hook: Hook, routing: AlertRouting) -> None:
    night(routing, 0, bad=True, sender="scheduled/n0")
    night(routing, 0, bad=True, sender="by-hand/n0")
    assert hook.titles == ["drift"]


def test_two_processes_that_judge_one_window_together_tell_once(
    hook: Hook, routing: AlertRouting, tmp_path: Path
) -> None:
    environment = {**clean_environment(home=tmp_path), "_FSEC_ALERTS_HOOK": hook.url}
    environment["PYTHONPATH"] = str(ROOT / "tests")
    command = [sys.executable, "-c", JUDGE, routing.state_uri, str(tmp_path / "go")]
    judges = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    (tmp_path / "go").touch()
    for judge in judges:
        _, errors = judge.communicate(timeout=120)
        assert judge.returncode == 0, errors
    assert Counter(hook.titles) == {"drift": N_FAULTS, "Resolved: drift": N_FAULTS}
    memory = MemoryFile(routing.state_uri).read()
    assert (len(memory.history), memory.outbox) == (2 * N_FAULTS, ())


def test_without_a_state_file_each_window_is_judged_alone(hook: Hook) -> None:
    routing = AlertRouting(channels=(CHANNEL,))
    for number in range(2):
        night(routing, number, bad=True)
    assert hook.titles == ["drift", "drift"]


def test_a_broken_state_file_is_a_finding_and_the_alert_is_told(
    hook: Hook, routing: AlertRouting
) -> None:
    Path(routing.state_uri).write_text("{")
    decision = night(routing, 0, bad=True)
    assert "broken" in decision.findings[0]
    assert hook.titles == ["drift"]
    assert MemoryFile(routing.state_uri).read().history[-1].findings == decision.findings


def test_a_rule_pages_on_what_is_wrong_with_the_monitor_and_the_page_says_what(
    hook: Hook, routing: AlertRouting
) -> None:
    Path(routing.state_uri).write_text("{")
    rule = AlertRule(metric="alerts.n_findings", above=0, name="blind")
    decision = decide_and_notify(
        (*RULES, rule),
        [report(bad=False)],
        at=AT,
        routing=routing,
        findings=["no rag report came; its rules cannot be judged"],
    )
    assert hook.titles == ["blind"]
    (message,) = hook.received
    assert "n_findings 2 is above 0" in message["message"]
    for finding in decision.findings:
        assert f"The monitor itself: {finding}" in message["message"]
    page = Path(routing.state_uri).with_suffix(".html").read_text()
    assert all(finding in page for finding in decision.findings)
    assert all(finding in decision.to_html() for finding in decision.findings)


def test_a_store_that_is_down_is_a_finding_and_the_alert_is_told(
    hook: Hook, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file is no folder")
    routing = AlertRouting(state_uri=str(tmp_path / "file" / "m.json"), channels=(CHANNEL,))
    decision = night(routing, 0, bad=True)
    assert "could not be kept" in decision.findings[0]
    assert hook.titles == ["drift"]


def test_a_store_that_goes_down_after_the_alert_is_sent_is_a_finding(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state"
    routing = AlertRouting(state_uri=str(folder / "m.json"), channels=(CHANNEL,))

    def deliver_and_lose_the_store(*arguments: object) -> object:
        outcomes = deliver(*arguments)
        shutil.rmtree(folder)
        folder.write_text("a file is no folder")
        return outcomes

    module = "flytekitplugins.wbmon.publish.alerts.decide"
    monkeypatch.setattr(f"{module}.deliver", deliver_and_lose_the_store)
    decision = night(routing, 0, bad=True)
    assert decision.fired
    assert "could not be kept" in decision.findings[0]
    assert hook.titles == ["drift"]


def test_a_store_that_is_not_configured_is_an_error_after_the_alert_is_told(hook: Hook) -> None:
    routing = AlertRouting(state_uri="nonsense://bucket/m.json", channels=(CHANNEL,))
    with pytest.raises(ConfigError, match="nonsense"):
        night(routing, 0, bad=True)
    assert hook.titles == ["drift"]
    assert "The monitor itself: " in hook.received[0]["message"]


def test_a_mistake_of_all_rules_tells_nobody_and_leaves_the_memory_alone(
    hook: Hook, routing: AlertRouting
) -> None:
    with pytest.raises(ConfigError, match="different titles"):
        decide_and_notify(RULES * 2, [report(bad=True)], at=AT, routing=routing)
    assert hook.titles == []
    assert not Path(routing.state_uri).exists()


def test_an_index_page_that_cannot_be_written_costs_nothing(
    hook: Hook, routing: AlertRouting, caplog: pytest.LogCaptureFixture
) -> None:
    Path(routing.state_uri).with_suffix(".html").mkdir()
    assert night(routing, 0, bad=True).findings == ()
    assert "could not be written" in caplog.text
    assert hook.titles == ["drift"]


def test_a_rule_that_does_not_fit_is_told_once_beside_the_others_and_when_it_is_mended(
    hook: Hook, routing: AlertRouting
) -> None:
    typo = AlertRule(metric="drift.driftd", above=0, name="typo", severity="error")
    mended = replace(typo, metric="drift.n_drifted", above=9)
    for number, rule in enumerate((typo, typo, mended, mended)):
        decision = decide_and_notify(
            (*RULES, rule), [report(bad=number > 0)], at=AT + number * DAY, routing=routing
        )
        assert len(decision.findings) == (rule is typo)
    assert hook.titles == ["typo", "drift", "Resolved: typo"]
    assert "did you mean 'drift.drifted'?" in hook.received[0]["message"]
    assert "did you mean 'drift.drifted'?" in hook.received[1]["message"]


def test_a_channel_that_cannot_be_used_is_found_in_a_quiet_night(routing: AlertRouting) -> None:
    (finding,) = night(routing, 0, bad=False).findings
    assert "secret group 'alerts', key 'hook'" in finding


def test_differences_from_the_night_before_are_named(routing: AlertRouting) -> None:
    night(routing, 0, bad=False)
    assert "drift: ok → firing" in night(routing, 1, bad=True).changes


def test_the_index_beside_the_state_file_shows_the_nights(routing: AlertRouting) -> None:
    for number in range(3):
        night(routing, number, bad=number == 2, links={"W&B run": "https://wandb.ai/x"})
    page = Path(routing.state_uri).with_suffix(".html").read_text()
    assert "the last 3 nights" in page
    assert "Alert: error" in page
    assert 'href="https://wandb.ai/x"' in page


def test_only_news_is_sent_to_the_run(tmp_path: Path) -> None:
    routing = AlertRouting(state_uri=str(tmp_path / "m.json"))
    with wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True)) as run:
        for number in range(4):
            night(routing, number, bad=number < 3, run=run)
    alerts = find_run(tmp_path).alerts
    assert [(alert.title, alert.level) for alert in alerts] == [
        ("drift", "ERROR"),
        ("Resolved: drift", "INFO"),
    ]
    assert all(alert.wait_ms < 1_000 for alert in alerts)


def test_numbers_of_all_reports_are_on_the_decision(routing: AlertRouting) -> None:
    decision = decide_and_notify(
        RULES, [report(bad=False), performance_report()], at=AT, routing=routing
    )
    assert decision.numbers["performance/accuracy"] == 0.7
    assert decision.numbers["drift/n_current"] == 900
