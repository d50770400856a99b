"""Plans and claims notifications; each is made once, even if its window is evaluated again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flytekitplugins.wbmon.monitor.alerts.decision import Alert, Decision, Severity
from flytekitplugins.wbmon.monitor.alerts.evaluate import broken_rule
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification, NotificationKind
from flytekitplugins.wbmon.names import digest_of, on_one_line

_SEVERITIES: tuple[Severity, ...] = ("info", "warn", "error")
_KEEP_IDS = 500
_SHOWN_FINDINGS, _LONGEST_FINDING = 5, 600
_SHOWN_WINDOWS = 60
# a rule that cannot be judged is another event than a fault of the same window
_BROKEN = "broken"
# the events of the same window that an event makes untrue
_UNDOES: Mapping[NotificationKind, tuple[str, ...]] = {
    "firing": ("withdrawn", "resolved"),
    "reminder": (),
    "resolved": ("firing", _BROKEN),
    "withdrawn": ("firing", _BROKEN),
}
_KEEP_NOTIFICATIONS = 200


def plan_notifications(
    decision: Decision,
    memory: AlertMemory,
    *,
    channels: Mapping[str, Severity],
    remind_after: timedelta | None = None,
    in_order: bool = True,
    standing: Collection[str] = (),
) -> AlertMemory:
    """The memory with the notifications of this window in its outbox.

    An alert that fires or is over is news. One that goes on firing is mentioned again when
    `remind_after` has passed since people were last notified. Judged again with newer data, a
    window whose alert fires no more takes its notification back, and one whose alert is not over
    after all is told again. The next window in order tells what older ones have found meanwhile.

    Args:
        decision: About the window.
        memory: From before it, with the rules' new state or the old.
        channels: Each with the least severity that it wants.
        remind_after: None for no reminders.
        in_order: Whether it is the newest window; another has no reminders.
        standing: Titles of the rules that fire in a later window: their fault is not taken back.
    """
    titles = {alert.rule.title for alert in decision.alerts}
    notified = {title: at for title, at in memory.notified.items() if title in titles}
    outbox, made, revoked = list(memory.outbox), list(memory.made), dict(memory.revoked)
    planned = [_late_windows(each, decision, memory, channels) for each in decision.alerts]
    new = [each for each in planned if each is not None and in_order]
    for alert in decision.alerts:
        kind = _kind(alert, decision, memory, remind_after, in_order=in_order)
        title = alert.rule.title
        if kind is None or (kind == "withdrawn" and title in standing):
            continue
        if in_order:
            before = notified.pop(title, decision.at)
            if kind in ("firing", "reminder"):
                notified[title] = max(before, decision.at)
        new.append(_notification(alert, kind, decision, channels))
        # of what is true no more, so that it can be told again
        undone = [_id(title, each, decision.at) for each in _UNDOES[kind]]
        revoked |= {each: revoked.get(each, 0) + 1 for each in undone if each in made}
        made = [each for each in made if each not in undone]
    for notification in new:
        if notification.id not in made:
            made.append(notification.id)
            again = replace(notification, n_before=revoked.get(notification.id, 0))
            outbox += [again] if again.waiting else []
    return replace(
        memory,
        notified=notified,
        outbox=tuple(outbox[-_KEEP_NOTIFICATIONS:]),
        made=tuple(made[-_KEEP_IDS:]),
        late={} if in_order else memory.late,
        revoked=dict(list(revoked.items())[-_KEEP_IDS:]),
    )


def with_message_ids(memory: AlertMemory, monitor: str) -> AlertMemory:
    """The memory whose outbox has ids that receivers can tell repeated messages by.

    Args:
        memory: With an outbox.
        monitor: Tells the monitor from all others that send to the same channels.
    """
    outbox = [
        each if each.message_id else replace(each, message_id=_message_id(each, monitor))
        for each in memory.outbox
    ]
    return replace(memory, outbox=tuple(outbox))


def claim_notifications(
    memory: AlertMemory, *, sender: str, now: datetime, lease: timedelta
) -> tuple[AlertMemory, tuple[Notification, ...]]:
    """Assign the notifications that no other sender is sending to `sender`.

    Args:
        memory: With an outbox.
        sender: The same for every attempt of one task, so that a retry goes on at once.
        now: Wall-clock time.
        lease: How long another sender is trusted to be alive.
    """
    outbox = []
    for notification in memory.outbox:
        busy = notification.sender_until is not None and notification.sender_until > now
        if notification.sender in ("", sender) or not busy:
            outbox.append(replace(notification, sender=sender, sender_until=now + lease))
        else:
            outbox.append(notification)
    mine = tuple(notification for notification in outbox if notification.sender == sender)
    return replace(memory, outbox=tuple(outbox)), mine


def remove_sent(
    memory: AlertMemory, mine: tuple[Notification, ...], taken: Mapping[str, frozenset[str]]
) -> AlertMemory:
    """The memory without the notifications that were delivered; the rest waits for a later window.

    Args:
        memory: The current memory.
        mine: The notifications that were to be sent.
        taken: Ids of the notifications that each channel has accepted.
    """
    ids = {notification.id for notification in mine}
    outbox = []
    for notification in memory.outbox:
        if notification.id not in ids:
            outbox.append(notification)
            continue
        waiting = tuple(
            name
            for name in notification.waiting
            if notification.id not in taken.get(name, frozenset())
        )
        if waiting:
            n_attempts = notification.n_attempts + 1
            outbox.append(
                replace(
                    notification,
                    waiting=waiting,
                    n_attempts=n_attempts,
                    sender="",
                    sender_until=None,
                )
            )
    return replace(memory, outbox=tuple(outbox))


def _kind(
    alert: Alert,
    decision: Decision,
    memory: AlertMemory,
    remind_after: timedelta | None,
    *,
    in_order: bool,
) -> NotificationKind | None:
    title = alert.rule.title
    if alert.changed:
        return "resolved" if alert.phase == "resolved" else "firing"
    was_notified = _is_told(title, decision.at, memory.made)
    if was_notified and alert.phase not in ("firing", "no_data"):
        return "withdrawn"
    if not in_order:
        return None
    kept = decision.state.rules.get(title)
    was_over = _id(title, "resolved", decision.at) in memory.made
    if was_over and kept is not None and kept.is_notified and not alert.is_silent:
        return "firing"
    if alert.phase != "firing" or alert.is_silent or remind_after is None:
        return None
    last = memory.notified.get(title)
    return "reminder" if last is not None and decision.at - last >= remind_after else None


def _notification(
    alert: Alert, kind: NotificationKind, decision: Decision, channels: Mapping[str, Severity]
) -> Notification:
    rule = alert.rule
    title = on_one_line(rule.title)
    over = kind in ("resolved", "withdrawn")
    event = _BROKEN if alert.is_broken and kind == "firing" else kind
    return Notification(
        id=_id(rule.title, event, decision.at),
        kind=kind,
        severity="info" if over else rule.severity,
        title=title if kind == "firing" else f"{kind.capitalize()}: {title}",
        text=_text(alert, kind, decision),
        at=decision.at,
        waiting=_waiting(rule.severity, channels),
    )


def _late_windows(
    alert: Alert, decision: Decision, memory: AlertMemory, channels: Mapping[str, Severity]
) -> Notification | None:
    """What older windows have found since the last one in order; None if all of it is told."""
    title = alert.rule.title
    windows = memory.late.get(title, ())
    if all(_is_told(title, at, memory.made) for at in windows):
        return None
    days = [f"{at:%Y-%m-%d %H:%M} UTC" for at in windows[:_SHOWN_WINDOWS]]
    days += ["…"] if len(windows) > _SHOWN_WINDOWS else []
    first = f"it fires in {len(windows)} windows that were judged late: {', '.join(days)}"
    return Notification(
        id=_id(title, f"late {windows[0].isoformat()}", windows[-1]),
        kind="firing",
        severity=alert.rule.severity,
        title=f"Late windows: {on_one_line(title)}",
        text="\n".join([first, *_how_to_go_on(alert, decision)]),
        at=windows[-1],
        waiting=_waiting(alert.rule.severity, channels),
    )


def _is_told(title: str, at: datetime, made: Collection[str]) -> bool:
    return any(_id(title, event, at) in made for event in ("firing", _BROKEN))


def _waiting(severity: Severity, channels: Mapping[str, Severity]) -> tuple[str, ...]:
    rank = _SEVERITIES.index
    return tuple(name for name, least in channels.items() if rank(severity) >= rank(least))


def _text(alert: Alert, kind: NotificationKind, decision: Decision) -> str:
    first = alert.reason
    if kind == "withdrawn":
        first = f"judged again with newer data, it fires no more: {alert.reason}"
    lines = [f"{first} (window of {decision.at:%Y-%m-%d %H:%M} UTC)"]
    if kind in ("firing", "reminder"):
        lines += _problems([each for each in decision.findings if each != broken_rule(alert)])
    return "\n".join([*lines, *_how_to_go_on(alert, decision)])


def _problems(findings: Sequence[str]) -> list[str]:
    # who is woken must see what was not seen
    shown = [on_one_line(each)[:_LONGEST_FINDING] for each in findings[:_SHOWN_FINDINGS]]
    more = len(findings) - len(shown)
    shown += [f"{more} more are on the page of the decision"] if more else []
    return [f"The monitor itself: {each}" for each in shown]


def _how_to_go_on(alert: Alert, decision: Decision) -> list[str]:
    lines = [f"Owner: {alert.rule.owner}"] if alert.rule.owner else []
    lines += [f"What to do: {alert.rule.runbook}"] if alert.rule.runbook else []
    return lines + [f"{name}: {url}" for name, url in decision.links.items()]


def _message_id(notification: Notification, monitor: str) -> str:
    return digest_of(f"{monitor}\n{notification.id}\n{notification.n_before}", 16)


def _id(title: str, kind: str, at: datetime) -> str:
    return f"{title}|{kind}|{at.isoformat()}"
