"""Channels that are down, slow or broken: each message arrives, at least once, with its id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flytekit import Secret

from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
from flytekitplugins.wbmon.publish.alerts.message_id import prepare_service
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from support.environment import ROOT, clean_environment
from support.examples import AT, drift_report
from support.receiver import Hook, web_hook

DAY = timedelta(days=1)
RULES = (AlertRule(metric="drift.drifted", above=0, name="drift", severity="error"),)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with web_hook() as hook:
        monkeypatch.setenv("_FSEC_ALERTS_HOOK", hook.url)
        yield hook


def routing_of(folder: Path, *, timeout_s: float = 20, monitor: str = "payments") -> AlertRouting:
    channel = Channel(secret=Secret(group="alerts", key="hook"), name="hook", timeout_s=timeout_s)
    state = str(folder / f"{monitor}.json")
    return AlertRouting(state_uri=state, channels=(channel,), monitor=monitor, place="p/d")


def night(routing: AlertRouting, number: int = 0, *, bad: bool = True) -> Decision:
    report = replace(drift_report(), verdict="drift" if bad else "ok")
    at = AT + number * DAY
    return decide_and_notify(RULES, [report], at=at, routing=routing, sender=f"execution{number}")


def ids_of(hook: Hook) -> list[str]:
    """The ids of the messages; in the payload, a header and the text they are the same."""
    for message, headers in zip(hook.received, hook.headers, strict=True):
        assert headers["Idempotency-Key"] == message["id"]
        assert message["message"].splitlines()[-1] == f"Id: {message['id']}"
    return [message["id"] for message in hook.received]


def waiting(routing: AlertRouting) -> int:
    return len(MemoryFile(routing.state_uri).read().outbox)


@pytest.mark.parametrize(
    ("fault", "n_copies"),
    [
        ({"status": 500}, 0), ({"status": 503}, 0), ({"status": 429}, 0), ({"status": 404}, 0),
        ({"fault": "hang"}, 0), ({"fault": "reset"}, 0), ({"fault": "redirect"}, 0),
        # what it took it cannot give back: a copy of each attempt, all with one id
        ({"fault": "late reset"}, 3), ({"fault": "drip"}, 1),
    ],
)  # fmt: skip
def test_what_a_channel_does_not_take_tonight_it_gets_with_the_next_window(
    hook: Hook, tmp_path: Path, fault: dict[str, object], n_copies: int
) -> None:
    routing = routing_of(tmp_path, timeout_s=1.5)
    for name, value in fault.items():
        setattr(hook, name, value)
    decision = night(routing)
    assert decision.fired
    assert [finding for finding in decision.findings if "channel hook" in finding]
    assert waiting(routing) == 1
    assert len(hook.received) <= n_copies
    hook.heal()
    assert night(routing_of(tmp_path), 1).findings == ()
    assert waiting(routing) == 0
    assert set(hook.titles) == {"drift"}
    assert len(set(ids_of(hook))) == 1
    n_messages = len(hook.received)
    night(routing, 2)
    assert len(hook.received) == n_messages


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429}, {"fault": "reset"}, {"fault": "late reset"}]
)
def test_a_channel_that_is_back_a_second_later_has_it_in_the_same_night(
    hook: Hook, tmp_path: Path, fault: dict[str, object]
) -> None:
    routing = routing_of(tmp_path, timeout_s=10)
    hook.n_faulty = 1
    for name, value in fault.items():
        setattr(hook, name, value)
    assert night(routing).findings == ()
    assert waiting(routing) == 0
    assert len(set(ids_of(hook))) == 1


def test_an_address_that_is_down_or_speaks_no_tls_is_a_finding_and_waits(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routing = routing_of(tmp_path, timeout_s=2)
    port = hook.url.rpartition(":")[2]
    for number, url in enumerate((f"jsons://127.0.0.1:{port}", "json://127.0.0.1:9/T0KENT0KEN")):
        monkeypatch.setenv("_FSEC_ALERTS_HOOK", url)
        (finding,) = night(routing, number).findings
        assert "T0KEN" not in finding
        assert waiting(routing) == 1
    monkeypatch.setenv("_FSEC_ALERTS_HOOK", hook.url)
    night(routing, 2)
    assert hook.titles == ["drift"]


def test_of_several_addresses_only_the_one_that_fails_is_tried_again(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = "json://127.0.0.1:9/down"
    monkeypatch.setenv("_FSEC_ALERTS_HOOK", f"{down}\n{hook.url}")
    routing = routing_of(tmp_path, timeout_s=2)
    assert "not taken" in night(routing).findings[0]
    assert (hook.titles, waiting(routing)) == (["drift"], 1)


def test_a_slow_channel_that_answers_within_its_time_has_it_once(
    hook: Hook, tmp_path: Path
) -> None:
    # longer than apprise itself would wait
    hook.delay_s = 4.5
    assert night(routing_of(tmp_path)).findings == ()
    assert hook.titles == ["drift"]


KILLED = """
import sys
from flytekit import Secret
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.decide import AlertRouting, decide_and_notify
from support.examples import AT, drift_report

