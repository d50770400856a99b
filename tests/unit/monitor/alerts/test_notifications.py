from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.monitor.alerts.notifications import (
    claim_notifications,
    plan_notifications,
    remove_sent,
)
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from support.examples import AT, drift_report

DAY = timedelta(days=1)
LEASE = timedelta(minutes=5)
RULE = AlertRule(
    metric="drift.drifted",
    above=0,
    name="drift",
    owner="payments team",
    runbook="https://wiki.example.com/drift",
)
CHANNELS = {"wandb": "info", "pager": "error"}


def report(*, bad: bool) -> DriftReport:
    return replace(drift_report(), verdict="drift" if bad else "ok")


def judge(
    memory: AlertMemory,
    bad: bool,
    at: datetime,
    *,
    rule: AlertRule = RULE,
    remind_after: timedelta | None = None,
) -> AlertMemory:
    """The memory after a window, with its notifications planned."""
    decision = evaluate_rules([rule], [report(bad=bad)], state=memory.state, at=at)
    decision = replace(decision, links={"W&B run": "https://wandb.ai/run"})
    return planned(decision, memory, remind_after)


def planned(
    decision: Decision, memory: AlertMemory, remind_after: timedelta | None = None
) -> AlertMemory:
    after = plan_notifications(decision, memory, channels=CHANNELS, remind_after=remind_after)
    return replace(after, state=decision.state)


def kinds(memory: AlertMemory) -> list[str]:
    return [notification.kind for notification in memory.outbox]


def nights(*bad: bool, remind_after: timedelta | None = None) -> AlertMemory:
    memory = AlertMemory()
    for number, is_bad in enumerate(bad):
        memory = judge(memory, is_bad, AT + number * DAY, remind_after=remind_after)
    return memory


def test_a_fault_of_many_nights_is_told_at_its_begin_and_its_end() -> None:
    assert kinds(nights(False, True, True, True, False, False)) == ["firing", "resolved"]


def test_reminders_come_no_more_often_than_asked() -> None:
    memory = nights(*[True] * 8, remind_after=3 * DAY)
    assert kinds(memory) == ["firing", "reminder", "reminder"]
    assert [notification.at for notification in memory.outbox] == [AT, AT + 3 * DAY, AT + 6 * DAY]


def test_a_silent_alert_is_told_and_reminded_of_only_when_the_silence_is_over() -> None:
    rule = replace(RULE, silent_until=AT + 2 * DAY)
    memory = AlertMemory()
    for number in range(4):
        memory = judge(memory, True, AT + number * DAY, rule=rule, remind_after=DAY)
    assert [(notification.kind, notification.at) for notification in memory.outbox] == [
        ("firing", AT + 2 * DAY),
        ("reminder", AT + 3 * DAY),
    ]


def test_an_older_window_judged_late_does_not_bring_the_next_reminder_forward() -> None:
    memory = judge(nights(False, True, remind_after=DAY), True, AT, remind_after=DAY)
    assert memory.notified == {"drift": AT + DAY}


def test_a_rule_that_is_gone_is_forgotten() -> None:
    memory = judge(nights(True), False, AT + DAY, rule=replace(RULE, name="another"))
    assert memory.notified == {}


def test_a_notice_says_whose_it_is_what_to_do_and_where_to_look() -> None:
    (notification,) = nights(True).outbox
    assert notification.title == "drift"
    assert "amount moved" in notification.text
    assert "Owner: payments team" in notification.text
    assert "What to do: https://wiki.example.com/drift" in notification.text
    assert "W&B run: https://wandb.ai/run" in notification.text
    assert "2026-02-05 02:00 UTC" in notification.text


@pytest.mark.parametrize(
    ("kind", "title", "severity", "first"),
    [
        ("firing", "drift", "error", "drifted: amount moved"),
        ("reminder", "Reminder: drift", "error", "drifted: amount moved; 2 windows in a row since"),
        ("resolved", "Resolved: drift", "info", "not drifted: amount moved; over after 1 windows"),
        (
            "withdrawn",
            "Withdrawn: drift",
            "info",
            "judged again with newer data, it fires no more: not drifted: amount moved",
        ),
    ],
)
def test_a_notice_of_each_kind_says_which_it_is(
    kind: str, title: str, severity: str, first: str
) -> None:
    rule = replace(RULE, severity="error")
    memory = judge(AlertMemory(), True, AT, rule=rule)
    if kind != "firing":
        at = AT if kind == "withdrawn" else AT + DAY
        memory = judge(memory, kind == "reminder", at, rule=rule, remind_after=DAY)
    last = memory.outbox[-1]
    assert (last.kind, last.title, last.severity) == (kind, title, severity)
    assert last.text.startswith(first)
    assert last.waiting == ("wandb", "pager")


