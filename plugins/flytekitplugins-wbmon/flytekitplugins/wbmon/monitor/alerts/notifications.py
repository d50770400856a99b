"""Plans and claims notifications; each is made once, even if its window is evaluated again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from flytekitplugins.wbmon.monitor.alerts.decision import Alert, Decision, Severity
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification, NotificationKind
from flytekitplugins.wbmon.names import on_one_line

_SEVERITIES: tuple[Severity, ...] = ("info", "warn", "error")
_KEEP_IDS = 500
_KEEP_NOTIFICATIONS = 200


def plan_notifications(
    decision: Decision,
    memory: AlertMemory,
    *,
    channels: Mapping[str, Severity],
    remind_after: timedelta | None = None,
) -> AlertMemory:
    """The memory with the notifications of this window in its outbox.

    An alert that fires or is over is news. One that goes on firing is mentioned again when
    `remind_after` has passed since people were last notified. Judged again with newer data, a
    window whose alert fires no more takes its notification back.

    Args:
        decision: About the window.
        memory: From before it, with the rules' new state or the old.
        channels: Each with the least severity that it wants.
        remind_after: None for no reminders.
    """
    titles = {alert.rule.title for alert in decision.alerts}
    notified = {title: at for title, at in memory.notified.items() if title in titles}
    outbox, made = list(memory.outbox), list(memory.made)
    for alert in decision.alerts:
        kind = _kind(alert, decision, memory, remind_after)
        if kind is None:
            continue
        title = alert.rule.title
        before = notified.pop(title, decision.at)
        if kind in ("firing", "reminder"):
            notified[title] = max(before, decision.at)
        notification = _notification(alert, kind, decision, channels)
        if notification.id not in made:
            made.append(notification.id)
            outbox += [notification] if notification.waiting else []
    return replace(
        memory,
        notified=notified,
        outbox=tuple(outbox[-_KEEP_NOTIFICATIONS:]),
        made=tuple(made[-_KEEP_IDS:]),
    )


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
    alert: Alert, decision: Decision, memory: AlertMemory, remind_after: timedelta | None
) -> NotificationKind | None:
    title = alert.rule.title
    if alert in decision.news:
        return "resolved" if alert.phase == "resolved" else "firing"
    was_notified = _id(title, "firing", decision.at) in memory.made
    if was_notified and alert.phase not in ("firing", "no_data"):
        return "withdrawn"
    if alert.phase != "firing" or alert.is_silent or remind_after is None:
        return None
    last = memory.notified.get(title)
    return "reminder" if last is not None and decision.at - last >= remind_after else None


def _notification(
    alert: Alert, kind: NotificationKind, decision: Decision, channels: Mapping[str, Severity]
) -> Notification:
    rule = alert.rule
    rank = _SEVERITIES.index
    waiting = [name for name, least in channels.items() if rank(rule.severity) >= rank(least)]
    title = on_one_line(rule.title)
    over = kind in ("resolved", "withdrawn")
    return Notification(
        id=_id(rule.title, kind, decision.at),
        kind=kind,
        severity="info" if over else rule.severity,
        title=title if kind == "firing" else f"{kind.capitalize()}: {title}",
        text=_text(alert, kind, decision),
        at=decision.at,
        waiting=tuple(waiting),
    )


def _text(alert: Alert, kind: NotificationKind, decision: Decision) -> str:
    first = alert.reason
    if kind == "withdrawn":
        first = f"judged again with newer data, it fires no more: {alert.reason}"
    lines = [f"{first} (window of {decision.at:%Y-%m-%d %H:%M} UTC)"]
    if alert.rule.owner:
        lines.append(f"Owner: {alert.rule.owner}")
    if alert.rule.runbook:
        lines.append(f"What to do: {alert.rule.runbook}")
    lines += [f"{name}: {url}" for name, url in decision.links.items()]
    return "\n".join(lines)


def _id(title: str, kind: str, at: datetime) -> str:
    return f"{title}|{kind}|{at.isoformat()}"