channel = Channel(secret=Secret(group="alerts", key="hook"), name="hook", timeout_s=20)
routing = AlertRouting(state_uri=sys.argv[1], channels=(channel,), monitor="payments", place="p/d")
rule = AlertRule(metric="drift.drifted", above=0, name="drift", severity="error")
decide_and_notify([rule], [drift_report()], at=AT, routing=routing, sender="execution0")
"""


def test_a_pod_that_is_killed_between_sending_and_noting_sends_the_same_id_again(
    hook: Hook, tmp_path: Path
) -> None:
    routing = routing_of(tmp_path)
    env = {**clean_environment(home=tmp_path / "home"), "_FSEC_ALERTS_HOOK": hook.url}
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(ROOT / "tests")])
    pod = subprocess.Popen([sys.executable, "-c", KILLED, routing.state_uri], env=env)
    hook.on_message = lambda: os.kill(pod.pid, signal.SIGKILL)
    assert pod.wait(120) == -signal.SIGKILL
    assert (hook.titles, waiting(routing)) == (["drift"], 1)
    hook.on_message = lambda: None
    # the next attempt of the task
    night(routing)
    assert hook.titles == ["drift"] * 2
    assert len(set(ids_of(hook))) == 1
    assert waiting(routing) == 0


def test_without_a_memory_a_retry_sends_the_same_id(hook: Hook, tmp_path: Path) -> None:
    routing = replace(routing_of(tmp_path), state_uri="")
    for _ in range(2):
        night(routing)
    assert len(hook.received) == 2
    assert len(set(ids_of(hook))) == 1


def test_other_events_and_other_monitors_have_other_ids(hook: Hook, tmp_path: Path) -> None:
    for monitor in ("payments", "refunds"):
        routing = routing_of(tmp_path, monitor=monitor)
        for number, bad in enumerate((True, False, True)):
            night(routing, number, bad=bad)
    assert hook.titles == ["drift", "Resolved: drift", "drift"] * 2
    assert len(set(ids_of(hook))) == 6


def test_what_is_told_again_after_it_was_taken_back_is_another_message(
    hook: Hook, tmp_path: Path
) -> None:
    routing = routing_of(tmp_path)
    # one window, judged again with newer data
    for bad in (True, False, True, False, True):
        night(routing, bad=bad)
    assert hook.titles == ["drift", "Withdrawn: drift"] * 2 + ["drift"]
    assert len(set(ids_of(hook))) == 5


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("pagerduty://integrationkey@apikey", "dedup"),
        ("opsgenie://8b799edf-6f98-4d3a-9be7-2862fb4e5752", "alias"),
    ],
)
def test_services_that_merge_messages_by_a_key_are_given_it(url: str, field: str) -> None:
    import apprise

    service = apprise.Apprise.instantiate(url)
    prepare_service(service, url, "abc", timeout_s=7)
    assert getattr(service, field) == "abc"
    assert (service.socket_read_timeout, service.redirects) == (7, False)


def test_what_the_url_says_stays() -> None:
    import apprise

    url = "jsons://host/path?rto=3&redirect=yes&+Idempotency-Key=mine&:id=mine"
    service = apprise.Apprise.instantiate(url)
    prepare_service(service, url, "abc", timeout_s=7)
    assert (service.socket_read_timeout, service.redirects) == (3, True)
    assert service.headers == {"Idempotency-Key": "mine"}
    assert service.payload_extras == {"id": "mine"}
    given = apprise.Apprise.instantiate("pagerduty://key@apikey?dedup=mine")
    prepare_service(given, "pagerduty://key@apikey?dedup=mine", "abc", timeout_s=7)
    assert given.dedup == "mine"