@pytest.mark.parametrize(
    ("severity", "waiting"),
    [("info", ("all",)), ("warn", ("all", "some")), ("error", ("all", "some", "few"))],
)
def test_the_least_severity_of_a_channel_is_enough_for_it(
    severity: str, waiting: tuple[str, ...]
) -> None:
    rule = replace(RULE, severity=severity)
    decision = evaluate_rules([rule], [report(bad=True)], at=AT)
    channels = {"all": "info", "some": "warn", "few": "error"}
    memory = plan_notifications(decision, AlertMemory(), channels=channels)
    assert memory.outbox[0].waiting == waiting


def test_the_newest_two_hundred_notices_wait_and_five_hundred_are_known() -> None:
    old = [
        Notification(id=f"{i}", kind="firing", severity="warn", title="t", text="", at=AT)
        for i in range(600)
    ]
    memory = AlertMemory(outbox=tuple(old), made=tuple(one.id for one in old))
    after = judge(memory, True, AT)
    assert [one.id for one in after.outbox[:-1]] == [f"{i}" for i in range(401, 600)]
    assert after.made[:-1] == tuple(f"{i}" for i in range(101, 600))
    assert after.made[-1] == after.outbox[-1].id


def test_a_notice_that_no_channel_wants_does_not_wait() -> None:
    decision = evaluate_rules([RULE], [report(bad=True)], at=AT)
    memory = plan_notifications(decision, AlertMemory(), channels={"pager": "error"})
    assert (memory.outbox, len(memory.made)) == ((), 1)


def test_a_channel_gets_only_what_is_severe_enough_for_it() -> None:
    (warning,) = nights(True).outbox
    assert warning.waiting == ("wandb",)
    error = judge(AlertMemory(), True, AT, rule=replace(RULE, severity="error"))
    assert error.outbox[0].waiting == ("wandb", "pager")


def test_who_was_told_of_the_fault_is_told_of_its_end() -> None:
    rule = replace(RULE, severity="error")
    memory = judge(AlertMemory(), True, AT, rule=rule)
    memory = judge(memory, False, AT + DAY, rule=rule)
    end = memory.outbox[-1]
    assert (end.kind, end.severity, end.waiting) == ("resolved", "info", ("wandb", "pager"))


def test_a_window_judged_again_makes_no_second_notice() -> None:
    memory = judge(nights(True), True, AT, remind_after=DAY)
    assert kinds(memory) == ["firing"]
    delivered = replace(memory, outbox=())
    assert kinds(judge(delivered, True, AT)) == []


def test_a_window_that_fires_no_more_with_newer_data_takes_its_notice_back() -> None:
    memory = judge(nights(True), False, AT)
    assert kinds(memory) == ["firing", "withdrawn"]
    assert "judged again with newer data" in memory.outbox[-1].text
    assert kinds(judge(memory, False, AT)) == ["firing", "withdrawn"]


def test_notices_are_sent_by_one_sender_at_a_time() -> None:
    memory, mine = claim_notifications(nights(True), sender="a", now=AT, lease=LEASE)
    after, theirs = claim_notifications(memory, sender="b", now=AT + LEASE / 2, lease=LEASE)
    assert (len(mine), len(theirs)) == (1, 0)
    assert after.outbox == mine
    assert (mine[0].sender, mine[0].sender_until) == ("a", AT + LEASE)


def test_a_retry_goes_on_at_once_and_others_after_a_while() -> None:
    memory, _ = claim_notifications(nights(True), sender="a", now=AT, lease=LEASE)
    _, retried = claim_notifications(memory, sender="a", now=AT, lease=LEASE)
    _, others = claim_notifications(memory, sender="b", now=AT + LEASE, lease=LEASE)
    assert (len(retried), len(others)) == (1, 1)


def test_what_was_taken_everywhere_leaves_the_outbox_and_the_rest_waits() -> None:
    rule = replace(RULE, severity="error")
    memory = judge(AlertMemory(), True, AT, rule=rule)
    memory, mine = claim_notifications(memory, sender="a", now=AT, lease=LEASE)
    half = remove_sent(memory, mine, {"wandb": frozenset({mine[0].id})})
    (left,) = half.outbox
    assert (left.waiting, left.n_attempts, left.sender) == (("pager",), 1, "")
    assert left.sender_until is None
    _, again = claim_notifications(half, sender="b", now=AT, lease=LEASE)
    assert remove_sent(half, again, {"pager": frozenset({left.id})}).outbox == ()


def test_settling_leaves_what_others_are_sending_alone() -> None:
    memory, mine = claim_notifications(nights(True), sender="a", now=AT, lease=LEASE)
    other = Notification(
        id="o",
        kind="firing",
        severity="warn",
        title="t",
        text="",
        at=AT,
        sender="b",
        waiting=("pager",),
    )
    memory = replace(memory, outbox=(*memory.outbox, other))
    assert remove_sent(memory, mine, {"wandb": frozenset({mine[0].id})}).outbox == (other,)
